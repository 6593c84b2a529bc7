"""The command's first steps. A hub on stdio answers its client's opening message here, before anything heavy loads."""

import sys
from typing import Final

_GREETED_FLAGS: Final = frozenset({"--mcp", "--log-json"})
"""Command lines made of these are valid for sure, so the first answer need not wait for the argument parser."""


def main(argv: list[str]) -> int:
    """Run ``brum`` with these arguments; returns the exit status."""
    if "--mcp" in argv and _GREETED_FLAGS.issuperset(argv) and not sys.stdin.isatty():
        from brummer.cli.stream import take

        take(greet=True)
    from brummer.cli import commands

    return commands.main(argv)
