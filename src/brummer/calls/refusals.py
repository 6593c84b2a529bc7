"""Errors of calls that could not be carried out: what is known, since when, and what to do about it.

`brummer.calls.outcomes.outcome_of` decides for all of them whether the call may have run.
"""

import logging
from typing import Final

from brummer.core.errors import BrummerError, Internal, unforeseen
from brummer.core.memory import MEMORY_RETRY_AFTER_S
from brummer.link.call import Call
from brummer.link.errors import (
    BreakerOpen,
    CallForgotten,
    DeadlineExceeded,
    OutcomeUnknown,
    ParkedTooLong,
    Refused,
)
from brummer.link.link import Link
from brummer.link.peer import OTHER_NETWORK
from brummer.link.state import ENDED
from brummer.pool.pool import Busy

_log = logging.getLogger(__name__)

PARK_S: Final = 20.0
"""How long a call that was not sent waits for an instance that is known but not ready: longer than any dev tool's
restart. A call that was sent waits until its deadline, because only that instance knows its result.
"""


def known(call: Call, failure: BaseException) -> BrummerError:
    """The failure as a `BrummerError`. Any other exception is a defect: it fails one call, never the connection."""
    if isinstance(failure, BrummerError):
        return failure
    _log.error("call %s failed", call.key, exc_info=failure)
    return unforeseen(failure, "the call failed") if isinstance(failure, Exception) else Internal("the call failed")


def outcome_unknown(link: Link, call: Call) -> OutcomeUnknown:
    """It was sent to a run that has ended, or to a server that can't be asked for the result."""
    name = link.target.instance_id
    if link.target.has_ledger:
        why = f"the run of {name} that the call was sent to has ended"
        advice = "look at scripts_status and changes_since before you repeat it"
    else:
        why = f"the connection to {name} was lost after the call was sent"
        advice = "look at what it has done before you repeat it"
    return OutcomeUnknown(
        f"{why}, so it may or may not have run; {advice}",
        instance=name,
        generation=call.sent_to,
        cause=link.last_error and link.last_error.code,
    )


def forgotten(link: Link) -> CallForgotten:
    """The run that the call was sent to lives, but had to forget results."""
    return CallForgotten(
        f"the call may have run, but {link.target.instance_id} does not keep its result any more; check"
        " scripts_status and changes_since before you repeat it",
        instance=link.target.instance_id,
    )


def short_of_memory(link: Link) -> Busy:
    """The instance takes no new work."""
    return Busy(
        f"{link.target.instance_id} takes no new work while its memory is short (memory_hard)",
        retry_after_s=MEMORY_RETRY_AFTER_S,
    )


def parked_too_long(link: Link, call: Call) -> BrummerError:
    """Its link did not become ready in time."""
    if isinstance(link.last_error, Refused) and not call.was_sent:
        return link.last_error.after(link.last_error.retry_after_s)
    return ParkedTooLong(
        f"{link.target.instance_id} is {link.state.shown} ({link.reason})"
        f" and did not become ready within {PARK_S:g} s; {_advice(link)}",
        retry_after_s=1.0,
        link=link.status().as_json(),
    )


def gone(link: Link) -> BrummerError:
    """Its instance is proven gone, and the call does not wait for another run."""
    return ParkedTooLong(
        f"{link.target.instance_id} is gone ({link.reason}); {_advice(link)}",
        retry_after_s=1.0,
        link=link.status().as_json(),
    )


def breaker_open(link: Link, now_s: float) -> BrummerError:
    """Calls before it failed, so it was not even tried."""
    return BreakerOpen(
        f"calls to {link.target.instance_id} failed {link.breaker.failures} times in a row; {_advice(link)}",
        retry_after_s=round(link.breaker.retry_after_s(now_s), 3),
        link=link.status().as_json(),
    )


def deadline_exceeded(link: Link, call: Call) -> BrummerError:
    """It was not answered within its deadline."""
    condition = link.condition
    return DeadlineExceeded(
        f"{link.target.instance_id} did not answer within {call.deadline_s:g} s; its process is {condition}",
        instance=link.target.instance_id,
        condition=condition,
        state=link.state.shown,
    )


def _advice(link: Link) -> str:
    if link.target.has_ledger and not link.target.is_local:
        is_over = link.state in ENDED
        return "start it on its machine" if is_over else "it may go on running there: see its machine in hub_status"
    if link.target.in_other_network:
        return f"{OTHER_NETWORK}: run the agent there"
    match link.condition:
        case "stopped":
            return "its process is stopped (SIGSTOP): continue it"
        case "frozen":
            return "its control group is frozen: thaw it, as with docker unpause or systemctl thaw"
        case "busy" | "idle":
            return "its process lives but does not answer: see its terminal, or restart it"
        case _:
            return "start it with `brum` in its directory, or see hub_status"
