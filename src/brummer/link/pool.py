"""The proven connections of one link: one stays warm for hours, more are opened under concurrency, and go again."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from brummer.wire.http.connection import HttpConnection

SPARE_IDLE_S: Final = 5.0
"""How long a connection beyond the first may idle: longer than the gaps inside a burst of calls."""


class Pool:
    """Hands out connections, first come, first served. ``opener`` returns one that is connected and proven.

    ``limit`` at a time; ``keep`` stay open for as long as they live, the others until they idle. ``gives_up`` is asked
    of one that comes free, and closes it where others want its place.
    """

    def __init__(
        self,
        opener: Callable[[], Awaitable[HttpConnection]],
        *,
        limit: int,
        keep: int = 1,
        gives_up: Callable[[HttpConnection], bool] = lambda _: False,
    ) -> None:
        self._opener = opener
        self._gives_up = gives_up
        self._limit = limit
        self._keep = keep
        self._loop = asyncio.get_running_loop()
        self._idle: list[HttpConnection] = []
        self._busy: dict[HttpConnection, None] = {}
        self._opening: dict[asyncio.Task[None], None] = {}
        self._queue: deque[asyncio.Future[HttpConnection | None]] = deque()
        self._shrink: asyncio.TimerHandle | None = None

    @property
    def size(self) -> int:
        return len(self._idle) + len(self._busy) + len(self._opening)

    @property
    def busy(self) -> int:
        return len(self._busy)

    @property
    def in_use(self) -> int:
        """Busy, or about to be: a connection that is being opened is waited for by a call."""
        return len(self._busy) + len(self._opening)

    @property
    def queued(self) -> int:
        """Callers that wait for a connection."""
        return len(self._queue)

    @property
    def idle(self) -> list[HttpConnection]:
        return self._idle

    @property
    def connections(self) -> list[HttpConnection]:
        return [*self._idle, *self._busy]

    def add(self, connection: HttpConnection) -> None:
        """Take in a proven connection that was opened outside."""
        self._offer(connection)

    def take_idle(self) -> HttpConnection | None:
        """An idle connection if there is one; `release` must follow."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                self._busy[connection] = None
                return connection
        return None

    async def acquire(self) -> HttpConnection:
        """An idle connection, else the next that comes free or is opened. Raises what the opener raises.

        Whoever came first gets what comes first, so that calls which waited for the link leave in their order.
        """
        while (connection := self.take_idle()) is None:
            handed = await self._turn()
            if handed is None:  # a place came free, not a connection
                continue
            if not handed.closed:
                return handed
            self._busy.pop(handed, None)
        return connection

    async def _turn(self) -> HttpConnection | None:
        turn: asyncio.Future[HttpConnection | None] = self._loop.create_future()
        self._queue.append(turn)
        if self.size < self._limit:
            task = self._loop.create_task(self._open())
            self._opening[task] = None
            task.add_done_callback(lambda done: self._opening.pop(done, None))
        try:
            return await turn
        except asyncio.CancelledError:
            self._pass_on(turn)
            raise

    def release(self, connection: HttpConnection) -> None:
        self._busy.pop(connection, None)
        if connection.closed:
            self._free_place()
        elif self._gives_up(connection):  # whoever waits here has his turn among the others, if one is opened for him
            if len(self._queue) > len(self._opening):
                self._free_place()
        elif self._queue:
            self._offer(connection)
        else:
            self._settle(connection)

    def drop(self, connection: HttpConnection) -> None:
        """Forget a connection that closed while idle."""
        if connection in self._idle:
            self._idle.remove(connection)
            self._free_place()

    def close_spares(self) -> None:
        """Those beyond the ones that are kept; the oldest stay, because they have proved their worth."""
        spares = sorted(self._idle, key=lambda connection: connection.opened_at)[self._keep :]
        for connection in spares:
            connection.close()

    def close_idle(self) -> None:
        for connection in list(self._idle):
            connection.close()

    def close(self) -> None:
        """Close everything; whoever waits gets a place and finds out for itself."""
        for connection in self.connections:
            connection.close()
        self._idle.clear()
        for task in list(self._opening):
            task.cancel()
        self._opening.clear()
        if self._shrink is not None:
            self._shrink.cancel()
            self._shrink = None
        while self._queue:
            self._free_place()

    async def _open(self) -> None:
        """For whoever is first in the queue by then."""
        try:
            connection = await self._opener()
        except Exception as error:  # noqa: BLE001 — it is for whoever waits
            self._opening.pop(_current_task(), None)
            failure = error
            self._hand(lambda turn: turn.set_exception(failure))
            if len(self._queue) > len(self._opening):  # somebody had waited for this place
                self._free_place()
        else:
            self._opening.pop(_current_task(), None)
            self._offer(connection)

    def _offer(self, connection: HttpConnection) -> None:
        if connection.closed:
            self._free_place()
            return
        self._busy[connection] = None  # counted from now on, although its new owner has not woken up yet
        if self._hand(lambda turn: turn.set_result(connection)):
            return
        self._busy.pop(connection, None)
        self._keep_idle(connection)

    def _keep_idle(self, connection: HttpConnection) -> None:
        if not self._gives_up(connection):
            self._settle(connection)

    def _settle(self, connection: HttpConnection) -> None:
        self._idle.append(connection)
        if len(self._idle) > self._keep and self._shrink is None:
            self._shrink = self._loop.call_later(SPARE_IDLE_S, self._on_shrink)

    def _free_place(self) -> None:
        self._hand(lambda turn: turn.set_result(None))

    def _hand(self, give: "Callable[[asyncio.Future[HttpConnection | None]], None]") -> bool:
        """Give it to the first who waits; False when nobody does."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                give(turn)
                return True
        return False

    def _pass_on(self, turn: "asyncio.Future[HttpConnection | None]") -> None:
        """Cancelled just as its turn came: the next one gets what it was given."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            connection = turn.result()
            if connection is None:
                self._free_place()
            else:
                self.release(connection)

    def _on_shrink(self) -> None:
        self._shrink = None
        self.close_spares()


def _current_task() -> "asyncio.Task[None]":
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 — only called inside one
    return task
