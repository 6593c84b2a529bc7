"""What a view says of what it knows; the time is an argument."""

from datetime import timedelta
from typing import Any

import pytest

from brummer.discovery.record import displayable
from brummer.views.model import ENDED, NOT_STARTED, Now, Plan, RowKey, ViewedInstanceFacts, ViewModel
from brummer.views.sentences import LogFacts, fitted, leaving, title, verdict, words_of_error, words_of_plan
from tests.unit.views_support import AT, FOLLOWING, NOW, SHOP, error, facts, process, shown, world

DEV, CSS = process("dev"), process("css", "starting")


def test_this_project_shows_what_it_has_left_before_it_is_started() -> None:
    found = ViewModel(own=SHOP)
    found.take_instances([facts(state=NOT_STARTED)], NOW)
    found.take_scripts(SHOP, {"scripts": [{"name": "dev"}]})
    found.take_ended([facts(state=ENDED)])
    found.take_processes(SHOP, {"processes": [process("dev", "lost")]})
    assert shown(found) == ["shop ◌ ended", "  ✖ dev"]
    assert title(found, RowKey(SHOP, "dev"), FOLLOWING, NOW, 100).startswith("shop › dev  ◌ ended (s starts it)")


def test_mistakes_in_the_files_of_a_project_are_shown() -> None:
    found = world(process("dev"))
    found.take_scripts(SHOP, {"scripts": [], "problems": [{"source": "package.json", "line": 3, "message": "no JSON"}]})
    assert shown(found)[0] == "shop !"
    assert "package.json:3: no JSON" in title(found, RowKey(SHOP), FOLLOWING, NOW, 100)


def test_names_from_outside_are_harmless() -> None:
    found = ViewModel()
    found.take_instances([ViewedInstanceFacts("x", "\x1b[2Jshop\u202e", "/", "ready")], NOW)
    found.take_processes("x", {"processes": [process("[red]evil\n")]})
    text = " ".join(shown(found)) + title(found, RowKey("x", "[red]evil\n"), FOLLOWING, NOW, 200)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\n" not in text
    assert "[red]evil" in text


# The title.

URL = "http://127.0.0.1:45443/"


@pytest.mark.parametrize(
    ("log", "says"),
    [
        (LogFacts(), "asking …"),
        (FOLLOWING, "following"),
        (LogFacts(has_answer=True, follows=False), "held (f follows)"),
        (LogFacts(has_answer=True, follows=False, unseen=1234), "held, 1,234 new below (f)"),
        (LogFacts(has_answer=True, is_earlier=True), "earlier lines (f: new ones)"),
        (LogFacts(has_answer=True, level="warning"), "warnings and errors  following"),
        (LogFacts(has_answer=True, level="error"), "errors only  following"),
        (LogFacts(has_answer=True, query="a\tb"), "/a\N{SYMBOL FOR HORIZONTAL TABULATION}b  following"),
        (LogFacts(has_answer=True, query="x", shows_only_hits=True), "only /x  following"),
    ],
)
def test_the_title_says_what_the_log_shows(log: LogFacts, says: str) -> None:
    shown_title = title(world(process("dev")), RowKey(SHOP, "dev"), log, NOW, 100)
    if "\t" in log.query:  # whatever stands in place of a control character
        assert "\t" not in shown_title
    else:
        assert shown_title == f"shop › dev  ready  {says}"


def test_the_title_has_url_and_usage_and_drops_them_when_it_is_narrow() -> None:
    found = world(process("dev", urls=[URL]))
    found.take_usage(SHOP, {"scripts": [{"name": "dev", "cpu": 0.12, "memory_mib": 61.4}]})
    key = RowKey(SHOP, "dev")
    assert title(found, key, FOLLOWING, NOW, 88) == f"shop › dev  ready  {URL}  12 %  61 MiB  following"
    assert title(found, key, FOLLOWING, NOW, 60) == "shop › dev  ready  12 %  61 MiB  following"
    assert title(found, key, FOLLOWING, NOW, 30) == "shop › dev  ready  following"
    assert title(found, key, FOLLOWING, NOW, 10) == "shop › dev  ready"


@pytest.mark.parametrize("usage", [{"cpu": None, "memory_mib": None}, {"cpu": "much"}, {}])
def test_usage_that_is_not_known_is_not_shown(usage: dict[str, Any]) -> None:
    found = world(process("dev"))
    found.take_usage(SHOP, {"scripts": [{"name": "dev", **usage}]})
    assert title(found, RowKey(SHOP, "dev"), FOLLOWING, NOW, 88) == "shop › dev  ready  following"


def test_the_title_says_why_a_script_failed() -> None:
    found = world(process("test", "failed", exit_code=2, reason="the port 80 is taken"))
    assert title(found, RowKey(SHOP, "test"), FOLLOWING, NOW, 100) == (
        "shop › test  failed (exit 2)  the port 80 is taken  following"
    )


def test_the_title_of_a_project_counts() -> None:
    found = world(process("dev"), process("css", "starting"), process("test", "failed"))
    assert title(found, RowKey(SHOP), FOLLOWING, NOW, 100) == "shop › all  2 scripts run  1 failed  following"
    assert title(world(), RowKey(SHOP), FOLLOWING, NOW, 100) == "shop › all  no scripts run  following"


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("gone", "◌ gone since 3 s, waiting"),
        ("suspect", "◌ suspect since 3 s, waiting"),
        (ENDED, "◌ ended since 3 s (s starts it)"),
    ],
)
def test_the_title_says_since_when_an_instance_is_away(state: str, says: str) -> None:
    found = world(process("dev"), state=state)
    assert title(found, RowKey(SHOP, "dev"), FOLLOWING, NOW, 100) == f"shop › dev  {says}  ready  following"
    assert found.has_age


def test_the_title_of_what_never_ran() -> None:
    found = ViewModel(own=SHOP)
    found.take_instances([facts(state=NOT_STARTED)], NOW)
    found.take_scripts(SHOP, {"scripts": [{"name": "dev"}]})
    says = title(found, RowKey(SHOP, "dev"), LogFacts(), NOW, 100)
    assert says == "shop › dev  ◌ not started (s starts it)  never started"
    assert not found.has_age
    found.take_instances([facts()], NOW)
    assert title(found, RowKey(SHOP, "dev"), LogFacts(), NOW, 100) == "shop › dev  asking …  asking …"
    found.take_processes(SHOP, {"processes": []})
    assert title(found, RowKey(SHOP, "dev"), FOLLOWING, NOW, 100) == "shop › dev  never started  following"


STOPPED = {"kind": "stopped", "process": "dev", "process_id": "dev-1", "by": "claude-code 2.1.3"}
STARTED = {**STOPPED, "kind": "started", "process_id": "dev-2"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([STARTED], "started by claude-code 2.1.3"),
        ([{**STARTED, "by": "view"}], "started by view"),
        ([STOPPED], "stopped by claude-code 2.1.3"),
        ([{**STOPPED, "stop_asked_by": "restart"}], "restarted by claude-code 2.1.3"),
        ([{**STOPPED, "stop_asked_by": "restart"}, STARTED], "restarted by claude-code 2.1.3"),
        ([{**STOPPED, "stop_asked_by": "restart"}, STARTED, STARTED], "started by claude-code 2.1.3"),
        ([STARTED, {"kind": "error", "process": "dev", "process_id": "dev-2"}], "started by claude-code 2.1.3"),
        ([{**STARTED, "by": "\x1b[31m"}], f"started by {displayable(chr(27) + '[31m')}"),
    ],
)
def test_the_title_says_who_asked_for_the_last_start_or_stop(changes: list[dict[str, Any]], says: str) -> None:
    found = world(process("dev"))
    found.take_changes(SHOP, {"changes": changes})
    assert title(found, RowKey(SHOP, "dev"), FOLLOWING, NOW, 100) == f"shop › dev  ready  {says}  following"
    assert says not in title(found, RowKey(SHOP, "dev"), FOLLOWING, NOW, 40)


def test_a_start_that_nobody_asked_for_names_nobody() -> None:
    found = world(process("dev"))
    found.take_changes(SHOP, {"changes": [STARTED, {**STARTED, "by": None}]})
    assert title(found, RowKey(SHOP, "dev"), FOLLOWING, NOW, 100) == "shop › dev  ready  following"


def test_the_title_without_a_row() -> None:
    assert title(ViewModel(), None, FOLLOWING, NOW, 100) == "no project"
    assert title(ViewModel(), RowKey("x"), FOLLOWING, NOW, 100) == "no project"


def test_what_is_left_out_has_the_highest_rank() -> None:
    parts = [(0, "a"), (2, "bb"), (1, "ccc"), (2, "dd")]
    assert [fitted(parts, width) for width in (14, 13, 6, 5, 0)] == ["a  bb  ccc  dd", "a  ccc", "a  ccc", "a", "a"]


# The verdict.


def test_the_verdict_of_what_is_healthy() -> None:
    assert verdict(ViewModel()) == ("✓ healthy, 0 projects, no scripts run", False)
    assert verdict(world(process("dev"))) == ("✓ healthy, 1 project, 1 script runs", False)


def test_the_verdict_begins_with_the_scripts_that_have_failed() -> None:
    found = world(process("dev"), process("test", "failed"))
    assert verdict(found) == ("✖ failed: shop › test, 1 project, 1 script runs", True)
    found = world(*(process(name, "failed") for name in ("a", "b", "c", "d")))
    assert verdict(found) == ("✖ failed: shop › a, shop › b and 2 more, 1 project, no scripts run", True)


GONE = {
    "code": "link_gone",
    "severity": "error",
    "title": "the instance has ended",
    "doing": "waits for it",
    "advice": "",
}


def test_the_verdict_names_the_worst_problem_and_what_is_done() -> None:
    found = world()
    found.take_problems([{**GONE, "instance": SHOP}])
    assert verdict(found) == ("✖ link_gone: shop: the instance has ended; waits for it", True)
    found.take_problems([{**GONE, "doing": "", "advice": "start it", "instances": [SHOP, "other-2"]}])
    assert verdict(found).text == "✖ link_gone: shop, other-2: the instance has ended; start it"
    found.take_problems([])
    assert not verdict(found).is_bad


def test_a_note_that_is_no_fault_leaves_it_healthy() -> None:
    found = world()
    found.take_problems([{"code": "polling", "severity": "info", "title": "no events"}])
    assert verdict(found) == ("✓ healthy, 1 project, no scripts run, but polling: no events", False)


def test_a_hub_of_an_agent_that_is_worse_off_is_named() -> None:
    found = world()
    hubs: list[dict[str, Any]] = [
        {"hub": {"pid": 7}, "problems": []},
        {"hub": {"pid": 8}, "problems": [{**GONE, "instance": SHOP}]},
    ]
    found.take_hubs(hubs)
    assert verdict(found) == ("✖ hub 8 of an agent: link_gone: shop: the instance has ended; waits for it", True)
    found.take_problems([{**GONE, "code": "own", "instance": SHOP}])
    assert verdict(found).text.startswith("✖ own: ")


# Errors.


def test_errors_come_newest_first_and_one_that_comes_again_is_counted() -> None:
    found = world(process("dev"))
    first = error("KeyError: 'bottle'")
    other = error("no module", 90, "test", at="2026-11-30T21:28:29Z", where=None)
    again = {**first, "count": 74, "at": "2026-11-30T21:28:29.500Z"}
    found.take_changes(SHOP, {"changes": [first, other, again]})
    rows = found.errors_of(RowKey(SHOP))
    assert [words_of_error(each, NOW) for each in rows] == [
        ("×74", "KeyError: 'bottle'", "serve.py:10", "0 s ago"),
        ("", "no module", "", "1 s ago"),
    ]
    assert [each.n for each in rows] == [7, 90]
    assert [each.title for each in found.errors_of(RowKey(SHOP, "test"))] == ["no module"]
    assert found.errors_of(RowKey("another")) == []


def test_an_error_of_an_odd_shape_is_shown_all_the_same() -> None:
    found = world()
    found.take_changes(SHOP, {"changes": [{"kind": "error", "at": "noon", "first_n": "?", "count": None}]})
    (row,) = found.errors_of(RowKey(SHOP))
    assert words_of_error(row, NOW) == ("", "", "", "")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan("restart", SHOP, ("dev",)), "restart dev …"),
        (Plan("stop", SHOP, ("dev", "css")), "stop dev, css …"),
        (Plan("stop", SHOP, ("a", "b", "c")), "stop 3 scripts …"),
        (Plan("start", SHOP), "start the project …"),
    ],
)
def test_a_plan_in_words(plan: Plan, words: str) -> None:
    assert words_of_plan(plan) == words


# Leaving.


@pytest.mark.parametrize(
    ("processes", "line"),
    [
        ([DEV, CSS, process("x", "failed"), process("y")], "shop: 3 scripts run on; brum down ends them"),
        ([DEV], "shop: 1 script runs on; brum down ends it"),
        ([], "shop runs on; brum down ends it"),
    ],
)
def test_one_line_says_what_runs_on(processes: list[dict[str, Any]], line: str) -> None:
    assert leaving(world(*processes)) == line


def test_nothing_is_said_where_nothing_of_this_project_runs() -> None:
    assert leaving(world(DEV, state="gone")) == ""
    assert leaving(ViewModel()) == ""


def test_ages_grow() -> None:
    found = world(DEV, state="gone")
    later = Now(NOW.s + timedelta(minutes=2).total_seconds(), AT)
    assert "gone since 3 s" in title(found, RowKey(SHOP), FOLLOWING, NOW, 100)
    assert "gone since 2 min" in title(found, RowKey(SHOP), FOLLOWING, later, 100)
