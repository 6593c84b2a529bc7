"""The MCP adapter of crewai-tools: a thread of its own for the session, and null for arguments that are left out."""

# mypy: ignore-errors

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from crewai_tools import MCPServerAdapter
from mcp import StdioServerParameters
from story import run


class Session:
    def __init__(self, tools: Any) -> None:
        self._tools = {tool.name: tool for tool in tools}

    async def tools(self) -> list[str]:
        return list(self._tools)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        return str(await asyncio.to_thread(self._tools[tool].run, **arguments))


@asynccontextmanager
async def connect(way: dict[str, Any]) -> AsyncIterator[Session]:
    if way["url"]:
        server = {"url": way["url"], "headers": way["headers"], "transport": "streamable-http"}
    else:
        server = StdioServerParameters(**{name: way[name] for name in ("command", "args", "env", "cwd")})
    adapter = await asyncio.to_thread(MCPServerAdapter, server)
    try:
        yield Session(adapter.tools)
    finally:
        await asyncio.to_thread(adapter.stop)


if __name__ == "__main__":
    run(connect)
