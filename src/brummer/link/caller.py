"""The way of a call over a link: admitted, parked, sent, asked for again, answered, or told what is known of it.

A call waits until its link is ready, borrows a connection, and gives it back. If that is lost, the call waits
until the link is ready again. If no byte of it was sent, or if its tool may be repeated, it is simply sent. Else it is
asked for again under its key: the same run of the instance knows whether it ran (`brummer.instance.ledger`). Another
run can't know, so there its outcome is unknown, and it is never sent again.

A call that has nothing to wait for but its answer takes the short way (`express`), which is the same without a task.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar, Final

from brummer.core.errors import BrummerError, NoRoom, TransportError
from brummer.core.events import Hook
from brummer.link import refusals
from brummer.link.admission import Gate, Lane
from brummer.link.call import Call
from brummer.link.cancellations import Cancellations
from brummer.link.deadline import Deadline, Deadlines
from brummer.link.errors import COME_BACK_S, Busy, NotBegun
from brummer.link.link import Link
from brummer.link.outcome import (
    CallEnded,
    Ending,
    ending_of_answer,
    ending_of_error,
    is_answer,
    is_unanswered,
    outcome_of,
)
from brummer.link.pool import Pool
from brummer.link.state import ENDED, State
from brummer.wire.http.connection import HttpConnection
from brummer.wire.mcp.server import CLIENT_GONE

SENT_AT_ONCE: Final = 4
"""So often a call is sent, whatever becomes of the connections; then the link is asked before each time, twice a second
at the most: a server that drops every connection on this very call must fill neither its core nor ours.
"""

ROOM_AGAIN_S: Final = 1.0
"""The pause before an answer that found no memory here is asked for again: large answers under way last about so long.
"""


class Caller:
    """Makes calls over one link. One per link; any number of calls at a time."""

    may_send_now: ClassVar[bool] = True
    """Whether calls may take the short way."""

    def __init__(
        self,
        link: Link,
        gate: Gate,
        is_cut_off: Callable[[], bool] = lambda: False,
        ended: Hook[CallEnded] | None = None,
    ) -> None:
        """``is_cut_off`` tells whether everybody seems to fail: then the fault is rather ours, and nobody is blamed.

        ``ended`` is told of every call.
        """
        self.link = link
        self._gate = gate
        self._is_cut_off = is_cut_off
        self._ended: Hook[CallEnded] = ended or Hook()
        self.loop = asyncio.get_running_loop()
        name = link.target.instance_id
        self.quick = gate.lane(name, limit=gate.limits.in_flight_per_instance)
        self.waiting = gate.lane(name, limit=gate.limits.waiting_per_instance)
        self.cancellations = Cancellations(link)
        self.deadlines = Deadlines(self.loop)
        """Of the calls on the short way."""
        self._carried_on: dict[asyncio.Task[bytes], None] = {}
        link.on_gone = self._fail_hopeless

    async def close(self) -> None:
        self._gate.close(self.quick)
        self._gate.close(self.waiting)
        self.deadlines.close()
        for task in self._carried_on:
            task.cancel(CLIENT_GONE)
        await asyncio.gather(*self._carried_on, return_exceptions=True)
        await self.cancellations.close()

    @property
    def is_waited_for(self) -> bool:
        """A call waits for the link, or for the substitute of its instance."""
        return bool(self._carried_on) or len(self.link.parking) > 0

    async def call(self, call: Call) -> bytes:
        """Carry one call to its answer; returns the encoded result object. Raises `BrummerError`."""
        self.begin(call)
        try:
            self._ask_breaker()
            result = await self._in_time(call, self._in_turn)
        except asyncio.CancelledError:
            self.tell_cancelled(call)
            raise
        except Exception as failure:  # noqa: BLE001 — a defect becomes a `BrummerError` with an outcome
            error = self.failed(call, failure)
            raise error from (None if error is failure else failure)
        self.tell_answer(call, result)
        return result

    def carry_on(self, call: Call) -> asyncio.Task[bytes]:
        """A task that carries on a call that has a slot and has begun; for its errors see `failed`."""
        return self.run(self._in_time(call, self._until_answered), f"call {call.key}")

    def run(self, work: Coroutine[Any, Any, bytes], name: str) -> asyncio.Task[bytes]:
        """What belongs to a call on the short way and takes a task after all; it ends with us."""
        task = self.loop.create_task(work, name=name)
        self._carried_on[task] = None
        task.add_done_callback(self._carried_on.pop)
        return task

    def begin(self, call: Call) -> None:
        """Start its deadline and give it a key; one of `tell_answer`, `tell_cancelled` and `failed` must follow."""
        call.begin(self._gate.next_key(), self.loop.time())

    def tell_answer(self, call: Call, result: bytes) -> None:
        """It was answered."""
        ending, code = ending_of_answer(call, result, ours=self.link.target.has_ledger)
        self._tell_end(call, ending, code)

    def tell_cancelled(self, call: Call) -> None:
        self._tell_end(call, "cancelled", "cancelled")

    def given_up(self, call: Call, message: str | None = None) -> None:
        """The call is not waited for any more. ``message``: with `CLIENT_GONE` its work continues."""
        self.link.breaker.abandoned()
        if message != CLIENT_GONE:
            self.cancellations.send(call)

    def failed(self, call: Call, failure: BaseException) -> BrummerError:
        """The error with which the call ends. Raises nothing."""
        error = refusals.known(call, failure)
        error.outcome = outcome_of(call, error)
        if not (call.has_substitute and is_unanswered(error)):
            self.tell_error(call, error)
        return error

    def tell_error(self, call: Call, error: BrummerError) -> None:
        self._tell_end(call, *ending_of_error(error))

    def _tell_end(self, call: Call, ending: Ending, code: str) -> None:
        took_s = self.loop.time() - call.started_s
        self._ended.publish(CallEnded(self.link.target.instance_id, call.tool, call.key, ending, code, took_s))

    def way_of(self, call: Call) -> tuple[Lane, Pool]:
        """Where it waits its turn, and for what."""
        connections = self.link.connections
        return (self.waiting, connections.waits) if call.waits else (self.quick, connections.calls)

    async def _in_time(self, call: Call, way: Callable[[Call], Awaitable[bytes]]) -> bytes:
        try:
            with Deadline(self.loop, call):
                return await way(call)
        except TimeoutError:  # the lost connection ends what the call waits for; what it has started stays
            self.count_failure()
            raise refusals.deadline_exceeded(self.link, call) from None
        except asyncio.CancelledError as error:
            self.given_up(call, *error.args)
            raise

    async def _in_turn(self, call: Call) -> bytes:
        lane, _ = self.way_of(call)
        await lane.enter(call.flow)
        try:
            return await self._until_answered(call)
        finally:
            lane.leave()

    def _ask_breaker(self) -> None:
        """A link that is ready has closed its breaker, so only a call that would have to wait is refused."""
        link, now_s = self.link, self.loop.time()
        if link.state is not State.READY and not link.breaker.admits(now_s):
            raise refusals.breaker_open(link, now_s)

    async def _until_answered(self, call: Call) -> bytes:
        link = self.link
        _, pool = self.way_of(call)
        lost = 0
        while True:
            if link.state is not State.READY or link.connections.are_lost or lost >= SENT_AT_ONCE:
                await self._park(call)
            self._ask_only_the_run_that_knows(call)
            link.call_sent(self.loop.time())  # to get a connection may be all it takes to wait for ever
            connection = await self._connection(pool, call)
            if connection is None:
                continue
            try:
                self._ask_only_the_run_that_knows(call)  # another may have come while we waited for the connection
                return await self._exchange(connection, call)
            except NotBegun as refusal:
                self.take_refusal(call, refusal)
                lost += 1
            except NoRoom as error:
                if not self.asks_for_answer_again(call, error):
                    raise
                await asyncio.sleep(ROOM_AGAIN_S)
            except TransportError as error:
                if is_answer(error):
                    raise
                lost += 1
                connection.close()
                link.distrust(error)
                call.befell("connection_lost")
            finally:
                pool.release(connection)

    async def _connection(self, pool: Pool, call: Call) -> HttpConnection | None:
        """A connection for it; None after a wait, when another attempt may get one. Raises `BrummerError`."""
        try:
            return await pool.acquire()
        except Busy as error:
            if not call.was_sent:
                raise
            await asyncio.sleep(error.retry_after_s or 0.0)  # only by asking again can it learn its result
        except TransportError as error:
            if is_answer(error):  # to the handshake of a further connection: the server is there, but refuses
                await _come_back(call, error)
            else:
                self.link.distrust(error)
                await self._park(call)
        return None

    def _ask_only_the_run_that_knows(self, call: Call) -> None:
        """Whether it ran. Raises `OutcomeUnknown` where that can't be told any more."""
        target = self.link.target
        if call.must_not_be_resent and not (target.has_ledger and call.sent_to == target.generation):
            raise refusals.outcome_unknown(self.link, call)

    def take_refusal(self, call: Call, refusal: NotBegun) -> None:
        """The instance did not begin the call on this request, so it may be sent again with the new position and clock.

        Raises CallForgotten if an earlier request may have run it, Busy if it would be refused again.
        """
        self.link.target.note_ledger(refusal.data.ledger_position, refusal.data.clock_s)
        if refusal.data.why == "forgotten" and call.must_not_be_resent:
            raise refusals.forgotten(self.link)
        if refusal.data.why == "no_room" and not call.was_sent:
            raise refusals.short_of_memory(self.link)

    def asks_for_answer_again(self, call: Call, error: Exception) -> bool:
        """Whether the answer found no memory here, and the instance keeps it under the call's key for another request.

        The ledger keeps no answer of a call that may be repeated: it fails, and its agent can repeat it.
        """
        target = self.link.target
        if not isinstance(error, NoRoom) or call.repeatable or not target.has_ledger:
            return False
        call.note_unanswered(target.generation)
        return self.loop.time() + ROOM_AGAIN_S < call.due_s

    async def _exchange(self, connection: HttpConnection, call: Call) -> bytes:
        target, started_s = self.link.target, self.loop.time()
        try:
            result = await target.ask(connection, call)
        except asyncio.CancelledError:
            call.note_unanswered(target.generation)
            raise
        except TransportError as error:
            if error.sent and not is_answer(error):
                call.note_unanswered(target.generation)
            raise
        now_s = self.loop.time()
        self.link.call_answered(None if call.waits else now_s - started_s)
        return result

    async def _park(self, call: Call) -> None:
        """Wait for the link to become ready. Raises what is known when it does not."""
        link = self.link
        if link.state in ENDED and (hopeless := self._hopeless(call)):
            raise hopeless
        link.hint()
        with self._gate.parking(link.target.instance_id, may_have_run=call.was_sent):
            call.was_parked = True
            call.befell("parked")
            if await link.parking.wait(call, None if call.was_sent else refusals.PARK_S):
                call.befell("released")
                return
        self.count_failure()
        raise refusals.parked_too_long(link, call)

    def count_failure(self) -> None:
        """Only what a link that is not ready did to a call counts: a tool that is slow breaks nothing.

        Nor does what overlaps a sleep, or hits everybody at once.
        """
        link = self.link
        if link.state is not State.READY and not link.is_settling and not self._is_cut_off():
            link.breaker.failed(self.loop.time())

    def _fail_hopeless(self) -> None:
        """The run that could have told is over: who waits to ask it learns that now, not when the wait is over."""
        self.link.parking.fail(self._hopeless)

    def _hopeless(self, call: Call) -> BrummerError | None:
        """Why a call need not wait for an instance that is gone; None when another run of it can answer."""
        if call.must_not_be_resent:
            return refusals.outcome_unknown(self.link, call)
        return None if call.waits_for_return else refusals.gone(self.link)


async def _come_back(call: Call, refusal: TransportError) -> None:
    """Wait for the time that the server has set. Raises the refusal if all such waits together are too long."""
    wait_s = refusal.retry_after_s or 0.0
    if not refusal.transient or not 0 < wait_s <= min(COME_BACK_S, call.deadline_s) - call.refused_s:
        raise refusal
    await asyncio.sleep(wait_s)
    call.refused_s += wait_s
    call.extend_deadline()
