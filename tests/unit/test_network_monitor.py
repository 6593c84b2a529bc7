"""Hints, the heartbeat and endpoints: what the monitor tells of, and when."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from brummer.core.supervisor import STABLE_S, TASK_CAP_S, Supervisor
from brummer.host import clocks, interfaces
from brummer.network import monitor as monitor_module
from brummer.network.monitor import BEAT_S, DEBOUNCE_S, MachineEvent, Monitor, NetworkChanged, Sources
from brummer.network.snapshot import Snapshot
from brummer.network.wake import ClockSet, Paused, Slept
from brummer.testing.virtual_time import START_S, VirtualClock, VirtualLoop

from .virtual_world import in_virtual_time

ONLINE = Snapshot(("192.168.1.5", None), carrier=True)
OFFLINE = Snapshot()


class Watch:
    def __init__(self) -> None:
        self.hint: Callable[[], None] | None = None
        self.fail: Callable[[OSError], None] = lambda _: None

    def __call__(
        self, _: asyncio.AbstractEventLoop, on_hint: Callable[[], None], on_failed: Callable[[OSError], None]
    ) -> "Watch":
        self.hint, self.fail = on_hint, on_failed
        return self

    def close(self) -> None:
        self.hint = None


def refused(*_: Any) -> Any:
    raise PermissionError("a sandbox")


class Scene:
    """What the monitor sees, and what it has told, with the second it told it in."""

    def __init__(self, *, sandboxed: bool, on_beat: Callable[[float], object]) -> None:
        loop = asyncio.get_running_loop()
        self.told: list[tuple[float, MachineEvent]] = []
        self.supervisor = Supervisor()
        self.network = ONLINE
        self.shortage: OSError | None = None
        self.clock = VirtualClock(loop)
        self.clocks, self.links = Watch(), Watch()
        watches = (refused, refused) if sandboxed else (self.clocks, self.links)
        sources = Sources(self.clock, self._snapshot, *watches)
        self.monitor = Monitor(
            lambda event: self.told.append((loop.time() - START_S, event)), sources=sources, on_beat=on_beat
        )

    def _snapshot(self) -> Snapshot:
        if self.shortage is not None:
            raise self.shortage
        return self.network

    def failed(self) -> list[tuple[str, str]]:
        """Name and code of the recent failures."""
        return [(failure.name, failure.code) for failure in self.supervisor.failures()]


@contextlib.asynccontextmanager
async def watching(
    *, sandboxed: bool = False, on_beat: Callable[[float], object] = lambda _: None
) -> AsyncIterator[Scene]:
    scene = Scene(sandboxed=sandboxed, on_beat=on_beat)
    scene.monitor.start(scene.supervisor)
    await asyncio.sleep(0)
    try:
        yield scene
    finally:
        await scene.supervisor.close()
        assert (scene.clocks.hint, scene.links.hint) == (None, None)


def test_a_shortage_that_hides_the_network_is_no_change_of_it() -> None:
    async def story() -> None:
        async with watching() as scene:
            scene.shortage = OSError(errno.EMFILE, "no descriptor left")
            assert scene.links.hint is not None
            scene.links.hint()
            await asyncio.sleep(2 * BEAT_S)
            assert (scene.told, scene.failed(), scene.monitor.is_online) == ([], [], True)
            scene.shortage, scene.network = None, OFFLINE
            await asyncio.sleep(BEAT_S)
            assert [type(event) for _, event in scene.told] == [NetworkChanged]
            assert not scene.monitor.is_online

    in_virtual_time(story())


def test_a_hint_from_the_clocks_is_looked_at_at_once() -> None:
    async def main() -> None:
        async with watching() as scene:
            await asyncio.sleep(1)
            scene.clock.asleep_s = 30
            assert scene.clocks.hint
            scene.clocks.hint()
            scene.clocks.hint()  # which is for nothing
            assert scene.told == [(1.0, Slept(30.0))]
            scene.clock.set_forth_s = 3600
            scene.clocks.hint()
            assert scene.told[1:] == [(1.0, ClockSet(3600.0))]

    in_virtual_time(main())


def test_a_burst_from_the_network_is_looked_at_once_a_quarter_second_after_its_first_message() -> None:
    async def main() -> None:
        async with watching() as scene:
            scene.network = OFFLINE
            for _ in range(50):
                assert scene.links.hint
                scene.links.hint()
                await asyncio.sleep(0.001)
            await asyncio.sleep(1)
            ((at_s, event),) = scene.told
            assert at_s == pytest.approx(DEBOUNCE_S)
            assert event == NetworkChanged(("the default route for IPv4 is gone",), online=False, loopback=True)
            assert not scene.monitor.is_online

    in_virtual_time(main())


def test_without_hints_the_heartbeat_finds_everything() -> None:
    async def main() -> None:
        async with watching(sandboxed=True) as scene:
            assert scene.monitor.watches == []
            scene.network = OFFLINE
            scene.clock.asleep_s = 30
            await asyncio.sleep(2 * BEAT_S)
            assert [(at_s, event.kind) for at_s, event in scene.told] == [(BEAT_S, "slept"), (BEAT_S, "network")]

    in_virtual_time(main())


def test_a_heartbeat_that_comes_late_tells_of_a_pause() -> None:
    async def main() -> None:
        async with watching() as scene:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            await asyncio.sleep(1)
            loop.stand_still(60)
            await asyncio.sleep(1)
            assert scene.told == [(61.0, Paused(56.0))]
            await asyncio.sleep(60)
            assert len(scene.told) == 1

    in_virtual_time(main())


def test_an_exception_in_a_check_of_the_heartbeat_ends_no_other_check_and_is_a_problem() -> None:
    async def main() -> None:
        beats: list[float] = []

        def on_beat(now_s: float) -> None:
            beats.append(now_s)
            raise ZeroDivisionError("a defect")

        async with watching(sandboxed=True, on_beat=on_beat) as scene:
            await asyncio.sleep(20 * BEAT_S)
            assert len(beats) >= 5
            assert ("heartbeat", "task_failed") in scene.failed()
            scene.network = OFFLINE
            scene.clock.asleep_s = 30
            await asyncio.sleep(TASK_CAP_S + 2 * BEAT_S)
            assert sorted(event.kind for _, event in scene.told) == ["network", "slept"]

    in_virtual_time(main())


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOMEM, errno.ENOTCONN])
def test_a_watch_that_can_not_be_read_is_opened_again_and_is_a_problem_meanwhile(number: int) -> None:
    async def main() -> None:
        async with watching() as scene:
            scene.clocks.fail(OSError(number, "broken"))
            scene.links.fail(OSError(number, "broken"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert scene.monitor.watches == []
            assert sorted(scene.failed()) == [("hints of the clocks", "no_hints"), ("hints of the network", "no_hints")]
            await asyncio.sleep(1)
            assert sorted(scene.monitor.watches) == ["clocks", "network"]
            await asyncio.sleep(STABLE_S)
            assert scene.failed() == []

    in_virtual_time(main())


async def test_with_endpoints_being_online_means_that_one_of_them_takes_a_connection() -> None:
    """In real time: sockets that refuse do so when they please."""
    listener = socket.create_server(("127.0.0.1", 0))
    with socket.create_server(("127.0.0.1", 0)) as gone:
        endpoints = (gone.getsockname()[:2], listener.getsockname()[:2])
    told: asyncio.Queue[MachineEvent] = asyncio.Queue()
    network = OFFLINE
    watch = Watch()
    sources = Sources(clocks, lambda: network, refused, watch)
    monitor = Monitor(told.put_nowait, sources=sources, endpoints=endpoints)
    supervisor = Supervisor()
    monitor.start(supervisor)
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(10):
            assert watch.hint
            watch.hint()
            assert await told.get() == NetworkChanged(("an endpoint answers",), online=True, loopback=True)
            assert monitor.is_online
            listener.close()
            network = Snapshot(("10.0.0.1", None))
            watch.hint()
            assert (await told.get()).kind == "network"  # the route: still believed to be online
            assert await told.get() == NetworkChanged(("no endpoint answers",), online=False, loopback=True)
    finally:
        await supervisor.close()


async def test_the_real_sources_open_tell_something_and_close() -> None:
    loop = asyncio.get_running_loop()
    hints: list[str] = []
    for watch in (clocks.watch_clocks, interfaces.watch_network):
        watch(loop, lambda: hints.append("hint"), lambda _: None).close()
    reading = clocks.reading()
    assert reading.asleep_s >= -0.01
    assert isinstance(interfaces.loopback_is_up(), bool)
    assert interfaces.carrier() in (True, False, None)
    assert len(interfaces.default_sources()) == 2


async def test_an_old_answer_of_an_endpoint_says_nothing_of_a_new_network(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[asyncio.Future[bool]] = []

    async def answered(_: object) -> bool:
        asked.append(asyncio.get_running_loop().create_future())
        return await asked[-1]

    monkeypatch.setattr(monitor_module, "_takes_connection", answered)
    told: asyncio.Queue[MachineEvent] = asyncio.Queue()
    networks = iter((OFFLINE, ONLINE, OFFLINE))
    watch = Watch()
    sources = Sources(clocks, lambda: next(networks), refused, watch)
    monitor = Monitor(told.put_nowait, sources=sources, endpoints=[("192.0.2.7", 443)])
    supervisor = Supervisor()
    monitor.start(supervisor)
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(10):
            for number in (1, 2):
                assert watch.hint
                watch.hint()
                await told.get()
                while len(asked) < number:
                    await asyncio.sleep(0)
            assert asked[0].cancelled()
            asked[1].set_result(True)
            assert await told.get() == NetworkChanged(("an endpoint answers",), online=True, loopback=True)
    finally:
        await supervisor.close()
