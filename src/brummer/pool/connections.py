"""What a hub holds of one peer: its slots and connections, a lease of them for each call, and dials of the hub's own.

Which user of the pool gets what next, `brummer.pool.pool` decides.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import msgspec

from brummer.core.errors import ConnectionClosed
from brummer.pool.fair_queue import FairQueue
from brummer.wire.http.connection import HttpConnection

if TYPE_CHECKING:
    from brummer.pool.pool import Pool

_log = logging.getLogger(__name__)

SPARE_IDLE_S: Final = 5.0
"""How long a connection beyond the first may be idle: longer than the gaps inside a burst of calls."""


class Purpose(IntEnum):
    """What a connection is used for, in the order in which waiters are served."""

    OWN = 0
    """The hub's own dials, probes and cancellations: short."""
    CALL = 1
    WAIT = 2
    """A call that waits for an event may hold its connection for hours."""
    NEWS = 3
    """One with ``wait_s``: who watches holds some all the time, and starts and stops must not wait for them."""


OWN: Final = Purpose.OWN
CALL: Final = Purpose.CALL
WAIT: Final = Purpose.WAIT
NEWS: Final = Purpose.NEWS
"""See `brummer.link.state.READY`."""

WAITS: Final = (WAIT, NEWS)
"""Each may have half of all connections, and both together three quarters."""


class Holder(Protocol):
    """The user of a lease. The pool calls one of these for each thing that the lease had to wait for."""

    def on_slot(self) -> None:
        """The lease has a slot now."""

    def on_connection(self, connection: HttpConnection) -> None:
        """The lease has a connection now."""

    def on_no_connection(self, error: BaseException | None) -> None:
        """The dial has failed. None: all connections to the peer were closed meanwhile; ask again."""


class Dialler(Protocol):
    """Connects to a peer, and proves its identity."""

    @property
    def keeps_idle(self) -> bool:
        """The peer keeps idle connections open, so one that it closes is a loss."""

    def __call__(
        self, on_close: Callable[[HttpConnection], None], within_s: float | None
    ) -> Coroutine[Any, Any, HttpConnection]:
        """Raises `TransportError`. ``within_s``: the longest time for the proof."""


class Lease(msgspec.Struct, eq=False):
    """Of one call. `end` must follow `acquire_slot`."""

    takes_idle: ClassVar[bool] = True
    connections: "Connections"
    purpose: Purpose
    flow: Hashable
    holder: Holder
    has_slot: bool = False
    is_queued: bool = False
    is_acquiring: bool = False
    connection: HttpConnection | None = None

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
        """Take the usable connection that was used last.

        None: `Holder.on_connection` or `Holder.on_no_connection` follows. Raises `Busy`.
        """
        connections, pool = self.connections, self.connections.pool
        if not connections.usable(self.purpose):
            self.is_acquiring = True
            try:
                pool.want(self)
            finally:
                self.is_acquiring = False
            return self.connection  # the dial that was begun for it may have made an idle one usable
        idle = connections.idle
        waits = self.purpose in WAITS
        spares_last = waits and len(idle) > 1 and idle[-1] is connections.oldest
        self.connection = connection = idle.pop(-2 if spares_last else -1)
        connections.busy[connection] = self.purpose
        pool.idle -= 1
        pool.in_use[self.purpose] += 1
        if waits:
            connections.keep_last()
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

    def close(self) -> None:
        """End for good: the holder is told nothing more.

        A call and its lease refer to each other. Left to the garbage collection, that costs a third more per call.
        """
        self.end()
        self.holder = _NO_HOLDER


class _NoHolder:
    """The holder of a lease that is closed."""

    def on_slot(self) -> None:
        pass

    def on_connection(self, connection: HttpConnection) -> None:
        pass

    def on_no_connection(self, error: BaseException | None) -> None:
        pass


_NO_HOLDER: Final = _NoHolder()


class Dial:
    """A new, proven connection for the hub itself: to make a link ready, or to probe.

    It runs in a task of its own, so it can be watched and dropped. ``on_step`` is called when it begins and when it
    ends. One of `result`, `drop` and `end` must follow.
    """

    purpose = OWN
    takes_idle = False

    def __init__(self, connections: "Connections", on_step: Callable[[], object], within_s: float | None) -> None:
        self.connections = connections
        self.within_s = within_s
        self._on_step = on_step
        self.begun_s = math.inf
        """In loop time: before, it waited for room."""
        self._task: asyncio.Task[HttpConnection] | None = None
        self._ended: HttpConnection | BaseException | None = None
        self._is_dropped = False
        connections.pool.want(self)

    @property
    def is_over(self) -> bool:
        return self._ended is not None

    @property
    def has_begun(self) -> bool:
        """One more connection could be opened."""
        return self._task is not None

    def begin(self, task: asyncio.Task[HttpConnection]) -> None:
        """For the pool."""
        self._task, self.begun_s = task, asyncio.get_running_loop().time()
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


class Lane(msgspec.Struct):
    """The slots for one kind of calls to one peer, and the queue for them."""

    limit: int
    in_flight: int = 0
    queue: FairQueue[Lease] = msgspec.field(default_factory=FairQueue)


class Connections:
    """The slots and connections to one peer. ``on_closed`` is called whenever one of them closes."""

    def __init__(self, pool: "Pool", name: str, dialler: Dialler, on_closed: Callable[[], None]) -> None:
        self.pool = pool
        self.name = name
        self._dialler = dialler
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        limits = pool.limits
        self.lanes = {
            CALL: Lane(min(limits.in_flight_per_instance, pool.for_calls)),
            WAIT: Lane(min(limits.waiting_per_instance, pool.for_waits)),
            NEWS: Lane(min(limits.waiting_per_instance, pool.for_waits)),
        }
        self.idle: list[HttpConnection] = []
        self.busy: dict[HttpConnection, Purpose] = {}
        self._own: set[HttpConnection] = set()
        """Dialled for the hub itself, and neither closed nor given to calls yet."""
        self.dialling = [0] * len(Purpose)
        """Dials that are under way for calls, by purpose."""
        self._dials: dict[asyncio.Task[HttpConnection], None] = {}
        self._shrink: asyncio.TimerHandle | None = None
        self.dials = 0
        self.on_left: Callable[[], None] = lambda: None
        """Called when the last one was closed by a server that may close what is idle, and may also be gone."""
        self._dial_failed = False
        """The last one did: until one succeeds, an idle connection is better than none."""
        self._needs_none = False
        """That there is none has an innocent reason."""
        pool.peers[self] = None

    @property
    def size(self) -> int:
        """Those that are open, or being dialled for a call."""
        return len(self.idle) + len(self.busy) + sum(self.dialling)

    @property
    def queued(self) -> int:
        """Calls that wait for a slot."""
        return sum(lane.queue.size for lane in self.lanes.values())

    @property
    def in_flight(self) -> int:
        """Those that carry a call."""
        return sum(purpose is not OWN for purpose in self.busy.values())

    @property
    def has_calls(self) -> bool:
        """A call that waits for no event is under way, or any is about to be."""
        return CALL in self.busy.values() or any(self.dialling)

    @property
    def has_waits(self) -> bool:
        return any(purpose in WAITS for purpose in self.busy.values())

    @property
    def all(self) -> list[HttpConnection]:
        return [*self.idle, *self.busy]

    @property
    def oldest(self) -> HttpConnection | None:
        return min(self.all, key=lambda connection: connection.opened_at, default=None)

    def usable(self, purpose: Purpose) -> int:
        """Idle ones for this purpose. A wait that is cancelled closes its connection, so it leaves the oldest to quick
        calls, where one more may be dialled for it without closing another.
        """
        pool, idle = self.pool, len(self.idle)
        if purpose not in WAITS or not idle:
            return idle
        if not pool.has_place_for(purpose):
            return 0
        has_place = pool.connections < pool.for_calls and self.size < sum(lane.limit for lane in self.lanes.values())
        return idle - 1 if has_place and not self._dial_failed and self.oldest in self.idle else idle

    @property
    def are_lost(self) -> bool:
        """None is left, and not because others wanted its place, or its server closes what is idle."""
        return not self._needs_none and self.size == 0

    def distrust(self) -> None:
        """One could not be opened, or failed: that there is none has no innocent reason any more."""
        self._needs_none = False

    def dial(self, on_step: Callable[[], object], within_s: float | None = None) -> Dial:
        """A new, proven connection for the hub itself; ``within_s``: the longest time for the proof."""
        return Dial(self, on_step, within_s)

    def add(self, connection: HttpConnection) -> None:
        """Have calls use one that was dialled for the hub itself."""
        self._needs_none = False
        if connection in self._own:
            self._own.remove(connection)
            self.pool.in_use[CALL] -= 1
            self.take_back(connection)

    def take_back(self, connection: HttpConnection) -> None:
        """It carries nothing any more."""
        pool = self.pool
        purpose = self.busy.pop(connection, None)
        if purpose is not None:
            pool.in_use[purpose] -= 1
        pool.idle += 1
        self.idle.append(connection)
        if pool.wanted:
            pool.settle()
        if len(self.idle) > 1 and self._shrink is None:
            self._shrink = self._loop.call_later(SPARE_IDLE_S, self._on_shrink)

    def evict(self, connection: HttpConnection) -> None:
        """Take an idle one out, to be closed because its place is wanted."""
        self.idle.remove(connection)
        self.pool.idle -= 1
        self._needs_none = self.size == 0

    def drop_idle(self, keep: int = 0) -> None:
        """Close those that carry no call. The oldest are kept, because they have proved their worth."""
        for connection in sorted(self.idle, key=lambda connection: connection.opened_at)[keep:]:
            connection.close()

    def close(self) -> None:
        """All of them, at once. Calls on them fail with `ConnectionClosed`; waiters find out for themselves."""
        self._needs_none = False
        waiting = self.pool.withdraw(self, Purpose)  # first: each connection that closes lets a dial begin
        for task in self._dials:
            task.cancel()
        self._dials.clear()
        for connection in self.all:
            connection.close()
        self._stop_shrinking()
        for lease in waiting:
            tell(partial(lease.holder.on_no_connection, None))

    def end(self) -> None:
        """Nothing is called there any more."""
        self.close()
        self.pool.peers.pop(self, None)

    def keep_last(self) -> None:
        """If no idle one is beyond the first any more, wake for none: a wait may last far longer than the timer, and
        whoever waits again and again would be woken once more each time. Calls come too often to be worth this.
        """
        if len(self.idle) <= 1:
            self._stop_shrinking()

    def _stop_shrinking(self) -> None:
        if self._shrink is not None:
            self._shrink.cancel()
            self._shrink = None

    def _on_shrink(self) -> None:
        self._shrink = None
        self.drop_idle(keep=1)

    # Dialling.

    def dial_for(self, purpose: Purpose, own: Dial | None) -> None:
        """Start a dial, for which a connection may be opened: the hub's own, or one for calls."""
        self.dials += 1
        task = self._loop.create_task(
            self._dialler(self._on_connection_closed, own.within_s if own is not None else None)
        )
        if own is None:
            self._dials[task] = None
        task.add_done_callback(partial(self._dial_ended, purpose, own))
        if own is not None:
            own.begin(task)

    def _dial_ended(self, purpose: Purpose, own: Dial | None, task: asyncio.Task[HttpConnection]) -> None:
        pool = self.pool
        pool.in_use[purpose] -= 1
        outcome = _outcome(task)
        self._dial_failed = isinstance(outcome, BaseException)
        if own is not None:
            if not isinstance(outcome, BaseException):  # from now on it is as good as one for calls
                self._own.add(outcome)
                pool.in_use[CALL] += 1
            own.finish(outcome)
        else:
            self.dialling[purpose] -= 1
            is_expected = self._dials.pop(task, self) is None
            if isinstance(outcome, BaseException):
                for lease in pool.withdraw(self, (purpose,), 1) if is_expected else ():
                    tell(partial(lease.holder.on_no_connection, outcome))
            elif is_expected:
                self._needs_none = False
                self.take_back(outcome)
            else:  # it leads to where the link does not lead any more
                outcome.close()
        pool.settle()

    def _on_connection_closed(self, connection: HttpConnection) -> None:
        purpose = self.busy.pop(connection, None)
        if purpose is not None:
            self.pool.in_use[purpose] -= 1
        elif connection in self.idle:
            self.idle.remove(connection)
            self.pool.idle -= 1
        elif connection in self._own:
            self._own.remove(connection)
            self.pool.in_use[CALL] -= 1
        else:  # it was never proven, or was evicted
            self._on_closed()
            return
        if self.size == 0:
            if connection.lacked_memory:
                self._needs_none = True
            elif connection.was_hung_up and not self._dialler.keeps_idle:
                self._needs_none = True
                self.on_left()
        self.pool.settle()
        self._on_closed()


def _outcome(task: asyncio.Task[HttpConnection]) -> HttpConnection | BaseException:
    if task.cancelled():
        return ConnectionClosed("the dial was dropped", sent=False)
    error = task.exception()
    if error is not None:
        return error
    connection = task.result()
    return ConnectionClosed("it was closed at once", sent=False) if connection.closed else connection


def tell(call: Callable[[], object]) -> None:
    """A defect in one user of the pool costs no other user anything."""
    try:
        call()
    except Exception:  # noqa: BLE001 — the barrier
        _log.exception("a user of the pool failed")


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
    lease = Lease(connections, OWN, None, borrower)
    try:
        yield lease.acquire() or await borrower.connection
    finally:
        lease.release()
