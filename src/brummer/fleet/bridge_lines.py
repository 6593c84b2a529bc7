"""What a bridge and the hub that reads it send each other: one JSON object per line. Pure.

The bridge's first line says who it is. Then each line with ``records`` has all instances that run there, as in their
directory; a line without them is the answer to a line of the hub, and shows that both ends are alive. The hub trusts
nothing of it but what it has read and checked.
"""

from collections.abc import Iterable, Mapping
from typing import Final, cast, get_args

import msgspec
from msgspec import UNSET, Raw, UnsetType

from brummer.core.errors import BrummerError
from brummer.discovery.events import GoneReason
from brummer.discovery.record import Record, decode, encode, file_name

BRIDGE_VERSION: Final = 1
RECORDS_MAX: Final = 1_000
"""More projects than a machine can run; each needs a forwarded port here."""
LINE_LIMIT_BYTES: Final = 8 << 20
"""A record takes 700 bytes, with the longest paths and all its troubles about 8 KB."""

ASK: Final = b"{}\n"
"""What the hub sends now and then; the bridge answers each with `ALIVE`."""
ALIVE: Final = b"{}"


UNSEEN: Final[GoneReason] = "not published again"
"""How an instance has ended that left while no hub was connected, or for a reason that only a later version knows."""
_REASONS: Final = frozenset(get_args(GoneReason))


class NotABridge(BrummerError):
    """The first line is not that of a bridge that we understand."""

    code = "not_a_bridge"


class Greeting(msgspec.Struct, frozen=True):
    """The first line. ``brummer``: the version of the program. ``machine``: the same for all that run there now."""

    brummer: str
    bridge: int
    machine: str


class _Line(msgspec.Struct, frozen=True):
    records: dict[str, Raw] | UnsetType = UNSET
    gone: dict[str, str] = {}


class RosterLine(msgspec.Struct, frozen=True):
    """All instances of the machine. ``gone``: by generation, why one has left since the last line; `UNSEEN` otherwise.

    ``refused``: how many records were left out, because they are malformed, of a later version, or too many.
    """

    records: tuple[Record, ...]
    gone: Mapping[str, GoneReason]
    refused: int = 0


def greeting(version: str, machine: str) -> bytes:
    """The first line, without its end."""
    return msgspec.json.encode(Greeting(version, BRIDGE_VERSION, machine))


def roster(records: Iterable[Record], gone: Mapping[str, GoneReason]) -> bytes:
    """The line, without its end."""
    encoded = {record.instance_id: Raw(encode(record)) for record in records}
    return msgspec.json.encode(_Line(encoded, dict(gone)))


def read_greeting(line: bytes) -> Greeting:
    """Raises NotABridge."""
    try:
        found = msgspec.json.decode(line, type=Greeting)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise NotABridge("what answers there is not brum bridge") from None
    if found.bridge != BRIDGE_VERSION:
        raise NotABridge(f"its bridge has version {found.bridge}, and this one reads only {BRIDGE_VERSION}")
    return found


def read_line(line: bytes) -> RosterLine | None:
    """None for a line without records. Raises NotABridge."""
    try:
        found = msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise NotABridge("a line of the bridge is not understood") from None
    if isinstance(found.records, UnsetType):
        return None
    named = list(found.records.items())
    read = [decode(bytes(raw), file_name(instance_id)) for instance_id, raw in named[:RECORDS_MAX]]
    records = tuple(each for each in read if isinstance(each, Record))
    gone = {generation: _reason(why) for generation, why in found.gone.items()}
    return RosterLine(records, gone, len(named) - len(records))


def _reason(why: str) -> GoneReason:
    return cast("GoneReason", why) if why in _REASONS else UNSEEN
