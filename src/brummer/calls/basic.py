"""The basic link: one new connection per call, thirty seconds, a poll every five. Nothing is recovered.

`BRUMMER_USE_ROBUST_NETWORKING=false` selects it, for users who suspect that the robust link causes a problem.
Benchmarks and fault tests compare the robust link with it.
"""

import asyncio
from typing import ClassVar, Final

from brummer.calls.call_run import Substitute
from brummer.calls.caller import Deadlines
from brummer.calls.outcomes import is_answer, outcome_of
from brummer.core.errors import BrummerError, TimedOut, TransportError, Unreachable
from brummer.host.real_system import REAL
from brummer.host.system import System
from brummer.link.call import Call
from brummer.link.dialler import connect_timeout_s
from brummer.link.errors import DeadlineExceeded, OutcomeUnknown
from brummer.link.peer import Peer
from brummer.link.state import ENDED, BaseLink, LinkEvent, LinkState
from brummer.link.status import LastError, LinkStatus
from brummer.settings.limits import DEFAULTS, Limits
from brummer.wire.http.connection import HttpConnection

POLL_S: Final = 5.0
TIMEOUT_S: Final = 30.0
"""The deadline of a call to an instance; a foreign server's settings give its own."""


class BasicLink(BaseLink):
    """Replaces a `Link` and its `Caller`. It has no mailbox: events apply at once."""

    is_waited_for: ClassVar[bool] = False

    def __init__(self, target: Peer, limits: Limits = DEFAULTS, system: System = REAL) -> None:
        super().__init__(target, None, system)
        self._sockets = system.sockets
        self._limits = limits
        self._in_flight = 0
        self._deadlines: Deadlines[_Try] = Deadlines(self.loop)

    def retarget(self, target: Peer, reason: str) -> None:
        self.target = target
        self.apply(LinkEvent.RECORD_CHANGED, reason)

    def owner_gone(self, reason: str, *, withdrew: bool = False) -> None:
        if self.state not in ENDED:
            self.apply(LinkEvent.OWNER_WITHDREW if withdrew else LinkEvent.OWNER_GONE, reason)

    async def run(self) -> None:
        """Connect every five seconds, to see whether the peer listens."""
        while True:
            if self.state not in ENDED:
                await self._poll()
            await asyncio.sleep(POLL_S)

    async def call(self, call: Call, substitute: Substitute | None = None) -> bytes:
        """One connection, one try. Raises `BrummerError`, if there is no substitute with an answer."""
        try:
            return await self._tried(call)
        except BrummerError as error:
            answering = substitute(error) if substitute is not None else None
            if answering is None:
                raise
            answer = await answering
        if answer is not None:
            return answer
        call.take_time()
        return await self._tried(call)

    async def close(self) -> None:
        self._deadlines.close()

    def status(self) -> LinkStatus:
        return LinkStatus(
            instance_id=self.target.instance_id,
            state=self.state.shown,
            since_s=self.state_s,
            reason="basic link",
            condition=self.condition,
            last_error=LastError.of(self.last_error),
            connections=self._in_flight,
            in_flight=self._in_flight,
        )

    async def _tried(self, call: Call) -> bytes:
        """Raises `TransportError`, `DeadlineExceeded`, `OutcomeUnknown`."""
        if self.target.has_ledger:
            call.deadline_s = min(call.deadline_s, TIMEOUT_S)
        call.begin(self.loop.time())
        self._in_flight += 1
        attempt = _Try(call, self.loop.create_task(self._once(call)))
        self._deadlines.add(attempt, attempt.due_s)
        try:
            return await attempt.task
        except asyncio.CancelledError:
            if not attempt.has_expired:
                raise
            raise self._judged(call, DeadlineExceeded(f"no answer within {call.deadline_s:g} s")) from None
        except TransportError as error:
            self.last_error = error
            if error.sent and not is_answer(error):
                call.note_unanswered(self.target.generation)
            if call.must_not_be_resent:
                lost = OutcomeUnknown("the connection was lost after the call was sent", cause=error.code)
                raise self._judged(call, lost) from None
            raise self._judged(call, error) from None
        finally:
            self._deadlines.drop(attempt)
            self._in_flight -= 1

    async def _once(self, call: Call) -> bytes:
        connection = await self._connect()
        try:
            return await self.target.ask(connection, call)
        except asyncio.CancelledError:
            call.note_unanswered(self.target.generation)
            raise
        finally:
            connection.close()

    @staticmethod
    def _judged(call: Call, error: BrummerError) -> BrummerError:
        error.outcome = outcome_of(call, error)
        return error

    async def _connect(self) -> HttpConnection:
        return await HttpConnection.open(
            self.target.host,
            self.target.port,
            timeout_s=connect_timeout_s(self.target),
            limit_bytes=self._limits.reply_bytes,
            on_close=lambda _: None,
            tls=self.target.tls,
            sockets=self._sockets,
        )

    async def _poll(self) -> None:
        error: TransportError | None = None
        try:
            (await self._connect()).close()
        except TransportError as failure:
            error = self.last_error = failure
            self.path_is_cut = isinstance(error, TimedOut | Unreachable)
        if self.state in ENDED:  # meanwhile
            return
        if self.state is LinkState.READY:
            if error is not None:
                self.apply(LinkEvent.CONNECTION_LOST, error.message)
        elif error is None:
            self.apply(LinkEvent.DIALLED, "polled")
            self.apply(LinkEvent.PROVEN, "it listens")
        elif self.state is LinkState.DISCOVERED:
            self.apply(LinkEvent.DIALLED, "polled")
            self.apply(LinkEvent.FAILED, error.message)


class _Try:
    """A `brummer.calls.caller.Dated`."""

    def __init__(self, call: Call, task: asyncio.Task[bytes]) -> None:
        self._call = call
        self.task = task
        self.has_expired = False

    @property
    def due_s(self) -> float:
        return self._call.due_s

    def postpone(self, due_s: float) -> None:
        self._call.due_s = max(self._call.due_s, due_s)

    def expire(self) -> None:
        self.has_expired = True
        self.task.cancel()
