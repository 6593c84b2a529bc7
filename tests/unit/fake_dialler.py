"""A pool's peer without sockets, and a user of the pool that notes what it gets."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, cast

from brummer.core.errors import TransportError
from brummer.pool.connections import Connections, Lease, Purpose
from brummer.wire.http.connection import HttpConnection


class FakeConnection:
    """Closes when it is told to."""

    def __init__(self, on_close: Callable[[HttpConnection], None], heard_s: float = 0.0) -> None:
        self._on_close = on_close
        self.heard_s = heard_s
        self.opened_at = heard_s
        self.closed = self.was_hung_up = self.lacked_memory = False

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._on_close(cast("HttpConnection", self))


class FakeDialler:
    """A `brummer.pool.connections.Dialler`: each dial waits until `answer` or `refuse` ends it."""

    keeps_idle = True

    def __init__(self) -> None:
        self.dials: list[asyncio.Future[FakeConnection]] = []
        self.opened: list[FakeConnection] = []

    async def __call__(self, on_close: Callable[[HttpConnection], None], within_s: float | None) -> Any:
        dial: asyncio.Future[FakeConnection] = asyncio.get_running_loop().create_future()
        self.dials.append(dial)
        try:
            await dial
        finally:
            self.dials.remove(dial)
        connection = FakeConnection(on_close, heard_s=len(self.opened))
        self.opened.append(connection)
        return connection

    async def answer(self, first: int | None = None) -> None:
        """All dials that have begun succeed, or the ``first`` so many."""
        await settle()
        for dial in self.dials[:first]:
            dial.set_result(cast("FakeConnection", None))
        await settle()

    async def refuse(self) -> None:
        """All dials that have begun fail."""
        await settle()
        for dial in list(self.dials):
            dial.set_exception(TransportError("refused"))
        await settle()


class User:
    """A `brummer.pool.connections.Holder`."""

    def __init__(self, connections: Connections, purpose: Purpose = Purpose.CALL, flow: Hashable = None) -> None:
        self.lease = Lease(connections, purpose, flow, self)
        self.slots = 0
        self.connections: list[HttpConnection] = []
        self.errors: list[BaseException | None] = []

    def on_slot(self) -> None:
        self.slots += 1

    def on_connection(self, connection: HttpConnection) -> None:
        self.connections.append(connection)

    def on_no_connection(self, error: BaseException | None) -> None:
        self.errors.append(error)

    def acquire(self) -> bool:
        """Whether it got one at once."""
        connection = self.lease.acquire()
        if connection is not None:
            self.connections.append(connection)
        return connection is not None


async def settle() -> None:
    """What is due in the loop has run."""
    for _ in range(5):
        await asyncio.sleep(0)
