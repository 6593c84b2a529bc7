"""An event loop on which five minutes take a millisecond: time moves only when every task waits, and then at once.

Sockets within this process work as ever, because the kernel delivers on loopback before a send returns; so whole hubs
and instances can live on it. Other processes and threads do not: they live in real time.
"""

import asyncio
import selectors
from collections.abc import Callable

from brummer.core.clock import Reading

START_S = 1000.0
"""Not 0: code that takes a missing time for "long ago" fails at once."""


class _JumpingSelector(selectors.DefaultSelector):
    """Asked to wait, it polls once, and then moves the time at once."""

    on_wait: Callable[[float | None], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        self.on_wait(timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at `START_S`. Raises `Stuck` when nothing would ever happen again."""

    def __init__(self) -> None:
        self.now_s = START_S
        selector = _JumpingSelector()
        selector.on_wait = self._jump
        super().__init__(selector)
        self.slow_callback_duration = float("inf")  # what seems slow here is a jump

    def time(self) -> float:
        return self.now_s

    def _jump(self, timeout: float | None) -> None:
        if timeout is None:
            raise Stuck("every task waits, and no timer is set")
        self.now_s += timeout

    def stand_still(self, seconds: float) -> None:
        """Let time pass in which nothing runs: every timer that falls into it is late."""
        self.now_s += seconds


class Stuck(RuntimeError):
    """Every task waits and no timer is set, or callbacks run for ever."""


class VirtualClock:
    """A `brummer.core.clock.Clock` on a virtual loop's time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.asleep_s = 0.0
        self.set_forth_s = 0.0

    def awake(self) -> float:
        return self._loop.time()

    def elapsed(self) -> float:
        return self._loop.time() + self.asleep_s

    def wall(self) -> float:
        return self.elapsed() + self.set_forth_s

    def reading(self) -> Reading:
        return Reading(self.awake(), self.elapsed(), self.wall())
