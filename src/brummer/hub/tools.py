"""The tools that the hub answers itself."""

from collections.abc import Callable
from typing import Any

from brummer.contract.arguments import Connect, Listing, NoArguments
from brummer.contract.tools import BY_NAME
from brummer.hub.instances import Instances
from brummer.hub.sessions import Sessions
from brummer.wire.server import ToolCall
from brummer.wire.toolbox import Tool


def hub_tools(instances: Instances, sessions: Sessions, describe: Callable[[], dict[str, Any]]) -> list[Tool]:
    """``describe`` returns what `hub_status` answers."""

    async def instances_list(_: Listing, __: ToolCall) -> object:
        await instances.settled()
        return {"instances": [known.summary() for known in instances]}

    async def instances_connect(arguments: Connect, call: ToolCall) -> object:
        await instances.settled()
        known = await instances.addressing.named(arguments.instance)
        if call.session is not None:
            sessions.choose(call.session.id, known.id)
        return {"instance": known.summary(), "remembered": call.session is not None}

    async def instances_disconnect(_: NoArguments, call: ToolCall) -> object:
        return {"disconnected": sessions.forget(call.session.id) if call.session else None}

    async def hub_status(_: Listing, __: ToolCall) -> object:
        await instances.settled()
        return describe()

    return [
        Tool(BY_NAME["instances_list"].as_hub_tool(), Listing, instances_list),
        Tool(BY_NAME["instances_connect"].as_hub_tool(), Connect, instances_connect),
        Tool(BY_NAME["instances_disconnect"].as_hub_tool(), NoArguments, instances_disconnect),
        Tool(BY_NAME["hub_status"].as_hub_tool(), Listing, hub_status),
    ]
