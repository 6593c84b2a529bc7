"""What is wrong, as a table: what hides what, what is told when, and that the documents tell all of it."""

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from brummer.health.catalog import DIRECTORY, KINDS, Observed, Severity, explain
from brummer.network.monitor import MachineEvent, NetworkChanged
from brummer.network.wake import ClockSet, GoingToSleep, Paused, Slept
from brummer.peers.timeline import reasons_of

DOCS = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
LONG_S = 3600.0


def explained(*observed: Observed) -> list[dict[str, Any]]:
    """As JSON has them."""
    found: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(explain(observed)))
    return found


def seen(code: str, *instances: str, since_s: float | None = LONG_S) -> Observed:
    return Observed(code, "found", since_s, instances)


def codes(*observed: Observed) -> list[str]:
    return [problem["code"] for problem in explained(*observed)]


# The table.


def test_every_problem_says_what_it_is_what_is_done_and_what_to_do() -> None:
    for code, kind in KINDS.items():
        assert re.fullmatch(r"[a-z][a-z_]+", code)
        assert kind.severity in get_args(Severity)
        assert all((kind.title, kind.doing, kind.advice)), code


@pytest.mark.promise("root-cause-first")
def test_every_problem_is_documented_and_nothing_else_is() -> None:
    section = DOCS.read_text().partition("## What `brum status` says first")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `([a-z_]+)`", section, re.MULTILINE))
    documented |= set(re.findall(r"`(directory_[a-z_]+)`", section))
    assert documented == set(KINDS)


def test_causes_are_in_the_table_and_lead_to_a_root() -> None:
    def depth(code: str, above: tuple[str, ...]) -> int:
        assert code not in above, f"{code} would hide itself"
        return 1 + max((depth(cause, (*above, code)) for cause in KINDS[code].depends_on), default=0)

    assert max(depth(code, ()) for code in KINDS) == 4


# What hides what.


@pytest.mark.promise("root-cause-first")
def test_one_cause_is_one_line_that_counts_its_consequences() -> None:
    (told,) = explained(*[seen("breaker_open", "web-1"), seen("link_stopped", "web-1"), seen("busy", "web-1")])
    assert told == {
        "code": "link_stopped",
        "severity": "error",
        "title": KINDS["link_stopped"].title,
        "instance": "web-1",
        "detail": "found",
        "since_s": LONG_S,
        "doing": KINDS["link_stopped"].doing,
        "advice": KINDS["link_stopped"].advice,
        "hides": 2,
    }


def test_what_concerns_another_instance_explains_nothing() -> None:
    assert codes(seen("breaker_open", "web-1"), seen("link_stopped", "api-2")) == ["link_stopped", "breaker_open"]


def test_a_cause_of_a_cause_explains_everything() -> None:
    names = ("api-2", "web-1")
    (told,) = explained(
        *[
            seen("loopback_down", *names),
            seen("cut_off", *names),
            *(seen("link_cut", name) for name in names),
            *(seen("breaker_open", name) for name in names),
        ]
    )
    assert (told["code"], told["hides"]) == ("loopback_down", 5)
    assert told["instances"] == list(names)


def test_what_is_about_all_explains_what_is_about_each() -> None:
    assert codes(seen("settling"), seen("link_suspect", "web-1"), seen("cut_off", "web-1", "api-2")) == ["settling"]


def test_a_cause_that_leaves_out_an_instance_does_not_explain_what_is_about_it_too() -> None:
    assert codes(seen("loopback_down", "web-1"), seen("cut_off", "web-1", "api-2")) == ["loopback_down", "cut_off"]


@pytest.mark.parametrize("code", ["link_gone", "link_impostor", "link_stopped"])
def test_what_is_known_for_certain_is_reported_whatever_else_is_wrong(code: str) -> None:
    assert code in codes(seen("cut_off", "web-1", "api-2"), seen("settling"), seen(code, "web-1"))


# When, and in which order.


def test_what_may_be_a_restart_is_reported_once_it_is_none() -> None:
    for code in ("link_gone", "link_retrying", "server_down", "record_missing"):
        due_s = KINDS[code].time_to_visible_s
        assert due_s >= 2
        assert codes(seen(code, "web-1", since_s=due_s - 0.01)) == []
        assert codes(seen(code, "web-1", since_s=due_s)) == [code]


def test_what_is_hidden_does_not_come_out_because_its_cause_is_not_told_yet() -> None:
    assert codes(seen("link_gone", "web-1", since_s=0.1), seen("breaker_open", "web-1")) == []


def test_what_has_no_known_beginning_is_reported_at_once() -> None:
    assert explained(*[seen("link_stopped", "web-1", since_s=None)])[0]["since_s"] is None
    assert codes(seen("link_gone", "web-1", since_s=None)) == ["link_gone"]


def test_errors_come_before_warnings_and_the_machine_before_the_particular() -> None:
    observed = [
        seen("polling"),
        seen("malformed"),
        seen("link_gone", "web-1"),
        seen("settings_invalid"),
        seen("link_gone", "api-2"),
        seen(DIRECTORY[0]),
        seen("offline", "docs"),
        seen("loopback_down", "other-3"),
    ]
    assert codes(*observed) == codes(*reversed(observed))
    assert codes(*observed) == [
        "loopback_down",
        DIRECTORY[0],
        "link_gone",
        "link_gone",
        "offline",
        "malformed",
        "settings_invalid",
        "polling",
    ]


def test_a_code_of_the_future_is_an_error_that_comes_first() -> None:
    first = explained(*[seen("link_gone", "web-1"), seen("of_the_future")])[0]
    assert (first["code"], first["severity"], first["title"]) == ("of_the_future", "error", "of the future")


def test_more_than_the_code_and_whom_it_is_about_is_passed_on() -> None:
    more: dict[str, Any] = {"path": "/run/x.json", "count": 3}
    assert explained(Observed("malformed", "found", None, **more))[0].items() >= more.items()


def test_five_hundred_links_that_fail_are_one_line() -> None:
    names = tuple(f"web-{number}" for number in range(500))
    links = [seen(code, name) for name in names for code in ("link_retrying", "breaker_open")]
    (told,) = explained(*[*links, seen("cut_off", *names)])
    assert (told["code"], told["hides"]) == ("cut_off", 1000)


# What a link is to others.


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Slept(7500.0), "the machine slept for 2 h 5 min"),
        (Slept(0.0), "the machine slept"),
        (Paused(3.2), "this hub was not run for at least 3.2 s: stopped, frozen, or starved"),
        (ClockSet(60.0), "the wall clock was set forth by 1 min"),
        (ClockSet(-60.0), "the wall clock was set back by 1 min"),
        (GoingToSleep(), "the machine is about to sleep"),
        (NetworkChanged(("a route",), online=True, loopback=True), "a route"),
    ],
    ids=str,
)
def test_what_happened_is_reported_in_words_for_people(event: MachineEvent, said: str) -> None:
    assert reasons_of(event) == [said]
