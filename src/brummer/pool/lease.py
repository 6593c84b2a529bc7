"""What a user of the pool holds: a lease (a slot for a call, and a connection), or a dial of the hub's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from brummer.core.errors import ConnectionClosed
from brummer.wire.http.connection import HttpConnection

if TYPE_CHECKING:
    from brummer.pool.pool import Connections


class Purpose(IntEnum):
    """What a connection is used for, in the order in which waiters are served."""

    OWN = 0
    """The hub's own dials, probes and cancellations: short."""
    CALL = 1
    WAIT = 2
    """A call that waits for an event may hold its connection for hours."""


class Holder(Protocol):
    """The user of a lease. The pool calls one of these for each thing that the lease had to wait for."""

    def on_slot(self) -> None:
        """The lease has a slot now."""

    def on_connection(self, connection: HttpConnection) -> None:
        """The lease has a connection now."""

    def on_no_connection(self, error: BaseException | None) -> None:
        """The dial has failed. None: all connections to the peer were closed meanwhile; ask again."""


class Lease:
    """Of one call. `end` must follow `acquire_slot`."""

    __slots__ = ("connection", "connections", "flow", "has_slot", "holder", "is_queued", "purpose")
    takes_idle = True

    def __init__(self, connections: "Connections", purpose: Purpose, flow: Hashable, holder: Holder) -> None:
        self.connections = connections
        self.purpose = purpose
        self.flow = flow
        self.holder = holder
        self.has_slot = self.is_queued = False
        self.connection: HttpConnection | None = None

    def acquire_slot(self) -> bool:
        """Take a slot. False: the lease is queued for one, and `Holder.on_slot` follows. Raises `Busy`."""
        pool, lane = self.connections.pool, self.connections.lanes[self.purpose]
        if lane.queue.size or lane.in_flight >= lane.limit or pool.in_flight >= pool.limits.in_flight:
            pool.enqueue(self)
            return False
        lane.in_flight += 1
        pool.in_flight += 1
        self.has_slot = True
        return True

    def acquire(self) -> HttpConnection | None:
        """Take an idle connection. None: `Holder.on_connection` or `Holder.on_no_connection` follows. Raises `Busy`."""
        connections = self.connections
        self.connection = connection = connections.take_idle(self.purpose)
        if connection is None:
            connections.pool.want(self)
        return connection

    def release(self) -> None:
        """Return the connection, or stop waiting for one. The slot stays."""
        connection, self.connection = self.connection, None
        connections = self.connections
        if connection is None:
            connections.pool.stop_wanting(self)
        elif connection in connections.busy:  # else it was closed
            connections.take_back(connection)

    def end(self) -> None:
        """Return everything; may be called again."""
        connections, connection = self.connections, self.connection
        pool = connections.pool
        if connection is not None and connection in connections.busy:
            self.connection = None
            connections.take_back(connection)
        else:
            self.release()
        if self.has_slot:
            self.has_slot = False
            connections.lanes[self.purpose].in_flight -= 1
            pool.in_flight -= 1
            if pool.queued:
                pool.settle()
        elif self.is_queued:
            pool.leave_queue(self)


class Dial:
    """A new, proven connection for the hub itself: to make a link ready, or to probe.

    It runs in a task of its own, so it can be watched and dropped. ``on_step`` is called when it begins and when it
    ends. One of `result`, `drop` and `end` must follow.
    """

    purpose = Purpose.OWN
    takes_idle = False

    def __init__(self, connections: "Connections", on_step: Callable[[], object], within_s: float | None) -> None:
        self.connections = connections
        self.within_s = within_s
        self._on_step = on_step
        self._task: asyncio.Task[HttpConnection] | None = None
        self._ended: HttpConnection | BaseException | None = None
        self._is_dropped = False
        connections.pool.want(self)

    @property
    def is_over(self) -> bool:
        return self._ended is not None

    @property
    def has_begun(self) -> bool:
        """There was room for one more connection."""
        return self._task is not None

    def begin(self, task: asyncio.Task[HttpConnection]) -> None:
        """For the pool."""
        self._task = task
        self._on_step()

    def finish(self, outcome: HttpConnection | BaseException) -> None:
        """For the pool."""
        self._ended = outcome
        if self._is_dropped:
            self._close()
        else:
            self._on_step()

    def result(self) -> HttpConnection:
        """Once it is over. Raises `TransportError`."""
        assert self._ended is not None  # noqa: S101 — see above
        if isinstance(self._ended, BaseException):
            raise self._ended
        return self._ended

    def drop(self) -> None:
        """Nothing needs it any more."""
        self._is_dropped = True
        if self._task is None:
            self.connections.pool.stop_wanting(self)
        elif not self.is_over:
            self._task.cancel()
        else:
            self._close()

    async def end(self) -> None:
        """As `drop`; returns when nothing of it is left."""
        self.drop()
        if self._task is not None and not self._task.done():
            await asyncio.wait((self._task,))

    def _close(self) -> None:
        if self._ended is not None and not isinstance(self._ended, BaseException):
            self._ended.close()


class _Borrower:
    def __init__(self) -> None:
        self.connection: asyncio.Future[HttpConnection] = asyncio.get_running_loop().create_future()

    def on_slot(self) -> None:
        """It asks for none."""

    def on_connection(self, connection: HttpConnection) -> None:
        if not self.connection.done():
            self.connection.set_result(connection)

    def on_no_connection(self, error: BaseException | None) -> None:
        if not self.connection.done():
            self.connection.set_exception(error or ConnectionClosed("the connections were closed", sent=False))


@contextlib.asynccontextmanager
async def borrowed(connections: "Connections") -> AsyncIterator[HttpConnection]:
    """A connection for the hub itself: an idle one, else a new one. Raises `TransportError`."""
    borrower = _Borrower()
    lease = Lease(connections, Purpose.OWN, None, borrower)
    try:
        yield lease.acquire() or await borrower.connection
    finally:
        lease.release()
