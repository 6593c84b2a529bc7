"""``brum ls``: the instances on this machine."""

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import Final

from brummer.cli import options
from brummer.cli.instance_calls import USE_THERE
from brummer.cli.instance_table import lines_of, summaries_of
from brummer.cli.interrupts import until_interrupted
from brummer.cli.messages import print_json, say
from brummer.cli.own_hub import with_hub
from brummer.contract.whole_lists import whole_list
from brummer.core import json_text
from brummer.discovery.directory import instances_directory
from brummer.discovery.events import Changed, Gone
from brummer.discovery.record import Record, displayable
from brummer.discovery.registry import Registry
from brummer.host import loop
from brummer.hub.direct_calls import tool_result
from brummer.hub.service import Hub
from brummer.link.peer import OTHER_NETWORK
from brummer.link.state import LinkState

DETAILS: Final = (
    "It shows how many scripts run in each project, which have failed, and the URL of the application; --json has more."
    " In a terminal the table has its width."
)

USUAL_COLUMNS: Final = 80
"""Of a terminal that does not say how wide it is."""


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_json(parser)
    options.add_on(parser)
    parser.add_argument("--watch", action="store_true", help="continue, and print each change, until Ctrl-C")


def run(chosen: argparse.Namespace) -> int:
    if chosen.watch:
        return loop.run(_watch(as_json=chosen.json))

    async def show(hub: Hub) -> int:
        instances = (await whole_list(partial(tool_result, hub, "instances_list")))["structuredContent"]["instances"]
        if chosen.json:
            print_json({"instances": instances})
        elif instances:
            shown = summaries_of({"instances": instances})
            print("\n".join(lines_of(shown, str(Path.home()), _columns(), options.paint(chosen))))
            _say_unreachable(hub)
        else:
            print("no instance is running; start one with `brum` in a project directory")
        return 0

    return with_hub(show, lambda each: isinstance(each, Record) or not each.is_box)


def _say_unreachable(hub: Hub) -> None:
    for entry in hub.instances:
        if entry.link.target.in_other_network and entry.link.state is not LinkState.READY and not entry.is_gone:
            say(f"{displayable(entry.record.name)} can't be reached: {OTHER_NETWORK}; {USE_THERE}")


def _columns() -> int | None:
    """Of the terminal; None for another reader, who gets whole cells."""
    if not sys.stdout.isatty():
        return None
    return os.get_terminal_size(sys.stdout.fileno()).columns or USUAL_COLUMNS


async def _watch(*, as_json: bool) -> int:
    async with Registry(instances_directory(os.environ)) as registry:
        await until_interrupted(_print_events(registry, as_json=as_json))
    return 0


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
