"""What is known of a call: whether it may have run, and how it ended, as one word of a closed set. Pure."""

import asyncio
from typing import Final, Literal

import msgspec

from brummer.core.errors import BrummerError, Internal, Outcome, TooLarge, TransportError
from brummer.link.call import Call
from brummer.link.errors import BreakerOpen, DeadlineExceeded, NoResult, ParkedTooLong, RemoteRefusal
from brummer.link.peer import Peer

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
    "call_forgotten": "unknown",
    "busy": "busy",
    "deadline_exceeded": "deadline",
    "instance_unavailable": "unavailable",
    "breaker_open": "breaker_open",
    "refused_by_instance": "refused",
}
_TOOL_FAILED: Final = b'"isError":true'
_OURS_FAILED: Final = _TOOL_FAILED + b"}"
"""How a failed result of our own instances ends; others may say it anywhere."""
_OURS_UNKNOWN: Final = b'"outcome":"unknown"'
"""In such a result: the instance can't know whether the work was done."""

_ANSWERS: Final = (RemoteRefusal, NoResult, TooLarge)


class CallEnded(msgspec.Struct, frozen=True, gc=False):
    """``key`` names the call in logs and in the ledger; ``code`` is the error's, empty where it was answered."""

    instance_id: str
    tool: str
    key: str
    ending: Ending
    code: str
    took_s: float


def outcome_of(call: Call, error: BrummerError) -> Outcome:
    """The outcome of a call that ends with this error. No other code decides it.

    A request that was not answered may have run the call. An answer contains its outcome, and so does an internal error
    in reading it.
    """
    if call.was_sent:
        return "unknown"
    return error.outcome if isinstance(error, (*_ANSWERS, Internal)) else "not_executed"


def may_be_asked(call: Call, target: Peer) -> bool:
    """Whether a request for it may go to this peer: the call has not run, or may run twice, or this very run knows."""
    return not call.must_not_be_resent or (target.has_ledger and call.sent_to == target.generation)


def is_answer(error: BaseException) -> bool:
    """The instance answered, though not with a result: repeating the request gives the same answer."""
    return isinstance(error, _ANSWERS)


def is_unanswered(error: BrummerError) -> bool:
    """The instance has not answered at all."""
    if isinstance(error, TransportError):
        return not is_answer(error)
    return isinstance(error, ParkedTooLong | BreakerOpen | DeadlineExceeded)


def ending_of(call: Call, outcome: "bytes | BaseException | None", *, ours: bool) -> tuple[Ending, str]:
    """Also the error's code, if it has one. ``outcome``: its result, its error, or None for a call that was cancelled.

    ``ours``: an instance of Brummer.
    """
    if isinstance(outcome, bytes):
        if outcome.endswith(_OURS_FAILED) or (not ours and _TOOL_FAILED in outcome):
            return ("unknown", _code_in(outcome)) if ours and _OURS_UNKNOWN in outcome else ("tool_error", "")
        if call.unanswered:  # an earlier request was lost
            return ("resent" if call.repeatable or not ours else "reattached"), ""
        return ("parked" if call.was_parked else "ok"), ""
    if outcome is None or isinstance(outcome, asyncio.CancelledError):
        return "cancelled", "cancelled"
    if not isinstance(outcome, BrummerError):
        return "failed", "internal"
    ending = _BY_CODE.get(outcome.code, "failed")
    if ending in ("failed", "refused") and outcome.outcome == "unknown":
        ending = "unknown"
    return ending, outcome.code


def _code_in(result: bytes) -> str:
    code: str = msgspec.json.decode(result)["structuredContent"]["error"]["code"]
    return code
