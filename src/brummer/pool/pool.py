"""Slots and connections of one hub: who has them, who waits for them, and who is next.

Theory of operation: a call needs a slot (so many calls may be in flight, to one peer and in all) and a connection (so
many may be open in all). If both are free, its lease takes them at once (`Lease`). Everything else is one
synchronous decision, `Pool._assign`: it updates the books and returns what to close, dial and wake. `Pool.settle` acts
on it, until there is nothing left to do. No await can separate the two.

Slots go to flows in turn, and between peers in turn where the hub's own limit is what they wait for. Connections go to
waiters in their order of arrival, over all peers. A waiter gets an idle connection of its peer, else a new one. If all
connections are open, the one that has been idle longest is closed for it, whatever peer it leads to: that link stays
ready without one. So while anyone waits, no connection is idle that could help.

Three purposes, so that none can take everything: what the hub wants for itself comes first and has a reserve; calls
that wait for an event may hold their connections for hours, so they get half of all.
"""

from collections import Counter, deque
from collections.abc import Iterable
from functools import partial
from typing import Final

import msgspec

from brummer.core.errors import BrummerError
from brummer.pool.connections import CALL, NEWS, OWN, WAIT, WAITS, Connections, Dial, Lane, Lease, Purpose, tell
from brummer.settings.limits import DEFAULTS, Limits
from brummer.wire.http.connection import HttpConnection

QUEUED_PER_CONNECTION: Final = 4
"""Calls that may wait for each connection: a quick call has it for a millisecond or two; further ones are refused."""

RETRY_AFTER_S: Final = 0.25
"""Some 250 quick calls later: the queue that was full has moved."""

AWAY_RETRY_AFTER_S: Final = 1.0
"""A restart takes about that long."""

_CALLS: Final = (CALL, *WAITS)


class Busy(BrummerError):
    """All slots or connections are taken, and so is the queue for them."""

    code = "busy"
    transient = True


class Work(msgspec.Struct):
    """What one decision wants done."""

    closes: list[HttpConnection] = []
    dials: list[tuple[Connections, Purpose, Dial | None]] = []
    slots: list[Lease] = []
    connections: list[Lease] = []


class Pool:
    """Of one hub. Not thread-safe."""

    def __init__(self, limits: Limits = DEFAULTS) -> None:
        self.limits = limits
        limit = limits.connections
        self.for_calls = max(1, limit - max(1, limit // 8))
        self.for_waits = max(1, limit // 2)
        """For those of one purpose."""
        self._for_all_waits = max(1, limit * 3 // 4)
        self._own_limits = (max(1, limit // 4), limit, self.for_waits, self.for_waits)
        self.in_flight = 0
        self.parked = 0
        self.idle = 0
        self.in_use = [0] * len(Purpose)
        """Connections that are busy or being dialled, by purpose."""
        self.queued = 0
        self.evicted = 0
        """Idle connections that were closed because another user wanted one."""
        self._queued_lanes: deque[tuple[Connections, Lane]] = deque()
        self.wanted = 0
        """Users that wait for a connection."""
        self._wanting: tuple[dict[Lease | Dial, None], ...] = tuple({} for _ in Purpose)
        self.peers: dict[Connections, None] = {}
        self._is_settling = False
        self._is_due = False
        """A decision may find something to do."""

    def __repr__(self) -> str:
        return f"<Pool {self.connections}/{self.limits.connections}, {self.in_flight} in flight, {self.queued} queued>"

    @property
    def connections(self) -> int:
        """Those that are open or being dialled."""
        return self.idle + sum(self.in_use)

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection that may not be opened yet."""
        wanting = sum(len(self._wanting[purpose]) for purpose in _CALLS)
        return max(0, wanting - sum(peer.dialling[purpose] for peer in self.peers for purpose in _CALLS))

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

    def has_place_for(self, purpose: Purpose) -> bool:
        """Its users have not all connections that they may have."""
        if self.in_use[purpose] >= self._own_limits[purpose]:
            return False
        return purpose not in WAITS or self.in_use[WAIT] + self.in_use[NEWS] < self._for_all_waits

    def park(self, name: str, *, may_have_run: bool) -> None:
        """Count one more call that waits for an absent peer; `unpark` must follow. Raises `Busy` when too many do.

        Never for one that may have run: the hub learns its result only by asking again.
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
        if user.purpose is not OWN and self.is_full:
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

    def withdraw(self, peer: Connections, purposes: Iterable[Purpose], most: int | None = None) -> list[Lease]:
        """Leases that waited for a connection to this peer, and do not any more."""
        leases = [user for user in self._waiting_for(peer, purposes) if isinstance(user, Lease)][:most]
        for lease in leases:
            self._serve(lease)
        return leases

    def _waiting_for(self, peer: Connections, purposes: Iterable[Purpose]) -> list[Lease | Dial]:
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
            elif purpose is not OWN and peer.usable(purpose) + sum(peer.dialling) >= len(
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
        if not self.has_place_for(purpose):
            return False
        if self.connections < (self.limits.connections if purpose is OWN else self.for_calls):
            return True
        idle = [(connection.heard_s, number) for number, (_, connection) in enumerate(self._idle_ones())]
        if not idle:
            return False
        peer, connection = list(self._idle_ones())[min(idle)[1]]
        peer.evict(connection)
        self.evicted += 1
        work.closes.append(connection)
        return True

    def _idle_ones(self) -> list[tuple[Connections, HttpConnection]]:
        return [(peer, connection) for peer in self.peers for connection in peer.idle]

    # The action.

    def settle(self) -> None:
        """Decide and act, until nothing is left to do. Called while it acts, it goes on with the next decision."""
        self._is_due = True
        if self._is_settling:
            return
        self._is_settling = True
        try:
            while self._is_due and (self.wanted or self.queued):
                work = self._assign()
                # One decision assigns all free slots; only what it does with connections can make another possible.
                self._is_due = bool(work.closes or work.dials or work.connections)
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
                tell(lease.holder.on_slot)
        for lease in work.connections:
            if lease.connection is not None and not lease.is_acquiring:
                tell(partial(lease.holder.on_connection, lease.connection))
