"""A link under faults: silence, a cut path, too many calls, too many failures."""

import asyncio
import errno
import os
import socket
from typing import Any

import msgspec
import pytest

from brummer.calls.refusals import PARK_S
from brummer.core.errors import BrummerError, TooLarge
from brummer.link import prober
from brummer.link.errors import BreakerOpen, DeadlineExceeded, ParkedTooLong
from brummer.link.failures import FAILURES, LOCAL_CAP_S
from brummer.link.peer import Condition
from brummer.link.state import LinkEvent, LinkState
from brummer.link.target import Target
from brummer.pool.pool import Busy
from brummer.settings.limits import DEFAULTS, Limits
from brummer.wire.http.dialling import SystemSockets
from brummer.wire.http.server import Exchange

from .fakes import TOKEN, FakeInstance, answer_with_arguments
from .test_link import eventually, impatient, reached, running, tool_call, unused_port
from .virtual_world import in_virtual_time


class Frozen(FakeInstance):
    """Like a stopped process: connections are accepted, and nothing is answered until it goes on."""

    def __init__(self) -> None:
        super().__init__(answer=answer_with_arguments)
        self.going = asyncio.Event()
        self.going.set()

    async def _handle(self, exchange: Exchange) -> None:
        await self.going.wait()
        await super()._handle(exchange)


async def test_a_silent_instance_is_suspected_not_dropped_and_its_calls_are_answered_when_it_goes_on() -> None:
    async with Frozen() as instance, running(instance.target, health=impatient()) as link:
        await link.call(tool_call())
        port = link.connections.all[0].local_port
        instance.going.clear()
        in_flight = asyncio.create_task(link.call(tool_call({"n": 1})))
        await reached(link, LinkState.SUSPECT)
        parked = asyncio.create_task(link.call(tool_call({"n": 2})))
        await asyncio.sleep(0)
        assert len(link.parking) == 1
        instance.going.set()
        assert msgspec.json.decode(await in_flight)["structuredContent"] == {"n": 1}
        assert msgspec.json.decode(await parked)["structuredContent"] == {"n": 2}
        assert link.state is LinkState.READY
        assert [connection.local_port for connection in link.connections.all] == [port]
        assert [call["params"]["arguments"] for call in instance.calls] == [{}, {"n": 1}, {"n": 2}]


async def test_a_call_to_a_silent_instance_ends_by_its_deadline_and_says_what_the_process_does() -> None:
    async with Frozen() as instance:
        target = Target("shop-00000000", "generation-1", "127.0.0.1", instance.port, TOKEN, condition=lambda: "stopped")
        async with running(target, health=impatient()) as link:
            await link.call(tool_call())
            instance.going.clear()
            with pytest.raises(DeadlineExceeded) as caught:
                await link.call(tool_call(deadline_s=0.3))
            assert caught.value.context["condition"] == "stopped"
            assert caught.value.outcome == "unknown"
            assert link.status().reason.startswith("stopped")
            instance.going.set()


@pytest.mark.promise("no-false-accusation")
async def test_late_timers_of_our_own_accuse_no_instance() -> None:
    async with Frozen() as instance, running(instance.target, health=impatient()) as link:
        await link.call(tool_call())
        instance.going.clear()
        waiting = asyncio.create_task(link.call(tool_call()))
        await asyncio.sleep(0)
        for _ in range(prober.MAX_LATENESS):
            link.health.fired(late_s=5.0)
        assert link.state is LinkState.READY
        instance.going.set()
        await waiting
        assert LinkEvent.PROBE_UNANSWERED not in [transition.event for transition in link.history]


@pytest.mark.promise("no-false-accusation")
def test_while_our_own_timers_were_late_an_unanswered_probe_accuses_no_instance() -> None:
    """A timer in time makes up for a late one: that before the first probe, and two at the end of each probe."""

    async def story() -> None:
        async with Frozen() as instance, running(instance.target) as link:
            await link.call(tool_call())
            instance.going.clear()
            waiting = asyncio.create_task(link.call(tool_call(deadline_s=60.0)))
            for _ in range(prober.MAX_LATENESS):
                link.health.fired(late_s=5.0)
            began_s = link.loop.time()
            await reached(link, LinkState.SUSPECT)
            stretched = sum(
                prober.PROBE_DEADLINE_S * (lateness + 1) for lateness in range(prober.MAX_LATENESS - 1, 0, -2)
            )
            assert link.loop.time() - began_s >= stretched
            instance.going.set()
            await waiting

    in_virtual_time(story())


@pytest.mark.promise("breaker")
def test_a_breaker_opens_after_failures_in_a_row_answers_at_once_and_closes_with_the_instances_return() -> None:
    async def story() -> None:
        port = unused_port()
        async with running(Target("shop-00000000", "generation-1", "127.0.0.1", port, TOKEN)) as link:
            for _ in range(FAILURES):
                with pytest.raises(ParkedTooLong):
                    await link.call(tool_call(deadline_s=2 * PARK_S))
            asked_s = link.loop.time()
            with pytest.raises(BreakerOpen) as caught:
                await link.call(tool_call())
            assert caught.value.retry_after_s
            assert link.loop.time() == asked_s
            async with FakeInstance(port=port):
                link.hint()
                await reached(link, LinkState.READY)
                await link.call(tool_call())

    in_virtual_time(story())


@pytest.mark.promise("busy-is-typed")
async def test_over_the_queue_a_call_is_refused_as_busy_with_a_time_to_come_back() -> None:
    release = asyncio.Event()

    async def wait(exchange: Exchange, message: dict[str, Any]) -> None:
        await release.wait()
        await answer_with_arguments(exchange, message)

    async with FakeInstance(answer=wait) as instance, running(instance.target) as link:
        places = DEFAULTS.in_flight_per_instance + DEFAULTS.queued_per_instance
        calls = [asyncio.create_task(link.call(tool_call())) for _ in range(places + 5)]
        refused, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        errors = [task.exception() for task in refused]
        assert len(errors) == 5
        assert all(isinstance(error, Busy) and error.retry_after_s for error in errors)
        release.set()
        await asyncio.gather(*(task for task in calls if task not in refused))
        assert (link.pool.in_flight, link.pool.queued) == (0, 0)


async def test_over_the_limit_of_parked_calls_one_more_is_refused_as_busy_unless_it_may_have_run() -> None:
    port = unused_port()
    target = Target("shop-00000000", "generation-1", "127.0.0.1", port, TOKEN)
    async with running(target, Limits(parked=2)) as link:
        parked = [asyncio.create_task(link.call(tool_call({"n": number}))) for number in range(2)]
        await eventually(lambda: link.pool.parked == 2)
        with pytest.raises(Busy) as caught:
            await link.call(tool_call())
        assert (caught.value.context["parked"], caught.value.outcome) == (2, "not_executed")
        assert caught.value.retry_after_s
        link.pool.park("shop-00000000", may_have_run=True)
        assert link.pool.parked == 3
        link.pool.unpark()
        async with FakeInstance(port=port):
            link.hint()
            await asyncio.gather(*parked)
        assert (link.pool.parked, link.pool.in_flight) == (0, 0)


async def test_a_parked_call_that_is_cancelled_leaves_no_trace() -> None:
    target = Target("shop-00000000", "generation-1", "127.0.0.1", unused_port(), TOKEN)
    async with running(target) as link:
        call = asyncio.create_task(link.call(tool_call()))
        await eventually(lambda: link.pool.parked == 1)
        call.cancel()
        await asyncio.wait([call])
        assert (link.pool.parked, link.pool.in_flight, len(link.parking)) == (0, 0, 0)


async def test_a_reply_over_the_limit_is_refused_and_the_link_goes_on() -> None:
    async with FakeInstance() as instance, running(instance.target, Limits(reply_bytes=64_000)) as link:
        with pytest.raises(TooLarge) as caught:
            await link.call(tool_call({"text": "x" * 64_000}, repeatable=True))
        assert caught.value.context["limit_bytes"] == 64_000
        assert len(instance.calls) == 1
        await link.call(tool_call())


async def test_a_request_that_the_instance_finds_too_large_is_refused_and_not_sent_again() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        with pytest.raises(TooLarge) as caught:
            await link.call(tool_call({"text": "x" * (1 << 20)}, repeatable=True))
        assert caught.value.outcome == "not_executed"
        await link.call(tool_call())
        assert len(instance.calls) == 1


async def test_calls_that_wait_take_no_place_from_calls_that_do_not() -> None:
    async def wait_or_answer(exchange: Exchange, message: dict[str, Any]) -> None:
        if message["params"]["arguments"].get("wait"):
            gone = asyncio.Event()
            exchange.on_peer_gone(gone.set)
            await gone.wait()
        else:
            await answer_with_arguments(exchange, message)

    async with FakeInstance(answer=wait_or_answer) as instance, running(instance.target) as link:
        waits = []
        for _ in range(16):
            call = tool_call({"wait": True}, repeatable=True)
            call.waits = True
            waits.append(asyncio.create_task(link.call(call)))
        await link.call(tool_call({"n": 1}))
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def test_a_connection_that_comes_and_goes_is_dialled_ever_more_slowly() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        for number in range(1, 5):
            await instance.connections_dropped()
            async with asyncio.timeout(10):
                while [step.event for step in link.history].count(LinkEvent.PROVEN) <= number:
                    await asyncio.sleep(0.001)
        assert link.attempts == 4


async def test_an_instance_that_speaks_no_version_of_ours_is_incompatible_and_is_not_dialled() -> None:
    async with FakeInstance() as instance:
        target = Target("shop-00000000", "generation-1", "127.0.0.1", instance.port, TOKEN, protocols=("2030-01-01",))
        async with running(target) as link:
            await reached(link, LinkState.INCOMPATIBLE)
            assert instance.probes == 0
            link.retarget(instance.target, "a new record")
            await reached(link, LinkState.READY)


@pytest.mark.promise("every-transition-has-a-reason")
async def test_every_transition_is_kept_with_its_reason() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        link.owner_gone("process died")
        await reached(link, LinkState.GONE)
        assert [(step.before, step.event, step.after) for step in link.history] == [
            (LinkState.DISCOVERED, LinkEvent.DIALLED, LinkState.CONNECTING),
            (LinkState.CONNECTING, LinkEvent.PROVEN, LinkState.READY),
            (LinkState.READY, LinkEvent.OWNER_GONE, LinkState.GONE),
        ]
        assert all(step.reason for step in link.history)


@pytest.mark.promise("errors-have-fields")
def test_every_error_of_the_tree_has_a_code_and_fits_the_shape_that_agents_get() -> None:
    def tree(kind: type[BrummerError]) -> list[type[BrummerError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in tree(child))]

    for kind in tree(BrummerError):
        assert isinstance(kind.code, str)
        assert kind.code.replace("_", "").isalpha()
        assert kind.default_outcome in ("not_executed", "failed", "unknown")


class Sockets:
    """The sockets of this machine; with a ``failure``, this error instead."""

    addresses = staticmethod(SystemSockets.addresses)
    failure = 0

    async def connect(self, family: int, address: tuple[str, int], descriptors: int) -> socket.socket:
        if self.failure:
            raise OSError(self.failure, os.strerror(self.failure))
        return await SystemSockets.connect(family, address, descriptors)


async def test_that_we_have_no_descriptor_left_is_held_against_nobody() -> None:
    sockets = Sockets()
    async with FakeInstance() as instance, running(instance.target, sockets=sockets) as link:
        await link.call(tool_call())
        transitions = len(link.history)
        sockets.failure = errno.EMFILE
        await link.check()
        sockets.failure = 0
        assert link.last_error is not None
        assert link.last_error.code == "no_descriptor_left"
        assert (link.state, len(link.history), link.path_is_cut) == (LinkState.READY, transitions, False)
        await link.call(tool_call())


def test_a_call_for_which_no_connection_could_be_opened_is_served_as_soon_as_that_is_over() -> None:
    """The link is ready all the while, and would probe for its call under way only seconds later."""
    release = asyncio.Event()

    async def wait(exchange: Exchange, message: dict[str, Any]) -> None:
        if message["params"]["arguments"].get("long"):
            await release.wait()
        await answer_with_arguments(exchange, message)

    async def story() -> None:
        sockets = Sockets()
        async with FakeInstance(answer=wait) as instance, running(instance.target, sockets=sockets) as link:
            long = asyncio.create_task(link.call(tool_call({"long": True}, deadline_s=60.0)))
            await eventually(lambda: len(instance.calls) == 1)
            sockets.failure = errno.EMFILE
            short = asyncio.create_task(link.call(tool_call()))
            await eventually(lambda: len(link.parking) == 1)
            await asyncio.sleep(prober.SUSPECT_S / 2)
            assert (link.state, len(link.parking)) == (LinkState.READY, 1)
            sockets.failure, over_s = 0, link.loop.time()
            await short
            assert link.loop.time() - over_s < 2 * prober.SUSPECT_S
            release.set()
            await long

    in_virtual_time(story())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EIO])
def test_a_dial_that_fails_on_this_machine_is_repeated_soon(number: int) -> None:
    async def story() -> None:
        target = Target("shop-00000000", "generation-1", "127.0.0.1", 1, TOKEN)
        sockets = Sockets()
        sockets.failure = number
        async with running(target, sockets=sockets) as link:
            while link.attempts < 20:
                await asyncio.sleep(0.01)
                assert (link.next_dial_s or 0.0) - link.loop.time() <= LOCAL_CAP_S

    in_virtual_time(story())


@pytest.mark.parametrize("condition", ["idle", "unknown"])
def test_an_instance_that_is_near_is_dialled_soon_also_while_its_process_cannot_be_looked_at(
    condition: Condition,
) -> None:
    async def story() -> None:
        sockets = Sockets()
        sockets.failure = errno.ECONNREFUSED
        target = Target(
            "shop-00000000", "generation-1", "127.0.0.1", 1, TOKEN, condition=lambda: condition, is_near=True
        )
        async with running(target, sockets=sockets) as link:
            while link.attempts < 20:
                await asyncio.sleep(0.01)
                assert (link.next_dial_s or 0.0) - link.loop.time() <= LOCAL_CAP_S

    in_virtual_time(story())
