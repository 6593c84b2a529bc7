"""How long a call may take: so long in silence, so long in all, whatever it says meanwhile.

Like `asyncio.timeout`, but progress extends it at no cost, it knows when we were not run ourselves, and on the way of
every call it takes a third of the time. It counts awake time (`brummer.core.clock`).
"""

import asyncio
import math
from types import TracebackType
from typing import Final, Protocol, Self

from brummer.link.health import LATE_S

GRACE_S: Final = 2.0
"""What a deadline that fires late gives: the answer may have come while we were stopped, and wait in our socket."""


class Deadline:
    """Cancels what runs inside when ``silence_s`` have passed without `extend`, and raises TimeoutError there.

    ``left_s``: what is left of the first silence, where that has begun before. ``max_s``: the most that `extend` can
    extend it to.
    """

    __slots__ = ("_cancelling", "_due_s", "_last_s", "_loop", "_silence_s", "_task", "_timer", "expired")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, silence_s: float, left_s: float | None = None, max_s: float = 0.0
    ) -> None:
        self._loop = loop
        self._silence_s = silence_s
        now = loop.time()
        self._due_s = now + (silence_s if left_s is None else left_s)
        self._last_s = now + max(silence_s, max_s)
        self.expired = False

    def extend(self) -> None:
        """A sign of life: silence begins anew."""
        self._due_s = min(self._last_s, self._loop.time() + self._silence_s)

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 — a coroutine runs in a task
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = self._loop.call_at(self._due_s, self._fire)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self.expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _fire(self) -> None:
        now = self._loop.time()
        if now - self._timer.when() > LATE_S:
            self._due_s = max(self._due_s, now + GRACE_S)
        if now < self._due_s:
            self._timer = self._loop.call_at(self._due_s, self._fire)
            return
        self.expired = True
        self._task.cancel()


class Dated(Protocol):
    """Something that must be over by ``due_s``, on the loop's clock; else it is told to `expire`."""

    due_s: float

    def expire(self) -> None: ...


class Deadlines:
    """Any number of deadlines on one timer, which is set once in many calls: to add and drop one costs next to nothing.

    ``due_s`` may be moved on at any time, since each is looked at again when the timer fires.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._dated: dict[Dated, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._fires_s = math.inf

    def add(self, dated: Dated) -> None:
        self._dated[dated] = None
        if dated.due_s < self._fires_s:
            self._set(dated.due_s)

    def drop(self, dated: Dated) -> None:
        self._dated.pop(dated, None)

    def close(self) -> None:
        self._dated.clear()
        self._set(math.inf)

    def _set(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires_s = due_s
        self._timer = None if math.isinf(due_s) else self._loop.call_at(due_s, self._fire)

    def _fire(self) -> None:
        now = self._loop.time()
        if now - self._fires_s > LATE_S:
            for dated in self._dated:
                dated.due_s = max(dated.due_s, now + GRACE_S)
        try:
            for dated in [dated for dated in self._dated if dated.due_s <= now]:
                if dated in self._dated:  # the end of another may have moved it on
                    self._dated.pop(dated, None)
                    dated.expire()
        finally:  # a defect in one must not cost the others their deadlines
            self._set(min((dated.due_s for dated in self._dated), default=math.inf))
