"""The counts of an instance since its start: of calls, and of the changes of its scripts. `metrics` shows them."""

import asyncio
from collections import Counter
from typing import Final

from brummer.core.events import CALL_S, Histogram
from brummer.core.memory import Memory
from brummer.instance.changes import Published
from brummer.instance.ledger import Ledger
from brummer.instance.manager import Manager
from brummer.wire.mcp.jsonrpc import ProtocolError
from brummer.wire.mcp.server import ToolCall, ToolServer

FAILED: Final = b'"isError":true}'
"""How `brummer.wire.mcp.tools` ends a failed result."""

FAMILIES_PATH: Final = b"/metrics.json"
"""The path of an instance's metrics, on its own port; the token is needed."""


class CountedCalls:
    """A `ToolServer` around the one that does the work, and the count of what went through."""

    def __init__(self, tools: ToolServer) -> None:
        self._tools = tools
        self._loop = asyncio.get_running_loop()
        self.tools_json = tools.tools_json
        self.has_tool = tools.has_tool
        self.cancel_call = tools.cancel_call
        self.ended: Counter[tuple[str, str]] = Counter()
        self.durations: dict[str, Histogram] = {}
        self.running = 0

    @property
    def count(self) -> int:
        """Calls that have ended."""
        return self.ended.total()

    async def call_tool(self, call: ToolCall) -> bytes:
        started_s, outcome = self._loop.time(), "cancelled"
        self.running += 1
        try:
            result = await self._tools.call_tool(call)
            outcome = "tool_error" if result.endswith(FAILED) else "ok"
            return result
        except ProtocolError:
            outcome = "not_begun"
            raise
        finally:
            self.running -= 1
            self._count(call.name, outcome, self._loop.time() - started_s)

    def _count(self, tool: str, outcome: str, took_s: float) -> None:
        """Its tools are a fixed table, so that their names need no other bound."""
        self.ended[tool, outcome] += 1
        if tool not in self.durations:
            self.durations[tool] = Histogram(CALL_S)
        self.durations[tool].observe(took_s)


class Counting:
    """All counts, and the objects whose state is read when the metrics are requested."""

    def __init__(self, manager: Manager, calls: CountedCalls, ledger: Ledger, memory: Memory) -> None:
        self.manager = manager
        self.calls = calls
        self.ledger = ledger
        self.memory = memory
        self.script_events: Counter[str] = Counter()
        self.restarts = 0
        manager.changes.listen(self._changed)

    def _changed(self, published: Published) -> None:
        kind = published.change.kind
        self.script_events[kind] += 1
        self.restarts += kind == "started" and not published.run.process_id.endswith("-1")
