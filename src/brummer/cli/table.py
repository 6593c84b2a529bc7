"""Rows in aligned columns."""

import unicodedata
from collections.abc import Sequence

from brummer.discovery.record import displayable


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows whose cells may hold any characters; the first row is the heading."""
    for row in aligned([[displayable(cell) for cell in row] for row in rows]):
        print(joined(row))


def aligned(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells padded to the width of their column, except in the last column. Add colours afterwards."""
    widths = [[width(cell) for cell in row] for row in rows]
    columns = [max(column) for column in zip(*widths, strict=True)]
    last = len(columns) - 1
    return [
        [cell + " " * (columns[n] - own[n] if n < last else 0) for n, cell in enumerate(row)]
        for row, own in zip(rows, widths, strict=True)
    ]


def joined(row: Sequence[str]) -> str:
    """The line of an aligned row."""
    return "  ".join(row).rstrip()


def padded(text: str, columns: int) -> str:
    """The text with blanks up to this width."""
    return text + " " * (columns - width(text))


def width(text: str) -> int:
    """Columns on a terminal: East Asian wide characters take two, combining ones none."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
