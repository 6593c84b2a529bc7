"""The hub itself is stopped for a while, as by Ctrl-Z or a frozen cgroup, with calls on their way through it."""

import asyncio
import signal
from typing import Any, Final

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum
from tests.integration.scenarios.stdio import Client

STOPS_S: Final = (10, 120)
"""Over one heartbeat, and over every deadline that there is."""

PROCFILE: Final = "slow: echo ran >> ran.txt; sleep 5; echo done\n"


async def through_a_stop(brum: Brum, seconds: int) -> dict[str, Any]:
    """A hub of its own, which sees the instances of the other one too; calls go to its own two."""
    projects = [brum.project(f"{name}-{seconds}", {"Procfile": PROCFILE}) for name in ("web", "api")]
    instances = [brum.instance(project) for project in projects]
    async with Client.running(BRUM, "--mcp", env=brum.environment) as client:
        client.patience_s = 2 * seconds + WAIT_S
        async with asyncio.timeout(WAIT_S):
            while not {instance.id for instance in instances} <= await ready(client):
                await asyncio.sleep(0.02)
        slow = [
            asyncio.create_task(client.call("scripts_run", instance=str(project), name="slow", wait="exit"))
            for project in projects
        ]
        async with asyncio.timeout(WAIT_S):
            while not all((project / "ran.txt").exists() for project in projects):
                await asyncio.sleep(0.01)
        client.process.send_signal(signal.SIGSTOP)
        quick = [
            asyncio.create_task(client.call("scripts_status", instance=str(project)))
            for project in projects
            for _ in range(20)
        ]
        await asyncio.sleep(seconds)
        client.process.send_signal(signal.SIGCONT)
        answers = await asyncio.gather(*slow, *quick)
        async with asyncio.timeout(WAIT_S):
            while not (status := await client.call("hub_status"))["timeline"] or not status["timeline"][-1]["did"]:
                await asyncio.sleep(0.05)
    return {
        "errors": [answer["error"] for answer in answers if "error" in answer],
        "lines": [(project / "ran.txt").read_text().split() for project in projects],
        "states": {(link["state"], link["breaker"]) for link in status["links"]},
        "timeline": status["timeline"],
        "problems": status["problems"],
    }


async def ready(client: Client) -> set[str]:
    return {name for name, link in (await client.links()).items() if link["state"] == "ready"}


@pytest.mark.promise("no-false-accusation")
@pytest.mark.timeout(240)
async def test_a_hub_that_was_stopped_accuses_no_instance_and_loses_no_call(brum: Brum) -> None:
    for seconds, found in zip(
        STOPS_S, await asyncio.gather(*(through_a_stop(brum, seconds) for seconds in STOPS_S)), strict=True
    ):
        paused = [entry for entry in found["timeline"] if entry["kind"] == "paused"]
        print(f"stopped for {seconds} s: {paused[0]['reasons'][0]}; {paused[0]['did']}", end="; ")
        assert [entry["kind"] for entry in found["timeline"]] == ["paused"]
        assert found["errors"] == []
        assert found["lines"] == [["ran"], ["ran"]]
        assert found["states"] == {("ready", "closed")}
        assert found["problems"] == []
