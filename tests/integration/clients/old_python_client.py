"""What a user of the official Python SDK before its version 2 does; run by the Python of .venv-mcp1.

old_python_client.py WAY        the way to the server, and the report on standard output, as foreign_clients.py has them
"""

# mypy: ignore-errors
# It speaks to another version of the SDK than the one that mypy sees.

import asyncio
import contextlib
import json
import sys
from contextlib import AbstractAsyncContextManager
from typing import Any

from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client


def connection(way: dict[str, Any]) -> AbstractAsyncContextManager[Any]:
    if way["url"]:
        return streamablehttp_client(way["url"], headers=way["headers"])
    server = StdioServerParameters(command=way["command"], args=way["args"], env=way["env"], cwd=way["cwd"])
    return stdio_client(server)


async def main(way: dict[str, Any]) -> None:
    report: dict[str, Any] = {}
    async with contextlib.AsyncExitStack() as stack:
        streams = await stack.enter_async_context(connection(way))
        session = await stack.enter_async_context(ClientSession(streams[0], streams[1]))
        opened = await session.initialize()
        report["protocol"] = opened.protocolVersion
        report["tools"] = [tool.name for tool in (await session.list_tools()).tools]

        async def call(tool: str, **arguments: object) -> dict[str, Any]:
            result = await session.call_tool(tool, arguments)
            return {"is_error": result.isError, "content": result.structuredContent}

        report["scripts"] = await call("scripts_list")
        report["ended"] = await call("scripts_run", name="hello", wait="exit")
        report["found"] = await call("logs_search", query="hello from")
        report["running"] = await call("scripts_run", name="dev")
        report["failed"] = await call("scripts_run", name="nonsense")
        try:
            await session.call_tool("no_such_tool", {})
        except McpError as error:
            report["unknown_tool"] = error.error.code

        progress = report["progress"] = []

        async def on_progress(done: float, total: float | None, _message: str | None) -> None:
            progress.append([done, total])

        waited = await session.call_tool("wait_for", {"log": "never", "timeout_s": 3.5}, progress_callback=on_progress)
        report["waited"] = {"is_error": waited.isError, "content": waited.structuredContent}
        await session.send_ping()
    json.dump(report, sys.stdout)


asyncio.run(main(json.loads(sys.argv[1])))
