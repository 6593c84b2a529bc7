"""The files of a journal: their names and frames. Pure.

A project has a directory; in it there are, for each run of a script,

    GENERATION.NUMBER-SCRIPT.facts           each change of the run, with its facts at that time
    GENERATION.NUMBER-SCRIPT.BEFORE.lines    its output; BEFORE: the number of its lines before those of this file

and ``about.json``, which names the project. NUMBER counts the runs of the generation, SCRIPT is a short hash of the
script's name. Files are only appended to, one JSON object a line, so a death in mid-write tears the last line and no
other: a line that is not whole is nothing.
"""

import re
import zlib
from typing import Any, Final, NamedTuple

import msgspec

from brummer.logs.output import Line

ABOUT: Final = "about.json"
_NAME: Final = re.compile(r"([A-Za-z0-9_-]{1,64})\.(\d{1,9})-([0-9a-f]{8})\.(?:(\d{1,15})\.lines|facts)", re.ASCII)

LINE_COST: Final = 32
"""The least that a line counts: its frame costs 80 bytes beside the text, and empty lines must not fill a disk."""


class About(msgspec.Struct, frozen=True):
    """The project of a black box, so that it is found by name and directory after the instance is gone."""

    instance_id: str
    name: str
    directory: str


class Stem(NamedTuple):
    """The beginning of the names of a run's files."""

    generation: str
    number: int
    script: str

    def facts(self) -> str:
        return f"{self}.facts"

    def lines(self, before: int) -> str:
        return f"{self}.{before}.lines"

    def __str__(self) -> str:
        return f"{self.generation}.{self.number:06}-{self.script}"


def stem(generation: str, number: int, script: str) -> Stem:
    """Of the run with this number."""
    return Stem(generation, number, f"{zlib.crc32(script.encode('utf-8', 'surrogatepass')):08x}")


def parse(filename: str) -> tuple[Stem, int | None] | None:
    """Stem and BEFORE (None: the facts) of a file's name; None for any other file."""
    found = _NAME.fullmatch(filename)
    if not found:
        return None
    return Stem(found[1], int(found[2]), found[3]), None if found[4] is None else int(found[4])


class Noted(msgspec.Struct, frozen=True):
    """A frame of the facts. ``process`` as `scripts_status` shows it, ``change`` as `changes_since` does."""

    n: int
    change: dict[str, Any]
    process: dict[str, Any]


_encoder = msgspec.json.Encoder()
_line = msgspec.json.Decoder(Line)
_noted = msgspec.json.Decoder(Noted)


def cost(line: Line) -> int:
    """In bytes of output, as the limits count them; a character of two bytes or more counts as one."""
    return max(len(line.text) + 1, LINE_COST)


def encode_lines(lines: list[Line]) -> bytes:
    """One frame each. Raises UnicodeEncodeError for a name that is no Unicode."""
    return _encoder.encode_lines(lines)


def encode_noted(n: int, change: object, process: object) -> bytes:
    """One frame of the facts, on a line of its own even after a torn frame. Raises as `encode_lines`."""
    return b"\n" + _encoder.encode({"n": n, "change": change, "process": process}) + b"\n"


def decode_lines(data: bytes) -> list[Line]:
    """Every whole frame; never raises."""
    return _decoded(_line, data)


def decode_noted(data: bytes) -> list[Noted]:
    """As `decode_lines`."""
    return [noted for noted in _decoded(_noted, data) if _names_itself(noted.process)]


def decode_about(data: bytes) -> About | None:
    """None for what is none; never raises."""
    try:
        return msgspec.json.decode(data, type=About)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _decoded(decoder: Any, data: bytes) -> list[Any]:
    found = []
    for frame in data.split(b"\n"):
        try:
            found.append(decoder.decode(frame))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue  # torn, or the empty end
    return found


def _names_itself(process: dict[str, Any]) -> bool:
    return all(isinstance(process.get(key), str) for key in ("process_id", "name", "status"))
