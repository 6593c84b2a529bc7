"""Tools of a throw-away instance that the tests of limits call: they hold calls, take or return much, count."""

import asyncio
from typing import Any, Final

import msgspec

from brummer.contract.tools import BY_NAME
from brummer.limit_tests.signal import Signal
from brummer.wire.mcp.server import ToolCall
from brummer.wire.mcp.tools import Content, Tool

HOLD: Final = "hold"
FAST: Final = "scripts_list"
WAITING: Final = "wait_for"
"""Tools that hold their calls. The last two replace tools of the instance: a hub has a fast path for the tools that it
knows, and other limits for calls that wait.
"""
PRODUCE: Final = "produce"
TAKE: Final = "take"


class _Anything(msgspec.Struct):
    size: int = 0


class HeldCalls:
    """Holds calls until they are released; it may serve several instances. ``changed`` fires when a call arrives."""

    def __init__(self, changed: Signal) -> None:
        self._changed = changed
        self._released = asyncio.Event()
        self.count = 0
        """Calls that are held now."""
        self.most = 0
        """The most that were held at once."""
        self.runs = 0
        """Runs of the tool `PRODUCE`."""

    def release(self) -> None:
        """Release all held calls, and all later ones."""
        self._released.set()

    def tools(self) -> list[Tool]:
        """The tools, for an instance."""
        ours = [BY_NAME[name].as_instance_tool() for name in (FAST, WAITING)]
        return [
            *(Tool(definition, _Anything, self._hold) for definition in (_definition(HOLD), *ours)),
            Tool(_definition(PRODUCE), _Anything, self._produce),
            Tool(_definition(TAKE), _Anything, self._take),
        ]

    async def _hold(self, _: _Anything, __: ToolCall) -> dict[str, Any]:
        self.count += 1
        self.most = max(self.most, self.count)
        self._changed.fire()
        try:
            await self._released.wait()
        finally:
            self.count -= 1
        return {}

    async def _produce(self, wanted: _Anything, _: ToolCall) -> Content:
        self.runs += 1
        return Content([{"type": "text", "text": "x" * wanted.size}])

    async def _take(self, _: _Anything, __: ToolCall) -> dict[str, Any]:
        return {}


def _definition(name: str) -> dict[str, Any]:
    return {"name": name, "description": "", "inputSchema": {"type": "object"}}
