"""``brum call``: one call of a tool."""

import argparse
from typing import Any, Final

import msgspec

from brummer.cli import options
from brummer.cli.messages import print_json

DETAILS: Final = "Exit status 1 when the call failed."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "instance", type=options.text, metavar="INSTANCE", help="id, name or directory; of another machine ID@HOST"
    )
    parser.add_argument("tool", type=options.text, metavar="TOOL", help="for example scripts_list")
    parser.add_argument(
        "arguments", type=_json_object, metavar="JSON", nargs="?", default=b"{}", help="the tool's arguments, an object"
    )


def run(chosen: argparse.Namespace) -> int:
    from brummer.cli.own_hub import with_hub
    from brummer.contract.tools import COMMAND_LINE
    from brummer.discovery.record import Record
    from brummer.hub.direct_calls import tool_result
    from brummer.hub.service import Hub

    async def show(hub: Hub) -> int:
        envelope = {"instance": chosen.instance, "tool": chosen.tool, "arguments": msgspec.Raw(chosen.arguments)}
        result = await tool_result(hub, "instance_call", msgspec.json.encode(envelope), COMMAND_LINE)
        print_json(result.get("structuredContent", result))
        return 1 if result.get("isError") else 0

    box = chosen.instance.rpartition("@")[2]
    return with_hub(
        show,
        lambda each: isinstance(each, Record) or each.name == (box if each.is_box else chosen.instance),
    )


def _json_object(text: str) -> bytes:
    """The text unchanged, if it is a JSON object."""
    encoded = options.text(text).encode()
    try:
        msgspec.json.decode(encoded, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise argparse.ArgumentTypeError(f"not a JSON object: {error}") from None
    return encoded
