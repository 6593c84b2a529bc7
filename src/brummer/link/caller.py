"""The way of a call over a link: admitted, parked, sent, asked for again, answered, or told what is known of it.

A call waits until its link is ready, borrows a connection, and gives it back. If that is lost, the call waits
until the link is ready again. If no byte of it was sent, or if its tool may be repeated, it is simply sent. Else it is
asked for again under its key: the same run of the instance knows whether it ran (`brummer.instance.ledger`). Another
run can't know, so there its outcome is unknown, and it is never sent again.
"""

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Callable
from typing import Final

from brummer.core.errors import BrummerError, TooLarge, TransportError
from brummer.core.events import Hook
from brummer.link.admission import Gate
from brummer.link.call import Call
from brummer.link.deadline import Deadline
from brummer.link.errors import BreakerOpen, DeadlineExceeded, OutcomeUnknown, ParkedTooLong
from brummer.link.link import Link
from brummer.link.outcome import CallEnded, Ending, ending_of_answer, ending_of_error
from brummer.link.state import State
from brummer.wire.http_connection import HttpConnection
from brummer.wire.server import CLIENT_GONE

_log = logging.getLogger(__name__)

PARK_S: Final = 20.0
"""How long a call waits for an instance that is known but not ready: longer than any dev tool's restart."""

CANCEL_WITHIN_S: Final = 60.0
"""How long a cancellation may wait for its way: after that, an instance ends lost calls by itself."""

_numbers = itertools.count(1)
_process = secrets.token_hex(6)


class Caller:
    """Makes calls over one link. One per link; any number of calls at a time."""

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
        self._link = link
        self._gate = gate
        self._is_cut_off = is_cut_off
        self._ended: Hook[CallEnded] = ended or Hook()
        self._loop = asyncio.get_running_loop()
        name = link.target.instance_id
        self.quick = gate.lane(name, limit=gate.limits.in_flight_per_instance)
        self.waiting = gate.lane(name, limit=gate.limits.waiting_per_instance)
        self._background: set[asyncio.Task[None]] = set()
        link.on_gone = self._fail_hopeless

    async def close(self) -> None:
        self._gate.close(self.quick)
        self._gate.close(self.waiting)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def call(self, call: Call) -> bytes:
        """Carry one call to its answer; returns the encoded result object. Raises `BrummerError`."""
        call.key = f"{_process}-{next(_numbers)}"
        started_s = self._loop.time()
        try:
            result = await self._carry(call)
        except BaseException as error:
            self._tell_end(call, started_s, *ending_of_error(error))
            raise
        self._tell_end(call, started_s, ending_of_answer(call, result, ours=self._link.target.has_ledger))
        return result

    def _tell_end(self, call: Call, started_s: float, ending: Ending, code: str = "") -> None:
        took_s = self._loop.time() - started_s
        self._ended.publish(CallEnded(self._link.target.instance_id, call.tool, call.key, ending, code, took_s))

    async def _carry(self, call: Call) -> bytes:
        lane = self.waiting if call.waits else self.quick
        self._ask_breaker()
        try:
            with Deadline(self._loop, call.deadline_s) as deadline:
                call.on_sign_of_life = deadline.extend
                await lane.enter(call.flow)
                try:
                    return await self._until_answered(call)
                finally:
                    lane.leave()
        except TimeoutError:  # the lost connection ends what the call waits for; what it has started stays
            self._count_failure()
            raise self._deadline_exceeded(call) from None
        except asyncio.CancelledError as error:
            self._link.breaker.abandoned()
            if CLIENT_GONE not in error.args:
                self._cancel_in_instance(call)
            raise

    def _ask_breaker(self) -> None:
        """A link that is ready has closed its breaker, so only a call that would have to wait is refused."""
        link = self._link
        if link.state is not State.READY and not link.breaker.admits(self._loop.time()):
            raise self._breaker_open()

    async def _until_answered(self, call: Call) -> bytes:
        link = self._link
        pool = link.connections.waits if call.waits else link.connections.calls
        while True:
            if link.state is not State.READY or not link.connections.calls.size:
                await self._park(call)
            if call.may_have_run and not (link.target.has_ledger and call.sent_to == link.target.generation):
                raise self._outcome_unknown(call)
            link.call_sent()  # to get a connection may be all it takes to wait for ever
            try:
                connection = await pool.acquire()
            except TransportError as error:
                link.distrust(error)
                await self._park(call)
                continue
            try:
                return await self._exchange(connection, call)
            except TransportError as error:
                if not connection.closed or isinstance(
                    error, TooLarge
                ):  # that was an answer, though no good one: to ask again gives it again
                    raise
                link.distrust(error)
                call.befell("connection_lost")
            finally:
                pool.release(connection)

    async def _exchange(self, connection: HttpConnection, call: Call) -> bytes:
        target, started_s = self._link.target, self._loop.time()
        try:
            result = await target.ask(connection, call, started_s)
        except asyncio.CancelledError:
            call.note_sent(target.generation, started_s)
            raise
        except TransportError as error:
            if error.sent:
                call.note_sent(target.generation, started_s)
            raise
        now_s = self._loop.time()
        self._link.call_answered(None if call.waits else now_s - started_s)
        return result

    # Waiting for the link.

    async def _park(self, call: Call) -> None:
        """Wait for the link to become ready. Raises what is known when it does not."""
        link = self._link
        if link.state is State.GONE and call.may_have_run:
            raise self._outcome_unknown(call)
        link.hint()
        with self._gate.parking(link.target.instance_id, may_have_run=call.may_have_run):
            call.was_parked = True
            call.befell("parked")
            if await link.parking.wait(call, PARK_S):
                call.befell("released")
                return
        self._count_failure()
        raise self._parked_too_long(call)

    def _count_failure(self) -> None:
        """Only what a link that is not ready did to a call counts: a tool that is slow breaks nothing.

        Nor does what overlaps a sleep, or hits everybody at once.
        """
        link = self._link
        if link.state is not State.READY and not link.is_settling and not self._is_cut_off():
            link.breaker.failed(self._loop.time())

    def _fail_hopeless(self) -> None:
        """The run that could have told is over: who waits to ask it learns that now, not when the wait is over."""
        self._link.parking.fail(lambda call: self._outcome_unknown(call) if call.may_have_run else None)

    # What is said when it can't be done.

    def _outcome_unknown(self, call: Call) -> OutcomeUnknown:
        link = self._link
        return OutcomeUnknown(
            f"the run of {link.target.instance_id} that the call was sent to has ended, so it may or may not have run;"
            " look at scripts_status and changes_since before you repeat it",
            instance=link.target.instance_id,
            generation=call.sent_to,
            cause=link.last_error and link.last_error.code,
        )

    def _parked_too_long(self, call: Call) -> BrummerError:
        link = self._link
        return ParkedTooLong(
            f"{link.target.instance_id} is {link.state.value} ({link.history[-1].reason if link.history else 'new'})"
            f" and did not become ready within {PARK_S:g} s; {_advice(link)}",
            retry_after_s=1.0,
            outcome="unknown" if call.may_have_run else "not_executed",
            link=link.status(),
        )

    def _breaker_open(self) -> BrummerError:
        link = self._link
        return BreakerOpen(
            f"calls to {link.target.instance_id} failed {link.breaker.failures} times in a row; {_advice(link)}",
            retry_after_s=round(link.breaker.retry_after_s(self._loop.time()), 3),
            link=link.status(),
        )

    def _deadline_exceeded(self, call: Call) -> BrummerError:
        link = self._link
        condition = link.condition
        return DeadlineExceeded(
            f"{link.target.instance_id} did not answer within {call.deadline_s:g} s; its process is {condition}",
            outcome="unknown" if call.may_have_run else "not_executed",
            instance=link.target.instance_id,
            condition=condition,
            state=link.state.value,
        )

    # Cancelling.

    def _cancel_in_instance(self, call: Call) -> None:
        """Have the work of a call stopped that the agent does not want any more."""
        if call.sent_to is not None:
            task = self._loop.create_task(self._send_cancellation(call), name=f"cancel {call.key}")
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _send_cancellation(self, call: Call) -> None:
        """Now, or as soon as the link is ready again; the run that the call was sent to must still be there then."""
        link = self._link
        with contextlib.suppress(TimeoutError, BrummerError):
            async with asyncio.timeout(CANCEL_WITHIN_S):
                if link.state is not State.READY:
                    await link.parking.wait(call, CANCEL_WITHIN_S)
                while call.sent_to == link.target.generation:
                    try:
                        await self._try_cancellation(call)
                    except TransportError as error:
                        link.distrust(error)
                        await link.parking.wait(call, CANCEL_WITHIN_S)
                    else:
                        return
        _log.info("could not cancel call %s in %s", call.key, link.target.instance_id)

    async def _try_cancellation(self, call: Call) -> None:
        """On a connection of its own pool: a cancellation must never queue behind the calls it is about."""
        pool = self._link.connections.cancellations
        connection = await pool.acquire()
        try:
            await self._link.target.cancel(connection, call)
        finally:
            pool.release(connection)


def _advice(link: Link) -> str:
    match link.condition:
        case "stopped":
            return "its process is stopped (SIGSTOP): continue it"
        case "busy" | "idle":
            return "its process lives but does not answer: see its terminal, or restart it"
        case _:
            return "start it with `brum` in its directory, or see hub_status"
