"""The tools that the hub answers itself."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import to_builtins

from brummer.contract.tools import BY_NAME, Connect, NoArguments, PagedList, renderer
from brummer.health.status import HubStatus
from brummer.host.clocks import wall
from brummer.hub.finder import Finder
from brummer.hub.script_summaries import script_summaries
from brummer.link.state import FAILING, LinkState
from brummer.peers.instance_entry import InstanceEntry
from brummer.peers.instances import Instances
from brummer.wire.mcp.server import ToolCall
from brummer.wire.mcp.tools import Tool

_FAILS, _WORKS, _GONE = range(3)

ASKED: Final = 50
"""The scripts are told of so many instances at the most: each costs a call, and a few lines of the answer."""

_FAILING: Final = FAILING | {LinkState.IMPOSTOR, LinkState.RECHECKING, LinkState.INCOMPATIBLE}


def hub_tools(instances: Instances, status: Callable[[], HubStatus], finder: Finder | None = None) -> list[Tool]:
    """Structs become plain objects here, because the texts are made of these."""
    finder = finder or Finder(instances)

    async def instances_list(wanted: PagedList, __: ToolCall) -> object:
        from brummer.contract.paging import ListEntry, key_of, paged  # noqa: PLC0415 - no start needs it

        await instances.first_scan()
        await instances.settled()
        known = list(instances)
        scripts = await script_summaries(known) if len(known) <= ASKED else {}
        now_s = wall()
        entries = [
            ListEntry(
                key_of(_rank(entry), entry.id),
                "instances",
                {**to_builtins(each), **scripts.get(entry.id, {})},
                now_s - each.since_s,
            )
            for entry, each in ((entry, entry.summary()) for entry in instances)
        ]
        return paged("instances_list", entries, wanted.cursor, now_s=now_s)

    async def instances_connect(arguments: Connect, call: ToolCall) -> object:
        await instances.first_scan()
        await instances.settled()
        entry, started = await finder.named(arguments.instance, call.request.client)
        if call.session is not None:
            call.session.chosen = entry.id
        await entry.link.settled()
        scripts = await script_summaries([entry])
        return {
            "instance": {**to_builtins(entry.summary()), **scripts.get(entry.id, {})},
            "remembered": call.session is not None and call.session.has_lasted,
            **(started.note() if started else {}),
        }

    async def instances_disconnect(_: NoArguments, call: ToolCall) -> object:
        chosen = None
        if call.session is not None:
            chosen, call.session.chosen = call.session.chosen, None
        return {"disconnected": chosen}

    async def hub_status(wanted: PagedList, __: ToolCall) -> object:
        """Problems, links and the timeline: three lists, one after the other if they are long."""
        from brummer.contract.paging import ListEntry, key_of, paged  # noqa: PLC0415 - no start needs it

        await instances.settled()
        now, now_s = status(), wall()
        problems = (
            ListEntry(
                key_of(0, each.key),
                "problems",
                to_builtins(each),
                0.0 if each.since_s is None else now_s - each.since_s,
            )
            for each in now.problems
        )
        links = (
            ListEntry(key_of(1 + _rank(entry), entry.id), "links", each.as_json(), now_s - each.since_s)
            for entry, each in zip(instances, now.links, strict=True)
        )
        events = (
            ListEntry(key_of(9, f"{each.at_boottime_s:017.3f}"), "timeline", to_builtins(each)) for each in now.timeline
        )
        head = {"hub": to_builtins(now.hub), "limits": now.limits}
        return paged("hub_status", [*problems, *links, *events], wanted.cursor, now_s=now_s, **head)

    functions: dict[str, Callable[[Any, ToolCall], Awaitable[object]]] = {
        "instances_list": instances_list,
        "instances_connect": instances_connect,
        "instances_disconnect": instances_disconnect,
        "hub_status": hub_status,
    }
    rows = ((BY_NAME[name], function) for name, function in functions.items())
    return [Tool(row.as_hub_tool(), row.arguments, function, renderer(row.name)) for row, function in rows]


def _rank(entry: InstanceEntry) -> int:
    """A key that sorts failing links first."""
    if entry.is_gone:
        return _GONE if entry.link.state is LinkState.WITHDRAWN else _FAILS
    return _FAILS if entry.link.state in _FAILING else _WORKS
