"""The lines of a row, page by page."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from brummer.views import log_pace
from brummer.views import source as module
from brummer.views.log_feed import PAGE, LogFeed
from brummer.views.log_lines import STARTED_ANEW, LogLine, left_out
from brummer.views.model import RowKey
from brummer.views.source import AskFailed
from tests.unit.views_support import (
    FakeHub,
    FakeInstance,
    facts,
    following,
    has_all,
    line,
    process,
    settle,
    until,
)

DEV = RowKey("shop-1", "dev")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    monkeypatch.setattr(module, "SETTLED_S", 0.0)
    monkeypatch.setattr(log_pace, "PAUSE_S", 1e-4)


@contextlib.asynccontextmanager
async def reading(
    hub: FakeHub, key: RowKey = DEV, **how: Any
) -> AsyncIterator[tuple[LogFeed, list[list[LogLine]], asyncio.Task[None]]]:
    async with following(hub) as found:
        await until(lambda: has_all(found))
        feed, pages = LogFeed(found, key, **how), list[list[LogLine]]()
        task = asyncio.ensure_future(feed.run(pages.append))
        try:
            yield feed, pages, task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def texts(pages: list[list[LogLine]]) -> list[str]:
    return [each.text for page in pages for each in page]


async def test_lines_come_as_they_are_printed_and_none_is_polled_for() -> None:
    shop = FakeInstance(process("dev"))
    shop.say_up_to(2)
    hub = FakeHub(shop=shop)
    async with reading(hub) as (feed, pages, _):
        await until(lambda: texts(pages) == ["line 1", "line 2"])
        await settle()
        asked = len(hub.asked)
        await settle()
        assert len(hub.asked) == asked
        shop.say(line(3))
        await until(lambda: texts(pages)[2:] == ["line 3"])
        assert feed.has_answer


async def test_the_first_answer_is_passed_on_without_lines_too() -> None:
    async with reading(FakeHub(shop=FakeInstance(process("dev")))) as (feed, pages, _):
        await until(lambda: pages == [[]])
        assert feed.has_answer
        assert feed.refusal == ""


async def test_a_script_that_never_ran_is_asked_when_something_happens() -> None:
    shop = FakeInstance(scripts=("dev",))
    hub = FakeHub(shop=shop)
    async with reading(hub) as (feed, pages, _):
        await until(lambda: pages[:1] == [[]])
        assert not feed.has_answer
        await settle()
        asked = len(hub.asked)
        await settle()
        assert len(hub.asked) == asked
        shop.processes = [process("dev")]
        shop.say_up_to(1)
        shop.change({"kind": "started", "process": "dev", "process_id": "dev-1"})
        await until(lambda: texts(pages) == ["line 1"])
        assert feed.refusal == ""


async def test_a_search_waits_for_any_line_and_shows_only_hits() -> None:
    shop = FakeInstance(process("dev"))
    shop.say(line(1, "GET /a"), line(2, "other"))
    hub = FakeHub(shop=shop)
    async with reading(hub, query="GET") as (_, pages, _task):
        await until(lambda: texts(pages) == ["GET /a"])
        await settle()
        searches = len(hub.calls("logs_search"))
        shop.say(line(3, "other"), line(4, "GET /b"))
        await until(lambda: texts(pages) == ["GET /a", "GET /b"])
        assert len(hub.calls("logs_search")) <= searches + 2


async def test_a_level_is_asked_for() -> None:
    shop = FakeInstance(process("dev"))
    shop.say(line(1), line(2, "KeyError", level="error"))
    async with reading(FakeHub(shop=shop), level="error") as (_, pages, _task):
        await until(lambda: texts(pages) == ["KeyError"])


async def test_lines_are_asked_for_in_the_colours_of_their_script() -> None:
    shop = FakeInstance(process("dev"))
    shop.say(line(1, "\x1b[32mready\x1b[0m"))
    hub = FakeHub(shop=shop)
    async with reading(hub) as (_, pages, _task):
        await until(lambda: texts(pages) == ["ready"])
        assert pages[0][0].coloured == "\x1b[32mready\x1b[0m"
        assert all(given["colours"] for _, given in hub.calls("logs_tail"))


async def test_earlier_pages_are_asked_for_until_none_is_kept() -> None:
    shop = FakeInstance(process("dev"))
    shop.say_up_to(2_500)
    async with reading(FakeHub(shop=shop)) as (feed, pages, _):
        await until(lambda: len(texts(pages)) == PAGE)
        assert texts(pages)[0] == "line 1501"
        assert feed.has_earlier
        first = await feed.earlier()
        assert (first[0].n, first[-1].n) == (501, 1500)
        second = await feed.earlier()
        assert (second[0].n, second[-1].n) == (1, 500)
        assert not feed.has_earlier
        assert await feed.earlier() == []


async def test_earlier_lines_of_another_run_of_the_instance_are_not_those_before() -> None:
    shop = FakeInstance(process("dev"))
    shop.say_up_to(1_500)
    hub = FakeHub(shop=shop)
    async with reading(hub) as (feed, pages, _):
        await until(lambda: bool(pages))
        shop.generation = "h"
        assert await feed.earlier() == []
        assert not feed.has_earlier


async def test_an_earlier_page_that_is_not_answered_may_be_asked_for_again() -> None:
    shop = FakeInstance(process("dev"))
    shop.say_up_to(1_500)
    async with reading(FakeHub(shop=shop)) as (feed, pages, _):
        await until(lambda: bool(pages))
        shop.error = AskFailed("busy", "busy")
        assert await feed.earlier() == []
        shop.error = None
        assert len(await feed.earlier()) == 500


async def test_a_page_that_ends_at_a_line_does_not_go_on() -> None:
    shop = FakeInstance(process("dev"))
    shop.say_up_to(2_500)
    async with reading(FakeHub(shop=shop), until_n=1_600) as (feed, pages, task):
        await task
        assert texts(pages)[-1] == "line 1599"
        assert feed.is_earlier
        assert (await feed.earlier())[-1].n == 599


async def test_notes_stand_where_lines_are_missing_and_where_another_run_begins() -> None:
    shop = FakeInstance(process("dev"))
    shop.say_up_to(1)
    async with reading(FakeHub(shop=shop)) as (_, pages, _task):
        await until(lambda: texts(pages) == ["line 1"])
        shop.dropped = 12_040
        shop.say(line(20_000))
        await until(lambda: texts(pages)[1:] == ["── 12,040 lines of flood are left out here ──", "line 20000"])
        shop.lines, shop.generation = [line(1, "anew")], "h"
        shop.lines_came.set()
        await until(lambda: texts(pages)[3:] == [f"── {STARTED_ANEW} ──", "anew"])


async def test_a_burst_is_read_whole_and_of_a_flood_the_newest_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_pace, "PAUSE_S", 0.5)  # a page takes less, also on a busy machine
    shop = FakeInstance(process("dev"))
    shop.say_up_to(10)
    async with reading(FakeHub(shop=shop)) as (_, pages, _task):
        await until(lambda: len(texts(pages)) == 10)
        shop.say_up_to(5_010)
        await until(lambda: len(texts(pages)) >= 5_010)
        assert texts(pages) == [f"line {n}" for n in range(1, 5_011)]
        pages.clear()
        shop.say_up_to(60_010)
        await until(lambda: bool(pages) and pages[-1][-1].n == 60_010)
        found = [each for page in pages for each in page]
        (at,) = [at for at, each in enumerate(found) if each.note]
        assert found[at].text == left_out(found[at + 1].n - found[at - 1].n - 1).text
        assert [each.n for each in found[:at]] == list(range(5_011, found[at - 1].n + 1))
        assert [each.n for each in found[at + 1 :]] == list(range(59_011, 60_011))


async def test_of_a_flood_with_a_filter_nothing_is_left_out() -> None:
    shop = FakeInstance(process("dev"))
    async with reading(FakeHub(shop=shop), query="line") as (_, pages, _task):
        await until(lambda: pages == [[]])
        shop.say_up_to(40_000)
        await until(lambda: len(texts(pages)) >= 40_000)
        assert texts(pages) == [f"line {n}" for n in range(1, 40_001)]


async def test_an_instance_that_is_started_anew_in_a_flood_is_told() -> None:
    shop = FakeInstance(process("dev"))
    shop.say_up_to(10)
    async with reading(FakeHub(shop=shop)) as (feed, pages, _task):
        await until(lambda: feed.has_answer)
        shop.say_up_to(60_000)
        await until(lambda: len(pages) > 15)
        shop.lines, shop.generation = [line(n, "anew") for n in range(1, 2_000)], "h"
        await until(lambda: texts(pages)[-1] == "anew")
        assert f"── {STARTED_ANEW} ──" in texts(pages)


async def test_an_instance_that_is_gone_is_not_asked_again_before_it_moves() -> None:
    shop = FakeInstance(process("dev"))
    shop.say_up_to(1)
    hub = FakeHub(shop=shop)
    async with reading(hub) as (_, pages, _task):
        await until(lambda: bool(pages))
        shop.black_box = True
        shop.say(line(2, "last words"))
        hub.now_is(facts(state="gone"))
        await until(lambda: texts(pages) == ["line 1", "last words"])
        await settle()
        asked = len(hub.asked)
        await settle()
        assert len(hub.asked) == asked
