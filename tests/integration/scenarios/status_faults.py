"""What `brum status` says first while the network between a hub and two instances is cut. Run in a network namespace.

python status_faults.py BRUM FOLDER    prints the first code of --json and the first printed one, for each fault
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.integration.scenarios.network_cut import start, until_ready
from tests.integration.scenarios.stdio import Client

HEALTHY: Final = "healthy"
NOTICED_S: Final = 20.0
NAMES: Final = ("web", "api")


class Faults:
    """``found``: by the fault's name, what is said first."""

    def __init__(self, brum: str, client: Client, environment: dict[str, str], names: tuple[str, ...] = NAMES) -> None:
        self._brum = brum
        self._client = client
        self._environment = environment
        self._names = names
        self.found: dict[str, list[str]] = {}

    async def look(self, name: str, expected: str) -> None:
        """Once the hub says it, or is out of time; calls make it look sooner than once in a while."""
        calls = [asyncio.create_task(self._client.call("scripts_list", instance=each)) for each in self._names]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NOTICED_S):
                while await self._told() != expected:
                    await asyncio.sleep(0.05)
        as_json, for_people = await asyncio.gather(self._status("--json"), self._status())
        codes = [problem["code"] for answer in json.loads(as_json) for problem in answer["problems"]]
        self.found[name] = [codes[0] if codes else HEALTHY, for_people.partition("\n")[0].partition(":")[0]]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def rule(self, *rule: str) -> AsyncIterator[None]:
        """As long as the block lasts, this is dropped."""
        run("iptables", "-A", *rule, "-j", "DROP")
        yield
        run("iptables", "-D", *rule, "-j", "DROP")
        await until_ready(self._client, len(NAMES), 30)

    async def _told(self) -> str:
        problems = (await self._client.call("hub_status"))["problems"]
        return str(problems[0]["code"]) if problems else HEALTHY

    async def _status(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            self._brum, "status", *arguments, env=self._environment, stdout=subprocess.PIPE
        )
        stdout, _ = await process.communicate()
        return stdout.decode()


async def main(brum: str, folder: Path) -> dict[str, Any]:
    run("ip", "link", "set", "lo", "up")
    environment = {**os.environ, "BRUMMER_INSTANCES_DIR": str(folder / "instances")}
    instances = [start(brum, folder / name, environment) for name in NAMES]
    client = await Client.start(brum, "--mcp", env=environment)
    try:
        await until_ready(client, len(NAMES), 20)
        faults = Faults(brum, client, environment)
        await faults.look("before", HEALTHY)
        url = (await client.call("instances_list"))["instances"][0]["mcp_url"]
        async with faults.rule("OUTPUT", "-p", "tcp", "--dport", url.split(":")[2].partition("/")[0]):
            await faults.look("one port", "link_cut")
        async with faults.rule("OUTPUT", "-o", "lo"):
            await faults.look("all", "cut_off")
        run("ip", "link", "set", "lo", "down")
        await faults.look("lo", "loopback_down")
        run("ip", "link", "set", "lo", "up")
        await until_ready(client, len(NAMES), 30)
        await faults.look("after", HEALTHY)
        found = faults.found
    finally:
        await client.close()
        for instance in instances:
            instance.terminate()
            instance.wait(15)
    return found | await far_away(brum, environment)


async def far_away(brum: str, environment: dict[str, str]) -> dict[str, list[str]]:
    """A server beyond this machine that does not answer, and then no way to where it is."""
    run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "cable")
    run("ip", "addr", "add", "10.9.0.2/24", "dev", "uplink")
    run("ip", "link", "set", "uplink", "up")
    run("ip", "link", "set", "cable", "up")
    run("ip", "route", "add", "default", "via", "10.9.0.1")
    client = await Client.start(brum, "--mcp", "--server", "far=http://10.7.0.1:9/mcp", env=environment)
    try:
        faults = Faults(brum, client, environment, ())
        await faults.look("a server far away", "server_down")
        run("ip", "route", "del", "default")
        await faults.look("no way to it", "offline")
        return faults.found
    finally:
        await client.close()


def run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], Path(sys.argv[2])))))
