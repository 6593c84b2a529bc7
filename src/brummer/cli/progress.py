"""One line on the terminal that says what long work does now."""

import os
from collections.abc import Mapping
from typing import Final, Self, TextIO

from brummer.discovery.record import displayable

_CLEAR: Final = "\r\x1b[K"


class Progress:
    """Shows nothing where the stream is no terminal that can clear a line. Use it as a context: its end clears it."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self._is_live = stream.isatty() and environ.get("TERM") != "dumb"

    def show(self, text: str) -> None:
        """In place of the text before; short enough for one line."""
        self._replace(f"brum: {displayable(text)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._replace("")

    def _replace(self, text: str) -> None:
        if self._is_live:
            self._stream.flush()
            # Not through the stream: to it, such a sequence could only be a script's.
            os.write(self._stream.fileno(), f"{_CLEAR}{text}".encode())
