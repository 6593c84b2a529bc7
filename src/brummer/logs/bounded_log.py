"""A bounded log of numbered entries that is read with cursors, in which nobody can crowd out the others. Pure.

A cursor is the text ``GENERATION.N``: "I have seen everything up to entry N of that run of the instance". It
stays valid for ever: if entries behind it are gone, the reader is told how many; if it is of another
generation, the reader starts at the oldest entry and is told so.

There is one numbering and one limit, but each process has its own queue, and room is always made by the one
that holds most: a flood displaces itself, and whoever stays under an equal share of the limit loses nothing.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from brummer.core.errors import InvalidArguments, shown

MAX_DIGITS = 19
"""Of a number in a cursor: nobody prints so many lines."""
PAGE_BYTES = 256 * 1024
"""What one answer may hold: 5,000 ordinary lines, and far less than an agent's context."""

DROPPED_BYTES = 512
"""Bytes in an answer for the names of processes that have lost entries: some ten, as data and as text."""

_encode = msgspec.json.Encoder().encode


def twice_encoded(entry: object) -> int:
    """The size of an entry in an answer, as data and as text for reading, which is not longer than the JSON."""
    return 2 * len(_encode(entry))


def _most(dropped_of: dict[str, int]) -> dict[str, int]:
    most, room = {}, DROPPED_BYTES
    for name, count in sorted(dropped_of.items(), key=lambda each: -each[1]):
        room -= twice_encoded({name: count})
        if room < 0:
            break
        most[name] = count
    return most


class _Numbered(Protocol):
    @property
    def n(self) -> int: ...
    @property
    def process(self) -> str: ...


T = TypeVar("T", bound=_Numbered)

_number = attrgetter("n")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """``dropped``: entries after the cursor that are gone, ``dropped_of`` by process. ``omitted``: older entries that
    fit the question and not the limit. ``more``: newer ones that did not fit; they are behind ``next_cursor``.
    ``cursor_reset``: the cursor was of another generation.
    """

    entries: list[T]
    next_cursor: str
    dropped: int
    dropped_of: dict[str, int]
    omitted: int
    more: bool
    cursor_reset: bool

    def position(self) -> dict[str, Any]:
        """All members but the entries; empty ones are left out. ``dropped_of`` names the processes that have lost most,
        as many as fit into every answer.
        """
        position: dict[str, Any] = {"next_cursor": self.next_cursor, "dropped": self.dropped}
        if most := _most(self.dropped_of):
            position["dropped_of"] = most
        for name in ("omitted", "more", "cursor_reset"):
            if value := getattr(self, name):
                position[name] = value
        return position


class _Share(Generic[T]):
    """What one process holds, oldest first; ``dropped_n`` is the number of the newest of those that had to make room.
    ``skipped`` has the first and the last number of what was never kept since then.
    """

    __slots__ = ("dropped", "dropped_n", "entries", "size", "skipped")

    def __init__(self) -> None:
        self.entries: deque[T] = deque()
        self.size = 0
        self.dropped = 0
        self.dropped_n = 0
        self.skipped: deque[tuple[int, int]] = deque()

    def forget_up_to(self, n: int) -> None:
        """What was skipped before an entry that is gone needs no record of its own."""
        self.dropped_n = n
        while self.skipped and self.skipped[0][0] < n:
            first, last = self.skipped.popleft()
            self.dropped += last - first + 1

    def dropped_between(self, after: int, until: int) -> int:
        """How many of the entries in between are gone; never too few."""
        evicted = min(self.dropped, max(0, min(self.dropped_n, until) - after))
        return evicted + sum(max(0, min(last, until) - max(first - 1, after)) for first, last in self.skipped)

    def position(self, n: int) -> int:
        """How many of the entries are not after ``n``."""
        return bisect_right(self.entries, n, key=_number)

    def after(self, n: int) -> Iterator[T]:
        return islice(self.entries, self.position(n), None) if n else iter(self.entries)


class NumberedLog(Generic[T]):
    """Entries are numbered from 1 without gaps. ``limit`` bounds the sum of their sizes, by default their count."""

    def __init__(self, generation: str, limit: int, size_of: Callable[[T], int] = lambda _: 1) -> None:
        self._generation = generation
        self._limit = limit
        self._size_of = size_of
        self._shares: dict[str, _Share[T]] = {}
        self._size = 0
        self.last_n = 0
        self.seen_bytes = 0
        """Of all entries that there ever were."""

    def __len__(self) -> int:
        return sum(len(share.entries) for share in self._shares.values())

    def __repr__(self) -> str:
        return f"<NumberedLog {len(self)} of {self.last_n} entries, size {self._size} of {self._limit}>"

    @property
    def size_bytes(self) -> int:
        """Of the entries that are still there."""
        return self._size

    def append(self, entry: T) -> None:
        """``entry.n`` must be ``last_n + 1``."""
        self.extend([entry])

    def extend(self, entries: Sequence[T]) -> None:
        """At least one entry, all of one process, numbered from ``last_n + 1`` on."""
        process = entries[0].process
        share = self._shares.get(process) or self._shares.setdefault(process, _Share())
        size = sum(map(self._size_of, entries))
        share.entries.extend(entries)
        share.size += size
        self._size += size
        self.seen_bytes += size
        self.last_n = entries[-1].n
        while self._size > self._limit:
            self._make_room()

    def skip(self, process: str, count: int) -> None:
        """So many entries of a process were never there to be kept; they have their numbers, and count as dropped."""
        share = self._shares.get(process) or self._shares.setdefault(process, _Share())
        share.skipped.append((self.last_n + 1, self.last_n + count))
        self.last_n += count

    def _make_room(self) -> None:
        """The oldest entries of the share that is largest go, until it no longer is, or there is room."""
        largest = max(self._shares.values(), key=attrgetter("size"))
        next_size = max((share.size for share in self._shares.values() if share is not largest), default=0)
        excess = min(self._size - self._limit, largest.size - next_size + 1)
        entries, size_of = largest.entries, self._size_of
        before, freed, last_n = len(entries), 0, 0
        while freed < excess:
            freed += size_of(entries[0])
            last_n = entries.popleft().n
        largest.forget_up_to(last_n)
        largest.dropped += before - len(entries)
        largest.size -= freed
        self._size -= freed

    def after(self, n: int, process: str | None = None) -> Iterator[T]:
        """The entries after number ``n`` that are still there, of one process or of all, oldest first."""
        found = [share.after(n) for share in self._of(process)]
        return found[0] if len(found) == 1 else merge(*found, key=_number)

    def newest(self, process: str | None = None) -> Iterator[T]:
        """As `after` for all entries, but the newest first."""
        found = [reversed(share.entries) for share in self._of(process)]
        return found[0] if len(found) == 1 else merge(*found, key=_number, reverse=True)

    def around(self, entry: T, count: int) -> tuple[list[T], list[T]]:
        """Up to ``count`` entries of the same process before and after one that is still there."""
        share = self._shares[entry.process]
        position = share.position(entry.n)
        before = list(islice(share.entries, max(0, position - 1 - count), max(0, position - 1)))
        return before, list(islice(share.entries, position, position + count))

    def dropped_between(self, after: int, until: int, process: str | None = None) -> int:
        """How many entries after one number, up to another, are gone. Exact for all; of one process an upper bound,
        which is exact where it alone has lost any.
        """
        kept = sum(share.position(until) - share.position(after) for share in self._shares.values())
        gone = until - after - kept
        if process is None:
            return gone
        return max((min(gone, share.dropped_between(after, until)) for share in self._of(process)), default=0)

    def cursor(self, n: int | None = None) -> str:
        return f"{self._generation}.{self.last_n if n is None else n}"

    def read(
        self,
        cursor: str | None,
        limit: int,
        wanted: Callable[[T], bool] | None = None,
        *,
        process: str | None = None,
        since_n: int = 0,
        limit_size: int = PAGE_BYTES,
        size_of: Callable[[T], int] | None = None,
    ) -> Page[T]:
        """Without a cursor the newest ``limit`` wanted entries, else the first ``limit`` after it; oldest
        first. One entry is given even if it alone is larger than ``limit_size``, by ``size_of``. Entries dropped up to
        ``since_n`` are not counted for the reader.

        Raises InvalidArguments for a cursor that is none.
        """
        fill = partial(_fill, limit=limit, wanted=wanted, room=limit_size, size_of=size_of or self._size_of)
        if cursor is None:
            return self._newest(fill, wanted, process, since_n)
        position, is_ours = self._position(cursor)
        position = max(position, since_n)
        found, more = fill(self.after(position, process))
        return self._page(found, position, process, more=more, cursor_reset=not is_ours)

    def _newest(
        self,
        fill: Callable[[Iterable[T]], tuple[list[T], bool]],
        wanted: Callable[[T], bool] | None,
        process: str | None,
        since_n: int,
    ) -> Page[T]:
        shares = self._of(process)
        found, more = fill(self.newest(process))
        found.reverse()
        if not more:
            return self._page(found, since_n, process)
        every = (entry for share in shares for entry in share.entries)
        fitting = sum(len(share.entries) for share in shares) if wanted is None else sum(map(wanted, every))
        return Page(found, self.cursor(), 0, {}, fitting - len(found), more=False, cursor_reset=False)

    def _page(
        self, found: list[T], position: int, process: str | None, *, more: bool = False, cursor_reset: bool = False
    ) -> Page[T]:
        until = found[-1].n if more else self.last_n
        dropped_of = {
            name: dropped
            for name in (self._shares if process is None else (process,))
            if (dropped := self.dropped_between(position, until, name))
        }
        return Page(
            found,
            self.cursor(until),
            self.dropped_between(position, until, process),
            dropped_of,
            omitted=0,
            more=more,
            cursor_reset=cursor_reset,
        )

    def _of(self, process: str | None) -> list[_Share[T]]:
        if process is None:
            return list(self._shares.values())
        return [share] if (share := self._shares.get(process)) else []

    def _position(self, cursor: str) -> tuple[int, bool]:
        generation, n = parse_cursor(cursor)
        if generation != self._generation:
            return 0, False
        return min(n, self.last_n), True


def _fill(
    entries: Iterable[T],
    *,
    limit: int,
    wanted: Callable[[T], bool] | None,
    room: int,
    size_of: Callable[[T], int],
) -> tuple[list[T], bool]:
    """The first wanted entries that fit, and True if there are more."""
    found: list[T] = []
    for entry in entries if wanted is None else filter(wanted, entries):
        room -= size_of(entry)
        if len(found) == limit or (room < 0 and found):
            return found, True
        found.append(entry)
    return found, False


def parse_cursor(cursor: str) -> tuple[str, int]:
    """Its generation and its number. Raises InvalidArguments for a cursor that is none."""
    generation, _, digits = cursor.rpartition(".")
    if not generation or not digits.isdecimal() or not digits.isascii() or len(digits) > MAX_DIGITS:
        cursor = shown(cursor)
        raise InvalidArguments(f"cursor {cursor!r} is not one that an earlier answer gave", cursor=cursor)
    return generation, int(digits)
