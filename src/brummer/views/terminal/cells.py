"""Which cells of a terminal the characters of a line take, in both directions. Pure; the widths are those of Textual.

Most lines are simple: each character is one cell. In others a *cluster* is what a reader sees as one character: a
letter with its accents, an emoji of several characters, a tab, or an invisible character, which is shown as its number.
Offsets count the characters of a line, columns its cells.
"""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from typing import Final

from rich.cells import cell_len, get_character_cell_size

from brummer.core.visible import replaced

TAB_COLUMNS: Final = 8
CLUSTER_LENGTH: Final = 16
"""Characters of one cluster that are drawn. The longest emoji has ten; a letter may have thousands of accents."""

ONE_CELL: Final = (
    (0x20, 0x7E),
    (0xAE, 0x2FF),
    (0x3A3, 0x482),
    (0x48A, 0x52F),
    (0x2010, 0x2027),
    (0x2030, 0x205E),
    (0x2190, 0x2319),
    (0x2460, 0x25FC),
    (0x270C, 0x2727),
    (0x2758, 0x2794),
    (0x2798, 0x27AF),
)
"""Characters that take one cell each, whatever stands beside them, and are common in logs: Latin, Greek, Cyrillic,
arrows, boxes, check marks.
"""

_SIMPLE: Final = re.compile(
    f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last in ONE_CELL)}]*+".replace("\\", "\\\\")
)
_JOINER: Final = "\u200d"
_BASE: Final = "\u25cc"
"""The dotted circle, as Unicode shows an accent that has no letter."""
_FLAG: Final = re.compile("[\U0001f1e6-\U0001f1ff]")
"""A letter of a flag; two of them are one flag."""
_CHANGES_WIDTH: Final = re.compile("[\t\u200d\ufe0f]")
"""The columns of what stands before or after it depend on it."""


def is_simple(text: str) -> bool:
    """Each character is one cell."""
    return (text.isascii() and text.isprintable()) or _SIMPLE.fullmatch(text) is not None


class Cells:
    """The cells of one line."""

    __slots__ = ("_columns", "_offsets", "_text", "_unlike", "columns")

    def __init__(self, text: str) -> None:
        self._text = text
        self._offsets: array[int] = array("i")
        """Where each cluster begins, and the end; nothing for a simple line."""
        self._columns: array[int] = array("i")
        self._unlike: dict[int, str] = {}
        """What is shown of clusters that are not shown as they are, by offset."""
        if is_simple(text):
            self.columns = len(text)
        elif widths := _widths(text):
            self._offsets = array("i", range(len(text) + 1))
            self._columns = array("i", accumulate(widths, initial=0))
            self.columns = self._columns[-1]
        else:
            self.columns = self._divide(text)

    def _divide(self, text: str) -> int:
        unlike, column = dict(replaced(text)), 0
        for start, end in _clusters(text, unlike):
            shown = unlike.get(start) or self._unlike_itself(text[start:end], column)
            if shown is not None:
                self._unlike[start] = shown
            self._offsets.append(start)
            self._columns.append(column)
            column += cell_len(text[start:end] if shown is None else shown)
        self._offsets.append(len(text))
        self._columns.append(column)
        return column

    @staticmethod
    def _unlike_itself(cluster: str, column: int) -> str | None:
        if cluster == "\t":
            return " " * (TAB_COLUMNS - column % TAB_COLUMNS)
        shown = cluster[:CLUSTER_LENGTH] if cell_len(cluster) else f"{_BASE}{cluster[:CLUSTER_LENGTH]}"
        return None if shown == cluster else shown

    def span_at(self, column: int) -> tuple[int, int]:
        """The begin and the end of the cluster in this column, as offsets; behind the line both are its end."""
        if column >= self.columns:
            return len(self._text), len(self._text)
        column = max(0, column)
        if not self._offsets:
            return column, column + 1
        n = bisect_right(self._columns, column) - 1
        return self._offsets[n], self._offsets[n + 1]

    def column_of(self, offset: int) -> int:
        """Where the cluster with this character begins."""
        if not self._offsets:
            return offset
        return self._columns[bisect_right(self._offsets, offset) - 1]

    def columns_between(self, start: int, end: int) -> tuple[int, int]:
        """The columns of the characters from one offset to before another, with the rest of the last one's cluster."""
        if not self._offsets or start >= end:
            return start, end
        return self.column_of(start), self._columns[bisect_right(self._offsets, end - 1)]

    def shown(self, start: int, end: int) -> str:
        """What stands in the columns from ``start`` to before ``end``, as text for exactly these columns. Of a wide
        character that is cut there are blanks.
        """
        start, end = max(0, start), min(end, self.columns)
        if not self._offsets or start >= end:
            return self._text[start:end] if start < end else ""
        first, last = bisect_right(self._columns, start) - 1, bisect_left(self._columns, end)
        return "".join(self._cluster_shown(n, start, end) for n in range(first, last))

    def _cluster_shown(self, n: int, start: int, end: int) -> str:
        column, following = self._columns[n], self._columns[n + 1]
        offset = self._offsets[n]
        shown = self._unlike.get(offset, self._text[offset : self._offsets[n + 1]])
        if column >= start and following <= end:
            return shown
        whole = shown if shown.isascii() else " " * (following - column)
        return whole[max(0, start - column) : end - column]

    def rows(self, width: int) -> list[int]:
        """The columns at which the rows begin when the line is wrapped; at least one row. A row is wider than ``width``
        only if its only cluster is.
        """
        if not self._offsets or self.columns <= width:
            return list(range(0, max(1, self.columns), width))
        begins, first, last = [0], 0, len(self._offsets) - 1
        while (following := self._after_row(first, width)) < last:
            begins.append(self._columns[following])
            first = following
        return begins

    def _after_row(self, first: int, width: int) -> int:
        """The number of the first cluster that has no place beside the ``first`` one and those after it."""
        return max(first + 1, bisect_right(self._columns, self._columns[first] + width) - 1)


def _widths(text: str) -> list[int]:
    """The columns of each character, if each is a cluster, and is shown as it is; otherwise nothing."""
    widths = [*map(get_character_cell_size, text)]
    is_plain = 0 not in widths and _FLAG.search(text) is None and not _has_replaced(text)
    return widths if is_plain else []


def _has_replaced(text: str) -> bool:
    return next(replaced(text), None) is not None


def _clusters(text: str, alone: dict[int, str]) -> Iterator[tuple[int, int]]:
    """The begin and end of each cluster; characters at the offsets ``alone`` are clusters of their own."""
    start = 0
    while start < len(text):
        end = start + 1
        if start not in alone and text[start] != "\t":
            while end < len(text) and end not in alone and _joins(text, start, end):
                end += 1
        yield start, end
        start = end


def _joins(text: str, start: int, at: int) -> bool:
    """Whether the character belongs to the cluster that has begun at ``start``."""
    character, before = text[at], text[at - 1]
    if before == _JOINER:
        return True
    if _FLAG.match(character):
        return at == start + 1 and _FLAG.match(before) is not None
    return character != "\t" and get_character_cell_size(character) == 0


cells_of = lru_cache(maxsize=64)(Cells)
"""A wrapped line of 16 KiB fills a screen several times, and each of its rows asks for its cells."""


def columns_of(text: str) -> int:
    """How many cells the line takes. For most lines without the cost of `Cells`."""
    if is_simple(text):
        return len(text)
    if _CHANGES_WIDTH.search(text) or not get_character_cell_size(text[0]) or _has_replaced(text):
        return Cells(text).columns
    return sum(map(get_character_cell_size, text))


def height_of(text: str, columns: int, width: int) -> int:
    """The number of rows of a line that takes so many ``columns``, if it is wrapped to this ``width``."""
    if columns <= width:
        return 1
    return -(-columns // width) if columns == len(text) and is_simple(text) else len(cells_of(text).rows(width))
