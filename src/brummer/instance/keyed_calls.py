"""Calls that carry a hub's key run once, whoever asks and however often; their lost connection is not their end.

Only calls that change something go through the ledger: the others are simply asked again. The work of a keyed call is
a task of its own; requests attach to it and may be lost. When the last one is lost, the work goes on for a grace period
in which the hub can come back; only a cancellation that names the key stops it at once.
"""

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final

from brummer.core.errors import BrummerError, Outcome
from brummer.instance.ledger import Entry, Ledger
from brummer.wire.server import CLIENT_GONE, ToolCall, ToolServer
from brummer.wire.toolbox import failed

RELIEVING: Final = frozenset({"scripts_stop", "scripts_status"})
"""Never refused: what takes memory can be found and stopped."""

GRACE_S: Final = 60.0
"""A hub that lost its connection is back within the cap of its backoff, four times over."""


class CallCancelled(BrummerError):
    """The caller cancelled the call; what it had done by then stays done."""

    code = "cancelled"
    default_outcome: ClassVar[Outcome] = "unknown"


class KeyedCalls:
    """A `ToolServer` around another one. ``repeatable`` names the tools that need no ledger.

    ``admit`` raises where no new work can be taken; what runs already can be asked for all the same, and stopping a
    script is what makes room.
    """

    def __init__(
        self,
        tools: ToolServer,
        repeatable: frozenset[str],
        ledger: Ledger | None = None,
        admit: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._admit = admit
        self._tools = tools
        self._repeatable = repeatable
        self.ledger = Ledger() if ledger is None else ledger  # an empty one is false
        self._works: dict[str, _Work] = {}
        self._loop = asyncio.get_running_loop()

    @property
    def tools_json(self) -> bytes:
        return self._tools.tools_json

    def has_tool(self, name: str) -> bool:
        return self._tools.has_tool(name)

    async def call_tool(self, call: ToolCall) -> bytes:
        key = call.request.params.meta.call_key
        try:
            if key is None or call.name in self._repeatable:
                self._ask_for_room(call)
                return await self._tools.call_tool(call)
            work = self._work(key, call)
        except BrummerError as error:
            return failed(error)
        return work if isinstance(work, bytes) else await work.attach(call)

    def cancel_call(self, key: str) -> bool:
        """Stop the work of this key now; False when none runs."""
        work = self._works.get(key)
        if work is not None:
            work.task.cancel()
        return work is not None

    async def close(self) -> None:
        """Stop all of it."""
        tasks = [work.task for work in self._works.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ask_for_room(self, call: ToolCall) -> None:
        if call.name not in RELIEVING:
            self._admit(self._loop.time())

    def _work(self, key: str, call: ToolCall) -> "_Work | bytes":
        """What runs under this key, or what it came to, or a new run. Raises CallForgotten."""
        if key in self._works:
            return self._works[key]
        known = self.ledger.find(key)
        if known is not None and known.result is not None:
            return known.result
        self._ask_for_room(call)
        now_s = self._loop.time()
        entry = self.ledger.open(key, now_s, now_s - call.request.params.meta.sent_s_ago)
        work = self._works[key] = _Work(call)
        work.task = self._loop.create_task(self._run(work, entry, call), name=f"call {key}")
        return work

    async def _run(self, work: "_Work", entry: Entry, call: ToolCall) -> bytes:
        result = failed(CallCancelled("the call was cancelled"))
        try:
            result = await self._tools.call_tool(ToolCall(call.name, call.arguments, work.request))
        except asyncio.CancelledError:
            pass  # the result says so, to whoever is still there to read it
        finally:
            work.end()
            self.ledger.close(entry, result, self._loop.time())
            del self._works[entry.key]
        return result


class _Work:
    """A running call and the requests that wait for it."""

    task: asyncio.Task[bytes]

    def __init__(self, call: ToolCall) -> None:
        self._attached: dict[int, ToolCall] = {}
        self._grace: asyncio.TimerHandle | None = None
        self.request = call.request.with_notify(self._notify)

    async def attach(self, call: ToolCall) -> bytes:
        """Wait for the result; being cancelled only detaches."""
        self._stop_grace()
        self._attached[id(call)] = call
        try:
            return await asyncio.shield(self.task)
        finally:
            del self._attached[id(call)]
            if not self._attached and not self.task.done():
                self._grace = asyncio.get_running_loop().call_later(GRACE_S, self.task.cancel, CLIENT_GONE)

    def end(self) -> None:
        self._stop_grace()

    def _stop_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _notify(self, message: bytes) -> None:
        """Progress goes to everybody who waits now."""
        for call in self._attached.values():
            call.request.notify(message)
