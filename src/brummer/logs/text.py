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
_SGR = re.compile(r"(\x1b\[[0-9;:]{0,64}m)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")

_SUSPICIOUS = bytes([*range(0x09), *range(0x0B, 0x20), 0x7F, 0xC2])
"""Controls but for tab and line feed; 0xC2 begins those from U+0080 to U+009F."""

_CHARACTER_BYTES = 4
"""The longest in UTF-8; also the most bytes that become one U+FFFD."""
_TOP_BITS = 0b1100_0000
_CONTINUATION = 0b1000_0000
"""Bytes of a UTF-8 character after its first."""


def is_plain(text: str) -> bool:
    """True if `plain` would change none of these lines; five times faster than `plain`."""
    data = text.encode("utf-8", "replace")
    return len(data.translate(None, _SUSPICIOUS)) == len(data)


def plain(raw: str) -> str:
    """Without escape sequences; a backspace does what it does on a terminal, and other control characters except the
    tab become a visible U+FFFD.
    """
    text = _ESCAPE.sub("", raw) if "\x1b" in raw else raw
    if "\b" in text:
        text = _with_backspaces(text)
    return text if text.isprintable() else _CONTROL.sub("\ufffd", text)


def _with_backspaces(text: str) -> str:
    """A person at a script's terminal corrects what was typed, and old manuals print letters twice to make them
    bold.
    """
    shown: list[str] = []
    at = 0
    for character in text:
        if character == "\b":
            at = max(0, at - 1)
            continue
        shown[at : at + 1] = character
        at += 1
    return "".join(shown)


def coloured(raw: str) -> str:
    """As `plain`, but with its colours."""
    if "\x1b" not in raw:
        return plain(raw)
    parts = _SGR.split(raw)  # every second one is a colour
    return "".join(part if n % 2 else plain(part) for n, part in enumerate(parts))


NAME_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)
"""SGR foregrounds that are readable on dark and light backgrounds. Red is for errors."""


def colour_of(name: str) -> int:
    """An SGR foreground for the name of a script in front of its lines; it depends only on the name."""
    from binascii import crc32  # noqa: PLC0415 - only people see names

    return NAME_COLOURS[crc32(name.encode("utf-8", "replace")) % len(NAME_COLOURS)]


def shortened(text: str, length: int) -> str:
    """At most ``length`` characters; then the number of all."""
    return text if len(text) <= length else f"{text[:length]} [… {len(text)} characters]"


class LineAssembler:
    r"""Chunks of one stream into lines, decoded as UTF-8 with U+FFFD for what is not.

    ``\r\n`` ends a line like ``\n``. A lone ``\r`` does what it does on a terminal: what follows overwrites,
    so that a progress bar is one line, in its last state. Memory is bounded by ``limit_bytes``.
    """

    def __init__(self, limit_bytes: int = LINE_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self.partial = bytearray()

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that this chunk completes."""
        head, newline, rest = chunk.rpartition(b"\n")
        if newline and (lines := self._ordinary(self.partial + head)) is not None:
            self.partial = bytearray(rest)
            if len(rest) > self._limit:
                self._add(b"", lines)
            return lines
        return self._one_by_one(chunk)

    def end(self) -> list[str]:
        """The stream is over: the last line, if it had no end."""
        if not self.partial:
            return []
        line = _decoded(self.partial)
        self.partial.clear()
        return [line]

    def unfinished(self) -> str:
        """The beginning of the next line, as a terminal would show it now."""
        return _decoded(self.partial)

    def _ordinary(self, data: bytes | bytearray) -> list[str] | None:
        """Lines of which none overwrites itself or may be too long, all at once; None where one is or does."""
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").removesuffix(b"\r")
            if b"\r" in data:
                return None
        lines = data.decode("utf-8", "replace").split("\n")
        return lines if max(map(len, lines)) <= self._limit // _CHARACTER_BYTES else None

    def _one_by_one(self, chunk: bytes) -> list[str]:
        lines: list[str] = []
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            self._add(piece, lines)
            lines.append(_decoded(self.partial))
            self.partial.clear()
        self._add(rest, lines)
        return lines

    def _add(self, piece: bytes, lines: list[str]) -> None:
        self.partial += piece
        if len(self.partial) > self._limit:
            self._drop_overwritten()
        while len(self.partial) > self._limit:
            cut = _character_boundary(self.partial, self._limit)
            lines.append(self.partial[:cut].decode("utf-8", "replace") + CONTINUES)
            del self.partial[:cut]

    def _drop_overwritten(self) -> None:
        overwritten = self.partial.rfind(b"\r", 0, len(self.partial) - 1) + 1
        del self.partial[:overwritten]


def _decoded(line: bytearray) -> str:
    shown = line.rstrip(b"\r").rpartition(b"\r")[2] if b"\r" in line else line
    return shown.decode("utf-8", "replace")


def _character_boundary(data: bytearray, limit: int) -> int:
    """The last place not after ``limit`` where a UTF-8 character begins; three steps back at most."""
    for cut in range(limit, limit - 4, -1):
        if data[cut] & _TOP_BITS != _CONTINUATION:
            return cut
    return limit
