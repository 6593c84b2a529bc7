"""Deadlines on one timer. They count awake time (`brummer.core.clock`)."""

import asyncio
import math
from typing import Final, Generic, Protocol, TypeVar

from brummer.link.health import LATE_S

GRACE_S: Final = 2.0
"""What a deadline that fires late gives: the answer may have come while we were stopped, and wait in our socket."""


class Dated(Protocol):
    """Something that must be over at a time on the loop's clock."""

    @property
    def due_s(self) -> float:
        """It may move at any time, because it is read again when the timer fires."""

    def postpone(self, due_s: float) -> None:
        """It must not be over before that time."""

    def expire(self) -> None:
        """Its time has passed."""


D = TypeVar("D", bound=Dated)


class Deadlines(Generic[D]):
    """Any number of deadlines. The timer is set once in many calls: to add and drop one costs next to nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._dated: dict[D, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._fires_s = math.inf

    def __len__(self) -> int:
        return len(self._dated)

    def all(self) -> list[D]:
        return list(self._dated)

    def add(self, dated: D, due_s: float) -> None:
        """Watch one that is due then, or earlier than it was."""
        self._dated[dated] = None
        if due_s < self._fires_s:
            self._set(due_s)

    def drop(self, dated: D) -> None:
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
                dated.postpone(now + GRACE_S)
        try:
            for dated in [dated for dated in self._dated if dated.due_s <= now]:
                if dated in self._dated and dated.due_s <= now:  # the end of another may have moved it on
                    self.drop(dated)
                    dated.expire()
        finally:  # a defect in one must not cost the others their deadlines
            self._set(min((dated.due_s for dated in self._dated), default=math.inf))
