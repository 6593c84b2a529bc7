"""A bounded log of numbered entries in which no process can displace the entries of the others. Pure.

There is one numbering and one limit, but each process has its own queue, and entries are always dropped from the
largest queue: a flood drops its own entries, and a process below an equal share of the limit loses nothing.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

from brummer.logs.entries import Entries


class _OfProcess(Protocol):
    @property
    def n(self) -> int: ...
    @property
    def process(self) -> str: ...


T = TypeVar("T", bound=_OfProcess)

_number = attrgetter("n")


class _Queue(Generic[T]):
    """The entries of one process, oldest first. ``dropped_n``: the number of the newest one that was dropped.
    ``skipped``: the first and the last number of each range that was never kept since then.
    """

    __slots__ = ("dropped", "dropped_n", "entries", "size", "skipped")

    def __init__(self) -> None:
        self.entries: deque[T] = deque()
        self.size = 0
        self.dropped = 0
        self.dropped_n = 0
        self.skipped: deque[tuple[int, int]] = deque()

    def forget_up_to(self, n: int) -> None:
        """Ranges before an entry that is gone need no record of their own."""
        self.dropped_n = n
        while self.skipped and self.skipped[0][0] < n:
            first, last = self.skipped.popleft()
            self.dropped += last - first + 1

    def dropped_between(self, after: int, until: int) -> int:
        evicted = min(self.dropped, max(0, min(self.dropped_n, until) - after))
        return evicted + sum(max(0, min(last, until) - max(first - 1, after)) for first, last in self.skipped)

    def position(self, n: int) -> int:
        """How many of the entries are not after ``n``."""
        return bisect_right(self.entries, n, key=_number)

    def after(self, n: int) -> Iterator[T]:
        return islice(self.entries, self.position(n), None) if n else iter(self.entries)

    def newest(self, before: int | None) -> Iterator[T]:
        newest = reversed(self.entries)
        return newest if before is None else islice(newest, len(self.entries) - self.position(before - 1), None)


class BoundedLog(Entries[T]):
    """Entries are numbered from 1 without gaps. ``limit`` bounds the sum of their sizes, by default their count."""

    def __init__(self, generation: str, limit: int, size_of: Callable[[T], int] = lambda _: 1) -> None:
        self.generation = generation
        self._limit = limit
        self._size_of = size_of
        self._queues: dict[str, _Queue[T]] = {}
        self.size_bytes = 0
        """Of the entries that are still there."""
        self.last_n = 0
        self.seen_bytes = 0
        """Of all entries that there ever were."""

    def __len__(self) -> int:
        return self.count(None)

    def __repr__(self) -> str:
        return f"<BoundedLog {len(self)} of {self.last_n} entries, size {self.size_bytes} of {self._limit}>"

    @property
    def processes(self) -> Collection[str]:
        return self._queues

    def append(self, entry: T) -> None:
        """``entry.n`` must be ``last_n + 1``."""
        self.extend([entry])

    def extend(self, entries: Sequence[T]) -> None:
        """At least one entry, all of one process, numbered from ``last_n + 1`` on."""
        queue = self._queue(entries[0].process)
        size = sum(map(self._size_of, entries))
        queue.entries.extend(entries)
        queue.size += size
        self.size_bytes += size
        self.seen_bytes += size
        self.last_n = entries[-1].n
        while self.size_bytes > self._limit:
            self._make_room()

    def skip(self, process: str, count: int) -> None:
        """So many entries of a process are not kept; they have their numbers, and count as dropped."""
        self._queue(process).skipped.append((self.last_n + 1, self.last_n + count))
        self.last_n += count

    def after(self, n: int, process: str | None = None) -> Iterator[T]:
        found = [queue.after(n) for queue in self._of(process)]
        return found[0] if len(found) == 1 else merge(*found, key=_number)

    def newest(self, process: str | None = None, before: int | None = None) -> Iterator[T]:
        found = [queue.newest(before) for queue in self._of(process)]
        return found[0] if len(found) == 1 else merge(*found, key=_number, reverse=True)

    def around(self, entry: T, count: int) -> tuple[list[T], list[T]]:
        queue = self._queues[entry.process]
        position = queue.position(entry.n)
        before = list(islice(queue.entries, max(0, position - 1 - count), max(0, position - 1)))
        return before, list(islice(queue.entries, position, position + count))

    def dropped_between(self, after: int, until: int, process: str | None = None) -> int:
        """Exact for all; of one process an upper bound, which is exact if no other has lost any."""
        kept = sum(queue.position(until) - queue.position(after) for queue in self._queues.values())
        gone = until - after - kept
        if process is None:
            return gone
        return max((min(gone, queue.dropped_between(after, until)) for queue in self._of(process)), default=0)

    def count(self, wanted: Callable[[T], bool] | None, process: str | None = None) -> int:
        return sum(
            len(queue.entries) if wanted is None else sum(map(wanted, queue.entries)) for queue in self._of(process)
        )

    def resume(self, n: int) -> int:
        return min(n, self.last_n)

    def _make_room(self) -> None:
        """Drop the oldest entries of the largest queue, until another is the largest, or the limit holds."""
        largest = max(self._queues.values(), key=attrgetter("size"))
        next_size = max((queue.size for queue in self._queues.values() if queue is not largest), default=0)
        excess = min(self.size_bytes - self._limit, largest.size - next_size + 1)
        entries, size_of = largest.entries, self._size_of
        before, freed, last_n = len(entries), 0, 0
        while freed < excess:
            freed += size_of(entries[0])
            last_n = entries.popleft().n
        largest.forget_up_to(last_n)
        largest.dropped += before - len(entries)
        largest.size -= freed
        self.size_bytes -= freed

    def _queue(self, process: str) -> _Queue[T]:
        if (queue := self._queues.get(process)) is None:
            queue = self._queues[process] = _Queue()
        return queue

    def _of(self, process: str | None) -> list[_Queue[T]]:
        if process is None:
            return list(self._queues.values())
        return [queue] if (queue := self._queues.get(process)) else []
