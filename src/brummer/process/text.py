"""Bytes of output into lines, and lines into plain text. Pure; linear in the bytes, however they are cut."""

import re

LINE_LIMIT_BYTES = 16 * 1024
"""A longer line is split: a minified bundle must not become a megabyte in an agent's context."""
CONTINUES = " [… line goes on]"
"""Ends each piece of a split line but the last."""

_ESCAPE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*+[ -/]*+[@-~]"  # CSI: colours, cursor movement
    r"|[\]PX^_][^\x07\x1b]*+(?:\x07|\x1b\\)?"  # OSC and its kind: titles, links
    r"|[ -/]*+[0-~])"  # two-character sequences: charsets, resets
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")

_TOP_BITS = 0b1100_0000
_CONTINUATION = 0b1000_0000
"""Bytes of a UTF-8 character after its first."""


def plain(raw: str) -> str:
    """Without escape sequences; other control characters, but for the tab, become U+FFFD, so that none goes
    unseen.
    """
    text = _ESCAPE.sub("", raw) if "\x1b" in raw else raw
    return text if text.isprintable() else _CONTROL.sub("\ufffd", text)


class LineAssembler:
    r"""Chunks of one stream into lines, decoded as UTF-8 with U+FFFD for what is not.

    ``\r\n`` ends a line like ``\n``. A lone ``\r`` does what it does on a terminal: what follows overwrites,
    so that a progress bar is one line, in its last state. Memory is bounded by ``limit_bytes``.
    """

    def __init__(self, limit_bytes: int = LINE_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._partial = bytearray()

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that this chunk completes."""
        lines: list[str] = []
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            self._add(piece, lines)
            lines.append(_decoded(self._partial))
            self._partial.clear()
        self._add(rest, lines)
        return lines

    def end(self) -> list[str]:
        """The stream is over: the last line, if it had no end."""
        if not self._partial:
            return []
        line = _decoded(self._partial)
        self._partial.clear()
        return [line]

    def _add(self, piece: bytes, lines: list[str]) -> None:
        self._partial += piece
        if len(self._partial) > self._limit:
            self._drop_overwritten()
        while len(self._partial) > self._limit:
            cut = _character_boundary(self._partial, self._limit)
            lines.append(self._partial[:cut].decode("utf-8", "replace") + CONTINUES)
            del self._partial[:cut]

    def _drop_overwritten(self) -> None:
        overwritten = self._partial.rfind(b"\r", 0, len(self._partial) - 1) + 1
        del self._partial[:overwritten]


def _decoded(line: bytearray) -> str:
    shown = line.rstrip(b"\r").rpartition(b"\r")[2] if b"\r" in line else line
    return shown.decode("utf-8", "replace")


def _character_boundary(data: bytearray, limit: int) -> int:
    """The last place not after ``limit`` where a UTF-8 character begins; three steps back at most."""
    for cut in range(limit, limit - 4, -1):
        if data[cut] & _TOP_BITS != _CONTINUATION:
            return cut
    return limit
