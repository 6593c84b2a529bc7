"""A bounded log of numbered entries that is read with cursors. Pure.

A cursor is the text ``GENERATION.N``: "I have seen everything up to entry N of that run of the instance". It
stays valid for ever: if entries behind it are gone, the reader is told how many; if it is of another
generation, the reader starts at the oldest entry and is told so.
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, Protocol, TypeVar

import msgspec

from brummer.core.errors import InvalidArguments

PAGE_BYTES = 256 * 1024
"""What one answer may hold: 5,000 ordinary lines, and far less than an agent's context."""


class _Numbered(Protocol):
    @property
    def n(self) -> int: ...


T = TypeVar("T", bound=_Numbered)


class Page(msgspec.Struct, Generic[T], frozen=True):
    """``dropped``: entries after the cursor that are gone, whoever's they were. ``omitted``: older entries
    that fit the question and not the limit. ``cursor_reset``: the cursor was of another generation.
    """

    entries: list[T]
    next_cursor: str
    dropped: int
    omitted: int
    cursor_reset: bool


class NumberedLog(Generic[T]):
    """Entries are numbered from 1 without gaps. The oldest make room when count or bytes exceed the limit."""

    def __init__(
        self, generation: str, max_entries: int, max_bytes: int, size_of: Callable[[T], int] = lambda _: 0
    ) -> None:
        self._generation = generation
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._entries: deque[T] = deque()
        self._bytes = 0
        self.last_n = 0
        self.seen_bytes = 0
        """Of all entries that there ever were."""

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<NumberedLog {len(self)} of {self.last_n} entries, {self._bytes} bytes>"

    @property
    def size_bytes(self) -> int:
        """Of the entries that are still there."""
        return self._bytes

    @property
    def evicted(self) -> int:
        return self.last_n - len(self._entries)

    def append(self, entry: T) -> None:
        """``entry.n`` must be ``last_n + 1``."""
        self.last_n = entry.n
        self._entries.append(entry)
        size = self._size_of(entry)
        self._bytes += size
        self.seen_bytes += size
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._bytes -= self._size_of(self._entries.popleft())

    def after(self, n: int) -> Iterator[T]:
        """The entries after number ``n`` that are still there, oldest first."""
        return islice(self._entries, max(0, n - self.evicted), None)

    def cursor(self, n: int | None = None) -> str:
        return f"{self._generation}.{self.last_n if n is None else n}"

    def read(self, cursor: str | None, limit: int, wanted: Callable[[T], bool]) -> Page[T]:
        """Without a cursor the newest ``limit`` wanted entries, else the first ``limit`` after it; oldest
        first.

        Raises InvalidArguments for a cursor that is none.
        """
        return self._newest(limit, wanted) if cursor is None else self._following(cursor, limit, wanted)

    def _newest(self, limit: int, wanted: Callable[[T], bool]) -> Page[T]:
        found: deque[T] = deque()
        room, omitted = PAGE_BYTES, 0
        for entry in reversed(self._entries):
            if not wanted(entry):
                continue
            room -= self._size_of(entry)
            if omitted or len(found) == limit or (room < 0 and found):
                omitted += 1
            else:
                found.appendleft(entry)
        dropped = 0 if omitted else self.evicted
        return Page(list(found), self.cursor(), dropped, omitted, cursor_reset=False)

    def _following(self, cursor: str, limit: int, wanted: Callable[[T], bool]) -> Page[T]:
        position, is_ours = self._position(cursor)
        dropped = max(0, self.evicted - position)
        found: list[T] = []
        room = PAGE_BYTES
        for entry in self.after(position):
            if not wanted(entry):
                continue
            room -= self._size_of(entry)
            if len(found) == limit or (room < 0 and found):
                return Page(found, self.cursor(found[-1].n), dropped, 0, not is_ours)
            found.append(entry)
        return Page(found, self.cursor(), dropped, 0, not is_ours)

    def _position(self, cursor: str) -> tuple[int, bool]:
        generation, _, digits = cursor.rpartition(".")
        if not generation or not digits.isdecimal() or not digits.isascii():
            raise InvalidArguments(f"cursor {cursor!r} is not one that an earlier answer gave", cursor=cursor)
        if generation != self._generation:
            return 0, False
        return min(int(digits), self.last_n), True
