"""Every answer of Brummer's own tools fits into its limit and continues with a cursor; its text is complete."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from brummer.contract.paging import latest_processes, paged, processes_of_one
from brummer.contract.texts import lines_of, rendered
from brummer.contract.tools import renderer
from brummer.core.errors import InvalidArguments, NotFound
from brummer.health.catalog import Observed, Problem
from brummer.health.status import HubFacts, HubStatus
from brummer.hub.fan_out import FanOut
from brummer.hub.router import Router
from brummer.hub.tools import hub_tools
from brummer.peers.instances import Instances
from brummer.wire.mcp.tool_results import BUDGET_BYTES, failed, structured
from brummer.wire.mcp.tools import ToolTable
from tests.unit.agent_support import Agent
from tests.unit.test_hub import hub_with, record_of, served, tool_call, unused_port
from tests.unit.test_instance_tools import agent
from tests.unit.virtual_world import in_virtual_time

__all__ = ["agent"]

MESSAGE_BYTES: Final = 256
"""Bytes around a result: the JSON-RPC message, and the members of the newer era."""

INSTANCES: Final = 150
DOWN: Final = 3


@contextlib.asynccontextmanager
async def crowded_hub(tmp_path: Path) -> AsyncIterator[Router]:
    async with contextlib.AsyncExitStack() as stack:
        there = [
            await stack.enter_async_context(served(tmp_path / f"project-{number:03}"))
            for number in range(INSTANCES - DOWN)
        ]
        down = [record_of(tmp_path / f"zz-down-{number}", unused_port()) for number in range(DOWN)]
        router = await stack.enter_async_context(hub_with(*there, *down))
        for known in router.instances:
            await known.link.settled()
        yield router


def within_budget(result: bytes) -> dict[str, Any]:
    assert len(result) + MESSAGE_BYTES <= BUDGET_BYTES
    decoded: dict[str, Any] = msgspec.json.decode(result)
    return decoded


def text_of(result: dict[str, Any]) -> str:
    [block] = result["content"]
    text: str = block["text"]
    assert not text.startswith("{"), "the text is for reading, not the JSON again"
    return text


# At the hub.


@pytest.mark.promise("answers-fit")
@pytest.mark.parametrize(("tool", "section"), [("instances_list", "instances"), ("hub_status", "links")])
async def test_a_list_of_150_instances_takes_several_answers_and_failing_ones_come_first(
    tmp_path: Path, tool: str, section: str
) -> None:
    async with crowded_hub(tmp_path) as router:
        while {each["state"] for page in await pages_of(router, tool, section) for each in page} != {
            "ready",
            "retrying",
        }:
            pass  # each answer waits for links that are still being made
        pages = await pages_of(router, tool, section)
        assert len(pages) > 1
        seen = list(chain(*pages))
        assert len({each["instance_id"] for each in seen}) == INSTANCES
        assert all(each["instance_id"].startswith("zz-down") for each in seen[:DOWN])
        ready = [each["instance_id"] for each in seen if each["state"] == "ready"]
        assert sorted(set(ready)) == sorted(ready)


async def pages_of(router: Router, tool: str, section: str) -> list[list[dict[str, Any]]]:
    """The entries of each answer, until there are no more; the text has all of them, too."""
    pages, cursor = [], None
    while True:
        result = within_budget(await router.call_tool(tool_call(tool, {"cursor": cursor})))
        content, text = result["structuredContent"], text_of(result)
        pages.append(content[section])
        assert all(each["instance_id"] in text and each["state"] in text for each in content[section])
        cursor = content.get("next_cursor")
        if cursor is None:
            return pages
        assert f"cursor={cursor}" in text


async def test_the_text_of_a_list_has_the_reason_of_an_instance_that_is_not_ready_and_the_directory_of_a_ready_one(
    tmp_path: Path,
) -> None:
    async with served(tmp_path / "shop") as shop, hub_with(shop, record_of(tmp_path / "down", unused_port())) as router:
        text = text_of(msgspec.json.decode(await router.call_tool(tool_call("instances_list", {}))))
        down, up = text.splitlines()
        assert "connection_refused" in down
        assert "next try in" in down
        assert shop.url not in up, "a model would open it as the server of the project"
        assert shop.directory in up


async def test_an_error_that_lists_hundreds_of_choices_fits(tmp_path: Path) -> None:
    records = [record_of(tmp_path / f"{'long-name-' * 10}{number}", 9) for number in range(300)]
    async with hub_with(*records) as router:
        result = within_budget(await router.call_tool(tool_call("logs_tail", {})))
        error = result["structuredContent"]["error"]
        assert error["code"] == "ambiguous_instance"
        assert error["context"]["instances"]
        assert "cut" in result["structuredContent"]
        assert error["context"]["instances"][0]["instance_id"] in text_of(result)


async def test_a_wait_on_150_instances_names_all_that_could_not_be_asked_in_text_and_data(tmp_path: Path) -> None:
    records = [record_of(tmp_path / f"project-{number:03}", unused_port()) for number in range(INSTANCES)]
    async with hub_with(*records) as router:
        arguments = {"instance": "*", "log": "x", "timeout_s": 0}
        result = within_budget(await router.call_tool(tool_call("wait_for", arguments)))
        text, content = text_of(result), result["structuredContent"]
        assert text.startswith("not matched in ")
        assert {each["instance"] for each in content["incomplete"]} == {record.instance_id for record in records}
        assert all(record.instance_id in text for record in records)


def test_a_wait_on_very_many_instances_says_how_many_it_has_no_room_to_name() -> None:
    class Silent:
        def __init__(self, number: int) -> None:
            self.id = f"some-project-with-a-name-{number:04}-a1b2c3d4"

    async def refuse(*_: object) -> dict[str, Any]:
        return {"error": {"code": "instance_unavailable", "message": "m" * 200}}

    async def story() -> None:
        everyone = [Silent(number) for number in range(1_000)]
        answer = await FanOut(everyone, 100, 0.0, refuse).result()
        result = within_budget(structured(answer, renderer("wait_for")))
        content, text = result["structuredContent"], text_of(result)
        assert "cut" not in content
        named = [each["instance"] for each in content["incomplete"]]
        assert named == [each.id for each in everyone[: len(named)]]
        assert len(named) + content["not_named"] == 1_000
        assert "1000 instances could not be asked" in text
        assert f"and {content['not_named']} more" in text

    in_virtual_time(story())


# In an instance.


async def raw(agent: Agent, tool: str, **arguments: object) -> dict[str, Any]:
    return within_budget(await agent.table.call(tool, msgspec.json.encode(arguments), agent))


LINES: Final = {
    "ordinary": "2026-11-30 12:03:11 GET /api/items/17 200 in 12 ms",
    "quotes": '"' * 300,
    "not ASCII": "Zürich → 東京 " * 20,
    "empty": "",
    "long": "x" * 16_000,
    "long, and longer as JSON": '\\"' * 8_000,
}


@pytest.mark.promise("answers-fit")
@pytest.mark.parametrize("text", LINES.values(), ids=LINES)
@pytest.mark.parametrize("arguments", [{}, {"limit": 5_000}, {"limit": 1}])
@pytest.mark.parametrize("tool", ["logs_tail", "logs_search"])
async def test_lines_fit_and_the_others_are_counted_or_follow_with_the_cursor(
    agent: Agent, tool: str, text: str, arguments: dict[str, Any]
) -> None:
    for number in range(400):
        agent.manager.output.add_lines("web", "stdout", [f"{number} {text}"], 1_000_000_000)
    query = {"query": " ", "around": 2} if tool == "logs_search" else {}
    result = await raw(agent, tool, **query, **arguments)
    content = result["structuredContent"]
    assert lines_of(content)[-1]["text"].startswith("399 ")
    if not query:
        assert len(lines_of(content)) + content["omitted"] == 400
    assert content["cursor"] in text_of(result)
    seen, cursor, pages = [], f"{content['cursor'].split('.')[0]}.0.0", 0
    while pages < 20:
        page = (await raw(agent, "logs_tail", cursor=cursor, **arguments))["structuredContent"]
        seen += [line["n"] for line in lines_of(page)]
        cursor, pages = page["cursor"], pages + 1
        if not page.get("more"):
            break
    assert seen == list(range(1, len(seen) + 1))


async def test_a_line_that_is_cut_says_so_and_a_larger_limit_shows_it_whole(agent: Agent) -> None:
    agent.manager.output.add_lines("web", "stdout", ['"' * 16_000], 0)
    cut = await raw(agent, "logs_tail")
    assert "cut" in cut["structuredContent"]
    assert "cut to fit" in text_of(cut)
    whole = msgspec.json.decode(await agent.table.call("logs_tail", b'{"limit_bytes":262144}', agent))
    assert whole["structuredContent"]["lines"][0]["text"] == '"' * 16_000
    assert '"' * 16_000 in whole["content"][0]["text"]


async def test_a_larger_limit_gives_more_and_a_smaller_one_less(agent: Agent) -> None:
    for _ in range(2_000):
        agent.manager.output.add_lines("web", "stdout", ["x" * 80], 0)
    sizes = []
    for limit_bytes in (2_000, 8_000, 32_768, 131_072, 262_144):
        arguments = msgspec.json.encode({"limit": 5_000, "limit_bytes": limit_bytes})
        sizes.append(len(await agent.table.call("logs_tail", arguments, agent)))
        assert sizes[-1] <= limit_bytes
    assert sizes == sorted(set(sizes))


async def test_lines_of_one_stream_are_one_entry_from_which_each_can_be_told_with_its_time(agent: Agent) -> None:
    output = agent.manager.output
    output.add_lines("web", "stdout", ["one", "", "three"], 0)
    output.add_lines("web", "stderr", ["four"], 0)
    output.add_lines("web", "stderr", ["five"], 1.5)
    output.add_lines("web", "stderr", ["six"], 61.25)
    output.add_lines("web", "stderr", ["seven"], 3600)
    result = await raw(agent, "logs_tail")
    content = result["structuredContent"]
    assert [(entry["n"], entry["text"]) for entry in content["lines"]] == [
        (1, "one\n\nthree"),
        (4, "four\nfive\nsix"),
        (7, "seven"),
    ]
    assert [entry.get("after_ms") for entry in content["lines"]] == [None, [0, 1500, 61_250], None]
    assert [(line["n"], line["text"], line["at"][11:]) for line in lines_of(content)] == [
        (1, "one", "00:00:00.000Z"),
        (2, "", "00:00:00.000Z"),
        (3, "three", "00:00:00.000Z"),
        (4, "four", "00:00:00.000Z"),
        (5, "five", "00:00:01.500Z"),
        (6, "six", "00:01:01.250Z"),
        (7, "seven", "01:00:00.000Z"),
    ]
    first, *rest, after_an_hour = text_of(result).splitlines()[:7]
    assert (first, after_an_hour) == ("00:00:00 web | one", "01:00:00 web | seven")
    assert rest == ["| ", "| three", "| four", ":01 | five", "00:01:01 web | six"]
    found = (await raw(agent, "logs_search", query="e"))["structuredContent"]
    assert [(entry["n"], entry["text"]) for entry in found["lines"]] == [
        (1, "one"),
        (3, "three"),
        (5, "five"),
        (7, "seven"),
    ]


@pytest.mark.parametrize("apart_s", [0.0, 0.013, 1.001], ids=["at once", "one by one", "in different seconds"])
@pytest.mark.parametrize(("lines", "most"), [("short", 3.5), ("traceback", 2.5)])
async def test_a_hundred_lines_take_a_small_multiple_of_their_bytes(
    agent: Agent, lines: str, most: float, apart_s: float
) -> None:
    frame = '  File "/srv/shop/app/prices.py", line {0}, in price_of_{0}'
    trace = [
        text for n in range(49) for text in (frame.format(n), f"    return await self.prices[item, {n}].resolve(order)")
    ]
    texts = {
        "short": [f"job {n} done" for n in range(1, 101)],
        "traceback": ["Traceback (most recent call last):", *trace, "KeyError: 'cake'"],
    }[lines]
    for number, text in enumerate(texts):
        agent.manager.output.add_lines("web", "stderr", [text], number * apart_s)
    encoded = await agent.table.call("logs_tail", b"{}", agent)
    raw_bytes = sum(len(text) + 1 for text in texts)
    assert len(lines_of(msgspec.json.decode(encoded)["structuredContent"])) == len(texts) == 100
    assert len(encoded) <= most * raw_bytes, f"{len(encoded) / raw_bytes:.2f}"


async def test_fields_that_all_lines_share_are_given_once(agent: Agent) -> None:
    for hour in range(3):
        agent.manager.output.add_lines("web", "stdout", ["up"], 3600 * hour)
    content = (await raw(agent, "logs_tail"))["structuredContent"]
    assert content["common"] == {"process": "web", "stream": "stdout"}
    assert all(line.keys() == {"n", "at", "text"} for line in content["lines"])
    assert [(line["process"], line["stream"]) for line in lines_of(content)] == [("web", "stdout")] * 3
    agent.manager.output.add_lines("api", "stdout", ["up"], 0)
    assert (await raw(agent, "logs_tail"))["structuredContent"]["common"] == {"stream": "stdout"}


async def test_a_line_reads_as_time_process_and_text(agent: Agent) -> None:
    agent.manager.output.add_lines("dev", "stdout", ["ready in 5 ms"], 1_000_000_000)
    agent.manager.output.add_lines("dev", "brum", ["some lines are not kept"], 1_000_000_000)
    text = text_of(await raw(agent, "logs_tail"))
    first, second, position = text.splitlines()
    assert (first, second) == ("01:46:40 dev | ready in 5 ms", "01:46:40 dev brum | some lines are not kept")
    assert "2001-09-09" in position


async def test_many_scripts_take_several_answers(agent: Agent) -> None:
    names = [f"script-{number}" for number in range(400)]
    (agent.directory / "Procfile").write_text("".join(f"{name}: echo {'x' * 300}\n" for name in names[:150]))
    (agent.directory / "Makefile").write_text("".join(f"{name}:\n\ttrue\n" for name in names[150:300]))
    (agent.directory / "package.json").write_text("{")
    seen: list[str] = []
    result = await raw(agent, "scripts_list")
    assert text_of(result).startswith("problem: package.json:1: ")
    while True:
        content = result["structuredContent"]
        seen += [script["name"] for script in content["scripts"]]
        if (cursor := content.get("next_cursor")) is None:
            break
        assert f"cursor={cursor}" in text_of(result)
        result = await raw(agent, "scripts_list", cursor=cursor)
    assert sorted(seen) == sorted(names[:300])


def facts(name: str, status: str, ended_at: str | None = None) -> dict[str, Any]:
    urls = ["http://x/" * 9]
    return {"process_id": f"{name}-1", "name": name, "status": status, "pid": None, "urls": urls, "ended_at": ended_at}


def all_pages(answers: Callable[[str | None], dict[str, Any]]) -> list[list[dict[str, Any]]]:
    pages, cursor = [], None
    while True:
        answer = answers(cursor)
        assert len(msgspec.json.encode(answer)) + len(rendered("scripts_status", answer)) <= BUDGET_BYTES
        pages.append(answer["processes"])
        if (cursor := answer.get("next_cursor")) is None:
            return pages


def test_many_processes_take_several_answers_and_failed_ones_come_first() -> None:
    every = [facts(f"s{number:03}", "failed" if number % 50 == 7 else "running") for number in range(300)]
    seen = list(chain(*all_pages(lambda cursor: latest_processes(every, cursor, now_s=1e9))))
    assert [each["status"] for each in seen] == ["failed"] * 6 + ["running"] * 294
    assert {each["name"] for each in seen} == {each["name"] for each in every}


def test_a_process_that_fails_between_two_answers_is_in_a_later_one() -> None:
    every = {f"s{number:03}": facts(f"s{number:03}", "running") for number in range(300)}

    def answers(cursor: str | None) -> dict[str, Any]:
        answer = latest_processes(list(every.values()), cursor, now_s=1e9)
        if cursor is None:  # one that was given, and two that were not
            for name in ("s001", "s200", "s299"):
                every[name] = facts(name, "failed", "2001-09-09T01:46:41Z")
        return answer

    seen = list(chain(*all_pages(answers)))
    assert {each["name"] for each in seen} == every.keys()
    assert [each["name"] for each in seen if each["status"] == "failed"] == ["s001", "s200", "s299"]


def runs_of_dev(first: int, last: int) -> list[dict[str, Any]]:
    """The latest first, as an instance has them."""
    started = [f"2026-11-30T12:{number // 60:02}:{number % 60:02}.000Z" for number in range(first, last + 1)]
    found = [
        {**facts("dev", "exited"), "process_id": f"dev-{first + n}", "started_at": at} for n, at in enumerate(started)
    ]
    return found[::-1]


def test_runs_that_begin_or_are_forgotten_between_two_answers_shift_nothing() -> None:
    first, last = 1, 200

    def answers(cursor: str | None) -> dict[str, Any]:
        nonlocal first, last
        answer = processes_of_one(runs_of_dev(first, last), cursor)
        first, last = first + 3, last + 5
        return answer

    pages = all_pages(answers)
    assert len(pages) > 2
    seen = [each["process_id"] for each in chain(*pages)]
    assert seen == [f"dev-{number}" for number in range(200, 200 - len(seen), -1)]
    assert len(seen) >= 200 - 3 * len(pages)


async def test_scripts_that_vanish_between_two_answers_shift_nothing(agent: Agent) -> None:
    names = [f"script-{number:03}" for number in range(150)]

    def write(chosen: list[str]) -> None:
        (agent.directory / "Procfile").write_text("".join(f"{name}: echo {'x' * 300}\n" for name in chosen[::-1]))

    write(names)
    first = (await raw(agent, "scripts_list"))["structuredContent"]
    given = [script["name"] for script in first["scripts"] if script["source"] == "Procfile"]
    gone = given[:5]
    write([name for name in names if name not in gone])
    seen, cursor = given, first["next_cursor"]
    while cursor is not None:
        content = (await raw(agent, "scripts_list", cursor=cursor))["structuredContent"]
        seen += [script["name"] for script in content["scripts"] if script["source"] == "Procfile"]
        cursor = content.get("next_cursor")
    assert sorted(seen) == names


async def test_problems_that_are_solved_between_two_answers_shift_nothing(tmp_path: Path) -> None:
    def problem(number: int) -> Problem:
        return Problem.of(Observed("task_failed", "d" * 500, 5.0, task=f"task {number:02}", count=1))

    there, instances = [problem(number) for number in range(60)], Instances(tmp_path)
    instances.scanned()
    status = HubStatus(HubFacts("1", 1, "/", 1.0), there, [], [], {"in_use": {}})
    table = ToolTable(hub_tools(instances, lambda: status))
    seen: list[str] = []
    cursor = None
    while True:
        arguments = {"cursor": cursor}
        result = within_budget(await table.call("hub_status", msgspec.json.encode(arguments), tool_call("x", {})))
        content = result["structuredContent"]
        seen += [each["task"] for each in content["problems"]]
        if (cursor := content.get("next_cursor")) is None:
            break
        assert f"cursor={cursor}" in text_of(result)
        del there[:3]
    assert seen == [f"task {number:02}" for number in range(60)]
    await instances.close()


@pytest.mark.parametrize("name", ["line\nbreak", "tab\there", "n" * 5_000, "東京" * 300, "a@17", "a@17+", "\u202e"])
def test_a_cursor_is_one_short_line_that_is_accepted_for_any_names(name: str) -> None:
    every = [facts(f"{name} {number:03}", "running") for number in range(200)]
    seen, cursor = [], None
    while True:
        answer = latest_processes(every, cursor, now_s=1e9)
        seen += [each["name"] for each in answer["processes"]]
        if (cursor := answer.get("next_cursor")) is None:
            break
        assert cursor.isprintable()
        assert len(cursor.encode()) < 200
    assert sorted(seen) == sorted(each["name"] for each in every)


async def test_no_line_is_missing_if_many_scripts_have_lost_lines(agent: Agent) -> None:
    log = agent.manager.output.log
    for number in range(200):
        log.skip(f"some-script-with-a-long-name-{number:03}", 1)
    for _ in range(400):
        agent.manager.output.add_lines("web", "stdout", ["x" * 10], 0)
    content = (await raw(agent, "logs_tail", cursor=log.cursor(0), limit=5_000))["structuredContent"]
    assert "cut" not in content
    assert f".{lines_of(content)[-1]['n']}." in content["cursor"]
    assert content["dropped"] == 200
    assert content["dropped_of"].keys() < {f"some-script-with-a-long-name-{number:03}" for number in range(200)}


async def test_changes_fit_and_the_others_follow_with_the_cursor(agent: Agent) -> None:
    await agent.call("scripts_run", name="quick", wait="exit")
    for number in range(300):
        run = agent.manager.current_runs()[0]
        agent.manager.changes.publish(
            "url", run, "2026-11-30T12:03:11.000Z", urls=[f"http://localhost:{number}/{'x' * 99}"]
        )
    last_n = agent.manager.changes.log.last_n
    newest = await raw(agent, "changes_since", limit=5_000)
    assert newest["structuredContent"]["omitted"]
    assert newest["structuredContent"]["cursor"] in text_of(newest)
    seen, cursor = [], f"{newest['structuredContent']['cursor'].split('.')[0]}.0.0"
    while True:
        page = (await raw(agent, "changes_since", cursor=cursor, limit=5_000))["structuredContent"]
        seen += [change["n"] for change in page["changes"]]
        cursor = page["cursor"]
        if not page.get("more"):
            break
    assert seen == list(range(1, last_n + 1))


async def test_the_last_lines_and_urls_of_a_noisy_script_fit(agent: Agent) -> None:
    (agent.directory / "noisy.py").write_text(
        "for n in range(30):\n    print('http://localhost:%d/' % (3000 + n) + '\"' * 2 + 'p' * 5000)\n" * 2
    )
    (agent.directory / "Procfile").write_text("noisy: python3 noisy.py\n")
    result = await raw(agent, "scripts_run", name="noisy", wait="exit")
    assert result["structuredContent"]["exit_code"] == 0
    assert result["structuredContent"]["last_lines"]
    assert text_of(result).startswith("noisy-1 exited ")
    await raw(agent, "wait_for", log="http", process="noisy", since="1h")
    await raw(agent, "changes_since")
    await raw(agent, "scripts_status")


async def test_the_text_of_a_run_has_what_the_next_call_needs(agent: Agent) -> None:
    server = await raw(agent, "scripts_run", name="server")
    content, text = server["structuredContent"], text_of(server)
    for needed in (
        content["process_id"],
        content["urls"][0],
        f"pid {content['pid']}",
        "ready",
        "already_running: false",
    ):
        assert needed in text
    broken = text_of(await raw(agent, "scripts_run", name="broken", wait="exit"))
    for needed in ("broken-1 failed", "exit_code 3", "about to fail"):
        assert needed in broken
    waited = await raw(agent, "wait_for", process="server", log="on http", since="1h")
    assert waited["structuredContent"]["line"]["at"] in text_of(waited)
    assert "server-1 ready" in text_of(waited)
    happened = text_of(await raw(agent, "changes_since"))
    assert "broken-1 failed (exit_code 3" in happened
    assert f"server-1 ready {content['urls'][0]}" in happened
    unknown = text_of(await raw(agent, "scripts_run", name="serve"))
    for needed in ("error not_found", "Did you mean server?", "outcome: not_executed; not retryable"):
        assert needed in unknown


async def test_since_accepts_the_time_that_a_text_shows(agent: Agent) -> None:
    agent.manager.output.add_lines("dev", "stdout", ["long ago"], time.time() - 3_600)
    agent.manager.output.add_lines("dev", "stdout", ["just now"], time.time())
    last = text_of(await raw(agent, "logs_tail")).splitlines()[-2]
    found = await raw(agent, "logs_tail", since=last.split()[0])
    assert [line["text"] for line in lines_of(found["structuredContent"])] == ["just now"]


# What holds for all.


@pytest.mark.parametrize("cursor", ["nonsense", "9", "|", "1|\n@5", "x|1@5", "gen.5", "1|x", "1|x@"])
def test_a_cursor_that_no_answer_gave_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidArguments) as refused:
        paged("instances_list", [], cursor, now_s=0.0)
    assert refused.value.context["argument"] == "cursor"


@pytest.mark.promise("answers-fit")
@pytest.mark.parametrize(
    "context",
    [
        {"names": ["n" * 50] * 5_000},
        {"text": "t" * 200_000},
        {"deep": {"er": [{"text": ["t" * 999] * 99}] * 99}},
        {"quotes": ['"' * 5_000] * 100},
        {f"key-{number}": "v" * 100 for number in range(100)},
    ],
)
def test_an_error_with_any_context_fits(context: dict[str, Any]) -> None:
    result = within_budget(failed(NotFound("there is no x", **context)))
    assert result["structuredContent"]["error"]["code"] == "not_found"
    assert text_of(result).startswith("error not_found: there is no x")
