"""A hub that a command runs for a moment, without a transport."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from brummer.host import loop
from brummer.hub.service import Hub, running_hub
from brummer.peers.instances import Concerns
from brummer.wire.mcp.server import Params, Request, ToolCall


def with_hub(use: Callable[[Hub], Awaitable[int]], concerns: Concerns = lambda _: True) -> int:
    """Run a command that uses a hub; returns the exit status. ``concerns`` filters which instances get a link."""
    place = Path.cwd()

    async def main() -> int:
        async with running_hub(os.environ, place, concerns=concerns) as hub:
            return await use(hub)

    return loop.run(main())


async def tool_result(hub: Hub, tool: str, arguments: bytes) -> dict[str, Any]:
    """The whole result of a call that the hub answers or passes on; a failed one has ``isError``."""
    request = Request(b"1", "tools/call", Params(name=tool), None, lambda _: None)
    result: dict[str, Any] = msgspec.json.decode(await hub.router.call_tool(ToolCall(tool, arguments, request)))
    return result
