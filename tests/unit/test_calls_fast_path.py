"""The short way of a call keeps every promise of the long one, and gives back all that it held."""

import asyncio
import dataclasses
import errno
import gc
import weakref
from typing import Any

import msgspec
import pytest

from brummer.calls.call_run import CallRun, Substitute
from brummer.calls.caller import CallEnded
from brummer.core.errors import BrummerError
from brummer.link.call import Call
from brummer.link.errors import ParkedTooLong
from brummer.link.peer import Condition
from brummer.link.state import LinkState
from brummer.link.target import Target
from brummer.settings.limits import DEFAULTS, Limits
from brummer.testing.virtual_time import VirtualLoop
from brummer.wire.http.server import Exchange
from brummer.wire.mcp.server import CALL_KEY, CLIENT_GONE, LEDGER_POSITION

from .fakes import FakeInstance, answer_with_arguments, respond
from .test_link import CalledLink, cancellations, has_heard, never, reached, running, tool_call


class Asked:
    """A call on the short way, and what came of it."""

    def __init__(self, link: CalledLink, call: Call, substitute: Substitute | None = None) -> None:
        self.results: list[dict[str, Any]] = []
        self.answered = asyncio.Event()
        self.call = call
        run = link.caller.fast_path(call, self._done, substitute)
        assert run is not None
        self.run: CallRun = run

    def _done(self, result: bytes) -> None:
        self.results.append(msgspec.json.decode(result))
        self.answered.set()

    async def result(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            await self.answered.wait()
        assert len(self.results) == 1
        return self.results[0]

    async def error(self) -> dict[str, Any]:
        result = await self.result()
        assert result["isError"] is True
        error: dict[str, Any] = result["structuredContent"]["error"]
        return error


async def ready(link: CalledLink) -> None:
    await reached(link, LinkState.READY)


def nothing_is_held(link: CalledLink) -> bool:
    pool, caller = link.pool, link.caller
    return (
        link.connections.in_flight == 0
        and (pool.in_flight, pool.queued, pool.parked) == (0, 0, 0)
        and not pool.wanted
        and not caller.is_waited_for
    )


async def test_a_call_is_sent_on_the_spot_and_answered_without_a_task() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await ready(link)
        tasks = len(asyncio.all_tasks())
        asked = Asked(link, tool_call({"n": 1}))
        assert len(asyncio.all_tasks()) == tasks
        assert (await asked.result())["structuredContent"] == {"n": 1}
        assert nothing_is_held(link)
        assert instance.connections == 1


async def test_a_link_that_is_not_ready_has_no_short_way() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        assert link.caller.fast_path(tool_call(), print) is None


async def test_any_number_of_calls_get_their_own_answers_over_few_connections() -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await ready(link)
        asked = [Asked(link, tool_call({"n": number})) for number in range(250)]
        assert [(await one.result())["structuredContent"]["n"] for one in asked] == list(range(250))
        assert instance.connections <= DEFAULTS.in_flight_per_instance
        assert nothing_is_held(link)


async def test_a_call_that_has_ended_is_freed_without_garbage_collection() -> None:
    """Left to the collection, the calls of a busy hub cost it a third more."""
    async with FakeInstance() as instance, running(instance.target) as link:
        await ready(link)
        gc.collect()
        gc.disable()
        try:
            assert (await freed_after_its_end(link))() is None
        finally:
            gc.enable()


async def freed_after_its_end(link: CalledLink) -> "weakref.ref[object]":
    """Of something that only the call refers to."""
    answered = asyncio.Event()

    def on_result(_: bytes) -> None:
        answered.set()

    link.caller.fast_path(tool_call(), on_result)
    await answered.wait()
    await asyncio.sleep(0)
    return weakref.ref(on_result)


async def test_over_the_queue_the_call_is_refused_and_leaves_nothing_behind() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        await ready(link)
        asked = [
            Asked(link, tool_call()) for _ in range(DEFAULTS.in_flight_per_instance + DEFAULTS.queued_per_instance)
        ]
        ended: list[CallEnded] = []
        link.caller.ended.subscribe(ended.append)
        assert (await Asked(link, tool_call()).error())["code"] == "busy"
        assert [each.ending for each in ended] == ["busy"]
        for one in asked:
            one.run.cancel(CLIENT_GONE)
        await asyncio.sleep(0)
        assert nothing_is_held(link)


@pytest.mark.parametrize("turns", range(4))
async def test_a_call_that_is_cancelled_when_its_connection_is_lost_is_cancelled_in_its_instance(
    turns: int,
) -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        await ready(link)
        ended: list[CallEnded] = []
        link.caller.ended.subscribe(ended.append)
        asked = Asked(link, tool_call())
        await has_heard(instance, 1)
        lost = asyncio.Event()
        asked.call.on_step = lambda _: lost.set()

        async def cancel() -> None:
            await lost.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            asked.run.cancel()

        cancelling = asyncio.create_task(cancel())
        await asyncio.sleep(0)
        instance.drop_connections()
        await cancelling
        async with asyncio.timeout(30):
            while not cancellations(instance):
                await asyncio.sleep(0)
        assert cancellations(instance) == [instance.calls[0]["params"]["_meta"][CALL_KEY]]
        assert [each.ending for each in ended] == ["cancelled"]
        assert not asked.results
        assert nothing_is_held(link)


async def test_a_lost_call_is_asked_for_again_under_its_key() -> None:
    async def drop_first(exchange: Exchange, message: dict[str, Any]) -> None:
        if len(instance.calls) == 1:
            instance.drop_connections()
            await asyncio.sleep(0)
        await answer_with_arguments(exchange, message)

    async with FakeInstance(answer=drop_first) as instance, running(instance.target) as link:
        await ready(link)
        assert (await Asked(link, tool_call({"n": 7})).result())["structuredContent"] == {"n": 7}
        first, second = (call["params"]["_meta"] for call in instance.calls)
        assert first[CALL_KEY] == second[CALL_KEY]
        assert first[LEDGER_POSITION] == second[LEDGER_POSITION]
        await asyncio.sleep(0)
        assert nothing_is_held(link)


async def test_the_run_it_was_sent_to_is_over_so_nobody_knows_and_it_is_not_sent_again() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        await ready(link)
        asked = Asked(link, tool_call())
        await has_heard(instance, 1)
        instance.generation = "generation-2"
        link.retarget(dataclasses.replace(instance.target, generation="generation-2"), "a new run")
        error = await asked.error()
        assert (error["code"], error["outcome"]) == ("outcome_unknown", "unknown")
        assert len(instance.calls) == 1
        await asyncio.sleep(0)
        assert nothing_is_held(link)


async def test_past_its_deadline_it_is_answered_and_its_place_is_free() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        await ready(link)
        error = await Asked(link, tool_call(deadline_s=0.05)).error()
        assert (error["code"], error["outcome"]) == ("deadline_exceeded", "unknown")
        assert nothing_is_held(link)


async def test_a_call_that_waits_for_its_turn_has_a_deadline_too() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        await ready(link)
        asked = [Asked(link, tool_call(deadline_s=0.5)) for _ in range(DEFAULTS.in_flight_per_instance)]
        waiting = Asked(link, tool_call(deadline_s=0.05))
        assert (await waiting.error())["outcome"] == "not_executed"
        for one in asked:
            assert (await one.error())["code"] == "deadline_exceeded"
        await asyncio.sleep(0)
        assert nothing_is_held(link)


def test_calls_whose_deadlines_pass_at_once_end_once_each_whoever_gets_whose_place() -> None:
    count = 8

    async def story() -> None:
        limits = Limits(in_flight_per_instance=1)
        async with FakeInstance(answer=never) as instance, running(instance.target, limits) as link:
            ended: list[CallEnded] = []
            link.caller.ended.subscribe(ended.append)
            await ready(link)
            asked = [Asked(link, tool_call(deadline_s=2.5)) for _ in range(count)]
            errors = await asyncio.gather(*(one.error() for one in asked))
            await asyncio.sleep(1)
            assert len(ended) == count
            unknown = [each["outcome"] for each in errors].count("unknown")
            assert 0 < unknown == [each.ending for each in ended].count("unknown")
            assert [each.ending for each in ended].count("deadline") == count - unknown
            assert nothing_is_held(link)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())


async def test_progress_moves_the_deadline_on() -> None:
    released = asyncio.Event()

    async def slow(exchange: Exchange, message: dict[str, Any]) -> None:
        await released.wait()
        respond(exchange, message, {"structuredContent": {}, "isError": False})

    async with FakeInstance(answer=slow) as instance, running(instance.target) as link:
        await ready(link)
        call = tool_call(deadline_s=1.0)
        asked = Asked(link, call)
        before_s = asked.run.due_s
        await has_heard(instance, 1)
        call.notified("notifications/progress", b"{}")
        assert asked.run.due_s > before_s
        released.set()
        await asked.result()


def test_carried_on_late_it_may_be_silent_as_long_as_ever_once_it_shows_life() -> None:
    async def story() -> None:
        released = asyncio.Event()

        async def slow(exchange: Exchange, message: dict[str, Any]) -> None:
            await released.wait()
            respond(exchange, message, {"structuredContent": {}, "isError": False})

        async with FakeInstance(answer=slow) as instance, running(instance.target) as link:
            await ready(link)
            call = tool_call(deadline_s=10.0)
            asked = Asked(link, call)
            await has_heard(instance, 1)
            await asyncio.sleep(9)
            instance.drop_connections()
            await has_heard(instance, 2)
            call.notified("notifications/progress", b"{}")
            await asyncio.sleep(8)
            released.set()
            assert (await asked.result())["isError"] is False

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())


async def test_cancelled_on_the_wire_its_work_is_stopped_by_key_and_nothing_is_said() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        await ready(link)
        asked = Asked(link, tool_call())
        await has_heard(instance, 1)
        asked.run.cancel()
        assert nothing_is_held(link)
        await has_heard(instance, 2)
        assert cancellations(instance) == [instance.calls[0]["params"]["_meta"][CALL_KEY]]
        assert asked.results == []


async def test_cancelled_while_it_waits_for_its_turn_it_is_never_sent() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        await ready(link)
        first = [Asked(link, tool_call({"n": number})) for number in range(DEFAULTS.in_flight_per_instance)]
        waiting = Asked(link, tool_call({"n": "waits"}))
        waiting.run.cancel()
        assert len(link.caller.cancellations) == 0  # no work of it can be anywhere
        await has_heard(instance, DEFAULTS.in_flight_per_instance)
        instance.answer = answer_with_arguments
        for one in first:
            one.run.cancel(CLIENT_GONE)
        await Asked(link, tool_call({"n": "next"})).result()
        assert "waits" not in [call["params"].get("arguments", {}).get("n") for call in instance.calls]
        assert waiting.results == []


async def test_cancelled_between_its_refusal_and_the_answer_it_says_nothing() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target, Limits(queued_per_instance=0)) as link:
        await ready(link)
        first = [Asked(link, tool_call()) for _ in range(DEFAULTS.in_flight_per_instance)]
        refused, cancelled = Asked(link, tool_call()), Asked(link, tool_call())
        cancelled.run.cancel()
        assert (await refused.error())["code"] == "busy"
        assert cancelled.results == []
        for one in first:
            one.run.cancel(CLIENT_GONE)


@pytest.mark.parametrize("end", ["a result", "an error"])
async def test_an_end_in_the_same_turn_as_the_cancellation_of_its_task_is_no_defect(
    caplog: pytest.LogCaptureFixture, end: str
) -> None:
    async def refuse(exchange: Exchange, _: dict[str, Any]) -> None:
        exchange.respond(500, b"oops")

    async def substitute() -> bytes | None:
        asyncio.get_running_loop().call_soon(task.cancel)  # runs just before the end is delivered
        if end == "an error":
            raise ParkedTooLong("it is gone")
        return b"{}"

    async with FakeInstance(answer=refuse) as instance, running(instance.target) as link:
        await ready(link)
        task = asyncio.create_task(link.caller.call(tool_call(), lambda _: substitute()))
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert nothing_is_held(link)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_to_close_ends_a_substitute_that_does_not_answer() -> None:
    begun = asyncio.Event()

    async def substitute() -> bytes | None:
        begun.set()
        await asyncio.Event().wait()
        return None

    async def refuse(exchange: Exchange, _: dict[str, Any]) -> None:
        exchange.respond(500, b"oops")

    async with FakeInstance(answer=refuse) as instance, running(instance.target) as link:
        await ready(link)
        asked = Asked(link, tool_call(), lambda _: substitute())
        async with asyncio.timeout(30):
            await begun.wait()
            await link.caller.close()
        assert (await asked.error())["outcome"] == "unknown"


async def test_a_client_that_is_gone_stops_no_work() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        await ready(link)
        asked = Asked(link, tool_call())
        await has_heard(instance, 1)
        asked.run.cancel(CLIENT_GONE)
        assert nothing_is_held(link)
        assert len(link.caller.cancellations) == 0


async def test_cancelled_on_the_long_way_it_says_nothing_and_gives_its_place_back() -> None:
    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        await ready(link)
        asked = Asked(link, tool_call())
        await has_heard(instance, 1)
        await instance.connections_dropped()
        await has_heard(instance, 2)
        asked.run.cancel()
        asked.run.cancel()
        await asyncio.sleep(0)
        assert nothing_is_held(link)
        assert asked.results == []


async def test_what_the_instance_refuses_is_reported_as_a_result() -> None:
    async def refuse(exchange: Exchange, message: dict[str, Any]) -> None:
        error = {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32602, "message": "Unknown tool: x"}}
        exchange.respond(200, msgspec.json.encode(error), [(b"content-type", b"application/json")])

    async with FakeInstance(answer=refuse) as instance, running(instance.target) as link:
        await ready(link)
        assert (await Asked(link, tool_call()).error())["code"] == "refused_by_instance"
        assert nothing_is_held(link)
        assert instance.connections == 1


async def test_a_defect_costs_one_call_and_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeInstance() as instance, running(instance.target) as link:
        await ready(link)
        with monkeypatch.context() as patched:
            patched.setattr("brummer.link.call.Answers.result", lambda *_: 1 // 0)
            assert (await Asked(link, tool_call()).error())["code"] == "internal"
        assert nothing_is_held(link)
        await Asked(link, tool_call()).result()


def unseeable(instance: FakeInstance) -> Target:
    """An instance whose process can't be checked, because no descriptor is left."""

    def look() -> Condition:
        raise OSError(errno.EMFILE, "Too many open files")

    return dataclasses.replace(instance.target, condition=look)


@pytest.mark.parametrize("number", [0, DEFAULTS.in_flight_per_instance], ids=["in flight", "queued"])
async def test_a_call_whose_refusal_fails_is_answered_all_the_same(number: int) -> None:
    async with FakeInstance(answer=never) as instance, running(unseeable(instance)) as link:
        await ready(link)
        asked = [Asked(link, tool_call(deadline_s=0.05)) for _ in range(DEFAULTS.in_flight_per_instance + 1)]
        error = await asked[number].error()
        assert error["outcome"] == ("not_executed" if asked[number].call.unanswered == 0 else "unknown")
        for each in asked:
            await each.error()
        assert nothing_is_held(link)


async def test_a_call_is_answered_although_its_substitute_fails() -> None:
    def instead(_: BrummerError) -> None:
        raise RuntimeError("a defect")

    async with FakeInstance(answer=never) as instance, running(instance.target) as link:
        await ready(link)
        asked = Asked(link, tool_call(deadline_s=0.05), instead)
        assert (await asked.error())["code"] == "deadline_exceeded"
        assert nothing_is_held(link)
