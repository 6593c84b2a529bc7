"""Colours and columns for people: whether a stream gets colours, which one a name has, and what text is safe to print.

A name has its colour by its letters alone, so that it is the same in every command and on every day. Text that others
wrote keeps its colours at the most, and those only where colours are wanted: what else a terminal would obey is taken
out.
"""

import re
import unicodedata
from binascii import crc32
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TextIO

from brummer.discovery.record import displayable
from brummer.logs.text import plain

BOLD, DIM, RED, GREEN, YELLOW = 1, 2, 31, 32, 33

NAME_COLOURS: Final = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)
"""SGR foregrounds that read well on dark and on light. Red is for what went wrong."""

NAME_COLUMNS_MAX: Final = 32
"""A longer name is cut where lines carry it: what they say must still fit beside it."""

_SGR: Final = re.compile(r"(\x1b\[[0-9;:]{0,64}m)")
_RESET: Final = "\x1b[0m"


def wants_colours(stream: TextIO, environ: Mapping[str, str], *, no_color: bool = False) -> bool:
    """Only a terminal that can show them, and only if nobody asked for none: ``NO_COLOR`` with whatever value."""
    return not no_color and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and stream.isatty()


class Paint:
    """Puts colours on text, or leaves it as it is when they are not wanted."""

    def __init__(self, *, colourful: bool) -> None:
        self.is_colourful = colourful

    def styled(self, text: str, *codes: int) -> str:
        return f"\x1b[{';'.join(map(str, codes))}m{text}{_RESET}" if self.is_colourful and codes and text else text

    def name(self, name: str) -> str:
        """In the name's own colour."""
        return self.styled(name, colour_of(name.strip()))

    def foreign(self, raw: str) -> str:
        """Text that a script printed, made safe; its colours end with it."""
        if not self.is_colourful or "\x1b" not in raw:
            return plain(raw)
        parts = _SGR.split(raw)  # every second one is a colour
        kept = "".join(part if n % 2 else plain(part) for n, part in enumerate(parts))
        return kept + _RESET if len(parts) > 1 else kept


PLAIN: Final = Paint(colourful=False)


class Prefixes:
    """Names in front of lines, as wide as the widest so far."""

    def __init__(self, paint: Paint, names: Iterable[str] = ()) -> None:
        self._paint = paint
        self._columns = 0
        self._ready: dict[str, str] = {}
        self.widen(names)

    def widen(self, names: Iterable[str]) -> None:
        """Make room for these before they come, so that all stand under each other."""
        for name in names:
            self._widen(shortened(name))

    def __call__(self, name: str) -> str:
        if name not in self._ready:
            shown = shortened(name)
            self._widen(shown)
            self._ready[name] = self._paint.styled(f"{padded(shown, self._columns)} |", colour_of(name))
        return self._ready[name]

    def _widen(self, shown: str) -> None:
        if width(shown) > self._columns:
            self._columns = width(shown)
            self._ready.clear()


def colour_of(name: str) -> int:
    """An SGR foreground, the same for the same name always."""
    return NAME_COLOURS[crc32(name.encode("utf-8", "replace")) % len(NAME_COLOURS)]


def shortened(name: str, columns: int = NAME_COLUMNS_MAX) -> str:
    """The name as it may be printed, cut if it is too wide."""
    shown = displayable(name)
    if width(shown) <= columns:
        return shown
    while width(shown) >= columns:
        shown = shown[:-1]
    return f"{shown}…"


def width(text: str) -> int:
    """Columns that it takes on a terminal: East Asian wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(character) for character in text)


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def padded(text: str, columns: int) -> str:
    """With blanks up to this width."""
    return text + " " * (columns - width(text))


def table(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells padded to their columns, the last column left as it is. Colours come after."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return [[*map(padded, row[:-1], widths), row[-1]] for row in rows]
