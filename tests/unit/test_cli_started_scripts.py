"""How `brum up` and `brum restart` wait for the scripts that they have started, and what they show meanwhile."""

import argparse
import fcntl
import json
import os
import pty
import struct
import termios
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TextIO

import pytest

from brummer.cli import started_scripts
from brummer.cli.colour import PLAIN
from brummer.cli.live_table import LiveTable
from brummer.cli.patience import READY_S, STAYS_S, Patience
from brummer.cli.project import EXIT_TIMED_OUT, CallFailed
from brummer.cli.started_scripts import NOTICE_S, add_waiting, start_scripts
from brummer.contract.processes import ShownProcess, processes_of
from brummer.instance.listening import LONG_S, Listened, listens
from tests.unit.cli_support import NOW, Answers, process

WORKER = process("dev", "running")
WITH_READY = {"scripts": [{"name": "dev", "ready": {"port": 80}}]}


def typed(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--no-color", action="store_true")
    add_waiting(parser)
    return parser.parse_args(options)


def waited(
    *states: dict[str, Any],
    matched: bool = True,
    listing: dict[str, Any] | None = None,
    before: list[dict[str, Any]] | None = None,
) -> Answers:
    """A project in whose answers one script goes through these states, a step with each `wait_for`, the last for ever.
    ``before``: its earlier runs.
    """
    left = list(states)

    def answer(tool: str, arguments: dict[str, Any]) -> Any:
        match tool:
            case "scripts_list":
                return listing or {"scripts": [{"name": "dev"}]}
            case "wait_for":
                if len(left) > 1:
                    left.pop(0)
                return {"matched": matched}
            case "scripts_status":
                return {"processes": [left[0], *((before or []) if "name" in arguments else [process("other")])]}
            case "logs_tail":
                lines = [{"n": 1, "process": "dev", "text": "no route"}]
                return {"lines": lines, "cursor": "g.1", "dropped": 0}
            case _:
                return left[0]

    return Answers(answer)


async def started(project: Answers, *options: str, scripts: tuple[str, ...] = ("dev",)) -> int:
    return await start_scripts(project, "scripts_run", scripts, typed(*options))


def asked(project: Answers, tool: str) -> list[dict[str, Any]]:
    return [arguments for called, arguments in project.asked if called == tool]


def where_nope_is_unknown() -> Answers:
    """There is a script `dev`, and none called `nope`."""
    ready = waited(process())

    async def call(tool: str, **arguments: object) -> dict[str, Any]:
        if tool == "scripts_run" and arguments["name"] == "nope":
            raise CallFailed("No script is called 'nope'", "not_found")
        return await Answers.call(ready, tool, **arguments)

    ready.call = call  # type: ignore[method-assign]
    return ready


async def test_one_script_that_fails_keeps_no_other_from_running(capsys: pytest.CaptureFixture[str]) -> None:
    ready = where_nope_is_unknown()
    assert await started(ready, scripts=("nope", "dev", "dev")) == 1
    output = capsys.readouterr()
    assert "nope" in output.err
    assert [line.split()[0] for line in output.out.splitlines()] == ["NAME", "dev"]
    assert [arguments["name"] for arguments in asked(ready, "scripts_run")] == ["dev"]


async def test_a_script_that_fails_shows_its_last_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert await started(waited(process("dev", "failed", exit_code=3, pid=None)), "--no-wait") == 1
    assert "failed (exit 3)" in (out := capsys.readouterr().out)
    assert out.splitlines()[-1] == "dev | no route"


@pytest.mark.parametrize(
    ("facts", "has_last_words"),
    [
        (process("dev", "failed", exit_code=3), True),
        (process("dev", "failed", signal="SIGKILL"), True),
        (process("dev", "crash-looping", exit_code=1), True),
        (process("dev", "pending", next_restart_s=0.5), True),
        (process("dev", "failed", reason="no such program"), False),
        (process("dev", "exited", exit_code=0), False),
        (process("dev", "pending", waits_for=["db"]), False),
    ],
)
def test_whose_last_lines_are_worth_a_look(facts: dict[str, Any], *, has_last_words: bool) -> None:
    assert processes_of({"processes": [facts]})[0].has_ended_badly is has_last_words


async def test_each_script_is_waited_for_with_one_call_until_it_is_ready_or_has_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = waited(process("dev", "pending"), process())
    assert await started(project) == 0
    [wanted] = asked(project, "wait_for")
    assert {key: wanted[key] for key in ("process", "ready", "exit")} == {"process": "dev", "ready": True, "exit": True}
    assert wanted["timeout_s"] <= NOTICE_S, "then the command says what it waits for"
    assert capsys.readouterr().err == ""


async def test_a_script_that_fails_and_restarts_is_not_waited_for_again() -> None:
    project = waited(process("dev", "pending"), process("dev", "pending", waits_for=["db"]))
    assert await started(project) == 0
    assert len(asked(project, "wait_for")) == 1


async def test_a_script_that_has_run_for_a_moment_is_shown_as_not_listening(
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = waited(WORKER)
    assert await started(project) == 0
    output = capsys.readouterr()
    assert (asked(project, "wait_for"), output.err) == ([], "")
    assert "running; does not listen yet" in output.out


async def test_a_script_that_names_what_proves_it_is_shown_as_not_ready(capsys: pytest.CaptureFixture[str]) -> None:
    assert await started(waited(WORKER, listing=WITH_READY)) == 0
    assert "running; not ready yet" in capsys.readouterr().out


LISTENED = [process("dev", "stopped", ready_at=NOW.isoformat(), ended_at=NOW.isoformat())]
DID_NOT = [process("dev", "stopped", ended_at=NOW.isoformat())]


@pytest.mark.parametrize(
    ("listing", "before", "status"),
    [
        (WITH_READY, [], EXIT_TIMED_OUT),
        (None, LISTENED, EXIT_TIMED_OUT),
        (None, [*DID_NOT, *LISTENED], 0),
        (None, [], 0),
    ],
    ids=["names what proves it", "has listened", "has listened, but not in its last run", "never ran"],
)
async def test_a_wait_fails_only_for_a_script_that_has_to_be_ready(
    capsys: pytest.CaptureFixture[str],
    listing: dict[str, Any] | None,
    before: list[dict[str, Any]],
    status: int,
) -> None:
    project = waited(WORKER, matched=False, listing=listing, before=before)
    assert await started(project, "--timeout", "50ms") == status
    output = capsys.readouterr()
    assert output.out.splitlines()[1].startswith("dev   running; ")
    assert ("not ready within 0.05 s: dev" in output.err) is (status == EXIT_TIMED_OUT)


async def test_what_takes_long_is_named_where_no_table_fills_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(started_scripts, "NOTICE_S", 0.0)
    assert await started(waited(process("dev", "pending"), process())) == 0
    assert capsys.readouterr().err == "brum: waiting for dev (Ctrl-C leaves them running)\n"


async def test_without_a_wait_the_state_is_asked_for_once() -> None:
    project = waited(process("dev", "pending"))
    assert await started(project, "--no-wait") == 0
    assert [tool for tool, _ in project.asked] == ["scripts_list", "scripts_run", "scripts_status"]


async def test_a_program_gets_the_processes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert await started(waited(process(extra=1)), "--json") == 0
    output = capsys.readouterr().out
    assert '"name": "dev"' in output
    assert '"extra": 1' in output
    assert '"other"' not in output


async def test_a_program_is_told_as_json_which_scripts_were_not_started_and_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await started(where_nope_is_unknown(), "--json", scripts=("nope", "dev")) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["failures"] == [{"name": "nope", "code": "not_found", "message": "No script is called 'nope'"}]
    assert [each["name"] for each in told["processes"]] == ["dev"]


# Patience.


def left_s(patience: Patience, process: ShownProcess, age_s: float) -> float:
    assert process.started_at is not None
    return patience.left_s(process, process.started_at + timedelta(seconds=age_s))


@pytest.mark.parametrize(
    ("patience", "age_s", "left"),
    [
        (Patience(), 1, STAYS_S - 1),
        (Patience(), STAYS_S, 0),
        (Patience(must_be_ready=frozenset({"dev"})), STAYS_S, 0),
        (Patience(until_ready=True), 9, LONG_S - 9),
        (Patience(until_ready=True), LONG_S, 0),
        (Patience(until_ready=True, must_be_ready=frozenset({"dev"})), 100, READY_S),
        (Patience(until_ready=True, timeout_s=120, must_be_ready=frozenset({"dev"})), 100, 120),
    ],
)
def test_how_long_a_script_that_runs_is_waited_for(patience: Patience, age_s: float, left: float) -> None:
    [running] = processes_of({"processes": [WORKER]})
    assert left_s(patience, running, age_s) == pytest.approx(left)


@pytest.mark.parametrize("status", ["ready", "exited", "failed", "crash-looping", "stopped"])
def test_a_script_that_is_ready_or_has_ended_is_not_waited_for(status: str) -> None:
    [process_] = processes_of({"processes": [process("dev", status)]})
    assert left_s(Patience(until_ready=True), process_, 0) == 0


def test_a_script_that_waits_for_another_is_waited_for_to_the_end() -> None:
    [pending, again] = processes_of(
        {"processes": [process("dev", "pending"), process("dev", "pending", next_restart_s=2.0)]}
    )
    assert (left_s(Patience(), pending, 20), left_s(Patience(), again, 0)) == (READY_S, 0)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], None),
        ([(False, 9.9)], None),
        ([(False, 10)], False),
        ([(True, 1)], True),
        ([(False, 1), (True, 1), (False, 100)], True),
        ([(False, 1), (False, 100), (True, 1)], False),
    ],
)
def test_the_last_run_that_says_something_decides_whether_a_script_listens(
    runs: list[tuple[bool, float]], expected: object
) -> None:
    assert listens(Listened(*run) for run in runs) is expected


# On a terminal.


END = "\x05"
"""No table has this character."""


class Terminal:
    """A pseudo-terminal of this size, and what was written to it since the last look."""

    def __init__(self, columns: int, lines: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.stream: TextIO = os.fdopen(theirs, "w")

    def shown(self) -> str:
        self.stream.write(END)
        self.stream.flush()
        found = b""
        while not found.endswith(END.encode()):
            found += os.read(self._ours, 65_536)
        return found.decode().removesuffix(END).replace("\r\n", "\n")

    def close(self) -> None:
        self.stream.close()
        os.close(self._ours)

    def table(self, terminal: str | None = "xterm") -> LiveTable:
        return LiveTable(self.stream, PLAIN, (), terminal, is_wanted=True)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal(60, 10)
    try:
        yield made
    finally:
        made.close()


def test_a_table_on_a_terminal_is_replaced_until_the_end(terminal: Terminal) -> None:
    [pending, ready] = processes_of({"processes": [process("dev", "pending"), process()]})
    table = terminal.table()
    table.show([pending])
    assert "pending" in terminal.shown()
    table.show([ready])
    assert terminal.shown().startswith("\x1b[2A\x1b[JNAME")
    table.end([ready])
    last = terminal.shown()
    assert last.startswith("\x1b[2A\x1b[JNAME")
    assert last.endswith("-\n")
    table.end([ready])
    assert "\x1b" not in terminal.shown(), "the last table stays"


def test_a_line_that_the_terminal_breaks_counts_as_several(terminal: Terminal) -> None:
    [wide] = processes_of({"processes": [process(urls=["http://localhost:8000/" + "x" * 60])]})
    table = terminal.table()
    table.show([wide])
    terminal.shown()
    table.end([])
    assert terminal.shown().startswith("\x1b[3A")


def test_a_table_that_is_too_long_for_the_terminal_is_shown_once(terminal: Terminal) -> None:
    processes = processes_of({"processes": [process(f"dev{number}") for number in range(12)]})
    table = terminal.table()
    table.show(processes[:3])
    terminal.shown()
    table.show(processes)
    assert (terminal.shown(), table.is_live) == ("\x1b[4A\x1b[J", False)
    table.end(processes)
    assert terminal.shown().count("\n") == 13


@pytest.mark.parametrize("kind", [None, "", "dumb"])
def test_a_terminal_that_can_not_move_its_cursor_gets_the_table_once(terminal: Terminal, kind: str | None) -> None:
    [ready] = processes_of({"processes": [process()]})
    table = terminal.table(kind)
    table.show([ready])
    table.end([ready])
    assert terminal.shown().startswith("NAME")
