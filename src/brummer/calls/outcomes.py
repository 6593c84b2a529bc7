"""What is known of a call: whether it was answered, and whether it may have run. Pure."""

from typing import Final

from brummer.core.errors import BrummerError, Internal, Outcome, TooLarge, TransportError
from brummer.link.call import Call
from brummer.link.errors import BreakerOpen, DeadlineExceeded, NoResult, ParkedTooLong, RemoteRefusal
from brummer.link.peer import Peer

_ANSWERS: Final = (RemoteRefusal, NoResult, TooLarge)


def outcome_of(call: Call, error: BrummerError) -> Outcome:
    """The outcome of a call that ends with this error. No other code decides it.

    A request that was not answered may have run the call. An answer brings its own outcome. So does an internal error
    that is raised while an answer is read.
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
