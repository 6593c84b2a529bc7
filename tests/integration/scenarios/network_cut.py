"""Three instances, a mutating call in flight on each, and the loopback cut under them. Run in a network namespace.

python network_cut.py BRUM FOLDER SECONDS RULE…    the rule's arguments for iptables, without -A OUTPUT
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.integration.scenarios.stdio import Client

SLOW = "slow: echo ran >> ran.txt; sleep 5; echo done\n"


async def main(brum: str, folder: Path, seconds: float, rule: list[str]) -> dict[str, Any]:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    environment = {**os.environ, "BRUMMER_INSTANCES_DIR": str(folder / "instances")}
    projects = [folder / name for name in ("web", "api", "worker")]
    instances = [start(brum, project, environment) for project in projects]
    client = await Client.start(brum, "--mcp", env=environment)
    try:
        await until_ready(client, len(projects), 20)
        before = await client.links()
        slow = [asyncio.create_task(run_slow(client, project.name)) for project in projects]
        while not all((project / "ran.txt").exists() for project in projects):
            await asyncio.sleep(0.01)
        subprocess.run(["iptables", "-A", "OUTPUT", *rule], check=True)
        cut_at = time.monotonic()
        during = [asyncio.create_task(timed(client, project.name)) for project in projects]
        await asyncio.sleep(seconds * 0.7)
        late = [asyncio.create_task(timed(client, project.name)) for project in projects]
        await asyncio.sleep(seconds * 0.3)
        states = {link["state"] for link in (await client.links()).values()}
        subprocess.run(["iptables", "-D", "OUTPUT", *rule], check=True)
        healed_at = time.monotonic()
        await until_ready(client, len(projects), 30)
        return {
            "cut_s": healed_at - cut_at,
            "states_in_the_cut": sorted(states),
            "ready_after_s": time.monotonic() - healed_at,
            "results": [await task for task in slow],
            "answered_after_s": time.monotonic() - healed_at,
            "during": [await task for task in during],
            "late": [await task for task in late],
            "lines": [(project / "ran.txt").read_text().count("ran") for project in projects],
            "dials_before": [link["dials"] for link in before.values()],
        }
    finally:
        await client.close()
        for instance in instances:
            instance.terminate()
            instance.wait(15)


def start(brum: str, project: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    project.mkdir()
    (project / "Procfile").write_text(SLOW)
    command = [brum, "--no-tui", "-d", str(project)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def run_slow(client: Client, instance: str) -> dict[str, Any]:
    return await client.call("scripts_run", instance=instance, name="slow", wait="exit", timeout_s=60)


async def timed(client: Client, instance: str) -> dict[str, Any]:
    started = time.monotonic()
    content = await client.call("scripts_status", instance=instance)
    return {"took_s": time.monotonic() - started, "error": content.get("error", {}).get("code")}


async def until_ready(client: Client, count: int, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while [link["state"] for link in (await client.links()).values()] != ["ready"] * count:
                await asyncio.sleep(0.005)
            return
    raise SystemExit(f"not ready within {timeout_s} s: {json.dumps(await client.links())}")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))))
