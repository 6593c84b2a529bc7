"""What is kept of a flood: its last lines, and those around a sign of trouble. The rest is counted, not read. Pure.

To count line ends and to look for a few words costs a fifteenth of what it costs to number, store and understand lines.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

TAIL_BYTES: Final = 32 * 1024
"""Some 300 lines: what a process printed before it ended, or came to rest, is all there."""

LOOK_BYTES: Final = 8 * 1024
"""Some 80 lines, to see what it prints meanwhile: 1 ms of work."""

SIGNS: Final = (b"rror", b"xception", b"panic")
"""In nearly every language that tells of its own failure. Each costs 1 ms for a megabyte."""

BEFORE_BYTES: Final = 2 * 1024
AFTER_BYTES: Final = 8 * 1024
"""Around a sign: what leads to an error, and its stack trace."""


class Part(NamedTuple):
    """So many lines and bytes that are not kept, and then some that are."""

    skipped_lines: int
    skipped_bytes: int
    kept: bytes


class Skimmer:
    """One stream's, for a moment of a flood. `take` what comes, then `look` or `rest`. The first sign of trouble is
    kept.
    """

    def __init__(self) -> None:
        self._is_mid_line = True
        self._held = b""
        self._lines = self._bytes = 0
        self._has_seen_a_sign = False

    def take(self, chunk: bytes) -> Iterator[Part]:
        """What is to be read of it now; consume it."""
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

    def look(self) -> Part:
        """A little of what came last, for more will come."""
        end = self._held.rfind(b"\n", 0, max(0, len(self._held) - LOOK_BYTES)) + 1
        self._skip(self._held, 0, end)
        return self._part(self._held[end:])

    def rest(self) -> Part:
        """What came last."""
        return self._part(self._held)

    def _skip(self, data: bytes, begin: int, end: int) -> None:
        self._lines += data.count(b"\n", begin, end)
        self._bytes += end - begin

    def _part(self, kept: bytes) -> Part:
        part = Part(self._lines, self._bytes, kept)
        self._lines = self._bytes = 0
        return part


def _first_sign(data: bytes, end: int) -> int:
    """Where it is; -1: there is none."""
    first = -1
    for sign in SIGNS:
        if (found := data.find(sign, 0, end)) >= 0:
            first = end = found
    return first
