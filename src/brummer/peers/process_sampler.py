"""The state of an instance's process, from outside: stopped, frozen, busy, idle or gone."""

from collections.abc import Callable
from typing import Final

from brummer.discovery.record import Record
from brummer.host.clocks import awake
from brummer.host.pids import ProcessState
from brummer.host.real_system import REAL
from brummer.host.system import Processes
from brummer.link.peer import Condition

SAMPLE_S: Final = 0.5
"""CPU time is counted in ticks of 10 ms: over half a second, one tick is 2 % of a processor."""

STALE_S: Final = 5.0
"""CPU time since an older sample proves nothing of the present."""


def condition_of(
    record: Record, processes: Processes = REAL.processes, now: Callable[[], float] = awake
) -> Callable[[], Condition]:
    """A function that samples the process (16 µs on Linux) and never raises. ``busy``: it used CPU time lately."""
    if not processes.same_namespace(record.identity):
        return lambda: "unknown"
    usage = _Usage()

    def sample() -> Condition:
        try:
            state = processes.process_state(record.pid)
            if state is None or state.state == "zombie" or not processes.is_running(record.identity):
                return "gone"
        except OSError:  # no descriptor is left for /proc, say
            return "unknown"
        if state.state in ("stopped", "frozen"):
            return state.state
        return usage.condition(state, now())

    return sample


class _Usage:
    """The CPU time of one process, sampled at fixed intervals, so that two calls in a row give the same result."""

    def __init__(self) -> None:
        self._sampled_s = float("-inf")
        self._ticks = 0
        self._condition: Condition = "unknown"

    def condition(self, state: ProcessState, now_s: float) -> Condition:
        age_s = now_s - self._sampled_s
        if age_s >= SAMPLE_S:
            is_busy = state.state == "running" if age_s > STALE_S else state.cpu_ticks > self._ticks
            self._condition = "busy" if is_busy else "idle"
            self._sampled_s, self._ticks = now_s, state.cpu_ticks
        return self._condition
