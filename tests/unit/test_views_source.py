"""A view's knowledge is kept true by waits, one task for each instance; nothing is polled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from brummer.core.errors import BrummerError
from brummer.hub.service import running_hub
from brummer.settings.servers import Server
from brummer.views import log_pace
from brummer.views import source as module
from brummer.views.log_feed import LogFeed
from brummer.views.log_lines import LogLine
from brummer.views.model import NOT_STARTED, Plan, RowKey, ViewModel
from brummer.views.sentences import LogFacts, title, verdict
from brummer.views.source import AskFailed, HubBackend, Source
from tests.unit.views_support import (
    FakeHub,
    FakeInstance,
    FakeOutside,
    facts,
    following,
    has_all,
    process,
    settle,
    until,
)
from tests.unit.virtual_world import in_virtual_time

SHOP, DEV = "shop-1", RowKey("shop-1", "dev")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    monkeypatch.setattr(module, "SETTLED_S", 0.0)
    monkeypatch.setattr(log_pace, "PAUSE_S", 1e-4)


@contextlib.asynccontextmanager
async def reading_of(found: Source) -> AsyncIterator[list[list[LogLine]]]:
    """The pages of a script's lines, while something follows its instance."""
    pages: list[list[LogLine]] = []
    task = asyncio.create_task(LogFeed(found, DEV).run(pages.append))
    try:
        yield pages
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def shown(found: Source) -> list[str]:
    rows = []
    for project in found.model.rows():
        rows.append(" ".join(filter(None, (project.row.name, project.row.note))))
        rows += [f"{row.sign} {row.name}" for row in project.scripts]
    return rows


async def test_it_knows_every_instance_and_its_scripts() -> None:
    hub = FakeHub(shop=FakeInstance(process("dev"), scripts=("dev", "lint")), api=FakeInstance(process("x", "failed")))
    async with following(hub) as found:
        await until(lambda: has_all(found))
        assert shown(found) == ["shop", "● dev", "· lint", "api", "✖ x"]


async def test_nothing_is_asked_while_nothing_happens() -> None:
    hub = FakeHub(shop=FakeInstance(process("dev")), api=FakeInstance())
    async with following(hub) as found:
        await until(lambda: has_all(found))
        await settle()
        asked = len(hub.asked)
        await settle()
        assert len(hub.asked) == asked
        waits = [given for tool, given in hub.asked if given.get("wait_s")]
        assert [given["cursor"] for given in waits] == ["g.0", "g.0"]


def test_after_a_wait_without_news_nothing_is_told_and_the_next_one_begins_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.25)

    async def story() -> None:
        shop = FakeInstance(process("dev"))
        hub = FakeHub(shop=shop)
        async with following(hub) as found, reading_of(found) as pages:
            await asyncio.sleep(20)
            asked, told, read = len(hub.asked), list[str](), len(pages)
            found.changed.subscribe(told.append)
            for waiting in (shop.news, shop.lines_came):
                waiting.set()
            await settle()
            assert sorted(tool for tool, _ in hub.asked[asked:]) == ["changes_since", "logs_tail"]
            assert told == []
            assert len(pages) == read
            for _ in range(5):  # waits that end at once are no waits: an instance that can't wait is not asked for ever
                for waiting in (shop.news, shop.lines_came):
                    waiting.set()
                await settle()
            assert len(hub.asked) == asked + 2

    in_virtual_time(story())


async def test_a_change_shows_at_once() -> None:
    shop = FakeInstance(process("dev"))
    async with following(FakeHub(shop=shop)) as found:
        await until(lambda: shown(found) == ["shop", "● dev"])
        shop.processes = [process("dev", "failed")]
        shop.change({"kind": "failed", "process": "dev", "process_id": "dev-1"})
        await until(lambda: shown(found) == ["shop", "✖ dev"])


async def test_a_script_that_was_ready_and_fails_is_published_and_history_is_not() -> None:
    shop = FakeInstance(process("dev", ready_at="2026-11-30T21:00:00Z"))
    died = {"kind": "failed", "process": "dev", "process_id": "dev-1"}
    shop.changes = [{**died, "kind": "ready"}, died]
    hub = FakeHub(shop=shop)
    found = Source(hub, ViewModel(), FakeOutside())
    failed: list[Any] = []
    found.failed.subscribe(failed.append)
    found.start()
    try:
        await until(lambda: any(given.get("wait_s") for _, given in hub.asked))
        assert failed == []
        shop.change(died)
        await until(lambda: failed == [(SHOP, ["dev"])])
    finally:
        found.close()
        await hub.supervisor.close()


async def test_an_instance_that_hangs_delays_no_other_one() -> None:
    hangs, api = FakeInstance(), FakeInstance(process("x"))
    hangs.hangs = True
    async with following(FakeHub(shop=hangs, api=api)) as found:
        await until(lambda: shown(found) == ["shop", "api", "● x"])
        assert "asking …" in title(found.model, DEV, LogFacts(), found.now(), 100)


async def test_an_instance_that_goes_shows_what_its_black_box_has_and_rests_until_it_moves() -> None:
    shop = FakeInstance(process("dev"), scripts=("dev", "lint"))
    hub = FakeHub(shop=shop)
    async with following(hub) as found:
        await until(lambda: any(given.get("wait_s") for _, given in hub.asked))
        shop.black_box, shop.processes = True, [process("dev", "lost")]
        hub.now_is(facts(state="gone"))
        await until(lambda: shown(found) == ["shop ◌ gone", "✖ dev", "· lint"])
        await settle()
        asked = len(hub.asked)
        await settle()
        assert len(hub.asked) == asked
        shop.black_box, shop.processes, shop.generation = False, [process("dev")], "h"
        hub.now_is(facts())
        await until(lambda: shown(found) == ["shop", "● dev", "· lint"])


async def test_a_new_instance_appears() -> None:
    hub = FakeHub(shop=FakeInstance(process("dev")))
    async with following(hub) as found:
        await until(lambda: shown(found) == ["shop", "● dev"])
        hub.instances_by_name["api"] = FakeInstance(process("x"))
        hub.now_is(facts(), facts("api"))
        await until(lambda: shown(found) == ["shop", "● dev", "api", "● x"])


async def test_a_call_that_fails_is_made_again_when_the_link_moves() -> None:
    shop = FakeInstance(process("dev"))
    shop.error = AskFailed("it is busy", "busy")
    hub = FakeHub(shop=shop)
    async with following(hub) as found:
        await until(lambda: bool(hub.asked))
        await settle()
        assert len(hub.asked) == 1
        shop.error = None
        hub.now_is(facts(state="suspect"))
        await until(lambda: shown(found) == ["shop ◌ suspect", "● dev"])


async def test_coming_back_to_the_view_asks_for_scripts_again() -> None:
    shop = FakeInstance(process("dev"))
    async with following(FakeHub(shop=shop)) as found:
        await until(lambda: shown(found) == ["shop", "● dev"])
        shop.scripts = ["dev", "new"]
        found.freshen()
        await until(lambda: shown(found) == ["shop", "● dev", "· new"])


async def test_problems_of_this_hub_and_of_others_make_the_verdict() -> None:
    hub, outside = FakeHub(), FakeOutside()
    outside.of_hubs = [{"hub": {"pid": 9}, "problems": [{"code": "theirs", "title": "t", "severity": "error"}]}]
    async with following(hub, outside) as found:
        await until(lambda: "hub 9 of an agent: theirs: t" in verdict(found.model).text)
        hub.of_hub = [{"code": "ours", "title": "t", "severity": "error"}]
        hub.now_is()
        await until(lambda: verdict(found.model).text == "✖ ours: t")


async def test_what_has_ended_before_is_asked_when_it_is_chosen() -> None:
    hub = FakeHub(shop=FakeInstance(process("dev")))
    async with following(hub) as found:
        await until(lambda: shown(found) == ["shop", "● dev"])
        attic = hub.instances_by_name["attic"] = FakeInstance(process("old", "exited"))
        attic.black_box = True
        found.show_ended([facts("attic", "ended"), facts()])
        await settle()
        assert shown(found) == ["shop", "● dev", "attic ◌ ended"]
        found.look_at(RowKey("attic-1"))
        await until(lambda: shown(found)[-1] == "✓ old")


async def test_usage_is_asked_only_of_what_is_chosen_and_runs() -> None:
    shop = FakeInstance(process("dev"), process("test", "exited"))
    shop.usage = [{"name": "dev", "cpu": 0.5, "memory_mib": 10.0}]
    hub = FakeHub(shop=shop)
    async with following(hub) as found:
        await until(lambda: len(shown(found)) == 3)
        found.look_at(RowKey(SHOP, "test"))
        await settle()
        assert hub.calls("scripts_usage") == []
        found.look_at(DEV)
        await until(lambda: found.model.instances[SHOP].usage == {"dev": (0.5, 10.0)})
        assert hub.calls("scripts_usage") == [("scripts_usage", {"name": "dev"})]


def test_figures_that_stay_the_same_are_not_told_again() -> None:
    async def story() -> None:
        shop = FakeInstance(process("dev"))
        shop.usage = [{"name": "dev", "cpu": 0.0, "memory_mib": 10.0}]
        hub = FakeHub(shop=shop)
        async with following(hub) as found:
            await asyncio.sleep(1)
            found.look_at(DEV)
            told: list[str] = []
            found.changed.subscribe(told.append)
            await asyncio.sleep(module.USAGE_S * 3)
            assert len(hub.calls("scripts_usage")) >= 3
            assert told.count(SHOP) == 1
            shop.usage = [{"name": "dev", "cpu": 0.5, "memory_mib": 10.0}]
            await asyncio.sleep(module.USAGE_S)
            assert told.count(SHOP) == 2

    in_virtual_time(story())


async def test_a_question_without_a_line_end_is_noticed_after_lines_also_where_no_usage_is_known() -> None:
    shop = FakeInstance(process("dev"))
    shop.unknown = {"name"}
    async with following(FakeHub(shop=shop)) as found:
        await until(lambda: shown(found) == ["shop", "● dev"])
        found.look_at(DEV)
        await settle()
        shop.processes = [process("dev", unfinished_line="Name? ")]
        found.look_again()
        await until(lambda: found.model.question(DEV) == "Name? ")
        shop.error = AskFailed("it is busy", "busy")
        found.look_again()
        await settle()
        assert found.model.question(DEV) == "Name? "


async def test_a_problem_that_comes_late_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    hub = FakeHub(shop=FakeInstance(process("dev")))
    async with following(hub) as found:
        await until(lambda: shown(found) == ["shop", "● dev"])
        hub.instances_by_name["shop"].black_box = True
        hub.now_is(facts(state="gone"))
        await until(lambda: shown(found) == ["shop ◌ gone", "● dev"])
        hub.of_hub = [{"code": "link_gone", "title": "t", "severity": "error"}]
        await until(lambda: verdict(found.model).text == "✖ link_gone: t")


# What keys do.


@pytest.mark.parametrize("verb", ["run", "stop", "restart"])
async def test_a_plan_calls_its_tool_for_each_script_and_says_what_came(verb: Any) -> None:
    hub = FakeHub(shop=FakeInstance(process("dev"), process("css", "failed", exit_code=1)))
    async with following(hub) as found:
        await until(lambda: len(shown(found)) == 3)
        assert (await found.act(Plan(verb, SHOP, ("dev", "css")))).words == "dev: ready; css: failed (exit 1)"
        more: dict[str, Any] = {} if verb == "stop" else {"wait": "none", "environment": b"environment"}
        both = [{"name": name, "asked_by": "view", **more} for name in ("dev", "css")]
        assert hub.calls() == [(f"scripts_{verb}", given) for given in both]


async def test_what_a_key_has_asked_for_is_done_also_if_the_view_is_left() -> None:
    shop = FakeInstance(process("dev"))
    hub = FakeHub(shop=shop)
    async with following(hub) as found:
        await until(lambda: shown(found) == ["shop", "● dev"])
        shop.gate = asyncio.Event()
        found.act(Plan("restart", SHOP, ("dev",))).cancel()
        finishing = asyncio.ensure_future(found.finish())
        await settle()
        assert hub.calls() == []
        shop.gate.set()
        await finishing
        assert len(hub.calls("scripts_restart")) == 1
        await found.finish()


async def test_the_environment_is_only_for_this_project() -> None:
    hub = FakeHub(api=FakeInstance(process("x")))
    async with following(hub) as found:
        await until(lambda: bool(found.model.instances))
        await found.act(Plan("run", "api-1", ("x",)))
        assert hub.calls() == [("scripts_run", {"name": "x", "asked_by": "view", "wait": "none"})]


async def test_an_error_is_words() -> None:
    shop = FakeInstance(process("dev"))
    async with following(FakeHub(shop=shop)) as found:
        await until(lambda: shown(found) == ["shop", "● dev"])
        shop.error = AskFailed("dev is still\x1b being stopped", "still_stopping")
        says = await found.act(Plan("run", SHOP, ("dev",)))
        assert says.has_failed
        assert says.words.startswith("dev is still")
        assert "\x1b" not in says.words


async def test_a_project_that_is_down_is_started_with_what_brum_up_would_start() -> None:
    shop, outside = FakeInstance(process("dev"), process("css")), FakeOutside("dev", "css")
    hub = FakeHub(shop=shop)
    hub.listed = [facts(state=NOT_STARTED)]
    async with following(hub, outside) as found:
        await until(lambda: bool(found.model.instances))
        assert (await found.act(Plan("start", SHOP))).words == "dev: ready; css: ready"
        assert outside.done == [("start", "/home/ann/shop", "dev", "css")]
        assert [given["name"] for _, given in hub.calls("scripts_run")] == ["dev", "css"]
        outside.scripts = ()
        assert (await found.act(Plan("start", SHOP))).words == "shop runs"
        assert (await found.act(Plan("run", SHOP))).words == "nothing says what to start here: choose a script"
        outside.error = BrummerError("it did not start")
        assert (await found.act(Plan("start", SHOP, ("dev",)))).words == "it did not start"


async def test_a_project_of_another_machine_is_not_started_from_the_files_of_this_one() -> None:
    outside = FakeOutside("dev")
    hub = FakeHub(shop=FakeInstance(process("dev")))
    hub.listed = [facts()._replace(host="box")]
    async with following(hub, outside) as found:
        await until(lambda: bool(found.model.instances))
        assert [project.row.name for project in found.model.rows()] == ["shop@box"]
        for plan in (Plan("start", SHOP), Plan("start", SHOP, ("dev",)), Plan("run", SHOP)):
            assert (await found.act(plan)).has_failed
        assert (outside.done, hub.calls("scripts_run")) == ([], [])
        assert (await found.act(Plan("run", SHOP, ("dev",)))).words == "dev: ready"


async def test_the_end_of_the_project_is_asked_of_the_command_line() -> None:
    outside = FakeOutside()
    async with following(FakeHub(shop=FakeInstance()), outside) as found:
        await found.end_own()
        assert outside.done == [("end", SHOP)]


async def test_a_line_is_typed_to_a_script() -> None:
    shop = FakeInstance(process("dev"))
    hub = FakeHub(shop=shop)
    async with following(hub) as found:
        assert (await found.type_to(DEV, "yes")).words == "typed to dev"
        assert (await found.type_to(DEV, "", ["ctrl-d"])).words == "typed to dev"
        assert [given for _, given in hub.calls()] == [
            {"name": "dev", "text": "yes"},
            {"name": "dev", "keys": ["ctrl-d"]},
        ]
        shop.error = AskFailed("it has no input", "no_input")
        assert (await found.type_to(DEV, "")).words == "it has no input"


async def test_an_instance_of_an_earlier_version_is_asked_without_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "OLDER_S", 0.0)
    shop = FakeInstance(process("dev"))
    shop.unknown = {"wait_s", "asked_by", "before"}
    hub = FakeHub(shop=shop)
    async with following(hub) as found:
        await until(lambda: shown(found) == ["shop", "● dev"])
        shop.processes = [process("dev", "failed")]
        shop.change({"kind": "failed", "process": "dev", "process_id": "dev-1"})
        await until(lambda: shown(found) == ["shop", "✖ dev"])
        assert (await found.act(Plan("stop", SHOP, ("dev",)))).words == "dev: failed"
        with pytest.raises(AskFailed):
            await found.ask("logs_tail", instance=SHOP, before=7, limit=1)


# The hub within the process.


async def test_a_real_hub_is_such_a_backend(tmp_path: Path) -> None:
    environ = {"BRUMMER_INSTANCES_DIR": str(tmp_path), "HOME": str(tmp_path)}
    tmp_path.chmod(0o700)
    async with running_hub(environ, tmp_path) as hub:
        backend = HubBackend(hub)
        moved: list[None] = []
        end = backend.listen(lambda: moved.append(None))
        assert backend.instances() == []
        assert [each["code"] for each in backend.problems() if each["severity"] != "info"] == []
        assert (await backend.ask("instances_list", cursor=None))["instances"] == []
        with pytest.raises(AskFailed) as refused:
            await backend.ask("scripts_status", instance="nobody")
        assert refused.value.error_code == "not_found"
        server = Server("docs", "http://127.0.0.1:9/mcp")
        hub.instances.add_server(server)
        assert backend.instances() == [], "a server of others is no project"
        await until(lambda: bool(moved))
        end()
