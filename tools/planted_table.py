"""Writes the table of planted bugs into docs/simulation.md, between its markers, from tests/planted/bugs.toml.

``planted_table.py`` writes the page; with ``--check`` it writes nothing and fails if the page is stale.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import planting
from generated import between, status, update

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "simulation.md"
BEGIN: Final = "<!-- The table is made by `make docs`; do not edit it. -->\n\n"
END: Final = "\n<!-- The end of the table. -->\n"


def main() -> int:
    made = between(PAGE.read_text(encoding="utf-8"), BEGIN, END, rows())
    return status(update(PAGE, made, "docs/simulation.md: the table of planted bugs is stale"))


def rows() -> Iterator[str]:
    yield "| The planted bug | Seed | Shown by |"
    yield "| --- | --- | --- |"
    for name, bug in planting.bugs().items():
        yield f"| {bug['what']} | {bug['seed']} | `make replay SEED={bug['seed']} BUG={name}` |"


if __name__ == "__main__":
    sys.exit(main())
