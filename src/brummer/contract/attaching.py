"""How `brum attach` and an instance pass the bytes of a terminal to each other.

The command asks for `PATH` with the instance's token and an offer to switch to `PROTOCOL`. A refusal is a JSON object
with the ``error``, as a tool has it. After 101 both sides send frames: a kind, the length, and so many bytes.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

PATH: Final = b"/attach"
PROTOCOL: Final = b"brummer-attach/1"
PROCESS_HEADER: Final = "brummer-process"
"""The script, or the process_id of a run, percent-encoded."""

FRAME_BYTES: Final = 64 * 1024
"""As much as a pipe holds; longer output is sent in several frames."""

BEGIN: Final = b"b"
"""From the instance, first of all: an `Attached`."""
OUTPUT: Final = b"o"
"""From the instance: bytes for the person's terminal."""
NOTE: Final = b"n"
"""From the instance: why what was typed was not written, in words."""
END: Final = b"e"
"""From the instance, last of all: the run as `scripts_status` shows it, which has ended."""
INPUT: Final = b"i"
"""From the command: what was typed. To a script with a pipe each frame is one line, without its end."""
SIZE: Final = b"s"
"""From the command: a `Size`."""

_KINDS: Final = frozenset({BEGIN, OUTPUT, NOTE, END, INPUT, SIZE})
_HEAD_BYTES: Final = 5


class Attached(msgspec.Struct):
    """The run. ``is_terminal``: bytes go both ways as they are; else it has a pipe, which takes lines."""

    process_id: str
    name: str
    is_terminal: bool


class Size(msgspec.Struct):
    """Of the person's terminal, in characters."""

    rows: int
    columns: int


class NoFrame(Exception):
    """What came is no frame of this protocol."""


def frame(kind: bytes, content: bytes) -> bytes:
    """One frame, or several where the content is long."""
    parts = [content[at : at + FRAME_BYTES] for at in range(0, len(content), FRAME_BYTES)] or [b""]
    return b"".join([kind + len(part).to_bytes(4) + part for part in parts])


def frame_of(kind: bytes, content: msgspec.Struct) -> bytes:
    """A frame with this object."""
    return frame(kind, msgspec.json.encode(content))


class Frames:
    """Bytes into frames, however they are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The frames that these bytes complete, as kind and content. Raises NoFrame."""
        self._rest += data
        while len(self._rest) >= _HEAD_BYTES:
            kind, length = self._rest[:1], int.from_bytes(self._rest[1:_HEAD_BYTES])
            if kind not in _KINDS or length > FRAME_BYTES:
                raise NoFrame(f"kind {kind!r}, {length} bytes")
            end = _HEAD_BYTES + length
            if len(self._rest) < end:
                return
            content, self._rest = self._rest[_HEAD_BYTES:end], self._rest[end:]
            yield kind, content
