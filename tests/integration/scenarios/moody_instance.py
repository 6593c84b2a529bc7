"""An instance with two tools that behave badly: ``python moody_instance.py DIRECTORY``, until SIGTERM.

``sleep`` takes ``seconds``; ``hang`` takes them too, and nothing else of the instance goes on meanwhile.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from brummer.host import loop
from brummer.instance.service import Options, running_instance
from brummer.wire.mcp.server import ToolCall
from brummer.wire.mcp.tools import Tool


class Seconds(msgspec.Struct):
    seconds: float


async def sleep(wanted: Seconds, _: ToolCall) -> dict[str, float]:
    await asyncio.sleep(wanted.seconds)
    return {"slept_s": wanted.seconds}


async def hang(wanted: Seconds, _: ToolCall) -> dict[str, float]:
    time.sleep(wanted.seconds)  # noqa: ASYNC251 — that is the fault
    return {"hung_s": wanted.seconds}


def tool(name: str, run: object) -> Tool:
    schema = {"type": "object", "properties": {"seconds": {"type": "number"}}, "required": ["seconds"]}
    return Tool({"name": name, "description": f"{name}s.", "inputSchema": schema}, Seconds, run)  # type: ignore[arg-type]


async def serve(project: Path) -> int:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    tools = [tool("sleep", sleep), tool("hang", hang)]
    async with running_instance(Options(project), os.environ, further_tools=tools) as instance:
        record = instance.record
        print(f"{record.name} ({record.instance_id}) is running", file=sys.stderr, flush=True)
        await ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(loop.run(serve(Path(sys.argv[1]))))
