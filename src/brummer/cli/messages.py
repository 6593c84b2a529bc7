"""What a command says about itself, on stderr: standard output carries what was asked for."""

import contextlib
import sys

from brummer.core import log
from brummer.discovery.record import displayable


def say(text: str) -> None:
    """One line. Names and paths in it may be anybody's: nothing but text reaches the terminal.

    That nobody reads it, or that a log is full, ends no instance.
    """
    with contextlib.suppress(OSError):
        print(_line(text), end="", file=sys.stderr, flush=True)


def say_later(text: str) -> None:
    """As `say`, from a running event loop: returns at once, also if the stream has no reader."""
    log.standard_error().write(_line(text))


def _line(text: str) -> str:
    return f"brum: {displayable(text)}\n"
