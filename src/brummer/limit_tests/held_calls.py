"""Tools of a throw-away instance that do what a limit is tested with: stay, take much, give much, count."""

import asyncio
from typing import Any, Final

import msgspec

from brummer.contract.tools import BY_NAME
from brummer.limit_tests.signal import Signal
from brummer.wire.mcp.server import ToolCall
from brummer.wire.mcp.tools import Content, Tool

HOLD: Final = "hold"
SHORT_WAY: Final = "scripts_list"
WAITING: Final = "wait_for"
"""Tools whose calls stay. The last two stand in for the instance's own: a hub has a short way for calls of tools that
it knows, and other places for calls that wait.
"""
PRODUCE: Final = "produce"
TAKE: Final = "take"


class _Anything(msgspec.Struct):
    size: int = 0


class Holding:
    """Keeps calls until they are let go; one for several instances. ``changed`` fires when one comes in."""

    def __init__(self, changed: Signal) -> None:
        self._changed = changed
        self._is_open = asyncio.Event()
        self.inside = 0
        self.most = 0
        """That were in here at once."""
        self.runs = 0
        """Of the tool that produces."""

    def let_go(self) -> None:
        """All that are in here, and all that come."""
        self._is_open.set()

    def tools(self) -> list[Tool]:
        """For an instance."""
        ours = [BY_NAME[name].as_instance_tool() for name in (SHORT_WAY, WAITING)]
        return [
            *(Tool(definition, _Anything, self._hold) for definition in (_definition(HOLD), *ours)),
            Tool(_definition(PRODUCE), _Anything, self._produce),
            Tool(_definition(TAKE), _Anything, self._take),
        ]

    async def _hold(self, _: _Anything, __: ToolCall) -> dict[str, Any]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self._changed.fire()
        try:
            await self._is_open.wait()
        finally:
            self.inside -= 1
        return {}

    async def _produce(self, wanted: _Anything, _: ToolCall) -> Content:
        self.runs += 1
        return Content([{"type": "text", "text": "x" * wanted.size}])

    async def _take(self, _: _Anything, __: ToolCall) -> dict[str, Any]:
        return {}


def _definition(name: str) -> dict[str, Any]:
    return {"name": name, "description": "", "inputSchema": {"type": "object"}}
