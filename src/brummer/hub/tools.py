"""The tools that the hub answers itself."""

import os
import time
from collections.abc import Callable
from typing import Any

import msgspec

from brummer import __version__
from brummer.contract.arguments import NoArguments
from brummer.contract.tools import BY_NAME
from brummer.hub.instances import Instances
from brummer.hub.sessions import Sessions
from brummer.link.caller import PARK_S
from brummer.link.connections import CONNECTIONS_FOR_CALLS, CONNECTIONS_FOR_WAITS, REPLY_LIMIT_BYTES
from brummer.link.limits import IN_FLIGHT_IN_ALL, QUEUED_PER_INSTANCE
from brummer.link.state import State
from brummer.wire.server import ToolCall
from brummer.wire.toolbox import Tool


class _Connect(msgspec.Struct, forbid_unknown_fields=True):
    instance: str


def hub_tools(instances: Instances, sessions: Sessions, problems: Callable[[], list[dict[str, Any]]]) -> list[Tool]:
    """``problems`` lists what discovery refuses, as ``{"code", "path", "detail"}``."""
    started = time.monotonic()

    async def instances_list(_: NoArguments, __: ToolCall) -> object:
        await instances.settled()
        return {"instances": [known.summary() for known in instances]}

    async def instances_connect(arguments: _Connect, call: ToolCall) -> object:
        await instances.settled()
        known = await instances.named(arguments.instance)
        if call.session is not None:
            sessions.choose(call.session.id, known.id)
        return {"instance": known.summary(), "remembered": call.session is not None}

    async def instances_disconnect(_: NoArguments, call: ToolCall) -> object:
        return {"disconnected": sessions.forget(call.session.id) if call.session else None}

    async def hub_status(_: NoArguments, __: ToolCall) -> object:
        await instances.settled()
        links = [known.link.status() for known in instances]
        return {
            "hub": {
                "version": __version__,
                "pid": os.getpid(),
                "uptime_s": round(time.monotonic() - started, 3),
            },
            "problems": [*_link_problems(links, cut_off=instances.are_cut_off()), *problems()],
            "links": links,
            "limits": {
                "connections_for_calls": CONNECTIONS_FOR_CALLS,
                "connections_for_waits": CONNECTIONS_FOR_WAITS,
                "in_flight_in_all": IN_FLIGHT_IN_ALL,
                "queued_per_instance": QUEUED_PER_INSTANCE,
                "reply_bytes": REPLY_LIMIT_BYTES,
                "park_s": PARK_S,
            },
        }

    return [
        Tool(BY_NAME["instances_list"].as_hub_tool(), NoArguments, instances_list),
        Tool(BY_NAME["instances_connect"].as_hub_tool(), _Connect, instances_connect),
        Tool(BY_NAME["instances_disconnect"].as_hub_tool(), NoArguments, instances_disconnect),
        Tool(BY_NAME["hub_status"].as_hub_tool(), NoArguments, hub_status),
    ]


def _link_problems(links: list[dict[str, Any]], *, cut_off: bool) -> list[dict[str, Any]]:
    """One line per root cause: if everybody fails at once, that is one."""
    failing = [link for link in links if _failing_state(link)]
    if cut_off:
        left = [link for link in failing if link["state"] != State.GONE.value]
        detail = "no instance answers any more: look for the cause here, such as a firewall or lo being down"
        return [
            {
                "code": "cut_off",
                "instances": [link["instance_id"] for link in left],
                "detail": f"{detail} (the first says: {left[0]['reason']})",
            }
        ]
    return [
        {"code": f"link_{_failing_state(link)}", "instance": link["instance_id"], "detail": link["reason"]}
        for link in failing
    ]


def _failing_state(link: dict[str, Any]) -> str | None:
    """None for a link that is well, or that has not been tried yet; one that tries once more is still retrying."""
    state: str = link["state"]
    if state in (State.DISCOVERED.value, State.CONNECTING.value):
        return State.RETRYING.value if link["attempts"] else None
    return None if state == State.READY.value else state
