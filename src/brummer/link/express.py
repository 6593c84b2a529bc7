"""The short way of a call: one that has nothing to wait for but its turn and its answer needs no task.

Nearly every call goes this way: its link is ready and a connection is at hand, so it is sent on the spot, and the
answer goes out in the turn of the loop in which it came in. Whatever else happens (the connection is lost, none is
at hand, the link is not ready when its turn comes) is left to `caller`, which carries the call on as a task. Deadline,
place, key and cancellation are the same on both ways; a task, and what waits in it, is a third of what a call costs us.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any, cast

from brummer.core.errors import BrummerError, TransportError
from brummer.link import refusals
from brummer.link.call import Answers, Call
from brummer.link.caller import Caller
from brummer.link.errors import Busy, NotBegun
from brummer.link.outcome import is_answer
from brummer.link.peer import Peer
from brummer.link.state import State
from brummer.wire.http.connection import HttpConnection, Response
from brummer.wire.mcp.server import RunningCall
from brummer.wire.mcp.tools import failed

_log = logging.getLogger(__name__)


Instead = Callable[[BrummerError], Coroutine[Any, Any, bytes] | None]
"""Who answers a call that failed like this; None where nobody else can."""


def send(
    caller: Caller, call: Call, done: Callable[[bytes], None], instead: Instead | None = None
) -> RunningCall | None:
    """Send the call, or queue it, if it can take the short way; else None. Raises `Busy`.

    ``done`` gets the result object, later, unless the call is cancelled; a failure is a result, too.
    """
    link = caller.link
    if link.state is not State.READY or not link.target.is_direct or not caller.may_send_now:
        return None
    return Express(caller, call, done, instead)


class Express(RunningCall):
    """One such call. It holds a place from its turn on, and a connection while it is on the wire."""

    __slots__ = (
        "_answers", "_call", "_caller", "_connection", "_done", "_instead", "_is_over", "_lane",
        "_pool", "_sent_s", "_target", "_task",
    )  # fmt: skip

    _answers: Answers
    _target: Peer
    _sent_s: float

    def __init__(self, caller: Caller, call: Call, done: Callable[[bytes], None], instead: Instead | None) -> None:
        self._caller = caller
        self._call = call
        self._done = done
        self._instead = instead
        self._connection: HttpConnection | None = None
        self._task: asyncio.Task[bytes] | None = None
        self._is_over = False
        self._lane, self._pool = caller.way_of(call)
        caller.begin(call)
        at_once = self._lane.slots.take()
        if not at_once:
            try:
                self._lane.queue(call.flow, self._on_turn)
            except Busy as refusal:
                raise caller.failed(call, refusal) from None
        caller.deadlines.add(self)
        if at_once:
            self._send()

    @property
    def due_s(self) -> float:
        return self._call.due_s

    @due_s.setter
    def due_s(self, due_s: float) -> None:
        self._call.due_s = due_s

    def cancel(self, message: str | None = None) -> None:
        """The answer is not needed any more; with `brummer.wire.mcp.server.CLIENT_GONE` the work continues."""
        if self._is_over:
            return
        if self._task is None:
            self._let_go()
            self._caller.tell_cancelled(self._call)
        else:
            self._is_over = True
            way = cast("Coroutine[Any, Any, bytes]", self._task.get_coro())
            has_begun = inspect.getcoroutinestate(way) != inspect.CORO_CREATED
            self._task.cancel(message)
            if has_begun:  # else its code never sees the cancellation
                return
        self._caller.given_up(self._call, message)

    def expire(self) -> None:
        """Its deadline has passed."""
        self._let_go()
        failure: Exception
        try:
            self._caller.count_failure()
            failure = refusals.deadline_exceeded(self._caller.link, self._call)
        except Exception as error:  # noqa: BLE001 — also a call without an explanation must be answered
            failure = error
        self._fail(failure)

    def _on_turn(self) -> bool:
        self._send()
        return True

    def _send(self) -> None:
        """Send it if a connection is at hand; it has a place now."""
        caller, call = self._caller, self._call
        link = caller.link
        target = link.target
        connection = self._pool.take_idle() if link.state is State.READY else None
        prepared = None if connection is None else target.request(connection, call)
        if connection is None or prepared is None:
            self._carry_on()
            return
        self._connection, self._target, self._sent_s = connection, target, caller.loop.time()
        request, self._answers = prepared
        try:
            connection.send(request, self._on_answer, self._answers.on_event)
        except TransportError as error:
            self._on_answer(error)
        link.call_sent(self._sent_s)

    def _on_answer(self, outcome: Response | TransportError) -> None:
        connection = self._connection
        if self._is_over or connection is None:
            return
        if isinstance(outcome, TransportError):
            self._on_failure(connection, outcome)
            return
        try:
            result = self._answers.result(outcome)
        except Exception as error:  # noqa: BLE001 — a defect costs one call, never the connection to the agent
            self._on_failure(connection, error)
            return
        caller, call = self._caller, self._call
        now_s = caller.loop.time()
        self._is_over = True
        try:
            self._done(result)  # our books can wait until the answer is out
        finally:
            self._end(connection)
            caller.link.call_answered(None if call.waits else now_s - self._sent_s)
            caller.tell_answer(call, result)

    def _on_failure(self, connection: HttpConnection, failure: Exception) -> None:
        if isinstance(failure, TransportError) and not is_answer(failure):
            self._on_lost(connection, failure)
            return
        if self._caller.asks_for_answer_again(self._call, failure):
            self._give_back()
            self._carry_on()
            return
        if isinstance(failure, NotBegun):
            try:
                self._caller.take_refusal(self._call, failure)
            except BrummerError as error:
                failure = error
            else:
                self._give_back()
                self._carry_on()
                return
        self._is_over = True
        self._end(connection)
        self._fail(failure)

    def _end(self, connection: HttpConnection) -> None:
        """Give back all that it held."""
        self._connection = None
        self._pool.release(connection)
        self._caller.deadlines.drop(self)
        self._lane.leave()

    def _on_lost(self, connection: HttpConnection, error: TransportError) -> None:
        connection.close()
        if error.sent:
            self._call.note_unanswered(self._target.generation)
        self._caller.link.distrust(error)
        self._call.befell("connection_lost")
        self._give_back()
        self._carry_on()

    def _carry_on(self) -> None:
        """The rest of its way is the long one; its place stays its own."""
        self._caller.deadlines.drop(self)
        self._task = self._caller.carry_on(self._call)
        self._task.add_done_callback(self._on_carried)

    def _on_carried(self, task: asyncio.Task[bytes]) -> None:
        self._lane.leave()
        error = None if task.cancelled() else task.exception()  # looked at even if over, else asyncio complains of it
        if self._is_over or task.cancelled():
            self._caller.tell_cancelled(self._call)
            return
        self._is_over = True
        if error is not None:
            self._fail(error)
            return
        self._caller.tell_answer(self._call, task.result())
        self._done(task.result())

    def _fail(self, failure: BaseException) -> None:
        """Tell of it, unless somebody else can answer."""
        error = self._caller.failed(self._call, failure)
        answering = self._substitute(error)
        if answering is None:
            self._done(failed(error))
            return
        self._is_over = False
        self._task = self._caller.run(answering, f"instead of call {self._call.key}")
        self._task.add_done_callback(self._on_answered_instead)

    def _substitute(self, error: BrummerError) -> Coroutine[Any, Any, bytes] | None:
        try:
            return self._instead(error) if self._instead is not None else None
        except Exception:  # noqa: BLE001 — a defect there must not cost the answer
            _log.exception("call %s failed, and so did its substitute", self._call.key)
            self._caller.tell_error(self._call, error)
            return None

    def _on_answered_instead(self, task: asyncio.Task[bytes]) -> None:
        error = None if task.cancelled() else task.exception()
        if self._is_over or task.cancelled():
            return
        self._is_over = True
        self._done(task.result() if error is None else failed(refusals.known(self._call, error)))

    def _let_go(self) -> None:
        """Whatever comes of it concerns nobody any more."""
        self._is_over = True
        self._caller.deadlines.drop(self)
        if self._connection is None:
            self._lane.slots.leave(self._call.flow, self._on_turn)
            return
        self._call.note_unanswered(self._target.generation)
        self._connection.close()  # the answer is still on its way
        self._give_back()
        self._lane.leave()

    def _give_back(self) -> None:
        if self._connection is not None:
            self._pool.release(self._connection)
            self._connection = None
