"""The commands of a project as a whole: what they ask the instance, what they print, and their exit status."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from brummer.cli import background
from brummer.cli import project as projects
from brummer.cli.commands import down, wait
from brummer.cli.instance_calls import InstanceStopped, NothingRuns, Unanswered
from brummer.contract.tools import CALL_ANSWER_S, NEWS_WAIT_S, UNTIL_BLACK_BOX_S
from brummer.core.errors import ConnectionRefused, InvalidArguments
from brummer.discovery.directory import black_box_directory
from brummer.discovery.record import Record, instance_id_for
from brummer.discovery.registrar import lock_path
from brummer.instance.environment import packed
from brummer.logs.journal.files import LostLines, ProjectFiles, RunFiles
from brummer.logs.journal.record_format import About, stem
from brummer.logs.output import Line
from brummer.wire.mcp.tool_arguments import ArgumentDecoder
from tests.unit.cli_support import Brum, commands_in_this_process, own_surroundings
from tests.unit.discovery_support import Owner

ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="platform: /proc shows which files a process has open")


class Failed(NamedTuple):
    """The result of a call that failed in the instance."""

    message: str
    code: str = "internal"
    context: dict[str, Any] = {}  # noqa: RUF012 - never written to


class Instance:
    """Answers in place of `InstanceCalls`. ``answers``: for each tool the structured contents of its answers, errors to
    raise, or functions that return one of these; the last one is repeated.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.patience_s: list[float] = []
        self.wait_s = self.return_s = 0.0
        self.is_closed = False
        self.last_generation: str | None = None

    def calls(self, find: Callable[[], Record], return_s: float = 0.0) -> "Instance":
        self.return_s = return_s
        return self

    async def result(self, tool: str, arguments: bytes, patience_s: float, wait_s: float) -> dict[str, Any]:
        self.asked.append((tool, msgspec.json.decode(arguments)))
        self.patience_s.append(patience_s)
        self.wait_s = wait_s
        answers = self.answers[tool]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer = answer() if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Failed):
            return {"isError": True, "structuredContent": {"error": answer._asdict()}}
        return {"structuredContent": msgspec.json.decode(msgspec.json.encode(answer))}

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_surroundings(tmp_path, monkeypatch)


@pytest.fixture
def brum(instances: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Brum]:
    with commands_in_this_process(capsys) as run:
        yield run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository, so that no directory above it counts."""
    directory = tmp_path / "shop"
    (directory / ".git").mkdir(parents=True)
    return directory


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Instance:
    made = Instance()
    monkeypatch.setattr(projects, "InstanceCalls", made.calls)
    return made


@pytest.fixture
def owner(instances: Path, project: Path) -> Iterator[Owner]:
    """A process that holds the life lock of the project."""
    made = Owner(instances, project)
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture
def lock(instances: Path, owner: Owner) -> Path:
    """The life lock of an instance without a record, with the pid of its process."""
    path = lock_path(instances, owner.record.instance_id)
    path.write_text(f"{owner.process.pid}\n")
    return path


def process(name: str = "dev", status: str = "ready", minute: int | None = 0, **members: Any) -> dict[str, Any]:
    started_at = None if minute is None else f"2026-11-23T14:{minute:02}:00Z"
    return {"process_id": f"{name}-1", "name": name, "status": status, "started_at": started_at, **members}


def its_environment() -> str:
    """That of this process, as a call carries it."""
    return base64.b64encode(packed(os.environ)).decode()


def first_words(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()]


def leave_black_box(project: Path, generation: str) -> None:
    """Have a run of the project's instance leave one line and one process behind."""
    about = About(instance_id_for(project), "shop", str(project))
    files = RunFiles(ProjectFiles(lambda: black_box_directory(os.environ), about), stem(generation, 1, "dev"))
    line = Line(1, "dev", "stderr", "2026-01-01T00:00:00.000Z", "no route")
    facts = process("dev", "running") | {"pid": 7, "ended_at": None}
    files.write([line], [(1, {"n": 1, "kind": "started"}, facts)], LostLines(), is_last=True)


# ps.


def test_ps_shows_scripts_in_the_order_of_their_start(brum: Brum, instance: Instance, project: Path) -> None:
    told = [process("job", "pending", None), process("web", "running", 5), process("db", "ready", 1)]
    instance.answers = {
        "scripts_status": [{"processes": told}],
        "scripts_list": [{"scripts": [], "problems": [{"source": "Makefile", "line": 3, "message": "not UTF-8"}]}],
    }
    ran = brum("ps", "-d", str(project))
    assert ran.status == 0
    assert first_words(ran.out) == ["NAME", "db", "web", "job"]
    assert ran.err == "brum: Makefile:3: not UTF-8\n"
    assert instance.is_closed


def test_ps_prints_the_answer_of_the_instance_as_json(brum: Brum, instance: Instance, project: Path) -> None:
    answer = {"processes": [process(mood="fine")]}
    instance.answers = {"scripts_status": [answer], "scripts_list": [{"scripts": []}]}
    ran = brum("ps", "--json", "-d", str(project))
    assert (ran.status, json.loads(ran.out)) == (0, answer)


def test_ps_names_the_scripts_where_none_was_started(brum: Brum, instance: Instance, project: Path) -> None:
    scripts = [{"name": "dev"}, {"name": "test"}]
    instance.answers = {"scripts_status": [{"processes": []}], "scripts_list": [{"scripts": scripts}]}
    ran = brum("ps", "-d", str(project))
    assert (ran.status, ran.out) == (0, "")
    assert ran.err.endswith("there is dev, test\n")


@pytest.mark.parametrize("words", [["ps"], ["ps", "--name", "second"], ["logs"], ["wait", "dev"], ["restart"]])
def test_without_an_instance_the_exit_status_is_3(
    brum: Brum, instance: Instance, project: Path, words: list[str]
) -> None:
    none = NothingRuns("nothing runs; brum up starts it")
    instance.answers = {tool: [none] for tool in ("scripts_status", "logs_tail", "wait_for")}
    ran = brum(*words, "-d", str(project))
    assert (ran.status, ran.out) == (3, "")
    assert "brum up starts it" in ran.err
    assert ("no instance called second" in ran.err) is ("second" in words)


@pytest.mark.parametrize(("command", "shown"), [("ps", "lost"), ("logs", "no route")])
def test_the_black_box_answers_for_an_instance_that_has_ended(
    brum: Brum, instance: Instance, project: Path, command: str, shown: str
) -> None:
    leave_black_box(project, "generation-1")
    none = NothingRuns("nothing runs")
    instance.answers = {"scripts_status": [none], "logs_tail": [none]}
    ran = brum(command, "-d", str(project))
    assert ran.status == 3
    assert shown in ran.out
    assert ran.err.startswith(f"brum: nothing runs for {project} (brum up starts it); this is from its black box")


def test_the_black_box_answers_for_an_instance_that_is_silent(
    brum: Brum, instance: Instance, project: Path, owner: Owner
) -> None:
    leave_black_box(project, owner.publish().generation)
    silent = Unanswered("shop does not answer")
    instance.answers = {"scripts_status": [silent], "scripts_list": [{"scripts": []}]}
    ran = brum("ps", "-d", str(project))
    assert ran.status == 0
    assert first_words(ran.out) == ["NAME", "dev"]
    assert ran.err.startswith("brum: shop does not answer; this is from its black box, written at ")
    assert instance.patience_s[0] == UNTIL_BLACK_BOX_S


def test_a_silent_instance_without_a_black_box_is_asked_again_for_longer(
    brum: Brum, instance: Instance, project: Path, owner: Owner
) -> None:
    owner.publish()
    instance.answers = {
        "scripts_status": [Unanswered("shop does not answer"), {"processes": [process()]}],
        "scripts_list": [{"scripts": []}],
    }
    ran = brum("ps", "-d", str(project))
    assert (ran.status, ran.err) == (0, "")
    assert instance.patience_s[:2] == [UNTIL_BLACK_BOX_S, CALL_ANSWER_S]


@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (Failed("no such argument", "invalid_arguments"), 2, "no such argument"),
        (Failed("out of memory"), 1, "out of memory"),
        (ConnectionRefused("the connection was refused"), 1, "the connection was refused"),
        (InstanceStopped("shop is stopped"), 1, "shop is stopped"),
    ],
)
def test_a_call_that_fails_is_reported_in_one_line(
    brum: Brum, instance: Instance, project: Path, failure: object, status: int, said: str
) -> None:
    instance.answers = {"scripts_status": [failure]}
    assert brum("ps", "-d", str(project)) == (status, "", f"brum: {said}\n")
    assert instance.is_closed


class RunScriptOfOld(msgspec.Struct, forbid_unknown_fields=True):
    """Before there was ``environment``."""

    name: str
    wait: str = "ready"
    timeout_s: float = 30.0


def refused(kind: type[msgspec.Struct], **arguments: object) -> Failed:
    """As an instance refuses it whose tool has these arguments."""
    with pytest.raises(InvalidArguments) as caught:
        ArgumentDecoder("scripts_run", kind).decode(msgspec.json.encode(arguments))
    return Failed(caught.value.message, caught.value.code, caught.value.context)


OLD = [
    refused(RunScriptOfOld, name="dev", environment="e"),
    Failed("scripts_run: Object contains unknown field `environment`", "invalid_arguments"),
]


@pytest.mark.parametrize("refusal", OLD, ids=["lately", "once"])
def test_an_instance_of_an_older_version_is_asked_without_the_argument_that_it_does_not_know(
    brum: Brum, instance: Instance, project: Path, owner: Owner, refusal: Failed
) -> None:
    owner.publish()
    instance.answers = {
        "scripts_list": [{"scripts": []}],
        "scripts_run": [refusal, process()],
        "scripts_status": [{"processes": [process()]}],
    }
    ran = brum("up", "dev", "-d", str(project))
    assert ran.status == 0
    asked = [arguments for tool, arguments in instance.asked if tool == "scripts_run"]
    known = {"name", "wait", "asked_by"}
    assert [set(arguments) for arguments in asked] == [{*known, "environment"}, known]
    assert "another version of Brummer: scripts start in the environment of the instance" in ran.err
    assert "brum down, then brum up" in ran.err


def test_the_cursor_of_an_older_version_continues_where_its_answer_ended(
    brum: Brum, instance: Instance, project: Path, owner: Owner
) -> None:
    """A second answer to the same reader would begin anew without it."""
    owner.publish()
    old = {**page(1, 2), "next_cursor": "g.2"}
    del old["cursor"]

    def interrupted() -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGINT)
        return page(3)

    instance.answers = {"changes_since": [{"changes": []}], "logs_tail": [old, interrupted]}
    ran = brum("logs", "-f", "-d", str(project))
    assert (ran.status, ran.err) == (0, "")
    assert [asked.get("cursor") for tool, asked in instance.asked if tool == "logs_tail"][:2] == [None, "g.2"]


def test_an_argument_that_can_not_be_left_out_is_refused_with_what_to_do(
    brum: Brum, instance: Instance, project: Path, owner: Owner
) -> None:
    owner.publish()
    why = Failed("logs_tail: Object contains unknown field `since`", "invalid_arguments")
    instance.answers = {"logs_tail": [why]}
    ran = brum("logs", "--since", "5m", "-d", str(project))
    assert ran.status == 2
    assert "logs_tail has no `since`; brum down, then brum up" in ran.err
    assert len(instance.asked) == 1


def test_a_wrong_value_of_an_argument_is_not_taken_for_an_older_version(
    brum: Brum, instance: Instance, project: Path, owner: Owner
) -> None:
    owner.publish()
    instance.answers = {"scripts_list": [{"scripts": []}], "scripts_run": [refused(RunScriptOfOld, name=5)]}
    instance.answers["scripts_status"] = [{"processes": []}]
    ran = brum("up", "dev", "-d", str(project))
    assert (ran.status, "another version" in ran.err) == (1, False)


def test_a_list_whose_next_page_fails_is_a_failure(brum: Brum, instance: Instance, project: Path) -> None:
    instance.answers = {
        "scripts_status": [{"processes": [process()], "next_cursor": "1"}, Failed("the cursor is unknown")],
    }
    assert brum("ps", "-d", str(project)) == (1, "", "brum: the cursor is unknown\n")
    assert instance.asked == [("scripts_status", {}), ("scripts_status", {"cursor": "1"})]


# logs.


def page(*numbers: int, process: str = "dev") -> dict[str, Any]:
    lines = [{"n": n, "process": process, "text": f"line {n}"} for n in numbers]
    return {"lines": lines, "cursor": f"g.{max(numbers)}", "dropped": 0}


def test_logs_reads_each_named_script_once(brum: Brum, instance: Instance, project: Path) -> None:
    instance.answers = {"logs_tail": [page(1, 3), page(2, process="web")]}
    ran = brum("logs", "dev", "web", "dev", "-n", "2", "-d", str(project))
    assert (ran.status, ran.out) == (0, "web | line 2\ndev | line 3\n")
    assert [(arguments["process"], arguments["limit"]) for _, arguments in instance.asked] == [("dev", 2), ("web", 2)]


@pytest.mark.parametrize(
    ("options", "tool", "sent"),
    [
        (["--errors"], "logs_tail", {"level": "error", "limit": 100}),
        (["--level", "warning", "-n", "5"], "logs_tail", {"level": "warning", "limit": 5}),
        (["--since", "5m"], "logs_tail", {"since": "300.0s", "limit": 5_000}),
        (["--grep", "li.e", "--since", "1h", "-n", "7"], "logs_search", {"query": "li.e", "regex": True, "limit": 7}),
    ],
)
def test_logs_passes_its_filters_on(
    brum: Brum, instance: Instance, project: Path, options: list[str], tool: str, sent: dict[str, Any]
) -> None:
    instance.answers = {tool: [page(1)]}
    assert brum("logs", *options, "--json", "-d", str(project)).out == '{"n":1,"process":"dev","text":"line 1"}\n'
    assert sent.items() <= instance.asked[0][1].items()


@pytest.mark.parametrize("option", ["--since=soon", "--level=grave", "--grep=", "--errors --level=info"])
def test_logs_refuses_filters_that_say_nothing(brum: Brum, instance: Instance, option: str) -> None:
    with pytest.raises(SystemExit) as raised:
        brum("logs", *option.split())
    assert (raised.value.code, instance.asked) == (2, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_logs_follows_until_a_signal(brum: Brum, instance: Instance, project: Path, number: signal.Signals) -> None:
    def interrupted() -> dict[str, Any]:
        os.kill(os.getpid(), number)
        return page()

    instance.answers = {
        "logs_tail": [page(1), page(2), interrupted],
        "changes_since": [{"changes": [], "cursor": "g.0"}],
    }
    ran = brum("logs", "-f", "-d", str(project))
    assert (ran.status, ran.out) == (0, "dev  | line 1\ndev  | line 2\n")
    asked = [arguments.get("cursor") for tool, arguments in instance.asked if tool == "logs_tail"]
    assert asked == [None, "g.1", "g.2"]
    assert instance.wait_s == NEWS_WAIT_S, "beside the time for an answer"


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], "dev  | line 1\ndev  | line 2\nbrum | dev failed (exit 3)\ndev  | line 3\n"),
        (["--no-prefix"], "line 1\nline 2\nline 3\n"),
        (["--grep", "line"], "dev | line 1\ndev | line 2\ndev | line 3\n"),
        (["web"], "dev  | line 1\ndev  | line 2\ndev  | line 3\n"),
    ],
)
def test_logs_that_follow_show_what_happens_to_the_scripts_among_their_lines(
    brum: Brum, instance: Instance, project: Path, options: list[str], shown: str
) -> None:
    def interrupted() -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return page()

    def at_second(*numbers: int) -> dict[str, Any]:
        answer = page(*numbers)
        return {**answer, "lines": [{**line, "at": f"2026-11-23T14:05:0{line['n']}.000Z"} for line in answer["lines"]]}

    failed = {"n": 1, "at": "2026-11-23T14:05:02.500Z", "kind": "failed", "process": "dev", "exit_code": 3}
    changes = [{"changes": [], "cursor": "g.0"}, {"changes": [failed], "cursor": "g.1"}]
    lines = [at_second(1), at_second(2, 3), interrupted]
    instance.answers = {"logs_tail": lines, "logs_search": lines, "changes_since": changes}
    assert brum("logs", "-f", *options, "-d", str(project)).out == shown


@pytest.mark.parametrize("lines", ["many", "5001", "-1"])
def test_logs_refuses_what_is_no_number_of_lines(
    brum: Brum, instance: Instance, lines: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        brum("logs", f"--lines={lines}")
    assert raised.value.code == 2
    assert f"{lines} is not a number of lines (0 to 5000)" in capsys.readouterr().err
    assert instance.asked == []


# wait.


@pytest.mark.parametrize(("matched", "status"), [(True, 0), (False, 4)])
def test_wait_prints_the_answer_of_the_tool_as_json(
    brum: Brum, instance: Instance, project: Path, *, matched: bool, status: int
) -> None:
    answer = {"matched": matched, "waited_s": 1.0, "process": process(status="running")}
    instance.answers = {"wait_for": [answer]}
    ran = brum("wait", "dev", "--json", "-d", str(project))
    assert (ran.status, json.loads(ran.out), ran.err) == (status, answer, "")


@pytest.mark.parametrize(
    ("answer", "status", "out", "err"),
    [
        (
            {"matched": True, "process": process(urls=["http://localhost:80/"])},
            0,
            "dev is ready http://localhost:80/",
            "",
        ),
        ({"matched": False, "waited_s": 7}, 4, "", "dev: the condition did not come true in 7 s; it is not started"),
        (
            {"matched": False, "process": process(status="failed", exit_code=3)},
            1,
            "",
            "dev has ended before the condition came true: it is failed (exit 3)",
        ),
    ],
)
def test_wait_tells_on_which_stream_what_became_of_it(
    brum: Brum, instance: Instance, project: Path, answer: dict[str, Any], status: int, out: str, err: str
) -> None:
    instance.answers = {"wait_for": [answer]}
    ran = brum("wait", "dev", "--timeout", "7s", "-d", str(project))
    assert ran == (status, out and f"{out}\n", err and f"brum: {err}\n")
    assert instance.asked == [("wait_for", {"process": "dev", "timeout_s": 7.0, "ready": True})]
    assert (instance.wait_s, instance.return_s) == (7.0, wait.INSTANCE_RETURN_S)


# up and restart.


def test_restart_without_a_name_restarts_what_runs(brum: Brum, instance: Instance, project: Path) -> None:
    before = [process("db"), process("web", "running"), process("job", "exited")]
    instance.answers = {
        "scripts_status": [{"processes": before}],
        "scripts_list": [{"scripts": []}],
        "scripts_restart": [process("db"), process("web")],
    }
    ran = brum("restart", "--no-wait", "-d", str(project))
    assert ran.status == 0
    assert first_words(ran.out) == ["NAME", "db", "web"]
    restarted = [arguments for tool, arguments in instance.asked if tool == "scripts_restart"]
    assert [arguments.pop("environment") for arguments in restarted] == [its_environment()] * 2
    assert restarted == [{"name": name, "wait": "none", "asked_by": "command line"} for name in ("db", "web")]


def test_restart_restarts_what_is_named_and_nothing_else(brum: Brum, instance: Instance, project: Path) -> None:
    instance.answers = {
        "scripts_status": [{"processes": [process("db"), process("web")]}],
        "scripts_list": [{"scripts": []}],
        "scripts_restart": [process("web")],
    }
    ran = brum("restart", "web", "--no-wait", "-d", str(project))
    assert (ran.status, first_words(ran.out)) == (0, ["NAME", "web"])


def test_restart_starts_nothing_where_nothing_runs(brum: Brum, instance: Instance, project: Path) -> None:
    instance.answers = {"scripts_status": [{"processes": [process("job", "exited")]}]}
    ran = brum("restart", "-d", str(project))
    assert ran == (3, "", "brum: no script runs here; brum up starts some\n")
    assert [tool for tool, _ in instance.asked] == ["scripts_status"]


def test_up_starts_the_usual_script_of_an_instance_that_runs(
    brum: Brum, instance: Instance, project: Path, owner: Owner
) -> None:
    record = owner.publish()
    (project / "justfile").write_text("test:\n  x\ndev:\n  x\n")
    instance.answers = {
        "scripts_list": [{"scripts": [{"name": "test"}, {"name": "dev"}]}],
        "scripts_run": [process("dev", "starting")],
        "wait_for": [{"matched": True, "process": process("dev")}],
        "scripts_status": [{"processes": [process("dev")]}],
    }
    ran = brum("up", "-d", str(project))
    assert (ran.status, first_words(ran.out)) == (0, ["NAME", "dev"])
    assert ran.err == f"brum: dev (from justfile)\nbrum: {record.name} runs already ({record.directory})\n"
    wanted = {"name": "dev", "wait": "none", "environment": its_environment(), "asked_by": "command line"}
    assert ("scripts_run", wanted) in instance.asked


def test_up_says_from_when_the_environment_is_of_a_script_that_runs_already(
    brum: Brum, instance: Instance, project: Path, owner: Owner
) -> None:
    owner.publish()
    instance.answers = {
        "scripts_list": [{"scripts": []}],
        "scripts_run": [process("dev", environment_from="2026-11-30T09:00:00.000Z", already_running=True)],
        "wait_for": [{"matched": True, "process": process("dev")}],
        "scripts_status": [{"processes": [process("dev")]}],
    }
    ran = brum("up", "dev", "-d", str(project))
    assert ran.status == 0
    assert "an environment from" in ran.err
    assert "brum restart dev" in ran.err


@pytest.mark.parametrize("runs", [True, False], ids=["an instance runs", "none runs"])
def test_up_lists_the_choices_where_no_rule_decides_and_starts_nothing(
    brum: Brum, instance: Instance, project: Path, owner: Owner, started: "list[Started]", *, runs: bool
) -> None:
    if runs:
        owner.publish()
    (project / "Procfile").unlink()
    (project / "justfile").write_text("build:\n  x\ntest:\n  x\n")
    (project / "package.json").write_text("<<<<")
    ran = brum("up", "-d", str(project))
    assert (ran.status, first_words(ran.out)) == (5, ["NAME", "build", "test"])
    assert [line.split()[1] for line in ran.err.splitlines()] == ["package.json:1:", "no"]
    assert (instance.asked, started) == ([], [])


def test_up_tells_a_program_the_choices(brum: Brum, project: Path) -> None:
    (project / "justfile").write_text("build:\n  x\ntest:\n  x\n")
    ran = brum("up", "--json", "-d", str(project))
    told = json.loads(ran.out)["error"]
    assert (ran.status, told["code"], told["choices"]) == (5, "nothing_chosen", ["build", "test"])
    (project / "justfile").write_text("")
    ran = brum("up", "--json", "-d", str(project))
    assert (ran.status, json.loads(ran.out)["error"]["code"]) == (1, "nothing_to_run")


def test_up_shows_no_more_choices_than_fit_on_a_screen(brum: Brum, project: Path) -> None:
    (project / "justfile").write_text("".join(f"task{number}:\n  x\n" for number in range(60)))
    ran = brum("up", "-d", str(project))
    assert (ran.status, len(ran.out.splitlines()), "20 more" in ran.err) == (5, 41, True)


@pytest.mark.parametrize("runs", [True, False], ids=["an instance runs", "none runs"])
def test_up_fails_where_there_are_no_scripts(brum: Brum, project: Path, owner: Owner, *, runs: bool) -> None:
    if runs:
        owner.publish()
    ran = brum("up", "-d", str(project))
    assert (ran.status, ran.out, "no scripts were found" in ran.err) == (1, "", True)


# up, in the background.


class Started:
    """In place of `Background`: a process that ``has_ended``, or runs, and the last words in its log. One that
    ``is_slower`` is not the process that publishes the record.
    """

    has_ended = False
    is_slower = False
    words = ""
    identity = None

    def __init__(self, directory: Path, name: str | None, pid: int) -> None:
        self.directory, self.name, self.log = directory, name, directory / "shop.log"
        self.pid = 0 if self.is_slower else pid
        self.was_ended = False

    def end(self) -> None:
        self.was_ended = True

    def last_words(self) -> str:
        return self.words

    def last_lines(self, count: int) -> list[str]:
        return [self.words][:count]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, project: Path, owner: Owner) -> list[Started]:
    """What was started in the background. The project has a script; its instance has no record yet."""
    (project / "Procfile").write_text("job: true\n")
    found: list[Started] = []

    def start(directory: Path, name: str | None, **_: object) -> Started:
        found.append(Started(directory, name, owner.process.pid))
        return found[-1]

    monkeypatch.setattr(background, "Background", start)
    return found


def publishing(owner: Owner) -> property:
    """An end that is noticed only after another instance has published its record."""
    return property(lambda _: bool(owner.publish()))


@pytest.mark.parametrize("is_slower", [False, True], ids=["alone", "another one is faster"])
def test_up_starts_an_instance_and_waits_for_its_record(
    brum: Brum,
    instance: Instance,
    project: Path,
    owner: Owner,
    started: list[Started],
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_slower: bool,
) -> None:
    monkeypatch.setattr(Started, "has_ended", publishing(owner))
    monkeypatch.setattr(Started, "is_slower", is_slower)
    instance.answers = {
        "scripts_list": [{"scripts": [{"name": "job"}]}],
        "scripts_run": [process("job", "exited")],
        "scripts_status": [{"processes": [process("job", "exited")]}],
    }
    ran = brum("up", "-d", str(project))
    assert ran.status == 0
    [one] = started
    assert ran.err.splitlines()[1] == (
        f"brum: {owner.record.name} runs in the background ({project}); brum down ends it, its log is {one.log}"
    )
    assert (one.directory, one.name, one.was_ended) == (project, None, is_slower)


@pytest.mark.parametrize(("words", "shown"), [("no space is left", "no space is left"), ("", "it logged nothing")])
def test_up_shows_the_last_words_of_an_instance_that_ends_at_once(
    brum: Brum,
    project: Path,
    owner: Owner,
    started: list[Started],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    shown: str,
) -> None:
    owner.kill()
    monkeypatch.setattr(Started, "has_ended", True)
    monkeypatch.setattr(Started, "words", words)
    ran = brum("up", "-d", str(project))
    log = project / "shop.log"
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.splitlines()[1:] == [f"brum: the instance ended at once: {shown} (log: {log})"]


@pytest.mark.parametrize(
    ("has_ended", "words", "said"),
    [
        (False, "waits for the scripts of the previous run", "waits for the scripts of the previous run"),
        (False, "", "waiting for the instance"),
        (True, "", "waiting for the instance that another command has just started"),
    ],
)
def test_up_says_what_it_waits_for_and_gives_up_in_the_end(
    brum: Brum,
    project: Path,
    started: list[Started],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    said: str,
    *,
    has_ended: bool,
) -> None:
    monkeypatch.setattr(background, "NOTICE_S", 0.0)
    monkeypatch.setattr(background, "PUBLISHED_S", 0.05)
    monkeypatch.setattr(Started, "has_ended", has_ended)
    monkeypatch.setattr(Started, "words", words)
    ran = brum("up", "-d", str(project))
    log = project / "shop.log"
    assert ran.status == 1
    assert ran.err.splitlines()[1:] == [f"brum: {said}", f"brum: the instance does not start; its log is {log}"]


def test_up_starts_no_instance_for_a_script_that_is_not_there(
    brum: Brum, project: Path, started: list[Started]
) -> None:
    ran = brum("up", "jub", "-d", str(project))
    assert (ran.status, started) == (1, [])
    assert "job" in ran.err


# down.


def test_down_with_scripts_stops_these_and_leaves_the_instance(
    brum: Brum, instance: Instance, project: Path, owner: Owner
) -> None:
    owner.publish()
    instance.answers = {
        "scripts_stop": [
            process("dev", "stopped"),
            process("web", "exited") | {"already_stopped": True},
            Failed("No script is called 'wob'", "not_found"),
        ]
    }
    ran = brum("down", "dev", "web", "wob", "-d", str(project))
    assert ran == (1, "dev is stopped\nweb is exited already\n", "brum: No script is called 'wob'\n")
    assert [arguments["name"] for _, arguments in instance.asked] == ["dev", "web", "wob"]
    assert {arguments["asked_by"] for _, arguments in instance.asked} == {"command line"}
    assert owner.process.poll() is None


def test_down_prints_what_has_ended_as_json(brum: Brum, instance: Instance, project: Path, owner: Owner) -> None:
    record = owner.publish()
    stopped = process("dev", "stopped")
    instance.answers = {"scripts_stop": [stopped, Failed("No script is called 'wob'", "not_found")]}
    ran = brum("down", "dev", "wob", "--json", "-d", str(project))
    failures = [{"name": "wob", "code": "not_found", "message": "No script is called 'wob'"}]
    assert (ran.status, json.loads(ran.out)) == (1, {"processes": [stopped], "failures": failures})
    ended = json.loads(brum("down", "--json", "-d", str(project)).out)["instance"]
    assert (ended["instance_id"], ended["pid"], ended["directory"]) == (record.instance_id, record.pid, str(project))
    nothing = brum("down", "--json", "-d", str(project))
    assert (nothing.status, json.loads(nothing.out)["error"]["code"]) == (3, "nothing_runs")


def package_of(project: Path) -> Path:
    """A package of a workspace, in which the user stands."""
    (project / "package.json").write_text('{"workspaces": ["web"]}')
    (project / "web").mkdir()
    (project / "web" / "package.json").write_text('{"name": "web", "scripts": {"dev": "x"}}')
    return project / "web"


def test_in_a_package_down_stops_only_its_scripts_while_others_run(
    brum: Brum, instance: Instance, project: Path, owner: Owner
) -> None:
    owner.publish()
    instance.answers = {
        "scripts_status": [{"processes": [process("web:dev"), process("api:dev"), process("old", "exited")]}],
        "scripts_stop": [process("web:dev", "stopped")],
    }
    ran = brum("down", "-d", str(package_of(project)))
    assert (ran.status, ran.out) == (0, "web:dev is stopped\n")
    assert f"go on: api:dev; brum down -d {project} ends all" in ran.err
    assert owner.process.poll() is None


@pytest.mark.parametrize("answer", [Unanswered("shop does not answer"), {"processes": [process("web:dev")]}])
def test_in_a_package_down_ends_the_instance_if_nothing_else_runs_or_it_does_not_answer(
    brum: Brum, instance: Instance, project: Path, owner: Owner, answer: object
) -> None:
    name = owner.publish().name
    instance.answers = {"scripts_status": [answer]}
    assert brum("down", "-d", str(package_of(project))) == (0, f"{name} is down\n", "")


@pytest.mark.parametrize("command", [["ps"], ["wait", "dev"], ["down", "dev"]])
def test_a_command_without_an_instance_prints_its_error_as_json_too(
    brum: Brum, project: Path, command: list[str]
) -> None:
    ran = brum(*command, "--json", "-d", str(project))
    error = json.loads(ran.out)["error"]
    assert (ran.status, error["code"], ran.err) == (3, "nothing_runs", f"brum: {error['message']}\n")


@pytest.mark.parametrize(("words", "number"), [([], signal.SIGTERM), (["--kill"], signal.SIGKILL)])
def test_down_ends_the_instance(
    brum: Brum, project: Path, owner: Owner, words: list[str], number: signal.Signals
) -> None:
    name = owner.publish().name
    assert brum("down", *words, "-d", str(project)) == (0, f"{name} is down\n", "")
    assert owner.process.wait(10) == -number


def test_down_ends_the_instance_of_a_directory_above(brum: Brum, project: Path, owner: Owner) -> None:
    below = project / "src"
    below.mkdir()
    name = owner.publish().name
    assert brum("down", "-d", str(below)) == (0, f"{name} is down\n", "")


@pytest.mark.parametrize("is_there", [True, False], ids=["an empty directory", "no directory"])
def test_down_without_a_record_has_nothing_to_end(
    brum: Brum, project: Path, instances: Path, *, is_there: bool
) -> None:
    if not is_there:
        instances.rmdir()
    ran = brum("down", "-d", str(project))
    assert (ran.status, ran.out) == (3, "")
    assert ran.err == (f"brum: nothing runs for {project}; brum up starts it, brum ls shows what runs elsewhere\n")


def test_down_says_whose_scripts_are_still_being_stopped(brum: Brum, project: Path, lock: Path, owner: Owner) -> None:
    ran = brum("down", "--timeout", "10ms", "-d", str(project))
    assert ran.status == 1
    assert ran.err == (
        f"brum: its scripts are still being stopped (pid {owner.process.pid}); brum down --kill ends them at once\n"
    )
    assert owner.process.poll() is None


@ONLY_LINUX
def test_down_kills_an_instance_that_only_holds_its_lock(brum: Brum, project: Path, lock: Path, owner: Owner) -> None:
    assert brum("down", "--kill", "-d", str(project)) == (0, "it is down\n", "")
    assert owner.process.wait(10) == -signal.SIGKILL


def test_down_kills_no_process_that_does_not_hold_the_lock(brum: Brum, project: Path, lock: Path, owner: Owner) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        for written in ("", f"{other.pid}\n"):
            lock.write_text(written)
            ran = brum("down", "--kill", "-d", str(project))
            assert (ran.status, ran.out) == (1, "")
            assert "can't be signalled from here" in ran.err
            assert (other.poll(), owner.process.poll()) == (None, None)


def test_down_names_the_owner_of_an_instance_that_it_may_not_signal(
    brum: Brum, project: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bool:
        raise PermissionError

    monkeypatch.setattr(down, "signal_process", refuse)
    record = owner.publish()
    ran = brum("down", "-d", str(project))
    assert ran == (1, "", f"brum: {record.name} (pid {record.pid}) belongs to another user\n")
