"""An MCP server made with the official SDK: ``python foreign_server.py PORT stateful|stateless COUNT_FILE``."""

import asyncio
import sys
from pathlib import Path

from mcp.server import MCPServer
from mcp.types import ToolAnnotations

port, kind, counted = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
server = MCPServer("foreign")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def echo(text: str) -> str:
    return text


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def look(seconds: float) -> str:
    with counted.open("a") as file:
        file.write("look\n")
    await asyncio.sleep(seconds)
    return "looked"


@server.tool()
async def change(seconds: float) -> str:
    with counted.open("a") as file:
        file.write("change\n")
    await asyncio.sleep(seconds)
    return "changed"


server.run("streamable-http", port=port, stateless_http=kind == "stateless", json_response=kind == "stateless")
