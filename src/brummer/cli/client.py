"""``brum ls`` and ``brum call``: a hub for a moment, without a front."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from brummer.cli.messages import say
from brummer.cli.table import print_table
from brummer.core import json_text
from brummer.discovery.directory import instances_directory
from brummer.discovery.events import Changed, Gone
from brummer.discovery.record import Record
from brummer.discovery.registry import Registry
from brummer.host import loop
from brummer.hub.service import Hub, running_hub
from brummer.peers.instances import Concerns
from brummer.wire.mcp.eras import Era
from brummer.wire.mcp.server import Params, Request, ToolCall

COLUMNS = ("instance_id", "state", "pid", "url", "directory")


def list_instances(*, as_json: bool) -> int:
    """Print a table, or JSON; returns the exit status."""

    async def show(hub: Hub) -> int:
        instances = (await whole_list(partial(tool_result, hub, "instances_list")))["structuredContent"]["instances"]
        if as_json:
            _print_json({"instances": instances})
        elif instances:
            _print_table(instances)
        else:
            print("no instance is running; start one with `brum` in a project directory")
        return 0

    return _with_hub(show)


def watch_instances(*, as_json: bool) -> int:
    """Print who is there, then every change as it happens, until Ctrl-C or SIGTERM."""

    async def watch() -> int:
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        async with Registry(instances_directory(os.environ)) as registry:
            following = asyncio.create_task(_print_events(registry, as_json=as_json))
            ending = asyncio.create_task(ended.wait())
            await asyncio.wait((following, ending), return_when=asyncio.FIRST_COMPLETED)
            for task in (following, ending):
                task.cancel()
            await asyncio.gather(following, ending, return_exceptions=True)
        return 0

    return loop.run(watch())


async def _print_events(registry: Registry, *, as_json: bool) -> None:
    async for event in registry:
        record = event.new if isinstance(event, Changed) else event.record
        kind = type(event).__name__.lower()
        reason = event.reason if isinstance(event, Gone) else ""
        if as_json:
            seen = {"event": kind, "instance_id": record.instance_id, "pid": record.pid, "url": record.url}
            print(json_text.encode({**seen, "reason": reason}).decode(), flush=True)
        else:
            print(f"{kind:9}{record.instance_id}  pid {record.pid}  {record.url}  {reason}".rstrip(), flush=True)


def call(instance: str, tool: str, arguments: str) -> int:
    """Print the structured result; returns 1 when the call failed."""

    async def show(hub: Hub) -> int:
        envelope = {"instance": instance, "tool": tool, "arguments": msgspec.Raw(_object(arguments))}
        result = await tool_result(hub, "instance_call", msgspec.json.encode(envelope))
        _print_json(result.get("structuredContent", result))
        return 1 if result.get("isError") else 0

    return _with_hub(show, lambda record: isinstance(record, Record) or record.name == instance)


def _with_hub(use: Callable[[Hub], Awaitable[int]], concerns: Concerns = lambda _: True) -> int:
    async def main() -> int:
        async with running_hub(os.environ, Path.cwd(), concerns=concerns) as hub:
            return await use(hub)

    return loop.run(main())


async def tool_result(hub: Hub, tool: str, arguments: bytes) -> dict[str, Any]:
    """The whole result of a call that the hub answers or passes on; a failed one has ``isError``."""
    request = Request(b"1", "tools/call", Params(name=tool), Era.LEGACY, None, lambda _: None)
    result: dict[str, Any] = msgspec.json.decode(await hub.router.call_tool(ToolCall(tool, arguments, request)))
    return result


async def whole_list(ask: Callable[[bytes], Awaitable[dict[str, Any]]], **arguments: object) -> dict[str, Any]:
    """The result of a tool that returns a list, collected over all its answers. ``ask`` takes the arguments; the result
    of a failed call is returned unchanged.
    """
    result = whole = await ask(msgspec.json.encode(arguments))
    while cursor := result.get("structuredContent", {}).pop("next_cursor", None):
        result = await ask(msgspec.json.encode({**arguments, "cursor": cursor}))
        if result.get("isError"):
            return result
        for name, part in result["structuredContent"].items():
            if isinstance(part, list):
                whole["structuredContent"][name] = _joined(whole["structuredContent"][name], part)
    return whole


def _joined(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries that have changed meanwhile come again; the later one counts."""
    ids = {_id_of(each) for each in after} - {None}
    return [*(each for each in before if _id_of(each) not in ids), *after]


def _id_of(entry: dict[str, Any]) -> object:
    return entry.get("instance_id") or entry.get("process_id")


def _object(text: str) -> bytes:
    """The arguments as given, once they are known to be an object; exits with 2 otherwise."""
    try:
        msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        say(f"the arguments are not a JSON object: {error}")
        raise SystemExit(2) from None
    return text.encode()


def _print_json(value: object) -> None:
    print(json_text.indented(value))


def _print_table(items: list[dict[str, Any]]) -> None:
    rows = [tuple(name.upper() for name in COLUMNS)]
    print_table([*rows, *(tuple(str(item[name]) for name in COLUMNS) for item in items)])
