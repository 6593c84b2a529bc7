"""What a command says about itself, on stderr: standard output carries what was asked for."""

import contextlib
import sys

from brummer.discovery.record import displayable


def say(text: str) -> None:
    """One line. Names and paths in it may be anybody's: nothing but text reaches the terminal.

    That nobody reads it, or that a log is full, ends no instance.
    """
    with contextlib.suppress(OSError):
        print(f"brum: {displayable(text)}", file=sys.stderr, flush=True)
