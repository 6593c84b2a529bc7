"""Exactly once, whatever happens to connections: two thousand calls that change something, through faulty proxies."""

import asyncio
import collections
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from brummer.testing.fault_proxy import FaultProxy, FaultScript, ProxyFaults, random_faults
from tests.integration.programs import BRUM, Brum
from tests.integration.scenarios.counting import executions, publish, record_of
from tests.integration.scenarios.stdio import Client

COUNTING: Final = Path(__file__).parent / "scenarios" / "counting.py"
CALLS: Final = 2000
IN_FLIGHT: Final = 24
UP_TO_BYTES: Final = 8_000
"""Some eight calls: no connection lives longer."""

LONGEST_S: Final = 20.0
"""What a call may be parked; none of these is ever without an instance that lives."""

SEED: Final = int(os.environ.get("SEED", "7"))


class World:
    """Counting instances, each behind a proxy that is all that the hub knows of it."""

    def __init__(self, client: Client, projects: list[Path], proxies: list[FaultProxy]) -> None:
        self.client = client
        self.projects = projects
        self.proxies = proxies
        self.answers: collections.Counter[tuple[str, int]] = collections.Counter()
        self.errors: list[dict[str, Any]] = []
        self.longest_s = 0.0

    async def count(self, project: str, number: int, size: int, ms: float) -> None:
        asked = time.monotonic()
        content = await self.client.call_in(project, "count", n=number, ms=ms, size=size)
        self.longest_s = max(self.longest_s, time.monotonic() - asked)
        if "error" in content:
            self.errors.append(content["error"])
            return
        assert (content["n"], content["project"], len(content["filling"])) == (number, project, size)
        self.answers[project, number] += 1

    def ran(self) -> collections.Counter[tuple[str, int]]:
        """How often each number ran in each project, by what the instances themselves have counted."""
        return collections.Counter(
            {
                (project.name, number): times
                for project in self.projects
                for number, times in executions(project).items()
            }
        )

    def happened(self) -> collections.Counter[str]:
        """What the proxies have done."""
        return sum((proxy.counts for proxy in self.proxies), collections.Counter[str]())


@contextlib.asynccontextmanager
async def world(brum: Brum, *scripts: FaultScript) -> AsyncIterator[World]:
    """As many instances as scripts. The hub reads records from a directory that no instance sets right again."""
    projects = [brum.project(f"p{number}", {"Procfile": "none: true\n"}) for number, _ in enumerate(scripts)]
    programs = [brum.python(COUNTING, project) for project in projects]
    seen_by_hub = brum.home / "seen-by-hub"
    environment = {**brum.environment, "BRUMMER_INSTANCES_DIR": str(seen_by_hub)}
    async with contextlib.AsyncExitStack() as stack:
        proxies = []
        for program, script in zip(programs, scripts, strict=True):
            program.stdout.until("http://")
            record = record_of(brum.instances, program.pid)
            port = int(record["url"].split(":")[2].split("/")[0])
            proxies.append(await stack.enter_async_context(FaultProxy("127.0.0.1", port, script)))
            publish(seen_by_hub, record, url=f"http://127.0.0.1:{proxies[-1].port}/mcp")
        client = await stack.enter_async_context(Client.running(BRUM, "--mcp", env=environment))
        yield World(client, projects, proxies)


@pytest.mark.promise("exactly-once")
async def test_every_call_runs_once_while_connections_are_cut_at_random_bytes(brum: Brum) -> None:
    rng = random.Random(SEED)
    scripts = [random_faults(random.Random(rng.random()), up_to_bytes=UP_TO_BYTES) for _ in range(3)]
    async with world(brum, *scripts) as there:
        numbers = iter(range(CALLS))

        async def work() -> None:
            for number in numbers:
                project, size, ms = rng.randrange(3), rng.choice((0, 0, 100, 3_000)), rng.choice((0, 0, 0, 2, 20))
                await there.count(f"p{project}", number, size, ms)

        started = time.monotonic()
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        took_s, happened, ran = time.monotonic() - started, there.happened(), there.ran()
        print(
            f"seed {SEED}: {CALLS} calls in {took_s:.1f} s, the longest {there.longest_s:.2f} s;"
            f" {ran.total()} executions, {there.answers.total()} answers, {len(there.errors)} errors; {dict(happened)}"
        )
        assert there.errors == [], await there.client.links()
        assert ran == there.answers
        assert set(ran.values()) == {1}
        assert ran.total() == CALLS
        assert happened["cuts"] > CALLS / 20
        assert happened["repeats"] > CALLS / 100
        assert there.longest_s < LONGEST_S
        assert there.client.unasked == []


async def test_a_reset_that_comes_with_half_of_an_answer_is_noticed_at_once(brum: Brum) -> None:
    """Uvloop tells of both together, and only once: who reads no further then waits for ever."""
    half = ProxyFaults(cut_answers_at=700, resets=True)
    async with world(brum, lambda number: half if number % 2 == 0 else ProxyFaults(cut_answers_at=3_000)) as there:
        for number in range(6):
            await there.count("p0", number, 1_000, 0)
        assert there.errors == []
        assert there.ran() == there.answers
        assert there.happened()["resets"] > 0
        assert there.longest_s < 5.0


async def test_bytes_that_come_one_by_one_are_the_same_bytes(brum: Brum) -> None:
    async with world(brum, lambda _: ProxyFaults(piece_bytes=1)) as there:
        await asyncio.gather(*(there.count("p0", number, 50, 0) for number in range(20)))
        assert there.errors == []
        assert there.ran() == there.answers
        assert there.happened()["cuts"] == 0


@pytest.mark.promise("exactly-once")
async def test_what_arrives_again_after_its_connection_is_not_run_again(brum: Brum) -> None:
    """Half of the connections end inside their first answer, and then the whole request comes once more."""
    rng = random.Random(SEED)
    faults = ProxyFaults(cut_answers_at=700, repeats=True, resets=True)
    async with world(brum, lambda _: faults if rng.random() < 0.5 else ProxyFaults(cut_answers_at=5_000)) as there:
        for number in range(8):
            await there.count("p0", number, 500, 5)
        assert there.errors == []
        assert there.ran() == there.answers
        assert there.happened()["repeats"] > 0
