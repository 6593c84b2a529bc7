"""The proven connections of one link: one stays warm for hours, more are opened under concurrency, and go again."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from brummer.wire.http_connection import HttpConnection

SPARE_IDLE_S: Final = 5.0
"""How long a connection beyond the first may idle: longer than the gaps inside a burst of calls."""


class Pool:
    """Hands out connections, first come, first served. ``opener`` returns one that is connected and proven.

    ``limit`` at a time; ``keep`` stay open for as long as they live, the others until they idle.
    """

    def __init__(self, opener: Callable[[], Awaitable[HttpConnection]], *, limit: int, keep: int = 1) -> None:
        self._opener = opener
        self._limit = limit
        self._keep = keep
        self._idle: list[HttpConnection] = []
        self._busy: set[HttpConnection] = set()
        self._opening = 0
        self._queue: deque[asyncio.Future[HttpConnection | None]] = deque()
        self._shrink: asyncio.TimerHandle | None = None

    @property
    def size(self) -> int:
        return len(self._idle) + len(self._busy) + self._opening

    @property
    def busy(self) -> int:
        return len(self._busy)

    @property
    def in_use(self) -> int:
        """Busy, or about to be: a connection that is being opened is waited for by a call."""
        return len(self._busy) + self._opening

    @property
    def connections(self) -> list[HttpConnection]:
        return [*self._idle, *self._busy]

    def add(self, connection: HttpConnection) -> None:
        """Take in a proven connection that was opened outside."""
        self._offer(connection)

    async def acquire(self) -> HttpConnection:
        """An idle connection, else a new one, else the next that comes free. Raises what the opener raises."""
        while True:
            if self._idle:
                connection = self._idle.pop()
            elif self.size < self._limit:
                connection = await self._open()
            else:
                turn: asyncio.Future[HttpConnection | None] = asyncio.get_running_loop().create_future()
                self._queue.append(turn)
                try:
                    handed = await turn
                except asyncio.CancelledError:
                    self._pass_on(turn)
                    raise
                if handed is None:  # a place came free, not a connection
                    continue
                connection = handed
            if not connection.closed:
                self._busy.add(connection)
                return connection
            self._busy.discard(connection)

    def release(self, connection: HttpConnection) -> None:
        self._busy.discard(connection)
        if connection.closed:
            self._free_place()
        else:
            self._offer(connection)

    def drop(self, connection: HttpConnection) -> None:
        """Forget a connection that closed while idle."""
        if connection in self._idle:
            self._idle.remove(connection)
            self._free_place()

    def close(self) -> None:
        """Close everything; whoever waits gets a place and finds out for itself."""
        for connection in self.connections:
            connection.close()
        self._idle.clear()
        if self._shrink is not None:
            self._shrink.cancel()
            self._shrink = None
        while self._queue:
            self._free_place()

    async def _open(self) -> HttpConnection:
        self._opening += 1
        try:
            return await self._opener()
        except BaseException:
            self._free_place()
            raise
        finally:
            self._opening -= 1

    def _offer(self, connection: HttpConnection) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                self._busy.add(connection)  # counted from now on, though its new owner has yet to wake up
                turn.set_result(connection)
                return
        self._idle.append(connection)
        if len(self._idle) > self._keep and self._shrink is None:
            self._shrink = asyncio.get_running_loop().call_later(SPARE_IDLE_S, self._close_spares)

    def _free_place(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _pass_on(self, turn: "asyncio.Future[HttpConnection | None]") -> None:
        """Cancelled just as its turn came: the next one gets what it was given."""
        if turn.done() and not turn.cancelled():
            connection = turn.result()
            if connection is None:
                self._free_place()
            else:
                self.release(connection)

    def _close_spares(self) -> None:
        """The oldest stay, because they have proved their worth."""
        self._shrink = None
        spares = sorted(self._idle, key=lambda connection: connection.opened_at)[self._keep :]
        for connection in spares:
            connection.close()
