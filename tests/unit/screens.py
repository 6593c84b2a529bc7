"""The screen of an app as plain text, for golden files."""

import os
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from textual.app import App
from textual.geometry import Region
from textual.widget import Widget


def screen_text(app: App[Any]) -> str:
    """All rows, without blanks at their ends."""
    width, height = app.size
    rows = [[" "] * width for _ in range(height)]
    for widget in app.screen.walk_children(Widget):
        x, y, columns, lines = widget.region
        if widget.is_on_screen and columns and lines:
            for row, strip in enumerate(widget.render_lines(Region(0, 0, columns, lines)), y):
                if row < height:
                    cells = [cell for character in strip.text for cell in _cells_of(character)]
                    rows[row][x : x + columns] = cells[: width - x]
    return "\n".join("".join(row).rstrip() for row in rows) + "\n"


def _cells_of(character: str) -> list[str]:
    """A wide character stands in one of its two cells."""
    return [character, *[""] * (cell_len(character) - 1)]


def assert_screen(app: App[Any], golden: Path) -> None:
    """Compare with the file; GOLDEN=write writes it anew."""
    text = screen_text(app)
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text(), f"{golden.name} differs; GOLDEN=write writes it anew"
