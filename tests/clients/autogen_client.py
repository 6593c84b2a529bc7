"""AutoGen's MCP tools, each with the model of its arguments that AutoGen makes of the schema, in one session."""

# mypy: ignore-errors

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from autogen_core import CancellationToken
from autogen_ext.tools.mcp import (
    StdioServerParams,
    StreamableHttpServerParams,
    create_mcp_server_session,
    mcp_server_tools,
)
from story import run


class Session:
    def __init__(self, tools: Any) -> None:
        self._tools = {tool.name: tool for tool in tools}

    async def tools(self) -> list[str]:
        return [tool.schema["name"] for tool in self._tools.values()]

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        return str(await self._tools[tool].run_json(arguments, CancellationToken()))


@asynccontextmanager
async def connect(way: dict[str, Any]) -> AsyncIterator[Session]:
    if way["url"]:
        server = StreamableHttpServerParams(url=way["url"], headers=way["headers"])
    else:
        server = StdioServerParams(**{name: way[name] for name in ("command", "args", "env", "cwd")})
    async with create_mcp_server_session(server) as session:
        await session.initialize()
        yield Session(await mcp_server_tools(server, session=session))


if __name__ == "__main__":
    run(connect)
