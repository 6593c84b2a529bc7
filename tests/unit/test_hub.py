"""Which instance a call means, and what the hub says when that is not clear."""

import asyncio
import contextlib
import itertools
import socket
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.calls import refusals
from brummer.calls.caller import CallEnded
from brummer.core.clock import Clock
from brummer.core.errors import NotFound
from brummer.discovery.record import Record, instance_id_for
from brummer.health.catalog import RESTART_S
from brummer.health.status import Status
from brummer.host import clocks
from brummer.host.real_system import REAL
from brummer.hub.black_box import BlackBoxes
from brummer.hub.router import Router
from brummer.hub.tools import hub_tools
from brummer.link.state import LinkState
from brummer.peers.instances import FIRST_SCAN_S, Instances
from brummer.peers.resolver import Ambiguous, NoInstances
from brummer.peers.timeline import Timeline
from brummer.settings.limits import DEFAULTS, Limits
from brummer.settings.servers import Server
from brummer.wire.http.server import Exchange
from brummer.wire.mcp.server import Params, Request, RunningCall, Session, ToolCall

from .agents_page import unnamed_fields
from .fakes import FakeInstance, respond
from .test_foreign import Foreign, Message, Modern
from .virtual_world import in_virtual_time

_generations = itertools.count(1)


def record_of(directory: Path, port: int, name: str | None = None) -> Record:
    return Record(
        instance_id=f"{directory.name}-{zlib.crc32(bytes(directory)):08x}",
        generation=f"generation-{next(_generations)}",
        name=name or directory.name,
        directory=str(directory),
        url=f"http://127.0.0.1:{port}/mcp",
        pid=4242,
        start_token=1,
        boot_id="boot",
        pid_namespace=1,
        started_at="2026-11-23T12:00:00Z",
        token="t" * 43,
        protocols=(),
    )


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Record]:
    async with served(tmp_path / "shop") as record:
        yield record


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextlib.asynccontextmanager
async def served(directory: Path, answer: Any = None) -> AsyncIterator[Record]:
    """A fake instance for a project directory, and its record."""
    directory.mkdir(exist_ok=True)
    fake = FakeInstance()
    record = record_of(directory, fake.port)
    fake.instance_id, fake.generation = record.instance_id, record.generation
    if answer:
        fake.answer = answer
    async with fake:
        yield record


class LaterClock:
    """The clocks of this machine; after `a_restart_has_passed`, what links tell is so much older."""

    awake, wall, reading = staticmethod(clocks.awake), staticmethod(clocks.wall), staticmethod(clocks.reading)
    _later_s = 0.0

    def elapsed(self) -> float:
        return clocks.elapsed() + self._later_s

    def a_restart_has_passed(self) -> None:
        self._later_s = RESTART_S


@contextlib.asynccontextmanager
async def hub_with(
    *records: Record,
    here: Path = Path("/"),
    limits: Limits = DEFAULTS,
    black_boxes: BlackBoxes | None = None,
    clock: Clock = clocks,
) -> AsyncIterator[Router]:
    instances = Instances(here, limits=limits, system=msgspec.structs.replace(REAL, clock=clock))
    for record in records:
        instances.appeared(record)
    instances.scanned()
    try:
        status = Status(instances, Timeline(clock), clock, here)
        yield Router(instances, hub_tools(instances, status.describe), black_boxes)
    finally:
        await instances.close()


def tool_call(tool: str, arguments: dict[str, Any], session: Session | None = None) -> ToolCall:
    request = Request(b"1", "tools/call", Params(name=tool), session, lambda _: None)
    return ToolCall(tool, msgspec.json.encode(arguments), request)


async def call(router: Router, tool: str, arguments: dict[str, Any], session: Session | None = None) -> dict[str, Any]:
    result = await router.call_tool(tool_call(tool, arguments, session))
    decoded: dict[str, Any] = msgspec.json.decode(result)
    return decoded


async def code_of(router: Router, tool: str, arguments: dict[str, Any], session: Session | None = None) -> str:
    result = await call(router, tool, arguments, session)
    assert result["isError"] is True
    code: str = result["structuredContent"]["error"]["code"]
    return code


async def test_the_only_instance_need_not_be_named(shop: Record) -> None:
    async with hub_with(shop) as router:
        result = await call(router, "logs_tail", {"limit": 3})
        assert result["structuredContent"] == {"limit": 3}


async def test_an_instance_is_found_by_id_name_and_directory_and_never_sees_that_argument(shop: Record) -> None:
    async with hub_with(shop) as router:
        for name in (shop.instance_id, shop.name, shop.directory, f"{shop.directory}/"):
            result = await call(router, "logs_tail", {"instance": name, "limit": 1})
            assert result["structuredContent"] == {"limit": 1}


async def test_an_unknown_instance_is_an_error_that_lists_the_known_ones(shop: Record) -> None:
    async with hub_with(shop) as router:
        result = await call(router, "scripts_list", {"instance": "nowhere"})
        error = result["structuredContent"]["error"]
        assert error["code"] == NotFound.code
        assert [item["instance_id"] for item in error["context"]["instances"]] == [shop.instance_id]


@pytest.mark.parametrize("name", ["~nobody-of-this-name/shop", "./shop\0", "/" + "x" * 5_000])
async def test_what_can_be_no_path_is_an_unknown_instance(shop: Record, name: str) -> None:
    async with hub_with(shop) as router:
        assert await code_of(router, "scripts_list", {"instance": name}) == NotFound.code


async def test_with_two_instances_a_call_must_say_which(shop: Record, tmp_path: Path) -> None:
    async with served(tmp_path / "api") as api, hub_with(shop, api) as router:
        result = await call(router, "scripts_list", {})
        error = result["structuredContent"]["error"]
        assert error["code"] == Ambiguous.code
        assert {item["name"] for item in error["context"]["instances"]} == {"shop", "api"}


async def test_the_default_is_found_anew_when_a_second_one_revives(shop: Record, tmp_path: Path) -> None:
    async with served(tmp_path / "api") as api, hub_with(shop, api) as router:
        instances = router.instances
        instances.gone(api, "process died")
        assert (await instances.resolver.default(())).id == shop.instance_id
        instances.appeared(api)  # its link does not know yet that it lives
        with pytest.raises(Ambiguous):
            await instances.resolver.default(())
        instances.gone(shop, "process died")
        assert (await instances.resolver.default(())).id == api.instance_id


async def test_with_no_instance_the_error_says_how_to_start_one() -> None:
    async with hub_with() as router:
        assert await code_of(router, "scripts_list", {}) == NoInstances.code


async def test_when_nobody_answers_that_is_one_problem_and_not_one_for_each(tmp_path: Path) -> None:
    clock = LaterClock()
    silent = [record_of(tmp_path / name, unused_port()) for name in ("api", "shop")]
    async with hub_with(*silent, clock=clock) as router:
        status = (await call(router, "hub_status", {}))["structuredContent"]
        problems = status["problems"]
        assert [problem["code"] for problem in problems] == ["cut_off"]
        assert sorted(problems[0]["instances"]) == sorted(record.instance_id for record in silent)
        assert problems[0]["hides"] == len(silent)
        async with served(tmp_path / "web") as web:
            router.instances.appeared(web)
            clock.a_restart_has_passed()
            status = (await call(router, "hub_status", {}))["structuredContent"]
            assert [problem["code"] for problem in status["problems"]] == ["link_retrying"] * 2


@pytest.mark.parametrize(("reason", "codes"), [("withdrawn", []), ("process died", ["link_gone"])])
async def test_an_end_is_a_problem_unless_it_was_in_order(shop: Record, reason: str, codes: list[str]) -> None:
    clock = LaterClock()
    async with hub_with(shop, clock=clock) as router:
        await call(router, "scripts_list", {})
        router.instances.gone(shop, reason, withdrew=reason == "withdrawn")
        async with asyncio.timeout(30):
            while (status := (await call(router, "hub_status", {}))["structuredContent"])["links"][0][
                "state"
            ] != "gone":
                await asyncio.sleep(0)
        assert status["problems"] == [], "it may be a restart"
        clock.a_restart_has_passed()
        status = (await call(router, "hub_status", {}))["structuredContent"]
        assert [problem["code"] for problem in status["problems"]] == codes


async def test_a_choice_holds_for_its_session_until_it_is_taken_back(shop: Record, tmp_path: Path) -> None:
    mine, other = Session("mine"), Session("other")
    async with served(tmp_path / "api") as api, hub_with(shop, api) as router:
        chosen = await call(router, "instances_connect", {"instance": "api"}, mine)
        assert chosen["structuredContent"]["instance"]["instance_id"] == api.instance_id
        assert "isError" in await call(router, "logs_tail", {}, mine)
        assert not (await call(router, "logs_tail", {}, mine))["isError"]
        assert await code_of(router, "logs_tail", {}, other) == Ambiguous.code
        freed = await call(router, "instances_disconnect", {}, mine)
        assert freed["structuredContent"]["disconnected"] == api.instance_id
        assert unnamed_fields([chosen["structuredContent"], freed["structuredContent"]]) == set()
        assert await code_of(router, "logs_tail", {}, mine) == Ambiguous.code


@pytest.mark.parametrize("session", [None, Session("of one call", calls=1)])
async def test_a_client_that_opens_a_session_for_each_call_is_advised_to_name_the_instance_and_not_to_connect(
    shop: Record, tmp_path: Path, session: Session | None
) -> None:
    """To connect again would be forgotten again."""
    async with served(tmp_path / "api") as api, hub_with(shop, api) as router:
        chosen = await call(router, "instances_connect", {"instance": "api"}, session)
        assert chosen["structuredContent"]["remembered"] is False
        refused = await call(router, "logs_tail", {}, Session("of the next call", calls=1))
        error = refused["structuredContent"]["error"]
        assert (error["code"], error["retryable"]) == (Ambiguous.code, False)
        assert {item["instance_id"] for item in error["context"]["instances"]} == {shop.instance_id, api.instance_id}
        for answer in (chosen, refused):
            words = msgspec.json.encode(answer).decode()
            assert "pass `instance`" in words
            assert "instances_connect" not in words


async def test_a_choice_that_nobody_remembers_any_more_never_becomes_another_instance(
    shop: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Session("mine")
    async with served(tmp_path / "api") as api, hub_with(shop) as router:
        instances = router.instances
        instances.appeared(api)
        await call(router, "instances_connect", {"instance": "api"}, mine)
        instances.gone(api, "process died")
        monkeypatch.setattr("brummer.peers.instances.REMEMBER_GONE_S", -1.0)
        instances.appeared(shop)
        assert [known.id for known in instances] == [shop.instance_id]
        assert await code_of(router, "scripts_stop", {}, mine) == NotFound.code
        await call(router, "instances_disconnect", {}, mine)
        assert not (await call(router, "scripts_stop", {}, mine))["isError"]


async def test_of_several_in_one_directory_the_one_without_a_name_is_meant(tmp_path: Path) -> None:
    here = tmp_path / "shop"
    async with served(here) as record:
        unnamed, tests, worker = [
            msgspec.structs.replace(
                record, instance_id=await asyncio.to_thread(instance_id_for, here, name), name=name or "shop"
            )
            for name in (None, "tests", "worker")
        ]
        async with hub_with(tests, unnamed, worker, here=here) as router:
            assert (await router.instances.resolver.default(())).id == unnamed.instance_id
            assert (await router.instances.resolver.named(str(here))).id == unnamed.instance_id
        async with hub_with(tests, worker, here=here) as router:
            with pytest.raises(Ambiguous):
                await router.instances.resolver.default(())
        async with hub_with(tests, here=here) as router:
            assert (await router.instances.resolver.default(())).id == tests.instance_id


async def test_waiting_everywhere_where_nobody_is_left_says_so(shop: Record) -> None:
    async with hub_with(shop) as router:
        router.instances.gone(shop, "process died")
        assert await code_of(router, "wait_for", {"instance": "*", "log": "x"}) == NoInstances.code


async def test_the_hubs_own_directory_decides_when_it_lies_in_a_project(shop: Record, tmp_path: Path) -> None:
    inside = tmp_path / "shop" / "src"
    inside.mkdir()
    async with served(tmp_path / "api") as api, hub_with(shop, api, here=inside) as router:
        assert not (await call(router, "logs_tail", {}))["isError"]


async def test_the_innermost_project_wins(shop: Record, tmp_path: Path) -> None:
    async def name_inner(exchange: Exchange, message: dict[str, Any]) -> None:
        respond(exchange, message, {"structuredContent": {"who": "inner"}, "isError": False})

    inner = tmp_path / "shop" / "packages"
    async with served(inner, name_inner) as nested, hub_with(shop, nested, here=inner) as router:
        assert (await call(router, "logs_tail", {}))["structuredContent"] == {"who": "inner"}


async def test_the_clients_root_decides_when_the_hub_was_started_elsewhere(shop: Record, tmp_path: Path) -> None:
    async with served(tmp_path / "api") as api, hub_with(shop, api) as router:
        session = Session("s", roots=(f"file://{tmp_path}/elsewhere", (tmp_path / "shop").as_uri()))
        assert not (await call(router, "logs_tail", {}, session))["isError"]


@pytest.mark.parametrize("root", ["file://[", "file:", "https://a/shop", "", "file:///%00", "no uri at all"])
async def test_a_root_that_names_no_place_here_decides_nothing(shop: Record, tmp_path: Path, root: str) -> None:
    async with served(tmp_path / "api") as api, hub_with(shop, api) as router:
        session = Session("s", roots=(root, (tmp_path / "shop").as_uri()))
        assert not (await call(router, "logs_tail", {}, session))["isError"]


async def test_the_client_is_asked_for_its_roots_only_where_they_could_decide(shop: Record, tmp_path: Path) -> None:
    asked: list[str] = []
    session = Session("s")

    async def find_roots() -> None:
        asked.append("once")
        session.roots, session.find_roots = ((tmp_path / "shop").as_uri(),), None

    session.find_roots = find_roots
    async with served(tmp_path / "api") as api:
        async with hub_with(shop) as router:
            assert not (await call(router, "logs_tail", {}, session))["isError"]
        async with hub_with(shop, api, here=tmp_path / "shop") as router:
            assert not (await call(router, "logs_tail", {}, session))["isError"]
        assert asked == []
        async with hub_with(shop, api) as router:
            for _ in range(2):
                assert not (await call(router, "logs_tail", {}, session))["isError"]
        assert asked == ["once"]


async def test_a_sibling_whose_name_begins_alike_is_not_inside(shop: Record, tmp_path: Path) -> None:
    evil = tmp_path / "shop-evil"
    evil.mkdir()
    async with served(tmp_path / "api") as api, hub_with(shop, api, here=evil) as router:
        assert await code_of(router, "logs_tail", {}) == Ambiguous.code


async def test_instance_call_passes_any_tool_and_its_arguments_on(shop: Record) -> None:
    async with hub_with(shop) as router:
        result = await call(router, "instance_call", {"tool": "custom", "arguments": {"deep": {"n": 1.50}}})
        assert result["structuredContent"] == {"deep": {"n": 1.5}}


@pytest.mark.parametrize("given", ['{"deep": {"n": 1.50}}', ' {"deep": {"n": 1.50}} '])
async def test_the_arguments_of_instance_call_may_be_a_text_that_holds_an_object(shop: Record, given: str) -> None:
    async with hub_with(shop) as router:
        result = await call(router, "instance_call", {"tool": "custom", "arguments": given})
        assert result["structuredContent"] == {"deep": {"n": 1.5}}


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ({"instance": "shop", "tool": "custom", "arguments": {"n": 1}}, {"n": 1}),
        ({"tool": "custom", "arguments": {"n": 1}}, {"n": 1}),
        ({"instance": "shop", "tool": "custom"}, {}),
        ({"tool": "custom"}, {"tool": "custom"}),  # a tool may take one argument of this name
        ({"tool": "another", "arguments": {}}, {"tool": "another", "arguments": {}}),
        ({"tool": "custom", "n": 1}, {"tool": "custom", "n": 1}),
    ],
)
async def test_a_call_that_is_repeated_within_its_own_arguments_is_understood(
    shop: Record, given: dict[str, Any], own: dict[str, Any]
) -> None:
    async with hub_with(shop) as router:
        result = await call(router, "instance_call", {"tool": "custom", "arguments": given})
        assert result["structuredContent"] == own


@pytest.mark.parametrize("nothing", [[], "{}", " {}"])
async def test_other_ways_to_write_no_arguments_are_taken(shop: Record, nothing: object) -> None:
    async with hub_with(shop) as router:
        assert (await call(router, "instance_call", {"tool": "custom", "arguments": nothing}))[
            "structuredContent"
        ] == {}


@pytest.mark.parametrize(
    "wrong", [{"timeout_s": -1}, {"timeout_s": 1e9}, {"timeout_s": "soon"}, {"timeout_s": True}, {"bogus": 1}]
)
async def test_a_wait_on_all_instances_refuses_the_same_arguments_as_a_wait_in_one(
    shop: Record, wrong: dict[str, Any]
) -> None:
    async with hub_with(shop) as router:
        assert await code_of(router, "wait_for", {"instance": "*", "exit": True, **wrong}) == "invalid_arguments"


@pytest.mark.parametrize("nothing", [None, ""])
async def test_an_empty_instance_and_empty_arguments_count_as_not_given(shop: Record, nothing: object) -> None:
    async with hub_with(shop) as router:
        assert (await call(router, "logs_tail", {"instance": nothing}))["structuredContent"] == {}
        given = {"instance": nothing, "tool": "custom", "arguments": nothing}
        assert (await call(router, "instance_call", given))["structuredContent"] == {}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("logs_tail", {"instance": 7}),
        ("instance_call", {}),
        ("instance_call", {"tool": 1}),
        ("instance_call", {"tool": "x", "argument": {}}),
        ("instance_call", {"tool": "x", "arguments": "[]"}),
        ("instance_call", {"tool": "x", "arguments": "{"}),
        ("instance_call", {"tool": "x", "arguments": 5}),
        ("instances_list", {"cursor": 5}),
        ("instance_tools", {"verbose": True}),
        ("instances_connect", {}),
        ("instances_list", {"verbose": True}),
    ],
)
async def test_wrong_arguments_are_named_and_nothing_is_sent(
    shop: Record, tool: str, arguments: dict[str, Any]
) -> None:
    async with hub_with(shop) as router:
        assert await code_of(router, tool, arguments) == "invalid_arguments"


@pytest.mark.parametrize("tool", ["instance_tools", "instance_call"])
async def test_a_misspelt_instance_is_refused_with_its_right_name(shop: Record, tool: str) -> None:
    async with hub_with(shop) as router:
        result = await call(router, tool, {"instanse": "shop", **({"tool": "x"} if tool == "instance_call" else {})})
        context = result["structuredContent"]["error"]["context"]
        assert (context["argument"], context["nearest"]) == ("instanse", "instance")


async def test_waiting_everywhere_ends_with_the_first_match_and_names_who_could_not_answer(
    shop: Record, tmp_path: Path
) -> None:
    async def matches(exchange: Exchange, message: dict[str, Any]) -> None:
        respond(exchange, message, {"structuredContent": {"matched": True, "what": "log"}, "isError": False})

    async def never(exchange: Exchange, _: dict[str, Any]) -> None:
        gone = asyncio.Event()
        exchange.on_peer_gone(gone.set)
        await gone.wait()

    async with (
        served(tmp_path / "api", matches) as api,
        served(tmp_path / "worker", never) as worker,
        hub_with(shop, api, worker) as router,
    ):
        result = await call(router, "wait_for", {"instance": "*", "log": "x", "timeout_s": 30})
        content = result["structuredContent"]
        assert (content["matched"], content["instance"]) == (True, api.instance_id)


@pytest.mark.parametrize("is_express", [True, False])
async def test_an_answer_that_is_too_large_is_no_reason_to_ask_a_black_box_nor_to_ask_again(
    tmp_path: Path, *, is_express: bool
) -> None:
    asked = 0

    async def much(exchange: Exchange, message: dict[str, Any]) -> None:
        nonlocal asked
        asked += 1
        respond(exchange, message, {"structuredContent": {"much": "x" * 2_000}, "isError": False})

    limits, boxes = Limits(reply_bytes=1_000), BlackBoxes(lambda: tmp_path / "none")
    async with served(tmp_path / "shop", much) as shop, hub_with(shop, limits=limits, black_boxes=boxes) as router:
        await router.instances.settled()
        if is_express:
            answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            on_way = router.start_call(tool_call("logs_tail", {"instance": shop.instance_id}), answered.set_result)
            assert isinstance(on_way, RunningCall)
            result = msgspec.json.decode(await asyncio.wait_for(answered, 30))
        else:
            result = await call(router, "logs_tail", {})
        assert (result["structuredContent"]["error"]["code"], asked) == ("too_large", 1)


async def test_hints_hold_until_the_server_comes_back_perhaps_as_another_version() -> None:
    class Hinting(Modern):
        may_be_repeated = True

        async def answer(self, exchange: Exchange, message: Message) -> None:
            if message["method"] == "tools/list":
                tool = {"name": "x", "annotations": {"idempotentHint": self.may_be_repeated}}
                self.respond(exchange, message, {"resultType": "complete", "tools": [tool]})
            else:
                await super().answer(exchange, message)

    async def hang_up(_: Foreign, exchange: Exchange, __: Message) -> None:
        exchange.connection.abort()

    def repeatable_call(number: int) -> dict[str, Any]:
        return {"instance": "docs", "tool": "x", "arguments": {"n": number}}

    async with hub_with() as router:
        async with Hinting() as old:
            router.instances.add_server(Server("docs", old.target.url))
            await call(router, "instance_call", repeatable_call(1))
            (known,) = router.instances
        async with asyncio.timeout(30):
            while known.link.state is LinkState.READY:
                await asyncio.sleep(0.01)
        async with Hinting(hang_up, port=old.target.port) as new:
            new.may_be_repeated = False
            assert await code_of(router, "instance_call", repeatable_call(2)) == "outcome_unknown"
            assert new.ran == {2: 1}


async def test_a_call_to_a_server_that_is_away_waits_for_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "PARK_S", 0.05)
    async with hub_with() as router:
        ended: list[CallEnded] = []
        router.instances.calls_ended.subscribe(ended.append)
        router.instances.add_server(Server("docs", f"http://127.0.0.1:{unused_port()}/mcp"))
        assert await code_of(router, "instance_call", {"instance": "docs", "tool": "x"}) == "instance_unavailable"
        assert [each.ending for each in ended] == ["unavailable"]


@pytest.mark.parametrize(("scan_s", "takes_s"), [(5.0, 5.0), (60.0, FIRST_SCAN_S)])
def test_a_list_waits_for_the_first_scan_however_busy_the_machine_is(scan_s: float, takes_s: float) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        instances = Instances(Path("/"))
        loop.call_later(scan_s, instances.scanned)
        began_s = loop.time()
        await instances.first_scan()
        assert loop.time() - began_s == pytest.approx(takes_s)
        await instances.close()

    in_virtual_time(story())


async def test_an_instance_that_died_stays_listed_as_gone_and_its_id_takes_the_next_run(
    shop: Record, tmp_path: Path
) -> None:
    instances = Instances(Path("/"))
    try:
        instances.appeared(shop)
        instances.scanned()
        await instances.settled()
        assert [known.link.state for known in instances] == [LinkState.READY]
        instances.gone(shop, "process died")
        async with asyncio.timeout(30):
            while (await instances.resolver.named("shop")).link.state is not LinkState.GONE:
                await asyncio.sleep(0)
        (known,) = instances
        assert (known.summary().state, known.summary().reason) == ("gone", "process died")
        async with served(tmp_path / "shop") as again:
            instances.appeared(again)
            instances.gone(shop, "process died")  # late news of the old run says nothing of the new one
            async with asyncio.timeout(30):
                while (await instances.resolver.named("shop")).link.state is not LinkState.READY:
                    await asyncio.sleep(0)
            assert len(list(instances)) == 1
    finally:
        await instances.close()


@pytest.mark.parametrize("way", ["short", "long"])
async def test_an_instance_that_is_waited_for_is_not_forgotten_and_the_call_ends_in_its_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    asked, answered = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def silent(_exchange: Exchange, _message: dict[str, Any]) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with served(tmp_path / "shop", silent) as shop, hub_with(shop) as router, asyncio.timeout(30):
        instances = router.instances
        await instances.settled()
        wait = tool_call("wait_for", {"instance": shop.instance_id, "log": "x", "timeout_s": 86_400})
        if way == "short":
            assert isinstance(router.start_call(wait, answered.set_result), RunningCall)
        else:
            answered = asyncio.ensure_future(router.call_tool(wait))
        await asked.wait()
        instances.gone(shop, "process died")
        (known,) = instances
        while not known.is_waited_for:
            await asyncio.sleep(0)
        monkeypatch.setattr("brummer.peers.instances.REMEMBER_GONE_S", -1.0)
        instances.appeared(record_of(tmp_path / "other", unused_port()))
        async with served(tmp_path / "shop") as again:
            instances.appeared(again)
            assert msgspec.json.decode(await answered)["structuredContent"]["log"] == "x"


@pytest.mark.parametrize("way", ["short", "long"])
async def test_a_call_that_a_black_box_could_not_answer_goes_on_and_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr("brummer.hub.router.UNTIL_BLACK_BOX_S", 0.05)
    goes_on, asked_twice, asked = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def late(exchange: Exchange, message: dict[str, Any]) -> None:
        if message["params"]["name"] == "scripts_status":
            (asked_twice if asked.is_set() else asked).set()
            await goes_on.wait()
        respond(exchange, message, {"content": [], "structuredContent": {"processes": []}, "isError": False})

    async with (
        served(tmp_path / "shop", late) as record,
        hub_with(record, black_boxes=BlackBoxes(lambda: tmp_path / "none")) as router,
    ):
        await router.instances.settled()
        await call(router, "scripts_list", {})  # from now on it is known without a look
        ended: list[CallEnded] = []
        router.instances.calls_ended.subscribe(ended.append)
        if way == "short":
            answered = asyncio.Event()
            assert router.start_call(tool_call("scripts_status", {}), lambda _: answered.set()) is not None
            answer: asyncio.Future[Any] = asyncio.ensure_future(answered.wait())
        else:
            answer = asyncio.ensure_future(router.call_tool(tool_call("scripts_status", {})))
        async with asyncio.timeout(30):
            await asked_twice.wait()
            assert ended == []
            goes_on.set()
            await asyncio.wait([answer])
        assert [(each.tool, each.code) for each in ended] == [("scripts_status", "")]
        assert ended[0].took_s >= 0.05, "it began when the agent asked"


async def test_a_call_that_was_sent_stays_unknown_when_no_black_box_answers_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "PARK_S", 0.05)
    monkeypatch.setattr("brummer.hub.router.CALL_ANSWER_S", 0.3)
    dies = asyncio.Event()

    async def die(_: Exchange, __: dict[str, Any]) -> None:
        dies.set()
        await asyncio.Event().wait()

    async with (
        served(tmp_path / "shop", die) as record,
        hub_with(record, black_boxes=BlackBoxes(lambda: tmp_path / "none")) as router,
    ):
        await router.instances.settled()
        asked = asyncio.create_task(call(router, "scripts_status", {}))
        await dies.wait()
        router.instances.gone(record, "process died")
        error = (await asked)["structuredContent"]["error"]
        assert (error["outcome"], error["retryable"]) == ("unknown", False)


# What runs where.


def a_process(name: str, status: str, **members: Any) -> dict[str, Any]:
    return {"process_id": f"{name}-1", "name": name, "status": status, "urls": [], **members}


async def listed(router: Router) -> dict[str, dict[str, Any]]:
    result = await call(router, "instances_list", {})
    return {each["name"]: each for each in result["structuredContent"]["instances"]}


async def test_a_list_of_instances_has_their_scripts_with_states_and_urls(
    tmp_path: Path,
) -> None:
    error = {"count": 2, "first": "ERROR one", "where": None, "last": "KeyError: 'pie'", "last_where": "app.py:3"}
    mended = {**error, "last_at": "2026-11-30T12:00:00.000Z", "since_start": 0}
    processes = [
        a_process("mailer", "failed", reason="exit 127: command not found"),
        a_process("dev", "ready", urls=["http://localhost:5173/"], errors=mended),
        a_process("api", "ready", errors={**mended, "since_start": 1}),
    ]

    async def answer(exchange: Exchange, message: dict[str, Any]) -> None:
        asked = message["params"]["name"]
        respond(exchange, message, {"structuredContent": {"processes": processes} if asked == "scripts_status" else {}})

    async with served(tmp_path / "shop", answer) as shop, hub_with(shop) as router:
        entry = (await listed(router))["shop"]
        assert entry["mcp_url"] == shop.url
        assert entry["scripts"] == [
            {"name": "mailer", "status": "failed", "error": "exit 127: command not found"},
            {"name": "dev", "status": "ready", "urls": ["http://localhost:5173/"]},
            {"name": "api", "status": "ready", "error": "KeyError: 'pie' (app.py:3)"},
        ]
        connected = await call(router, "instances_connect", {"instance": "shop"})
        assert connected["structuredContent"]["instance"]["scripts"] == entry["scripts"]
        text = (await call(router, "instances_list", {}))["content"][0]["text"]
        assert "\n    dev ready http://localhost:5173/\n" in text
        assert shop.url not in text


@pytest.mark.promise("fan-out")
async def test_an_instance_that_does_not_answer_delays_the_list_by_two_seconds_at_most_and_is_named(
    tmp_path: Path, shop: Record
) -> None:
    async def silent(_: Exchange, __: dict[str, Any]) -> None:
        await asyncio.sleep(60)

    async with served(tmp_path / "frozen", silent) as frozen, hub_with(shop, frozen) as router:
        async with asyncio.timeout(30):
            found = await listed(router)
        assert found["shop"]["scripts"] == []
        assert found["frozen"]["scripts_unknown"]
        assert "scripts" not in found["frozen"]


# One cursor for all.


def with_changes(record: Record, count: int) -> Any:
    """Answers `changes_since` as an instance does that has so many changes, one each second."""
    changes = [
        {"n": n, "at": f"2026-11-30T12:00:{n:02}.000Z", "kind": "url", "process_id": "dev-1"}
        for n in range(1, count + 1)
    ]

    async def answer(exchange: Exchange, message: dict[str, Any]) -> None:
        asked = message["params"]["arguments"]
        generation, _, after = asked.get("cursor", f"{record.generation}.0.0").split(".")
        is_reset = generation != record.generation
        left = changes[0 if is_reset else int(after) :]
        found = left[: asked["limit"]] if "cursor" in asked else left[-asked["limit"] :]
        last_n = found[-1]["n"] if found else count
        content = {"changes": found, "cursor": f"{record.generation}.7.{last_n}", "dropped": 0}
        if len(found) < len(left) and "cursor" in asked:
            content["more"] = True
        elif "cursor" not in asked:
            content["omitted"] = len(left) - len(found)
        if is_reset:
            content["cursor_reset"] = True
        respond(exchange, message, {"structuredContent": content})

    return answer


@contextlib.asynccontextmanager
async def changing(directory: Path, count: int) -> AsyncIterator[Record]:
    async def later(exchange: Exchange, message: dict[str, Any]) -> None:
        await answer(exchange, message)

    async with served(directory, later) as record:
        answer = with_changes(record, count)
        yield record


async def changes_of(router: Router, **arguments: Any) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    content = (await call(router, "changes_since", {"instance": "*", **arguments}))["structuredContent"]
    return content, [(each["instance"].split("-")[0], each["n"]) for each in content["changes"]]


async def test_the_changes_of_all_instances_come_in_the_order_of_time_and_one_cursor_goes_on(tmp_path: Path) -> None:
    async with (
        changing(tmp_path / "shop", 3) as shop,
        changing(tmp_path / "api", 2) as api,
        hub_with(shop, api) as router,
    ):
        newest, changes = await changes_of(router, limit=2)
        assert changes[-1] == ("shop", 3)
        assert newest["omitted"] == 5 - 2
        assert (await changes_of(router, cursor=newest["cursor"]))[1] == []

        first, changes = await changes_of(router, cursor="*", limit=3)
        assert (len(changes), first["more"], len(first["cursor_reset"])) == (3, True, 2)
        rest, others = await changes_of(router, cursor=first["cursor"])
        assert sorted([*changes, *others]) == [("api", 1), ("api", 2), ("shop", 1), ("shop", 2), ("shop", 3)]
        assert ("cursor_reset" in rest, "more" in rest) == (False, False)


async def test_an_instance_that_was_started_again_is_reset_alone(tmp_path: Path) -> None:
    async with changing(tmp_path / "shop", 3) as shop, changing(tmp_path / "api", 2) as api:
        async with hub_with(shop, api) as router:
            cursor = (await changes_of(router))[0]["cursor"]
        async with changing(tmp_path / "api", 1) as again, hub_with(shop, again) as router:
            content, changes = await changes_of(router, cursor=cursor)
            assert (changes, content["cursor_reset"]) == ([("api", 1)], [again.instance_id])
            text = (await call(router, "changes_since", {"instance": "*", "cursor": cursor}))["content"][0]["text"]
            assert f"of an earlier run of {again.instance_id}" in text
            assert content["cursor"] in text


@pytest.mark.parametrize("cursor", ["generation.1.1", "*nonsense", "*abcdefgh.1", "*abcdefgh.1.1abcdefgh.1.1"])
@pytest.mark.parametrize("tool", ["changes_since", "wait_for"])
async def test_a_cursor_that_is_not_of_all_instances_is_refused(shop: Record, tool: str, cursor: str) -> None:
    async with hub_with(shop) as router:
        wanted = {"log": "x"} if tool == "wait_for" else {}
        assert await code_of(router, tool, {"instance": "*", "cursor": cursor, **wanted}) == "invalid_arguments"


async def test_the_processes_of_all_instances_name_theirs_and_silent_ones_are_named(tmp_path: Path) -> None:
    async def answer(exchange: Exchange, message: dict[str, Any]) -> None:
        respond(
            exchange,
            message,
            {"structuredContent": {"processes": [a_process("dev", "ready"), a_process("x", "failed")]}},
        )

    down = record_of(tmp_path / "down", unused_port())
    async with served(tmp_path / "shop", answer) as shop, hub_with(shop, down) as router:
        result = await call(router, "scripts_status", {"instance": "*"})
        content = result["structuredContent"]
        assert [(each["instance"], each["name"]) for each in content["processes"]] == [
            (shop.instance_id, "x"),
            (shop.instance_id, "dev"),
        ]
        assert [each["instance"] for each in content["incomplete"]] == [down.instance_id]
        assert all(each in result["content"][0]["text"] for each in (shop.instance_id, down.instance_id))
