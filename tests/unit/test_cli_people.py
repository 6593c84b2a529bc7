"""The commands for day-to-day work: what they decide and show, with an instance that answers as it is told to."""

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from brummer.cli import background, dispatch
from brummer.cli.background import NotStarted
from brummer.cli.colour import PLAIN, Paint
from brummer.cli.command_table import BY_NAME
from brummer.cli.commands import down, logs, ps, up, wait
from brummer.cli.commands.down import OutOfReach, StillRunning, end_instance
from brummer.cli.instance_calls import NothingRuns, Unanswered
from brummer.cli.log_lines import EventReader, Filter, LogReader, Printer, Style, local_time
from brummer.cli.log_news import UNPREPARED_S, LogNews, News
from brummer.cli.options import duration
from brummer.cli.process_table import lines_of, not_started
from brummer.cli.project import EXIT_TIMED_OUT, CallFailed, ids_at
from brummer.cli.project_place import NothingToRun, project_directory
from brummer.cli.run_events import RunEvents
from brummer.contract.processes import processes_of, usages_of
from brummer.contract.tools import NEWS_WAIT_S
from brummer.contract.whole_lists import whole_list
from brummer.discovery.record import Record, instance_id_for
from brummer.discovery.registrar import describe_self
from brummer.host.pids import identify
from tests.unit.cli_support import NOW, Answers, process

CENTRAL_EUROPE = "CET-1CEST,M3.5.0,M10.5.0/3"
AFTER_THE_CHANGE = datetime(2026, 10, 25, 11, tzinfo=UTC)
"""12:00 there: the clocks went back by an hour at 03:00."""


def shown(*told: dict[str, Any], paint: Paint = PLAIN) -> list[str]:
    return list(lines_of(processes_of({"processes": list(told)}), NOW, paint))


async def test_a_list_that_takes_several_answers_is_read_whole_and_the_later_entry_counts() -> None:
    pages = [
        {"processes": [{"process_id": "a-1", "status": "running"}, {"process_id": "b-1"}], "next_cursor": "1|b@1"},
        {"processes": [{"process_id": "c-1"}], "next_cursor": "1|c@1"},
        {"processes": [{"process_id": "a-1", "status": "failed"}]},
    ]
    asked: list[dict[str, Any]] = []

    async def ask(arguments: bytes) -> dict[str, Any]:
        asked.append(msgspec.json.decode(arguments))
        return {"structuredContent": pages[len(asked) - 1]}

    whole = (await whole_list(ask, name="x"))["structuredContent"]
    assert [each["process_id"] for each in whole["processes"]] == ["b-1", "c-1", "a-1"]
    assert whole["processes"][-1]["status"] == "failed"
    assert "next_cursor" not in whole
    assert [each.get("cursor") for each in asked] == [None, "1|b@1", "1|c@1"]
    assert {each["name"] for each in asked} == {"x"}


# Arguments.


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("7", 7), ("1.5 min", 90), ("0", 0)]
)
def test_times_are_typed_as_people_type_them(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 day", "25h", "1e9", "٣s", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["dev"], {"ready": True}),
        (["dev", "--ready"], {"ready": True}),
        (["dev", "--exit"], {"exit": True}),
        (["dev", "--log", "x.*y"], {"log": "x.*y", "since": "1970-01-01T00:00:00Z"}),
        (["dev", "--port", "80"], {"port": 80}),
    ],
)
def test_wait_asks_for_what_was_typed(arguments: list[str], wanted: dict[str, Any]) -> None:
    chosen = dispatch.parser_of(BY_NAME["wait"], wait).parse_args(arguments)
    assert wait.condition_of(chosen) == wanted
    assert (chosen.dir, chosen.name, chosen.script, chosen.timeout) == (Path(), None, "dev", 30.0)


# Which project.


def test_the_closest_instance_is_looked_for_first(tmp_path: Path) -> None:
    below = tmp_path / "packages" / "web"
    ids = list(ids_at(below, None))
    assert ids[:2] == [instance_id_for(below), instance_id_for(tmp_path / "packages")]
    assert ids[-1] == instance_id_for(Path(below.anchor))
    assert next(ids_at(below, "second")) == instance_id_for(below, "second")


@pytest.mark.parametrize("is_worktree", [False, True], ids=["a repository", "a worktree, or a submodule"])
def test_a_repository_within_another_is_a_project_of_its_own(tmp_path: Path, *, is_worktree: bool) -> None:
    inner = tmp_path / "inner"
    below = inner / "src"
    below.mkdir(parents=True)
    for root in (tmp_path, inner):
        (root / ".git").mkdir()
    if is_worktree:
        (inner / ".git").rmdir()
        (inner / ".git").write_text("gitdir: elsewhere\n")
    assert list(ids_at(below, None)) == [instance_id_for(below), instance_id_for(inner)]
    assert list(ids_at(tmp_path / "src", None)) == [instance_id_for(tmp_path / "src"), instance_id_for(tmp_path)]


def test_an_instance_is_started_where_scripts_are_but_not_beyond_the_repository(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("outer: x\n")
    repository = tmp_path / "repository"
    (repository / "src" / "deep").mkdir(parents=True)
    (repository / ".git").mkdir()
    with pytest.raises(NothingToRun):
        project_directory(repository / "src" / "deep")
    (repository / "Makefile").write_text("all:\n\techo\n")
    assert project_directory(repository / "src" / "deep") == repository
    own = repository / "src" / ".brum.toml"
    own.write_text('max_reply = "2MiB"\n')
    assert project_directory(repository / "src" / "deep") == repository, "settings are no script"
    for text in ('[scripts]\nx = "y"\n', "[scripts"):
        own.write_text(text)
        assert project_directory(repository / "src" / "deep") == repository / "src"


def test_a_file_that_can_not_be_understood_is_no_reason_to_look_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("outer: x\n")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "package.json").write_text("<<<<<<< HEAD\n")
    assert project_directory(inner) == inner


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_somebody_else_has_put_above_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("trap: x\n")
    mine = tmp_path / "mine"
    mine.mkdir()
    assert project_directory(mine) == tmp_path
    os.chown(mine, 12_345, -1)
    with pytest.raises(NothingToRun):
        project_directory(mine)


# up.


async def test_an_instance_that_is_ended_while_up_works_is_no_reason_to_advise_up() -> None:
    class Ended(Answers):
        def find(self) -> Record:
            return describe_self(Path("/"), generation="g" * 16, url="http://127.0.0.1:7777/mcp", token="t" * 40)

    with pytest.raises(NotStarted):
        await up.up(Ended(lambda *_: NothingRuns("brum up starts it")), [], argparse.Namespace())


def test_an_instance_in_the_background_has_a_session_and_a_log_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRUMMER_INSTANCES_DIR", str(tmp_path / "instances"))
    started: list[dict[str, Any]] = []

    def popen(command: list[str], **settings: Any) -> SimpleNamespace:
        started.append({"command": command, **settings})
        return SimpleNamespace(pid=os.getpid())

    monkeypatch.setattr(subprocess, "Popen", popen)
    one = background.Background(tmp_path, "second")
    assert started[0]["start_new_session"] is True
    assert started[0]["stdin"] == subprocess.DEVNULL
    assert started[0]["command"][-4:] == ["-d", str(tmp_path), "--name", "second"]
    assert one.log.stat().st_mode & 0o777 == 0o600
    assert one.last_words() == ""
    one.log.write_text("brum: one\nbrum: the reason\n\n")
    assert one.last_words() == "the reason"
    assert background.Background(tmp_path, "second").last_words() == "", "what an earlier one said is not its own"
    one.log.write_bytes(b"x" * (background.LOG_LIMIT_BYTES + 1))
    background.Background(tmp_path, "second")
    assert one.log.stat().st_size == 0


# ps.


def test_the_table_is_aligned_and_tells_how_a_script_ended() -> None:
    assert shown(
        process("dev", urls=["http://localhost:5173/"]),
        process("日本", "failed", pid=None, exit_code=3),
        process("gone", "failed", pid=None, signal="SIGKILL"),
    ) == [
        "NAME  STATE             PID  SINCE  URLS",
        "dev   ready             42   3 min  http://localhost:5173/",
        "日本  failed (exit 3)   -    3 min  -",
        "gone  failed (SIGKILL)  -    3 min  -",
    ]


def test_a_script_that_has_ended_is_shown_since_its_end() -> None:
    ended_at = (NOW - timedelta(seconds=2)).isoformat()
    assert "  2.0 s  " in shown(process("dev", "exited", ended_at=ended_at))[1]


def test_restarts_have_a_column_where_there_were_some() -> None:
    table = shown(process("dev", restarts=3), process("web"))
    assert table[0].split() == ["NAME", "STATE", "PID", "SINCE", "RESTARTS", "URLS"]
    assert [line.split()[-2] for line in table[1:]] == ["3", "0"]


@pytest.mark.parametrize(
    "why", [{"reason": "no such program\nmore"}, {"reason": "exit 1", "first_error": "no such program"}], ids=str
)
def test_the_reason_stands_below_in_one_line(why: dict[str, Any]) -> None:
    assert shown(process("dev", "failed", **why))[2] == "      no such program"


def test_states_and_members_of_another_version_are_no_obstacle() -> None:
    told = process("dev", "levitating", restarts="many", mood={"is": "fine"})
    assert shown(told)[1].split() == ["dev", "levitating", "-", "-", "-"]
    assert "pending" in shown(process("dev", "pending", mood=1))[1]


def test_who_waits_for_a_restart_says_when_it_is() -> None:
    assert " pending (again in 2.5 s) " in shown(process("dev", "pending", restarts=2, next_restart_s=2.5))[1]


def test_a_reason_that_the_state_tells_already_is_not_told_twice() -> None:
    assert len(shown(process("dev", "failed", exit_code=3, reason="exit 3"))) == 2


def test_errors_that_a_script_printed_are_counted_below_it() -> None:
    errors = {"count": 3, "first": "TypeError: x is undefined", "where": "web.js:3"}
    assert shown(process("dev", errors=errors))[2] == "      3 errors, the first: TypeError: x is undefined"
    assert shown(process("dev", "failed", reason="killed", errors=errors))[2] == "      killed"
    one = {"count": 1, "first": "TypeError: x is undefined"}
    assert shown(process("dev", errors=one))[2] == "      1 error: TypeError: x is undefined"


def test_who_waits_for_others_says_for_whom() -> None:
    assert " pending (waits for db, api) " in shown(process("dev", "pending", waits_for=["db", "api"]))[1]


def test_nothing_that_a_script_says_reaches_the_terminal_unseen() -> None:
    table = shown(process("de\x1b[2Jv", "rea\x07dy", urls=["http://x/\x1b]0;"], reason="\x1b[2Joops"), paint=PLAIN)
    assert not any(character in line for line in table for character in "\x1b\x07")


def test_a_state_is_coloured_and_its_column_stays_aligned() -> None:
    table = shown(process("dev"), process("test", "failed"), paint=Paint(colourful=True))
    assert "\x1b[32mready \x1b[0m  42" in table[1]
    assert "\x1b[31mfailed\x1b[0m  42" in table[2]


USAGE: dict[str, Any] = {"process_id": "dev-1", "cpu": 1.256, "memory_mib": 61.4, "processes": 12, "samples": []}


def test_the_table_says_that_a_script_may_wait_for_input_unless_it_serves() -> None:
    asks = process("migrate", "running", ready_at=None, unfinished_line="Continue? [y/N]\x1b[2J")
    assert shown(asks)[2].strip() == "may wait for input: Continue? [y/N]\ufffd[2J (brum attach migrate answers)"
    assert len(shown({**asks, "status": "ready", "ready_at": NOW.isoformat()})) == 2
    assert len(shown({**asks, "status": "exited"})) == 2
    [waiting] = processes_of({"processes": [asks]})
    status, text = wait.verdict("migrate", {"ready": True}, {"matched": False, "waited_s": 1}, waiting)
    assert (status, "brum attach migrate" in text) == (4, True)


def test_with_usage_the_table_says_what_runs_now_and_what_each_run_has_used() -> None:
    told = [
        process("dev", cpu_s=63.2, memory_max_mib=2_150.4),
        process("test", "exited", cpu_s=0.52, memory_max_mib=8.3),
        process("old", "lost"),
    ]
    usages = usages_of({"scripts": [USAGE, {**USAGE, "process_id": "test-1", "cpu": None, "processes": 0}]})
    table = lines_of(processes_of({"processes": told}), NOW, PLAIN, usages)
    assert [[cell.strip() for cell in re.split(r"  +", line)][3:8] for line in table] == [
        ["CPU", "MEMORY", "PROCESSES", "CPU TIME", "PEAK"],
        ["126%", "61 MiB", "12", "1 min", "2.1 GiB"],
        ["-", "61 MiB", "-", "0.5 s", "8 MiB"],
        ["-", "-", "-", "-", "-"],
    ]


def of_an_instance(tool: str, _: dict[str, Any]) -> Any:
    """With a script that runs, and one that has ended."""
    answers: dict[str, Any] = {
        "scripts_status": {"processes": [process("dev"), process("test", "exited", cpu_s=0.5)], "cursor": "x"},
        "scripts_list": {"scripts": [], "problems": []},
        "scripts_usage": {"every_s": 2.0, "scripts": [USAGE]},
    }
    return answers[tool]


PLAINLY, WITH_USAGE, AS_JSON, USAGE_AS_JSON = (
    dispatch.parser_of(BY_NAME["ps"], ps).parse_args(arguments)
    for arguments in ([], ["--usage"], ["--json"], ["--usage", "--json"])
)


async def test_usage_is_asked_for_only_where_it_is_wanted_and_something_runs() -> None:
    plain = Answers(of_an_instance)
    assert await ps.show(plain, PLAINLY) == 0
    assert [tool for tool, _ in plain.asked] == ["scripts_status", "scripts_list"]
    with_usage = Answers(of_an_instance)
    await ps.show(with_usage, WITH_USAGE)
    assert [tool for tool, _ in with_usage.asked] == ["scripts_status", "scripts_list", "scripts_usage"]
    assert with_usage.asked[-1][1]["since"] > 1.7e9  # without the half hour before
    ended = Answers(lambda tool, _: {"processes": [process("dev", "exited")]} if tool == "scripts_status" else {})
    await ps.show(ended, WITH_USAGE)
    assert [tool for tool, _ in ended.asked] == ["scripts_status", "scripts_list"]


async def test_as_json_each_process_has_its_usage(capsys: pytest.CaptureFixture[str]) -> None:
    await ps.show(Answers(of_an_instance), USAGE_AS_JSON)
    dev, test = msgspec.json.decode(capsys.readouterr().out)["processes"]
    assert (dev["cpu"], dev["memory_mib"], dev["processes"]) == (1.256, 61.4, 12)
    assert (test["cpu"], test["memory_mib"], test["processes"], test["cpu_s"]) == (None, None, 0, 0.5)
    await ps.show(Answers(of_an_instance), AS_JSON)
    assert "cpu" not in msgspec.json.decode(capsys.readouterr().out)["processes"][0]


@pytest.mark.parametrize(
    "error", [CallFailed("no such tool", "refused_by_instance"), Unanswered("it does not answer"), NothingRuns("gone")]
)
async def test_without_an_answer_about_usage_the_table_is_there_and_says_so(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Answers(lambda tool, given: error if tool == "scripts_usage" else of_an_instance(tool, given))
    assert await ps.show(project, WITH_USAGE) == 0
    printed = capsys.readouterr()
    assert "dev" in printed.out
    assert "usage" in printed.err


async def test_another_failure_about_usage_is_an_error() -> None:
    failed = CallFailed("a defect", "internal_error")
    project = Answers(lambda tool, given: failed if tool == "scripts_usage" else of_an_instance(tool, given))
    with pytest.raises(CallFailed):
        await ps.show(project, WITH_USAGE)


async def test_of_an_instance_that_is_gone_the_runs_are_shown_with_what_they_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def gone(tool: str, _: dict[str, Any]) -> Any:
        return {"processes": [process("dev", "lost", cpu_s=2.0)]} if "black box" in tool else NothingRuns("nothing")

    assert await ps.show(Answers(gone), WITH_USAGE) == 3
    assert "2.0 s" in capsys.readouterr().out


def test_what_is_no_usage_is_none() -> None:
    assert usages_of({"scripts": [{**USAGE, "processes": "many"}]}) == {}
    assert usages_of({}) == {}


def test_where_nothing_was_started_it_says_what_could_be() -> None:
    assert not_started(["dev", "test"]).endswith("there is dev, test")
    assert "no scripts were found" in not_started([])


def test_what_was_not_understood_in_the_files_is_reported_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [
        {"source": ".brum.toml", "line": 2, "message": "scripts.dev: autostrat can't be set"},
        {"source": "package.json", "line": None, "message": "not UTF-8"},
    ]
    ps.say_problems({"scripts": [], "problems": problems})
    assert capsys.readouterr().err.splitlines() == [
        "brum: .brum.toml:2: scripts.dev: autostrat can't be set",
        "brum: package.json: not UTF-8",
    ]


# wait.


@pytest.mark.parametrize(
    ("wanted", "answer", "status"),
    [
        ({"ready": True}, {"matched": True, "what": "ready"}, 0),
        ({"port": 80}, {"matched": True, "what": "port"}, 0),
        ({"ready": True}, {"matched": False, "waited_s": 3}, EXIT_TIMED_OUT),
        ({"ready": True}, {"matched": False, "process": process("dev", "failed")}, 1),
        ({"exit": True}, {"matched": True, "process": process("dev", "exited", exit_code=0)}, 0),
        ({"exit": True}, {"matched": True, "process": process("dev", "failed", exit_code=3)}, 1),
        ({"exit": True}, {"matched": True, "process": process("dev", "failed", signal="SIGKILL")}, 1),
    ],
)
def test_the_exit_status_of_wait_tells_what_became_of_it(
    wanted: dict[str, Any], answer: dict[str, Any], status: int
) -> None:
    known = processes_of({"processes": [answer["process"]]})[0] if "process" in answer else None
    assert wait.verdict("dev", wanted, answer, known)[0] == status


def test_wait_prints_the_line_that_matched_without_its_tricks() -> None:
    answer = {"matched": True, "what": "log", "line": {"text": "ready \x1b[2Jnow"}}
    assert wait.verdict("dev", {"log": "ready"}, answer, None) == (0, "ready \ufffd[2Jnow")


# logs.


def page(*numbers: int, process: str = "dev", **members: Any) -> dict[str, Any]:
    lines = [{"n": n, "process": process, "text": f"line {n}"} for n in numbers]
    return {"lines": lines, "cursor": f"g.{max(numbers, default=0)}", "dropped": 0, **members}


async def test_lines_of_several_scripts_come_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    answers = {"web": page(1, 4, process="web"), "worker": page(2, 3, process="worker")}
    project = Answers(lambda _, arguments: answers[arguments["process"]])
    readers = [LogReader("web"), LogReader("worker")]
    await logs.print_so_far(project.call, readers, 3, Printer(PLAIN, ["web", "worker"]))
    assert capsys.readouterr().out.splitlines() == ["worker | line 2", "worker | line 3", "web    | line 4"]


async def test_lines_that_do_not_fit_in_an_answer_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    project = Answers(lambda *_: page(8, 9, omitted=7))
    await logs.print_so_far(project.call, [LogReader(None)], 2, Printer(PLAIN))
    assert capsys.readouterr().err == "", "that was all that was asked for"
    await logs.print_so_far(project.call, [LogReader(None)], 5, Printer(PLAIN))
    assert "7 earlier lines" in capsys.readouterr().err


async def test_a_page_is_as_large_as_an_answer_may_be() -> None:
    project = Answers(lambda *_: page(1))
    await LogReader("dev").read(project.call, 5_000)
    assert project.asked == [("logs_tail", {"process": "dev", "limit": 5_000, "limit_bytes": 262_144})]


async def test_filters_are_those_of_the_tools_and_a_search_needs_the_other_tool() -> None:
    project = Answers(lambda *_: page(1))
    await LogReader("dev", Filter(level="error", since="5m")).read(project.call, 10)
    await LogReader(None, Filter(grep="a+")).read(project.call, 10)
    (tail, tail_wants), (search, search_wants) = project.asked
    assert (tail, tail_wants["level"], tail_wants["since"]) == ("logs_tail", "error", "5m")
    assert (search, search_wants["query"], search_wants["regex"]) == ("logs_search", "a+", True)
    assert not {"query", "regex"} & tail_wants.keys()


@pytest.mark.parametrize(
    ("style", "shown_as"),
    [
        (Style(), "dev | hi\n"),
        (Style(has_prefix=False), "hi\n"),
        (Style(has_time=True), f"{local_time(NOW.isoformat(), datetime.now().astimezone())} dev | hi\n"),
        (Style(as_json=True), f'{{"process":"dev","at":"{NOW.isoformat()}","text":"hi"}}\n'),
    ],
)
def test_lines_are_printed_as_they_are_wanted(style: Style, shown_as: str, capsys: pytest.CaptureFixture[str]) -> None:
    Printer(PLAIN, style=style).print([{"process": "dev", "at": NOW.isoformat(), "text": "hi"}])
    assert capsys.readouterr().out == shown_as


def test_the_time_of_a_line_is_local_and_has_its_date_on_another_day(in_zone: Callable[[str], None]) -> None:
    in_zone("EET-2")
    now = datetime(2026, 11, 30, 0, 30).astimezone()
    assert local_time("2026-11-29T22:10:11.123Z", now) == "00:10:11.123"
    assert local_time("2026-11-29T21:59:00Z", now) == "2026-11-29 23:59:00.000"
    assert local_time("of another version", now) == "of another version"


def test_the_time_of_a_line_from_before_a_clock_change_is_the_one_that_clocks_showed(
    in_zone: Callable[[str], None],
) -> None:
    in_zone(CENTRAL_EUROPE)
    assert local_time("2026-10-24T21:50:00Z", AFTER_THE_CHANGE.astimezone()) == "2026-10-24 23:50:00.000"


@pytest.mark.parametrize(("text", "sent"), [("10m", "600.0s"), ("90", "90.0s"), ("3d", "259200.0s")])
def test_a_time_ago_is_sent_as_it_is(text: str, sent: str) -> None:
    assert logs.moment(text) == sent


@pytest.mark.parametrize(
    "text", ["2026-11-30T14:03", "2026-11-30 14:03:11", "2026-11-30", "2026-11-30T14:03:11+05:00", "14:03", "00:00:01"]
)
def test_a_time_without_a_zone_is_local_and_one_of_the_day_is_the_last(text: str) -> None:
    now = datetime.now().astimezone()
    sent = datetime.fromisoformat(logs.moment(text))
    assert sent.tzinfo is not None
    if text.count(":") and "-" not in text:
        assert sent.strftime("%H:%M:%S").startswith(text)
        assert timedelta() <= now - sent < timedelta(days=1, minutes=1)
    else:
        assert sent == datetime.fromisoformat(text).astimezone()


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("23:50", "2026-10-24T23:50:00+02:00"),
        ("01:30", "2026-10-25T01:30:00+02:00"),
        ("11:30", "2026-10-25T11:30:00+01:00"),
        ("12:01", "2026-10-24T12:01:00+02:00"),
    ],
)
def test_a_time_of_day_has_the_offset_of_its_own_day_when_the_clocks_have_changed_since(
    text: str, sent: str, in_zone: Callable[[str], None]
) -> None:
    in_zone(CENTRAL_EUROPE)
    assert logs.moment(text, AFTER_THE_CHANGE.astimezone()) == sent


@pytest.mark.parametrize("text", ["yesterday", "25:00", "", "-5m"])
def test_what_is_no_time_to_look_back_to_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="neither a time"):
        logs.moment(text)


async def test_following_goes_on_behind_the_last_line_and_says_what_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers = iter([page(1), page(5, 6, dropped=3), page(1, cursor_reset=True)])
    project = Answers(lambda *_: next(answers))
    reader, printer = LogReader("dev"), Printer(PLAIN)
    await logs.print_so_far(project.call, [reader], 10, printer)
    coming = LogNews(project.another, [reader], None)
    for _ in range(2):
        logs.print_news(await coming.next(), printer)
    await coming.close()
    assert [arguments.get("cursor") for _, arguments in project.asked] == [None, "g.1", "g.6"]
    assert [arguments.get("wait_s") for _, arguments in project.asked] == [None, NEWS_WAIT_S, NEWS_WAIT_S]
    output = capsys.readouterr()
    assert output.out.splitlines() == ["dev | line 1", "dev | line 5", "dev | line 6", "dev | line 1"]
    assert output.err.splitlines() == [
        "brum: 3 lines are missing here: they came faster than they could be read",
        "brum: the instance was started anew",
    ]


async def test_lines_of_another_run_that_a_black_box_gives_are_no_new_start(capsys: pytest.CaptureFixture[str]) -> None:
    box: dict[str, Any] = {"cursor_reset": True, "from": "black box", "run_since": "2026-11-30T12:00:00.000Z"}
    project = Answers(lambda *_: page(1, **box))
    reader = LogReader("dev", cursor="g.7")
    logs.print_news(News([await reader.read(project.call, 5)], []), Printer(PLAIN))
    assert "brum: these lines are of its run since 2026-11-30T12:00:00.000Z" in capsys.readouterr().err


async def test_what_one_reader_has_read_is_printed_though_another_fails() -> None:
    """The instance has ended with its last line: that is in one answer, and the other call has lost its connection."""

    def answer(tool: str, _: object) -> Any:
        return page(1) if tool == "logs_tail" else NothingRuns("gone")

    coming = LogNews(Answers(answer).another, [LogReader("dev")], EventReader(RunEvents()))
    news = await coming.next()
    assert [len(each.lines) for each in news.pages] == [1]
    with pytest.raises(NothingRuns):
        await coming.next()
    await coming.close()


async def test_a_wait_of_one_reader_goes_on_while_another_has_news() -> None:
    asked: list[str] = []
    never = asyncio.Event()

    class Waiting(Answers):
        async def call(self, tool: str, **arguments: object) -> dict[str, Any]:
            asked.append(str(arguments.get("process")))
            if arguments.get("process") == "quiet":
                await never.wait()
            return page(len(asked))

    readers = [LogReader("busy"), LogReader("quiet")]
    coming = LogNews(Waiting(lambda *_: None).another, readers, None)
    for _ in range(3):
        assert [len(each.lines) for each in (await coming.next()).pages] == [1]
    await coming.close()
    assert sorted(asked) == ["busy"] * 3 + ["quiet"]
    assert len(asyncio.all_tasks()) == 1


async def test_an_instance_that_does_not_wait_is_asked_four_times_a_second_at_most() -> None:
    coming = LogNews(Answers(lambda *_: page()).another, [LogReader("dev")], None)
    began_s = asyncio.get_running_loop().time()
    for _ in range(2):
        assert (await coming.next()).is_empty
    await coming.close()
    assert asyncio.get_running_loop().time() - began_s >= 2 * UNPREPARED_S


async def test_following_outlives_the_instance_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    back = asyncio.Event()
    answers: list[Any] = [NothingRuns("gone"), NothingRuns("gone"), page(1, cursor_reset=True)]

    def answer(tool: str, _: object) -> Any:
        if "black box" in tool:
            return page(7)
        if answers:
            return answers.pop(0)
        back.set()
        return page()

    monkeypatch.setattr(logs, "AWAY_S", 0.0)
    following = asyncio.create_task(logs.follow(Answers(answer), [LogReader(None)], Printer(PLAIN)))
    async with asyncio.timeout(30):
        await back.wait()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    output = capsys.readouterr()
    assert output.out.splitlines() == ["dev | line 7", "dev | line 1"], "first what the box has of its last moments"
    assert [("has ended" in line, "started anew" in line) for line in output.err.splitlines()] == [
        (True, False),
        (False, True),
    ]


# down.


def record_of(child: subprocess.Popen[bytes], **members: Any) -> Record:
    identity = identify(child.pid)
    assert identity is not None
    facts = {"pid": identity.pid, "start_token": identity.start_token, **members}
    own = describe_self(Path("/"), generation="g" * 16, url="http://127.0.0.1:7777/mcp", token="t" * 40)
    return msgspec.structs.replace(own, **facts)


@pytest.fixture
def child() -> Any:
    with subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


async def test_down_ends_a_stopped_instance_too(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGSTOP)
    await end_instance(record_of(child), 10.0, kill=False)
    assert child.wait(5) == -signal.SIGTERM


@pytest.mark.promise("only-its-own")
async def test_down_never_signals_somebody_who_has_its_pid_by_now(child: subprocess.Popen[bytes]) -> None:
    await end_instance(record_of(child, start_token=1), 10.0, kill=True)
    assert child.poll() is None


async def test_down_leaves_alone_what_runs_in_another_container(child: subprocess.Popen[bytes]) -> None:
    with pytest.raises(OutOfReach):
        await end_instance(record_of(child, pid_namespace=7), 10.0, kill=True)
    assert child.poll() is None


async def test_an_instance_that_does_not_end_is_an_error_that_names_the_way_out(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(down, "signal_process", lambda *_: True)
    with pytest.raises(StillRunning) as raised:
        await end_instance(record_of(child), 0.01, kill=False)
    assert str(child.pid) in raised.value.message


@pytest.mark.skipif(sys.platform != "linux", reason="who has a file open is told by /proc")
def test_only_who_has_the_lock_open_is_killed_for_it(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    lock = tmp_path / ".shop.scripts"
    lock.touch()
    assert not down.kill_holder(lock, child.pid)
    assert child.poll() is None
    with lock.open() as held, subprocess.Popen(["sleep", "60"], pass_fds=[held.fileno()]) as holder:
        assert down.kill_holder(lock, holder.pid)
        assert holder.wait(5) == -signal.SIGKILL
    assert not down.kill_holder(lock, holder.pid)
