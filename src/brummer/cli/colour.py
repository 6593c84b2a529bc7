"""Colours on terminals, and text that is safe to print.

The colour of a name depends only on its letters, so it is the same in every command. Text from scripts keeps its
colours where colours are wanted; all other control sequences are removed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TextIO

from brummer.cli.table import padded, width
from brummer.discovery.record import displayable
from brummer.logs.text import colour_of, coloured, plain

BOLD, DIM, RED, GREEN, YELLOW = 1, 2, 31, 32, 33

NAMES_SHOWN: Final = 20
"""In a sentence."""
NAME_COLUMNS_MAX: Final = 32
"""Longer names are cut in front of lines, so that the lines themselves still fit."""

_RESET: Final = "\x1b[0m"


def wants_colours(stream: TextIO, environ: Mapping[str, str], *, no_color: bool = False) -> bool:
    """Whether a terminal can show them and the user did not switch them off; ``NO_COLOR`` may have any value."""
    return not no_color and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and stream.isatty()


class Paint:
    """Adds colours to text if they are wanted."""

    def __init__(self, *, colourful: bool) -> None:
        self.is_colourful = colourful

    def styled(self, text: str, *codes: int) -> str:
        return f"\x1b[{';'.join(map(str, codes))}m{text}{_RESET}" if self.is_colourful and codes and text else text

    def name(self, name: str) -> str:
        """The name in its own colour."""
        return self.styled(name, colour_of(name.strip()))

    def foreign(self, raw: str) -> str:
        """A safe form of text from a script; its colours end with it."""
        if not self.is_colourful:
            return plain(raw)
        kept = coloured(raw)
        return kept + _RESET if "\x1b" in kept else kept


PLAIN: Final = Paint(colourful=False)


class Prefixes:
    """Names in front of lines, padded to the widest name so far."""

    def __init__(self, paint: Paint, names: Iterable[str] = ()) -> None:
        self._paint = paint
        self._columns = 0
        self._ready: dict[str, str] = {}
        self.widen(names)

    def widen(self, names: Iterable[str]) -> None:
        """Take these names into account before their lines come, so that all lines are aligned."""
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


def shortened(name: str, columns: int = NAME_COLUMNS_MAX) -> str:
    """The name without control characters, cut if it is too wide."""
    shown = displayable(name)
    if width(shown) <= columns:
        return shown
    while width(shown) >= columns:
        shown = shown[:-1]
    return f"{shown}…"


def some(names: Sequence[str]) -> str:
    """Names in a sentence, of many the first."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(map(shortened, names[:NAMES_SHOWN])) + more
