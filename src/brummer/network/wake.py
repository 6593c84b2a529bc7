"""What happened between two readings of the clocks: the machine slept, we did not run, or the clock was set.

Three different facts, and a clock that was set is never a sleep. Pure: the readings are passed in.
"""

from typing import Final

import msgspec

from brummer.core.clock import Reading

JUMP_S: Final = 0.25
"""Less than that between the clocks is their own imprecision; some machines measure sleep in whole seconds."""

LATE_S: Final = 2.0
"""A heartbeat later than this means that we did not run: stopped, frozen, or without a processor."""

ECHO_S: Final = 10.0
"""The kernel counts a suspend only after we were thawed, so the next heartbeat sees it; two are allowed for."""


class Slept(msgspec.Struct, frozen=True):
    """The whole machine slept; no process ran, so none failed meanwhile."""

    seconds: float
    kind: str = "slept"


class Paused(msgspec.Struct, frozen=True):
    """We did not run, but other processes did: what seems overdue may be an answer that we did not read yet."""

    seconds: float
    kind: str = "paused"


class ClockSet(msgspec.Struct, frozen=True):
    """The wall clock was set forth or back (negative); nothing else changed."""

    seconds: float
    kind: str = "clock"


class GoingToSleep(msgspec.Struct, frozen=True):
    """The machine says that it is about to sleep; not every sleep is announced."""

    kind: str = "sleeping"


Wake = Slept | Paused | ClockSet


class WakeDetector:
    """Compares each reading with the one before."""

    def __init__(self, reading: Reading) -> None:
        self._last = reading
        self._quiet_until_s = float("-inf")

    def compare(self, now: Reading, late_s: float = 0.0) -> Wake | None:
        """What happened since the last reading. ``late_s``: how late we were called, in awake time."""
        last, self._last = self._last, now
        slept_s = now.asleep_s - last.asleep_s
        set_s = (now.wall_s - now.elapsed_s) - (last.wall_s - last.elapsed_s)
        counted = now.suspends > last.suspends and now.awake_s > self._quiet_until_s
        if slept_s > JUMP_S:
            return self._woken(now, Slept(round(slept_s, 3)))
        if counted:  # to idle, while the clocks continued: only our own lateness shows how long
            return self._woken(now, Slept(round(max(0.0, late_s), 3)))
        if late_s > LATE_S:
            return self._woken(now, Paused(round(late_s, 3)))
        if abs(set_s) > JUMP_S:
            return ClockSet(round(set_s, 3))
        return None

    def _woken(self, now: Reading, wake: Wake) -> Wake:
        self._quiet_until_s = now.awake_s + ECHO_S
        return wake
