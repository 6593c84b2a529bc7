"""The commands about the whole machine, and the modes of ``brum`` itself: what they print, and their exit status."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self, cast

import msgspec
import pytest

from brummer.cli import own_hub, ports, surroundings
from brummer.cli.commands import hub, instance, ls, metrics, resource_limits
from brummer.cli.commands.resource_limits import LimitTest
from brummer.cli.mcp_clients import CLIENTS
from brummer.cli.protocol_stream import ProtocolStream
from brummer.cli.status_page import NO_HUB
from brummer.core.errors import BrummerError, ConnectionRefused, NotFound
from brummer.core.metrics import Family, Metric, Sample
from brummer.discovery.events import Appeared, Changed, DirectoryEvent, Gone
from brummer.discovery.record import Record
from brummer.hub import direct_calls, doctor, transports
from brummer.hub.doctor import Finding
from brummer.instance.changes import Change, Kind, Published
from brummer.instance.scripts import ScriptList
from brummer.limit_tests.finding import Measured
from brummer.logs.output import Batch, Line
from brummer.settings.limits import DEFAULTS, Limits
from brummer.settings.servers import Server
from brummer.telemetry import exposition, metrics_server
from brummer.wire.mcp.early_answer import EarlyAnswer
from tests.unit.cli_support import Brum, commands_in_this_process, own_surroundings
from tests.unit.discovery_support import record_of_this_process

RECORD = record_of_this_process(Path("/projects/shop"))
BOX = Server("box", "ssh://devbox")


@pytest.fixture
def brum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Brum]:
    own_surroundings(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    with commands_in_this_process(capsys) as run:
        yield run


# ls.


def test_ls_says_how_an_instance_is_started_where_none_runs(brum: Brum) -> None:
    assert brum("ls") == (0, "no instance is running; start one with `brum` in a project directory\n", "")
    assert json.loads(brum("ls", "--json").out) == {"instances": []}


@pytest.fixture
def instances_list(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a hub answers to `instances_list`, in two parts."""
    told = [
        {
            "instance_id": f"{name}-0000000{n}",
            "state": "ready",
            "pid": n,
            "mcp_url": "http://x",
            "directory": f"/{name}",
        }
        for n, name in enumerate(["shop", "api"])
    ]
    pages = {b"{}": {"instances": told[:1], "next_cursor": "1"}, b'{"cursor":"1"}': {"instances": told[1:]}}

    def with_hub(use: Callable[[object], Awaitable[int]], concerns: Callable[[Any], bool]) -> int:
        assert [concerns(each) for each in (RECORD, Server("docs", "http://h/mcp"), BOX)] == [True, True, False]
        return asyncio.run(use(SimpleNamespace(instances=[])))  # type: ignore[arg-type]

    async def tool_result(_: object, tool: str, arguments: bytes) -> dict[str, Any]:
        assert tool == "instances_list"
        return {"structuredContent": pages[arguments]}

    monkeypatch.setattr(ls, "with_hub", with_hub)
    monkeypatch.setattr(ls, "tool_result", tool_result)
    return told


def test_ls_shows_every_instance_of_a_list_in_several_parts(brum: Brum, instances_list: list[dict[str, Any]]) -> None:
    ran = brum("ls")
    assert ran.status == 0
    assert [line.split() for line in ran.out.splitlines()] == [
        ["PROJECT", "RUNNING", "URL", "DIRECTORY"],
        ["shop-00000000", "ready", "-", "/shop"],
        ["api-00000001", "ready", "-", "/api"],
    ]


def test_ls_prints_the_whole_list_as_json(brum: Brum, instances_list: list[dict[str, Any]]) -> None:
    assert json.loads(brum("ls", "--json").out) == {"instances": instances_list}


class Watched:
    """In place of `Registry`: these events happen, and then no more."""

    def __init__(self, *events: DirectoryEvent) -> None:
        self._events = events

    def __call__(self, directory: Path) -> "Watched":
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def __aiter__(self) -> AsyncIterator[DirectoryEvent]:
        for event in self._events:
            yield event


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Record:
    """An instance appears, changes its address to that of this record, and ends."""
    later = msgspec.structs.replace(RECORD, url="http://127.0.0.1:4001/mcp")
    events = Appeared(RECORD), Changed(RECORD, later), Gone(later, "withdrawn")
    monkeypatch.setattr(ls, "Registry", Watched(*events))
    return later


def test_ls_watch_prints_each_change(brum: Brum, seen: Record) -> None:
    ran = brum("ls", "--watch")
    start = f"{RECORD.instance_id}  pid {RECORD.pid}"
    assert ran.status == 0
    assert ran.out.splitlines() == [
        f"appeared {start}  {RECORD.url}",
        f"changed  {start}  {seen.url}",
        f"gone     {start}  {seen.url}  withdrawn",
    ]


def test_ls_watch_prints_each_change_as_a_line_of_json(brum: Brum, seen: Record) -> None:
    lines = [json.loads(line) for line in brum("ls", "--watch", "--json").out.splitlines()]
    assert [(line["event"], line["url"], line["reason"]) for line in lines] == [
        ("appeared", RECORD.url, ""),
        ("changed", seen.url, ""),
        ("gone", seen.url, "withdrawn"),
    ]
    assert {(line["instance_id"], line["pid"]) for line in lines} == {(RECORD.instance_id, RECORD.pid)}


# call.


def test_call_of_an_instance_that_is_not_there_fails_with_the_answer_of_the_hub(brum: Brum) -> None:
    ran = brum("call", "nowhere", "scripts_list")
    assert ran.status == 1
    assert json.loads(ran.out)["error"]["code"] == "not_found"


def test_call_sends_the_arguments_and_prints_the_answer(brum: Brum, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, Any]] = []

    def with_hub(use: Callable[[object], Awaitable[int]], concerns: Callable[[Any], bool]) -> int:
        assert concerns(RECORD)
        assert [concerns(Server(name, "http://h/mcp")) for name in ("shop", "other")] == [True, False]
        assert not concerns(BOX)
        return asyncio.run(use(None))  # type: ignore[arg-type]

    async def tool_result(_: object, tool: str, arguments: bytes, client: str) -> dict[str, Any]:
        assert client == "command line"
        sent.append((tool, msgspec.json.decode(arguments)))
        return {"structuredContent": {"n": 1}}

    monkeypatch.setattr(own_hub, "with_hub", with_hub)
    monkeypatch.setattr(direct_calls, "tool_result", tool_result)
    ran = brum("call", "shop", "logs_tail", '{"limit": 3}')
    assert (ran.status, json.loads(ran.out)) == (0, {"n": 1})
    assert sent == [("instance_call", {"instance": "shop", "tool": "logs_tail", "arguments": {"limit": 3}})]


def test_call_reaches_the_machine_of_the_instance_and_no_other(brum: Brum, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_hub(_: object, concerns: Callable[[Any], bool]) -> int:
        assert concerns(BOX)
        assert not concerns(Server("second", "ssh://second"))
        return 0

    monkeypatch.setattr(own_hub, "with_hub", with_hub)
    assert brum("call", "shop@box", "scripts_list").status == 0


@pytest.mark.parametrize("arguments", ["{", "[]", "7"])
def test_call_takes_only_an_object_as_arguments(brum: Brum, arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        brum("call", "shop", "logs_tail", arguments)
    assert raised.value.code == 2
    assert "not a JSON object" in capsys.readouterr().err


# doctor.


FINDINGS = {
    "well": [Finding("directory", "ok", "/run/x is private")],
    "noted": [Finding("clock", "note", "it was set", "look at the dates")],
    "ill": [Finding("directory", "ok", "fine"), Finding("locks", "wrong", "none \x1b[2J there", "use a local disk")],
}


@pytest.mark.parametrize(
    ("case", "status", "out"),
    [
        ("well", 0, "ok     directory: /run/x is private\n"),
        ("noted", 0, "note   clock: it was set\n       → look at the dates\n"),
        (
            "ill",
            1,
            "ok     directory: fine\nWRONG  locks: none \ufffd[2J there\n       → use a local disk\n",
        ),
    ],
)
def test_doctor_shows_what_it_finds_and_what_to_do(
    brum: Brum, monkeypatch: pytest.MonkeyPatch, case: str, status: int, out: str
) -> None:
    async def examine(*_: object) -> list[Finding]:
        return FINDINGS[case]

    monkeypatch.setattr(doctor, "examine", examine)
    assert brum("doctor") == (status, out, "")
    ran = brum("doctor", "--json")
    assert ran.status == status
    assert msgspec.convert(json.loads(ran.out)["findings"], list[Finding]) == FINDINGS[case]


# metrics.


CALLS = Family("brummer_calls_total", "counter", "Calls.", (), [Sample((), 7.0)])
HUB = {"pid": 42, "start_token": 1, "boot_id": "b", "pid_namespace": 1, "time_namespace": 1}


class AnsweringHubs:
    """In place of `RunningHubs`."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers = list(answers)

    def __call__(self, directory: Path, request: bytes) -> "AnsweringHubs":
        return self

    async def ask(self) -> list[dict[str, Any]]:
        return self._answers

    async def aclose(self) -> None: ...


class Recorded(Watched):
    """In place of `Registry`: these records are there."""

    def __init__(self, *records: Record) -> None:
        super().__init__()
        self._records = records

    async def scan(self) -> None: ...

    def snapshot(self) -> dict[str, Record]:
        return {record.instance_id: record for record in self._records}


class Clients:
    """In place of `InstanceClient`: what every instance returns, an error to raise, or None for no answer."""

    def __init__(self, answer: bytes | Exception | None) -> None:
        self._answer = answer
        self.closed = 0

    def __call__(self, record: Record) -> "Clients":
        return self

    async def get(self, path: str) -> bytes:
        if self._answer is None:
            await asyncio.Event().wait()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer or b""

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What runs on this machine: the answers of hubs, and the instances with what each of them answers."""

    def are(hubs: Iterable[dict[str, Any]] = (), records: Iterable[Record] = (), answer: Any = b"[]") -> None:
        monkeypatch.setattr(metrics, "RunningHubs", AnsweringHubs(*hubs))
        monkeypatch.setattr(metrics, "Registry", Recorded(*records))
        monkeypatch.setattr(metrics, "InstanceClient", Clients(answer))
        monkeypatch.setattr(metrics, "ANSWER_S", 0.01)
        monkeypatch.setattr(exposition, "process_families", lambda pid: [Metric("pid", "gauge", "Pid.").single(pid)])

    return are


def test_metrics_without_a_source_fails_and_says_so(brum: Brum, sources: Callable[..., None]) -> None:
    sources()
    assert brum("metrics") == (1, "", "brum: no hub and no instance is running\n")


def test_metrics_of_all_sources_are_distinguished_by_a_label(brum: Brum, sources: Callable[..., None]) -> None:
    families = msgspec.to_builtins([CALLS])
    sources([{"hub": HUB, "families": families}], [RECORD], msgspec.json.encode([CALLS]))
    ran = brum("metrics")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.count("# TYPE brummer_calls_total counter") == 1
    assert 'brummer_calls_total{source="hub-42"} 7' in ran.out
    assert f'brummer_calls_total{{source="{RECORD.instance_id}"}} 7' in ran.out
    processes = [line for line in ran.out.splitlines() if line.startswith("pid{")]
    assert len(processes) == 1, "the pid of the hub is of another namespace"
    assert f'source="{RECORD.instance_id}"' in processes[0]


def test_metrics_as_json_have_an_entry_for_each_source(brum: Brum, sources: Callable[..., None]) -> None:
    sources([{"hub": HUB, "families": []}], [RECORD], msgspec.json.encode([CALLS]))
    told = json.loads(brum("metrics", "--json").out)
    assert [(each["source"], each["pid"]) for each in told] == [("hub-42", 0), (RECORD.instance_id, RECORD.pid)]
    assert told[0].get("families") == []
    assert told[1]["families"][0]["name"] == CALLS.name


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"hub": {"pid": 42}, "problems": [{"detail": "hub 42 does not answer"}]}, "hub 42 does not answer"),
        ({"hub": {"pid": 42}, "families": []}, "this version does not understand its answer"),
        ({"hub": HUB, "families": [{"name": 1}]}, "this version does not understand its answer"),
        ({"hub": {"pid": 42}, "problems": []}, "this version does not understand its answer"),
    ],
)
def test_metrics_names_a_hub_without_a_usable_answer(
    brum: Brum, sources: Callable[..., None], answer: dict[str, Any], said: str
) -> None:
    sources([answer])
    ran = brum("metrics")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(f"brum: hub-42: {said}")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ConnectionRefused("the connection was refused"), "the connection was refused"),
        (None, "it does not answer within 0.01 s"),
        (b'{"not": "families"}', "this version does not understand its answer"),
    ],
)
def test_metrics_names_an_instance_without_a_usable_answer(
    brum: Brum, sources: Callable[..., None], answer: object, said: str
) -> None:
    sources([], [RECORD], answer)
    ran = brum("metrics")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(f"brum: {RECORD.instance_id}: {said}")


# status.


def test_status_without_a_hub_is_a_failure_that_says_how_one_is_started(brum: Brum) -> None:
    assert brum("status") == (1, f"{NO_HUB}\n", "")
    assert brum("status", "--json") == (1, "[]\n", "")


def test_status_names_an_unusable_directory(brum: Brum, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "instances").rmdir()
    (tmp_path / "instances").symlink_to(tmp_path / "elsewhere")
    ran = brum("status")
    assert (ran.status, ran.err) == (1, "")
    assert ran.out.startswith("directory_symlink: ")
    [answer] = json.loads(brum("status", "--json").out)
    assert [problem["code"] for problem in answer["problems"]] == ["directory_symlink"]


# brum --settings.


def test_settings_shows_each_value_with_its_source(brum: Brum, tmp_path: Path) -> None:
    (tmp_path / ".brum.toml").write_text('max_request = "3MiB"\n')
    ran = brum("--settings", "--set", "max_reply=2MiB", "--server", "docs=http://127.0.0.1:9/mcp")
    rows = {line.split()[0]: line.split()[1:] for line in ran.out.splitlines()}
    assert (ran.status, ran.err) == (0, "")
    assert rows["SETTING"] == ["VALUE", "SOURCE"]
    assert rows["max_reply"][0] == "2MiB"
    assert rows["max_request"][0] == "3MiB"
    assert rows["max_request"][1].endswith(".brum.toml:1")
    assert rows["use_robust_networking"] == ["true", "default"]
    assert rows["servers.docs"][0] == "http://127.0.0.1:9/mcp"


def test_settings_as_json_have_the_value_and_its_unit(brum: Brum) -> None:
    told = json.loads(brum("--settings", "--json", "--set", "max_reply=2MiB").out)
    [reply] = [each for each in told["settings"] if each["key"] == "max_reply"]
    assert (reply["value"], reply["unit"], reply["shown"]) == (2 << 20, "bytes", "2MiB")
    assert (told["servers"], told["problems"]) == ([], [])


@pytest.mark.parametrize("words", [["--settings"], ["--settings", "--json"], [], ["--test-resource-limits"]])
def test_a_setting_that_is_not_understood_is_a_failure(brum: Brum, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / ".brum.toml").write_text('max_reply = "huge"\n')
    ran = brum(*words)
    assert ran.status == 1
    assert ".brum.toml:1: max_reply" in ran.err
    assert bool(ran.out) is ("--settings" in words)


@pytest.mark.parametrize(
    "words", [["--set", "max_reply=huge"], ["--set", "max_rply=2MiB"], ["--set", "max_reply"], ["--server", "docs"]]
)
def test_a_setting_of_the_command_line_that_is_not_understood_is_a_wrong_argument(
    brum: Brum, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        brum("--settings", *words)
    assert raised.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"brum: argument {words[0]}: ")


# brum --test-resource-limits.


def measured(tested: float, **members: Any) -> Measured:
    facts = {"reached": tested, "edge": tested, "excess": 2, "wanted": "too_many", "got": {"too_many": 2}}
    return Measured(tested, **{**facts, "recovered": True, **members})


async def hold(_: object, value: float) -> Measured:
    return measured(value)


async def exceed(_: object, value: float) -> Measured:
    return measured(value, reached=value + 1, got={}, recovered=False)


async def fail(*_: object) -> Measured:
    raise NotFound("no such file")


async def hang(*_: object) -> Measured:
    await asyncio.Event().wait()
    raise AssertionError


async def interrupt(*_: object) -> Measured:
    os.kill(os.getpid(), signal.SIGINT)
    return await hang()


@pytest.fixture
def limit_tests(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """These tests instead of the real ones; one limit is not tested."""

    def are(*tests: LimitTest) -> None:
        monkeypatch.setattr(resource_limits, "raise_descriptor_limit", lambda _: None)
        monkeypatch.setattr(resource_limits, "LIMIT_TESTS", tests)
        monkeypatch.setattr(resource_limits, "NOT_TESTED", {"open_files": "only Linux shows them"})

    return are


def test_limits_that_hold_are_a_success(brum: Brum, limit_tests: Callable[..., None]) -> None:
    limit_tests(LimitTest("max_reply", hold, 1 << 20), LimitTest("max_parked", hold, 10_000))
    ran = brum("--test-resource-limits", "--set", "max_reply=2MiB", "--set", "max_parked=7")
    assert (ran.status, ran.err) == (0, "")
    *table, note = ran.out.splitlines()
    assert note == "max_reply: 2MiB can't be tested here; it was tested with 1MiB."
    assert [line.split() for line in table] == [
        ["LIMIT", "SET", "REACHED", "THE", "EXCESS", "GOT", "RECOVERED"],
        ["max_reply", "2MiB", "1.00MiB", "2", "too_many", "yes", "held"],
        ["max_parked", "7", "7", "2", "too_many", "yes", "held"],
        ["open_files", str(DEFAULTS.open_files), "-", "-", "-", "skipped:", "only", "Linux", "shows", "them"],
    ]


def test_a_limit_that_does_not_hold_is_a_failure_with_its_reason(
    brum: Brum, limit_tests: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource_limits, "TEST_S", 0.01)
    limit_tests(
        LimitTest("max_parked", exceed, 100), LimitTest("max_reply", fail, 9), LimitTest("max_request", hang, 9)
    )
    ran = brum("--test-resource-limits", "--set", "max_parked=7")
    assert ran.status == 1
    assert ran.out.splitlines()[1].split() == ["max_parked", "7", "8", "nothing", "no", "DID", "NOT", "HOLD"]
    whys = [line.partition(" did not hold: ") for line in ran.err.splitlines()]
    assert [key for key, _, _ in whys] == ["brum: max_parked", "brum: max_reply", "brum: max_request"]
    assert whys[0][2].startswith("8 at once exceed the limit of 7; ")
    assert "no such file" in whys[1][2]
    assert whys[2][2] == "the test did not end within 0.01 s"


def test_the_findings_of_limits_are_json_if_wanted(brum: Brum, limit_tests: Callable[..., None]) -> None:
    limit_tests(LimitTest("max_parked", hold, 100, is_of_calls=True))
    ran = brum("--test-resource-limits", "--json", "--set", "max_parked=7")
    told = json.loads(ran.out)["limits"]
    assert ran.status == 0
    assert [(each["key"], each["verdict"], each["value"]) for each in told] == [
        ("max_parked", "held", 7),
        ("open_files", "skipped", DEFAULTS.open_files),
    ]


def test_ctrl_c_ends_the_test_of_limits_without_findings(brum: Brum, limit_tests: Callable[..., None]) -> None:
    limit_tests(LimitTest("max_parked", interrupt, 100))
    assert brum("--test-resource-limits") == (130, "", "")


# brum --mcp.


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a hub is served with, one list of positional and named arguments for each run."""
    calls: list[Any] = []

    async def serve_stdio(*given: object, **named: object) -> int:
        calls.append((given, named))
        return 0

    async def serve_http(*given: object, announce: Callable[[str], None], **named: object) -> int:
        calls.append((given, named))
        announce("http://127.0.0.1:7700/mcp")
        return 0

    monkeypatch.setattr(transports, "serve_stdio", serve_stdio)
    monkeypatch.setattr(transports, "serve_http", serve_http)
    monkeypatch.setattr(hub, "take", lambda: ProtocolStream(7, 8, EarlyAnswer()))
    return calls


def test_mcp_serves_the_protocol_stream_with_the_settings_of_the_command_line(
    brum: Brum, served: list[Any], tmp_path: Path
) -> None:
    words = ("--set", "max_parked=7", "--server", "docs=http://127.0.0.1:9/mcp", "--metrics", "127.0.0.1:0")
    assert brum("--mcp", *words) == (0, "", "")
    [((stdin, stdout, _, environ, place), named)] = served
    assert (stdin, stdout, environ, place) == (7, 8, os.environ, tmp_path)
    assert named["flags"].values == {"max_parked": 7}
    assert [server.name for server in named["flags"].servers] == ["docs"]
    assert named["metrics"].address == ("127.0.0.1", 0)


def test_mcp_over_http_says_where(brum: Brum, served: list[Any]) -> None:
    ran = brum("--mcp", "--http", "127.0.0.1:7700")
    assert ran == (0, "brum: MCP over HTTP at http://127.0.0.1:7700/mcp\n", "")
    [((port, *_), named)] = served
    assert port.address == ("127.0.0.1", 7700)
    assert named["metrics"] is None


@pytest.mark.parametrize(("remembered", "place"), [("/gone/shop", "/gone/shop"), ("shop", "/"), ("", "/")])
def test_a_hub_whose_directory_was_removed_is_told_its_path(
    brum: Brum, served: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembered: str, place: str
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("PWD", remembered)
    assert brum("--mcp").status == 0
    assert served[0][0][-1] == Path(place)


# brum: an instance.


class RunningInstance:
    """In place of `running_instance`. Its scripts print ``batches`` and then this process gets a signal."""

    def __init__(self, project: Path) -> None:
        self.record = RECORD
        self.manager = SimpleNamespace(output=self, changes=self)
        self.scripts = ScriptList(project)
        self.batches: list[Batch] = []
        self.changes: list[Change] = []
        self.problems: list[BrummerError] = []
        self.signal = signal.SIGTERM
        self.started: list[str] = []
        self.given: Any = None
        self.limits: Limits | None = None
        self.action_at_the_end: object = None

    @contextlib.asynccontextmanager
    async def running(self, given: object, environ: object, *, limits: Limits) -> AsyncIterator["RunningInstance"]:
        self.given, self.limits = given, limits
        yield self
        self.action_at_the_end = signal.getsignal(signal.SIGINT)

    async def families(self) -> list[Family]:
        return []

    def follow(self, follower: Callable[[Batch], None]) -> None:
        self._follower = follower

    def listen(self, listener: Callable[[Published], object]) -> None:
        self._listener = listener

    async def start_scripts(self, names: Iterable[str], *, autostart: bool) -> list[BrummerError]:
        assert autostart, "the foreground starts them, too"
        self.started += names
        for batch in self.batches:
            self._follower(batch)
        for change in self.changes:
            self._listener(cast("Published", SimpleNamespace(change=change)))
        os.kill(os.getpid(), self.signal)
        return self.problems


def batch(process: str, *raw: str, plain: str) -> Batch:
    lines = [Line(n, process, "stdout", "2026-11-23T14:05:00.000Z", plain) for n, _ in enumerate(raw, 1)]
    return Batch(lines, list(raw), plain)


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningInstance:
    made = RunningInstance(tmp_path)
    monkeypatch.setattr(instance, "running_instance", made.running)
    (tmp_path / "Procfile").write_text("dev: true\nweb: true\n")
    return made


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_instance_prints_lines_with_their_names_until_a_signal(
    brum: Brum, running: RunningInstance, number: signal.Signals, tmp_path: Path
) -> None:
    running.signal = number
    running.batches = [batch("dev", "\x1b[31mred\x1b[0m", plain="red"), batch("web", "one", "two", plain="x")]
    ran = brum("dev", "--port", "7000", "--name", "second", "-d", str(tmp_path), "--set", "ledger_entries=9")
    assert (ran.status, ran.out) == (0, "dev  | red\nweb  | x\nweb  | x\n")
    assert ran.err.splitlines() == [
        f"brum: shop ({RECORD.instance_id}) is running",
        "brum: scripts: dev, web; Ctrl-C stops everything",
        "brum: stopping",
    ]
    assert (running.given.project, running.given.port, running.given.name) == (tmp_path, 7000, "second")
    assert running.started == ["dev"]
    assert running.limits is not None
    assert running.limits.ledger_entries == 9
    assert (running.action_at_the_end == signal.SIG_DFL) is (number == signal.SIGINT), "a second Ctrl-C ends at once"


def test_an_instance_prints_lines_as_json_if_wanted(brum: Brum, running: RunningInstance) -> None:
    running.batches = [batch("dev", "\x1b[31mred\x1b[0m", plain="red")]
    ran = brum("--log-json")
    line = {"n": 1, "process": "dev", "stream": "stdout", "at": "2026-11-23T14:05:00.000Z", "text": "red"}
    assert [json.loads(each) for each in ran.out.splitlines()] == [line]


def change(kind: Kind, second: int = 0, **members: Any) -> Change:
    return Change(1, f"2026-11-23T14:05:{second:02}.000Z", kind, "dev", "dev-1", **members)


def test_an_instance_prints_what_happens_to_its_scripts(brum: Brum, running: RunningInstance) -> None:
    running.changes = [
        change("started", pid=42),
        change("url", 1, urls=["http://localhost:80/"]),
        change("ready", 2, urls=["http://localhost:80/"]),
        change("failed", 4, exit_code=3, reason="port 80 is taken", next_restart_s=1.0),
    ]
    assert brum().out.splitlines() == [
        "brum | dev started (pid 42)",
        "brum | dev is ready at http://localhost:80/ (2.0 s)",
        "brum | dev failed (exit 3, after 4.0 s): port 80 is taken; it starts again in 1 s",
    ]
    assert [json.loads(each)["kind"] for each in brum("--log-json").out.splitlines()] == [
        "started",
        "url",
        "ready",
        "failed",
    ]


def test_an_instance_keeps_the_colours_of_its_scripts_on_a_terminal(
    brum: Brum, running: RunningInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brummer.cli.colour.wants_colours", lambda *_, **__: True)
    running.batches = [batch("dev", "\x1b[31mred\x1b[2J", plain="red")]
    [line] = brum().out.splitlines()
    assert line.endswith("dev  |\x1b[0m \x1b[31mred\x1b[0m"), "the colour ends with the line, and nothing is cleared"


def test_a_script_that_can_not_be_started_is_a_failure_of_the_instance(brum: Brum, running: RunningInstance) -> None:
    running.problems = [NotFound("no script is called 'wob'")]
    ran = brum("dev", "wob")
    assert ran.status == 1
    assert "brum: no script is called 'wob'\n" in ran.err


def test_an_instance_says_what_is_wrong_in_the_files_of_its_project(
    brum: Brum, running: RunningInstance, tmp_path: Path
) -> None:
    (tmp_path / "Procfile").unlink()
    (tmp_path / "package.json").write_text("<<<<<<< HEAD\n")
    ran = brum()
    assert ran.err.splitlines()[1].startswith("brum: package.json:1: ")
    assert ran.err.splitlines()[2] == "brum: scripts: none found; Ctrl-C stops everything"


def test_an_instance_runs_on_without_the_port_of_its_metrics(
    brum: Brum, running: RunningInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.asynccontextmanager
    async def serving(
        port: Any, snapshot: Callable[[], Awaitable[list[Family]]], pid: int
    ) -> AsyncIterator[BrummerError]:
        assert (port.address, await snapshot(), pid) == (("127.0.0.1", 9), [], os.getpid())
        yield BrummerError("port 9 is taken")

    monkeypatch.setattr(metrics_server, "serving_metrics", serving)
    ran = brum("dev", "--metrics", "127.0.0.1:9")
    assert (ran.status, running.started) == (0, ["dev"])
    assert "brum: port 9 is taken\n" in ran.err


# The surroundings of the interpreter.


def test_a_directory_of_another_program_comes_last_in_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here, named, elsewhere = (str(tmp_path / name) for name in ("here", "named", "elsewhere"))
    Path(here).mkdir()
    stray, other = ModuleType("json"), ModuleType("csv")
    stray.__file__, other.__file__ = f"{named}{os.sep}json.py", f"{elsewhere}{os.sep}csv.py"
    with monkeypatch.context() as patched:
        patched.chdir(here)
        patched.setenv("PYTHONPATH", named)
        patched.setattr(sys, "path", ["", named, elsewhere, here])
        patched.setattr(sys, "modules", {"json": stray, "csv": other})
        patched.setattr(sys, "warnoptions", [])
        surroundings.make_usable()
        path, modules = sys.path, sys.modules
    assert path == [elsewhere, "", named, here]
    assert modules == {"csv": other}, "json was loaded from a directory of another program"


def test_the_standard_library_is_not_loaded_again_in_a_directory_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    above = str(Path(os.__file__).parents[2])
    with monkeypatch.context() as patched:
        patched.chdir(above)
        patched.delenv("PYTHONPATH", raising=False)
        patched.setattr(sys, "path", [above, "/site-packages"])
        patched.setattr(sys, "modules", {"os": os, "json": json})
        patched.setattr(sys, "warnoptions", [])
        surroundings.make_usable()
        path, modules = sys.path, sys.modules
    assert path == ["/site-packages", above]
    assert modules == {"os": os, "json": json}


def test_in_a_directory_that_was_removed_the_path_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone, elsewhere = tmp_path / "gone", str(tmp_path / "elsewhere")
    gone.mkdir()
    with monkeypatch.context() as patched:
        patched.chdir(gone)
        gone.rmdir()
        patched.delenv("PYTHONPATH", raising=False)
        patched.setattr(sys, "path", [elsewhere])
        patched.setattr(sys, "warnoptions", [])
        surroundings.make_usable()
        path = sys.path
    assert path == [elsewhere]


def test_warnings_that_are_errors_for_another_program_are_none_for_brummer(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("error")
        patched.setattr(sys, "path", [])
        patched.setattr(sys, "warnoptions", ["error::DeprecationWarning"])
        surroundings.make_usable()
        actions = [each[0] for each in warnings.filters]
    assert actions[0] == "default"


# mcp-config.


TITLES = {name: f"{client.title}," for name, client in CLIENTS.items()}


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(ports, "user_token", lambda: "secret")
    return "Bearer secret"


@pytest.mark.parametrize("client", CLIENTS)
def test_mcp_config_shows_one_client_or_all(brum: Brum, client: str) -> None:
    everything, one = brum("mcp-config"), brum("mcp-config", client)
    assert (one.status, one.err) == (0, "")
    assert one.out.strip() in everything.out
    assert "--mcp" in one.out
    others = [title for name, title in TITLES.items() if name != client]
    assert TITLES[client] in one.out
    assert not any(title in one.out for title in others)


@pytest.mark.parametrize(
    ("words", "url"),
    [
        (["cursor", "--http"], "http://127.0.0.1:7700/mcp"),
        (["--http", "cursor"], "http://127.0.0.1:7700/mcp"),
        (["cursor", "--http", "127.0.0.1:80"], "http://127.0.0.1:80/mcp"),
        (["cursor", "--http", "[::1]:80"], "http://[::1]:80/mcp"),
    ],
)
def test_mcp_config_over_http_has_the_address_and_the_token(brum: Brum, token: str, words: list[str], url: str) -> None:
    ran = brum("mcp-config", *words)
    assert ran.status == 0
    server = json.loads(ran.out[ran.out.index("{") :])["mcpServers"]["brummer"]
    assert server == {"url": url, "headers": {"Authorization": token}}
    assert f"--mcp --http {url.removeprefix('http://').removesuffix('/mcp')}" in ran.out.replace("'", "")
    assert "Claude Code" not in ran.out


def test_mcp_config_over_http_of_all_clients_names_the_one_that_can_not(brum: Brum, token: str) -> None:
    out = brum("mcp-config", "--http").out
    assert f"--transport http brummer http://127.0.0.1:7700/mcp --header 'Authorization: {token}'" in out
    assert "\n\nClaude Desktop starts its servers itself: see brum mcp-config claude-desktop\n" in out


@pytest.mark.parametrize("address", ["127.0.0.1", ":80", "127.0.0.1:0x50", "127.0.0.1:65536"])
def test_mcp_config_refuses_what_is_no_address(brum: Brum, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        brum("mcp-config", "--http", address)
    assert raised.value.code == 2
    assert "is not" in capsys.readouterr().err
