"""kill -9 of an instance, and its next run, with calls of every kind in flight or waiting."""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum, Instance, within
from tests.integration.scenarios.ports import free_port
from tests.integration.scenarios.stdio import Client

AT_ONCE_S: Final = 5.0
"""What must not wait for the 20 s that a call may be parked, nor for anything else."""

PROCFILE: Final = """\
dev: echo run $(cat run.txt) is up; sleep 300
slow: echo ran >> ran.txt; sleep 60
other: echo ran >> other.txt; sleep 60
once: echo ran >> once.txt; echo once more
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: a death is told by a pidfd")


@pytest.fixture
def project(brum: Brum) -> Path:
    return brum.project("shop", {"Procfile": PROCFILE, "run.txt": "1"})


@pytest.fixture
async def client(brum: Brum, project: Path) -> AsyncIterator[Client]:
    async with Client.running(BRUM, "--mcp", env=brum.environment) as client:
        yield client


async def until_in_flight(client: Client, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while next(iter((await client.links()).values()))["in_flight"] < count:
            await asyncio.sleep(0.01)


async def timed(call: asyncio.Future[dict[str, Any]], since: float) -> tuple[float, dict[str, Any]]:
    content = await call
    return time.monotonic() - since, content


def killed(instance: Instance) -> float:
    """When it was dead for certain."""
    instance.signal(signal.SIGKILL)
    instance.wait()
    return time.monotonic()


async def port_opens(port: int) -> float:
    """When it did. In steps of a millisecond: nobody tells of it."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return time.monotonic()
        except ConnectionRefusedError:
            await asyncio.sleep(0.001)


@pytest.mark.promise("honest-unknown")
async def test_what_was_in_flight_returns_from_the_next_run_or_says_unknown_at_once(
    brum: Brum, project: Path, client: Client
) -> None:
    port = free_port()
    first = brum.instance(project, "dev", "-p", str(port))
    assert (await client.call("wait_for", process="dev", log="run 1 is up", since="1h"))["matched"]
    waiting = asyncio.create_task(client.call("wait_for", process="dev", log="run 2 is up", timeout_s=60))
    mutating = [
        asyncio.create_task(client.call("scripts_run", name="slow", wait="exit", timeout_s=120)),
        asyncio.create_task(client.call("scripts_restart", name="other", wait="exit", timeout_s=120)),
    ]
    await until_in_flight(client, 3)
    assert within(WAIT_S, (project / "ran.txt").exists)
    (project / "run.txt").write_text("2")
    dead = killed(first)

    for took_s, content in await asyncio.gather(*(timed(call, dead) for call in mutating)):
        error = content["error"]
        assert took_s < AT_ONCE_S
        assert (error["code"], error["outcome"], error["retryable"]) == ("outcome_unknown", "unknown", False)
        assert error["context"]["instance"] == first.id
        assert error["context"]["generation"] == first.record["generation"]
        assert "scripts_status" in error["message"]
        assert "changes_since" in error["message"]

    # One that no black box answers. Each has a connection of its own then, so the order of the answers is not promised.
    parked = [asyncio.create_task(client.call("instance_tools")) for _ in range(7)]
    once = asyncio.create_task(client.call("scripts_run", name="once", wait="exit"))
    async with asyncio.timeout(WAIT_S):
        while next(iter((await client.links()).values()))["parked"] < 9:  # with `once`, and the wait from before
            await asyncio.sleep(0.01)

    opening = asyncio.create_task(port_opens(port))
    brum.instance_about_to_be(project, "dev", "-p", str(port))
    opened = await opening
    await asyncio.wait(parked, return_when=asyncio.FIRST_COMPLETED)
    print(f"port open -> next call answered: {1000 * (time.monotonic() - opened):.0f} ms", end="; ")
    assert time.monotonic() - opened < AT_ONCE_S
    tools = await asyncio.gather(*parked)
    assert all("error" not in each for each in tools)
    match = await waiting
    assert (match["matched"], match["line"]["text"]) == (True, "run 2 is up")
    assert ((await once)["status"], (await once)["exit_code"]) == ("exited", 0)
    assert (project / "once.txt").read_text().split() == ["ran"]
    assert (project / "ran.txt").read_text().split() == ["ran"]


@pytest.mark.promise("parked-calls")
async def test_a_call_is_answered_as_soon_as_the_port_is_open_again(brum: Brum, project: Path, client: Client) -> None:
    """Five restarts in a row, and each time a call that came while nobody was there."""
    port = free_port()
    instance = brum.instance(project, "-p", str(port))
    assert "error" not in await client.call("scripts_list")
    took = []
    for _ in range(5):
        killed(instance)
        next_call = asyncio.create_task(client.call("scripts_list"))
        await asyncio.sleep(0)
        opening = asyncio.create_task(port_opens(port))
        instance = brum.instance_about_to_be(project, "-p", str(port))
        opened = await opening
        assert "error" not in await next_call
        took.append(1000 * (time.monotonic() - opened))
        instance.published()
        link = next(iter((await client.links()).values()))
        assert (link["state"], link["breaker"]) == ("ready", "closed")
    print(f"port open -> parked call answered, ms: {[round(ms) for ms in took]}")
    assert max(took) < 1000 * AT_ONCE_S


async def test_a_hub_that_starts_while_the_instance_is_down_finds_it_when_it_comes(
    brum: Brum, project: Path, client: Client
) -> None:
    refused = await client.call("scripts_list")
    assert (refused["error"]["code"], refused["error"]["outcome"]) == ("no_instances", "not_executed")
    brum.instance(project)
    async with asyncio.timeout(WAIT_S):
        while "error" in await client.call("scripts_list"):
            await asyncio.sleep(0.01)
