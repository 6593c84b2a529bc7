"""Makes calls over one link: with a callback (the fast path), or for a task that waits (the slow path).

Both paths drive the same `CallRun`. Nearly every call takes the fast one: its link is ready and a connection is idle,
so it is sent at once, and the answer goes out in the turn of the loop in which it came in. A task would take a third of
the cost of a call.

All deadlines of one link share one timer. They count awake time (`brummer.core.clock`). How a call has ended is
published as `CallEnded`, with one word of a closed set.
"""

import asyncio
import itertools
import math
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final, Generic, Literal, Protocol, TypeVar

import msgspec

from brummer.calls import refusals
from brummer.calls.call_run import CallRun, Substitute
from brummer.calls.cancellations import Cancellations
from brummer.core.errors import BrummerError
from brummer.core.events import Hook
from brummer.link.call import Call
from brummer.link.link import Link
from brummer.link.prober import LATE_S
from brummer.link.state import READY
from brummer.wire.mcp.tools import failed

_next_key: Callable[[], str] = map(f"{secrets.token_hex(6)}-{{}}".format, itertools.count(1)).__next__

GRACE_S: Final = 2.0
"""What a deadline that fires late gives: the answer may have come while we were stopped, and wait in our socket."""

IN_VAIN_S: Final = 10.0
"""If all calls have ended, and the timer would fire at least this long before the next deadline, it is set again.
Otherwise each repeated wait for news would cost one useless wakeup. Calls one after the other set it every ten seconds.
"""

CallEnding = Literal[
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
All other endings mean: not answered.
"""

ANSWERED: Final[frozenset[CallEnding]] = frozenset({"ok", "parked", "reattached", "resent", "tool_error"})

_BY_CODE: Final[dict[str, CallEnding]] = {
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

D = TypeVar("D", bound="Dated")


class Dated(Protocol):
    """Something that must be over at a time on the loop's clock."""

    @property
    def due_s(self) -> float:
        """It may move at any time, because it is read again when the timer fires."""

    def postpone(self, due_s: float) -> None:
        """It must not be over before that time."""

    def expire(self) -> None:
        """Its time has passed."""


class Deadlines(Generic[D]):
    """Any number of deadlines. The timer is set once in many calls: to add and drop one costs next to nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._dated: dict[D, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._fires_s = math.inf

    def __len__(self) -> int:
        return len(self._dated)

    def all(self) -> list[D]:
        return list(self._dated)

    def add(self, dated: D, due_s: float) -> None:
        """Watch one that is due then, or earlier than it was."""
        serves_nobody = not self._dated and due_s > self._fires_s + IN_VAIN_S
        self._dated[dated] = None
        if due_s < self._fires_s or serves_nobody:
            self._set(due_s)

    def drop(self, dated: D) -> None:
        self._dated.pop(dated, None)

    def close(self) -> None:
        self._dated.clear()
        self._set(math.inf)

    def _set(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires_s = due_s
        self._timer = None if math.isinf(due_s) else self._loop.call_at(due_s, self._fire)

    def _fire(self) -> None:
        now = self._loop.time()
        if now - self._fires_s > LATE_S:
            for dated in self._dated:
                dated.postpone(now + GRACE_S)
        try:
            for dated in [dated for dated in self._dated if dated.due_s <= now]:
                if dated in self._dated and dated.due_s <= now:  # the end of another may have moved it on
                    self.drop(dated)
                    dated.expire()
        finally:  # a defect in one must not cost the others their deadlines
            self._set(min((dated.due_s for dated in self._dated), default=math.inf))


class CallEnded(msgspec.Struct, frozen=True, gc=False):
    """``key`` names the call in logs and in the ledger; ``code`` is the error's, empty where it was answered."""

    instance_id: str
    tool: str
    key: str
    ending: CallEnding
    code: str
    took_s: float


class Caller:
    """One per link; any number of calls at a time."""

    has_fast_path: ClassVar[bool] = True
    next_key = staticmethod(_next_key)
    """Makes a key for one call, in logs and in the ledger of its instance."""

    def __init__(
        self, link: Link, is_cut_off: Callable[[], bool] = lambda: False, ended: Hook[CallEnded] | None = None
    ) -> None:
        """``is_cut_off``: all links seem to fail, so the fault is probably on this side, and no instance is blamed.

        ``ended`` publishes the end of every call.
        """
        self.link = link
        self.loop = asyncio.get_running_loop()
        self._is_cut_off = is_cut_off
        self.ended: Hook[CallEnded] = ended or Hook()
        self.cancellations = Cancellations(link)
        self.deadlines: Deadlines[CallRun] = Deadlines(self.loop)
        """Of all runs that have one."""
        self._tasks: dict[asyncio.Task[Any], None] = {}
        link.on_gone, link.on_suspect = self._fail_hopeless, self._hasten

    async def close(self) -> None:
        """Every call ends with an error."""
        for run in self.deadlines.all():
            run.on_hopeless(refusals.gone(self.link))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.deadlines.close()
        await self.cancellations.close()
        self.link.connections.end()

    @property
    def is_waited_for(self) -> bool:
        """A call waits for its answer, for the link, or for a substitute of its instance."""
        return len(self.deadlines) > 0 or bool(self._tasks)

    def fast_path(
        self, call: Call, on_result: Callable[[bytes], object], substitute: Substitute | None = None
    ) -> CallRun | None:
        """Make the call without a task. None: it was not begun, because the link is not ready, or not to an instance.

        ``on_result`` gets the result, after this returns, unless the call is cancelled; an error is a result, too.
        """
        link = self.link
        if link.state is not READY or not link.target.is_direct or not self.has_fast_path:
            return None
        call.key = self.next_key()
        run = CallRun(self, call, on_result, lambda error: on_result(failed(error)), substitute)
        run.start()
        return run

    async def call(self, call: Call, substitute: Substitute | None = None) -> bytes:
        """Make the call; returns the encoded result object. Raises `BrummerError`."""
        answered: asyncio.Future[bytes] = self.loop.create_future()

        def on_result(result: bytes) -> None:
            if not answered.done():
                answered.set_result(result)

        def on_error(error: BrummerError) -> None:
            if not answered.done():
                answered.set_exception(error)

        call.key = self.next_key()
        run = CallRun(self, call, on_result, on_error, substitute)
        run.start()
        try:
            return await answered
        except asyncio.CancelledError as error:
            run.cancel(*error.args)
            raise

    # What runs share.

    def run(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task for a part of a call; it ends with us."""
        task = self.loop.create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    def tell(self, call: Call, outcome: bytes | BrummerError | None) -> None:
        """The call has ended. None: it was cancelled."""
        target = self.link.target
        ending, code = ending_of(call, outcome, ours=target.has_ledger)
        took_s = self.loop.time() - call.started_s
        tool = call.params.get("name", call.method)
        self.ended.publish(CallEnded(target.instance_id, tool, call.key, ending, code, took_s))

    def count_failure(self) -> None:
        """Count the failure of a call for the breaker, but only if its link is not ready: a slow tool is no failure of
        the link. A failure during a sleep, or of all links at once, does not count either.
        """
        link = self.link
        if link.state is not READY and not link.is_settling and not self._is_cut_off():
            link.breaker.failed(self.loop.time())

    def hopeless(self, call: Call) -> BrummerError | None:
        """Why a call need not wait for an instance that is gone; None when another run of it can answer."""
        if call.must_not_be_resent:
            return refusals.outcome_unknown(self.link, call)
        return None if call.waits_for_return else refusals.gone(self.link)

    def _fail_hopeless(self) -> None:
        """The run that knew their results has ended, so calls that wait to ask it fail now, not at the end of their
        wait.
        """
        self.link.parking.fail(self.hopeless)

    def _hasten(self) -> None:
        """The instance seems not to answer: nobody must wait for its news for as long as for those of a live one."""
        for run in self.deadlines.all():
            run.hasten()


def ending_of(call: Call, outcome: "bytes | BaseException | None", *, ours: bool) -> tuple[CallEnding, str]:
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
    if outcome.outcome == "unknown" and (ending in ("failed", "refused") or not call.repeatable):
        ending = "unknown"
    return ending, outcome.code


def _code_in(result: bytes) -> str:
    code: str = msgspec.json.decode(result)["structuredContent"]["error"]["code"]
    return code
