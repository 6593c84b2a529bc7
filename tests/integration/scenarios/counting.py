"""An instance with tools that count how often each call ran: what must happen once, happens in here.

python counting.py DIRECTORY [PORT]

``count`` is a call that changes something, as far as a hub can know. It appends its number and the time at which it
began to ``ran.txt`` in the project, so the runs of an instance that was killed are known, too. Prints its URL and
serves until SIGTERM.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.host import loop
from brummer.instance.service import Options, running_instance
from brummer.settings.limits import DEFAULTS
from brummer.wire.mcp.server import ToolCall
from brummer.wire.mcp.tools import Tool

RAN: Final = "ran.txt"


class Count(msgspec.Struct):
    """``n`` names the execution; it takes ``ms`` and answers with ``size`` characters beside the facts."""

    n: int
    ms: float = 0.0
    size: int = 0


def counting_tools(project: Path) -> list[Tool]:
    ran = (project / RAN).open("a", buffering=1)
    tallies: dict[int, int] = {}

    async def count(wanted: Count, _: ToolCall) -> dict[str, Any]:
        tallies[wanted.n] = tallies.get(wanted.n, 0) + 1
        ran.write(f"{wanted.n} {time.monotonic()}\n")
        await asyncio.sleep(wanted.ms / 1000)
        return {"n": wanted.n, "times": tallies[wanted.n], "project": project.name, "filling": "x" * wanted.size}

    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    return [Tool({"name": "count", "description": "Count.", "inputSchema": schema}, Count, count)]


def beginnings(project: Path) -> dict[int, list[float]]:
    """When each number began in this project, in seconds of CLOCK_MONOTONIC, over all runs of its instance."""
    begun: dict[int, list[float]] = {}
    if (project / RAN).exists():
        for line in (project / RAN).read_text().splitlines():
            number, _, began_s = line.partition(" ")
            begun.setdefault(int(number), []).append(float(began_s))
    return begun


def executions(project: Path) -> dict[int, int]:
    """How often each number ran in this project, over all runs of its instance."""
    return {number: len(begun) for number, begun in beginnings(project).items()}


def record_of(instances: Path, pid: int) -> dict[str, Any]:
    """What the instance of this pid has published, which it has once it printed its URL."""
    records: list[dict[str, Any]] = [json.loads(path.read_text()) for path in instances.glob("*.json")]
    return next(record for record in records if record["pid"] == pid)


def publish(directory: Path, record: dict[str, Any], **changed: Any) -> None:
    """Put a record where only one hub looks: its owner does not know of that place, and never sets it right."""
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / f"{record['instance_id']}.json"
    path.with_suffix(".new").write_text(json.dumps({**record, **changed}))
    path.with_suffix(".new").rename(path)


async def serve(directory: Path, port: int | None) -> int:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    options = Options(directory, port=port)
    entries = int(os.environ.get("BRUMMER_LEDGER_ENTRIES", DEFAULTS.ledger_entries))
    limits = msgspec.structs.replace(DEFAULTS, ledger_entries=entries)
    tools = counting_tools(directory)
    async with running_instance(options, os.environ, limits=limits, further_tools=tools) as instance:
        sys.stdout.write(f"{instance.record.url}\n")
        sys.stdout.flush()
        await ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(loop.run(serve(Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else None)))
