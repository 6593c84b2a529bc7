"""What a view knows: answers go in, rows and plans come out, and the time is an argument."""

from typing import Any

import pytest

from brummer.views.model import ENDED, ERRORS_KEPT, NOT_STARTED, Plan, RowKey, ViewModel
from tests.unit.views_support import NOW, SHOP, error, facts, process, shown, world


@pytest.mark.parametrize(
    ("status", "sign"),
    [
        ("ready", "●"),
        ("running", "●"),
        ("starting", "◐"),
        ("pending", "◐"),
        ("stopping", "◐"),
        ("a state of another version", "◐"),
        ("failed", "✖"),
        ("crash-looping", "✖"),
        ("lost", "✖"),
        ("exited", "✓"),
        ("stopped", "○"),
    ],
)
def test_each_state_of_a_script_has_its_sign(status: str, sign: str) -> None:
    assert shown(world(process("dev", status))) == ["shop", f"  {sign} dev"]


def test_signs_in_ascii_differ_from_each_other() -> None:
    found = ViewModel(glyphs="ascii")
    found.take_instances([facts()], NOW)
    states = ["ready", "starting", "failed", "exited", "stopped"]
    found.take_processes(SHOP, {"processes": [process(state, state) for state in states]})
    found.take_scripts(SHOP, {"scripts": [{"name": "never"}]})
    signs = [row.sign for row in found.rows()[0].scripts]
    assert len(set(signs)) == len(signs) == 6
    assert all(sign.isascii() for sign in signs)


def test_scripts_that_have_run_come_first_in_the_order_of_the_files() -> None:
    found = world(process("test", "failed"), process("dev"), scripts=("build", "dev", "lint", "test"))
    assert shown(found) == ["shop", "  ● dev", "  ✖ test", "  · build", "  · lint"]
    assert shown(found, hides_idle=True) == ["shop", "  ● dev", "  ✖ test"]
    assert found.rows(hides_idle=True)[0].hidden == 2


def test_a_row_stays_where_it_is_when_its_script_first_runs() -> None:
    found = world(process("test", "failed"), scripts=("build", "test"))
    found.take_processes(SHOP, {"processes": [process("test", "failed"), process("build")]})
    assert shown(found) == ["shop", "  ✖ test", "  ● build"]


def test_the_question_of_a_script_that_runs() -> None:
    found = world(process("dev", unfinished_line="Name?\x1b "), process("old", "exited", unfinished_line="x"))
    assert found.question(RowKey(SHOP, "dev")).startswith("Name?")
    assert "\x1b" not in found.question(RowKey(SHOP, "dev"))
    assert found.question(RowKey(SHOP, "old")) == found.question(RowKey(SHOP)) == ""


def test_a_run_whose_script_is_in_no_file_any_more_is_shown() -> None:
    assert shown(world(process("gone", "stopped"), scripts=("dev",))) == ["shop", "  ○ gone", "  · dev"]


def test_a_script_shows_its_port_and_its_errors() -> None:
    urls = ["http://127.0.0.1:43949/", "http://10.0.0.7:1/"]
    errors = {"count": 2, "first": "KeyError"}
    found = world(
        process("dev", urls=urls, errors=errors), process("old", "stopped", urls=urls), process("x", urls=["?"])
    )
    assert shown(found) == ["shop", "  ● dev :43949 2!", "  ○ old", "  ● x"]


def test_this_project_comes_first_and_what_had_ended_before_last() -> None:
    found = ViewModel(own=SHOP)
    found.take_instances([facts("worker", "gone"), facts("Api"), facts()], NOW)
    found.take_ended([facts("attic", ENDED), facts("worker", ENDED)])
    assert shown(found) == ["shop", "Api", "worker ◌ gone", "attic ◌ ended"]
    assert shown(found, hides_idle=True) == ["shop", "Api", "worker ◌ gone"]
    found.take_instances([facts("attic")], NOW)
    assert shown(found, hides_idle=True) == ["shop", "Api", "attic", "worker ◌ gone"]


def test_rows_of_an_instance_that_is_away_are_dim_and_stay() -> None:
    found = world(process("dev"), state="gone")
    (project,) = found.rows()
    assert project.row.is_dim
    assert [row.is_dim for row in project.scripts] == [True]


@pytest.mark.parametrize(
    ("statuses", "chosen"),
    [
        ({"dev": "ready", "test": "failed"}, "test"),
        ({"dev": "ready", "test": "exited"}, "dev"),
        ({"dev": "stopped", "test": "exited"}, "test"),
        ({}, "build"),
    ],
)
def test_the_row_to_choose_first_is_what_a_person_wants_to_see(statuses: dict[str, str], chosen: str) -> None:
    processes = [process(name, status) for name, status in statuses.items()]
    assert world(*processes, scripts=("build",)).first_row() == RowKey(SHOP, chosen)


def test_the_row_to_choose_first_is_the_project_without_scripts() -> None:
    assert world().first_row() == RowKey(SHOP)
    assert ViewModel().first_row() is None


def test_only_the_last_errors_are_kept() -> None:
    found = world()
    found.take_changes(SHOP, {"changes": [error(f"error {n}", n) for n in range(ERRORS_KEPT + 5)]})
    assert len(found.errors_of(RowKey(SHOP))) == ERRORS_KEPT
    assert min(each.n for each in found.errors_of(RowKey(SHOP))) == 5


def test_a_script_that_was_ready_and_fails_is_worth_a_notice() -> None:
    found = world(process("dev", ready_at="2026-11-30T21:00:00Z"), process("css", "running"))
    dies = {"kind": "failed", "process": "dev", "process_id": "dev-1"}
    assert found.take_changes(SHOP, {"changes": [dies]}) == ["dev"]
    assert found.take_changes(SHOP, {"changes": [{**dies, "process": "css", "process_id": "css-1"}]}) == []
    ready = {"kind": "ready", "process": "css", "process_id": "css-2"}
    loops = {"kind": "crash-looping", "process": "css", "process_id": "css-2"}
    assert found.take_changes(SHOP, {"changes": [ready, loops]}) == ["css"]


# What a key does.

DEV, CSS = process("dev"), process("css", "starting")


@pytest.mark.parametrize(
    ("processes", "script", "plan"),
    [
        ([DEV], "dev", Plan("stop", SHOP, ("dev",))),
        ([DEV], "lint", Plan("run", SHOP, ("lint",))),
        ([process("dev", "failed")], "dev", Plan("run", SHOP, ("dev",))),
        ([DEV], None, Plan("stop", SHOP, ("dev",))),
        ([DEV, CSS], None, Plan("stop", SHOP, ("dev", "css"), "stop 2 scripts of shop?")),
        ([], None, Plan("run", SHOP)),
    ],
)
def test_s_starts_what_does_not_run_and_asks_before_it_stops_several(
    processes: list[dict[str, Any]], script: str | None, plan: Plan
) -> None:
    assert world(*processes, scripts=("lint",)).start_or_stop(RowKey(SHOP, script)) == plan


@pytest.mark.parametrize(
    ("processes", "script", "plan"),
    [
        ([DEV], "dev", Plan("restart", SHOP, ("dev",))),
        ([DEV], "lint", Plan("restart", SHOP, ("lint",))),
        ([DEV, CSS, process("x", "failed")], None, Plan("restart", SHOP, ("dev", "css"))),
        ([], None, Plan("run", SHOP)),
    ],
)
def test_r_restarts_what_runs_and_also_starts(processes: list[dict[str, Any]], script: str | None, plan: Plan) -> None:
    assert world(*processes, scripts=("lint",)).restart(RowKey(SHOP, script)) == plan


@pytest.mark.parametrize("state", ["gone", ENDED, NOT_STARTED])
@pytest.mark.parametrize(("script", "scripts"), [("dev", ("dev",)), (None, ())])
def test_both_start_a_project_that_is_down(state: str, script: str | None, scripts: tuple[str, ...]) -> None:
    found, key = world(DEV, state=state), RowKey(SHOP, script)
    assert found.start_or_stop(key) == found.restart(key) == Plan("start", SHOP, scripts)


def test_a_row_that_is_not_there_any_more_has_no_plan() -> None:
    assert ViewModel().start_or_stop(RowKey("x")) is None
    assert ViewModel().restart(RowKey("x")) is None


@pytest.mark.parametrize(
    ("processes", "question"),
    [
        ([], "end shop, and leave?"),
        ([DEV], "end shop and its 1 script, and leave?"),
        ([DEV, CSS], "end shop and its 2 scripts, and leave?"),
    ],
)
def test_to_end_the_project_is_asked(processes: list[dict[str, Any]], question: str) -> None:
    assert world(*processes).stop_project() == question


def test_a_project_that_is_down_is_not_ended() -> None:
    assert world(state=ENDED).stop_project() == ""
    assert ViewModel().stop_project() == ""
