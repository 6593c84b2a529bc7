"""What waits for the first line or change that an answer lacks (``wait_s``)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from brummer.contract.tools import NEWS_WAIT_S
from brummer.instance.manager import Manager
from brummer.logs import levels
from brummer.logs.output import ProcessOutput
from brummer.process.guard import Guard
from tests.unit.agent_support import Agent, texts

NOW: float = 1_790_000_000.0
LONG: float = NEWS_WAIT_S


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    """Of an instance with two scripts, of which none runs: the tests print in their names."""
    (tmp_path / "Procfile").write_text("dev: exec sleep 600\ntest: echo one; exec sleep 600\nquick: echo hello\n")
    async with Manager("generation-1", Guard("generation-1")) as manager:
        yield Agent(tmp_path, manager)


def printing(agent: Agent, name: str = "dev") -> Callable[[str], None]:
    output: ProcessOutput = agent.manager.output.open(name)
    return lambda text: output.feed("stdout", text.encode(), NOW)


async def waiting(agent: Agent, tool: str, **arguments: object) -> asyncio.Task[dict[str, Any]]:
    """A call that has begun to wait."""
    call = asyncio.create_task(agent.call(tool, wait_s=LONG, **arguments))
    log, changes = agent.manager.output, agent.manager.changes
    before = repr(log), repr(changes)
    async with asyncio.timeout(10):
        while (repr(log), repr(changes)) == before:
            await asyncio.sleep(0)
            assert not call.done(), call
    return call


def listeners(agent: Agent) -> tuple[str, str]:
    """How many listen to the output and to the changes."""
    return repr(agent.manager.output).rpartition(",")[2], repr(agent.manager.changes).rpartition(",")[2]


@pytest.mark.promise("news-is-waited-for")
async def test_a_line_ends_the_wait_of_a_tail_and_the_answer_goes_on_from_its_cursor(agent: Agent) -> None:
    say = printing(agent)
    say("old\n")
    cursor = (await agent.call("logs_tail"))["cursor"]
    call = await waiting(agent, "logs_tail", cursor=cursor)
    say("new\n")
    answer = await call
    assert (texts(answer), answer["dropped"]) == (["new"], 0)
    call = await waiting(agent, "logs_tail", cursor=answer["cursor"])
    say("newer\n")
    assert texts(await call) == ["newer"]


async def test_without_a_cursor_only_a_tail_of_nothing_waits(agent: Agent) -> None:
    say = printing(agent)
    call = await waiting(agent, "logs_tail")
    say("first\n")
    assert texts(await call) == ["first"]
    assert texts(await agent.call("logs_tail", wait_s=LONG)) == ["first"]


@pytest.mark.parametrize(
    ("arguments", "ends"),
    [({"process": "dev"}, "any"), ({"level": "warning"}, "WARN slow"), ({"level": "error", "process": "dev"}, "ERROR")],
)
async def test_lines_that_do_not_match_end_no_wait(agent: Agent, arguments: dict[str, Any], ends: str) -> None:
    say, other = printing(agent), printing(agent, "test")
    call = await waiting(agent, "logs_tail", **arguments)
    other("WARNED of nothing\n")
    if "level" in arguments:
        say("info\nan ordinary line\n")
    await asyncio.sleep(0)
    assert not call.done()
    say(f"{ends}\n")
    assert texts(await call) == [ends]


async def test_a_search_waits_for_a_text_and_for_an_expression(agent: Agent) -> None:
    say = printing(agent)
    calls = [
        await waiting(agent, "logs_search", query="orange"),
        await waiting(agent, "logs_search", query="or[a-n]+ge$", regex=True),
    ]
    say("apple\n")
    await asyncio.sleep(0)
    assert not any(call.done() for call in calls)
    say("an orange\n")
    assert [texts(await call) for call in calls] == [["an orange"]] * 2


async def test_an_expression_that_is_too_slow_ends_its_wait_with_that_error(agent: Agent) -> None:
    say = printing(agent)
    asking = asyncio.create_task(agent.error("logs_search", query="(a+c?)+$", regex=True, wait_s=LONG))
    async with asyncio.timeout(10):
        while "1 followers" not in repr(agent.manager.output):
            await asyncio.sleep(0)
            assert not asking.done(), asking
    say("a" * 60 + "b\n")
    assert (await asking)["code"] == "invalid_arguments"


async def test_an_error_ends_the_wait_of_a_tail_by_level_with_the_whole_of_its_stack_trace(agent: Agent) -> None:
    """Only its grammar knows the line of the compiler as an error; the trace is complete once nothing follows."""
    compiler = "src/a.ts(3,1): error TS2322: Type 'string' is not assignable to type 'number'."
    (agent.directory / "said").write_text(f"{compiler}\n")
    (agent.directory / "Procfile").write_text("dev: echo begins; cat said; exec sleep 600\n")
    call = await waiting(agent, "logs_tail", level="error")
    await agent.call("scripts_run", name="dev", wait="none")
    assert texts(await call) == [compiler]


async def test_one_run_is_waited_for_alone(agent: Agent) -> None:
    run = (await agent.call("scripts_run", name="test", wait="none"))["process_id"]
    async with asyncio.timeout(10):
        cursor = (await agent.call("wait_for", process="test", log="one", since="1h"))["cursor"]
    call = await waiting(agent, "logs_tail", process=run, cursor=cursor)
    printing(agent, "dev")("of another\n")
    await asyncio.sleep(0)
    assert not call.done()
    printing(agent, "test")("two\n")
    assert texts(await call) == ["two"]


@pytest.mark.promise("news-is-waited-for")
async def test_a_change_ends_the_wait_for_one_and_its_cursor_goes_on(agent: Agent) -> None:
    call = await waiting(agent, "changes_since")
    await agent.call("scripts_run", name="quick", wait="exit")
    first = await call
    assert [change["kind"] for change in first["changes"]][:1] == ["started"]
    rest = await agent.call("changes_since", cursor=first["cursor"], wait_s=LONG)
    assert [change["n"] for change in [*first["changes"], *rest["changes"]]][:2] == [1, 2]


async def test_a_wait_that_nothing_ends_answers_with_nothing_and_its_place(agent: Agent) -> None:
    printing(agent)("old\n")
    cursor = (await agent.call("logs_tail"))["cursor"]
    for tool, what in (("logs_tail", "lines"), ("changes_since", "changes")):
        answer = await agent.call(tool, cursor=cursor, wait_s=0.02)
        assert (answer[what], answer["cursor"]) == ([], cursor)


@pytest.mark.parametrize("tool", ["logs_tail", "changes_since"])
async def test_a_cursor_of_another_run_is_news_at_once(agent: Agent, tool: str) -> None:
    assert (await agent.call(tool, cursor="earlier.3.3", wait_s=LONG))["cursor_reset"]


@pytest.mark.parametrize("tool", ["logs_tail", "changes_since"])
async def test_a_cancelled_wait_leaves_nobody_listening(agent: Agent, tool: str) -> None:
    before = listeners(agent)
    call = await waiting(agent, tool)
    assert listeners(agent) != before
    call.cancel()
    await asyncio.wait([call])
    assert listeners(agent) == before


@pytest.mark.parametrize("tool", ["logs_tail", "logs_search", "changes_since"])
@pytest.mark.parametrize("wait_s", [-1, 20.5, 1e9, "soon", [1]])
async def test_a_wait_that_is_too_long_or_no_number_is_refused(agent: Agent, tool: str, wait_s: object) -> None:
    query = {"query": "x"} if tool == "logs_search" else {}
    error = await agent.error(tool, wait_s=wait_s, **query)
    assert (error["code"], error["context"]["argument"]) == ("invalid_arguments", "wait_s")


async def test_a_number_may_be_written_as_text(agent: Agent) -> None:
    assert (await agent.call("logs_tail", wait_s="0.01"))["lines"] == []


async def test_a_flood_that_does_not_match_costs_a_look_at_each_line_once(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0

    def counted(text: str, level_of: Callable[[str], str] = levels.level_of) -> str:
        nonlocal looked
        looked += 1
        return level_of(text)

    say = printing(agent)
    say("old\n" * 1_000)
    cursor = (await agent.call("logs_tail"))["cursor"]
    monkeypatch.setattr(levels, "level_of", counted)
    call = await waiting(agent, "logs_tail", cursor=cursor, level="error")
    looked = 0
    for _ in range(500):
        say("nothing is wrong\n" * 4)
    assert looked == 2_000
    call.cancel()
    await asyncio.wait([call])


async def test_a_wait_does_not_make_a_flood_be_read_line_by_line(agent: Agent) -> None:
    call = await waiting(agent, "logs_tail", level="error")
    assert agent.manager.output.may_be_sampled
    call.cancel()
    await asyncio.wait([call])
    began = time.monotonic()
    assert (await agent.call("logs_tail", wait_s=0))["lines"] == []
    assert time.monotonic() - began < LONG
