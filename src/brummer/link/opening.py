"""A connection in the making, in a task of its own: it can be watched and dropped, and none is left open for nobody."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

from brummer.link.budget import Purpose
from brummer.link.connections import Connections
from brummer.link.health import Health
from brummer.wire.http.connection import HttpConnection


class Opening:
    """``on_step`` is called when it is over, one way or the other; one of `result`, `drop` and `end` must follow."""

    def __init__(self, opening: Coroutine[Any, Any, HttpConnection], on_step: Callable[[], object]) -> None:
        self._task = asyncio.get_running_loop().create_task(opening)
        self._task.add_done_callback(lambda _: on_step())

    @property
    def is_over(self) -> bool:
        return self._task.done()

    def result(self) -> HttpConnection:
        """Once it is over. Raises `TransportError`."""
        return self._task.result()

    def drop(self) -> None:
        """Nobody wants it any more."""
        self._task.cancel()
        self._task.add_done_callback(_close_what_came)  # it may have been answered just now

    async def end(self) -> None:
        """As `drop`; returns when nothing of it is left."""
        self._task.cancel()
        await asyncio.wait((self._task,))
        _close_what_came(self._task)


class Probe(Opening):
    """The question whether an instance is there and (still) itself. It stays open while it is unanswered."""

    def __init__(self, connections: Connections, health: Health, on_step: Callable[[], object]) -> None:
        self._connections = connections
        self._health = health
        self._on_step = on_step
        self._has_place = False
        self._note_asked()
        super().__init__(self._ask(), on_step)

    @property
    def due_s(self) -> float:
        """When it should have been answered. Time runs from when it has a place: before, it could not even be asked."""
        return self._health.last_asked_s + self._health.probe_deadline_s() if self._has_place else math.inf

    def goes_on(self) -> None:
        """It was not answered in time, and gets as much time again."""
        self._note_asked()

    async def _ask(self) -> HttpConnection:
        place = await self._connections.budget.take(Purpose.OWN, self._connections)
        self._has_place = True
        self._note_asked()
        self._on_step()
        return await self._connections.open_at(place)

    def _note_asked(self) -> None:
        self._health.asked(asyncio.get_running_loop().time())


def _close_what_came(task: asyncio.Task[HttpConnection]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
