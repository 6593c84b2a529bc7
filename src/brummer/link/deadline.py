"""How long a call may take: so long in silence, so long in all, whatever it says meanwhile.

Like `asyncio.timeout`, but the watched object holds its own due time and may extend it at no cost; and a timer that
fires late gives some more time. It counts awake time (`brummer.core.clock`).
"""

import asyncio
import math
from types import TracebackType
from typing import Final, Protocol, Self

from brummer.link.health import LATE_S

GRACE_S: Final = 2.0
"""What a deadline that fires late gives: the answer may have come while we were stopped, and wait in our socket."""


class Due(Protocol):
    """Something that must be over by ``due_s``, on the loop's clock."""

    due_s: float


class Deadline:
    """Cancels the code inside when ``due.due_s`` has passed, and raises TimeoutError there."""

    __slots__ = ("_cancelling", "_due", "_loop", "_task", "_timer", "expired")

    def __init__(self, loop: asyncio.AbstractEventLoop, due: Due) -> None:
        self._loop = loop
        self._due = due
        self.expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 — a coroutine runs in a task
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = self._loop.call_at(self._due.due_s, self._fire)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self.expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _fire(self) -> None:
        now, due = self._loop.time(), self._due
        if now - self._timer.when() > LATE_S:
            due.due_s = max(due.due_s, now + GRACE_S)
        if now < due.due_s:
            self._timer = self._loop.call_at(due.due_s, self._fire)
            return
        self.expired = True
        self._task.cancel()


class Dated(Due, Protocol):
    """Its `expire` is called when ``due_s`` has passed."""

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
        if (due_s := dated.due_s) < self._fires_s:
            self._set(due_s)

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
