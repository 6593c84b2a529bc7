"""Frames as bytes: one message of the carrier holds one frame. Pure.

=======  =====================================  ==================================================================
kind     body                                   meaning
=======  =====================================  ==================================================================
OPEN     version (1 byte), allowed (8 bytes)    Connect me. It comes under the subject of the run, not of a stream
OPENED   allowed                                Connected
DATA     1 to `FRAME_BYTES` bytes               The next bytes of the stream
GRANT    allowed                                More bytes may be sent
FIN      none                                   All bytes have been sent
RESET    cause (1 byte)                         The stream is over, and bytes may be missing
PING     none                                   Answer at once
PONG     none                                   The answer
=======  =====================================  ==================================================================

Before the body are the kind (1 byte) and the number (8 bytes), all in network byte order. The number counts the frames
that this end has sent before on the stream, whatever their kind. Any other number than the next one shows that a frame
was lost, came twice, or overtook another. A RESET has the number 0, because nothing comes after it.

``allowed`` is how many bytes of data the other end may send in all, from the first byte on. As a total it means the
same however often it is said.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

VERSION: Final = 1
FRAME_BYTES: Final = 60_000
"""The most bytes of data in a frame. A NATS server takes messages of 1 MiB, and less where its operator has set that; a
small call waits behind few frames, and larger ones were not faster."""

_HEAD: Final = struct.Struct("!BQ")
_TOTAL: Final = struct.Struct("!Q")
_OPEN: Final = struct.Struct("!BQ")


class FrameKind(IntEnum):
    """The first byte of a frame."""

    OPEN = 1
    OPENED = 2
    DATA = 3
    GRANT = 4
    FIN = 5
    RESET = 6
    PING = 7
    PONG = 8


class ResetCause(IntEnum):
    """Why a stream ended before its bytes did. The lower-case name is what metrics show."""

    REFUSED = 1
    """The far end could not connect to the instance."""
    FULL = 2
    """The far end has as many streams as it may have."""
    NOBODY = 3
    """The carrier says that the far end's subject has no subscriber."""
    UNKNOWN = 4
    """The far end knows no such stream, or not any more."""
    GAP = 5
    """A frame was lost, came twice, or overtook another."""
    SILENCE = 6
    """The far end did not answer in time."""
    LOST = 7
    """The carrier lost its connection, and perhaps frames with it."""
    BROKEN = 8
    """A frame that the protocol does not allow: a defect, or a stranger."""
    SOCKET = 9
    """The socket of the far end, or of this one, was reset or given up."""
    VERSION = 10
    """The far end speaks another version."""


_CAUSES: Final = {cause.value: cause for cause in ResetCause}


class BadFrame(ValueError):
    """The bytes are no frame of this version."""


@dataclass(frozen=True, slots=True)
class Frame:
    """``total``: the ``allowed`` of the table above. ``cause``: of a RESET."""

    kind: FrameKind
    number: int = 0
    data: bytes = b""
    total: int = 0
    version: int = VERSION
    cause: ResetCause = ResetCause.BROKEN


def encode(frame: Frame) -> bytes:
    """The message of the frame."""
    head = _HEAD.pack(frame.kind, frame.number)
    match frame.kind:
        case FrameKind.DATA:
            return head + frame.data
        case FrameKind.OPEN:
            return head + _OPEN.pack(frame.version, frame.total)
        case FrameKind.OPENED | FrameKind.GRANT:
            return head + _TOTAL.pack(frame.total)
        case FrameKind.RESET:
            return head + bytes([frame.cause])
        case _:
            return head


def decode(message: bytes) -> Frame:
    """Raises `BadFrame`. An OPEN of another version is read as far as its version."""
    try:
        code, number = _HEAD.unpack_from(message)
        kind, body = FrameKind(code), message[_HEAD.size :]
        match kind:
            case FrameKind.DATA if 0 < len(body) <= FRAME_BYTES:
                return Frame(kind, number, data=body)
            case FrameKind.OPEN if body and body[0] != VERSION:
                return Frame(kind, number, version=body[0])
            case FrameKind.OPEN:
                return Frame(kind, number, total=_OPEN.unpack(body)[1])
            case FrameKind.OPENED | FrameKind.GRANT:
                return Frame(kind, number, total=_TOTAL.unpack(body)[0])
            case FrameKind.RESET if len(body) == 1:
                return Frame(kind, number, cause=_cause(body[0]))
            case FrameKind.FIN | FrameKind.PING | FrameKind.PONG if not body:
                return Frame(kind, number)
    except (struct.error, ValueError) as error:
        raise BadFrame(str(error)) from error
    raise BadFrame(f"{kind.name} with {len(body)} bytes")


def _cause(code: int) -> ResetCause:
    """A reset is one, even for a reason that only a newer version knows."""
    return _CAUSES.get(code, ResetCause.BROKEN)
