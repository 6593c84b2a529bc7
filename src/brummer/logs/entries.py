"""Numbered entries that are read with cursors, in the memory of an instance or in its journal. Pure.

A cursor is the text ``GENERATION.LINES.CHANGES``: "all lines and all changes of that run of the instance have been read
up to these numbers". An answer about lines moves the first, one about changes the second, so every tool can go on from
the answer of any other. It stays valid for ever: if entries after it are gone, the answer says how many; if it is of
another generation, reading starts at the oldest entry, and the answer says so.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from brummer.core.errors import InvalidArguments, shown

MAX_DIGITS = 19
"""Of a number in a cursor: no instance prints so many lines."""
PAGE_BYTES = 256 * 1024
"""What one answer may hold: 5,000 ordinary lines, and far less than an agent's context."""
DROPPED_BYTES = 512
"""Bytes in an answer for the names of processes that have lost entries: some ten, as data and as text."""

_encode = msgspec.json.Encoder().encode


def twice_encoded(entry: object) -> int:
    """The size of an entry in an answer, as data and as text for reading, which is not longer than the JSON."""
    return 2 * len(_encode(entry))


class Numbered(Protocol):
    """An entry."""

    @property
    def n(self) -> int: ...


T = TypeVar("T", bound=Numbered)


class Place(NamedTuple):
    """How far the lines and the changes of one generation have been read; as text it is a cursor."""

    generation: str
    line_n: int = 0
    change_n: int = 0

    def __str__(self) -> str:
        return f"{self.generation}.{self.line_n}.{self.change_n}"


class Page(msgspec.Struct, Generic[T], frozen=True):
    """``dropped``: entries after the cursor that are gone, ``dropped_of`` by process. ``omitted``: matching entries
    that are not shown, either older ones beyond the limit, or the newest while they are not settled. ``more``: newer
    entries follow after ``cursor``; of earlier entries, that there are still earlier ones, before number ``before``.
    ``cursor_reset``: the cursor was of another generation; these entries are of the one that began at ``run_since``.
    """

    entries: list[T]
    cursor: str
    dropped: int
    dropped_of: dict[str, int]
    omitted: int
    more: bool
    cursor_reset: bool
    before: int | None = None
    run_since: str = ""

    def position(self) -> dict[str, Any]:
        """All members but the entries; empty ones are left out. ``dropped_of`` names the processes that have lost most,
        as many as fit into every answer.
        """
        position: dict[str, Any] = {"cursor": self.cursor, "dropped": self.dropped}
        if self.dropped_of and (most := _most(self.dropped_of)):
            position["dropped_of"] = most
        if self.omitted:
            position["omitted"] = self.omitted
        if self.more:
            position["more"] = True
        if self.before:
            position["before"] = self.before
        if self.cursor_reset:
            position["cursor_reset"] = True
        if self.run_since:
            position["run_since"] = self.run_since
        return position


class Entries(ABC, Generic[T]):
    """The entries of one ``generation``, which began at ``since`` (RFC 3339), where that is known. ``last_n``: the
    number up to which all have been given. ``process``: only the entries of this process; None: all. ``kind``: which
    number of a cursor counts them; ``other_n``: the other number where no cursor gives one.
    """

    generation: str
    since: str = ""
    last_n: int
    kind: Literal["line_n", "change_n"] = "line_n"
    other_n: Callable[[], int] = staticmethod(lambda: 0)

    @property
    def processes(self) -> Collection[str]:
        """The processes whose losses are counted one by one."""
        return ()

    @abstractmethod
    def after(self, n: int, process: str | None = None) -> Iterator[T]:
        """The entries after number ``n``, up to ``last_n``, oldest first."""

    @abstractmethod
    def newest(self, process: str | None = None, before: int | None = None) -> Iterator[T]:
        """All entries, or those with a number below ``before``, the newest first."""

    @abstractmethod
    def around(self, entry: T, count: int) -> tuple[list[T], list[T]]:
        """Up to ``count`` entries of the same process before and after one of these."""

    @abstractmethod
    def dropped_between(self, after: int, until: int, process: str | None = None) -> int:
        """How many entries after one number, up to another, are gone; never too few."""

    @abstractmethod
    def count(self, wanted: Callable[[T], bool] | None, process: str | None = None) -> int:
        """How many entries match."""

    def resume(self, n: int) -> int:
        """Where to go on after a cursor of this generation."""
        return n

    def unsettled(self) -> Iterable[T]:
        """Entries after ``last_n``, which a cursor does not pass: others may still come before them."""
        return ()

    def cursor(self, n: int | None = None, other_n: int | None = None) -> str:
        n = self.last_n if n is None else n
        other_n = self.other_n() if other_n is None else other_n
        line_n, change_n = (n, other_n) if self.kind == "line_n" else (other_n, n)
        return f"{self.generation}.{line_n}.{change_n}"

    def read(
        self,
        cursor: str | None,
        limit: int,
        wanted: Callable[[T], bool] | None = None,
        *,
        process: str | None = None,
        since_n: int = 0,
        limit_size: int = PAGE_BYTES,
        size_of: Callable[[T], int] = twice_encoded,
    ) -> Page[T]:
        """Without a cursor the newest ``limit`` wanted entries, else the first ``limit`` after it; oldest first. One
        entry is given even if it alone is larger than ``limit_size``, by ``size_of``. Entries dropped up to ``since_n``
        are not counted.

        Raises InvalidArguments for an invalid cursor.
        """
        if cursor is None:
            found, is_cut = _first(self.newest(process), limit, wanted, limit_size, size_of)
            found.reverse()
            if is_cut:
                omitted = self.count(wanted, process) - len(found)
                return Page(found, self.cursor(), 0, {}, omitted, more=False, cursor_reset=False)
            until = max(self.last_n, found[-1].n) if found else self.last_n
            return self._page(found, since_n, until, self.cursor(), process)
        place = parse_cursor(cursor)
        is_ours = place.generation == self.generation
        n, other_n = self._numbers_of(place) if is_ours else (0, 0)
        position = max(self.resume(n), since_n)
        found, is_cut = _first(self.after(position, process), limit, wanted, limit_size, size_of)
        until = found[-1].n if is_cut else max(position, self.last_n)
        page = self._page(found, position, until, self.cursor(until, other_n), process)
        omitted = sum(1 for entry in self.unsettled() if wanted is None or wanted(entry))
        page = msgspec.structs.replace(page, omitted=omitted, more=is_cut)
        return page if is_ours else self._reset(page)

    def earlier(
        self,
        before: int,
        cursor: str | None,
        limit: int,
        wanted: Callable[[T], bool] | None = None,
        *,
        process: str | None = None,
        limit_size: int = PAGE_BYTES,
        size_of: Callable[[T], int] = twice_encoded,
    ) -> Page[T]:
        """The newest ``limit`` wanted entries with a number below ``before``, oldest first. A cursor only names the run
        that the number is of: in another one it names no entry, and nothing is given. The answer's cursor is the given
        one, or else the place after the entries.

        Raises InvalidArguments for an invalid cursor.
        """
        if cursor is not None and parse_cursor(cursor).generation != self.generation:
            return self._reset(Page([], self.cursor(), 0, {}, omitted=0, more=False, cursor_reset=False))
        found, is_more = _first(self.newest(process, before), limit, wanted, limit_size, size_of)
        found.reverse()
        after = cursor or self.cursor(min(before - 1, self.last_n))
        first_n = found[0].n if is_more else None
        return Page(found, after, 0, {}, omitted=0, more=is_more, cursor_reset=False, before=first_n)

    def _reset(self, page: Page[T]) -> Page[T]:
        return msgspec.structs.replace(page, cursor_reset=True, run_since=self.since)

    def _numbers_of(self, place: Place) -> tuple[int, int]:
        """The number of these entries, and the other one."""
        return place[1:] if self.kind == "line_n" else (place.change_n, place.line_n)

    def _page(self, found: list[T], position: int, until: int, cursor: str, process: str | None) -> Page[T]:
        dropped_of = {
            name: dropped
            for name in (self.processes if process is None else (process,) if self.processes else ())
            if (dropped := self.dropped_between(position, until, name))
        }
        dropped = self.dropped_between(position, until, process)
        return Page(found, cursor, dropped, dropped_of, omitted=0, more=False, cursor_reset=False)


def parse_cursor(cursor: str) -> Place:
    """A cursor with one number is of an earlier version, which gave each tool its own: it is of no generation. Raises
    InvalidArguments for an invalid cursor.
    """
    generation, *numbers = cursor.split(".")
    if not generation or len(numbers) not in {1, 2} or not all(map(_is_number, numbers)):
        cursor = shown(cursor)
        raise InvalidArguments(f"cursor {cursor!r} is not one that an earlier answer gave", cursor=cursor)
    return Place(generation, *map(int, numbers)) if len(numbers) > 1 else Place("")


def _is_number(digits: str) -> bool:
    return digits.isdecimal() and digits.isascii() and len(digits) <= MAX_DIGITS


def _first(
    entries: Iterable[T], limit: int, wanted: Callable[[T], bool] | None, left_bytes: int, size_of: Callable[[T], int]
) -> tuple[list[T], bool]:
    """The first wanted entries that fit, and True if there are more."""
    found: list[T] = []
    for entry in entries if wanted is None else filter(wanted, entries):
        left_bytes -= size_of(entry)
        if len(found) == limit or (left_bytes < 0 and found):
            return found, True
        found.append(entry)
    return found, False


def _most(dropped_of: dict[str, int]) -> dict[str, int]:
    most, left_bytes = {}, DROPPED_BYTES
    for name, count in sorted(dropped_of.items(), key=lambda each: -each[1]):
        left_bytes -= twice_encoded({name: count})
        if left_bytes < 0:
            break
        most[name] = count
    return most
