"""What the failure of a probe says of the peer. Pure."""

from enum import Enum
from typing import Final

from brummer.core.errors import (
    ConnectionClosed,
    ConnectionRefused,
    ConnectionReset,
    Shortage,
    TransportError,
)
from brummer.link.errors import Impostor, RateLimited, Refused, ServerFull


class Verdict(Enum):
    """Of a peer whose probe failed."""

    ALIVE = "alive"
    """It answers; whether it serves, each call finds out."""
    NOTHING = "nothing"
    """The fault is here."""
    STRANGER = "stranger"
    REFUSES = "refuses"
    """It answers, and serves nothing."""
    NOT_LISTENING = "not_listening"
    SILENT = "silent"
    """The path to it works."""
    CUT = "cut"


_VERDICTS: Final[tuple[tuple[type[TransportError] | tuple[type[TransportError], ...], Verdict], ...]] = (
    (RateLimited, Verdict.ALIVE),
    (Shortage, Verdict.NOTHING),
    (Impostor, Verdict.STRANGER),
    (Refused, Verdict.REFUSES),
    (ConnectionRefused, Verdict.NOT_LISTENING),
    ((ConnectionReset, ConnectionClosed, ServerFull), Verdict.SILENT),
)
"""The first that fits."""


def verdict_of(error: TransportError) -> Verdict:
    """`CUT` of every error that does not show that the path works."""
    return next((verdict for kinds, verdict in _VERDICTS if isinstance(error, kinds)), Verdict.CUT)
