"""A queue that is served in turn between flows, so that one client's flood starves no other.

Round robin over flows; J. Nagle, RFC 970.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First come, first served within a flow."""

    def __init__(self) -> None:
        self._flows: OrderedDict[Hashable, deque[T]] = OrderedDict()
        self.size = 0

    def add(self, flow: Hashable, item: T) -> None:
        queue = self._flows.get(flow)
        if queue is None:
            queue = self._flows[flow] = deque()
        queue.append(item)
        self.size += 1

    def pop(self) -> T:
        """The next item. Raises StopIteration if the queue is empty."""
        flow, queue = next(iter(self._flows.items()))
        item = queue.popleft()
        if not queue:
            del self._flows[flow]
        elif len(self._flows) > 1:
            self._flows.move_to_end(flow)  # the other flows come first
        self.size -= 1
        return item

    def remove(self, flow: Hashable, item: T) -> None:
        """Raises KeyError or ValueError if it is not there."""
        queue = self._flows[flow]
        queue.remove(item)
        if not queue:
            del self._flows[flow]
        self.size -= 1
