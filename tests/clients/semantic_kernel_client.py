"""Semantic Kernel's MCP plugins, called as functions of a kernel."""

# mypy: ignore-errors

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from semantic_kernel import Kernel
from semantic_kernel.connectors.mcp import MCPStdioPlugin, MCPStreamableHttpPlugin
from semantic_kernel.functions import KernelArguments
from story import run


class Session:
    def __init__(self, plugin: Any) -> None:
        self._kernel = Kernel()
        self._kernel.add_plugin(plugin)

    async def tools(self) -> list[str]:
        functions = self._kernel.get_plugin("brum").functions.values()
        for function in functions:
            function.metadata.model_dump()
            for parameter in function.parameters:
                assert isinstance(parameter.schema_data, dict), (function.name, parameter)
        return [function.name for function in functions]

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        result = await self._kernel.invoke(
            function_name=tool, plugin_name="brum", arguments=KernelArguments(**arguments)
        )
        return "\n".join(str(item) for item in result.value)


@asynccontextmanager
async def connect(way: dict[str, Any]) -> AsyncIterator[Session]:
    if way["url"]:
        plugin = MCPStreamableHttpPlugin("brum", way["url"], headers=way["headers"], load_prompts=False)
    else:
        parts = {name: way[name] for name in ("command", "args", "env", "cwd")}
        plugin = MCPStdioPlugin("brum", load_prompts=False, **parts)
    async with plugin:
        yield Session(plugin)


if __name__ == "__main__":
    run(connect)
