"""An agent without a hub: it calls the tools of an instance in this process."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from brummer.contract.texts import lines_of
from brummer.instance.manager import Manager
from brummer.instance.scripts import ScriptList
from brummer.instance.tools import instance_tools
from brummer.wire.mcp.tools import ToolTable

WITHIN_S = 30


class Agent:
    """Calls the tools as an agent does, through JSON, and keeps the progress it was told."""

    def __init__(self, directory: Path, manager: Manager) -> None:
        self.directory = directory
        self.manager = manager
        self.table = ToolTable(instance_tools(manager, ScriptList(directory)))
        self.progress: list[float] = []
        self.client = "claude-code 2.1.3"

    def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        self.progress.append(progress)

    async def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        answer = await self._call(tool, arguments)
        assert not answer["isError"], answer
        content: dict[str, Any] = answer["structuredContent"]
        return content

    async def error(self, tool: str, **arguments: object) -> dict[str, Any]:
        answer = await self._call(tool, arguments)
        assert answer["isError"], answer
        error: dict[str, Any] = answer["structuredContent"]["error"]
        return error

    async def _call(self, tool: str, arguments: dict[str, object]) -> dict[str, Any]:
        async with asyncio.timeout(WITHIN_S):
            encoded = await self.table.call(tool, msgspec.json.encode(arguments), self)
        answer: dict[str, Any] = msgspec.json.decode(encoded)
        return answer


def texts(answer: dict[str, Any]) -> list[str]:
    return [line["text"] for line in lines_of(answer)]
