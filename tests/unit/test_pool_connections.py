"""The connections of a hub are bounded in all: who gives way, who waits, and that every place comes back."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brummer.core.errors import BrummerError, TransportError
from brummer.link.call import Call
from brummer.link.prober import Probe
from brummer.link.state import LinkState
from brummer.pool.connections import Connections, Purpose
from brummer.pool.pool import Busy, Pool
from brummer.settings.limits import Limits
from brummer.testing.virtual_time import VirtualLoop
from brummer.wire.http.server import Exchange
from brummer.wire.mcp.server import CLIENT_GONE, RunningCall

from .fake_dialler import FakeDialler, User
from .fakes import FakeInstance, answer_with_arguments
from .test_link import CalledLink, eventually, never, reached, running, unused_port

LIMIT = 8


@pytest.mark.parametrize("how", ["refused", "stranger", "silent"])
async def test_a_dial_that_comes_to_nothing_leaves_no_connection(how: str) -> None:
    async with FakeInstance() as instance:
        target = instance.target
        if how == "refused":
            target = dataclasses.replace(target, port=unused_port())
        elif how == "stranger":
            target = dataclasses.replace(target, generation="another")
        else:
            instance.speaks.clear()
        pool = Pool(Limits(connections=LIMIT))
        link = CalledLink(target, pool=pool)
        over = asyncio.Event()
        dial = link.connections.dial(over.set)
        over.clear()
        if how == "silent":
            await eventually(lambda: instance.connections == 1)
            await dial.end()
        else:
            async with asyncio.timeout(30):
                await over.wait()
            with pytest.raises(TransportError):
                dial.result()
        assert (pool.connections, pool.wanted) == (0, 0)


class Crowd:
    """Some instances, each with a link, that share a hub's places."""

    def __init__(self, instances: list[FakeInstance], links: list[CalledLink], pool: Pool) -> None:
        self.instances = instances
        self.links = links
        self.pool = pool

    @property
    def connections(self) -> int:
        return sum(instance.connections for instance in self.instances)

    def held(self) -> dict[str, int]:
        """All that calls hold; an idle connection is held by none."""
        pool = self.pool
        return {
            "slots": pool.in_flight + pool.queued,
            "parked": pool.parked,
            "in use": sum(pool.in_use),
            "wanted": pool.wanted,
            "waited for": sum(link.caller.is_waited_for for link in self.links),
        }


@contextlib.asynccontextmanager
async def crowd(count: int, limits: Limits) -> AsyncIterator[Crowd]:
    pool = Pool(limits)
    async with contextlib.AsyncExitStack() as stack:
        instances = [await stack.enter_async_context(FakeInstance()) for _ in range(count)]
        links = [await stack.enter_async_context(running(each.target, limits, pool)) for each in instances]
        for link in links:
            await reached(link, LinkState.READY)
        yield Crowd(instances, links, pool)
    assert (pool.connections, pool.wanted) == (0, 0)


def a_call(number: int, *, waits: bool = False, deadline_s: float = 5.0) -> Call:
    arguments = {"name": "tool", "arguments": {"n": number}}
    return Call("tools/call", arguments, repeatable=False, deadline_s=deadline_s, waits=waits)


async def test_more_instances_than_connections_are_all_ready_and_all_answer() -> None:
    async with crowd(12, Limits(connections=5)) as here:
        await eventually(lambda: here.connections <= 5)
        for _ in range(3):
            for number, link in enumerate(here.links):
                result = msgspec.json.decode(await link.call(a_call(number)))
                assert result["structuredContent"] == {"n": number}
        assert here.pool.connections <= 5
        assert all(link.state is LinkState.READY for link in here.links)
        assert all(tuple(moved.event.value for moved in link.history) == ("dialled", "proven") for link in here.links)


async def test_a_link_that_gave_way_finds_out_at_its_next_call_that_its_instance_is_gone() -> None:
    async with crowd(8, Limits(connections=5)) as here:
        first, instance = here.links[0], here.instances[0]
        await eventually(lambda: first.connections.size == 0)
        await instance.__aexit__()
        with pytest.raises(BrummerError) as caught:
            await first.call(a_call(1, deadline_s=0.2))
        assert caught.value.outcome == "not_executed"
        assert first.state is not LinkState.READY


async def test_while_others_wait_no_instance_keeps_the_connections() -> None:
    served: list[int] = []

    async def note(exchange: Exchange, message: dict[str, Any]) -> None:
        served.append(message["params"]["arguments"]["n"])
        await answer_with_arguments(exchange, message)

    async with crowd(4, Limits(connections=5)) as here:
        for instance in here.instances:
            instance.answer = note
        calls = [link.call(a_call(n, deadline_s=60)) for n, link in enumerate(here.links) for _ in range(20)]
        await asyncio.gather(*calls)
        half = served[:40]
        assert all(8 <= half.count(number) <= 12 for number in range(4)), half


async def test_a_stopped_instance_does_not_keep_the_place_that_others_are_probed_from() -> None:
    async with crowd(3, Limits(connections=5)) as here:
        stopped = here.links[0]
        here.instances[0].speaks.clear()
        looks = [asyncio.create_task(link.check()) for link in here.links]
        async with asyncio.timeout(10):
            await asyncio.gather(*looks)
            await reached(stopped, LinkState.SUSPECT)
            await here.links[1].check()
        assert [link.state for link in here.links[1:]] == [LinkState.READY] * 2
        here.instances[0].speaks.set()


async def test_a_probe_that_was_answered_before_the_record_changed_leaves_no_connection() -> None:
    async with crowd(1, Limits(connections=LIMIT)) as here:
        link = here.links[0]
        link.prober.probe = probe = Probe(link.connections, link.health, lambda: None)
        await eventually(lambda: probe.is_over)
        link.retarget(link.target, "a new record")
        await reached(link, LinkState.CONNECTING)
        await reached(link, LinkState.READY)
        assert here.pool.connections == 1


async def test_who_waited_for_a_connection_while_another_run_came_is_not_run_there_again() -> None:
    async with crowd(1, Limits(connections=LIMIT // 2)) as here, FakeInstance(generation="another") as another:
        (link,), (instance,) = here.links, here.instances
        instance.answer = never
        calls = [asyncio.create_task(link.call(a_call(number))) for number in range(2)]
        await eventually(lambda: len(instance.calls) == 2)
        others = Connections(here.pool, "others", dialler := FakeDialler(), lambda: None)
        users = [User(others) for _ in range(3)]
        for user in users:
            user.acquire()
        instance.drop_connections()  # the others get the connections
        await eventually(lambda: len(dialler.dials) == len(users))
        await eventually(lambda: here.pool.wants(Purpose.CALL))
        link.retarget(another.target, "a new record")
        await reached(link, LinkState.CONNECTING)
        others.end()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [getattr(each, "code", each) for each in outcomes] == ["outcome_unknown"] * 2
        assert another.calls == []


# Whatever happens.

WORKS = st.tuples(st.just("call"), st.integers(0, 2), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.3, 3.0]))
STEPS = st.one_of(
    WORKS,
    WORKS,
    st.tuples(st.just("cancel"), st.integers(0, 40), st.booleans()),
    st.tuples(st.just("drop"), st.integers(0, 2)),
    st.tuples(st.just("silence"), st.integers(0, 2)),
    st.tuples(st.just("speak"), st.integers(0, 2)),
    st.tuples(st.just("look"), st.integers(0, 2)),
    st.tuples(st.just("pass"), st.sampled_from([0.0, 0.0, 0.01, 1.0, 6.0])),
)


class Schedule:
    """Does to a crowd what Hypothesis thinks of."""

    def __init__(self, here: Crowd) -> None:
        self._here = here
        self._calls: list[asyncio.Task[bytes] | RunningCall] = []
        self._looks: list[asyncio.Task[None]] = []
        self._ended = 0

    async def step(self, kind: str, *what: Any) -> None:
        match kind:
            case "call":
                self._call(*what)
            case "cancel":
                self._cancel(*what)
            case "drop":
                self._here.instances[what[0]].drop_connections()
            case "silence":
                self._here.instances[what[0]].speaks.clear()
            case "speak":
                self._here.instances[what[0]].speaks.set()
            case "look":
                self._looks.append(asyncio.create_task(self._here.links[what[0]].check()))
            case "pass":
                await asyncio.sleep(what[0])
        assert self._here.pool.connections <= self._here.pool.limits.connections

    async def end(self) -> None:
        for instance in self._here.instances:
            instance.speaks.set()
            instance.answer = answer_with_arguments
            instance.drop_connections()
        await asyncio.sleep(120)
        tasks = [each for each in self._calls if isinstance(each, asyncio.Task)]
        assert all(task.done() for task in (*tasks, *self._looks))
        await asyncio.gather(*tasks, return_exceptions=True)

    def _call(self, link: int, short: bool, waits: bool, takes_s: float) -> None:  # noqa: FBT001
        caller = self._here.links[link].caller
        call = a_call(int(takes_s * 10), waits=waits, deadline_s=2.0)
        if short:
            with contextlib.suppress(Busy):
                if (on_way := caller.fast_path(call, lambda _: None)) is not None:
                    self._calls.append(on_way)
        else:
            self._calls.append(asyncio.create_task(caller.call(call)))

    def _cancel(self, number: int, client_is_gone: bool) -> None:  # noqa: FBT001
        if self._calls:
            self._calls[number % len(self._calls)].cancel(CLIENT_GONE if client_is_gone else None)


async def answer_late(exchange: Exchange, message: dict[str, Any]) -> None:
    await asyncio.sleep(message["params"]["arguments"]["n"] / 10)
    await answer_with_arguments(exchange, message)


@settings(max_examples=60)
@given(steps=st.lists(STEPS, max_size=40))
def test_whatever_happens_every_slot_place_and_connection_comes_back(steps: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        limits = Limits(
            connections=4,
            in_flight=6,
            in_flight_per_instance=3,
            waiting_per_instance=2,
            queued_per_instance=2,
            parked=2,
        )
        async with crowd(3, limits) as here:
            for instance in here.instances:
                instance.answer = answer_late
            schedule = Schedule(here)
            for step in steps:
                await schedule.step(*step)
            await schedule.end()
            assert here.held() == dict.fromkeys(here.held(), 0)
            for number, link in enumerate(here.links):
                assert link.state is LinkState.READY
                assert msgspec.json.decode(await link.call(a_call(number)))["structuredContent"] == {"n": number}

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
