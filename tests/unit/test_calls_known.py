"""The outcome of a call depends on whether it was sent, whether it was answered, and by which run."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest

from brummer.calls import refusals
from brummer.calls.basic import BasicLink
from brummer.calls.caller import CallEnded
from brummer.core.errors import BrummerError
from brummer.link.call import Call
from brummer.link.errors import DeadlineExceeded, Impostor, ParkedTooLong, RateLimited
from brummer.link.state import LinkState
from brummer.wire.http.server import Exchange

from .fakes import JSON, FakeInstance, answer_with_arguments, respond
from .test_calls_fast_path import Asked
from .test_link import CalledLink, eventually, has_heard, never, reached, running, tool_call
from .virtual_world import in_virtual_time

PROGRESS = b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}\n\n'


async def error_of(call: Coroutine[Any, Any, bytes]) -> BrummerError:
    with pytest.raises(BrummerError) as caught:
        await call
    return caught.value


async def error_on_the_short_way(link: CalledLink, call: Call) -> dict[str, Any]:
    await reached(link, LinkState.READY)
    return await Asked(link, call).error()


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_call_that_was_sent_and_not_answered_in_time_is_unknown_even_if_it_may_be_repeated(
    *, repeatable: bool
) -> None:
    async def story() -> None:
        async with FakeInstance(answer=never) as instance, running(instance.target) as link:
            short = await error_on_the_short_way(link, tool_call(repeatable=repeatable, deadline_s=2.0))
            long = (await error_of(link.call(tool_call(repeatable=repeatable)))).as_data()
            basic = (await error_of(BasicLink(instance.target).call(tool_call(repeatable=repeatable)))).as_data()
            for said in (short, long, basic):
                assert (said["code"], said["outcome"]) == ("deadline_exceeded", "unknown")
                assert (said["retryable"], said["retry_after_s"]) == (False, None)

    in_virtual_time(story())


@pytest.mark.parametrize("repeatable", [True, False])
async def test_the_basic_link_reports_unknown_for_a_sent_call_whose_connection_is_lost(*, repeatable: bool) -> None:
    async def hang_up(exchange: Exchange, _: dict[str, Any]) -> None:
        exchange.connection.abort()

    async with FakeInstance(answer=hang_up) as instance:
        error = await error_of(BasicLink(instance.target).call(tool_call(repeatable=repeatable)))
        assert (error.outcome, error.retryable) == ("unknown", False)


def lose(instance: FakeInstance) -> None:
    """The connection is cut, and no new connection gets through."""
    instance.speaks.clear()
    instance.drop_connections()


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_call_that_was_sent_waits_for_its_instance_until_its_deadline(*, repeatable: bool) -> None:
    async def story() -> None:
        async with FakeInstance(answer=never) as instance, running(instance.target) as link:
            await reached(link, LinkState.READY)
            began_s = asyncio.get_running_loop().time()
            asked = asyncio.create_task(
                error_of(link.call(tool_call(repeatable=repeatable, deadline_s=2 * refusals.PARK_S)))
            )
            await has_heard(instance, 1)
            lose(instance)
            error = await asked
            assert asyncio.get_running_loop().time() - began_s >= 2 * refusals.PARK_S
            assert isinstance(error, DeadlineExceeded)
            assert (error.outcome, error.retryable) == ("unknown", False)
            instance.speaks.set()

    in_virtual_time(story())


def test_a_call_that_was_sent_is_answered_by_an_instance_that_comes_back_late() -> None:
    async def story() -> None:
        async with FakeInstance(answer=never) as instance, running(instance.target) as link:
            await reached(link, LinkState.READY)
            asked = Asked(link, tool_call({"n": 1}, deadline_s=3 * refusals.PARK_S))
            await has_heard(instance, 1)
            lose(instance)
            await asyncio.sleep(2 * refusals.PARK_S)
            instance.answer = answer_with_arguments
            instance.speaks.set()
            await asked.answered.wait()
            assert (await asked.result())["structuredContent"] == {"n": 1}

    in_virtual_time(story())


def test_a_call_that_was_not_sent_waits_for_its_instance_for_a_while_and_may_be_retried() -> None:
    async def story() -> None:
        async with FakeInstance() as instance, running(instance.target) as link:
            await reached(link, LinkState.READY)
            lose(instance)
            while link.state is LinkState.READY:
                await asyncio.sleep(0.1)
            began_s = asyncio.get_running_loop().time()
            error = await error_of(link.call(tool_call(deadline_s=3 * refusals.PARK_S)))
            assert asyncio.get_running_loop().time() - began_s < refusals.PARK_S + 1
            assert isinstance(error, ParkedTooLong)
            assert (error.outcome, error.retryable, error.retry_after_s) == ("not_executed", True, 1.0)
            instance.speaks.set()

    in_virtual_time(story())


@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_call_that_may_have_run_is_not_retryable_when_its_instance_is_gone(*, repeatable: bool) -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        call = tool_call(repeatable=repeatable)
        call.waits_for_return = False
        asked = asyncio.create_task(error_of(link.call(call)))
        await has_heard(instance, 1)
        link.owner_gone("process died")
        error = await asked
        assert (error.outcome, error.retryable) == ("unknown", False)


def test_signs_of_life_extend_no_call_beyond_the_longest_even_if_its_connection_is_lost_on_the_way() -> None:
    async def tell(exchange: Exchange, _: dict[str, Any]) -> None:
        exchange.start_stream(200, [(b"content-type", b"text/event-stream")])
        while not exchange.peer_gone:
            exchange.send(PROGRESS)
            await asyncio.sleep(5)

    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with FakeInstance(answer=tell) as instance, running(instance.target) as link:
            await reached(link, LinkState.READY)
            began_s = loop.time()
            call = tool_call(deadline_s=10.0)
            call.on_notification = lambda _: None
            ended = asyncio.Event()
            assert link.caller.fast_path(call, lambda _: ended.set()) is not None
            await asyncio.sleep(call.max_deadline_s / 2)
            assert not ended.is_set()
            instance.drop_connections()
            await ended.wait()
            assert loop.time() - began_s == pytest.approx(call.max_deadline_s, abs=10.0)

    in_virtual_time(story())


def not_begun(instance: FakeInstance, *whys: str, began: bool = False) -> None:
    """The first requests are refused for these reasons; if it ``began``, one earlier request is lost."""
    left = list(whys)

    async def answer(exchange: Exchange, message: dict[str, Any]) -> None:
        if began and len(instance.calls) == 1:
            exchange.connection.abort()
        elif left:
            data = {"why": left.pop(0), "ledger_position": 40 + len(instance.calls), "clock_s": 5.0}
            error = {"code": -32050, "message": "The call was not begun", "data": data}
            exchange.respond(200, msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "error": error}), JSON)
        else:
            respond(exchange, message, {"structuredContent": {}, "isError": False})

    instance.answer = answer


@pytest.mark.parametrize("why", ["late", "hung_up", "forgotten"])
@pytest.mark.parametrize("way", ["short", "long"])
async def test_a_call_that_its_instance_did_not_begin_is_sent_again_with_the_instances_position_and_clock(
    why: str, way: str
) -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        not_begun(instance, why)
        if way == "short":
            assert (await Asked(link, tool_call()).result())["isError"] is False
        else:
            await link.call(tool_call())
        first, second = (call["params"]["_meta"] for call in instance.calls)
        assert first["dev.brummer/call-key"] == second["dev.brummer/call-key"]
        assert (first["dev.brummer/ledger-position"], second["dev.brummer/ledger-position"]) == (0, 41)
        assert instance.connections == 1


async def test_a_call_that_may_have_run_and_was_forgotten_is_unknown_and_counted_so() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        ended: list[CallEnded] = []
        link.caller.ended.subscribe(ended.append)
        not_begun(instance, "forgotten", began=True)
        error = await Asked(link, tool_call()).error()
        assert (error["code"], error["outcome"], error["retryable"]) == ("call_forgotten", "unknown", False)
        assert [(each.ending, each.code) for each in ended] == [("unknown", "call_forgotten")]


async def test_a_repeatable_call_that_was_forgotten_is_sent_again() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        not_begun(instance, "forgotten", began=True)
        assert (await Asked(link, tool_call(repeatable=True)).result())["isError"] is False
        assert len(instance.calls) == 3


@pytest.mark.parametrize("way", ["short", "long"])
async def test_an_instance_that_is_short_of_memory_makes_a_call_busy_which_may_be_retried(way: str) -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        not_begun(instance, "no_room")
        if way == "short":
            error = await Asked(link, tool_call()).error()
        else:
            error = (await error_of(link.call(tool_call()))).as_data()
        assert (error["code"], error["outcome"], error["retryable"]) == ("busy", "not_executed", True)
        assert error["retry_after_s"] == 1.0
        assert len(instance.calls) == 1


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_call_that_may_have_run_is_never_busy_it_is_sent_again_until_its_instance_has_room(
    *, repeatable: bool
) -> None:
    async def story() -> None:
        async with FakeInstance() as instance, running(instance.target) as link:
            await reached(link, LinkState.READY)
            not_begun(instance, *6 * ["no_room"], began=True)
            assert (await Asked(link, tool_call(repeatable=repeatable)).result())["isError"] is False
            not_begun(instance, *1000 * ["no_room"], began=True)
            instance.calls.clear()
            error = await Asked(link, tool_call(repeatable=repeatable, deadline_s=5.0)).error()
            assert (error["code"], error["outcome"]) == ("deadline_exceeded", "unknown")

    in_virtual_time(story())


@pytest.mark.parametrize(
    ("code", "outcome", "ending"),
    [
        ("internal", "unknown", "unknown"),
        ("cancelled", "unknown", "unknown"),
        ("script_failed_to_start", "failed", "tool_error"),
        ("not_found", "not_executed", "tool_error"),
    ],
)
async def test_a_result_whose_outcome_is_unknown_is_counted_as_unknown(code: str, outcome: str, ending: str) -> None:
    async def fail(exchange: Exchange, message: dict[str, Any]) -> None:
        error = {"code": code, "message": "it failed", "outcome": outcome}
        respond(exchange, message, {"content": [], "structuredContent": {"error": error}, "isError": True})

    async with FakeInstance(answer=fail) as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        ended: list[CallEnded] = []
        link.caller.ended.subscribe(ended.append)
        await link.call(tool_call())
        assert [(each.ending, each.code) for each in ended] == [(ending, code if ending == "unknown" else "")]


async def test_an_unknown_outcome_names_the_last_error_of_its_link_if_there_was_one() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        assert refusals.outcome_unknown(link, tool_call()).context["cause"] is None
        link.last_error = Impostor("another process answers", sent=False)
        assert refusals.outcome_unknown(link, tool_call()).context["cause"] == "impostor"


async def test_a_call_that_waited_too_long_gets_the_refusal_of_its_server_unless_it_was_sent() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        unsent, sent = tool_call(), tool_call()
        sent.note_unanswered("generation-1")
        for error in (refusals.parked_too_long(link, unsent), refusals.gone(link)):
            assert (error.code, error.retry_after_s) == ("instance_unavailable", 1.0)
        link.last_error = RateLimited("too many requests", began=True, retry_after_s=7.0)
        refusal = refusals.parked_too_long(link, unsent)
        assert isinstance(refusal, RateLimited)
        assert (refusal.retry_after_s, refusal.sent) == (7.0, False)
        assert refusals.parked_too_long(link, sent).code == "instance_unavailable"


async def test_position_and_clock_of_a_run_do_not_apply_to_the_next_run() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        link.target.note_ledger(500, None)
        await link.call(tool_call())
        instance.generation = "generation-2"
        link.retarget(instance.target, "a new run")
        await eventually(lambda: link.target.generation == "generation-2")
        await link.call(tool_call())
        positions = [call["params"]["_meta"]["dev.brummer/ledger-position"] for call in instance.calls]
        assert positions == [500, 0]
