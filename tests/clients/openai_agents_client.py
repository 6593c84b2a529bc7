"""The MCP client of the OpenAI Agents SDK, with its tools converted to the strict schemas that OpenAI's models take."""

# mypy: ignore-errors

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents import Agent, RunContextWrapper
from agents.mcp import MCPServerStdio, MCPServerStreamableHttp, MCPUtil
from story import run


class Session:
    def __init__(self, server: Any) -> None:
        self._server = server
        self._schemas = {}

    async def tools(self) -> list[str]:
        agent = Agent(name="probe", mcp_servers=[self._server])
        tools = await MCPUtil.get_function_tools(self._server, True, RunContextWrapper(None), agent)
        self._schemas = {tool.name: tool.params_json_schema for tool in tools}
        return list(self._schemas)

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """Add an empty text for each parameter that a strict model must fill in without a value."""
        for name, schema in self._schemas.get(tool, {}).get("properties", {}).items():
            if schema.get("type") == "string" and "enum" not in schema:
                arguments.setdefault(name, "")
        result = await self._server.call_tool(tool, arguments)
        text = "\n".join(item.text for item in result.content if item.type == "text")
        if getattr(result, "isError", False) or getattr(result, "is_error", False):
            raise RuntimeError(text)
        return text


@asynccontextmanager
async def connect(way: dict[str, Any]) -> AsyncIterator[Session]:
    if way["url"]:
        server = MCPServerStreamableHttp({"url": way["url"], "headers": way["headers"]})
    else:
        server = MCPServerStdio({name: way[name] for name in ("command", "args", "env", "cwd")})
    async with server:
        yield Session(server)


if __name__ == "__main__":
    run(connect)
