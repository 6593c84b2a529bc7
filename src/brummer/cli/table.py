"""Rows in aligned columns."""

from collections.abc import Sequence

from brummer.discovery.record import displayable


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns are two blanks apart; the first row is the heading. A path or a name may hold any characters."""
    rows = [[displayable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
