"""How a call ended, as one word of a closed set; and the event that tells it. Pure."""

import asyncio
from typing import Final, Literal

import msgspec

from brummer.core.errors import BrummerError
from brummer.link.call import Call

Ending = Literal[
    "ok",
    "parked",
    "reattached",
    "resent",
    "tool_error",
    "unknown",
    "busy",
    "cancelled",
    "deadline",
    "unavailable",
    "breaker_open",
    "refused",
    "failed",
]
"""Answered: ``ok`` at once, ``parked`` after it had waited for its link, ``reattached`` after it was asked for again
under its key, ``resent`` after it was sent again; ``tool_error`` by the tool's own failure, whatever came before.
All others were not.
"""

ANSWERED: Final[frozenset[Ending]] = frozenset({"ok", "parked", "reattached", "resent", "tool_error"})

_BY_CODE: Final[dict[str, Ending]] = {
    "outcome_unknown": "unknown",
    "busy": "busy",
    "deadline_exceeded": "deadline",
    "instance_unavailable": "unavailable",
    "breaker_open": "breaker_open",
    "refused_by_instance": "refused",
}
_TOOL_FAILED: Final = b'"isError":true'
_OURS_FAILED: Final = _TOOL_FAILED + b"}"
"""How a failed result of our own instances ends; others may say it anywhere."""


class CallEnded(msgspec.Struct, frozen=True, gc=False):
    """``key`` names the call in logs and in the ledger; ``code`` is the error's, empty where it was answered."""

    instance_id: str
    tool: str
    key: str
    ending: Ending
    code: str
    took_s: float


def ending_of_answer(call: Call, result: bytes, *, ours: bool) -> Ending:
    """``ours``: answered by an instance of Brummer."""
    if result.endswith(_OURS_FAILED) or (not ours and _TOOL_FAILED in result):
        return "tool_error"
    if call.sent_to is not None:  # noted only of connections that were lost
        return "resent" if call.repeatable or not ours else "reattached"
    return "parked" if call.was_parked else "ok"


def ending_of_error(error: BaseException) -> tuple[Ending, str]:
    """Also its code."""
    if isinstance(error, asyncio.CancelledError):
        return "cancelled", "cancelled"
    if isinstance(error, BrummerError):
        return _BY_CODE.get(error.code, "failed"), error.code
    return "failed", "internal"
