"""A hub and two instances while the network changes under them. Run in a network namespace of its own, as root.

python network_changes.py BRUM FOLDER    prints what was done, what the hub made of it, and how soon, as JSON
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.integration.scenarios.network_cut import start, until_ready
from tests.integration.scenarios.stdio import Client

SETTLED_S: Final = 1.5
"""Longer than the debounce, the wave of probes and IPv6's duplicate address detection together."""

PREPARATION: Final = (
    "link set lo up",
    "link add uplink type veth peer name cable",
    "addr add 10.9.0.2/24 dev uplink",
    "link set uplink up",
    "link set cable up",
    "route add default via 10.9.0.1",
)
CHANGES: Final = {
    "carrier lost": ("link set cable down",),
    "carrier found": ("link set cable up",),
    "interface down": ("link set uplink down",),
    "interface up": ("link set uplink up", "route add default via 10.9.0.1"),
    "address replaced": (
        "addr add 10.8.0.2/24 dev uplink",
        "route replace default via 10.8.0.1 src 10.8.0.2",
        "addr del 10.9.0.2/24 dev uplink",
    ),
    "default route lost": ("route del default",),
    "default route found": ("route add default via 10.8.0.1",),
    "loopback down": ("link set lo down",),
    "loopback up": ("link set lo up",),
}
CONTAINERS: Final = 20


async def main(brum: str, folder: Path) -> dict[str, Any]:
    ip(*PREPARATION)
    environment = {**os.environ, "BRUMMER_INSTANCES_DIR": str(folder / "instances")}
    instances = [start(brum, folder / name, environment) for name in ("web", "api")]
    client = await Client.start(brum, "--mcp", env=environment)
    try:
        await until_ready(client, len(instances), 20)
        await asyncio.sleep(SETTLED_S)
        before = await client.links()
        found: dict[str, Any] = {"changes": {}, "before": len(await timeline(client))}
        for name, commands in CHANGES.items():
            found["changes"][name] = await change(client, commands)
            if name == "loopback up":
                await until_ready(client, len(instances), 20)
                found["ready_after_lo_s"] = time.clock_gettime(time.CLOCK_BOOTTIME) - found["changes"][name]["at_s"]
            await asyncio.sleep(SETTLED_S)
        entries = len(await timeline(client))
        await churn()
        await asyncio.sleep(SETTLED_S)
        found["verdicts_in_churn"] = len(await timeline(client)) - entries
        after = await client.links()
        found["same_connection"] = [before[name]["local_port"] == after[name]["local_port"] for name in before]
        found["states"] = [link["state"] for link in after.values()]
        return found
    finally:
        await client.close()
        for instance in instances:
            instance.terminate()
            instance.wait(15)


async def change(client: Client, commands: tuple[str, ...]) -> dict[str, Any]:
    """Do it; tells what the hub noted of it, and how long after the first command had returned."""
    known = len(await timeline(client))
    at_s = 0.0
    for command in commands:
        ip(command)
        at_s = at_s or time.clock_gettime(time.CLOCK_BOOTTIME)
    async with asyncio.timeout(20):
        while len(entries := await timeline(client)) == known:
            await asyncio.sleep(0.01)
    first = entries[known]
    return {"at_s": at_s, "after_s": first["at_boottime_s"] - at_s, "kind": first["kind"], "reasons": first["reasons"]}


async def churn() -> None:
    """As containers come and go: a pair of interfaces each, with an address, and away again."""
    for number in range(CONTAINERS):
        name = f"veth{number}"
        ip(
            f"link add {name} type veth peer name peer{number}",
            f"addr add 172.18.{number}.1/24 dev {name}",
            f"link set {name} up",
            f"link set peer{number} up",
        )
    for number in range(CONTAINERS):
        ip(f"link del veth{number}")


async def timeline(client: Client) -> list[dict[str, Any]]:
    status: dict[str, Any] = await client.call("hub_status")
    entries: list[dict[str, Any]] = status["timeline"]
    return entries


def ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], Path(sys.argv[2])))))
