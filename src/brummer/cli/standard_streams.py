"""Standard streams in any state: closed, with an encoding that lacks characters, or without a reader."""

import io
import os
import sys
from typing import Final, TextIO

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
"""In the order of their descriptors."""


class _Stream(io.TextIOWrapper):
    """Prints invisible characters as their numbers."""

    def write(self, text: str) -> int:
        from brummer.core.visible import visible

        super().write(visible(text))
        return len(text)


def make_usable() -> None:
    """Open closed streams on the null device, and print invisible and unencodable characters as their numbers.

    Otherwise a file or socket could get the descriptor of a closed stream, and printed text would go into it.
    """
    for descriptor, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115 — for the whole process
    sys.stdout, sys.stderr = _showing(sys.stdout), _showing(sys.stderr)
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc, assignment]  # the others are detached


def _showing(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    encoding, by_line, at_once = stream.encoding, stream.line_buffering, stream.write_through
    return _Stream(stream.detach(), encoding, "backslashreplace", line_buffering=by_line, write_through=at_once)


def finish() -> None:
    """Flush the streams. Output without a reader is dropped, else the interpreter would fail again when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
