"""Three clocks, and the code that reads each. `brummer.host.clocks` has their sources on each system.

=========  ==================================================  ====================================================
clock      while the machine sleeps                            who reads it
=========  ==================================================  ====================================================
awake      stands still                                        deadlines, backoff, breaker, health, parking, settle
                                                               windows, the ledger: all that may fail by waiting
elapsed    goes on                                             age: since when, uptime, how long a sleep was
wall       goes on, and may be set forth or back               stamps for people, and in files
=========  ==================================================  ====================================================

A deadline in elapsed time would end all waits at the moment of a wake. The ledger's ten minutes are awake
time, because a hub that sleeps can't ask: it must find its answers when it wakes.

The event loop's time is awake time everywhere (`brummer.host.loop` sees to that), so timers are, too. Only
`host.clocks` reads a clock of the system; a test holds the few exceptions.
"""

from typing import Protocol

import msgspec


class Clock(Protocol):
    """Seconds; the zero of ``awake`` and ``elapsed`` means nothing, ``wall`` counts from 1970."""

    def awake(self) -> float: ...

    def elapsed(self) -> float: ...

    def wall(self) -> float: ...

    def reading(self) -> "Reading": ...


class Reading(msgspec.Struct, frozen=True):
    """All of them at one moment. ``suspends``: how often the system says it was suspended, 0 where it does not say."""

    awake_s: float
    elapsed_s: float
    wall_s: float
    suspends: int = 0

    @property
    def asleep_s(self) -> float:
        """How long the machine has slept since some moment that means nothing; only differences count."""
        return self.elapsed_s - self.awake_s
