"""Places for connections: how many a hub may have to all instances together, and who may have the next one.

Theory of operation: whoever opens a connection takes a place before and gives it back when it is closed. When all are
taken, the connection that has idled longest is closed to make room, whosever it is: its link stays ready without one
and dials for its next call. When all are busy, the opener waits, first come, first served; as long as somebody waits,
no connection idles. Nothing here is asked by a call that finds an idle connection of its own link.

Three purposes, so that none can take all there is: what the hub wants for itself (to dial, to probe, to cancel) is
short, comes first and has a reserve; calls that wait for an event may hold their connections for hours, so half of all.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Iterable
from enum import Enum
from typing import Final, Protocol

from brummer.link.errors import Busy
from brummer.wire.http.connection import HttpConnection

QUEUED_PER_PLACE: Final = 4
"""Calls that may wait for each connection: a quick call has it for a millisecond or two; more are told to come back."""

RETRY_AFTER_S: Final = 0.25
"""As for a place in flight."""


class Purpose(Enum):
    """What a connection is opened for, in the order in which those who wait are served."""

    OWN = "own"
    CALL = "call"
    WAIT = "wait"


_ALL: Final = frozenset(Purpose)


class Owner(Protocol):
    """Who has connections: `brummer.link.connections.Connections`."""

    def idle(self, purpose: Purpose | None) -> Iterable[HttpConnection]:
        """Those that carry nothing; of this purpose, or of any."""

    def give_up(self, connection: HttpConnection) -> None:
        """Close an idle one, whose place others want."""


class Place:
    """Room for one connection, from before it is dialled until it is closed."""

    __slots__ = ("_budget", "owner", "purpose")

    def __init__(self, budget: "Budget", purpose: Purpose, owner: Owner) -> None:
        self._budget: Budget | None = budget
        self.purpose = purpose
        self.owner = owner

    def was_proven(self) -> None:
        """What the hub wanted for itself is done; the connection that is left is as good as one for calls."""
        if self._budget is not None and self.purpose is Purpose.OWN:
            self._budget.convert(self)

    def give_back(self) -> None:
        """May be called again."""
        budget, self._budget = self._budget, None
        if budget is not None:
            budget.take_back(self)


_Waiting = tuple["asyncio.Future[Place]", Owner]


class Budget:
    """Of one hub. ``wanted``: the purposes of connections that must not idle now, because others wait for them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        reserve = max(1, limit // 8)
        self.for_calls = max(1, limit - reserve)
        self.for_waits = max(1, limit // 2)
        self._own_limits = {Purpose.OWN: max(1, limit // 4), Purpose.CALL: limit, Purpose.WAIT: self.for_waits}
        self._places: dict[Place, None] = {}
        self._counts: Counter[Purpose] = Counter()
        self._queues: dict[Purpose, deque[_Waiting]] = {kind: deque() for kind in Purpose}
        self._is_serving = False
        self.wanted: frozenset[Purpose] = frozenset()
        self.given_up = 0
        """Idle connections that were closed to make room."""

    def __repr__(self) -> str:
        return f"<Budget {self.taken}/{self.limit} {self.queued} queued>"

    @property
    def taken(self) -> int:
        return len(self._places)

    @property
    def queued(self) -> int:
        return sum(map(len, self._queues.values()))

    @property
    def is_full(self) -> bool:
        """Whether one more call that needs a place is refused."""
        return len(self._queues[Purpose.CALL]) + len(self._queues[Purpose.WAIT]) >= self.limit * QUEUED_PER_PLACE

    def is_waited_for(self, purpose: Purpose) -> bool:
        """Whether somebody waits for a place of this purpose."""
        return bool(self._queues[purpose])

    async def take(self, purpose: Purpose, owner: Owner) -> Place:
        """A place, in turn; it must be given back. Raises `Busy` at once when too many calls wait for one."""
        queue = self._queues[purpose]
        place = None if queue else self._make_room(purpose, owner)
        if place is not None:
            return place
        if purpose is not Purpose.OWN and self.is_full:
            raise self._refusal()
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        queue.append((turn, owner))
        self._note_wanted()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                turn.result().give_back()
            else:
                with contextlib.suppress(ValueError):
                    queue.remove((turn, owner))
                self._serve()
            raise

    def take_back(self, place: Place) -> None:
        """See `Place.give_back`."""
        self._places.pop(place, None)
        self._counts[place.purpose] -= 1
        self._serve()

    def convert(self, place: Place) -> None:
        """See `Place.was_proven`."""
        self._counts[place.purpose] -= 1
        place.purpose = Purpose.CALL
        self._counts[place.purpose] += 1
        self._serve()

    def _refusal(self) -> Busy:
        return Busy(
            f"all {self.limit} connections are busy, and {self.queued} calls wait for one (max_connections)",
            retry_after_s=RETRY_AFTER_S,
            connections=self.taken,
            queued=self.queued,
        )

    def _serve(self) -> None:
        """Give those who wait what there is. Not while it does so already: closing a connection gives back a place."""
        if self._is_serving:
            return
        self._is_serving = True
        try:
            for purpose, queue in self._queues.items():
                self._serve_queue(purpose, queue)
        finally:
            self._is_serving = False
        self._note_wanted()

    def _serve_queue(self, purpose: Purpose, queue: "deque[_Waiting]") -> None:
        while queue:
            turn, owner = queue[0]
            if not turn.done():
                place = self._make_room(purpose, owner)
                if place is None:
                    return
                turn.set_result(place)
            queue.popleft()

    def _make_room(self, purpose: Purpose, owner: Owner) -> Place | None:
        """A place, if need be one whose connection idles; None when all that help are busy."""
        while not self._has_room(purpose):
            if not self._give_up_oldest(purpose if self._is_own_limit_reached(purpose) else None):
                return None
        place = Place(self, purpose, owner)
        self._places[place] = None
        self._counts[purpose] += 1
        return place

    def _has_room(self, purpose: Purpose) -> bool:
        limit = self.limit if purpose is Purpose.OWN else self.for_calls
        return len(self._places) < limit and not self._is_own_limit_reached(purpose)

    def _is_own_limit_reached(self, purpose: Purpose) -> bool:
        return self._counts[purpose] >= self._own_limits[purpose]

    def _give_up_oldest(self, purpose: Purpose | None) -> bool:
        owners = dict.fromkeys(place.owner for place in self._places)
        idle = [(owner, connection) for owner in owners for connection in owner.idle(purpose)]
        if not idle:
            return False
        owner, oldest = min(idle, key=lambda pair: pair[1].heard_s)
        self.given_up += 1
        owner.give_up(oldest)
        return True

    def _note_wanted(self) -> None:
        waiting = [purpose for purpose, queue in self._queues.items() if queue]
        if any(not self._is_own_limit_reached(purpose) for purpose in waiting):
            self.wanted = _ALL
        else:  # only one of its own kind helps
            self.wanted = frozenset(waiting)
