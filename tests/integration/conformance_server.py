"""A real instance or hub with the diagnostic tools that the official conformance suite calls.

    python conformance_server.py instance DIRECTORY
    python conformance_server.py hub DIRECTORY

Both print their URL, then their token, and serve until SIGTERM. The suite's scenarios define each tool. If Brummer
lacks a feature (it never asks its client for anything), the tool does without it, and the baseline lists the scenario.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.core.errors import BrummerError
from brummer.host import loop
from brummer.hub import transports as hub
from brummer.instance.service import Options, running_instance
from brummer.wire.http.listening import Port
from brummer.wire.mcp.jsonrpc import ProtocolError
from brummer.wire.mcp.server import ToolCall
from brummer.wire.mcp.tools import Content, Tool

TOKEN: Final = "conformance"
MISSING_CLIENT_CAPABILITY: Final = -32021

IMAGE: Final = {
    "type": "image",
    "mimeType": "image/png",
    "data": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPj/HwADAgH/eL9GtQAAAABJRU5ErkJggg==",
}
AUDIO: Final = {
    "type": "audio",
    "mimeType": "audio/wav",
    "data": "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=",
}
RESOURCE: Final = {
    "type": "resource",
    "resource": {"uri": "test://embedded", "mimeType": "text/plain", "text": "an embedded resource"},
}

NOTHING: Final = {"type": "object", "properties": {}}
SCHEMA_2020_12: Final = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
MIRRORED: Final = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    "required": ["region"],
}


class Anything(msgspec.Struct):
    """Arguments that no diagnostic tool looks at."""


class IntendedFailure(BrummerError):
    """What `test_error_handling` is there to show."""

    code = "intended"


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def showing(*blocks: dict[str, Any]) -> Callable[[Anything, ToolCall], Awaitable[Content]]:
    async def show(_: Anything, __: ToolCall) -> Content:
        return Content(blocks)

    return show


async def fail(_: Anything, __: ToolCall) -> object:
    raise IntendedFailure("this tool fails so that its failure can be seen")


async def progress(_: Anything, call: ToolCall) -> Content:
    for done in (0, 50, 100):
        call.report_progress(done, 100)
        await asyncio.sleep(0.01)
    return Content([text("done")])


async def needs_sampling(_: Anything, call: ToolCall) -> Content:
    declared = call.request.params.meta.capabilities
    if not declared or "sampling" not in msgspec.json.decode(declared):
        raise ProtocolError(
            MISSING_CLIENT_CAPABILITY,
            "Missing required client capability: sampling",
            request_id=call.request.id,
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return Content([text("the client can sample")])


Run = Callable[[Anything, ToolCall], Awaitable[object]]

DIAGNOSTICS: Final[dict[str, tuple[dict[str, Any], Run]]] = {
    "test_simple_text": (NOTHING, showing(text("a simple text"))),
    "test_image_content": (NOTHING, showing(IMAGE)),
    "test_audio_content": (NOTHING, showing(AUDIO)),
    "test_embedded_resource": (NOTHING, showing(RESOURCE)),
    "test_multiple_content_types": (NOTHING, showing(text("several kinds"), IMAGE, RESOURCE)),
    "test_error_handling": (NOTHING, fail),
    "test_tool_with_progress": (NOTHING, progress),
    "test_missing_capability": (NOTHING, needs_sampling),
    "json_schema_2020_12_tool": (SCHEMA_2020_12, showing(text("called"))),
    "test_mirrored_parameter": (MIRRORED, showing(text("called"))),
    # Of these the suite checks what must *not* come: requests to the client, log messages nobody asked for, a refusal
    # of members that are not known, a notification for a list that has not changed.
    "test_streaming_elicitation": (NOTHING, progress),
    "test_logging_tool": (NOTHING, showing(text("nothing logged"))),
    "test_input_required_result_elicitation": (NOTHING, showing(text("no input is needed"))),
    "test_trigger_tool_change": (NOTHING, showing(text("the list is frozen"))),
}


def diagnostic_tools() -> list[Tool]:
    """Tools as any other, for the same table."""
    return [
        Tool({"name": name, "description": f"Diagnostic: {name}.", "inputSchema": schema}, Anything, run)
        for name, (schema, run) in DIAGNOSTICS.items()
    ]


def announce(url: str, token: str) -> None:
    sys.stdout.write(f"{url}\n{token}\n")
    sys.stdout.flush()


async def serve_instance(directory: Path) -> int:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    options = Options(directory)
    async with running_instance(options, os.environ, further_tools=diagnostic_tools()) as instance:
        announce(instance.record.url, instance.record.token)
        await ended.wait()
    return 0


async def serve_hub(directory: Path) -> int:
    return await hub.serve_http(
        Port(("127.0.0.1", 0), lambda: TOKEN),
        os.environ,
        directory,
        announce=lambda url: announce(url, TOKEN),
        further_tools=diagnostic_tools(),
    )


if __name__ == "__main__":
    serve = {"instance": serve_instance, "hub": serve_hub}[sys.argv[1]]
    sys.exit(loop.run(serve(Path(sys.argv[2]))))
