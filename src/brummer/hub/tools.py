"""The tools that the hub answers itself."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from msgspec import to_builtins

from brummer.contract.tools import BY_NAME, Connect, NoArguments, PagedList, renderer
from brummer.core.errors import BrummerError
from brummer.health.status import HubStatus, machine_status
from brummer.host.clocks import wall
from brummer.hub.finder import Finder
from brummer.hub.script_summaries import script_summaries
from brummer.hub.shown_page import PageResource
from brummer.link.state import FAILING, LinkState
from brummer.peers.instance_entry import InstanceEntry
from brummer.peers.instances import Instances
from brummer.wire.mcp.server import ToolCall
from brummer.wire.mcp.tools import Tool

if TYPE_CHECKING:
    from brummer.contract.paging import ListEntry

_FAILS, _WORKS, _GONE = range(3)

ASKED: Final = 50
"""The scripts are told of so many instances at the most: each costs a call, and a few lines of the answer."""

PROBLEMS: Final = 5
"""Of those that `view_open` shows: the worst come first, and the others are in `hub_status`."""

_FAILING: Final = FAILING | {LinkState.IMPOSTOR, LinkState.RECHECKING, LinkState.INCOMPATIBLE}


def hub_tools(
    instances: Instances,
    status: Callable[[], HubStatus],
    finder: Finder | None = None,
    page: PageResource | None = None,
) -> list[Tool]:
    """Structs become plain objects here, because the texts are made of these."""
    finder = finder or Finder(instances)

    async def listed(now_s: float, rank: int = 0) -> "list[ListEntry]":
        from brummer.contract.paging import ListEntry, key_of  # noqa: PLC0415 - no start needs it

        await instances.first_scan()
        await instances.settled()
        known = list(instances)
        scripts = await script_summaries(known) if len(known) <= ASKED else {}
        return [
            ListEntry(
                key_of(rank + _rank(entry), entry.id),
                "instances",
                {**to_builtins(each), **scripts.get(entry.id, {})},
                now_s - each.since_s,
            )
            for entry, each in ((entry, entry.summary()) for entry in instances)
        ]

    async def instances_list(wanted: PagedList, __: ToolCall) -> object:
        from brummer.contract.paging import paged  # noqa: PLC0415 - as above

        now_s = wall()
        entries = await listed(now_s)
        return paged("instances_list", entries, wanted.cursor, now_s=now_s, **not_reached())

    def not_reached() -> dict[str, object]:
        """Machines whose instances may be missing in a list."""
        machines = [to_builtins(machine_status(each)) for each in instances.machines if each.state != "ready"]
        return {"machines": machines} if machines else {}

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
        machines = {"machines": to_builtins(now.machines)} if now.machines else {}
        head = {"hub": to_builtins(now.hub), "limits": now.limits, **machines}
        return paged("hub_status", [*problems, *links, *events], wanted.cursor, now_s=now_s, **head)

    functions: dict[str, Callable[[Any, ToolCall], Awaitable[object]]] = {
        "instances_list": instances_list,
        "instances_connect": instances_connect,
        "instances_disconnect": instances_disconnect,
        "hub_status": hub_status,
        "view_open": _view_open(page, listed, status),
    }
    rows = ((BY_NAME[name], function) for name, function in functions.items())
    return [Tool(row.as_hub_tool(), row.arguments, function, renderer(row.name)) for row, function in rows]


def _view_open(
    page: PageResource | None,
    listed: "Callable[[float, int], Awaitable[list[ListEntry]]]",
    status: Callable[[], HubStatus],
) -> Callable[[NoArguments, ToolCall], Awaitable[object]]:
    """`view_open`: the worst problems, and as much of `instances_list` as fits: failures come first."""

    async def view_open(_: NoArguments, __: ToolCall) -> object:
        from brummer.contract.paging import ListEntry, key_of, paged  # noqa: PLC0415 - no start needs it

        now_s = wall()
        entries = await listed(now_s, 1)
        problems = [ListEntry(key_of(0, each.key), "problems", to_builtins(each)) for each in status().problems]
        address = await _address_of(page)
        answer = paged("view_open", [*problems[:PROBLEMS], *entries], None, now_s=now_s, **address)
        return {**answer, "more": True} if answer.pop("next_cursor", None) else answer

    return view_open


async def _address_of(page: PageResource | None) -> dict[str, str | None]:
    """Where a browser finds the page, or why it does not."""
    if page is None:
        return {"url": None, "why": "this hub has no page"}
    try:
        return {"url": await page.page.address()}
    except BrummerError as error:
        return {"url": None, "why": error.message}
    except OSError as error:
        return {"url": None, "why": f"the page can't be served: {error.strerror or error}"}


def _rank(entry: InstanceEntry) -> int:
    """A key that sorts failing links first."""
    if entry.is_gone:
        return _GONE if entry.link.state is LinkState.WITHDRAWN else _FAILS
    return _FAILS if entry.link.state in _FAILING else _WORKS
