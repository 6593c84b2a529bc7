"""What the hub does when the machine sleeps, when it is not run, and when the network changes, in virtual time."""

import asyncio
import contextlib
from collections import Counter

import pytest

from brummer.discovery.record import Record
from brummer.hub.recovery import PROBES_AT_ONCE
from brummer.link.link import Link
from brummer.link.prober import REMOTE_WAVE_S, WAVE_S
from brummer.link.state import LinkState
from brummer.network.snapshot import Snapshot
from brummer.network.wake import ClockSet, GoingToSleep
from brummer.settings.servers import Server

from .virtual_world import DOWN, LO, TOKEN, in_virtual_time, world

ONLINE = Snapshot(("192.168.1.5", None), carrier=True)


def far(record: Record) -> str:
    """Its URL, with a name that is not one of this machine."""
    return record.url.replace("127.0.0.1", "docs.example")


def suspicions(link: Link) -> list[str]:
    bad = {LinkState.SUSPECT, LinkState.RETRYING, LinkState.IMPOSTOR}
    return [transition.reason for transition in link.history if transition.after in bad]


@pytest.mark.promise("a-warm-connection")
@pytest.mark.parametrize("seconds", [0.5, 30.0, 86_400.0])
def test_a_sleep_accuses_no_instance_and_dials_nothing_anew(seconds: float) -> None:
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
            assert entry.kind == "slept"
            assert entry.seconds == pytest.approx(seconds)
            assert entry.did == "scanned the directory; probed 3 links: 3 ready"
            assert (entry.took_s or 0.0) < 3
            assert here.scans == 1

    in_virtual_time(main())


@pytest.mark.parametrize("event", [ClockSet(-3600.0), ClockSet(3600.0), GoingToSleep()])
def test_a_set_clock_and_an_announced_sleep_are_noted_and_nothing_is_done(event: ClockSet | GoingToSleep) -> None:
    async def main() -> None:
        async with world(1, seed=1) as here:
            here.recovery.on_event(event)
            await asyncio.sleep(5)
            (entry,) = here.recovery.timeline.describe()
            assert (entry.kind, (entry.did or "").partition(":")[0]) == (event.kind, "nothing")
            assert (here.scans, suspicions(here.links()[0])) == (0, [])

    in_virtual_time(main())


def test_a_wake_whose_work_fails_ends_and_reports_it() -> None:
    async def main() -> None:
        async with world(1, seed=1) as here:
            here.rescan_error = OSError(24, "Too many open files")
            here.sleep(30.0)
            await asyncio.sleep(5)
            (entry,) = here.recovery.timeline.describe()
            assert entry.did.startswith("failed")

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
            kinds = [entry.kind for entry in here.recovery.timeline.describe()]
            assert kinds == (["paused"] if seconds > 7 else kinds)

    in_virtual_time(main())


@pytest.mark.promise("ready-after-a-wake")
def test_the_wave_after_a_wake_asks_four_at_a_time_and_all_are_ready_soon() -> None:
    async def main() -> None:
        async with world(200, seed=3) as here:
            here.sockets.most_connecting = 0
            dials = {link: link.connections.dials for link in here.links()}
            here.sleep(3600)
            await asyncio.sleep(5)
            assert 0 < here.sockets.most_connecting <= PROBES_AT_ONCE
            assert all(
                link.state is LinkState.READY and link.connections.dials == dials[link] + 1 for link in here.links()
            )
            assert (here.recovery.timeline.describe()[0].took_s or 0.0) < 3

    in_virtual_time(main())


def test_an_instance_that_died_in_its_sleep_is_found_out_by_the_wave() -> None:
    async def main() -> None:
        async with world(2, seed=4) as here:
            dead, alive = here.projects
            await dead.die()
            here.sleep(600)
            await asyncio.sleep(2)
            assert here.known(dead).link.state is LinkState.RETRYING
            assert here.known(alive).link.state is LinkState.READY
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


def test_a_wake_makes_no_link_ready_that_has_not_answered() -> None:
    async def main() -> None:
        async with world(2, seed=11) as here:
            hung, link = here.projects[0], here.links()[0]
            hung.answers.clear()
            calls = [asyncio.create_task(here.call(hung, number, takes_s=0.0)) for number in (1, 2)]
            await asyncio.sleep(8)
            for _ in range(3):
                link.breaker.failed(here.loop.time())
            assert link.state is LinkState.SUSPECT
            here.sleep(600)
            await asyncio.sleep(0.5)
            assert (link.state, link.breaker.state(here.loop.time())) == (LinkState.SUSPECT, "open")
            hung.answers.set()
            await here.all_ready(1)
            assert ["answer" in answer for answer in await asyncio.gather(*calls)] == [True, True]

    in_virtual_time(main())


def test_a_server_that_talks_nonsense_hinders_no_wave() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b'{"jsonrpc":"2.0","id":1,"error":"unauthorized"}'
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"}"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
        async with world(2, seed=12) as here:
            here.instances.add_server(Server("bad", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"))
            good = [link for link in here.links() if link.target.instance_id != "bad"]
            for _ in range(6):
                asked_s = [link.health.last_asked_s for link in good]
                here.sleep(600)
                await asyncio.sleep(5)
                assert all(link.health.last_asked_s > old for link, old in zip(good, asked_s, strict=True))
            assert all(entry.did for entry in here.recovery.timeline.describe())
        server.close()
        await asyncio.sleep(1)

    in_virtual_time(main())


def test_loopback_that_returns_has_every_link_looked_at_within_a_second() -> None:
    async def main() -> None:
        async with world(3, seed=7) as here:
            for project in here.projects:
                project.answers.clear()
            here.change_network(DOWN)
            calls = [asyncio.create_task(here.call(project, 1, takes_s=0.0)) for project in here.projects]
            await asyncio.sleep(12)
            assert all(link.state is not LinkState.READY for link in here.links())
            for project in here.projects:
                project.answers.set()
            here.change_network(LO)
            await here.all_ready(1)
            assert ["answer" in answer for answer in await asyncio.gather(*calls)] == [True] * 3
            assert [project.ran for project in here.projects] == [Counter({1: 1})] * 3
            assert all(link.breaker.state(here.loop.time()) == "closed" for link in here.links())
            await asyncio.sleep(1)
            did = [entry.did for entry in here.recovery.timeline.describe()]
            assert did == ["no link to probe", "probed 3 links: 3 ready"]

    in_virtual_time(main())


@pytest.mark.promise("network-churn")
def test_offline_leaves_remote_servers_alone_and_online_asks_them_at_once() -> None:
    async def main() -> None:
        async with world(2, seed=8) as here:
            here.change_network(ONLINE)
            record = here.projects[1].record
            assert record
            here.instances.add_server(Server("docs", far(record), {"authorization": f"Bearer {TOKEN}"}))
            await asyncio.sleep(1)
            await here.all_ready(5)
            remote, local = (
                next(link for link in here.links() if link.target.instance_id == name)
                for name in ("docs", here.projects[0].id)
            )
            here.change_network(LO)
            await asyncio.sleep(1)
            asked = remote.connections.dials
            await asyncio.sleep(600)
            assert (remote.state, remote.connections.dials) == (LinkState.READY, asked)
            here.sleep(10)
            await asyncio.sleep(1)
            assert remote.connections.dials == asked
            assert local.connections.dials > 5  # as ever: loopback needs no route
            here.change_network(ONLINE)
            await asyncio.sleep(1)
            assert (remote.state, remote.connections.dials) == (LinkState.READY, asked + 1)
            did = [entry.did for entry in here.recovery.timeline.describe()]
            assert did == [
                "probed 3 links: 3 ready",
                "probed 2 links: 2 ready; 1 remote ones are not probed while offline",
                "scanned the directory; probed 2 links: 2 ready",
                "probed 3 links: 3 ready",
            ]

    in_virtual_time(main())


def test_quiet_links_are_asked_now_and_then_together_and_remote_ones_more_often() -> None:
    async def main() -> None:
        async with world(2, seed=9) as here:
            record = here.projects[1].record
            assert record
            here.instances.add_server(Server("docs", far(record), {"authorization": f"Bearer {TOKEN}"}))
            await here.all_ready(5)
            before = {link.target.instance_id: link.connections.dials for link in here.links()}
            await asyncio.sleep(10 * WAVE_S)
            asked = {link.target.instance_id: link.connections.dials for link in here.links()}
            assert {name: asked[name] - before[name] for name in asked} == {
                here.projects[0].id: 10,
                here.projects[1].id: 10,
                "docs": 10 * WAVE_S / REMOTE_WAVE_S,
            }

    in_virtual_time(main())


def test_a_link_that_carries_calls_is_not_asked() -> None:
    async def main() -> None:
        async with world(1, seed=10) as here:
            before = here.links()[0].connections.dials
            for number in range(130):
                assert "answer" in await here.call(here.projects[0], number, takes_s=0.001)
                await asyncio.sleep(1)
            assert here.links()[0].connections.dials == before

    in_virtual_time(main())
