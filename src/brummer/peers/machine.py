"""Another machine whose instances are reached through a carrier, as the hub knows it."""

from typing import Literal, Protocol

MachineState = Literal["connecting", "ready", "unreachable", "failed"]
"""``unreachable``: it was ready before. ``failed``: it never was, so probably someone has to set something right."""


class OtherMachine(Protocol):
    """`brummer.fleet.ssh_box.SshBox`."""

    @property
    def name(self) -> str: ...
    @property
    def carrier(self) -> str: ...
    @property
    def state(self) -> MachineState: ...
    @property
    def since_s(self) -> float:
        """How long the state has lasted; of an unreachable one, since it was last heard."""

    @property
    def rtt_s(self) -> float | None:
        """The last round trip; None if it is not connected."""

    @property
    def instances(self) -> int:
        """How many are known there."""

    @property
    def detail(self) -> str:
        """Why it is not ready, or what else is wrong; for people."""

    async def settled(self) -> None:
        """Wait until the first attempt to connect has a result."""

    def hint(self) -> None:
        """Connect or check now: this machine woke, or its network changed."""
