"""Places for calls: a call takes one, waits its turn for one, or is refused. The deciding is done by `limits`."""

import asyncio
import contextlib
import itertools
import secrets
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Final

from brummer.link.budget import Budget
from brummer.link.errors import Busy
from brummer.link.limits import RETRY_AFTER_S, Slots, Total
from brummer.settings.limits import DEFAULTS, Limits

AWAY_RETRY_AFTER_S: Final = 1.0
"""A restart takes about that long."""

Turn = Callable[[], bool]
"""Called when its turn has come, with a place taken for it; False when it is not wanted any more."""


class Gate:
    """All instances' places. One for the life of a hub."""

    def __init__(self, limits: Limits = DEFAULTS) -> None:
        self.limits = limits
        self.total = Total(limits.in_flight)
        self.budget = Budget(limits.connections)
        self.parked = 0
        self._lanes: deque[Lane] = deque()
        self.next_key: Callable[[], str] = map(f"{secrets.token_hex(6)}-{{}}".format, itertools.count(1)).__next__
        """A key for one call, in logs and in the ledger of its instance."""

    def lane(self, name: str, *, limit: int) -> "Lane":
        """One kind of calls to one instance."""
        lane = Lane(self, name, Slots(self.total, limit, self.limits.queued_per_instance))
        self._lanes.append(lane)
        return lane

    def full_queues(self) -> set[str]:
        """Names of lanes that refuse the next call."""
        return {lane.name for lane in self._lanes if lane.slots.is_full}

    def close(self, lane: "Lane") -> None:
        self._lanes.remove(lane)

    @contextlib.contextmanager
    def parking(self, name: str, *, may_have_run: bool) -> Iterator[None]:
        """While a call waits for an instance that is away. Raises `Busy` when too many do.

        Never for one that may have run: only by asking again can it learn its result.
        """
        if self.parked >= self.limits.parked and not may_have_run:
            raise Busy(
                f"{name} is away, and {self.parked} calls wait for instances that are (max_parked)",
                retry_after_s=AWAY_RETRY_AFTER_S,
                parked=self.parked,
            )
        self.parked += 1
        try:
            yield
        finally:
            self.parked -= 1

    def came_free(self, lane: "Lane") -> None:
        """A place of this lane; while there are common ones left, only its own queue can have waited for it.

        Else the lanes take turns, so that none drains the common places.
        """
        if self.total.taken + 1 < self.total.limit:
            lane.let_one_in()
            return
        for _ in range(len(self._lanes)):
            self._lanes.rotate(-1)
            if self._lanes[-1].let_one_in():
                return


class Lane:
    """The places for one kind of calls to one instance, and the queue for them."""

    def __init__(self, gate: Gate, name: str, slots: Slots[Turn]) -> None:
        self._gate = gate
        self.name = name
        self.slots = slots

    async def enter(self, flow: Hashable) -> None:
        """Take a place, in turn; `leave` must follow. Raises `Busy` at once when the queue is full."""
        if self.slots.take():
            return
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def turn() -> bool:
            if admitted.done():  # cancelled in this very turn of the loop
                return False
            admitted.set_result(None)
            return True

        self.queue(flow, turn)
        try:
            await admitted
        except asyncio.CancelledError:
            if not self.slots.leave(flow, turn) and not admitted.cancelled():
                self.leave()
            raise

    def queue(self, flow: Hashable, turn: Turn) -> None:
        """Have ``turn`` called when a place is free for it. Raises `Busy` when the queue is full."""
        if not self.slots.enqueue(flow, turn):
            raise Busy(
                f"{self.name} has {self.slots.taken} calls in flight and {self.slots.queued} waiting",
                retry_after_s=RETRY_AFTER_S,
                in_flight=self.slots.taken,
                queued=self.slots.queued,
            )

    def leave(self) -> None:
        self.slots.release()
        if self._gate.total.queued:
            self._gate.came_free(self)

    def let_one_in(self) -> bool:
        while (turn := self.slots.next_waiter()) is not None:
            if turn():
                return True
            self.slots.release()
        return False
