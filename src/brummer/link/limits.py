"""How many calls may be under way: slots per lane and in all, and a fair queue for those who must wait. Pure.

Admission decides at once: go, wait, or be refused. Queues are served in turn between sessions, so one client that
floods an instance does not starve another (round robin over flows; J. Nagle, RFC 970).
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

RETRY_AFTER_S: Final = 0.25
"""Some 250 quick calls later: the queue that was full has moved."""

T = TypeVar("T")


@dataclass(slots=True)
class Total:
    """Slots over all instances, shared by their `Slots`."""

    limit: int
    taken: int = 0
    queued: int = 0


@dataclass(slots=True)
class Slots(Generic[T]):
    """One instance's slots and queue. A waiter is whatever the caller wants back when its turn comes."""

    total: Total
    limit: int
    queue_limit: int
    taken: int = 0
    queued: int = 0
    _queues: OrderedDict[Hashable, deque[T]] = field(default_factory=OrderedDict, repr=False)

    @property
    def must_wait(self) -> bool:
        """The next call gets no slot at once: there is none, or other calls wait already."""
        total = self.total
        return self.queued > 0 or self.taken >= self.limit or total.taken >= total.limit

    @property
    def is_full(self) -> bool:
        """The next call is refused. A queue of size 0 is not full while there are slots."""
        return self.queued >= self.queue_limit and self.must_wait

    def take(self) -> bool:
        """A slot, if there is one and nobody waits for it already."""
        total = self.total
        if self.queued or self.taken >= self.limit or total.taken >= total.limit:
            return False
        self.taken += 1
        total.taken += 1
        return True

    def enqueue(self, flow: Hashable, waiter: T) -> bool:
        """Wait for a slot; False when the queue is full."""
        if self.queued >= self.queue_limit:
            return False
        queue = self._queues.get(flow)
        if queue is None:
            queue = self._queues[flow] = deque()
        queue.append(waiter)
        self.queued += 1
        self.total.queued += 1
        return True

    def release(self) -> None:
        """Give a slot back; see `next_waiter` for who may have it."""
        self.taken -= 1
        self.total.taken -= 1

    def next_waiter(self) -> T | None:
        """The next one in turn, with a slot taken for it; None when nobody waits or no slot is free."""
        total = self.total
        if not self.queued or self.taken >= self.limit or total.taken >= total.limit:
            return None
        flow, queue = next(iter(self._queues.items()))
        waiter = queue.popleft()
        if not queue:
            del self._queues[flow]
        elif len(self._queues) > 1:
            self._queues.move_to_end(flow)  # the other flows come first
        self.queued -= 1
        total.queued -= 1
        self.taken += 1
        total.taken += 1
        return waiter

    def leave(self, flow: Hashable, waiter: T) -> bool:
        """Give up waiting; False when the turn had come already."""
        queue = self._queues.get(flow)
        if queue is None or waiter not in queue:
            return False
        queue.remove(waiter)
        self.queued -= 1
        self.total.queued -= 1
        if not queue:
            del self._queues[flow]
        return True
