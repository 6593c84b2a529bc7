"""The ledger as a pure thing, and keyed calls around it."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.core.lost_calls import LOST_CALL_GRACE_S
from brummer.instance.keyed_calls import DidNotBegin, KeyedCalls
from brummer.instance.ledger import Ledger
from brummer.wire.mcp.server import Meta, Params, Request, ToolCall
from brummer.wire.mcp.tools import structured

from .virtual_world import in_virtual_time


@pytest.mark.promise("the-original-result")
def test_a_finished_call_is_found_with_its_original_result() -> None:
    ledger = Ledger()
    ledger.close(ledger.open("k"), b"result", 2.0)
    found = ledger.find("k")
    assert found is not None
    assert found.result == b"result"


@given(sizes=st.lists(st.integers(0, 50), max_size=60), running=st.integers(0, 5))
def test_bounds_hold_and_a_running_call_is_never_forgotten(sizes: list[int], running: int) -> None:
    ledger = Ledger(max_entries=20, max_bytes=200)
    for number in range(running):
        ledger.open(f"running-{number}")
    for number, size in enumerate(sizes):
        ledger.close(ledger.open(f"k{number}"), bytes(size), number + 1.5)
        assert len(ledger) <= 20
        assert ledger.size_bytes <= 200
    assert all(ledger.find(f"running-{number}") for number in range(running))


def test_a_call_may_have_been_forgotten_if_it_was_sent_before_one_that_was_forgotten_began() -> None:
    ledger = Ledger(max_entries=1)
    for number in range(2):
        ledger.close(ledger.open(f"k{number}"), b"", float(number))
    assert ledger.find("k0") is None
    assert ledger.may_have_forgotten(0)
    assert not ledger.may_have_forgotten(1)


def test_results_go_when_they_are_old() -> None:
    ledger = Ledger(max_age_s=10.0)
    ledger.close(ledger.open("old"), b"", 1.0)
    ledger.close(ledger.open("new"), b"", 12.0)
    assert (ledger.find("old"), ledger.find("new") is not None) == (None, True)


def test_the_ended_calls_are_forgotten_in_the_order_in_which_they_ended() -> None:
    ledger = Ledger(max_entries=3)
    first, second, third = (ledger.open(f"k{number}") for number in range(3))
    for now_s, entry in enumerate((second, third, first), 10):
        ledger.close(entry, b"", float(now_s))
    ledger.close(ledger.open("k3"), b"", 21.0)
    assert [bool(ledger.find(f"k{number}")) for number in range(4)] == [True, False, True, True]


def test_a_fresh_ledger_has_forgotten_nothing() -> None:
    assert not Ledger().may_have_forgotten(0)
    ledger = Ledger()
    ledger.close(ledger.open("k"), b"", 1.0)
    assert not ledger.may_have_forgotten(0)


def test_the_position_counts_the_calls_that_were_opened() -> None:
    ledger = Ledger()
    assert [ledger.open(f"k{number}").number for number in range(3)] == [0, 1, 2]
    assert ledger.position == 3


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_the_size_is_that_of_the_results_that_are_kept(sizes: list[int]) -> None:
    ledger = Ledger(max_bytes=200)
    for number, size in enumerate(sizes):
        ledger.close(ledger.open(f"k{number}"), bytes(size), float(number))
        kept = [found.result or b"" for n in range(number + 1) if (found := ledger.find(f"k{n}"))]
        assert ledger.size_bytes == sum(map(len, kept)) <= 200


def test_a_result_of_exactly_the_limit_is_kept_and_one_byte_more_is_not() -> None:
    ledger = Ledger(max_bytes=10)
    ledger.close(ledger.open("fits"), bytes(10), 1.0)
    assert ledger.find("fits") is not None
    ledger.close(ledger.open("over"), bytes(11), 2.0)
    assert (ledger.find("fits"), ledger.find("over")) == (None, None)


def test_a_shortage_of_memory_drops_older_results() -> None:
    ledger = Ledger()
    ledger.close(ledger.open("old"), b"x", 1.0)
    ledger.close(ledger.open("new"), b"y", 50.0)
    ledger.shed(61.0, older_than_s=60.0)
    assert (ledger.find("old"), ledger.find("new") is not None, ledger.size_bytes) == (None, True, 1)


class Counting:
    """A tool server whose one tool counts its runs and ends when it is let."""

    tools_json = b"[]"
    call: ToolCall

    def __init__(self) -> None:
        self.runs = 0
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        self.cancelled = asyncio.Event()

    def has_tool(self, name: str) -> bool:
        return name == "count"

    async def call_tool(self, call: ToolCall) -> bytes:
        self.runs += 1
        self.call = call
        self.started.set()
        call.report_progress(self.runs)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return structured({"runs": self.runs})

    def cancel_call(self, key: str) -> bool:
        return False


def keyed(key: str | None, notified: list[bytes] | None = None) -> ToolCall:
    meta = Meta(call_key=key, progress_token=msgspec.Raw(b"1"))
    heard = notified if notified is not None else []
    request = Request(b"1", "tools/call", Params(meta=meta, name="count"), None, heard.append)
    return ToolCall("count", b"{}", request)


def content(result: bytes) -> Any:
    return msgspec.json.decode(result)["structuredContent"]


@pytest.mark.promise("the-original-result")
async def test_a_call_asked_for_again_while_it_runs_attaches_and_runs_once() -> None:
    tools = Counting()
    calls = KeyedCalls(tools, frozenset())
    first = asyncio.create_task(calls.call_tool(keyed("k")))
    await tools.started.wait()
    first.cancel()  # its connection was lost
    second = asyncio.create_task(calls.call_tool(keyed("k")))
    await asyncio.sleep(0)
    tools.may_end.set()
    assert content(await second) == {"runs": 1}
    assert content(await calls.call_tool(keyed("k"))) == {"runs": 1}
    assert tools.runs == 1


class Judged:
    """Keyed calls whose clock and connections the test sets."""

    def __init__(self, max_entries: int = 100) -> None:
        self.now_s = 1000.0
        self.tools = Counting()
        self.tools.may_end.set()
        self.calls = KeyedCalls(
            self.tools, frozenset({"look"}), Ledger(max_entries=max_entries), clock=lambda: self.now_s
        )

    async def call(
        self, key: str, *, position: int | None = None, begin_by_s: float | None = None, hung_up: bool = False
    ) -> Any:
        """Its result, or the reason why it was not begun."""
        call = keyed(key)
        call.request.params.meta.ledger_position = position
        call.request.params.meta.begin_by_s = begin_by_s
        call.request.sender_hung_up = lambda: hung_up
        try:
            return content(await self.calls.call_tool(call))
        except DidNotBegin as refusal:
            told: Any = refusal.data
            assert (told["ledger_position"], told["clock_s"]) == (self.calls.ledger.position, self.now_s)
            return told["why"]


async def test_a_call_after_its_latest_time_to_begin_never_begins() -> None:
    judged = Judged()
    assert await judged.call("k", begin_by_s=judged.now_s - 0.001) == "late"
    assert judged.tools.runs == 0
    assert await judged.call("k", begin_by_s=judged.now_s) == {"runs": 1}


async def test_a_call_that_began_in_time_is_answered_to_a_late_repeated_request() -> None:
    judged = Judged()
    assert await judged.call("k", begin_by_s=judged.now_s + 1) == {"runs": 1}
    judged.now_s += 3600
    assert await judged.call("k", begin_by_s=judged.now_s - 3599) == {"runs": 1}
    assert judged.tools.runs == 1


async def test_a_call_whose_connection_has_ended_does_not_begin_and_another_request_for_it_does() -> None:
    judged = Judged()
    assert await judged.call("k", hung_up=True) == "hung_up"
    assert judged.tools.runs == 0
    assert await judged.call("k") == {"runs": 1}
    assert await judged.call("k", hung_up=True) == {"runs": 1}


async def test_a_cancelled_key_that_was_forgotten_is_refused_and_not_run() -> None:
    judged = Judged(max_entries=1)
    position = judged.calls.ledger.position
    judged.calls.cancel_call("k")
    for number in range(3):
        await judged.call(f"other-{number}", position=judged.calls.ledger.position)
    assert await judged.call("k", position=position) == "forgotten"
    assert judged.tools.runs == 3


async def test_a_first_request_that_arrives_after_its_second_was_forgotten_is_refused() -> None:
    judged = Judged(max_entries=1)
    position = judged.calls.ledger.position
    assert await judged.call("k", position=position) == {"runs": 1}  # the second, on a connection of its own
    for number in range(3):
        await judged.call(f"other-{number}", position=judged.calls.ledger.position)
    assert await judged.call("k", position=position) == "forgotten"
    assert await judged.call("new", position=judged.calls.ledger.position) == {"runs": 5}


async def test_calls_without_a_key_and_repeatable_ones_run_as_often_as_they_are_asked_for() -> None:
    tools = Counting()
    tools.may_end.set()
    await KeyedCalls(tools, frozenset()).call_tool(keyed(None))
    calls = KeyedCalls(tools, frozenset({"count"}))
    await calls.call_tool(keyed("k"))
    await calls.call_tool(keyed("k"))
    assert (tools.runs, len(calls.ledger)) == (3, 0)


async def test_a_cancellation_by_key_stops_the_work_and_answers_who_waits() -> None:
    tools = Counting()
    calls = KeyedCalls(tools, frozenset())
    waiting = asyncio.create_task(calls.call_tool(keyed("k")))
    await tools.started.wait()
    assert calls.cancel_call("k")
    assert content(await waiting)["error"]["code"] == "cancelled"
    assert tools.cancelled.is_set()
    assert calls.cancel_call("k"), "nothing more is to be done"
    assert content(await calls.call_tool(keyed("k")))["error"]["code"] == "cancelled"
    assert tools.runs == 1


async def test_a_call_that_was_cancelled_before_it_arrived_never_begins() -> None:
    tools = Counting()
    calls = KeyedCalls(tools, frozenset())
    assert calls.cancel_call("k")
    error = content(await calls.call_tool(keyed("k")))["error"]
    assert (error["code"], error["outcome"], tools.runs) == ("cancelled", "not_executed", 0)
    assert calls.tools_json == tools.tools_json


async def test_a_cancelled_request_cancels_its_read() -> None:
    tools = Counting()
    calls = KeyedCalls(tools, frozenset({"count"}))
    reading = asyncio.create_task(calls.call_tool(keyed("k")))
    await tools.started.wait()
    assert not calls.cancel_call("k")
    tools.may_end.set()
    await reading
    assert (len(calls.ledger), calls.running) == (0, 0)


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancellation_at_any_moment_of_the_start_is_answered_and_stays_in_the_ledger(turns: int) -> None:
    tools = Counting()
    calls = KeyedCalls(tools, frozenset())
    request = asyncio.create_task(calls.call_tool(keyed("k")))
    for _ in range(turns):
        await asyncio.sleep(0)
    assert calls.cancel_call("k")
    async with asyncio.timeout(30):
        error = content(await request)["error"]
        assert error["code"] == "cancelled"
        assert error["outcome"] == ("unknown" if tools.runs else "not_executed")
        assert content(await calls.call_tool(keyed("k")))["error"] == error
    assert calls.running == 0


async def test_work_ends_with_the_grace_period_if_no_request_attaches_again() -> None:
    tools = Counting()
    calls = KeyedCalls(tools, frozenset(), grace_s=0.01)
    waiting = asyncio.create_task(calls.call_tool(keyed("k")))
    await tools.started.wait()
    waiting.cancel()
    async with asyncio.timeout(30):
        await tools.cancelled.wait()


async def ended(calls: KeyedCalls, tools: Counting, lost: asyncio.Task[bytes]) -> None:
    """Lose the connection of a call."""
    await asyncio.sleep(0)
    await tools.started.wait()
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)


def test_a_repeated_request_ends_the_grace_period() -> None:
    async def story() -> None:
        tools = Counting()
        calls = KeyedCalls(tools, frozenset())
        await ended(calls, tools, asyncio.create_task(calls.call_tool(keyed("k"))))
        await asyncio.sleep(LOST_CALL_GRACE_S - 1)
        again = asyncio.create_task(calls.call_tool(keyed("k")))
        await asyncio.sleep(2 * LOST_CALL_GRACE_S)
        assert not tools.cancelled.is_set()
        tools.may_end.set()
        assert content(await again) == {"runs": 1}

    in_virtual_time(story())


def test_no_grace_period_begins_while_another_request_waits_for_the_work() -> None:
    async def story() -> None:
        tools = Counting()
        calls = KeyedCalls(tools, frozenset())
        first = asyncio.create_task(calls.call_tool(keyed("k")))
        await tools.started.wait()
        second = asyncio.create_task(calls.call_tool(keyed("k")))
        await asyncio.sleep(0)
        await ended(calls, tools, first)
        await asyncio.sleep(2 * LOST_CALL_GRACE_S)
        assert not tools.cancelled.is_set()
        tools.may_end.set()
        assert content(await second) == {"runs": 1}

    in_virtual_time(story())


def test_each_lost_request_gives_the_work_a_whole_grace_period() -> None:
    async def story() -> None:
        tools = Counting()
        calls = KeyedCalls(tools, frozenset())
        for _ in range(3):
            await ended(calls, tools, asyncio.create_task(calls.call_tool(keyed("k"))))
            await asyncio.sleep(LOST_CALL_GRACE_S - 1)
            assert not tools.cancelled.is_set()
        await asyncio.sleep(2)
        assert tools.cancelled.is_set()

    in_virtual_time(story())


async def test_progress_goes_to_whoever_is_attached_and_a_cancelled_waiter_hears_no_more() -> None:
    tools = Counting()
    calls = KeyedCalls(tools, frozenset())
    heard: list[bytes] = []
    waiting = asyncio.create_task(calls.call_tool(keyed("k", heard)))
    await tools.started.wait()
    assert len(heard) == 1
    tools.may_end.set()
    await waiting


async def test_closing_stops_the_work_and_leaves_no_task() -> None:
    tools = Counting()
    calls = KeyedCalls(tools, frozenset())
    waiting = asyncio.create_task(calls.call_tool(keyed("k")))
    await tools.started.wait()
    await calls.close()
    assert content(await waiting)["error"]["code"] == "cancelled"


async def test_a_request_whose_progress_can_not_be_sent_does_not_affect_another_of_the_same_call() -> None:
    def broken(_: bytes) -> None:
        raise ConnectionResetError

    tools = Counting()
    calls, heard = KeyedCalls(tools, frozenset()), list[bytes]()
    first = keyed("k")
    first.request.notify = broken
    waits = [asyncio.create_task(calls.call_tool(call)) for call in (first, keyed("k", heard))]
    await tools.started.wait()
    tools.call.request.notify(b"progress")
    tools.may_end.set()
    assert [content(result) for result in await asyncio.gather(*waits)] == [{"runs": 1}] * 2
    assert b"progress" in heard
