"""The hub and calls that wait for news (``wait_s``): their deadlines, their lane, and all instances at once."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from brummer.contract.tools import CALL_ANSWER_S, NEWS_WAIT_S, UNTIL_BLACK_BOX_S
from brummer.discovery.record import Record
from brummer.hub import router as routing
from brummer.hub.black_box import BlackBoxes
from brummer.hub.router import Router
from brummer.link import prober
from brummer.link.call import Call
from brummer.link.prober import PROBE_DEADLINE_S, SILENT_CALL_S, WAITS_WAVE_S
from brummer.link.state import LinkState
from brummer.pool.connections import CALL, NEWS, WAIT
from brummer.settings.limits import Limits
from brummer.wire.http.server import Exchange

from .fakes import FakeInstance, respond
from .test_hub import call, code_of, hub_with, record_of, tool_call
from .virtual_world import in_virtual_time

_at = itertools.count(10)


class Project:
    """An instance of which one thing is known: whether it has news."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.fake = FakeInstance(answer=self._answer)
        self.record = record_of(directory, self.fake.port)
        self.fake.instance_id, self.fake.generation = self.record.instance_id, self.record.generation
        self.changes: list[dict[str, Any]] = []
        self._comes = asyncio.Event()
        self.waiting = asyncio.Event()

    def happen(self) -> None:
        at = f"2026-11-30T12:00:{next(_at)}.000Z"
        self.changes.append({"n": len(self.changes) + 1, "at": at, "kind": "url", "process_id": "dev-1"})
        self._comes.set()

    async def _answer(self, exchange: Exchange, message: dict[str, Any]) -> None:
        asked = message["params"]["arguments"]
        after = int(asked["cursor"].rpartition(".")[2]) if asked.get("cursor") else 0
        if float(asked.get("wait_s", 0)) and len(self.changes) == after:
            self._comes.clear()
            self.waiting.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(float(asked["wait_s"])):
                    await self._comes.wait()
        found = self.changes[after:]
        cursor = f"{self.record.generation}.0.{len(self.changes)}"
        content = {"changes": found, "cursor": cursor, "dropped": 0}
        respond(exchange, message, {"structuredContent": content, "isError": False})


@contextlib.asynccontextmanager
async def projects(place: Path, *names: str) -> AsyncIterator[list[Project]]:
    made = [Project(place / name) for name in names]
    async with contextlib.AsyncExitStack() as stack:
        for each in made:
            await stack.enter_async_context(each.fake)
        yield made


@contextlib.asynccontextmanager
async def hub_of(*records: Record, **options: Any) -> AsyncIterator[Router]:
    async with hub_with(*records, **options) as router:
        await router.instances.settled()
        yield router


def made_for(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The calls that a router makes from now on."""
    calls: list[Call] = []

    def noted(*arguments: Any, **members: Any) -> Call:
        calls.append(Call(*arguments, **members))
        return calls[-1]

    monkeypatch.setattr(routing, "Call", noted)
    return calls


@pytest.mark.parametrize(
    ("tool", "wait", "wait_s"),
    [
        ("changes_since", {}, 0.0),
        ("changes_since", {"wait_s": 0}, 0.0),
        ("changes_since", {"wait_s": 0.02}, 0.02),
        ("logs_tail", {"wait_s": "0.02"}, 0.02),
        ("logs_tail", {"wait_s": 1e9}, NEWS_WAIT_S),
        ("logs_tail", {"wait_s": -5}, 0.0),
        ("logs_tail", {"wait_s": "soon"}, 0.0),
        ("scripts_status", {"wait_s": 5}, 0.0),
    ],
)
@pytest.mark.parametrize("by", ["itself", "instance_call"])
async def test_a_call_has_the_time_that_it_waits_and_takes_the_place_of_a_wait_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, wait: dict[str, object], wait_s: float, by: str
) -> None:
    async def at_once(exchange: Exchange, message: dict[str, Any]) -> None:
        respond(exchange, message, {"structuredContent": {}, "isError": False})

    made = made_for(monkeypatch)
    async with projects(tmp_path, "shop") as [shop], hub_of(shop.record) as router:
        shop.fake.answer = at_once
        asked = (tool, wait) if by == "itself" else ("instance_call", {"tool": tool, "arguments": wait})
        assert not (await call(router, *asked))["isError"]
    assert [(each.deadline_s, each.wait_s, each.waits) for each in made] == [
        (CALL_ANSWER_S + wait_s, wait_s, wait_s > 0)
    ]


async def test_waits_leave_the_slots_of_ordinary_calls_free(tmp_path: Path) -> None:
    """More of them than there are slots for waits: the others queue, and no ordinary call does."""
    limits = Limits(waiting_per_instance=2)
    async with projects(tmp_path, "shop") as [shop], hub_of(shop.record, limits=limits) as router:
        waits = [asyncio.create_task(call(router, "changes_since", {"wait_s": NEWS_WAIT_S})) for _ in range(5)]
        await asyncio.wait_for(shop.waiting.wait(), 10)
        (entry,) = router.instances
        assert entry.robust is not None
        lanes = entry.robust.connections.lanes
        assert (lanes[NEWS].in_flight, lanes[NEWS].queue.size) == (2, 3)
        assert (lanes[CALL].in_flight, lanes[WAIT].in_flight) == (0, 0)
        assert not (await call(router, "changes_since", {}))["isError"]
        shop.happen()
        answers = await asyncio.wait_for(asyncio.gather(*waits), 10)
        assert all(answer["structuredContent"]["changes"] for answer in answers)


async def test_a_cancelled_wait_frees_its_place_at_once(tmp_path: Path) -> None:
    async with projects(tmp_path, "shop") as [shop], hub_of(shop.record) as router:
        wait = asyncio.create_task(call(router, "changes_since", {"wait_s": NEWS_WAIT_S}))
        await asyncio.wait_for(shop.waiting.wait(), 10)
        wait.cancel()
        await asyncio.wait([wait])
        assert router.instances.pool.in_use[NEWS] == 0


def test_a_link_that_is_waited_on_is_probed_every_ten_seconds_and_not_as_one_whose_call_is_silent(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with projects(tmp_path, "shop") as [shop], hub_of(shop.record) as router:
            before = shop.fake.probes
            for _ in range(3):
                assert not (await call(router, "changes_since", {"wait_s": NEWS_WAIT_S}))["isError"]
            probes, took_s = shop.fake.probes - before, 3 * NEWS_WAIT_S
            assert took_s / WAITS_WAVE_S - 1 <= probes <= took_s / WAITS_WAVE_S + 3, "and with the first of each call"
            assert probes < took_s / SILENT_CALL_S / 2

            loop = asyncio.get_running_loop()
            wait = asyncio.create_task(call(router, "changes_since", {"wait_s": NEWS_WAIT_S}))
            await shop.waiting.wait()
            shop.fake.speaks.clear()
            stopped_s = loop.time()
            (entry,) = router.instances
            await entry.link.until_not({LinkState.READY})
            assert entry.link.state is LinkState.SUSPECT
            assert loop.time() - stopped_s <= WAITS_WAVE_S + PROBE_DEADLINE_S
            shop.fake.speaks.set()
            wait.cancel()

    in_virtual_time(story())


def substitute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every black box has an answer."""

    async def answer(_: BlackBoxes, instance_id: str, *__: Any) -> bytes:
        return b'{"structuredContent":{"from":"black box of %s"},"isError":false}' % instance_id.encode()

    monkeypatch.setattr(BlackBoxes, "answer", answer)


@pytest.mark.parametrize("by", ["a task", "the fast path"])
async def test_an_instance_that_stops_answering_during_a_wait_is_replaced_long_before_the_wait_would_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    substitute(monkeypatch)
    monkeypatch.setattr(routing, "UNTIL_BLACK_BOX_S", 0.2)
    monkeypatch.setattr(prober, "WAITS_WAVE_S", 0.5)
    boxes = BlackBoxes(lambda: tmp_path / "none")
    async with projects(tmp_path, "shop") as [shop], hub_of(shop.record, black_boxes=boxes) as router:
        wait: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        asked = tool_call("changes_since", {"instance": shop.record.instance_id, "wait_s": NEWS_WAIT_S})
        if by == "a task":
            wait = asyncio.create_task(router.call_tool(asked))
        else:
            assert router.start_call(asked, wait.set_result) is not None
        await asyncio.wait_for(shop.waiting.wait(), 10)
        shop.fake.speaks.clear()
        try:
            assert b"black box of shop" in await asyncio.wait_for(wait, NEWS_WAIT_S - 1)
        finally:
            shop.fake.speaks.set()


async def test_an_instance_that_is_away_is_replaced_as_soon_as_for_any_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    substitute(monkeypatch)
    monkeypatch.setattr(routing, "UNTIL_BLACK_BOX_S", 0.2)
    made = made_for(monkeypatch)
    boxes = BlackBoxes(lambda: tmp_path / "none")
    async with projects(tmp_path, "shop") as [shop], hub_with(shop.record, black_boxes=boxes) as router:
        shop.fake.speaks.clear()
        router.instances.scanned()
        try:
            asked = call(router, "logs_tail", {"wait_s": NEWS_WAIT_S})
            answer = await asyncio.wait_for(asked, NEWS_WAIT_S - 1)
        finally:
            shop.fake.speaks.set()
        assert answer["structuredContent"]["from"] == f"black box of {shop.record.instance_id}"
        assert [each.longest_park_s for each in made] == [0.2]


async def test_without_a_black_box_the_call_gets_all_of_its_time() -> None:
    waits = Call("tools/call", {}, repeatable=True, deadline_s=CALL_ANSWER_S + 7.0, wait_s=7.0, waits=True)
    waits.hurry(UNTIL_BLACK_BOX_S)
    assert (waits.deadline_s, waits.longest_park_s) == (UNTIL_BLACK_BOX_S + 7.0, UNTIL_BLACK_BOX_S)
    waits.take_time()
    assert (waits.deadline_s, waits.longest_park_s) == (CALL_ANSWER_S, float("inf")), "its wait is over"


# All instances.


async def everywhere(router: Router, **arguments: Any) -> dict[str, Any]:
    answer = await call(router, "changes_since", {"instance": "*", "wait_s": NEWS_WAIT_S, **arguments})
    content: dict[str, Any] = answer["structuredContent"]
    return content


@pytest.mark.parametrize("places", [64, 2])
async def test_the_first_instance_with_news_ends_the_wait_on_all(tmp_path: Path, places: int) -> None:
    """Also if there are more instances than connections for waits: they are asked in turns."""
    limits = Limits(connections=places)
    async with (
        projects(tmp_path, "shop", "api", "work") as made,
        hub_of(*(each.record for each in made), limits=limits) as router,
    ):
        before = await call(router, "changes_since", {"instance": "*"})
        cursor = before["structuredContent"]["cursor"]
        wait = asyncio.create_task(everywhere(router, cursor=cursor))
        await asyncio.wait_for(made[1].waiting.wait(), 10)
        assert not wait.done()
        made[1].happen()
        answer = await asyncio.wait_for(wait, 15)
        assert [(each["instance"], each["n"]) for each in answer["changes"]] == [(made[1].record.instance_id, 1)]
        wait = asyncio.create_task(everywhere(router, cursor=answer["cursor"]))
        made[0].waiting.clear()
        await asyncio.wait_for(made[0].waiting.wait(), 10)
        made[0].happen()
        answer = await asyncio.wait_for(wait, 15)
        assert [each["instance"] for each in answer["changes"]] == [made[0].record.instance_id]


async def test_news_that_is_there_already_is_not_waited_for(tmp_path: Path) -> None:
    async with projects(tmp_path, "shop", "api") as made, hub_of(*(each.record for each in made)) as router:
        made[0].happen()
        assert len((await everywhere(router))["changes"]) == 1
        assert not made[1].waiting.is_set()


async def test_a_wait_on_all_that_nothing_ends_answers_with_nothing(tmp_path: Path) -> None:
    async with projects(tmp_path, "shop", "api") as made, hub_of(*(each.record for each in made)) as router:
        answer = await everywhere(router, wait_s=0.05)
        assert (answer["changes"], answer["incomplete"]) == ([], [])
        assert (await everywhere(router, cursor=answer["cursor"], wait_s=0.05))["changes"] == []


async def test_a_cancelled_wait_on_all_leaves_nothing(tmp_path: Path) -> None:
    async with projects(tmp_path, "shop", "api") as made, hub_of(*(each.record for each in made)) as router:
        wait = asyncio.create_task(everywhere(router))
        await asyncio.wait_for(asyncio.gather(*(each.waiting.wait() for each in made)), 10)
        wait.cancel()
        await asyncio.wait([wait])
        assert router.instances.pool.in_use[NEWS] == 0


async def test_an_instance_of_an_older_version_does_not_make_a_wait_on_all_return_at_once(tmp_path: Path) -> None:
    """Who asks again at once would be as busy as one that polls."""

    async def refuses(exchange: Exchange, message: dict[str, Any]) -> None:
        if "wait_s" in message["params"]["arguments"]:
            error = {"code": "invalid_arguments", "message": "changes_since has no argument `wait_s`"}
            respond(exchange, message, {"structuredContent": {"error": error}, "isError": True})
        else:
            respond(exchange, message, {"structuredContent": {"changes": [], "cursor": "g.0.0", "dropped": 0}})

    async with projects(tmp_path, "old") as [old], hub_of(old.record) as router:
        old.fake.answer = refuses
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        assert (await everywhere(router, wait_s=0.3))["changes"] == []
        assert loop.time() - began_s >= 0.3


async def test_a_wait_on_all_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    async with projects(tmp_path, "shop") as [shop], hub_of(shop.record) as router:
        wrong = {"instance": "*", "wait_s": NEWS_WAIT_S + 1}
        assert await code_of(router, "changes_since", wrong) == "invalid_arguments"
