"""The text of an answer: what a reader is told beside the lists."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from brummer.contract.texts import change, compact, instance, lines_of, rendered
from brummer.logs.output import Line, Stamp

INSTANCE: dict[str, Any] = {
    "instance_id": "shop-00000000",
    "name": "shop",
    "state": "ready",
    "since_s": 3.0,
    "directory": "/projects/shop",
    "mcp_url": "http://127.0.0.1:1/mcp",
}


def test_an_instance_says_that_more_scripts_exist_or_that_it_did_not_answer() -> None:
    scripts = [{"name": "dev", "status": "ready", "urls": ["http://127.0.0.1:3000"]}]
    more = instance({**INSTANCE, "scripts": scripts, "more_scripts": True})
    assert "http://127.0.0.1:3000" in more
    assert more.endswith("and more: scripts_status has all")
    unknown = instance({**INSTANCE, "scripts_unknown": "it did not answer within 1 s"})
    assert "its scripts are not known: it did not answer within 1 s" in unknown


def test_a_change_that_happened_several_times_has_their_number() -> None:
    content = {"at": "2026-01-01T12:03:11Z", "process_id": "dev-1", "kind": "error", "title": "KeyError"}
    assert "x3" in change({**content, "count": 3})
    assert "x1" not in change({**content, "count": 1})


def test_a_connection_says_what_was_started_for_it_and_that_it_lasts_for_this_call_only() -> None:
    started = {"instance_id": "shop-00000000", "directory": "/projects/shop", "environment": "of your login shell"}
    text = rendered("instances_connect", {"instance": INSTANCE, "remembered": False, "started_instance": started})
    assert "its environment is that of your login shell" in text
    assert "pass `instance` in each call" in text
    assert "pass `instance`" not in rendered("instances_connect", {"instance": INSTANCE, "remembered": True})


def test_the_lines_of_a_text_that_was_cut_are_told_with_the_time_of_the_first() -> None:
    at = "2026-01-01T12:00:00.000Z"
    entry = {"n": 1, "process": "web", "stream": "stdout", "at": at, "after_ms": [0, 5, 9], "text": "one\ntw[… 5 …]"}
    assert [line["at"] for line in lines_of({"lines": [entry]})] == [at, at]
    assert rendered("logs_tail", {"lines": [entry], "cursor": "c"}).startswith("12:00:00 web | one\n| tw[")


TIMES = st.one_of(
    st.integers(1_767_268_800_000, 1_767_268_900_000).map(lambda ms: Stamp()(ms / 1000)),
    st.integers(0, 4_000_000_000_000).map(lambda ms: Stamp()(ms / 1000)),
    st.sampled_from(["", "2026-01-01T12:00:00Z", "2026-01-01T12:xx:00.000Z", "2026-01-01T12:00:00.000000Z", "noon"]),
)
LINES = st.builds(
    Line,
    st.integers(1, 2),
    st.sampled_from(["web", "api"]),
    st.sampled_from(["stdout", "brum"]),
    TIMES,
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=3),
)


@given(st.lists(LINES, max_size=8))
def test_from_joined_lines_each_is_told_as_it_was(lines: list[Line]) -> None:
    """Also if times go back, are of another form, or numbers are left out."""
    numbers = iter(range(1, 100))
    numbered = [msgspec.structs.replace(line, n=[next(numbers) for _ in range(line.n)][-1]) for line in lines]
    joined = msgspec.json.decode(msgspec.json.encode(compact({"lines": numbered})))
    assert lines_of(joined) == [msgspec.to_builtins(line) for line in numbered]
    assert rendered("logs_tail", {**joined, "cursor": "c"}).count("\n") >= len(lines)


USAGE: dict[str, Any] = {
    "name": "web",
    "process_id": "web-2",
    "cpu": 0.126,
    "memory_mib": 61.5,
    "processes": 3,
    "samples": [[1764460800.0, None, 60.0, 3], [1764460802.0, 0.5, 61.5, 3], [1764460804.0, 0.126, 61.5, 3]],
}


def test_usage_names_what_is_used_now_and_between_what_it_was() -> None:
    ended = {**USAGE, "process_id": "api-1", "cpu": None, "memory_mib": None, "processes": 0, "samples": []}
    text = rendered("scripts_usage", {"every_s": 2.0, "scripts": [USAGE, ended]})
    assert text.splitlines() == [
        "web-2: CPU 13 % of a core, 61.5 MiB, 3 processes",
        "    3 samples in 4.0 s: CPU 13 to 50 %, memory 60 to 61.5 MiB",
        "api-1: no process",
    ]


def test_usage_that_a_system_hides_is_said_to_be_unknown() -> None:
    hidden = {**USAGE, "cpu": None, "memory_mib": None, "processes": 1, "samples": [[1764460800.0, None, None, 1]]}
    text = rendered("scripts_usage", {"every_s": 2.0, "scripts": [hidden]})
    assert text.splitlines() == ["web-2: CPU unknown, memory unknown, 1 process", "    1 sample"]


def test_usage_says_that_there_are_no_runs_and_that_samples_did_not_fit() -> None:
    assert rendered("scripts_usage", {"every_s": 2.0, "scripts": []}) == "no runs"
    text = rendered("scripts_usage", {"every_s": 2.0, "scripts": [USAGE], "omitted": 40})
    assert text.endswith("[40 older samples did not fit: ask for one script by name]")
