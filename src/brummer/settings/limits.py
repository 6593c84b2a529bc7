"""What is bounded, and by how much, unless settings say otherwise. Each one is enforced where the thing is kept."""

from typing import Final

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Of one process. The first part holds in the hub, the second in an instance, the last in both."""

    connections: int = 64
    """Of the hub to all instances together."""

    in_flight: int = 256
    """Calls to all instances together."""

    in_flight_per_instance: int = 8
    """Each has a connection of its own; all but one close again when they idle."""

    waiting_per_instance: int = 16
    """Calls that wait for something to happen: they hold a connection each, and must not take it from the others."""

    queued_per_instance: int = 256
    """Calls that wait for a place; further calls are refused as busy. Clients send bursts of a hundred and do not
    retry. A waiting call costs a kilobyte, and a large one reserves memory before it waits.
    """

    parked: int = 128
    """Calls that wait for an instance that is away. They hold places for as long as a restart takes, so half of all:
    the other half is for those who are there.
    """

    reply_bytes: int = 64 * 1024**2

    ledger_entries: int = 1_000
    ledger_bytes: int = 32 * 1024**2
    ledger_age_s: float = 600.0
    """Far over the time for which a hub asks again; after that a result is of no use to anybody."""

    output_bytes: int = 8 * 1024**2
    """Of memory, for the whole instance; a process that prints little keeps at least an equal share of it."""

    journal_bytes: int = 32 * 1024**2
    """On disk, for what is still readable when the instance has died."""

    request_bytes: int = 16 * 1024**2
    """Room for arguments of ten megabytes with every byte escaped badly; more is a mistake."""

    memory_soft_bytes: int = 512 * 1024**2
    """Several of the largest replies at once, beside everything that is kept."""

    memory_hard_bytes: int = 1024**3

    open_files: int = 8192
    """A hub of 500 instances holds four descriptors for each; what is started from a shell often gets 1024 in all."""


DEFAULTS: Final = Limits()
