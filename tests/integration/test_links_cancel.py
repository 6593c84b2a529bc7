"""A cancellation reaches what the call has started: client, hub, instance, and the process group at the end of it."""

import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from brummer.settings.limits import DEFAULTS
from brummer.wire.mcp.server import CALL_KEY
from tests.integration.programs import BRUM, DIES_S, MODERN_META, WAIT_S, Brum, Instance
from tests.integration.scenarios.counting import executions
from tests.integration.scenarios.http_client import HttpClient
from tests.integration.scenarios.stdio import Client

COUNTING: Final = Path(__file__).parent / "scenarios" / "counting.py"
SOON_S: Final = 2.0
"""A slot that is free at once may still wait for a busy machine, but not for the calls that were cancelled."""

PROCFILE: Final = "".join(
    f"{name}: sleep 300 & sleep 300 & echo $$ > {name}.pid; wait\n" for name in ("tree", "other", *map(str, range(20)))
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: /proc tells who lives")

Era = pytest.mark.parametrize("modern", [False, True], ids=["2025-11-25", "2026-07-28"])


@pytest.fixture
def project(brum: Brum) -> Path:
    return brum.project("forest", {"Procfile": PROCFILE})


@pytest.fixture
def instance(brum: Brum, project: Path) -> Instance:
    return brum.instance(project)


async def true_in_time(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> bool:
    """Whether it comes true; other processes set no events here."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.005)
            return True
    return False


async def family(project: Path, script: str = "tree") -> list[psutil.Process]:
    """The group of a script, once it stands: the shell and its two children."""
    pid = project / f"{script}.pid"
    assert await true_in_time(lambda: pid.exists() and pid.read_text().strip().isdigit())
    leader = psutil.Process(int(pid.read_text()))
    return [leader, *leader.children()]


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def all_die(processes: list[psutil.Process]) -> bool:
    return await true_in_time(lambda: not any(map(alive, processes)), DIES_S)


async def in_flight(client: Client) -> int:
    return sum(link["in_flight"] for link in (await client.links()).values())


async def in_flight_is(client: Client, count: int, timeout_s: float = WAIT_S) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while await in_flight(client) != count:
                await asyncio.sleep(0.005)
            return True
    return False


async def listed(call: Callable[[], Awaitable[dict[str, Any]]], status: str) -> bool:
    """Whether the instance tells this of its first process, in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WAIT_S):
            while [process["status"] for process in (await call())["processes"]] != [status]:
                await asyncio.sleep(0.01)
            return True
    return False


# Through a hub.


@Era
async def test_a_cancelled_call_over_stdio_ends_the_whole_group_that_it_started(
    brum: Brum, instance: Instance, project: Path, modern: bool
) -> None:
    meta = MODERN_META if modern else None
    async with Client.running(BRUM, "--mcp", env=brum.environment, meta=meta) as client:
        call = {"name": "scripts_run", "arguments": {"name": "tree", "wait": "exit", "timeout_s": 300}}
        number = client.send("tools/call", call)
        group = await family(project)
        assert len(group) == 3
        assert await in_flight(client) == 1
        cancelled = time.monotonic()
        assert client.cancel(number)
        assert await in_flight_is(client, 0, SOON_S)
        assert await all_die(group)
        print(f"cancelled -> the group is gone: {1000 * (time.monotonic() - cancelled):.0f} ms")
        assert await listed(lambda: client.call("scripts_status"), "stopped")
        assert client.unasked == []


@Era
async def test_a_cancelled_call_to_a_hub_over_http_does_the_same(
    brum: Brum, instance: Instance, project: Path, modern: bool
) -> None:
    client = await HttpClient.connected(brum.hub_over_http().url, token=brum.http_token, modern=modern)
    arguments = {"name": "tree", "wait": "exit", "timeout_s": 300}
    async with client.asking("tools/call", name="scripts_run", arguments=arguments) as asked:
        group = await family(project)
        if not modern:  # there it is a message; here it is hanging up
            await client.cancel(asked.number)
            assert await all_die(group)
    assert await all_die(group)
    [link] = (await client.call("hub_status"))["links"]
    assert link["in_flight"] == 0
    assert await listed(lambda: client.call("scripts_status"), "stopped")


async def test_an_older_client_that_hangs_up_on_a_hub_cancels_nothing(
    brum: Brum, instance: Instance, project: Path
) -> None:
    client = await HttpClient.connected(brum.hub_over_http().url, token=brum.http_token)
    arguments = {"name": "tree", "wait": "exit", "timeout_s": 300}
    async with client.asking("tools/call", name="scripts_run", arguments=arguments):
        group = await family(project)
    assert "error" not in await client.call("scripts_list")
    assert all(map(alive, group))


@pytest.mark.promise("a-cancelled-wait")
async def test_what_ran_before_the_call_is_left_alone(brum: Brum, instance: Instance, project: Path) -> None:
    async with Client.running(BRUM, "--mcp", env=brum.environment) as client:
        await client.call("scripts_run", name="tree", wait="none")
        group = await family(project)
        call = {"name": "scripts_run", "arguments": {"name": "tree", "wait": "exit", "timeout_s": 300}}
        number = client.send("tools/call", call)
        assert await in_flight_is(client, 1)
        client.cancel(number)
        assert await in_flight_is(client, 0, SOON_S)
        assert await listed(lambda: client.call("scripts_status"), "running")
        assert all(map(alive, group))


# A client that has gone has cancelled nothing.


@pytest.mark.parametrize("end", ["EOF", "SIGKILL"])
async def test_a_hub_that_ends_leaves_what_its_calls_have_started(
    brum: Brum, instance: Instance, project: Path, end: str
) -> None:
    async with Client.running(BRUM, "--mcp", env=brum.environment) as client:
        call = {"name": "scripts_run", "arguments": {"name": "tree", "wait": "exit", "timeout_s": 300}}
        client.send("tools/call", call)
        group = await family(project)
        if end == "SIGKILL":
            client.process.send_signal(signal.SIGKILL)
    async with Client.running(BRUM, "--mcp", env=brum.environment) as another:
        await another.call("scripts_run", name="other", wait="none")
        await family(project, "other")
        assert all(map(alive, group))
        processes = (await another.call("scripts_status"))["processes"]
        assert [process["status"] for process in processes] == ["running", "running"]


@pytest.mark.promise("a-cancelled-wait")
async def test_the_end_of_the_grace_period_ends_the_wait_and_not_the_script(brum: Brum, project: Path) -> None:
    """With a period of a tenth of a second instead of a minute."""
    shortened = f"""
import runpy, sys
from brummer.instance import keyed_calls
keyed_calls.KeyedCalls.__init__.__kwdefaults__["grace_s"] = 0.1
sys.argv[1:] = [{str(project)!r}]
runpy.run_path({str(COUNTING)!r}, run_name="__main__")
"""
    url = brum.python("-c", shortened).stdout.until("http://").strip()
    record = json.loads(next(brum.instances.glob("*.json")).read_text())
    client = await HttpClient.connected(url, token=record["token"])
    call = {"name": "scripts_run", "arguments": {"name": "tree", "wait": "exit", "timeout_s": 300}}
    meta = {CALL_KEY: "k-1"}
    async with client.asking("tools/call", **call, _meta=meta):
        group = await family(project)
    async with asyncio.timeout(WAIT_S):
        while True:  # until what is asked for again is not waited for, but told
            async with client.asking("tools/call", **call, _meta=meta) as again:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        result = (await again.answer())["result"]
                        break
            await asyncio.sleep(0.2)
    assert result["structuredContent"]["error"]["code"] == "cancelled"
    assert (await client.call("scripts_status"))["processes"][0]["status"] == "running"
    assert all(map(alive, group))


# Straight to an instance, without a key: as the specification has it.


@Era
async def test_a_client_of_an_instance_cancels_as_its_era_does(
    brum: Brum, instance: Instance, project: Path, modern: bool
) -> None:
    client = await HttpClient.connected(instance.url, token=instance.token, modern=modern)
    arguments = {"name": "tree", "wait": "exit", "timeout_s": 300}
    async with client.asking("tools/call", name="scripts_run", arguments=arguments) as asked:
        group = await family(project)
        if not modern:
            await client.cancel(asked.number)
            assert await all_die(group)
    assert await all_die(group)


# Many of them.


@pytest.mark.promise("cancellation-at-once")
async def test_the_slots_of_cancelled_calls_are_free_at_once(brum: Brum, instance: Instance) -> None:
    async with Client.running(BRUM, "--mcp", env=brum.environment) as client:
        await client.call("scripts_run", name="tree", wait="none")
        never = {"name": "wait_for", "arguments": {"log": "never", "timeout_s": 300}}
        numbers = [client.send("tools/call", never) for _ in range(DEFAULTS.waiting_per_instance)]
        assert await in_flight_is(client, DEFAULTS.waiting_per_instance)
        for number in numbers:
            client.cancel(number)
        started = time.monotonic()
        ready = [client.call("wait_for", process="tree", port=1, timeout_s=0.1) for _ in numbers]
        answers = await asyncio.gather(*ready)
        print(f"{len(numbers)} cancelled -> as many others answered: {1000 * (time.monotonic() - started):.0f} ms")
        assert time.monotonic() - started < SOON_S
        assert [answer["matched"] for answer in answers] == [False] * len(numbers)
        assert client.unasked == []


@pytest.mark.promise("cancellation-at-once")
async def test_a_cancellation_does_not_queue_behind_calls_that_wait(
    brum: Brum, instance: Instance, project: Path
) -> None:
    """Every connection for waits is taken, and more calls queue for one: the cancellation passes them all."""
    async with Client.running(BRUM, "--mcp", env=brum.environment) as client:
        run = {"name": "scripts_run", "arguments": {"name": "tree", "wait": "exit", "timeout_s": 300}}
        number = client.send("tools/call", run)
        group = await family(project)
        never = {"name": "wait_for", "arguments": {"log": "never", "timeout_s": 300}}
        waits = [client.send("tools/call", never) for _ in range(DEFAULTS.waiting_per_instance + 8)]
        assert await in_flight_is(client, DEFAULTS.waiting_per_instance)
        client.cancel(number)
        assert await all_die(group)
        for wait in waits:
            client.cancel(wait)
        assert await in_flight_is(client, 0, SOON_S)


@pytest.fixture
def counting(brum: Brum) -> Path:
    project = brum.project("counting", {"Procfile": PROCFILE})
    brum.python(COUNTING, project).stdout.until("http://")
    return project


@pytest.mark.promise("cancellation-at-once")
async def test_two_hundred_cancellations_in_a_storm_leave_nothing(brum: Brum, counting: Path) -> None:
    rng = random.Random(5)
    async with Client.running(BRUM, "--mcp", env=brum.environment) as client:
        assert "error" not in await client.call("scripts_list")
        answered = cancelled = 0
        for storm in range(5):
            numbers = [client.send("tools/call", call) for call in _storm(storm)]
            rng.shuffle(numbers)
            for number in numbers:
                if rng.random() < 0.3:
                    await asyncio.sleep(rng.uniform(0.0, 0.01))
                cancelled += client.cancel(number)
            answered += len(numbers)
        answered -= cancelled
        assert cancelled + answered == 200
        assert cancelled > 190
        assert await in_flight_is(client, 0, SOON_S)
        assert (await client.call_in("counting", "count", n=-1))["times"] == 1
        after = next(iter((await client.links()).values()))
        assert (after["state"], after["breaker"], after["parked"]) == ("ready", "closed", 0)
        assert await true_in_time(lambda: not [child for child in brum.alive() if child.name() == "sleep"])
        assert [message for message in client.unasked if "id" in message] == []
        ran = len(executions(counting)) + len(list(counting.glob("*.pid")))
        assert ran > 10
        print(f"200 calls: {cancelled} cancelled in time, {answered} answered before; {ran} had begun to work")


def _storm(storm: int) -> list[dict[str, Any]]:
    """Forty calls: some start a script, some wait, some are done by a further tool."""
    runs = [
        {"name": "scripts_run", "arguments": {"name": str(4 * storm + number), "wait": "exit", "timeout_s": 300}}
        for number in range(4)
    ]
    waits = [{"name": "wait_for", "arguments": {"log": "never", "timeout_s": 300}} for _ in range(16)]
    counts = [
        {"name": "instance_call", "arguments": {"tool": "count", "arguments": {"n": 100 * storm + n, "ms": 20_000}}}
        for n in range(20)
    ]
    return [*runs, *waits, *counts]
