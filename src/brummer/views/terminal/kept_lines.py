"""The lines of a log that a view keeps, and the rows on which they stand. Pure.

A line keeps its *place* as long as it is kept: a number that counts up from the first line that came, and down for
lines that are put before it. Rows are counted from the first line that is not hidden.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from brummer.views.log_lines import LogLine
from brummer.views.terminal.cells import columns_of, height_of

KEPT_LINES: Final = 20_000
KEPT_CHARACTERS: Final = 8_000_000
"""20,000 lines of 400 characters: lines of 16 KiB would take hundreds of megabytes otherwise."""


class KeptLines:
    """Lines, oldest first. ``max_lines`` and ``max_characters`` bound them; at least one line is kept."""

    def __init__(self, max_lines: int = KEPT_LINES, max_characters: int = KEPT_CHARACTERS) -> None:
        self._max_lines = max_lines
        self._max_characters = max_characters
        self.lines: list[LogLine] = []
        self.columns: array[int] = array("i")
        """How wide each line is."""
        self.first_place = 0
        """The place of the oldest line."""
        self.hidden = 0
        """So many of the oldest lines are hidden."""
        self.wrap_width: int | None = None
        self._characters = 0
        self._ends: array[int] = array("q")
        """The number of the row after each line, counted from where the first line that came began."""
        self._begin = 0
        """The number of the oldest line's first row, likewise."""

    @property
    def end_place(self) -> int:
        """The place after the newest line."""
        return self.first_place + len(self.lines)

    def room_for(self, lines: Sequence[LogLine]) -> int:
        """How many of these lines, from the first one on, can be kept beside the others."""
        count = min(len(lines), max(0, self._max_lines - len(self.lines)))
        while count and self._characters + _characters_of(lines[:count]) > self._max_characters:
            count //= 2
        return count

    @property
    def row_count(self) -> int:
        """Of the lines that are not hidden."""
        return (self._ends[-1] if self._ends else 0) - self._first_row

    @property
    def _first_row(self) -> int:
        return self._ends[self.hidden - 1] if self.hidden else self._begin

    def emptied(self) -> "KeptLines":
        """Another one with the same limits and width."""
        empty = KeptLines(self._max_lines, self._max_characters)
        empty.wrap_width = self.wrap_width
        return empty

    def at(self, place: int) -> LogLine:
        return self.lines[place - self.first_place]

    def append(self, lines: Sequence[LogLine]) -> None:
        columns = self._measured(lines)
        last = self._ends[-1] if self._ends else self._begin
        heights = self._heights(lines, columns)
        self._ends.extend(list(accumulate(heights, initial=last))[1:])
        self.lines += lines
        self.columns += columns

    def prepend(self, lines: Sequence[LogLine]) -> int:
        """Put them before the oldest line; the number of rows that they take."""
        columns = self._measured(lines)
        heights = self._heights(lines, columns)
        rows = sum(heights)
        begin = self._begin - rows
        self._ends = array("q", list(accumulate(heights, initial=begin))[1:]) + self._ends
        self._begin = begin
        self.lines[:0] = lines
        self.columns = columns + self.columns
        self.first_place -= len(lines)
        self.hidden += len(lines) if self.hidden else 0
        return rows

    def _measured(self, lines: Sequence[LogLine]) -> "array[int]":
        self._characters += _characters_of(lines)
        return array("i", [columns_of(line.text) for line in lines])

    def _heights(self, lines: Sequence[LogLine], columns: Sequence[int]) -> list[int]:
        width = self.wrap_width
        if width is None:
            return [1] * len(lines)
        return [height_of(line.text, each, width) for line, each in zip(lines, columns, strict=True)]

    def drop_oldest(self) -> int:
        """Forget the oldest lines that are too many; the number of visible rows that go."""
        count = self._too_many(self.lines)
        if not count:
            return 0
        before = self._first_row
        self._characters -= _characters_of(self.lines[:count])
        self._begin = self._ends[count - 1]
        del self.lines[:count], self.columns[:count], self._ends[:count]
        self.first_place += count
        self.hidden = max(0, self.hidden - count)
        return self._first_row - before

    def drop_newest(self) -> int:
        """Forget the newest lines that are too many; their number."""
        count = self._too_many(reversed(self.lines))
        if count:
            self._characters -= _characters_of(self.lines[-count:])
            del self.lines[-count:], self.columns[-count:], self._ends[-count:]
            self.hidden = min(self.hidden, len(self.lines))
        return count

    def _too_many(self, from_one_end: Iterable[LogLine]) -> int:
        count = max(0, len(self.lines) - self._max_lines)
        excess = self._characters - self._max_characters
        if not count and excess <= 0:
            return 0
        for n, line in enumerate(from_one_end):
            if n >= count and excess <= 0:
                return n
            excess -= len(line.text)
        return len(self.lines) - 1

    def wrap(self, width: int | None) -> None:
        """Give each line the rows that it takes in this width, or, without one, a single row."""
        self.wrap_width = width
        self._begin = 0
        self._ends = array("q", accumulate(self._heights(self.lines, self.columns)))

    def row_of(self, place: int) -> int:
        """The first row of a line; that of the first visible one for a hidden line."""
        index = place - self.first_place
        return max(0, (self._ends[index - 1] if index else self._begin) - self._first_row)

    def at_row(self, row: int) -> tuple[int, int]:
        """The place of the line on this row, and which row of the line it is."""
        row += self._first_row
        index = min(bisect_right(self._ends, row), len(self.lines) - 1)
        return self.first_place + index, row - (self._ends[index - 1] if index else self._begin)


def _characters_of(lines: Iterable[LogLine]) -> int:
    return sum(len(line.text) for line in lines)
