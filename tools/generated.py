"""Generated text in the pages of docs/: written, or with ``--check`` on the command line only compared."""

import sys
from collections.abc import Iterable
from pathlib import Path


def update(path: Path, made: str, fault: str) -> bool:
    """Whether the page is stale; then it is written, or with ``--check`` the fault is printed.

    The exit status of a tool is `status` of what this returned.
    """
    is_stale = not path.exists() or path.read_text(encoding="utf-8") != made
    if is_stale and is_checking():
        print(f"{fault}; run make docs", file=sys.stderr)
    elif is_stale:
        path.write_text(made, encoding="utf-8")
    return is_stale


def status(*stale: bool) -> int:
    return 1 if is_checking() and any(stale) else 0


def is_checking() -> bool:
    return "--check" in sys.argv


def between(page: str, begin: str, end: str, lines: Iterable[str]) -> str:
    """The page with these lines between its markers."""
    before, rest = page.split(begin)
    return "".join((before, begin, *(f"{line}\n" for line in lines), end, rest.split(end)[1]))
