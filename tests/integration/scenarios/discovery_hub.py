"""A hub's eyes and nothing else: each event of a registry as one line of JSON. Ends when standard input says so.

python discovery_hub.py DIRECTORY
"""

import asyncio
import json
import sys
from pathlib import Path

from brummer.discovery.events import Appeared, Changed, DirectoryEvent
from brummer.discovery.registry import Registry


def line_of(event: DirectoryEvent) -> list[str]:
    """[what, instance_id, generation, name or reason]."""
    if isinstance(event, Appeared):
        return ["appeared", event.record.instance_id, event.record.generation, event.record.name]
    if isinstance(event, Changed):
        return ["changed", event.new.instance_id, event.new.generation, event.new.name]
    return ["gone", event.record.instance_id, event.record.generation, event.reason]


def say(line: list[str]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def main(directory: Path) -> None:
    async with Registry(directory) as registry:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), registry.close)
        await registry.scan()
        say(["looking"])
        async for event in registry:
            say(line_of(event))
        say(["statistics", str(registry.statistics().scans), *registry.statistics().problems])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
