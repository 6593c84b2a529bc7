"""`brum status`: what it shows, whom it asks, and what it makes of those that do not answer."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from brummer.cli import failed_scripts, running_hubs
from brummer.cli.colour import PLAIN
from brummer.cli.commands import status
from brummer.cli.failed_scripts import FailedScript, gist_of, lines_of
from brummer.cli.instance_calls import Unanswered
from brummer.cli.running_hubs import RunningHub, RunningHubs, decoded, problem_of
from brummer.cli.status_page import HEALTHY, NO_HUB, TIMELINE_SHOWN, ShownStatus, gist, page
from brummer.contract.processes import processes_of
from brummer.core.supervisor import Supervisor
from brummer.discovery.record import Record
from brummer.host.directories import DirectoryUnusable
from brummer.hub.status_socket import serving_status
from brummer.settings.units import span
from tests.unit.discovery_support import directory_in_memory

pytest_plugins = ("tests.unit.wire_loops",)

NOW = datetime(2026, 11, 23, 14, 5, 0, tzinfo=timezone(timedelta(hours=1)))


def told(pid: int = 42, **members: Any) -> ShownStatus:
    """What a hub answers."""
    hub = {"pid": pid, "version": "1.2.3", "directory": "/home/me/shop", "uptime_s": 7500.0}
    return msgspec.convert({"hub": hub, "problems": [], "links": [], "limits": {}, **members}, ShownStatus)


def link(name: str = "api-12ab34cd", state: str = "ready", **members: Any) -> dict[str, Any]:
    return {"instance_id": name, "state": state, "since_s": 185.0, "reason": "identity proven", "dials": 1, **members}


def lines(*statuses: ShownStatus) -> list[str]:
    return [line.strip() for line in page(statuses, NOW).splitlines()]


def link_lines(**members: Any) -> list[str]:
    """What stands under "links" of a hub with this one."""
    shown = lines(told(links=[link(**members)]))
    return shown[shown.index("links") + 1 :]


# The page.


def test_another_machine_has_its_line_and_what_is_wrong_with_it() -> None:
    ready = {"host": "box", "carrier": "ssh", "state": "ready", "since_s": 61.0, "rtt_ms": 3.4, "instances": 2}
    lost = {"host": "b", "carrier": "ssh", "state": "failed", "since_s": 1.0, "rtt_ms": None, "detail": "no\x1bkey"}
    shown = lines(told(machines=[{**ready, "detail": ""}, {**lost, "instances": 0}]))
    found = shown[shown.index("machines") + 1 :][:3]
    assert "box" in found[0]
    assert "2 instances over ssh, 3.4 ms away" in found[0]
    assert (found[1].split()[:2], found[2]) == (["b", "failed"], "no\ufffdkey")
    assert gist([told(machines=[ready])]) == gist([told(machines=[{**ready, "rtt_ms": 9.0, "since_s": 90.0}])])
    assert gist([told(machines=[ready])]) != gist([told(machines=[lost])])


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"),
        (0.24, "0.2 s"),
        (9.94, "9.9 s"),
        (12.3, "12 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86400, "1 d"),
        (100_000, "1 d 3 h"),
    ],
)
def test_times_are_for_people(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


def test_without_hubs_it_says_how_one_comes_to_run() -> None:
    assert page([], NOW) == NO_HUB
    assert "brum --mcp" in NO_HUB


def test_a_hub_is_reported_by_pid_version_age_and_place() -> None:
    assert lines(told())[2] == "hub 42  version 1.2.3, running for 2 h 5 min, started in /home/me/shop"
    assert lines(told())[3] == "no instance is running"


def test_problems_come_first_among_hubs_and_within_one() -> None:
    problem = {"code": "link_retrying", "instance": "api-12ab34cd", "detail": "Connection refused"}
    event = {"kind": "network", "reasons": ["gone"], "did": "nothing"}
    shown = lines(told(1), told(2, problems=[problem], links=[link()], timeline=[event]))
    assert shown[0].startswith("link_retrying: ")
    assert next(line for line in shown if line.startswith("hub")).startswith("hub 2 ")
    assert [line for line in shown if line in ("problems", "links", "timeline")] == ["problems", "links", "timeline"]
    assert shown.count("link_retrying: api-12ab34cd: Connection refused") == 2
    assert any(line.startswith("hub 1 ") for line in shown)


@pytest.mark.parametrize(
    ("problem", "shown"),
    [
        (
            {"code": "cut_off", "instances": ["a-1", "b-2"], "detail": "no one answers"},
            "cut_off: a-1, b-2: no one answers",
        ),
        ({"code": "stale", "count": 3, "path": "/run/x.json", "detail": "d"}, "stale: /run/x.json: d"),
        ({"code": "settings_invalid", "detail": "line 3"}, "settings_invalid: line 3"),
        ({"code": "bare"}, "bare"),
    ],
)
def test_a_problem_names_whom_it_is_about(problem: dict[str, Any], shown: str) -> None:
    assert lines(told(problems=[problem]))[0] == shown


def test_the_first_line_is_the_root_cause_and_then_comes_what_to_know_of_it() -> None:
    problem = {
        "code": "link_stopped",
        "title": "the instance's process is stopped",
        "instance": "api-1",
        "detail": "process 7",
        "since_s": 7500.0,
        "doing": "probed until it answers",
        "advice": "kill -CONT 7",
        "hides": 1,
    }
    shown = lines(told(1), told(2, problems=[problem, {"code": "stale"}]))
    assert shown[: shown.index("")] == [
        "link_stopped: api-1: the instance's process is stopped: process 7",
        "since   for 2 h 5 min",
        "doing   probed until it answers",
        "to do   kill -CONT 7",
        "hidden  1 consequence of it",
        "also    1 other problem, see below",
    ]


def test_what_is_only_worth_knowing_is_no_fault() -> None:
    assert lines(told(links=[link()]))[0] == HEALTHY
    noted = told(problems=[{"code": "polling", "severity": "info", "detail": "a share"}])
    assert noted.is_healthy
    shown = lines(noted)
    assert (shown[0], shown[-1]) == ("healthy, but polling: a share", "polling: a share")


def test_where_no_hub_can_be_asked_only_the_cause_is_reported() -> None:
    answer = problem_of(0, "directory_symlink", "it leads elsewhere")
    assert lines(msgspec.convert(answer, ShownStatus))[0].startswith("directory_symlink: ")
    assert not any(line.startswith("hub") for line in lines(msgspec.convert(answer, ShownStatus)))


def test_links_that_fail_come_first_and_stand_in_columns() -> None:
    links = [
        link("web-1", "ready"),
        link("old-2", "gone", reason="process died"),
        link("a-long-name-3", "retrying", reason="Connection refused"),
    ]
    shown = page([told(links=links)], NOW).splitlines()
    rows = [line for line in shown if "3 min" in line]
    assert [row.split()[0] for row in rows] == ["a-long-name-3", "old-2", "web-1"]
    assert len({row.index("3 min") for row in rows}) == 1


@pytest.mark.parametrize(
    ("members", "doing"),
    [
        ({}, None),
        ({"in_flight": 1}, "1 call under way"),
        ({"state": "retrying", "attempts": 4, "next_retry_s": 2.1}, "dialled again in 2.1 s, attempt 5"),
        ({"state": "impostor", "attempts": 1}, "dialled again, attempt 2"),
        ({"state": "connecting", "attempts": 0}, "being dialled, attempt 1"),
        ({"state": "suspect", "condition": "stopped"}, "its process is stopped; probed until it answers"),
        ({"condition": "stopped"}, "its process is stopped"),
        ({"state": "suspect", "parked": 3}, "probed until it answers; 3 calls waiting for it"),
        ({"state": "gone"}, "waits for it to start again"),
        ({"state": "incompatible"}, "waits for another version of it"),
        (
            {"state": "retrying", "breaker": "open", "attempts": 9},
            "dialled again, attempt 10; calls are refused at once (breaker open)",
        ),
        ({"state": "a state of the future"}, None),
    ],
)
def test_a_link_tells_what_is_being_done(members: dict[str, Any], doing: str | None) -> None:
    assert link_lines(**members)[1:] == ([f"→ {doing}"] if doing else [])


def test_a_link_tells_its_last_error_unless_that_is_the_reason() -> None:
    error = {"code": "connection_refused", "message": "Connection refused"}
    assert "last error: Connection refused (connection_refused)" in link_lines(last_error=error)
    assert len(link_lines(last_error=error, reason="Connection refused")) == 1


EVENTS = [
    ({"kind": "slept", "seconds": 7500.0, "reasons": ["the machine slept"]}, "the machine slept"),
    (
        {"kind": "network", "reasons": ["a default interface is up", "a route"]},
        "a default interface is up; a route",
    ),
    ({"kind": "of the future"}, "of the future"),
]


@pytest.mark.parametrize(("event", "shown"), EVENTS)
def test_the_timeline_tells_what_happened_when_and_what_was_done(
    event: dict[str, Any], shown: str, in_zone: Callable[[str], None]
) -> None:
    in_zone("CET-1")
    when = {"at": "2026-11-23T12:58:09.120+00:00", "ago_s": 411.0, "at_boottime_s": 1.0}
    done = {"did": "probed 2 links: 2 ready", "took_s": 0.24}
    happened, did = lines(told(links=[link()], timeline=[{**event, **when, **done}]))[-2:]
    assert happened == f"13:58:09  6 min ago  {shown}"
    assert did == "→ probed 2 links: 2 ready (within 0.2 s)"


def test_what_is_not_done_yet_says_so_and_yesterday_has_a_date(in_zone: Callable[[str], None]) -> None:
    in_zone("CET-1")
    event = {
        "kind": "slept",
        "seconds": 1.0,
        "at": "2026-11-22T22:30:00Z",
        "ago_s": 52_500.0,
        "did": "",
        "took_s": None,
    }
    happened, did = lines(told(timeline=[event]))[-2:]
    assert happened.startswith("2026-11-22 23:30:00  14 h 35 min ago")
    assert did == "→ not finished yet"


def test_what_happened_before_a_clock_change_has_the_time_that_clocks_showed(in_zone: Callable[[str], None]) -> None:
    in_zone("CET-1CEST,M3.5.0,M10.5.0/3")
    event = {"kind": "slept", "at": "2026-10-24T21:50:00Z", "ago_s": 51_000.0}
    shown = page([told(timeline=[event])], datetime(2026, 10, 25, 12).astimezone())
    assert "2026-10-24 23:50:00" in shown


def test_what_happens_now_is_not_counted_in_tenths_of_seconds() -> None:
    assert "just now" in lines(told(timeline=[{"kind": "slept", "ago_s": 0.4}]))[-2]


def test_a_long_timeline_shows_its_end_and_how_much_came_before() -> None:
    events = [{"kind": f"event {number}", "did": "x"} for number in range(TIMELINE_SHOWN + 3)]
    shown = lines(told(timeline=events))
    assert "(3 earlier)" in shown
    assert [line.split()[-1] for line in shown if "event" in line] == [str(n) for n in range(3, TIMELINE_SHOWN + 3)]


@pytest.mark.promise("no-escape-sequences")
def test_nothing_that_is_shown_can_steer_the_terminal() -> None:
    evil = "\x1b[2J\x07\u202e\r\n"
    event = {"kind": "network", "reasons": [evil], "did": evil}
    statuses = [
        told(
            problems=[{"code": evil, "detail": evil, "path": evil}],
            links=[link(evil, evil, reason=evil, last_error={"code": evil, "message": evil + "x"})],
            timeline=[event],
        )
    ]
    statuses[0].hub.directory = evil
    shown = page(statuses, NOW)
    assert not set("\x1b\x07\u202e\r") & set(shown)
    assert len(shown.splitlines()) == 11


# What has changed.


def changed(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return gist([told(**before)]) != gist([told(**after)])


def test_figures_that_always_change_are_no_news() -> None:
    event = {"kind": "network", "at": "2026-11-23T12:58:09Z", "did": "x"}
    before = {"links": [link(since_s=1.0, rtt_ms=0.1)], "timeline": [{**event, "ago_s": 1.0}]}
    after = {"links": [link(since_s=2.0, rtt_ms=0.2)], "timeline": [{**event, "ago_s": 2.0}]}
    assert not changed(before, after)


def test_to_try_once_more_in_vain_is_no_news() -> None:
    error = {"code": "connection_refused", "message": "Connection refused"}
    states = [
        link(state="retrying", attempts=3, next_retry_s=2.0, last_error=error),
        link(state="connecting", attempts=3, reason="attempt 4", last_error=error),
        link(state="retrying", attempts=4, next_retry_s=4.0, last_error=error),
    ]
    assert len({str(gist([told(links=[each])])) for each in states}) == 1


@pytest.mark.parametrize(
    "after",
    [
        {"problems": [{"code": "stale"}]},
        {"links": []},
        {"links": [link(state="suspect")]},
        {"links": [link(reason="it answers again")]},
        {"links": [link(breaker="open")]},
        {"links": [link(condition="stopped")]},
        {"links": [link(), link("web-1")]},
        {"timeline": [{"kind": "slept", "did": ""}]},
        {"pid": 43},
    ],
    ids=str,
)
def test_what_people_should_know_is_news(after: dict[str, Any]) -> None:
    assert changed({"links": [link()]}, {"links": [link()], **after})


def test_that_a_recovery_has_finished_is_news() -> None:
    assert changed({"timeline": [{"kind": "slept", "did": ""}]}, {"timeline": [{"kind": "slept", "did": "asked"}]})


# Asking.

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as directory:
        yield directory


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_hubs, "ANSWER_S", 0.3)


@contextlib.asynccontextmanager
async def hub_like(path: Path, serve: Serve) -> AsyncIterator[None]:
    """Something that listens there and behaves in its own way."""
    writers: list[asyncio.StreamWriter] = []

    async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            await serve(reader, writer)

    server = await asyncio.start_unix_server(serving, path)
    try:
        yield
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


def saying(*answers: bytes) -> Serve:
    """One connection after the other is sent this, once it has asked."""
    left = iter(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(next(left))
        writer.close()

    return serve


@contextlib.asynccontextmanager
async def hubs_in(directory: Path) -> AsyncIterator[RunningHubs]:
    async with contextlib.aclosing(RunningHubs(directory)) as hubs:
        yield hubs


def problem_in(answer: dict[str, Any]) -> str:
    detail: str = answer["problems"][0]["detail"]
    return detail


async def test_a_hub_is_asked_again_over_the_same_connection(directory: Path) -> None:
    counted = iter(range(9))
    async with serving_status(directory, Supervisor(), lambda: {"n": next(counted)}), hubs_in(directory) as hubs:
        async with asyncio.timeout(30):
            while not await hubs.ask():
                pass
        first = (await hubs.ask())[0]["n"]
        (asked,) = hubs._known.values()
        streams = asked._streams
        assert (await hubs.ask())[0]["n"] == first + 1
        assert asked._streams is streams


async def test_nobody_is_there(directory: Path) -> None:
    async with hubs_in(directory) as hubs:
        assert await hubs.ask() == []
    async with hubs_in(directory / "missing") as hubs:
        assert await hubs.ask() == []


async def test_the_socket_of_a_dead_hub_is_removed_and_nothing_is_said_of_it(directory: Path) -> None:
    path = directory / "hub-7.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with hubs_in(directory) as hubs:
        assert await hubs.ask() == []
    assert not path.exists()


async def test_one_that_does_not_answer_is_named_and_delays_no_other(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(directory / "hub-99999999.sock"))
        stopped.listen(8)
        good = hub_like(directory / "hub-8.sock", saying(b'{"links":[]}\n'))
        async with good, hubs_in(directory) as hubs, asyncio.timeout(30):
            answers = await hubs.ask()
    assert [answer["hub"]["pid"] for answer in answers] == [8, 99999999]
    assert answers[0] == {"links": [], "hub": {"pid": 8}}
    assert "hub 99999999 does not answer" in problem_in(answers[1])


async def test_a_stopped_hub_finds_one_question_when_it_goes_on_however_often_it_was_asked(directory: Path) -> None:
    going_on = asyncio.Event()
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await going_on.wait()
        heard.append(await reader.readline())
        writer.write(b'{"links":[]}\n')
        await reader.read()

    async with hub_like(directory / "hub-8.sock", serve), hubs_in(directory) as hubs:
        for _ in range(2):
            assert "does not answer" in problem_in((await hubs.ask())[0])
        going_on.set()
        assert await hubs.ask() == [{"links": [], "hub": {"pid": 8}}]
    assert heard == [b"status\n"]


async def test_a_connection_that_ended_meanwhile_is_made_again(directory: Path) -> None:
    answers = saying(b'{"n":1}\n', b'{"n":2}\n')
    async with hub_like(directory / "hub-8.sock", answers), hubs_in(directory) as hubs:
        assert [(await hubs.ask())[0]["n"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("answer", [b"", b'{"hub":', b"[]\n", b"nonsense\n", b"\n"])
async def test_what_is_no_answer_is_a_problem_of_that_hub(directory: Path, answer: bytes) -> None:
    async with hub_like(directory / "hub-8.sock", saying(answer)), hubs_in(directory) as hubs:
        assert "hub 8 does not answer" in problem_in((await hubs.ask())[0])


async def test_an_endless_answer_is_not_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_hubs, "ANSWER_LIMIT_BYTES", 1000)
    async with hub_like(directory / "hub-8.sock", saying(b"x" * 10_000)), hubs_in(directory) as hubs:
        assert "more than 1000 bytes" in problem_in((await hubs.ask())[0])


async def test_a_hub_that_ends_is_forgotten(directory: Path) -> None:
    path = directory / "hub-8.sock"
    async with hubs_in(directory) as hubs:
        async with hub_like(path, saying(b"{}\n")):
            assert len(await hubs.ask()) == 1
        assert await hubs.ask() == []
        path.unlink(missing_ok=True)
        assert await hubs.ask() == []
        assert hubs._known == {}


@pytest.mark.parametrize("answer", [{"links": [1]}, {"links": {}}, {"problems": "none"}, {"hub": {"uptime_s": "long"}}])
def test_a_hub_of_another_version_is_a_problem_not_a_crash(answer: dict[str, Any]) -> None:
    received = decoded(json.dumps(answer).encode() + b"\n", 8)
    assert status.as_status(received).problems[0].code == "not_understood"


# The command.


def run(directory: Path, monkeypatch: pytest.MonkeyPatch, *, as_json: bool = False) -> int:
    monkeypatch.setenv("BRUMMER_INSTANCES_DIR", str(directory))
    monkeypatch.setattr(status, "ARRIVE_S", 0.0)
    return asyncio.run(status.show(directory, watch=False, as_json=as_json))


def test_without_hubs_the_exit_status_is_1(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(directory, monkeypatch) == 1
    assert capsys.readouterr().out == f"{NO_HUB}\n"
    assert run(directory, monkeypatch, as_json=True) == 1
    assert json.loads(capsys.readouterr().out) == []


def test_a_missing_directory_is_made_so_that_hubs_that_wait_for_it_turn_up(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = directory / "run" / "instances"
    assert run(place, monkeypatch) == 1
    assert place.stat().st_mode & 0o777 == 0o700


def test_sockets_in_a_place_that_is_not_ours_are_not_asked(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "link").symlink_to(directory)
    with pytest.raises(DirectoryUnusable):
        run(directory / "link", monkeypatch)


@pytest.mark.parametrize(("problems", "exit_status"), [([], 0), ([{"code": "stale"}], 1)])
async def test_the_exit_status_tells_whether_a_hub_has_a_problem(
    directory: Path, capsys: pytest.CaptureFixture[str], problems: list[Any], exit_status: int
) -> None:
    answer = json.dumps({"hub": {"version": "1"}, "problems": problems}).encode() + b"\n"
    async with hub_like(directory / "hub-8.sock", saying(answer, answer)):
        assert await status.show(directory, watch=False, as_json=False) == exit_status
        assert capsys.readouterr().out.startswith(f"{'stale' if problems else HEALTHY}\n\nhub 8  version 1\n")
        assert await status.show(directory, watch=False, as_json=True) == exit_status
        shown = json.loads(capsys.readouterr().out)
        assert shown == [{"hub": {"version": "1", "pid": 8}, "problems": problems}]


@pytest.mark.parametrize("as_json", [False, True])
async def test_watching_prints_anew_when_something_has_changed(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    monkeypatch.setattr(status, "WATCH_S", 0.001)
    asked = 0
    answered = asyncio.Event()
    problems: list[dict[str, Any]] = []

    def describe() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        answered.set()
        return {"problems": problems, "hub": {"uptime_s": float(asked)}}

    async def more_questions() -> None:
        for _ in range(3):
            answered.clear()
            await answered.wait()

    async with serving_status(directory, Supervisor(), describe), asyncio.timeout(10):
        async with hubs_in(directory) as hubs:
            while not await hubs.ask():
                pass
        watching = asyncio.create_task(status.show(directory, watch=True, as_json=as_json))
        try:
            await more_questions()
            first = capsys.readouterr().out
            await more_questions()
            assert capsys.readouterr().out == "", "the uptime alone is no news"
            problems.append({"code": "stale", "detail": "found"})
            await more_questions()
            second = capsys.readouterr().out
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    if as_json:
        (before,), (after,) = json.loads(first), json.loads(second)
        assert (before["problems"], after["problems"]) == ([], problems)
        assert first.count("\n") == second.count("\n") == 1
    else:
        assert first.startswith("--- ")
        assert "stale: found" in second
        assert second.startswith("--- ")


async def test_on_a_terminal_the_screen_is_cleared(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    status.print_answers([], as_json=False, watching=True)
    assert capsys.readouterr().out == f"\x1b[2J\x1b[3J\x1b[H{NO_HUB}\n"


async def test_why_a_hub_is_silent_is_said_where_it_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = type("Stopped", (), {"state": "stopped"})
    monkeypatch.setattr(running_hubs, "process_state", lambda _: stopped)
    (problem,) = (await RunningHub(Path("/nowhere"), 8).silence())["problems"]
    assert problem["code"] == "hub_stopped"
    assert "kill -CONT 8" in problem["detail"]


# Scripts that have failed.


def process(name: str, status: str = "failed", **members: Any) -> dict[str, Any]:
    return {"process_id": f"{name}-1", "name": name, "status": status, **members}


def failures(*processes: dict[str, Any]) -> list[FailedScript]:
    return [FailedScript("shop", each) for each in processes_of({"processes": list(processes)})]


def test_a_script_that_has_failed_is_named_with_its_instance_its_end_and_the_reason() -> None:
    ended_at = (NOW - timedelta(seconds=90)).isoformat()
    found = failures(
        process("mailer", exit_code=3, ended_at=ended_at, reason="no route"), process("w\x1b[2Jb", "crash-looping")
    )
    assert list(lines_of(found, NOW, PLAIN)) == [
        "mailer of shop: failed (exit 3), 1 min ago: no route",
        "w\ufffd[2Jb of shop: crash-looping",
    ]


def test_of_many_failures_some_are_named_and_the_rest_is_counted() -> None:
    shown = list(lines_of(failures(*(process(f"s-{n}") for n in range(12))), NOW, PLAIN))
    assert (len(shown), shown[-1]) == (11, "and 2 more scripts that have failed")


def test_the_age_of_a_failure_is_no_news_and_another_run_is() -> None:
    first = failures(process("a", ended_at=NOW.isoformat()))
    later = failures(process("a", ended_at=(NOW - timedelta(1)).isoformat()))
    assert gist_of(first) == gist_of(later)
    assert gist_of(first) != gist_of(failures(process("a") | {"process_id": "a-2"}))


async def test_all_instances_are_asked_and_those_that_do_not_answer_are_left_out(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Calls:
        def __init__(self, find: Callable[[], Record]) -> None:
            self._name = find().name

        async def result(self, tool: str, *_: object) -> dict[str, Any]:
            if self._name == "silent":
                raise Unanswered("it does not answer")
            assert tool == "scripts_status"
            return {"structuredContent": {"processes": [process("b"), process("a"), process("fine", "ready")]}}

        def close(self) -> None:
            closed.append(self._name)

    closed: list[str] = []
    records = [SimpleNamespace(name=name, generation=name) for name in ("shop", "silent", "api")]
    monkeypatch.setattr(failed_scripts, "InstanceCalls", Calls)
    monkeypatch.setattr(failed_scripts, "living_records", lambda _: records)
    assert await status.show(directory, watch=False, as_json=False) == 1
    assert capsys.readouterr().out == (
        f"a of api: failed\nb of api: failed\na of shop: failed\nb of shop: failed\n\n{NO_HUB}\n"
    )
    assert sorted(closed) == ["api", "shop", "silent"]
    await status.show(directory, watch=False, as_json=True)
    assert capsys.readouterr().out == "[]\n"
