"""The basic link: one new connection per call, thirty seconds, a look every five. Nothing is recovered.

It is what `BRUMMER_USE_ROBUST_NETWORKING=false` switches to: the instant way back if the robust link should ever be the
problem, and the baseline that the benchmarks and the fault tests compare it against.
"""

import asyncio
from typing import Any, Final

from brummer.core.errors import BrummerError, TimedOut, TransportError, Unreachable
from brummer.host.real_system import REAL
from brummer.host.system import System
from brummer.link.call import Call
from brummer.link.connections import connect_timeout_s
from brummer.link.deadline import Deadline
from brummer.link.errors import DeadlineExceeded, OutcomeUnknown
from brummer.link.outcome import is_answer, outcome_of
from brummer.link.peer import Peer
from brummer.link.state import State
from brummer.settings.limits import DEFAULTS, Limits
from brummer.wire.http.connection import HttpConnection

POLL_S: Final = 5.0
TIMEOUT_S: Final = 30.0
"""The deadline of a call to an instance; a foreign server's settings give its own."""


class BasicLink:
    """Stands where a `Link` and its `Caller` stand."""

    def __init__(self, target: Peer, limits: Limits = DEFAULTS, system: System = REAL) -> None:
        self._sockets = system.sockets
        self._elapsed = system.clock.elapsed
        self._loop = asyncio.get_running_loop()
        self.target = target
        self._limits = limits
        self.state = State.DISCOVERED
        self.since_s = self._loop.time()
        self._elapsed_since_s = self._elapsed()
        self.last_error: TransportError | None = None
        self._looked = asyncio.Event()
        self._in_flight = 0

    @property
    def is_failing(self) -> bool:
        return self.state is State.RETRYING

    @property
    def standing(self) -> State:
        return self.state

    @property
    def unready_s(self) -> float:
        return 0.0 if self.state is State.READY else self._elapsed() - self._elapsed_since_s

    @property
    def path_is_cut(self) -> bool:
        return isinstance(self.last_error, TimedOut | Unreachable)

    def retarget(self, target: Peer, reason: str) -> None:  # noqa: ARG002 — the same shape as a `Link`'s
        self.target = target
        self._become(State.DISCOVERED)

    def owner_gone(self, reason: str) -> None:  # noqa: ARG002 — as above
        self._become(State.GONE)

    async def settled(self) -> None:
        await self._looked.wait()

    async def run(self) -> None:
        """Look every five seconds whether somebody listens there."""
        while True:
            if self.state is not State.GONE:
                await self._look()
            self._looked.set()
            await asyncio.sleep(POLL_S)

    async def call(self, call: Call) -> bytes:
        """One connection, one try. Raises `TransportError`, `DeadlineExceeded`, `OutcomeUnknown`."""
        if self.target.has_ledger:
            call.deadline_s = min(call.deadline_s, TIMEOUT_S)
        call.begin("", self._loop.time())
        self._in_flight += 1
        try:
            with Deadline(self._loop, call):
                return await self._once(call)
        except TimeoutError:
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
            self._in_flight -= 1

    async def close(self) -> None:
        """Nothing is kept that would have to be closed."""

    def status(self) -> dict[str, Any]:
        return {
            "instance_id": self.target.instance_id,
            "state": self.state.value,
            "since_s": round(self._elapsed() - self._elapsed_since_s, 3),
            "reason": "basic link",
            "condition": self.target.condition(),
            "last_error": self.last_error and {"code": self.last_error.code, "message": self.last_error.message},
            "attempts": 0,
            "next_retry_s": None,
            "connections": self._in_flight,
            "in_flight": self._in_flight,
            "parked": 0,
            "dials": 0,
        }

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

    async def _look(self) -> None:
        try:
            (await self._connect()).close()
        except TransportError as error:
            self.last_error = error
            self._become(State.RETRYING)
        else:
            self._become(State.READY)

    def _become(self, state: State) -> None:
        if state is not self.state:
            self.state, self.since_s, self._elapsed_since_s = state, self._loop.time(), self._elapsed()
