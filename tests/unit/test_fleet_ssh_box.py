"""A box in virtual time: which events its rosters become, and how its connection is kept."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
import pytest

from brummer.core.errors import BrummerError
from brummer.discovery.events import Appeared, Changed, DirectoryEvent, Gone, GoneReason
from brummer.discovery.record import Record, Via
from brummer.fleet import bridge_lines, ssh_box
from brummer.fleet.bridge_lines import ALIVE, UNSEEN
from brummer.fleet.ssh_box import SshBox
from brummer.testing.virtual_time import VirtualClock

from .discovery_support import record_of_this_process
from .virtual_world import in_virtual_time

GREETING: Final = bridge_lines.greeting("0.2.0", "machine") + b"\n"


class NoPort(BrummerError):
    code = "ssh_failed"


class Far:
    """One connection to the other machine, and what is known there. ``answers``: it answers questions."""

    def __init__(self, *lines: bytes) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.answers = True
        self.ports = iter(range(40_001, 41_000))
        self.open: dict[int, Record] = {}
        self.forwarding: Callable[[], Any] | None = None
        self.closed = asyncio.Event()
        self.asked = 0
        for line in lines:
            self.lines.put_nowait(line)

    async def line(self) -> bytes:
        return await self.lines.get()

    def ask(self) -> None:
        self.asked += 1
        if self.answers:
            asyncio.get_running_loop().call_later(0.02, self.lines.put_nowait, ALIVE)

    async def forward(self, far: Record) -> int:
        if self.forwarding is not None:
            await self.forwarding()
        port = next(self.ports)
        self.open[port] = far
        return port

    async def cancel(self, port: int, far: Record) -> None:
        assert self.open.pop(port).url == far.url

    async def close(self, *, has_greeted: bool) -> str:
        self.closed.set()
        return ""

    def tell(self, *records: Record, gone: dict[str, GoneReason] | None = None) -> None:
        self.lines.put_nowait(bridge_lines.roster(records, gone or {}))

    def end(self) -> None:
        self.lines.put_nowait(b"")


class World:
    """A box whose connections the test gives out; without one, an attempt fails at once."""

    def __init__(self) -> None:
        self.events: list[DirectoryEvent] = []
        self.connections: list[Far] = []
        self.attempts: list[float] = []
        self.is_wanted = False
        self.loop = asyncio.get_running_loop()
        self.clock = VirtualClock(self.loop)
        self.box = SshBox(
            "box", self._connect, self.events.append, self.clock, rng=Random(1), is_wanted=lambda: self.is_wanted
        )

    async def _connect(self) -> Far:
        self.attempts.append(self.loop.time())
        if not self.connections:
            raise NoPort("no way there")
        return self.connections.pop(0)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["World"]:
        task = asyncio.create_task(self.box.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled(), task

    async def next_event(self, seconds: float = 60.0) -> DirectoryEvent:
        await self.until(lambda: bool(self.events), seconds)
        return self.events.pop(0)

    async def until(self, holds: Callable[[], bool], seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.02)

    async def appeared(self, far: Far, record: Record) -> Record:
        """It is told by the box, and passed on; returns what was passed on."""
        far.tell(record)
        event = await self.next_event()
        assert isinstance(event, Appeared), event
        return event.record


def instance(path: str = "/projects/app", **changes: Any) -> Record:
    return record_of_this_process(Path(path), **{"generation": secrets.token_hex(8), **changes})


def near(record: Record, port: int) -> Record:
    return msgspec.structs.replace(record, url=f"http://127.0.0.1:{port}/mcp", via=Via("box", "ssh"))


def in_world(test: Callable[[World, Far], Any]) -> None:
    """Run it with a box that gets this connection first."""

    async def main() -> None:
        world, far = World(), Far(GREETING)
        world.connections.append(far)
        async with world.running():
            await test(world, far)

    in_virtual_time(main())


def test_an_instance_of_the_box_is_passed_on_once_a_port_leads_to_it() -> None:
    async def test(world: World, far: Far) -> None:
        record = instance(url="http://[::1]:4000/mcp")
        assert await world.appeared(far, record) == near(record, 40_001)
        await world.until(lambda: world.box.state == "ready")
        await world.until(lambda: world.box.rtt_s is not None)
        assert (world.box.instances, world.box.detail, far.open) == (1, "", {40_001: record})
        assert world.box.rtt_s == pytest.approx(0.02, abs=0.01)

    in_world(test)


def test_an_end_that_the_box_reports_is_passed_on_with_its_reason_and_the_port_is_closed() -> None:
    async def test(world: World, far: Far) -> None:
        record = instance()
        passed_on = await world.appeared(far, record)
        far.tell(gone={record.generation: "process died"})
        assert await world.next_event() == Gone(passed_on, "process died")
        await world.until(lambda: not far.open)

    in_world(test)


def test_a_restart_is_the_end_of_one_run_and_a_new_one_on_another_port() -> None:
    async def test(world: World, far: Far) -> None:
        first, second = instance(), instance()
        passed_on = await world.appeared(far, first)
        far.tell(second, gone={first.generation: "withdrawn"})
        assert await world.next_event() == Gone(passed_on, "withdrawn")
        assert await world.next_event() == Appeared(near(second, 40_002))

    in_world(test)


def test_a_record_that_changes_keeps_its_port_unless_its_address_changes() -> None:
    async def test(world: World, far: Far) -> None:
        record = instance()
        passed_on = await world.appeared(far, record)
        renamed = msgspec.structs.replace(record, name="renamed")
        far.tell(renamed)
        assert await world.next_event() == Changed(passed_on, near(renamed, 40_001))
        moved = msgspec.structs.replace(renamed, url="http://127.0.0.1:4001/mcp")
        far.tell(moved)
        assert await world.next_event() == Changed(near(renamed, 40_001), near(moved, 40_002))
        await world.until(lambda: far.open == {40_002: moved})

    in_world(test)


def test_while_the_box_is_silent_its_instances_stay_and_it_says_since_when() -> None:
    async def test(world: World, far: Far) -> None:
        passed_on = await world.appeared(far, instance())
        await world.until(lambda: world.box.state == "ready")
        far.answers = False
        began_s = world.loop.time()
        await world.until(lambda: world.box.state == "unreachable", ssh_box.UNANSWERED_S + 10)
        assert world.events == []
        assert world.box.since_s == pytest.approx(world.loop.time() - began_s, abs=ssh_box.ASK_EVERY_S + 0.1)
        assert world.box.detail != ""
        returned = Far(GREETING)
        returned.ports = iter([50_001])
        returned.tell(msgspec.structs.replace(passed_on, url="http://127.0.0.1:4000/mcp", via=None))
        world.connections.append(returned)
        event = await world.next_event()
        assert event == Changed(passed_on, msgspec.structs.replace(passed_on, url="http://127.0.0.1:50001/mcp"))
        await world.until(lambda: world.box.state == "ready")

    in_world(test)


def test_what_has_ended_meanwhile_is_passed_on_when_the_box_is_back() -> None:
    async def test(world: World, far: Far) -> None:
        passed_on = await world.appeared(far, instance())
        returned = Far(GREETING)
        returned.tell()
        world.connections.append(returned)
        far.end()
        assert await world.next_event() == Gone(passed_on, UNSEEN)
        assert far.closed.is_set()

    in_world(test)


def test_an_instance_that_ends_while_its_port_is_opened_is_never_passed_on() -> None:
    async def test(world: World, far: Far) -> None:
        gate, reached = asyncio.Event(), asyncio.Event()

        async def forwarding() -> None:
            reached.set()
            await gate.wait()

        far.forwarding = forwarding
        far.tell(instance())
        await reached.wait()
        far.tell()
        await world.until(far.lines.empty)
        gate.set()
        await world.until(lambda: world.box.state == "ready")
        assert (world.events, far.open, world.box.instances) == ([], {}, 0)

    in_world(test)


def test_an_instance_without_a_port_is_tried_again_and_the_box_says_why() -> None:
    async def test(world: World, far: Far) -> None:
        async def refuse() -> None:
            far.forwarding = None
            raise NoPort("no port is free")

        far.forwarding = refuse
        began_s = world.loop.time()
        await world.appeared(far, instance())
        assert world.loop.time() - began_s == pytest.approx(ssh_box.REOPEN_S, abs=0.5)
        await world.until(lambda: world.box.detail == "")

    in_world(test)


def test_records_that_are_none_are_left_out_and_counted() -> None:
    async def test(world: World, far: Far) -> None:
        far.lines.put_nowait(b'{"records":{"app-12345678":{"version":1}}}')
        await world.until(lambda: world.box.state == "ready")
        assert world.box.detail.startswith("1 ")

    in_world(test)


# The connection.


def test_pauses_between_attempts_grow_to_their_limit_and_the_box_has_failed() -> None:
    async def main() -> None:
        world = World()
        async with world.running():
            await world.box.settled()
            assert (world.box.state, world.box.detail) == ("failed", "no way there")
            await world.until(lambda: len(world.attempts) == 12, 300)
        pauses = [later - earlier for earlier, later in zip(world.attempts, world.attempts[1:], strict=False)]
        assert all(pause <= ssh_box.BOX_PAUSE_CAP_S + 0.01 for pause in pauses)
        assert pauses[0] <= 2 * ssh_box.BOX_PAUSE_S + 0.01
        assert min(pauses[-3:]) >= ssh_box.BOX_PAUSE_CAP_S / 2

    in_virtual_time(main())


def test_a_call_that_waits_and_a_hint_cut_the_pause_short() -> None:
    async def main() -> None:
        world = World()
        async with world.running():
            await world.until(lambda: len(world.attempts) == 8, 300)
            world.is_wanted = True
            count, began_s = len(world.attempts), world.loop.time()
            await world.until(lambda: len(world.attempts) == count + 3)
            assert world.loop.time() - began_s <= 3 * ssh_box.WANTED_PAUSE_S + 0.1
            world.is_wanted = False
            await world.until(lambda: len(world.attempts) == count + 4)
            began_s = world.loop.time()
            await asyncio.sleep(0.1)
            world.box.hint()
            await world.until(lambda: len(world.attempts) == count + 5)
            assert world.loop.time() - began_s < 0.2

    in_virtual_time(main())


def test_after_a_hint_a_connection_that_does_not_answer_is_given_up_soon_and_a_living_one_stays() -> None:
    async def test(world: World, far: Far) -> None:
        far.tell()
        await world.until(lambda: world.box.state == "ready")
        asked = far.asked
        world.box.hint()
        await asyncio.sleep(0.1)
        assert (far.asked, world.box.state) == (asked + 1, "ready")
        await asyncio.sleep(60)
        assert world.box.state == "ready"
        far.answers = False
        world.box.hint()
        await world.until(lambda: world.box.state == "unreachable", ssh_box.CHECKED_S + 0.1)

    in_world(test)


def test_what_the_shell_prints_before_the_bridge_does_is_skipped() -> None:
    async def main() -> None:
        world, far = World(), Far(b"Welcome!\n", b"\n", GREETING)
        world.connections.append(far)
        far.tell()
        async with world.running():
            await world.box.settled()
            assert world.box.state == "ready"

    in_virtual_time(main())


@pytest.mark.parametrize(
    "lines", [[b""], [b"x\n"] * 200, [b'{"brummer":"9","bridge":2,"machine":"m"}\n'], [b"{}\n"], []]
)
def test_what_is_no_bridge_that_we_understand_is_a_failure(lines: list[bytes]) -> None:
    async def main() -> None:
        world, far = World(), Far(*lines)
        world.connections.append(far)
        async with world.running():
            await world.box.settled()
            assert world.box.state == "failed"
            assert world.box.detail
            assert far.closed.is_set()

    in_virtual_time(main())


def test_a_line_that_no_bridge_writes_ends_the_connection() -> None:
    async def test(world: World, far: Far) -> None:
        far.tell()
        await world.until(lambda: world.box.state == "ready")
        far.lines.put_nowait(b"garbage\n")
        await world.until(lambda: world.box.state == "unreachable")
        assert far.closed.is_set()

    in_world(test)


def test_the_end_of_the_hub_closes_the_connection() -> None:
    async def main() -> None:
        world, far = World(), Far(GREETING)
        world.connections.append(far)
        async with world.running():
            await world.appeared(far, instance())
        assert far.closed.is_set()

    in_virtual_time(main())
