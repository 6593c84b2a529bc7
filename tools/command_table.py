"""Writes the table of commands into docs/commands.md, between its markers, from `brummer.cli.command_table`.

``command_table.py`` writes the page; with ``--check`` it writes nothing and fails if the page is stale.
"""

import sys
from pathlib import Path
from typing import Final

from brummer.cli.command_table import markdown

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
BEGIN: Final = "<!-- The table is made by `make docs`; do not edit it. -->\n\n"
END: Final = "\n<!-- The end of the table. -->\n"


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    made = "".join((before, BEGIN, *(f"{line}\n" for line in markdown()), END, after))
    if made == page:
        return 0
    if "--check" in sys.argv:
        print("docs/commands.md: the table of commands is stale; run make docs", file=sys.stderr)
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
