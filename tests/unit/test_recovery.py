"""What the hub does when the machine sleeps, when it is not run, and when the network changes, in virtual time."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from brummer.hub.recovery import PROBES_AT_ONCE
from brummer.link.connections import Connections
from brummer.link.link import Link
from brummer.link.state import State

from .virtual_schedules import run_schedule
from .virtual_world import DOWN, LO, in_virtual_time, world

SCHEDULES = 60


def suspicions(link: Link) -> list[str]:
    bad = {State.SUSPECT, State.RETRYING, State.IMPOSTOR}
    return [transition.reason for transition in link.history if transition.after in bad]


@pytest.mark.parametrize("seconds", [0.5, 30.0, 86_400.0])
def test_a_sleep_accuses_nobody_and_dials_nothing_anew(seconds: float) -> None:
    async def main() -> None:
        async with world(3, seed=1) as here:
            ports = [link.connections.oldest.local_port for link in here.links() if link.connections.oldest]
            calls = [asyncio.create_task(here.call(project, 1, takes_s=2.0)) for project in here.projects]
            await asyncio.sleep(1)
            here.sleep(seconds)
            answers = await asyncio.gather(*calls)
            assert [answer["answer"]["by"] for answer in answers] == [project.id for project in here.projects]
            assert [project.ran for project in here.projects] == [Counter({1: 1})] * 3
            await asyncio.sleep(10)
            assert [suspicions(link) for link in here.links()] == [[], [], []]
            assert [link.connections.oldest and link.connections.oldest.local_port for link in here.links()] == ports
            (entry,) = here.recovery.timeline.describe()
            assert (entry["kind"], entry["seconds"]) == ("slept", pytest.approx(seconds))
            assert entry["did"] == "read the directory again; asked 3 links: 3 ready"
            assert entry["took_s"] < 3
            assert here.scans == 1

    in_virtual_time(main())


@pytest.mark.parametrize("seconds", [3.0, 10.0, 120.0])
def test_a_pause_of_ours_is_held_against_nobody_and_no_answer_is_lost(seconds: float) -> None:
    async def main() -> None:
        async with world(3, seed=2) as here:
            calls = [asyncio.create_task(here.call(project, 1, takes_s=2.0)) for project in here.projects]
            await asyncio.sleep(1)
            here.pause(seconds)
            assert ["answer" in answer for answer in await asyncio.gather(*calls)] == [True] * 3
            await asyncio.sleep(10)
            assert [suspicions(link) for link in here.links()] == [[], [], []]
            kinds = [entry["kind"] for entry in here.recovery.timeline.describe()]
            assert kinds == (["paused"] if seconds > 7 else kinds)

    in_virtual_time(main())


def test_the_wave_after_a_wake_asks_four_at_a_time_and_all_are_ready_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    running = most = 0
    open_connection = Connections.open

    async def counted(self: Connections) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(0.005)
            return await open_connection(self)
        finally:
            running -= 1

    async def main() -> None:
        nonlocal most
        async with world(200, seed=3) as here:
            monkeypatch.setattr(Connections, "open", counted)
            for link in here.links():
                link.connections.calls._opener = link.connections.open
            most = 0
            dials = {link: link.connections.dials for link in here.links()}
            here.sleep(3600)
            await asyncio.sleep(5)
            assert 0 < most <= PROBES_AT_ONCE
            assert all(link.state is State.READY and link.connections.dials == dials[link] + 1 for link in here.links())
            assert here.recovery.timeline.describe()[0]["took_s"] < 3

    in_virtual_time(main())


def test_an_instance_that_died_in_its_sleep_is_found_out_by_the_wave() -> None:
    async def main() -> None:
        async with world(2, seed=4) as here:
            dead, alive = here.projects
            await dead.die()
            here.sleep(600)
            await asyncio.sleep(2)
            assert here.known(dead).link.state is State.RETRYING
            assert here.known(alive).link.state is State.READY
            await here.start(dead)
            await here.all_ready(1)

    in_virtual_time(main())


def test_backoff_is_forgiven_at_most_once_a_minute() -> None:
    async def main() -> None:
        async with world(1, seed=5) as here:
            link = here.links()[0]
            await here.projects[0].die()
            await asyncio.sleep(20)
            before = link.attempts
            assert before > 3
            here.sleep(10)
            assert link.attempts == 0
            await asyncio.sleep(20)
            tired = link.attempts
            here.sleep(10)
            assert link.attempts == tired
            await here.start(here.projects[0])
            await here.all_ready(1)

    in_virtual_time(main())


def test_a_wake_leaves_an_open_breaker_alone() -> None:
    async def main() -> None:
        async with world(2, seed=6) as here:
            link = here.links()[0]
            for _ in range(3):
                link.breaker.failed(here.loop.time())
            assert link.breaker.state(here.loop.time()) == "open"
            here.sleep(600)
            assert link.breaker.state(here.loop.time()) == "open"

    in_virtual_time(main())


def test_loopback_that_returns_has_every_link_looked_at_within_a_second() -> None:
    async def main() -> None:
        async with world(3, seed=7) as here:
            for project in here.projects:
                project.answers.clear()
            here.change_network(DOWN)
            calls = [asyncio.create_task(here.call(project, 1, takes_s=0.0)) for project in here.projects]
            await asyncio.sleep(12)
            assert all(link.state is not State.READY for link in here.links())
            for project in here.projects:
                project.answers.set()
            here.change_network(LO)
            await here.all_ready(1)
            assert ["answer" in answer for answer in await asyncio.gather(*calls)] == [True] * 3
            assert [project.ran for project in here.projects] == [Counter({1: 1})] * 3
            assert all(link.breaker.state(here.loop.time()) == "closed" for link in here.links())
            await asyncio.sleep(1)
            did = [entry["did"] for entry in here.recovery.timeline.describe()]
            assert did == ["no link to ask", "asked 3 links: 3 ready"]

    in_virtual_time(main())


def test_whatever_happens_in_whatever_order_every_call_gets_one_true_answer() -> None:
    """`make integration-test` runs a thousand of these."""
    for seed in range(SCHEDULES):
        run_schedule(seed)
