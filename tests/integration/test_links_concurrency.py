"""A thousand calls of mixed length over one link: each answer to its own question, and one connection in the end."""

import asyncio
import random
import time
from pathlib import Path
from typing import Any, Final

import pytest

from brummer.pool.connections import SPARE_IDLE_S
from brummer.settings.limits import DEFAULTS
from tests.integration.programs import BRUM, Brum
from tests.integration.scenarios.counting import executions
from tests.integration.scenarios.stdio import Client

COUNTING: Final = Path(__file__).parent / "scenarios" / "counting.py"
CALLS: Final = 1000
IN_FLIGHT: Final = 64
LINES: Final = 200
PERMITTED: Final = DEFAULTS.in_flight_per_instance + DEFAULTS.waiting_per_instance

PROCFILE: Final = f"lines: for n in $(seq {LINES}); do echo this is line $n.; done; sleep 300\n"


async def one_call(client: Client, rng: random.Random, number: int) -> str:
    """Make a call whose answer belongs to no other; returns which kind it was."""
    line = 1 + number % LINES
    kind = rng.choice(("count", "count", "search", "wait for a line", "wait for nothing"))
    if kind == "count":
        size = rng.choice((0, 100, 5_000, 200_000))
        content = await client.call_in("busy", "count", n=number, ms=rng.choice((0, 0, 1, 5, 30)), size=size)
        assert (content["n"], content["times"], content["project"]) == (number, 1, "busy")
        assert len(content["filling"]) == size
    elif kind == "search":
        found = await client.call("logs_search", query=f"this is line {line}.")
        assert [entry["text"] for entry in found["lines"]] == [f"this is line {line}."]
    elif kind == "wait for a line":
        match = await client.call("wait_for", process="lines", log=rf"^this is line {line}\.$", since="1h")
        assert (match["matched"], match["line"]["text"]) == (True, f"this is line {line}.")
    else:
        seconds = rng.choice((0.001, 0.02, 0.1))
        match = await client.call("wait_for", process="lines", log="never", timeout_s=seconds)
        assert (match["matched"], match["waited_s"] >= seconds) == (False, True)
    return kind


async def watch(client: Client, seen: list[dict[str, Any]]) -> None:
    while True:
        seen.extend((await client.links()).values())
        await asyncio.sleep(0.02)


@pytest.mark.promise("one-answer")
async def test_a_thousand_calls_over_one_link_each_get_their_own_answer(brum: Brum) -> None:
    project = brum.project("busy", {"Procfile": PROCFILE})
    brum.python(COUNTING, project).stdout.until("http://")
    rng = random.Random(6)
    async with Client.running(BRUM, "--mcp", env=brum.environment) as client:
        await client.call("scripts_run", name="lines", wait="none")
        assert (await client.call("wait_for", log=f"line {LINES}", since="1h"))["matched"]
        [before] = (await client.links()).values()
        seen: list[dict[str, Any]] = []
        watching = asyncio.create_task(watch(client, seen))
        numbers = iter(range(CALLS))

        async def work() -> list[str]:
            return [await one_call(client, rng, number) for number in numbers]

        started = time.monotonic()
        kinds = [kind for kinds in await asyncio.gather(*(work() for _ in range(IN_FLIGHT))) for kind in kinds]
        took_s = time.monotonic() - started
        watching.cancel()
        await asyncio.wait([watching])

        assert len(kinds) == CALLS
        assert set(executions(project).values()) == {1}
        assert len(executions(project)) == kinds.count("count")
        assert {link["state"] for link in seen} == {"ready"}
        assert max(link["connections"] for link in seen) <= PERMITTED + 1  # a probe dials its own while all are busy
        assert max(link["in_flight"] for link in seen) <= PERMITTED
        async with asyncio.timeout(4 * SPARE_IDLE_S):
            while (after := next(iter((await client.links()).values())))["connections"] > 1:
                await asyncio.sleep(0.1)
        assert (after["connections"], after["in_flight"], after["parked"]) == (1, 0, 0)
        assert after["local_port"] == before["local_port"]
        assert after["connection_age_s"] > before["connection_age_s"]
        most = max(link["connections"] for link in seen)
        print(f"{CALLS} calls in {took_s:.1f} s, at most {most} connections of {PERMITTED}, {after['dials']} dials")
        assert client.unasked == []
