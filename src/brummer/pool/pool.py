"""Slots and connections of one hub: who has them, who waits for them, and who is next.

Theory of operation: a call needs a slot (so many calls may be in flight, to one peer and in all) and a connection (so
many may be open in all). Where both are free it takes them without asking anybody (`Lease`). Everything else is one
synchronous decision, `Pool._assign`: it updates the books and returns what to close, dial and wake. `Pool.settle` acts
on it, until there is nothing left to do. No await can tear the two.

Slots go to flows in turn, and between peers in turn where the hub's own limit is what they wait for. Connections go to
waiters in their order of arrival, over all peers. A waiter gets an idle connection of its peer, else a new one. If all
connections are open, the one that has been idle longest is closed for it, whatever peer it leads to: that link stays
ready without one. So while anyone waits, no connection is idle that could help.

Three purposes, so that none can take everything: what the hub wants for itself comes first and has a reserve; calls
that wait for an event may hold their connections for hours, so they get half of all.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

from brummer.core.errors import BrummerError, ConnectionClosed
from brummer.pool.fair_queue import FairQueue
from brummer.pool.lease import Dial, Lease, Purpose
from brummer.settings.limits import DEFAULTS, Limits
from brummer.wire.http.connection import HttpConnection

_log = logging.getLogger(__name__)

QUEUED_PER_CONNECTION: Final = 4
"""Calls that may wait for each connection: a quick call has it for a millisecond or two; more are told to come back."""

RETRY_AFTER_S: Final = 0.25
"""Some 250 quick calls later: the queue that was full has moved."""

AWAY_RETRY_AFTER_S: Final = 1.0
"""A restart takes about that long."""

SPARE_IDLE_S: Final = 5.0
"""How long a connection beyond the first may be idle: longer than the gaps inside a burst of calls."""


_CALLS: Final = (Purpose.CALL, Purpose.WAIT)


class Busy(BrummerError):
    """All slots or connections are taken, and so is the queue for them."""

    code = "busy"
    transient = True


class Dialler(Protocol):
    """Connects to a peer, and proves its identity."""

    @property
    def keeps_idle(self) -> bool:
        """The peer closes no connection for being idle: one that it closes is news."""

    def __call__(
        self, on_close: Callable[[HttpConnection], None], within_s: float | None
    ) -> Coroutine[Any, Any, HttpConnection]:
        """Raises `TransportError`. ``within_s``: the longest time for the proof."""


@dataclass(slots=True)
class Lane:
    """The slots for one kind of calls to one peer, and the queue for them."""

    limit: int
    in_flight: int = 0
    queue: FairQueue[Lease] = field(default_factory=FairQueue)


@dataclass(slots=True)
class Work:
    """What one decision wants done."""

    closes: list[HttpConnection] = field(default_factory=list)
    dials: list[tuple["Connections", Purpose, Dial | None]] = field(default_factory=list)
    slots: list[Lease] = field(default_factory=list)
    connections: list[Lease] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.dials or self.slots or self.connections or self.closes)


class Pool:
    """Of one hub. Not thread-safe."""

    def __init__(self, limits: Limits = DEFAULTS) -> None:
        self.limits = limits
        limit = limits.connections
        self.for_calls = max(1, limit - max(1, limit // 8))
        self.for_waits = max(1, limit // 2)
        self._own_limits = (max(1, limit // 4), limit, self.for_waits)
        self.in_flight = 0
        self.parked = 0
        self.idle = 0
        self.in_use = [0, 0, 0]
        """Connections that are busy or being dialled, by purpose."""
        self.queued = 0
        self.evicted = 0
        """Idle connections that were closed to make room."""
        self._queued_lanes: deque[tuple[Connections, Lane]] = deque()
        self.wanted = 0
        """Users that wait for a connection."""
        self._wanting: tuple[dict[Lease | Dial, None], ...] = ({}, {}, {})
        self.peers: dict[Connections, None] = {}
        self._is_settling = False

    def __repr__(self) -> str:
        return f"<Pool {self.connections}/{self.limits.connections}, {self.in_flight} in flight, {self.queued} queued>"

    @property
    def connections(self) -> int:
        """Those that are open or being dialled."""
        return self.idle + sum(self.in_use)

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection for which there is no room yet."""
        wanting = len(self._wanting[Purpose.CALL]) + len(self._wanting[Purpose.WAIT])
        return max(0, wanting - sum(peer.dialling[Purpose.CALL] + peer.dialling[Purpose.WAIT] for peer in self.peers))

    @property
    def is_full(self) -> bool:
        """The next call that has to wait for a connection is refused."""
        return self.wanted > 0 and self.waiting >= self.limits.connections * QUEUED_PER_CONNECTION

    def wants(self, purpose: Purpose) -> bool:
        """Something waits for a connection of this purpose."""
        return bool(self._wanting[purpose])

    def full_queues(self) -> set[str]:
        """Names of peers with a lane that refuses the next call. A queue of size 0 is not full while slots are free."""
        limit, none_free = self.limits.queued_per_instance, self.in_flight >= self.limits.in_flight
        return {
            peer.name
            for peer in self.peers
            for lane in peer.lanes.values()
            if lane.queue.size >= limit and (lane.queue.size or none_free or lane.in_flight >= lane.limit)
        }

    def park(self, name: str, *, may_have_run: bool) -> None:
        """Count one more call that waits for an absent peer; `unpark` must follow. Raises `Busy` when too many do.

        Never for one that may have run: only by asking again can it learn its result.
        """
        if self.parked >= self.limits.parked and not may_have_run:
            raise Busy(
                f"{name} is away, and {self.parked} calls wait for instances that are (max_parked)",
                retry_after_s=AWAY_RETRY_AFTER_S,
                parked=self.parked,
            )
        self.parked += 1

    def unpark(self) -> None:
        self.parked -= 1

    # What leases ask for.

    def enqueue(self, lease: Lease) -> None:
        """Queue it for a slot. Raises `Busy` if the queue is full."""
        peer = lease.connections
        lane = peer.lanes[lease.purpose]
        if lane.queue.size >= self.limits.queued_per_instance:
            raise Busy(
                f"{peer.name} has {lane.in_flight} calls in flight and {lane.queue.size} waiting",
                retry_after_s=RETRY_AFTER_S,
                in_flight=lane.in_flight,
                queued=lane.queue.size,
            )
        if not lane.queue.size:
            self._queued_lanes.append((peer, lane))
        lane.queue.add(lease.flow, lease)
        lease.is_queued = True
        self.queued += 1

    def leave_queue(self, lease: Lease) -> None:
        peer = lease.connections
        lane = peer.lanes[lease.purpose]
        lane.queue.remove(lease.flow, lease)
        lease.is_queued = False
        self.queued -= 1
        if not lane.queue.size:
            self._queued_lanes.remove((peer, lane))

    def want(self, user: Lease | Dial) -> None:
        """Have it wait for a connection. Raises `Busy` if too many calls do."""
        if user.purpose is not Purpose.OWN and self.is_full:
            raise Busy(
                f"all {self.limits.connections} connections are busy, and {self.waiting} calls wait for one"
                " (max_connections)",
                retry_after_s=RETRY_AFTER_S,
                connections=self.connections,
                queued=self.waiting,
            )
        self._wanting[user.purpose][user] = None
        self.wanted += 1
        self.settle()

    def stop_wanting(self, user: Lease | Dial) -> None:
        if user in self._wanting[user.purpose]:
            self._serve(user)
            self.settle()

    def _serve(self, user: Lease | Dial) -> None:
        """It does not wait any more."""
        del self._wanting[user.purpose][user]
        self.wanted -= 1

    def withdraw(self, peer: "Connections", purposes: Iterable[Purpose], most: int | None = None) -> list[Lease]:
        """Leases that waited for a connection to this peer, and do not any more."""
        leases = [user for user in self._waiting_for(peer, purposes) if isinstance(user, Lease)][:most]
        for lease in leases:
            self._serve(lease)
        return leases

    def _waiting_for(self, peer: "Connections", purposes: Iterable[Purpose]) -> list[Lease | Dial]:
        return [user for purpose in purposes for user in self._wanting[purpose] if user.connections is peer]

    # The decision.

    def _assign(self) -> Work:
        work = Work()
        if self.queued:
            self._assign_slots(work)
        for purpose, wanting in enumerate(self._wanting):
            if wanting:
                self._assign_connections(Purpose(purpose), work)
        return work

    def _assign_slots(self, work: Work) -> None:
        passed = 0
        while passed < len(self._queued_lanes) and self.in_flight < self.limits.in_flight:
            peer, lane = self._queued_lanes.popleft()
            passed += 1
            if lane.in_flight < lane.limit:
                lease = lane.queue.pop()
                lease.has_slot, lease.is_queued = True, False
                lane.in_flight += 1
                self.in_flight += 1
                self.queued -= 1
                work.slots.append(lease)
                passed = 0
            if lane.queue.size:
                self._queued_lanes.append((peer, lane))

    def _assign_connections(self, purpose: Purpose, work: Work) -> None:
        expected: Counter[Connections] = Counter()
        """Waiters for whom a dial is under way."""
        for user in list(self._wanting[purpose]):
            peer = user.connections
            if user.takes_idle and peer.usable(purpose):
                assert isinstance(user, Lease)  # noqa: S101 — a dial takes none
                self._serve(user)
                user.acquire()
                work.connections.append(user)
            elif user.takes_idle and expected[peer] < peer.dialling[purpose]:
                expected[peer] += 1
            elif purpose is not Purpose.OWN and peer.usable(purpose) + sum(peer.dialling) >= len(
                self._waiting_for(peer, _CALLS)
            ):
                continue  # a dial that is under way for the other purpose is for it
            elif not self._make_room(purpose, work):
                return
            else:
                self.in_use[purpose] += 1
                if isinstance(user, Dial):
                    self._serve(user)
                    work.dials.append((peer, purpose, user))
                else:
                    peer.dialling[purpose] += 1
                    expected[peer] += 1
                    work.dials.append((peer, purpose, None))

    def _make_room(self, purpose: Purpose, work: Work) -> bool:
        """Whether one more connection of this purpose may be opened; an idle one may have to be closed for it."""
        if self.in_use[purpose] >= self._own_limits[purpose]:
            return False
        if self.connections < (self.limits.connections if purpose is Purpose.OWN else self.for_calls):
            return True
        idle = [(connection.heard_s, number) for number, (_, connection) in enumerate(self._idle_ones())]
        if not idle:
            return False
        peer, connection = list(self._idle_ones())[min(idle)[1]]
        peer.evict(connection)
        self.evicted += 1
        work.closes.append(connection)
        return True

    def _idle_ones(self) -> list[tuple["Connections", HttpConnection]]:
        return [(peer, connection) for peer in self.peers for connection in peer.idle]

    # The action.

    def settle(self) -> None:
        """Decide and act, until nothing is left to do. Called while it acts, it goes on with the next decision."""
        if self._is_settling:
            return
        self._is_settling = True
        try:
            while (self.wanted or self.queued) and (work := self._assign()):
                self._act(work)
        finally:
            self._is_settling = False

    def _act(self, work: Work) -> None:
        for connection in work.closes:
            connection.close()
        for peer, purpose, own in work.dials:
            peer.dial_for(purpose, own)
        for lease in work.slots:
            if lease.has_slot:
                _tell(lease.holder.on_slot)
        for lease in work.connections:
            if lease.connection is not None:
                _tell(partial(lease.holder.on_connection, lease.connection))


class Connections:
    """The slots and connections to one peer. ``on_closed`` is called whenever one of them closes."""

    def __init__(self, pool: Pool, name: str, dialler: Dialler, on_closed: Callable[[], None]) -> None:
        self.pool = pool
        self.name = name
        self._dialler = dialler
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        limits = pool.limits
        self.lanes = {
            Purpose.CALL: Lane(min(limits.in_flight_per_instance, pool.for_calls)),
            Purpose.WAIT: Lane(min(limits.waiting_per_instance, pool.for_waits)),
        }
        self.idle: list[HttpConnection] = []
        self.busy: dict[HttpConnection, Purpose] = {}
        self._own: set[HttpConnection] = set()
        """Dialled for the hub itself, and neither closed nor given to calls yet."""
        self.dialling = [0, 0, 0]
        """Dials that are under way for calls, by purpose."""
        self._dials: dict[asyncio.Task[HttpConnection], None] = {}
        self._shrink: asyncio.TimerHandle | None = None
        self.dials = 0
        self.on_left: Callable[[], None] = lambda: None
        """Called when the last one was closed by a server that may close what is idle, and may also be gone."""
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
        return sum(purpose is not Purpose.OWN for purpose in self.busy.values())

    @property
    def in_use(self) -> bool:
        """A call is under way, or about to be."""
        return self.in_flight > 0 or any(self.dialling)

    @property
    def all(self) -> list[HttpConnection]:
        return [*self.idle, *self.busy]

    @property
    def oldest(self) -> HttpConnection | None:
        return min(self.all, key=lambda connection: connection.opened_at, default=None)

    def usable(self, purpose: Purpose) -> int:
        """Idle ones for this purpose: none for a wait while waits have all that they may have."""
        pool = self.pool
        return 0 if purpose is Purpose.WAIT and pool.in_use[purpose] >= pool.for_waits else len(self.idle)

    def take_idle(self, purpose: Purpose) -> HttpConnection | None:
        """The usable one that was used last, which is busy from now on."""
        if not self.usable(purpose):
            return None
        connection = self.idle.pop()
        self.busy[connection] = purpose
        self.pool.idle -= 1
        self.pool.in_use[purpose] += 1
        return connection

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
            self.pool.in_use[Purpose.CALL] -= 1
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
        waiting = self.pool.withdraw(self, Purpose)  # first, because each connection that closes makes room for a dial
        for task in self._dials:
            task.cancel()
        self._dials.clear()
        for connection in self.all:
            connection.close()
        if self._shrink is not None:
            self._shrink.cancel()
            self._shrink = None
        for lease in waiting:
            _tell(partial(lease.holder.on_no_connection, None))

    def end(self) -> None:
        """Nothing is called there any more."""
        self.close()
        self.pool.peers.pop(self, None)

    def _on_shrink(self) -> None:
        self._shrink = None
        self.drop_idle(keep=1)

    # Dialling.

    def dial_for(self, purpose: Purpose, own: Dial | None) -> None:
        """Start a dial for which there is room: the hub's own, or one for calls."""
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
        if own is not None:
            if not isinstance(outcome, BaseException):  # from now on it is as good as one for calls
                self._own.add(outcome)
                pool.in_use[Purpose.CALL] += 1
            own.finish(outcome)
        else:
            self.dialling[purpose] -= 1
            is_expected = self._dials.pop(task, self) is None
            if isinstance(outcome, BaseException):
                for lease in pool.withdraw(self, (purpose,), 1) if is_expected else ():
                    _tell(partial(lease.holder.on_no_connection, outcome))
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
            self.pool.in_use[Purpose.CALL] -= 1
        else:  # it was never proven, or was evicted
            self._on_closed()
            return
        if self.size == 0:
            if connection.lacked_room:
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


def _tell(tell: Callable[[], object]) -> None:
    """A defect in one user of the pool costs no other user anything."""
    try:
        tell()
    except Exception:  # noqa: BLE001 — the barrier
        _log.exception("a user of the pool failed")
