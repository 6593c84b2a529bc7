"""Calls of a program to a hub within it, without a transport."""

from typing import Any

import msgspec

from brummer.hub.service import Hub
from brummer.wire.mcp.server import Meta, Params, Request, ToolCall


async def tool_result(hub: Hub, tool: str, arguments: bytes, client: str = "") -> dict[str, Any]:
    """The whole result of a call that the hub answers or passes on; a failed one has ``isError``. ``client``: who asks,
    for those who are told of a change.
    """
    meta = Meta(client_info=msgspec.Raw(msgspec.json.encode({"name": client})))
    request = Request(b"1", "tools/call", Params(name=tool, meta=meta), None, lambda _: None)
    result: dict[str, Any] = msgspec.json.decode(await hub.router.call_tool(ToolCall(tool, arguments, request)))
    return result
