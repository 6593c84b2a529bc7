"""The limits: for each its setting and its default. Each one is enforced where the bounded thing is kept."""

from typing import Annotated, Final

import msgspec

from brummer.settings.types import COUNT, DURATION, PROJECT, SIZE, USER, Setting, settings_of

MIB: Final = 1024**2
SMALL: Final = 64_000
"""Bytes: less would cut ordinary answers."""


class Limits(msgspec.Struct, frozen=True):
    """Of one process. A limit that a project may set holds in its instance; the others hold in a hub, some in both."""

    connections: Annotated[int, Setting("max_connections", COUNT, USER, "connections of a hub to all instances", 4)] = (
        64
    )
    """Of the hub to all instances together."""

    in_flight: Annotated[int, Setting("max_in_flight", COUNT, USER, "calls under way to all instances")] = 256
    """Calls to all instances together."""

    in_flight_per_instance: Annotated[
        int, Setting("max_in_flight_per_instance", COUNT, USER, "calls under way to one instance")
    ] = 8
    """Each has a connection of its own; all but one close again when they idle."""

    waiting_per_instance: Annotated[
        int, Setting("max_waiting_per_instance", COUNT, USER, "calls that wait for an event in one instance")
    ] = 16
    """Calls that wait for something to happen: each holds a connection, and must not take it from others."""

    queued_per_instance: Annotated[
        int, Setting("max_queued_per_instance", COUNT, USER, "calls that wait for a slot", 0)
    ] = 256
    """Calls that wait for a slot; further calls are refused as busy. Clients send bursts of a hundred and do not
    retry. A waiting call costs a kilobyte, and a large one reserves memory before it waits.
    """

    parked: Annotated[int, Setting("max_parked", COUNT, USER, "calls that wait for instances to be ready", 0)] = 128
    """Calls that wait for an instance that is not ready. They hold slots for as long as a restart takes, so this
    is half of all slots: the other half is for instances that are ready.
    """

    reply_bytes: Annotated[int, Setting("max_reply", SIZE, USER, "one reply of an instance", SMALL)] = 64 * MIB

    request_bytes: Annotated[
        int, Setting("max_request", SIZE, USER, "one request, to the hub or to an instance", SMALL)
    ] = 16 * MIB
    """Enough for arguments of ten megabytes with every byte escaped badly; more is a mistake."""

    ledger_entries: Annotated[
        int, Setting("ledger_entries", COUNT, PROJECT, "calls whose results an instance keeps for a lost connection")
    ] = 1_000
    ledger_bytes: Annotated[int, Setting("ledger_size", SIZE, PROJECT, "those results together", SMALL)] = 32 * MIB
    ledger_age_s: Annotated[float, Setting("ledger_age", DURATION, PROJECT, "how long they are kept")] = 600.0
    """Far over the time for which a hub asks again; after that a result is of no use."""

    output_bytes: Annotated[
        int, Setting("output_size", SIZE, PROJECT, "memory for what the scripts of an instance print", SMALL)
    ] = 8 * MIB
    """Of memory, for the whole instance; a process that prints little keeps at least an equal share of it."""

    journal_bytes: Annotated[
        int, Setting("journal_size", SIZE, PROJECT, "on disk, what is readable after an instance died", SMALL)
    ] = 32 * MIB
    """On disk, for what is still readable when the instance has died."""

    memory_soft_bytes: Annotated[
        int, Setting("memory_soft", SIZE, USER, "from here on caches are dropped", 64 * MIB)
    ] = 512 * MIB
    """Several of the largest replies at once, beside everything that is kept."""

    memory_hard_bytes: Annotated[
        int, Setting("memory_hard", SIZE, USER, "from here on new work is refused", 64 * MIB)
    ] = 1024 * MIB

    open_files: Annotated[
        int, Setting("open_files", COUNT, USER, "files and sockets of a hub, up to the limit of the system", 64)
    ] = 8192
    """A hub of 500 instances holds four descriptors for each; what is started from a shell often gets 1024 in all."""


DEFAULTS: Final = Limits()
LIMITS: Final = [msgspec.structs.replace(row, limit=name) for name, row in settings_of(Limits, DEFAULTS).items()]
