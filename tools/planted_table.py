"""Writes the table of planted bugs into docs/simulation.md, between its markers, from tests/planted/bugs.toml.

``planted_table.py`` writes the page; with ``--check`` it writes nothing and fails if the page is stale.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import planting

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "simulation.md"
BEGIN: Final = "<!-- The table is made by `make docs`; do not edit it. -->\n\n"
END: Final = "\n<!-- The end of the table. -->\n"


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    made = "".join((before, BEGIN, *(f"{line}\n" for line in rows()), END, after))
    if made == page:
        return 0
    if "--check" in sys.argv:
        print("docs/simulation.md: the table of planted bugs is stale; run make docs", file=sys.stderr)
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


def rows() -> Iterator[str]:
    yield "| The planted bug | Seed | Shown by |"
    yield "| --- | --- | --- |"
    for name, bug in planting.bugs().items():
        yield f"| {bug['what']} | {bug['seed']} | `make replay SEED={bug['seed']} BUG={name}` |"


if __name__ == "__main__":
    sys.exit(main())
