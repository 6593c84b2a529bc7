"""The run of one call over a link, from its begin to its one end.

Theory of operation: `CallRun` is a state machine without a task. Whatever it waits for calls it back: the pool (a slot,
a connection), the link's parking (ready), the connection (the response), a timer. `TRANSITIONS` has every step that it
may take. All ends go through `_finish`, which delivers the answer, releases everything that the call held, and
publishes the end, once.

A run takes a slot, waits until its link is ready, borrows a connection, and sends the call. If the connection is lost,
it waits until the link is ready again, and sends the call again if no byte of it was sent or its tool may be repeated.
Else it asks for the call again under its key: the same run of the instance knows whether it ran
(`brummer.instance.ledger`). Another run can't know, so there the outcome is unknown, and the call is never sent again.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from brummer.calls import refusals
from brummer.calls.outcomes import is_answer, may_be_asked, outcome_of
from brummer.core.errors import BrummerError, NoRoom, TransportError
from brummer.link.call import Answers, Call
from brummer.link.errors import COME_BACK_S, NotBegun
from brummer.link.peer import Peer
from brummer.link.state import ENDED as ENDED_LINKS
from brummer.link.state import READY, SUSPECT
from brummer.pool.connections import CALL, NEWS, WAIT, Lease
from brummer.pool.pool import Busy
from brummer.wire.http.connection import HttpConnection, Response
from brummer.wire.mcp.server import CLIENT_GONE, RunningCall

if TYPE_CHECKING:
    from brummer.calls.caller import Caller

_log = logging.getLogger(__name__)

SENT_AT_ONCE: Final = 4
"""A call whose connection is lost is sent this many times without a pause. After that the link is probed before each
further time, at most twice a second: a server that drops the connection on each request of this call must fill neither
its core nor ours.
"""

ROOM_AGAIN_S: Final = 1.0
"""The pause before an answer that found no memory here is asked for again: by then a large answer under way has usually
passed.
"""

Substitute = Callable[[BrummerError], Coroutine[Any, Any, bytes | None] | None]
"""Returns what answers in place of an instance after this error; None: the error stands.

The coroutine returns the result; None: it has none, so the instance is asked again, with more time.
"""


class CallState(StrEnum):
    """What a run waits for, or how it has ended."""

    STEPPING = "stepping"
    """For nothing: it takes its next step."""
    QUEUED = "queued"
    """For a slot."""
    PARKED = "parked"
    """For its link."""
    PAUSED = "paused"
    """For a time that was set."""
    CONNECTING = "connecting"
    SENT = "sent"
    REPLACED = "replaced"
    """For its substitute."""
    ANSWERED = "answered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class CallEvent(StrEnum):
    """What has happened to a run."""

    QUEUED = "queued"
    PARKED = "parked"
    PAUSED = "paused"
    WAITED = "waited"
    """What it waited for is there."""
    CONNECTION_WANTED = "connection_wanted"
    SENT = "sent"
    LOST = "lost"
    """The request is not answered, and another may be."""
    REFUSED = "refused"
    """The request was answered, without a result."""
    REPLACED = "replaced"
    RESTARTED = "restarted"
    ANSWERED = "answered"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


_S, _E = CallState, CallEvent

# Every call comes to these; see `brummer.link.state.READY`.
_STEPPING: Final = _S.STEPPING
_SENT: Final = _S.SENT
_IS_SENT: Final = _E.SENT
_IS_ANSWERED: Final = _E.ANSWERED

_ENDS: Final = {
    _E.FAILED: _S.FAILED,
    _E.EXPIRED: _S.FAILED,
    _E.CANCELLED: _S.CANCELLED,
    _E.REPLACED: _S.REPLACED,
}

TRANSITIONS: Final[dict[CallState, dict[CallEvent, CallState]]] = {
    _S.STEPPING: {
        _E.QUEUED: _S.QUEUED,
        _E.PARKED: _S.PARKED,
        _E.PAUSED: _S.PAUSED,
        _E.CONNECTION_WANTED: _S.CONNECTING,
        _E.SENT: _S.SENT,
        **_ENDS,
    },
    _S.QUEUED: {_E.WAITED: _S.STEPPING, **_ENDS},
    _S.PARKED: {_E.WAITED: _S.STEPPING, **_ENDS},
    _S.PAUSED: {_E.WAITED: _S.STEPPING, **_ENDS},
    _S.CONNECTING: {_E.WAITED: _S.STEPPING, **_ENDS},
    _S.SENT: {_E.ANSWERED: _S.ANSWERED, _E.LOST: _S.STEPPING, _E.REFUSED: _S.STEPPING, **_ENDS},
    _S.REPLACED: {
        _E.ANSWERED: _S.ANSWERED,
        _E.RESTARTED: _S.STEPPING,
        _E.FAILED: _S.FAILED,
        _E.CANCELLED: _S.CANCELLED,
    },
    _S.ANSWERED: {},
    _S.FAILED: {},
    _S.CANCELLED: {},
}


ENDED: Final = frozenset(state for state, events in TRANSITIONS.items() if not events)


class CallRun(RunningCall):
    """Calls ``on_result`` or ``on_error``, once, never before `start` returns and never after `cancel`.

    The run is a `brummer.pool.connections.Holder`, a `brummer.link.parking.Parked` and a `Dated`.
    """

    __slots__ = (
        "_answers", "_caller", "_delivery", "_first_error", "_is_starting", "_lease", "_link", "_losses", "_on_error",
        "_on_result", "_parked_until_s", "_substitute", "_target", "_task", "_timer", "call", "state",
    )  # fmt: skip

    _answers: Answers
    _target: Peer

    def __init__(
        self,
        caller: "Caller",
        call: Call,
        on_result: Callable[[bytes], object],
        on_error: Callable[[BrummerError], object],
        substitute: Substitute | None = None,
    ) -> None:
        self._caller = caller
        self._link = caller.link
        self.call = call
        self._on_result = on_result
        self._on_error = on_error
        self._substitute = substitute
        self.state: CallState = _STEPPING
        purpose = CALL if not call.waits else NEWS if call.wait_s else WAIT
        self._lease = Lease(caller.link.connections, purpose, call.flow, self)
        self._losses = 0
        self._parked_until_s = math.inf
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._delivery: asyncio.Handle | None = None
        self._first_error: BrummerError | None = None
        self._is_starting = False

    def __repr__(self) -> str:
        return f"<CallRun {self.call.key} {self.call.tool} {self.state}>"

    def start(self) -> None:
        """Start the deadline, and send the call if nothing has to be waited for."""
        caller, link, call = self._caller, self._link, self.call
        call.begin(caller.loop.time())
        caller.deadlines.add(self, call.due_s)
        self._is_starting = True
        try:
            if link.state is not READY:
                self._ask_breaker()
            if self._lease.acquire_slot():
                self._go_on()
            else:
                self._move(CallEvent.QUEUED)
        except Exception as failure:  # noqa: BLE001 — a defect becomes a `BrummerError` with an outcome
            self._fail(failure)
        self._is_starting = False

    def cancel(self, message: str | None = None) -> None:
        """The answer is not needed any more; with `brummer.wire.mcp.server.CLIENT_GONE` the work continues."""
        if self.state in ENDED:
            if self._delivery is not None:
                self._delivery.cancel()
            return
        self._abandon()
        self._finish(CallEvent.CANCELLED, None)
        self._link.breaker.abandoned()
        if message != CLIENT_GONE:
            self._caller.cancellations.send(self.call)

    # As something with a deadline.

    @property
    def due_s(self) -> float:
        return min(self.call.due_s, self._parked_until_s)

    def postpone(self, due_s: float) -> None:
        self.call.due_s = max(self.call.due_s, due_s)
        self._parked_until_s = max(self._parked_until_s, due_s)

    def expire(self) -> None:
        """The deadline, or the longest time to wait for the link, has passed."""
        is_late = self._caller.loop.time() >= self.call.due_s
        failure: Exception
        try:
            self._caller.count_failure()
            explain = refusals.deadline_exceeded if is_late else refusals.parked_too_long
            failure = explain(self._link, self.call)
        except Exception as error:  # noqa: BLE001 — also a call without an explanation must be answered
            failure = error
        self._fail(failure, CallEvent.EXPIRED)

    def hasten(self) -> None:
        """Its instance seems not to answer, and a substitute can: a call that waits for news has no more time than
        others.
        """
        call = self.call
        if call.wait_s and not call.waits_for_return:
            call.due_s = min(call.due_s, self._caller.loop.time() + call.longest_park_s)
            self._caller.deadlines.add(self, call.due_s)

    # As the holder of a lease, and as a waiter for the link.

    def on_slot(self) -> None:
        self._advance(self._go_on)

    def on_connection(self, connection: HttpConnection) -> None:
        self._advance(self._send, connection)

    def on_no_connection(self, error: BaseException | None) -> None:
        if error is None:
            self._advance(self._go_on)
        else:
            self._advance(self._on_failed_dial, error)

    def on_ready(self) -> None:
        self._leave_parking()
        self._advance(self._connect)
        self.call.add_event("released")

    def on_hopeless(self, error: BrummerError) -> None:
        self._fail(error)

    # One step after the other.

    def _move(self, event: CallEvent) -> None:
        self.state = TRANSITIONS[self.state][event]

    def _advance(self, step: Callable[..., None], *args: object) -> None:
        """What it waited for is there, so it takes this step. A defect becomes a `BrummerError` with an outcome."""
        try:
            self._move(CallEvent.WAITED)
            step(*args)
        except Exception as failure:  # noqa: BLE001 — as above
            self._fail(failure)

    def _go_on(self) -> None:
        link = self._link
        connections = link.connections
        is_lost = not connections.idle and connections.are_lost
        if is_lost or link.state is not READY or self._losses >= SENT_AT_ONCE:
            self._park()
        else:
            self._connect()

    def _connect(self) -> None:
        if self.call.unanswered:
            self._check_run()
        self._link.prober.call_sent(self._caller.loop.time())  # before: it may wait for a connection for long
        try:
            connection = self._lease.acquire()
        except Busy as error:
            if not self.call.was_sent:
                raise
            self._pause(error.retry_after_s or 0.0)  # the hub learns its result only by asking again
            return
        if connection is None:
            self._move(CallEvent.CONNECTION_WANTED)
        else:
            self._send(connection)

    def _on_failed_dial(self, error: BaseException) -> None:
        if not isinstance(error, TransportError):
            raise error
        if is_answer(error):  # to the handshake of a further connection: the server is there, but refuses
            self._come_back(error)
        else:
            self._link.distrust(error)
            self._park()

    def _send(self, connection: HttpConnection) -> None:
        target = self._link.target
        if self.call.unanswered:
            self._check_run()  # another may have come while it waited for the connection
        self._target = target
        self._move(_IS_SENT)
        prepared = target.request(connection, self.call)
        if prepared is None:
            self._task = self._caller.run(target.ask(connection, self.call), f"call {self.call.key}")
            self._task.add_done_callback(self._on_asked)
            return
        request, self._answers = prepared
        try:
            connection.send(request, self._on_response, self._answers.on_event)
        except TransportError as error:
            self._on_failure(error)

    def _on_response(self, outcome: Response | TransportError) -> None:
        if self.state is not _SENT:  # it was abandoned
            return
        if isinstance(outcome, TransportError):
            self._on_failure(outcome)
            return
        try:
            result = self._answers.result(outcome)
        except Exception as failure:  # noqa: BLE001 — as above
            self._on_failure(failure)
        else:
            self._on_answer(result)

    def _on_asked(self, task: "asyncio.Task[bytes]") -> None:
        failure = None if task.cancelled() else task.exception()  # retrieved in any case, else asyncio logs a complaint
        if task is not self._task:  # it was abandoned
            return
        self._task = None
        if task.cancelled():
            self._fail(asyncio.CancelledError())
        elif failure is not None:
            self._on_failure(failure)
        else:
            self._on_answer(task.result())

    def _on_answer(self, result: bytes) -> None:
        link, now_s = self._link, self._caller.loop.time()
        self._finish(_IS_ANSWERED, result)
        link.prober.call_answered(now_s, suspect=link.state is SUSPECT)

    def _on_failure(self, failure: BaseException) -> None:
        """The request was not answered, or not with a result."""
        try:
            if isinstance(failure, NotBegun):
                self._move(CallEvent.REFUSED)
                self._take_refusal(failure)
                self._resend()
            elif isinstance(failure, NoRoom) and self._may_ask_for_answer_again():
                self._lease.release()
                self._move(CallEvent.LOST)
                self._pause(ROOM_AGAIN_S)
            elif isinstance(failure, TransportError) and not is_answer(failure):
                self._lose(failure)
            else:  # it is the instance's answer
                self._move(CallEvent.REFUSED)
                self._fail(failure)
        except Exception as error:  # noqa: BLE001 — as above
            self._fail(error)

    def _lose(self, error: TransportError) -> None:
        if self._lease.connection is not None:
            self._lease.connection.close()
        if error.sent:
            self.call.note_unanswered(self._target.generation)
        self._link.distrust(error)
        self._move(CallEvent.LOST)
        self.call.add_event("connection_lost")
        self._resend()

    def _resend(self) -> None:
        self._losses += 1
        self._lease.release()
        self._go_on()

    # What it may have to wait for.

    def _park(self) -> None:
        """Wait for the link to become ready. Raises `BrummerError` if that is of no use."""
        call, link = self.call, self._link
        if link.state in ENDED_LINKS and (error := self._caller.hopeless(call)):
            raise error
        link.hint()
        link.connections.pool.park(link.target.instance_id, may_have_run=call.was_sent)
        self._move(CallEvent.PARKED)
        call.was_parked = True
        self._parked_until_s = math.inf
        if not call.was_sent:
            self._parked_until_s = self._caller.loop.time() + min(refusals.PARK_S, call.longest_park_s)
            self._caller.deadlines.add(self, self._parked_until_s)
        link.parking.add(self)
        call.add_event("parked")

    def _leave_parking(self) -> None:
        self._parked_until_s = math.inf
        self._link.parking.remove(self)
        self._link.connections.pool.unpark()

    def _pause(self, seconds: float) -> None:
        self._move(CallEvent.PAUSED)
        self._timer = self._caller.loop.call_later(seconds, self._on_paused)

    def _on_paused(self) -> None:
        self._timer = None
        self._advance(self._go_on)

    def _come_back(self, refusal: TransportError) -> None:
        """Wait for the time that the server has set. Raises the refusal if all such waits together are too long."""
        call, wait_s = self.call, refusal.retry_after_s or 0.0
        if not refusal.transient or not 0 < wait_s <= min(COME_BACK_S, call.deadline_s) - call.refused_s:
            raise refusal
        call.refused_s += wait_s
        call.due_s = min(call.latest_s, max(call.due_s, self._caller.loop.time() + wait_s + call.deadline_s))
        self._pause(wait_s)

    # What decides.

    def _ask_breaker(self) -> None:
        """A link that is ready has closed its breaker, so only a call that would have to wait is refused."""
        link, now_s = self._link, self._caller.loop.time()
        if not link.breaker.admits(now_s):
            raise refusals.breaker_open(link, now_s)

    def _check_run(self) -> None:
        """Raises `OutcomeUnknown` if the call may have run, and this peer can't tell."""
        if not may_be_asked(self.call, self._link.target):
            raise refusals.outcome_unknown(self._link, self.call)

    def _take_refusal(self, refusal: NotBegun) -> None:
        """The instance did not begin the call on this request, so it may be sent again with the new position and clock.

        Raises `CallForgotten` if an earlier request may have run it, `Busy` if it would be refused again.
        """
        self._target.note_ledger(refusal.data.ledger_position, refusal.data.clock_s)
        if refusal.data.why == "forgotten" and self.call.must_not_be_resent:
            raise refusals.forgotten(self._link)
        if refusal.data.why == "no_room" and not self.call.was_sent:
            raise refusals.short_of_memory(self._link)

    def _may_ask_for_answer_again(self) -> bool:
        """The answer found no memory here, and the instance keeps it under the call's key for another request.

        The ledger keeps no answer of a call that may be repeated: it fails, and its agent can repeat it.
        """
        call, target = self.call, self._target
        if call.repeatable or not target.has_ledger:
            return False
        call.note_unanswered(target.generation)
        return self._caller.loop.time() + ROOM_AGAIN_S < call.due_s

    # The end.

    def _abandon(self) -> None:
        """Stop what it waits for, beside what its lease waits for."""
        task, self._task = self._task, None
        if self.state is CallState.PARKED:
            self._leave_parking()
        elif self._timer is not None:
            self._timer.cancel()
        elif self.state is _SENT:
            self._move(CallEvent.LOST)
            self.call.note_unanswered(self._target.generation)
            if self._lease.connection is not None:
                self._lease.connection.close()  # the answer is still on its way
        if task is not None:
            task.cancel()

    def _fail(self, failure: BaseException, event: CallEvent = CallEvent.FAILED) -> None:
        """Ask the substitute, or end with this error. Never raises."""
        if self.state in ENDED:
            _log.error("call %s has ended, and failed then", self.call.key, exc_info=failure)
            return
        self._abandon()
        error = refusals.known(self.call, failure)
        error.outcome = outcome_of(self.call, error)
        answering = self._ask_substitute(error)
        if answering is None:
            self._finish(event, error)
            return
        self._caller.deadlines.drop(self)
        self._lease.end()
        self._move(CallEvent.REPLACED)
        self._first_error = error
        self._task = self._caller.run(answering, f"substitute for call {self.call.key}")
        self._task.add_done_callback(self._on_substitute)

    def _ask_substitute(self, error: BrummerError) -> Coroutine[Any, Any, bytes | None] | None:
        substitute, self._substitute = self._substitute, None
        try:
            return substitute(error) if substitute is not None else None
        except Exception:  # noqa: BLE001 — a defect there must not cost the answer
            _log.exception("call %s failed, and so did its substitute", self.call.key)
            return None

    def _on_substitute(self, task: "asyncio.Task[bytes | None]") -> None:
        failure = None if task.cancelled() else task.exception()  # as in `_on_asked`
        if task is not self._task:
            return
        self._task = None
        if task.cancelled():
            self._finish(CallEvent.FAILED, self._first_error)
        elif failure is not None:
            self._finish(CallEvent.FAILED, refusals.known(self.call, failure))
        elif (result := task.result()) is not None:
            self._finish(_IS_ANSWERED, result)
        else:
            self._first_error = None
            self._move(CallEvent.RESTARTED)
            self._losses = 0
            self.call.take_time()
            self.start()

    def _finish(self, event: CallEvent, outcome: bytes | BrummerError | None) -> None:
        """The one end: deliver the outcome, release everything, publish the end. Never raises.

        ``outcome`` None: it was cancelled. A run that has ended does not end again.
        """
        after = TRANSITIONS[self.state].get(event)
        if after is None:
            _log.error("call %s can't be %s: it is %s", self.call.key, event, self.state)
            return
        self.state = after
        caller = self._caller
        try:
            if outcome is not None:  # the bookkeeping can wait until the answer is sent
                deliver: Callable[[Any], object] = self._on_result if isinstance(outcome, bytes) else self._on_error
                if self._is_starting:
                    self._delivery = caller.loop.call_soon(deliver, outcome)
                else:
                    deliver(outcome)
        except Exception:  # noqa: BLE001 — the barrier
            _log.exception("the end of call %s could not be delivered", self.call.key)
        try:
            caller.deadlines.drop(self)
            self._lease.close()
            caller.tell(self.call, self._first_error or outcome)
        except Exception:  # noqa: BLE001 — the barrier
            _log.exception("the end of call %s could not be noted", self.call.key)
