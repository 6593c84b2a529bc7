"""A call that was answered, or cancelled, while its instance was stopped does not begin when the instance continues."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum, Program
from tests.integration.scenarios.counting import executions
from tests.integration.scenarios.stdio import Client

COUNTING: Final = Path(__file__).parent / "scenarios" / "counting.py"
PROCFILE: Final = (
    "server: echo $$ > server.pid; sleep 2; echo listening; exec sleep 300\nlong: echo up; exec sleep 300\n"
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: /proc tells who is stopped")


@dataclass
class Stopped:
    """An instance that is stopped with one call to it in its socket, under number 1, and a hub with a client."""

    client: Client
    instance: Program
    project: Path

    def count(self, n: int) -> int:
        arguments = {"instance": "shop", "tool": "count", "arguments": {"n": n}}
        return self.client.send("tools/call", {"name": "instance_call", "arguments": arguments})

    async def begins_nothing(self) -> None:
        """Continue the instance; only a call that is made after that runs."""
        self.instance.signal(signal.SIGCONT)
        assert (await self.client.call_in("shop", "count", n=2))["times"] == 1
        assert executions(self.project) == {0: 1, 2: 1}


@contextlib.asynccontextmanager
async def client_of(brum: Brum) -> AsyncIterator[Client]:
    async with Client.running(BRUM, "--mcp", env=brum.environment) as client:
        yield client


async def in_flight(client: Client, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while sum(link["in_flight"] for link in (await client.links()).values()) != count:
            await asyncio.sleep(0.005)


@pytest.fixture
async def stopped(brum: Brum) -> AsyncIterator[Stopped]:
    project = brum.project("shop", {"Procfile": PROCFILE})
    instance = brum.python(COUNTING, project)
    instance.stdout.until("http://")
    async with client_of(brum) as client:
        it = Stopped(client, instance, project)
        await client.call_in("shop", "count", n=0)
        instance.signal(signal.SIGSTOP)
        try:
            yield it
        finally:
            instance.signal(signal.SIGCONT)


@pytest.mark.promise("late-never-begins")
async def test_a_call_that_was_cancelled_while_its_instance_was_stopped_never_begins(stopped: Stopped) -> None:
    number = stopped.count(1)
    await in_flight(stopped.client, 1)
    assert stopped.client.cancel(number)
    await in_flight(stopped.client, 0)
    await stopped.begins_nothing()


async def test_calls_that_were_cancelled_while_their_instance_was_stopped_never_begin(stopped: Stopped) -> None:
    """Only one of nine is in its socket; the others wait for connections, for a place, and for the link."""
    numbers = [stopped.count(1) for _ in range(9)]
    await in_flight(stopped.client, 1)
    for number in numbers:
        assert stopped.client.cancel(number)
    await in_flight(stopped.client, 0)
    await stopped.begins_nothing()


@pytest.mark.promise("late-never-begins")
async def test_a_call_whose_hub_was_killed_while_its_instance_was_stopped_never_begins(
    brum: Brum, stopped: Stopped
) -> None:
    async with client_of(brum) as other:
        await other.links()
        arguments = {"instance": "shop", "tool": "count", "arguments": {"n": 1}}
        other.send("tools/call", {"name": "instance_call", "arguments": arguments})
        async with asyncio.timeout(WAIT_S):  # it waits for its link, or is in the socket
            while not any(link["in_flight"] + link["parked"] for link in (await other.links()).values()):
                await asyncio.sleep(0.005)
        other.process.kill()
        await other.process.wait()
    await stopped.begins_nothing()


@pytest.mark.promise("late-never-begins")
async def test_a_call_whose_deadline_passed_while_its_instance_was_stopped_never_begins(stopped: Stopped) -> None:
    answer = await stopped.client.answer(stopped.count(1))
    error: dict[str, Any] = answer["result"]["structuredContent"]["error"]
    assert (error["code"], error["outcome"]) == ("deadline_exceeded", "unknown")
    assert (error["retryable"], error["retry_after_s"]) == (False, None)
    await stopped.begins_nothing()


async def test_a_client_that_gives_up_on_a_server_that_is_starting_finds_it_with_its_next_call(brum: Brum) -> None:
    project = brum.project(
        "web", {"Procfile": PROCFILE, ".brum.toml": '[scripts.server]\nready = {log = "listening"}\n'}
    )
    brum.instance(project)
    async with client_of(brum) as client:
        attempts: list[dict[str, Any]] = []
        for _ in range(2):  # each with less patience than the server needs
            number = client.send("tools/call", {"name": "scripts_run", "arguments": {"name": "server"}})
            async with asyncio.timeout(WAIT_S):
                while not (project / "server.pid").exists():
                    await asyncio.sleep(0.005)
            assert client.cancel(number)
        attempts.append(await client.call("scripts_run", name="server"))
        assert [(each["status"], each["already_running"]) for each in attempts] == [("ready", True)]
        assert "stop_asked_by" not in attempts[0]


async def test_a_burst_of_calls_in_one_write_is_answered_whole(brum: Brum) -> None:
    brum.instance(brum.project("web", {"Procfile": PROCFILE}))
    async with client_of(brum) as client:
        await client.call("scripts_list")
        numbers = [client.send("tools/call", {"name": "scripts_list", "arguments": {}}) for _ in range(200)]
        answers = await asyncio.gather(*map(client.answer, numbers))
        assert [answer["result"]["isError"] for answer in answers] == [False] * 200
