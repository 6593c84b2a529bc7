"""One row of a log as segments of text with styles. Pure.

The colours are the 16 of the terminal, so that they follow its palette; a script may also have others. Nothing is told
by a colour alone: errors and warnings have a mark, too, and what is found or selected is reversed.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from brummer.logs.text import colour_of
from brummer.views.log_lines import LogLine
from brummer.views.terminal.cells import Cells

PLAIN: Final = Style()
DIM: Final = Style(dim=True)
LEVEL_STYLES: Final = {"error": Style(color="red"), "warning": Style(color="yellow")}
SELECTED: Final = Style(reverse=True)
FOUND: Final = Style(color="yellow", reverse=True)
CHOSEN: Final = Style(color="magenta", bold=True, underline=True, reverse=True)
"""Of what is found, the one that was gone to last."""
_VISIBLE: Final = Style(conceal=False, blink=False, blink2=False)
"""A script may not hide its text, nor make it blink."""

NORMAL_SGR: Final = 30
"""The foreground of the first of the terminal's colours; eight follow each other."""
BRIGHT_SGR: Final = 90
"""… and of the first of its eight bright ones, which are numbers 8 to 15."""

NAME_COLUMNS: Final = 12
"""A longer name is cut: the lines need the room."""
TIME_COLUMNS: Final = len("21:28:24")
MARK_COLUMNS: Final = 1

Span = tuple[int, int, Style]
"""Offsets from, to before, and the style between them."""


class Head(NamedTuple):
    """What stands in front of each line: the mark of its level, its time, the name of its script. ``name_columns``: 0
    for none. ``marks``: by level.
    """

    has_times: bool
    name_columns: int
    marks: dict[str, str]

    @property
    def columns(self) -> int:
        time, name = self.has_times * (TIME_COLUMNS + 1), self.name_columns and self.name_columns + 1
        return MARK_COLUMNS + 1 + time + name

    def segments(self, line: LogLine, base: Style, style: Style) -> Iterator[Segment]:
        yield Segment(
            f"{self.marks.get(line.level, ''):{MARK_COLUMNS}} ", base + LEVEL_STYLES.get(line.level, PLAIN) + style
        )
        if self.has_times:
            yield Segment(f"{time_of_day(line.at):{TIME_COLUMNS}} ", base + DIM + style)
        if self.name_columns:
            yield Segment(f"{cut(line.script, self.name_columns)} ", base + _name_style(line.script) + style)


@lru_cache(maxsize=256)
def _name_style(name: str) -> Style:
    """Its colour is the same in all commands."""
    code = colour_of(name)
    return Style(color=Color.from_ansi(code - BRIGHT_SGR + 8 if code >= BRIGHT_SGR else code - NORMAL_SGR))


def time_of_day(at: str) -> str:
    """RFC 3339 as the local time; empty if there is none."""
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return ""


def cut(text: str, columns: int) -> str:
    """The text in exactly so many columns."""
    cells = Cells(text)
    if cells.columns > columns:
        return cells.shown(0, columns - 1) + "…"
    return cells.shown(0, columns) + " " * (columns - cells.columns)


def base_spans(line: LogLine) -> list[Span]:
    """The style of a line, and the colours that its script has given it."""
    style = DIM if line.note else LEVEL_STYLES.get(line.level, PLAIN)
    return [(0, len(line.text), style), *(_colours(line.coloured, line.text) if line.coloured else ())]


@lru_cache(maxsize=64)  # a wrapped line has many rows
def _colours(coloured: str, text: str) -> tuple[Span, ...]:
    from rich.ansi import AnsiDecoder  # noqa: PLC0415 — most lines have no colours

    decoded = AnsiDecoder().decode_line(coloured)
    spans = decoded.spans if decoded.plain == text else []
    return tuple((start, end, each + _VISIBLE) for start, end, each in spans if isinstance(each, Style))


def text_segments(cells: Cells, start: int, end: int, spans: Sequence[Span], base: Style) -> Iterator[Segment]:
    """The text in the columns from ``start`` to before ``end``; of two spans that overlap the later one is on top."""
    end = min(end, cells.columns)
    if start >= end:
        return
    columns = [(*cells.columns_between(first, last), style) for first, last, style in spans]
    seen = [span for span in columns if span[0] < end and span[1] > start]
    changes = {column for first, last, _ in seen for column in (first, last) if start < column < end}
    for first, last in pairwise(sorted({start, *changes, end})):
        style = sum((each for begin, stop, each in seen if begin <= first < stop), start=base)
        yield Segment(cells.shown(first, last), style)
