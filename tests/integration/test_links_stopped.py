"""One of five instances is stopped (SIGSTOP): the kernel still accepts for it, but nobody answers.

Stopped for little over 30 s, the longest deadline of a call that waits for nothing.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum, Instance
from tests.integration.scenarios.stdio import Client

NAMES: Final = ("web", "api", "worker", "docs", "mail")
BEFORE_S: Final = 3.0
STOPPED_S: Final = 34.0
DEADLINE_S: Final = 30.0
SLOW_S: Final = BEFORE_S + 2.0
"""A call with this timeout, sent before the stop, has a deadline within it."""

PARK_S: Final = 20.0
LATE_S: Final = 2.0
"""How late a deadline may fire on a machine that is busy."""

PROCFILE: Final = "once: echo ran >> ran.txt; echo done\nslow: echo ran >> slow.txt; sleep 300\n"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: /proc tells who is stopped")


@pytest.fixture
def instances(brum: Brum) -> dict[str, Instance]:
    return {name: brum.instance(brum.project(name, {"Procfile": PROCFILE})) for name in NAMES}


@pytest.fixture
async def client(brum: Brum, instances: dict[str, Instance]) -> AsyncIterator[Client]:
    async with Client.running(BRUM, "--mcp", env=brum.environment) as client:
        async with asyncio.timeout(WAIT_S):
            while [link["state"] for link in (await client.links()).values()] != ["ready"] * len(NAMES):
                await asyncio.sleep(0.01)
        yield client


class Traffic:
    """Calls to some instances, one after the other, and how long each took."""

    def __init__(self, client: Client, names: tuple[str, ...]) -> None:
        self._client = client
        self.took_s: list[float] = []
        self._tasks = [asyncio.create_task(self._run(name)) for name in names]

    async def _run(self, name: str) -> None:
        while True:
            asked = time.monotonic()
            content = await self._client.call("scripts_status", instance=name)
            assert content["processes"] == []
            self.took_s.append(time.monotonic() - asked)
            await asyncio.sleep(0.01)

    def p99_s(self) -> float:
        """Of the calls since the last time it was asked for."""
        took, self.took_s = sorted(self.took_s), []
        return took[len(took) * 99 // 100]

    @property
    def goes_on(self) -> bool:
        return not any(task.done() for task in self._tasks)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


@pytest.fixture
async def traffic(client: Client) -> AsyncIterator[Traffic]:
    """To all instances but the first."""
    traffic = Traffic(client, NAMES[1:])
    yield traffic
    await traffic.end()


async def timed(client: Client, instance: str, tool: str, /, **arguments: Any) -> tuple[float, dict[str, Any]]:
    asked = time.monotonic()
    content = await client.call(tool, instance=instance, **arguments)
    return time.monotonic() - asked, content


async def link_to(client: Client, instance: Instance) -> dict[str, Any]:
    return (await client.links())[instance.id]


async def state_becomes(client: Client, instance: Instance, state: str, timeout_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while (await link_to(client, instance))["state"] != state:
                await asyncio.sleep(0.005)
            return True
    return False


@pytest.mark.promise("a-stopped-instance")
async def test_a_stopped_instance_delays_no_other_and_is_back_a_second_after_it_goes_on(
    client: Client, instances: dict[str, Instance], traffic: Traffic
) -> None:
    stopped, project = instances["web"], Path(instances["web"].record["directory"])
    slow = asyncio.create_task(timed(client, "web", "scripts_run", name="slow", wait="exit", timeout_s=SLOW_S))
    await asyncio.sleep(BEFORE_S)
    before_s = traffic.p99_s()

    stopped.signal(signal.SIGSTOP)
    stopped_at = time.monotonic()
    reading = [asyncio.create_task(timed(client, "web", "scripts_list")) for _ in range(3)]
    changing = asyncio.create_task(timed(client, "web", "scripts_run", name="once", wait="exit", timeout_s=0))
    assert await state_becomes(client, stopped, "suspect", WAIT_S)
    link = await link_to(client, stopped)
    print(f"suspect after {time.monotonic() - stopped_at:.1f} s: {link['reason']!r}", end="; ")
    assert link["condition"] == "stopped"
    parked = [asyncio.create_task(timed(client, "web", "scripts_list")) for _ in range(2)]

    for took_s, content in await asyncio.gather(*parked):
        error = content["error"]
        assert PARK_S <= took_s < PARK_S + LATE_S
        assert (error["code"], error["outcome"], error["retryable"]) == ("instance_unavailable", "not_executed", True)
        assert (error["context"]["link"]["condition"], error["context"]["link"]["state"]) == ("stopped", "suspect")
    outcomes = []
    for took_s, content in await asyncio.gather(*reading):
        error = content["error"]
        assert DEADLINE_S <= took_s < DEADLINE_S + LATE_S
        assert error["code"] == "deadline_exceeded"
        outcomes.append(error["outcome"])
        assert error["context"]["condition"] == "stopped"
    assert set(outcomes) <= {"not_executed", "unknown"}
    assert outcomes.count("unknown") <= 1  # one connection was open, and may have taken one
    took_s, content = await changing  # it waited for a connection, and was never sent
    assert took_s < DEADLINE_S + LATE_S
    assert (content["error"]["code"], content["error"]["outcome"]) == ("deadline_exceeded", "not_executed")
    assert content["error"]["context"]["condition"] == "stopped"
    took_s, content = await slow  # it was sent before
    assert took_s < DEADLINE_S + SLOW_S + LATE_S
    assert (content["error"]["code"], content["error"]["outcome"]) == ("deadline_exceeded", "unknown")
    assert content["error"]["context"]["condition"] == "stopped"
    took_s, content = await timed(client, "web", "scripts_list")
    assert content["error"]["code"] == "breaker_open"
    assert content["error"]["context"]["link"]["condition"] == "stopped"
    assert content["error"]["retry_after_s"] > 0
    assert took_s < LATE_S
    print(f"breaker open, answered in {1000 * took_s:.1f} ms", end="; ")

    await asyncio.sleep(max(0.0, stopped_at + STOPPED_S - time.monotonic()))
    waiting = asyncio.create_task(timed(client, "web", "scripts_list"))
    during_s = traffic.p99_s()
    stopped.signal(signal.SIGCONT)
    continued_at = time.monotonic()
    assert await state_becomes(client, stopped, "ready", WAIT_S)
    ready_after_s = time.monotonic() - continued_at
    assert ready_after_s <= 1.0
    await waiting
    assert "error" not in await client.call("scripts_list", instance="web")
    assert traffic.goes_on
    print(f"p99 of the others {1000 * before_s:.1f} -> {1000 * during_s:.1f} ms; ready {ready_after_s:.3f} s after")
    assert during_s < max(10 * before_s, 0.25)

    assert not (project / "ran.txt").exists()
    assert (await client.call("scripts_run", instance="web", name="once", wait="exit"))["status"] == "exited"
    assert (project / "ran.txt").read_text().split() == ["ran"]
    assert (project / "slow.txt").read_text().split() == ["ran"]
    assert all(instance.process.poll() is None for instance in instances.values())
    assert client.unasked == []


@pytest.mark.promise("a-stopped-instance")
async def test_what_was_in_flight_is_answered_when_it_goes_on_and_once(
    client: Client, instances: dict[str, Instance]
) -> None:
    """Stopped for three seconds only: nobody fails, and the answer is the original one."""
    stopped, project = instances["web"], Path(instances["web"].record["directory"])
    stopped.signal(signal.SIGSTOP)
    reading = [asyncio.create_task(client.call("scripts_list", instance="web")) for _ in range(5)]
    changing = asyncio.create_task(client.call("scripts_run", instance="web", name="once", wait="exit"))
    assert await state_becomes(client, stopped, "suspect", WAIT_S)
    parked = asyncio.create_task(client.call("scripts_list", instance="web"))
    await asyncio.sleep(1.0)
    stopped.signal(signal.SIGCONT)
    continued_at = time.monotonic()
    assert await state_becomes(client, stopped, "ready", WAIT_S)
    assert time.monotonic() - continued_at <= 1.0
    for content in (*await asyncio.gather(*reading), await parked):
        assert [script["name"] for script in content["scripts"]] == ["once", "slow"]
    assert ((await changing)["status"], (await changing)["exit_code"]) == ("exited", 0)
    assert (project / "ran.txt").read_text().split() == ["ran"]
    link = await link_to(client, stopped)
    assert (link["breaker"], link["parked"], link["in_flight"]) == ("closed", 0, 0)


async def test_cancellations_do_not_put_off_the_suspicion(client: Client, instances: dict[str, Instance]) -> None:
    """Each cancelled call closes its connection, and that wakes the link: it must not begin to wait anew each time.

    A link without a connection dials: it is never suspect, but `retrying` once that is not answered.
    """
    stopped = instances["web"]
    stopped.signal(signal.SIGSTOP)
    call = {"name": "wait_for", "arguments": {"instance": "web", "log": "never"}}
    stopped_at = time.monotonic()
    while time.monotonic() - stopped_at < WAIT_S and (
        (link := await link_to(client, stopped))["state"] not in ("suspect", "retrying")
    ):
        number = client.send("tools/call", call)
        await asyncio.sleep(0.1)
        client.cancel(number)
    suspect_s = time.monotonic() - stopped_at
    print(f"suspect after {suspect_s:.1f} s of cancellations")
    assert suspect_s < WAIT_S
    assert link["condition"] == "stopped"
    stopped.signal(signal.SIGCONT)
    assert await state_becomes(client, stopped, "ready", 1.0)
