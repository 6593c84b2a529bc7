"""Writes the table of commands into docs/commands.md, between its markers, from `brummer.cli.command_table`.

``command_table.py`` writes the page; with ``--check`` it writes nothing and fails if the page is stale.
"""

import sys
from pathlib import Path
from typing import Final

from brummer.cli.command_table import markdown
from generated import between, status, update

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
BEGIN: Final = "<!-- The table is made by `make docs`; do not edit it. -->\n\n"
END: Final = "\n<!-- The end of the table. -->\n"


def main() -> int:
    made = between(PAGE.read_text(encoding="utf-8"), BEGIN, END, markdown())
    return status(update(PAGE, made, "docs/commands.md: the table of commands is stale"))


if __name__ == "__main__":
    sys.exit(main())
