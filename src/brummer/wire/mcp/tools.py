"""Tools as one table: what they look like to a client, how their arguments are decoded, what runs.

A tool returns any msgspec-encodable object, its structured content; `Tool.render` writes the text beside it. One that
has something else to show, such as an image, returns `Content`. A `BrummerError` becomes a tool result with
``isError``, because the agent is the one who can act on it; a `ProtocolError` is the client's business and passes.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

import msgspec

from brummer.core.errors import BrummerError, unforeseen
from brummer.wire.mcp.jsonrpc import ProtocolError
from brummer.wire.mcp.server import ToolCall
from brummer.wire.mcp.tool_arguments import ArgumentDecoder
from brummer.wire.mcp.tool_results import Render, budget_of, failed, of_blocks, structured

__all__ = ["CallContext", "Content", "Tool", "ToolTable", "failed", "structured"]

_log = logging.getLogger(__name__)


class CallContext(Protocol):
    """Who calls, and what a running call may report before its result."""

    @property
    def client(self) -> str:
        """The name and version that the caller gives to itself; empty if it gives none."""

    def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Tell the caller how far it is; ``progress`` must grow. Dropped when the caller did not ask for it."""


class Tool(msgspec.Struct, frozen=True):
    """One tool: its definition as clients see it, the type of its arguments, and what it does.

    ``render`` writes the text for reading; without it the text is the JSON. Arguments may have a ``limit_bytes`` that
    allows a larger answer than the default limit.
    """

    definition: dict[str, Any]
    arguments: type[msgspec.Struct]
    run: Callable[[Any, Any], Awaitable[object]]
    render: Render | None = None
    taken_before: tuple[str, ...] = ()
    """See `ArgumentDecoder`."""

    @property
    def name(self) -> str:
        name: str = self.definition["name"]
        return name


class Content(msgspec.Struct, frozen=True):
    """A result that is not structured: content blocks as the specification has them (text, image, audio, resource)."""

    blocks: Sequence[dict[str, Any]]


class ToolTable:
    """The tools of one server, in their order. Alone it is a `brummer.wire.mcp.server.ToolServer`."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = {
            tool.name: (ArgumentDecoder(tool.name, tool.arguments, tool.taken_before), tool.run, tool.render)
            for tool in tools
        }
        self.tools_json = msgspec.json.encode([tool.definition for tool in tools])

    def has_tool(self, name: str) -> bool:
        return name in self._tools

    def call_tool(self, call: ToolCall) -> Coroutine[Any, Any, bytes]:
        return self.call(call.name, call.arguments, call)

    def cancel_call(self, key: str) -> bool:  # noqa: ARG002
        """A table keeps no work: a call ends with the task that waits for it."""
        return False

    async def call(self, name: str, arguments: bytes, context: CallContext) -> bytes:
        """Run a tool; returns the encoded ``CallToolResult``. Raises KeyError when there is no such tool."""
        decoder, run, render = self._tools[name]
        try:
            decoded = decoder.decode(arguments)
            answer = await run(decoded, context)
            if isinstance(answer, Content):
                return of_blocks(answer.blocks)
            return structured(answer, render, budget_of(decoded))
        except ProtocolError:
            raise
        except BrummerError as error:
            return failed(error)
        except Exception as error:  # noqa: BLE001 — the barrier: a defect in one tool costs one call
            _log.exception("tool %s failed", name)
            return failed(unforeseen(error, f"{name} failed", tool=name))
