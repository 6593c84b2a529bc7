"""A link against an instance that behaves as told: ready, lost, replaced, impersonated, slow."""

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import msgspec
import pytest

from brummer.calls.call_run import SENT_AT_ONCE
from brummer.calls.caller import Caller
from brummer.calls.refusals import PARK_S
from brummer.core.errors import BadAnswer
from brummer.core.lost_calls import LOST_CALL_GRACE_S
from brummer.host import clocks
from brummer.link.call import Call
from brummer.link.errors import DeadlineExceeded, OutcomeUnknown, ParkedTooLong, Refused, RemoteRefusal
from brummer.link.link import AFTER_DEFECT_S, Link
from brummer.link.peer import Condition, Peer
from brummer.link.prober import SILENT_CALL_S, Health
from brummer.link.state import (
    FAILING,
    SHOWN_STATES,
    TRANSITIONS,
    BaseLink,
    ForbiddenEvent,
    LinkEvent,
    LinkState,
    next_state,
)
from brummer.link.target import Target
from brummer.pool.connections import SPARE_IDLE_S
from brummer.pool.pool import Pool
from brummer.settings.limits import DEFAULTS, Limits
from brummer.wire.http.connection import Reservations
from brummer.wire.http.dialling import Sockets
from brummer.wire.http.server import Exchange
from brummer.wire.mcp import identity
from brummer.wire.mcp.server import CALL_KEY, CLIENT_GONE, LEDGER_POSITION

from .fakes import TOKEN, FakeInstance, answer_with_arguments, respond, seeded
from .virtual_world import in_virtual_time


def tool_call(arguments: dict[str, Any] | None = None, *, repeatable: bool = False, deadline_s: float = 5.0) -> Call:
    return Call(
        "tools/call", {"name": "tool", "arguments": arguments or {}}, repeatable=repeatable, deadline_s=deadline_s
    )


def impatient() -> Health:
    """The same decisions, up to a hundred times sooner."""
    return Health(silent_call_s=0.02, suspect_s=0.02, deadline_s=0.03)


class FixedClock:
    """The clocks of this machine, but for `elapsed`."""

    awake, wall, reading = staticmethod(clocks.awake), staticmethod(clocks.wall), staticmethod(clocks.reading)

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self.elapsed = elapsed


class CalledLink(Link):
    """A link with its caller."""

    def __init__(
        self,
        target: Peer,
        limits: Limits = DEFAULTS,
        pool: Pool | None = None,
        reservations: Reservations | None = None,
        health: Health | None = None,
        sockets: Sockets | None = None,
    ) -> None:
        self.pool = pool or Pool(limits)
        system = msgspec.structs.replace(seeded(Random(1)), sockets=sockets)
        super().__init__(target, system=system, pool=self.pool, reservations=reservations, health=health)
        self.caller = Caller(self)

    async def call(self, call: Call) -> bytes:
        return await self.caller.call(call)


@contextlib.asynccontextmanager
async def running(
    target: Peer,
    limits: Limits = DEFAULTS,
    pool: Pool | None = None,
    reservations: Reservations | None = None,
    health: Health | None = None,
    sockets: Sockets | None = None,
) -> AsyncIterator[CalledLink]:
    link = CalledLink(target, limits, pool, reservations, health, sockets)
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await link.caller.close()


async def reached(link: CalledLink, state: LinkState) -> None:
    async with asyncio.timeout(30):
        await link.until_not(set(LinkState) - {state})


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_a_link_knows_for_how_long_it_is_not_ready_and_whether_it_fails() -> None:
    async def story() -> None:
        async with FakeInstance() as instance:
            now_s = 100.0
            clock = FixedClock(lambda: now_s)
            link = BaseLink(instance.target, None, msgspec.structs.replace(seeded(Random(1)), clock=clock))
            seen = []
            for at_s, event in (
                (105.0, LinkEvent.DIALLED),
                (106.0, LinkEvent.PROVEN),
                (110.0, LinkEvent.CONNECTION_LOST),
                (111.0, LinkEvent.DIALLED),
                (112.0, LinkEvent.STRANGER_ANSWERED),
            ):
                now_s = at_s
                link.apply(event, "a reason")
                now_s = at_s + 0.5
                seen.append((link.unready_s, link.state_s, link.is_failing))
            assert seen == [
                (5.5, 0.5, False),
                (0.0, 0.5, False),
                (0.5, 0.5, True),
                (1.5, 0.5, True),
                (2.5, 0.5, False),
            ]

    asyncio.run(story())


async def test_a_refusal_is_the_last_error_until_the_link_is_ready_and_the_targets_own_afterwards() -> None:
    async with FakeInstance() as instance:
        link = BaseLink(instance.target, None, seeded(Random(1)))
        assert link.refusal is None
        link.last_error = BadAnswer("not MCP", sent=False)
        assert link.refusal is None
        link.last_error = refused = Refused("no", began=False)
        assert link.refusal is refused
        link.apply(LinkEvent.DIALLED, "attempt 1")
        link.apply(LinkEvent.PROVEN, "identity proven")
        assert link.refusal is None  # an instance refuses nothing


async def test_a_link_that_ends_leaves_no_connection_open() -> None:
    async with FakeInstance() as instance:
        link = CalledLink(instance.target)
        task = asyncio.create_task(link.run())
        await reached(link, LinkState.READY)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert link.connections.size == 0
        await link.caller.close()


@pytest.mark.parametrize("forgive", [True, False])
async def test_after_a_pause_of_ours_failures_are_forgiven_if_that_is_wanted(*, forgive: bool) -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        for _ in range(3):
            link.health.failed()
        before_s = link.health.interval_s
        link.settle(1.0, forgive=forgive)
        assert before_s > SILENT_CALL_S
        assert link.health.interval_s == (SILENT_CALL_S if forgive else before_s)


@pytest.mark.promise("identity-first")
async def test_a_link_proves_identity_before_its_first_call_and_keeps_one_connection() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        for number in range(20):
            result = msgspec.json.decode(await link.call(tool_call({"n": number})))
            assert result["structuredContent"] == {"n": number}
        assert link.state is LinkState.READY
        assert (instance.probes, instance.connections) == (1, 1)


async def test_every_call_carries_a_key_of_its_own() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await asyncio.gather(*(link.call(tool_call()) for _ in range(10)))
        keys = [call["params"]["_meta"][CALL_KEY] for call in instance.calls]
        assert len(set(keys)) == 10


async def test_concurrent_calls_get_their_own_answers_over_a_bounded_number_of_connections() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        results = await asyncio.gather(*(link.call(tool_call({"n": number})) for number in range(70)))
        numbers = [msgspec.json.decode(result)["structuredContent"]["n"] for result in results]
        assert numbers == list(range(70))
        assert instance.connections <= DEFAULTS.in_flight_per_instance


@pytest.mark.promise("a-warm-connection")
def test_connections_beyond_the_first_close_when_they_idle() -> None:
    async def story() -> None:
        async with FakeInstance() as instance, running(instance.target) as link:
            await link.call(tool_call())
            first = link.connections.all[0].local_port
            await asyncio.gather(*(link.call(tool_call()) for _ in range(50)))
            assert link.connections.size > 1
            await asyncio.sleep(SPARE_IDLE_S + 1)
            assert [connection.local_port for connection in link.connections.all] == [first]

    in_virtual_time(story())


async def test_a_stranger_on_the_port_gets_no_call_and_no_token() -> None:
    seen: list[bytes] = []

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(4096))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(stranger, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running(Target("shop-00000000", "generation-1", "127.0.0.1", port, TOKEN)) as link:
        await reached(link, LinkState.IMPOSTOR)
        assert link.last_error is not None
        assert link.last_error.code == "impostor"
    assert seen
    assert not any(TOKEN.encode() in request or b"POST" in request for request in seen)


async def test_another_generation_on_the_same_port_is_an_impostor_too() -> None:
    async with FakeInstance(generation="generation-2") as other:
        old = Target("shop-00000000", "generation-1", "127.0.0.1", other.port, TOKEN)
        async with running(old) as link:
            await reached(link, LinkState.IMPOSTOR)
            assert other.calls == []


@pytest.mark.promise("parked-calls")
async def test_a_call_to_an_instance_that_is_not_there_yet_waits_and_is_sent_once() -> None:
    port = unused_port()
    target = Target("shop-00000000", "generation-1", "127.0.0.1", port, TOKEN)
    async with running(target) as link:
        await reached(link, LinkState.RETRYING)
        waiting = asyncio.create_task(link.call(tool_call({"n": 1})))
        async with FakeInstance(port=port) as instance:
            link.hint()
            result = msgspec.json.decode(await waiting)
            assert result["structuredContent"] == {"n": 1}
            assert len(instance.calls) == 1


def test_a_parked_call_ends_with_an_error_that_tells_the_links_state() -> None:
    async def story() -> None:
        async with running(Target("shop-00000000", "generation-1", "127.0.0.1", unused_port(), TOKEN)) as link:
            await link.settled()
            with pytest.raises(ParkedTooLong) as caught:
                await link.call(tool_call(deadline_s=2 * PARK_S))
            data: Any = caught.value.as_data()
            assert (data["code"], data["retryable"], data["outcome"]) == ("instance_unavailable", True, "not_executed")
            assert data["context"]["link"]["last_error"]["code"] == "connection_refused"

    in_virtual_time(story())


async def lose_first(exchange: Exchange, message: dict[str, Any], instance: FakeInstance) -> None:
    if len(instance.calls) == 1:
        instance.drop_connections()
    else:
        await answer_with_arguments(exchange, message)


async def test_a_repeatable_call_whose_connection_is_lost_is_sent_again() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        instance.answer = lambda exchange, message: lose_first(exchange, message, instance)
        result = msgspec.json.decode(await link.call(tool_call({"n": 7}, repeatable=True)))
        assert result["structuredContent"] == {"n": 7}
        assert len(instance.calls) == 2


async def test_a_mutating_call_whose_connection_is_lost_is_asked_for_again_under_the_same_key() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        instance.answer = lambda exchange, message: lose_first(exchange, message, instance)
        await link.call(tool_call())
        first, second = (call["params"]["_meta"] for call in instance.calls)
        assert first[CALL_KEY] == second[CALL_KEY]
        assert first[LEDGER_POSITION] == second[LEDGER_POSITION]


async def test_a_mutating_call_is_unknown_at_once_when_the_run_it_was_sent_to_is_over() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:

        async def die(exchange: Exchange, _: dict[str, Any]) -> None:
            link.owner_gone("process died")
            instance.drop_connections()

        instance.answer = die
        with pytest.raises(OutcomeUnknown) as caught:
            await link.call(tool_call())
        assert caught.value.outcome == "unknown"
        assert len(instance.calls) == 1


async def test_a_mutating_call_is_never_sent_to_another_run_but_a_repeatable_one_is() -> None:
    async with FakeInstance() as old, FakeInstance(generation="generation-2") as new, running(old.target) as link:

        async def restart(exchange: Exchange, _: dict[str, Any]) -> None:
            if len(old.calls) == 2:
                link.retarget(new.target, "a new record")
                old.drop_connections()
            await asyncio.Event().wait()

        old.answer = restart
        mutating = asyncio.create_task(link.call(tool_call({"n": 1})))
        repeatable = asyncio.create_task(link.call(tool_call({"n": 2}, repeatable=True)))
        with pytest.raises(OutcomeUnknown):
            await mutating
        assert msgspec.json.decode(await repeatable)["structuredContent"] == {"n": 2}
        assert [call["params"]["arguments"] for call in new.calls] == [{"n": 2}]


async def test_an_idle_connection_that_the_instance_closes_is_replaced_before_the_next_call() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await link.call(tool_call())
        await instance.connections_dropped()
        result = await link.call(tool_call({"n": 2}))
        assert msgspec.json.decode(result)["structuredContent"] == {"n": 2}
        assert instance.probes == 2


async def test_a_new_record_moves_the_link_and_revives_one_that_was_gone() -> None:
    async with FakeInstance() as first, running(first.target) as link:
        await link.call(tool_call())
        link.owner_gone("process died")
        await reached(link, LinkState.GONE)
        waiting = asyncio.create_task(link.call(tool_call({"n": 3})))
        async with FakeInstance(generation="generation-2") as second:
            link.retarget(second.target, "a new record")
            assert msgspec.json.decode(await waiting)["structuredContent"] == {"n": 3}
            assert len(first.calls) == 1
            assert [transition.event for transition in link.history][-3:] == [
                LinkEvent.RECORD_CHANGED,
                LinkEvent.DIALLED,
                LinkEvent.PROVEN,
            ]


async def never(exchange: Exchange, _: dict[str, Any]) -> None:
    """Answer nothing for as long as somebody waits."""
    gone = asyncio.Event()
    exchange.on_peer_gone(gone.set)
    await gone.wait()


async def has_heard(instance: FakeInstance, count: int) -> None:
    async with asyncio.timeout(30):
        while len(instance.calls) < count:
            instance.called.clear()
            await instance.called.wait()


async def test_a_call_that_costs_every_connection_is_soon_repeated_no_faster_than_the_link_is_asked() -> None:
    async def answer(exchange: Exchange, message: dict[str, Any]) -> None:
        if message["params"]["arguments"]:
            await never(exchange, message)
        exchange.connection.abort()

    async with FakeInstance(answer=answer) as instance, running(instance.target) as link:
        beside = asyncio.create_task(link.call(tool_call({"n": 1})))  # so that the link has a connection all the time
        await has_heard(instance, 1)
        with pytest.raises(DeadlineExceeded):
            await link.call(tool_call(repeatable=True, deadline_s=1.0))
        assert len(instance.calls) <= 1 + SENT_AT_ONCE + 3
        beside.cancel(CLIENT_GONE)
        await asyncio.gather(beside, return_exceptions=True)


async def test_a_call_over_its_deadline_is_left_and_what_it_has_started_is_not_stopped() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        with pytest.raises(DeadlineExceeded) as caught:
            await link.call(tool_call(deadline_s=0.5))
        assert caught.value.outcome == "unknown"
        instance.answer = answer_with_arguments
        await link.call(tool_call())
        assert [call["method"] for call in instance.calls] == ["tools/call"] * 2


async def cancelled(link: CalledLink, instance: FakeInstance) -> str:
    """Make a call and cancel it once it is there; returns its key."""
    before = len(instance.calls)
    call = asyncio.create_task(link.call(tool_call()))
    await has_heard(instance, before + 1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    key: str = instance.calls[before]["params"]["_meta"][CALL_KEY]
    return key


def cancellations(instance: FakeInstance) -> list[str]:
    said = [call for call in instance.calls if call["method"] == "notifications/cancelled"]
    return [call["params"]["_meta"][CALL_KEY] for call in said]


async def test_a_cancelled_call_is_cancelled_in_the_instance_by_its_key() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        key = await cancelled(link, instance)
        await has_heard(instance, 2)
        assert cancellations(instance) == [key]


async def test_a_cancellation_waits_for_a_link_that_is_down_and_is_meant_for_this_run_only() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        await link.settled()
        link.retarget(instance.target, "looked at anew")  # so it is not ready in this very moment
        call = asyncio.create_task(link.call(tool_call()))
        await has_heard(instance, 1)
        link.retarget(instance.target, "and again")
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await has_heard(instance, 2)
        assert len(cancellations(instance)) == 1


async def test_a_cancellation_is_for_the_run_that_has_the_call_and_no_other() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        call = asyncio.create_task(link.call(tool_call()))
        await has_heard(instance, 1)
        instance.generation = "generation-2"
        link.retarget(dataclasses.replace(instance.target, generation="generation-2"), "a new run")
        while link.target.generation == "generation-1":
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await reached(link, LinkState.READY)
        await link.caller.cancellations.settled()
        assert cancellations(instance) == []


def test_a_cancellation_that_can_not_be_sent_is_given_up_when_the_work_has_ended_by_itself() -> None:
    async def story() -> None:
        async with FakeInstance(answer=never) as instance, running(instance.target) as link:
            call = asyncio.create_task(link.call(tool_call()))
            await has_heard(instance, 1)
            instance.speaks.clear()
            loop = asyncio.get_running_loop()
            lost_s = loop.time()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            await link.caller.cancellations.settled()
            assert loop.time() - lost_s == pytest.approx(LOST_CALL_GRACE_S, abs=1.0)
            assert cancellations(instance) == []
            instance.speaks.set()

    in_virtual_time(story())


def test_a_cancellation_is_given_up_at_once_when_the_run_that_had_the_work_is_proven_gone() -> None:
    async def story() -> None:
        async with FakeInstance(answer=never) as instance, running(instance.target) as link:
            call = asyncio.create_task(link.call(tool_call()))
            await has_heard(instance, 1)
            instance.speaks.clear()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            await eventually(lambda: len(link.parking) == 1)
            loop = asyncio.get_running_loop()
            gone_s = loop.time()
            link.owner_gone("process died")
            await link.caller.cancellations.settled()
            assert loop.time() - gone_s < 1.0
            instance.speaks.set()

    in_virtual_time(story())


def test_over_a_ready_link_a_cancellation_waits_for_nothing() -> None:
    async def story() -> None:
        async with FakeInstance(answer=never) as instance, running(instance.target) as link:
            calls = [asyncio.create_task(link.call(tool_call())) for _ in range(2)]
            await has_heard(instance, 2)
            transitions, began_s = len(link.history), link.loop.time()
            calls[0].cancel()  # the other one keeps a connection open
            await asyncio.gather(calls[0], return_exceptions=True)
            await has_heard(instance, 3)
            assert (len(cancellations(instance)), len(link.history)) == (1, transitions)
            assert link.loop.time() - began_s < SILENT_CALL_S  # until a probe shows that the link is ready
            calls[1].cancel()
            await asyncio.gather(calls[1], return_exceptions=True)

    in_virtual_time(story())


@pytest.mark.parametrize("then", ["it is ready", "it is hopeless"])
async def test_a_cancellation_that_has_just_been_given_up_does_not_harm_its_link(then: str) -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        call = asyncio.create_task(link.call(tool_call()))
        await has_heard(instance, 1)
        instance.speaks.clear()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await eventually(lambda: len(link.parking) == 1)
        closing = asyncio.create_task(link.caller.cancellations.close())
        await asyncio.sleep(0)  # its task is cancelled now, and has not run since
        assert len(link.parking) == 1
        if then == "it is ready":
            link.parking.release()
        else:
            link.parking.fail(lambda _: ParkedTooLong("it is gone"))
        await closing
        assert len(link.caller.cancellations) == len(link.parking) == 0
        instance.speaks.set()


async def test_a_json_rpc_error_is_the_instances_refusal_not_a_transport_failure() -> None:
    async def refuse(exchange: Exchange, message: dict[str, Any]) -> None:
        error = {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32602, "message": "Unknown tool: x"}}
        exchange.respond(200, msgspec.json.encode(error), [(b"content-type", b"application/json")])

    async with FakeInstance(answer=refuse) as instance, running(instance.target) as link:
        with pytest.raises(RemoteRefusal) as caught:
            await link.call(tool_call())
        assert caught.value.context["rpc_code"] == -32602
        assert link.state is LinkState.READY


@pytest.mark.promise("progress-before-result")
async def test_progress_is_passed_on_before_the_result_and_never_after() -> None:
    progress = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'

    async def stream(exchange: Exchange, message: dict[str, Any]) -> None:
        exchange.start_stream(200, [(b"content-type", b"text/event-stream")])
        result = msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": {"done": True}})
        for event in (progress, progress, result, progress):
            exchange.send(b"data: %b\n\n" % event)
        exchange.end()

    heard: list[bytes] = []
    async with FakeInstance(answer=stream) as instance, running(instance.target) as link:
        call = tool_call()
        call.on_notification = heard.append
        assert msgspec.json.decode(await link.call(call)) == {"done": True}
    assert heard == [progress, progress]


@pytest.mark.parametrize("repeatable", [True, False])
async def test_an_answer_that_is_none_is_told_and_not_asked_for_again(*, repeatable: bool) -> None:
    async def fail(exchange: Exchange, _: dict[str, Any]) -> None:
        exchange.respond(500, b"oops")

    async with FakeInstance(answer=fail) as instance, running(instance.target) as link:
        with pytest.raises(BadAnswer) as caught:
            await link.call(tool_call(repeatable=repeatable))
        assert caught.value.outcome == "unknown"
        assert len(instance.calls) == 1
        assert link.state is LinkState.READY


async def test_a_full_server_is_not_an_impostor_and_closes_no_connection() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        call = asyncio.create_task(link.call(tool_call()))
        await has_heard(instance, 1)
        port = link.connections.all[0].local_port
        instance.take_no_more_connections()
        await link.check()
        assert link.state is not LinkState.IMPOSTOR
        assert link.last_error is not None
        assert link.last_error.code in ("server_full", "connection_closed", "connection_reset")
        assert link.connections.all[0].local_port == port
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


async def test_who_closes_after_every_answer_never_looks_ready() -> None:
    async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            _, body = identity.answer(TOKEN, "shop-00000000", "generation-1", head.split()[1])
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(answer_and_close, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with running(Target("shop-00000000", "generation-1", "127.0.0.1", port, TOKEN)) as link:
        await reached(link, LinkState.RETRYING)
        assert link.last_error is not None
        assert link.last_error.code == "connection_closed"
        assert not any(transition.after is LinkState.READY for transition in link.history)
    server.close()


def faulty(instance: FakeInstance, on_fault: Callable[[], object]) -> Target:
    """The first time that its process is sampled is a defect; ``on_fault`` is called before."""
    faults = [KeyError("a defect")]

    def condition() -> Condition:
        if faults:
            on_fault()
            raise faults.pop()
        return "unknown"

    return dataclasses.replace(instance.target, condition=condition)


async def has_happened(link: Link, event: LinkEvent) -> None:
    await eventually(lambda: event in [transition.event for transition in link.history])


async def test_a_defect_costs_one_turn_and_never_the_link() -> None:
    async with FakeInstance() as instance, running(faulty(instance, instance.speaks.set), health=impatient()) as link:
        await link.call(tool_call())
        instance.speaks.clear()
        checking = asyncio.create_task(link.check())  # the probe is not answered, so the process is sampled
        await has_happened(link, LinkEvent.FAILED_INSIDE)
        await reached(link, LinkState.READY)
        assert msgspec.json.decode(await link.call(tool_call({"n": 1})))["structuredContent"] == {"n": 1}
        await checking


def test_a_defect_revives_no_link_whose_instance_is_proven_gone() -> None:
    def fails() -> None:
        raise KeyError("a defect")

    async def story() -> None:
        async with FakeInstance() as instance, running(instance.target) as link:
            await reached(link, LinkState.READY)
            link.on_gone = fails
            link.owner_gone("process died")
            await reached(link, LinkState.GONE)
            await asyncio.sleep(2 * AFTER_DEFECT_S)
            assert (link.state, link.reason) == (LinkState.GONE, "process died")
            assert link.connections.size == 0

    in_virtual_time(story())


def test_an_end_that_is_proven_while_a_defect_is_dealt_with_is_not_forgotten() -> None:
    async def story() -> None:
        async with FakeInstance() as instance:
            target = faulty(instance, lambda: link.owner_gone("process died"))
            async with running(target) as link:
                await reached(link, LinkState.READY)
                instance.speaks.clear()
                await link.check()
                await reached(link, LinkState.GONE)
                await asyncio.sleep(2 * AFTER_DEFECT_S)
                assert (link.state, link.reason) == (LinkState.GONE, "process died")
                instance.speaks.set()

    in_virtual_time(story())


def test_the_status_has_the_time_of_the_next_attempt_during_every_wait() -> None:
    async def flapping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Proves itself, and hangs up a moment later."""
        head = await reader.readuntil(b"\r\n\r\n")
        _, body = identity.answer(TOKEN, "shop-00000000", "generation-1", head.split()[1])
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await asyncio.sleep(0.01)
        writer.close()

    async def story() -> None:
        server = await asyncio.start_server(flapping, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, running(Target("shop-00000000", "generation-1", "127.0.0.1", port, TOKEN)) as link:
            waits = 0
            for _ in range(2000):
                if link.state is LinkState.RETRYING and link.attempts > 1:
                    waits += 1
                    assert link.status().next_retry_s is not None
                await asyncio.sleep(0.01)
            assert waits > 100

    in_virtual_time(story())


async def test_looking_at_a_link_that_has_ended_returns() -> None:
    async with FakeInstance() as instance:
        async with running(instance.target) as link:
            await link.settled()
            looking = asyncio.create_task(link.check())
        async with asyncio.timeout(30):
            await looking
            await link.check()


async def test_what_is_no_progress_of_the_call_is_not_passed_on() -> None:
    changed = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'

    async def stream(exchange: Exchange, message: dict[str, Any]) -> None:
        exchange.start_stream(200, [(b"content-type", b"text/event-stream")])
        exchange.send(b"data: %b\n\n" % changed)
        result = msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": {"done": True}})
        exchange.send(b"data: %b\n\n" % result)
        exchange.end()

    heard: list[bytes] = []
    changes: list[str] = []
    async with FakeInstance(answer=stream) as instance, running(instance.target) as link:
        call = tool_call()
        call.on_notification = heard.append
        call.on_list_changed = lambda: changes.append("tools")
        assert msgspec.json.decode(await link.call(call)) == {"done": True}
    assert (heard, changes) == ([], ["tools"])


async def test_progress_extends_the_deadline() -> None:
    progress = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'
    beat = asyncio.Event()

    async def stream(exchange: Exchange, message: dict[str, Any]) -> None:
        exchange.start_stream(200, [(b"content-type", b"text/event-stream")])
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 2.0  # twice the deadline
        while loop.time() < until_s:
            exchange.send(b"data: %b\n\n" % progress)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(beat.wait(), 0.02)
        exchange.send(
            b"data: %b\n\n" % msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": {"done": True}})
        )
        exchange.end()

    async with FakeInstance(answer=stream) as instance, running(instance.target) as link:
        call = tool_call(deadline_s=1.0)
        call.on_notification = lambda _: None
        assert msgspec.json.decode(await link.call(call)) == {"done": True}


async def test_a_cancelled_call_frees_its_place() -> None:
    release = asyncio.Event()

    async def wait(exchange: Exchange, message: dict[str, Any]) -> None:
        await release.wait()
        respond(exchange, message, {})

    async with FakeInstance(answer=wait) as instance, running(instance.target) as link:
        calls = [asyncio.create_task(link.call(tool_call())) for _ in range(DEFAULTS.in_flight_per_instance)]
        await has_heard(instance, len(calls))
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        release.set()
        await link.call(tool_call())
        assert (link.connections.in_flight, link.pool.in_flight) == (0, 0)


@pytest.mark.promise("every-transition-has-a-reason")
def test_a_forbidden_event_names_itself_and_the_state() -> None:
    with pytest.raises(ForbiddenEvent) as caught:
        next_state(LinkState.GONE, LinkEvent.PROVEN)
    assert (caught.value.event, caught.value.state) == (LinkEvent.PROVEN, LinkState.GONE)
    assert "proven" in caught.value.message
    assert "gone" in caught.value.message


@pytest.mark.parametrize("state", LinkState)
def test_a_new_record_is_a_way_out_of_every_state(state: LinkState) -> None:
    assert TRANSITIONS[state][LinkEvent.RECORD_CHANGED] is LinkState.DISCOVERED


def test_every_state_is_reached_and_every_event_is_used() -> None:
    assert {after for events in TRANSITIONS.values() for after in events.values()} == set(LinkState)
    assert {event for events in TRANSITIONS.values() for event in events} == set(LinkEvent)


def test_a_link_that_tries_once_more_still_is_what_it_was() -> None:
    for waiting in (LinkState.RETRYING, LinkState.IMPOSTOR):
        attempting = next_state(waiting, LinkEvent.DIALLED)
        assert (attempting in FAILING, attempting.shown) == (waiting in FAILING, "connecting")


def test_agents_and_metrics_see_the_words_of_the_first_version() -> None:
    assert set(SHOWN_STATES) == {
        "discovered", "connecting", "ready", "suspect", "retrying", "impostor", "incompatible", "gone",
    }  # fmt: skip
    assert {LinkState.WITHDRAWN.shown, LinkState.GONE.shown} == {"gone"}
    assert LinkEvent.OWNER_WITHDREW.shown == "owner_gone"
