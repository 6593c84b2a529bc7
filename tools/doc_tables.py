"""Writes tables into pages of the documentation, between their markers: the layers of the packages into
docs/architecture.md, from the import contract in pyproject.toml and the packages' docstrings; the settings into
docs/configuration.md, from `brummer.settings.table`.

``doc_tables.py`` writes the pages; with ``--check`` it writes nothing and fails if one is stale.
"""

import ast
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from brummer.settings.table import TABLE
from generated import between, status, update

ROOT: Final = Path(__file__).resolve().parent.parent
BEGIN: Final = "<!-- The table is made by `make docs`; do not edit it. -->\n\n"
END: Final = "\n<!-- The end of the table. -->\n"


def layers() -> Iterator[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    found = next(contract["layers"] for contract in contracts if contract["id"] == "floors")
    yield "| layer | package | what it is |"
    yield "|---:|---|---|"
    for number, layer in zip(range(len(found), 0, -1), found, strict=True):
        for package in (name.strip(" ()") for name in layer.split("|")):
            yield f"| {number} | `{package}` | {subject(package)} |"


def subject(package: str) -> str:
    """The first paragraph of the package's docstring."""
    folder = ROOT / "src" / "brummer" / package
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


def settings() -> Iterator[str]:
    yield "| setting | kind | default | variable | set by | meaning |"
    yield "|---|---|---|---|---|---|"
    for each in TABLE:
        kind, default = each.kind.name, each.kind.shown(each.default)
        yield f"| `{each.key}` | {kind} | {default} | `{each.variable}` | {each.set_by} | {each.meaning} |"


TABLES: Final[dict[str, Callable[[], Iterator[str]]]] = {"architecture": layers, "configuration": settings}


def main() -> int:
    stale = []
    for name, rows in TABLES.items():
        path = ROOT / "docs" / f"{name}.md"
        made = between(path.read_text(encoding="utf-8"), BEGIN, END, rows())
        stale.append(update(path, made, f"docs/{name}.md: its table is stale"))
    return status(*stale)


if __name__ == "__main__":
    sys.exit(main())
