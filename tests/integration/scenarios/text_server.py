"""A server of text-only tools, on FastMCP of either official SDK: ``python text_server.py PORT``."""

import asyncio
import importlib
import sys
from typing import Any

port = int(sys.argv[1])
try:
    server: Any = importlib.import_module("mcp.server.fastmcp").FastMCP("text", port=port)
    options: dict[str, Any] = {}
except ImportError:
    server = importlib.import_module("mcp.server").MCPServer("text")
    options = {"port": port}


def say(text: str) -> str:
    return text


def fail() -> str:
    raise ValueError("it is broken")


async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


for tool in (say, fail, slow):
    server.tool(structured_output=False)(tool)
server.run("streamable-http", **options)
