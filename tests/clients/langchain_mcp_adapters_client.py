"""langchain-mcp-adapters: over stdio with a session, so a hub, for each call, its default; over HTTP in one session."""

# mypy: ignore-errors

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from story import run


class Session:
    def __init__(self, tools: Any) -> None:
        self._tools = {tool.name: tool for tool in tools}

    async def tools(self) -> list[str]:
        return list(self._tools)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        call = {"type": "tool_call", "id": "1", "name": tool, "args": arguments}
        message = await self._tools[tool].ainvoke(call)
        if message.status == "error":
            raise RuntimeError(message.text)
        return str(message.content)


@asynccontextmanager
async def connect(way: dict[str, Any]) -> AsyncIterator[Session]:
    if way["url"]:
        server = {"transport": "http", "url": way["url"], "headers": way["headers"]}
        async with MultiServerMCPClient({"brum": server}).session("brum") as session:
            yield Session(await load_mcp_tools(session))
        return
    server = {"transport": "stdio", **{name: way[name] for name in ("command", "args", "env", "cwd")}}
    yield Session(await MultiServerMCPClient({"brum": server}).get_tools())


if __name__ == "__main__":
    run(connect)
