"""A call with a hub's key runs once, for any number of requests, and survives the loss of its connection.

Only calls that change something go through the ledger; calls that only read are simply sent again. The work of a keyed
call is a task of its own; requests attach to it and may be lost. When the last one is lost, the work continues for a
grace period in which the hub can come back; only a cancellation that names the key stops it at once.

Work that can no longer be answered does not begin. The request may have waited in a socket while this process was
stopped or cut off, and meanwhile its hub has ended the call. Either its deadline has passed: the request contains the
latest time to begin, on our own clock. Or the agent cancelled it: then the hub has closed the connection, or its
cancellation arrives before the call.
"""

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final

import msgspec

from brummer.core.errors import BrummerError, Outcome
from brummer.core.events import Hook
from brummer.core.lost_calls import LOST_CALL_GRACE_S
from brummer.host.clocks import elapsed
from brummer.instance.ledger import Ledger, LedgerEntry
from brummer.wire.mcp.jsonrpc import NOT_BEGUN, ProtocolError
from brummer.wire.mcp.not_begun import NotBegunData, Why
from brummer.wire.mcp.server import CLIENT_GONE, Meta, ToolCall, ToolServer
from brummer.wire.mcp.tools import failed

RELIEVING: Final = frozenset({"scripts_stop", "scripts_status"})
"""Never refused, so that a person or an agent can always find and stop what takes the memory."""


class CallCancelled(BrummerError):
    """The caller cancelled the call; what it had done by then stays done."""

    code = "cancelled"
    default_outcome: ClassVar[Outcome] = "unknown"


class DidNotBegin(ProtocolError):
    """The instance did not begin the call on this request. The hub decides whether to send the call again."""

    def __init__(self, data: NotBegunData, request_id: bytes) -> None:
        fields = msgspec.to_builtins(data)
        super().__init__(NOT_BEGUN, "The call was not begun", request_id=request_id, data=fields, http_status=200)


class KeyedCalls:
    """A `ToolServer` around another one. ``reading`` names the tools that need no ledger, since they only read.

    ``admit`` raises if the instance takes no new work; requests for running work are served all the same, and so is
    stopping a script, which frees memory. ``clock`` is the clock that hubs know; it includes the machine's sleep.
    """

    def __init__(
        self,
        tools: ToolServer,
        reading: frozenset[str],
        ledger: Ledger | None = None,
        admit: Callable[[float], None] = lambda _: None,
        clock: Callable[[], float] = elapsed,
        *,
        grace_s: float = LOST_CALL_GRACE_S,
    ) -> None:
        self._admit = admit
        self._tools = tools
        self._reading = reading
        self._clock = clock
        self._grace_s = grace_s
        self.ledger = Ledger() if ledger is None else ledger  # an empty one is false
        self._works: dict[str, _Work] = {}
        self._reads: set[str] = set()
        self._loop = asyncio.get_running_loop()

    @property
    def tools_json(self) -> bytes:
        return self._tools.tools_json

    def has_tool(self, name: str) -> bool:
        return self._tools.has_tool(name)

    @property
    def running(self) -> int:
        """Calls of hubs that run now."""
        return len(self._works) + len(self._reads)

    async def call_tool(self, call: ToolCall) -> bytes:
        """Raises `DidNotBegin`."""
        key = call.request.params.meta.call_key
        if key is None:
            try:
                self._ask_for_room(call)
            except BrummerError as error:
                return failed(error)
            return await self._tools.call_tool(call)
        if call.name in self._reading:
            if not self._has_room(call):  # refuses this request only: an earlier one may have run the tool
                raise self._not_begun("no_room", call)
            self._reads.add(key)
            try:
                return await self._tools.call_tool(call)
            finally:
                self._reads.discard(key)
        work = self._work(key, call)
        return work if isinstance(work, bytes) else await work.attach(call)

    def cancel_call(self, key: str) -> bool:
        """Stop the work of this key, or prevent it from beginning. False: it only reads, and ends with its request."""
        if key in self._reads:
            return False
        work = self._works.get(key)
        if work is not None:
            work.cancel()
        elif self.ledger.find(key) is None:
            self._close(self.ledger.open(key), failed(_never_begun()))
        return True

    async def close(self) -> None:
        """Stop all of it."""
        works = list(self._works.values())
        for work in works:
            work.cancel()
        if works:
            await asyncio.wait([work.task for work in works])

    def _ask_for_room(self, call: ToolCall) -> None:
        if call.name not in RELIEVING:
            self._admit(self._loop.time())

    def _has_room(self, call: ToolCall) -> bool:
        try:
            self._ask_for_room(call)
        except BrummerError:
            return False
        return True

    def _not_begun(self, why: Why, call: ToolCall) -> DidNotBegin:
        return DidNotBegin(NotBegunData(why, self.ledger.position, self._clock()), call.request.id)

    def _work(self, key: str, call: ToolCall) -> "_Work | bytes":
        """The running work of this key, or its result, or new work. Raises `DidNotBegin`."""
        if key in self._works:
            return self._works[key]
        known = self.ledger.find(key)
        if known is not None and known.result is not None:
            return known.result
        if (why := self._why_not(call)) is not None:
            raise self._not_begun(why, call)
        entry = self.ledger.open(key)
        work = self._works[key] = _Work(call, self._grace_s)
        work.task = self._loop.create_task(self._run(work, entry, call), name=f"call {key}")
        return work

    def _why_not(self, call: ToolCall) -> Why | None:
        """Why this request must not begin the call. ``forgotten`` comes first: only then the call may have run."""
        meta: Meta = call.request.params.meta
        if meta.ledger_position is not None and self.ledger.may_have_forgotten(meta.ledger_position):
            return "forgotten"
        if meta.begin_by_s is not None and self._clock() > meta.begin_by_s:
            return "late"
        if call.request.sender_hung_up():
            return "hung_up"
        return None if self._has_room(call) else "no_room"

    def _close(self, entry: LedgerEntry, result: bytes) -> None:
        self.ledger.close(entry, result, self._loop.time())

    async def _run(self, work: "_Work", entry: LedgerEntry, call: ToolCall) -> bytes:
        begins = work.begin()
        result = failed(CallCancelled("the call was cancelled") if begins else _never_begun())
        try:
            if begins:
                result = await self._tools.call_tool(ToolCall(call.name, call.arguments, work.request))
        except asyncio.CancelledError:
            pass  # the result reports it to the requests that still wait
        finally:
            work.end()
            self._close(entry, result)
            del self._works[entry.key]
        return result


def _never_begun() -> CallCancelled:
    return CallCancelled("the call was cancelled before it began", outcome="not_executed")


class _Work:
    """A running call and the requests that wait for it."""

    task: asyncio.Task[bytes]

    def __init__(self, call: ToolCall, grace_s: float) -> None:
        self._grace_s = grace_s
        self._attached = 0
        self._has_begun = self._is_cancelled = False
        self._messages: Hook[bytes] = Hook()
        self._grace: asyncio.TimerHandle | None = None
        self.request = call.request.with_notify(self._messages.publish)

    async def attach(self, call: ToolCall) -> bytes:
        """Wait for the result, and pass on progress until then; a cancellation only detaches."""
        self._stop_grace()
        self._attached += 1
        detach = self._messages.subscribe(call.request.notify)
        try:
            return await asyncio.shield(self.task)
        finally:
            self._attached -= 1
            detach()
            if not self._attached and not self.task.done():
                self._grace = asyncio.get_running_loop().call_later(self._grace_s, self.task.cancel, CLIENT_GONE)

    def begin(self) -> bool:
        """Called at the start of its task; False if it was cancelled before."""
        self._has_begun = True
        return not self._is_cancelled

    def cancel(self) -> None:
        """Cancel the work. A task cancelled before its first step would not close the ledger's entry, so set a flag."""
        self._is_cancelled = True
        if self._has_begun:
            self.task.cancel()

    def end(self) -> None:
        self._stop_grace()

    def _stop_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
