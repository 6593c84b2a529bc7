"""What commands print: results on standard output, messages about themselves on stderr."""

import contextlib
import sys

from brummer.core import json_text, log
from brummer.discovery.record import displayable


def say(text: str) -> None:
    """Print one line on stderr. Names and paths may come from anyone: control characters are replaced.

    A closed stream or a full disk must not end an instance, so errors are ignored.
    """
    with contextlib.suppress(OSError):
        print(_line(text), end="", file=sys.stderr, flush=True)


def say_later(text: str) -> None:
    """As `say`, from a running event loop: returns at once, also if the stream has no reader."""
    log.standard_error().write(_line(text))


def print_json(content: object) -> None:
    """Print indented JSON."""
    print(json_text.indented(content))


def _line(text: str) -> str:
    return f"brum: {displayable(text)}\n"
