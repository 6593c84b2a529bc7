"""The network as one value, and in words what differs between two of them. Pure.

It holds what can break a link and nothing else: interfaces of containers, link-local addresses and lifetimes come and
go without a difference here.
"""

import msgspec


class Snapshot(msgspec.Struct, frozen=True):
    """``sources``: the addresses from which this machine would speak to the outside, IPv4 and IPv6; None: no route.

    ``carrier``: whether an interface of a default route is up and has a signal; None where that can't be seen.
    """

    sources: tuple[str | None, str | None] = (None, None)
    carrier: bool | None = None
    loopback: bool = True

    @property
    def is_online(self) -> bool:
        """Whether the outside can be reached, as far as this machine can tell."""
        return any(self.sources) and self.carrier is not False


def differences(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """One sentence each; empty when nothing changed that matters."""
    found = []
    if before.loopback != after.loopback:
        found.append(f"the loopback interface is {'up' if after.loopback else 'down'}")
    if before.carrier != after.carrier and None not in (before.carrier, after.carrier):
        found.append(f"{'a' if after.carrier else 'no'} default interface is up")
    for family, old, new in zip(("IPv4", "IPv6"), before.sources, after.sources, strict=True):
        if old == new:
            continue
        if old is None:
            found.append(f"there is a default route for {family}, from {new}")
        elif new is None:
            found.append(f"the default route for {family} is gone")
        else:
            found.append(f"our {family} address changed from {old} to {new}")
    return tuple(found)
