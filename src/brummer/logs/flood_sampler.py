"""The sample of a flood: its last lines, and those around a sign of trouble. The rest is counted, not read. Pure.

Counting line ends and searching for a few words costs a fifteenth of numbering, storing and interpreting lines.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

TAIL_BYTES: Final = 32 * 1024
"""Some 300 lines: all that a process printed before it ended or paused."""

SHOWN_BYTES: Final = 8 * 1024
"""Some 80 lines, to show what it prints meanwhile: 1 ms of work."""

SIGNS: Final = (b"rror", b"xception", b"panic")
"""Nearly every language reports a failure with one of these. Each costs 1 ms for a megabyte."""

BEFORE_BYTES: Final = 2 * 1024
AFTER_BYTES: Final = 8 * 1024
"""Around a sign: the lines that lead to an error, and its stack trace."""


class Part(NamedTuple):
    """The lines and bytes that are not kept, and what follows them."""

    skipped_lines: int
    skipped_bytes: int
    kept: bytes


class FloodSampler:
    """Samples one stream for one interval of a flood: `take` each chunk, then `shown` or `rest`. The first sign of
    trouble is kept.
    """

    def __init__(self) -> None:
        self._is_mid_line = True
        self._held = b""
        self._lines = self._bytes = 0
        self._has_seen_a_sign = False

    def take(self, chunk: bytes) -> Iterator[Part]:
        """The parts of it that are read now; consume them."""
        if self._is_mid_line:
            line, newline, chunk = chunk.partition(b"\n")
            yield Part(0, 0, line + newline)
            self._is_mid_line = not newline
        data = self._held + chunk
        end = data.rfind(b"\n", 0, max(0, len(data) - TAIL_BYTES)) + 1
        if end == 0 and len(data) > 2 * TAIL_BYTES:  # one line: nothing of it can be left out
            self._held, self._is_mid_line = b"", True
            yield self._part(data)
            return
        self._held = data[end:]
        begin = 0
        if not self._has_seen_a_sign and (at := _first_sign(data, end)) >= 0:
            self._has_seen_a_sign = True
            first = data.rfind(b"\n", 0, max(0, at - BEFORE_BYTES)) + 1
            begin = data.rfind(b"\n", at, min(end, at + AFTER_BYTES)) + 1 or data.find(b"\n", at) + 1
            self._skip(data, 0, first)
            yield self._part(data[first:begin])
        self._skip(data, begin, end)

    def shown(self) -> Part:
        """A little of the last output, since more will come."""
        end = self._held.rfind(b"\n", 0, max(0, len(self._held) - SHOWN_BYTES)) + 1
        self._skip(self._held, 0, end)
        return self._part(self._held[end:])

    def rest(self) -> Part:
        """All of the last output."""
        return self._part(self._held)

    def _skip(self, data: bytes, begin: int, end: int) -> None:
        self._lines += data.count(b"\n", begin, end)
        self._bytes += end - begin

    def _part(self, kept: bytes) -> Part:
        part = Part(self._lines, self._bytes, kept)
        self._lines = self._bytes = 0
        return part


def _first_sign(data: bytes, end: int) -> int:
    """Its position; -1: there is none."""
    first = -1
    for sign in SIGNS:
        if (found := data.find(sign, 0, end)) >= 0:
            first = end = found
    return first
