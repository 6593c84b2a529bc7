"""The MCP toolset of Google's Agent Development Kit, with its tools converted to the declarations that Gemini takes."""

# mypy: ignore-errors

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.agents.invocation_context import InvocationContext
from google.adk.sessions import InMemorySessionService
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams, StreamableHTTPConnectionParams
from google.adk.tools.tool_context import ToolContext
from mcp import StdioServerParameters
from story import run


class Session:
    def __init__(self, toolset: McpToolset, context: ToolContext) -> None:
        self._toolset, self._context = toolset, context
        self._tools = {}

    async def tools(self) -> list[str]:
        self._tools = {tool.name: tool for tool in await self._toolset.get_tools()}
        return [tool._get_declaration().name for tool in self._tools.values()]

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        if not self._tools:
            await self.tools()
        result = await self._tools[tool].run_async(args=arguments, tool_context=self._context)
        if result.get("isError") or "error" in result:
            raise RuntimeError(str(result))
        return "\n".join(item.get("text", "") for item in result["content"])


async def context_of_a_call() -> ToolContext:
    sessions = InMemorySessionService()
    session = await sessions.create_session(app_name="probe", user_id="probe")
    invocation = InvocationContext(
        session_service=sessions, session=session, agent=LlmAgent(name="probe"), invocation_id="1"
    )
    return ToolContext(invocation)


@asynccontextmanager
async def connect(way: dict[str, Any]) -> AsyncIterator[Session]:
    if way["url"]:
        server = StreamableHTTPConnectionParams(url=way["url"], headers=way["headers"])
    else:
        parts = StdioServerParameters(**{name: way[name] for name in ("command", "args", "env", "cwd")})
        server = StdioConnectionParams(server_params=parts)
    toolset = McpToolset(connection_params=server)
    try:
        yield Session(toolset, await context_of_a_call())
    finally:
        await toolset.close()


if __name__ == "__main__":
    run(connect)
