"""Restarts, dependencies, proofs of readiness, and the ways in which real processes fail."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from brummer.core.errors import Internal, NotFound
from brummer.host.patterns import RESERVE_S, Reserve
from brummer.host.pids import identify
from brummer.instance import dependencies, environment
from brummer.instance.dependencies import DependencyFailed
from brummer.instance.detect import ProcfileLine, Ready, Restart, Script
from brummer.instance.environment import EnvFileUnusable, Environment
from brummer.instance.live_run import Tuning
from brummer.instance.manager import Manager, Until
from brummer.instance.restart_policy import LOOP_ENDS
from brummer.instance.run import Run
from brummer.process.guard import Guard

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="platform: /proc tells who listens")

WITHIN_S = 30
"""Five starts one after the other take a second; a busy machine may need twenty times as long."""
GENERATION = uuid4().hex
"""Of this test run alone: what carries its mark is ended wherever it is."""
SLEEP = "exec sleep 600"
LISTENS = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(600)
"""
HTTP = """
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Page.asked += 1
        self.send_response(200 if self.path == "/health?deep=1" and Page.asked > 1 else 503)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""
DAEMON = """
import os, pathlib, signal, sys, time
def save(*_):
    time.sleep(0.7)
    state.write_text("saved")
    os._exit(0)
state = pathlib.Path(sys.argv[1])
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, save)
    state.write_text("dirty")
elif "exit" in sys.argv:
    os._exit(0)
time.sleep(600)
"""
PATIENT_HTTP = """
import http.server, sys, time
while True:
    try:
        http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
    except OSError:
        time.sleep(0.01)
"""


class World:
    """A manager, and the scripts that it can find."""

    def __init__(self, **tuning: float) -> None:
        self.scripts: dict[str, Script] = {}
        self.manager = Manager(GENERATION, Guard(GENERATION), find=self.find, tuning=Tuning(**tuning))  # type: ignore[arg-type]

    def find(self, name: str) -> Script:
        if name not in self.scripts:
            raise NotFound(f"No script is called {name}", name=name)
        return self.scripts[name]

    def script(self, name: str, command: list[str] | str, *depends_on: str, **settings: object) -> Script:
        made = Script(name, command, "test", "/", depends_on=depends_on, **settings)  # type: ignore[arg-type]
        self.scripts[name] = made
        return made

    async def start(self, name: str) -> Run:
        run, _ = await self.manager.ensure(self.scripts[name])
        return run

    async def reached(self, run: Run, until: Until) -> Run:
        assert await self.manager.until(run, until, WITHIN_S)
        return run.latest

    async def becomes(self, name: str, state: str) -> Run:
        def is_there() -> bool:
            run = self.manager.current(name)
            return run is not None and run.state == state

        assert await self.manager.changes.until(is_there, WITHIN_S), self.manager.current(name)
        run = self.manager.current(name)
        assert run
        return run

    def kinds(self, *names: str) -> list[str]:
        return [
            f"{change.process} {change.kind}"
            for change in self.manager.changes.log.after(0)
            if not names or change.process in names
        ]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    async with world.manager:
        yield world


@pytest.fixture
async def hasty() -> AsyncIterator[World]:
    """Its restarts come soon, and its dependents wait little."""
    world = World(restart_base_s=0.01, dependency_grace_s=0.2)
    async with world.manager:
        yield world


@pytest.fixture
def reserve(monkeypatch: pytest.MonkeyPatch) -> Reserve:
    """The reserve of the expressions in this test's files."""
    fresh = Reserve(RESERVE_S)
    monkeypatch.setattr("brummer.host.patterns.OF_FILES", fresh)
    return fresh


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


# Restarts.


async def test_a_script_that_keeps_failing_ends_as_a_crash_loop_with_its_first_error(hasty: World) -> None:
    world = hasty
    world.script("web", "echo no database >&2; exit 3", restart="on-failure")
    first = await world.start("web")
    last = await world.reached(first, "ready")
    assert (last.state, last.process_id, last.restarts) == ("crash-looping", f"web-{LOOP_ENDS}", LOOP_ENDS - 1)
    status = last.status()
    assert (status.exit_code, status.first_error) == (3, "exit 3: no database")
    assert world.kinds() == [*["web started", "web failed"] * (LOOP_ENDS - 1), "web started", "web crash-looping"]
    assert first.state == "failed"


async def test_what_a_crash_loop_printed_first_is_said_once(hasty: World) -> None:
    world = hasty
    world.script("web", "echo 'ValueError: no table' >&2; echo Node.js v20; exit 3", restart="on-failure")
    last = await world.reached(await world.start("web"), "ready")
    assert last.status().first_error == "exit 3: ValueError: no table"
    change = next(change for change in world.manager.changes.log.after(0) if change.kind == "crash-looping")
    for told in (last.status(), change):
        text = msgspec.json.encode(msgspec.structs.replace(told, last_lines=msgspec.UNSET) if told is change else told)
        assert text.count(b"ValueError") == 1, text


async def test_a_crash_loop_of_failed_starts_tells_the_reason_once(hasty: World, tmp_path: Path) -> None:
    world = hasty
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nrm {program}\nexit 1\n")
    program.chmod(0o755)
    world.script("web", [str(program)], restart="on-failure")
    status = (await world.reached(await world.start("web"), "ready")).status()
    assert status.status == "crash-looping"
    assert str(program) not in str(status.reason) or str(program) not in str(status.first_error)


async def test_asked_for_again_a_crash_loop_starts_anew(hasty: World) -> None:
    world = hasty
    world.script("web", "exit 3", restart="always")
    await world.reached(await world.start("web"), "ready")
    again = await world.reached(await world.start("web"), "ready")
    assert (again.state, again.process_id, again.restarts) == ("crash-looping", f"web-{2 * LOOP_ENDS}", LOOP_ENDS - 1)


@pytest.mark.parametrize(
    ("restart", "command", "states"),
    [
        ("on-failure", "exit 0", ["exited"]),
        ("no", "exit 1", ["failed"]),
        ("always", "exit 0", ["exited", "exited"]),
        ("on-failure", "kill -9 $$", ["failed", "failed"]),
    ],
)
async def test_which_ends_are_followed_by_a_restart(
    hasty: World, restart: Restart, command: str, states: list[str]
) -> None:
    world = hasty
    world.script("web", command, restart=restart, max_restarts=1)
    await world.reached(await world.start("web"), "ready")
    assert [run.state for run in world.manager.runs()] == states


async def test_an_expression_that_is_too_slow_for_a_scripts_output_is_dropped_and_reported(
    world: World, reserve: Reserve
) -> None:
    slow = f"yes {'a' * 40}b | head -n 5000; {SLEEP}"
    world.script("web", slow, ready=Ready(log=f"({uuid4().hex}|(a+)+$)"))
    world.script("api", f"echo up; {SLEEP}", ready=Ready(log="^up$"))
    said = asyncio.Event()
    world.manager.output.follow(lambda batch: said.set() if batch.stream == "brum" else None)
    run = await world.start("web")
    async with asyncio.timeout(WITHIN_S):
        await said.wait()
    reason = run.status().reason
    assert isinstance(reason, str)
    assert "ready.log of web" in reason
    assert [line.text for line in world.manager.lines_of(run) if line.stream == "brum"] == [reason]
    assert run.state == "running"
    await world.reached(await world.start("api"), "ready")
    said.clear()
    again = await world.manager.restart(run.script)
    async with asyncio.timeout(WITHIN_S):
        await said.wait()
    assert again.status().reason == reason
    assert reserve.left_s(0.0) < RESERVE_S / 2


async def test_long_lines_do_not_make_an_ordinary_expression_too_slow(world: World, reserve: Reserve) -> None:
    lines = f"for i in $(seq 20); do printf '%016000d\\n' 0; done; echo up; {SLEEP}"
    world.script("web", lines, ready=Ready(log=".*up$"))
    await world.reached(await world.start("web"), "ready")
    assert reserve.left_s(0.0) > 0


async def test_a_script_that_mends_itself_becomes_ready_for_whoever_waited(hasty: World, tmp_path: Path) -> None:
    world = hasty
    flag = tmp_path / "seen"
    world.script(
        "web", f"test -e {flag} && echo up && {SLEEP}; touch {flag}; exit 1", restart="on-failure", ready=Ready("up")
    )
    first = await world.start("web")
    latest = await world.reached(first, "ready")
    assert (first.state, latest.state, latest.process_id) == ("failed", "ready", "web-2")


async def test_one_that_waits_for_its_restart_says_so_and_a_stop_cancels_it(world: World) -> None:
    world.script("web", "exit 1", restart="always")
    failed = await world.reached(await world.start("web"), "exit")
    waiting = world.manager.current("web")
    assert waiting
    status = waiting.status()
    assert (status.status, status.restarts, status.pid) == ("pending", 1, None)
    assert isinstance(status.next_restart_s, float)
    assert await world.manager.stop(failed, "call") is False
    assert (waiting.state, waiting.status().stop_asked_by) == ("stopped", "call")
    assert waiting.status().next_restart_s is msgspec.UNSET
    assert await world.manager.stop(waiting) is True
    assert world.kinds() == ["web started", "web failed", "web stopped"]


async def test_one_that_waits_for_its_restart_starts_at_once_when_it_is_asked_for() -> None:
    world = World(restart_base_s=600)
    async with world.manager:
        world.script("web", "exit 1", restart="always")
        await world.reached(await world.start("web"), "exit")
        world.script("web", SLEEP)
        run, already = await world.manager.ensure(world.scripts["web"])
        await world.becomes("web", "running")
        assert run.state == "running"
    assert (run.process_id, already, run.restarts) == ("web-2", False, 0)


async def test_what_was_stopped_on_request_is_not_restarted(world: World) -> None:
    world.script("web", SLEEP, restart="always")
    run = await world.start("web")
    await world.manager.stop(run, "command line")
    assert (run.state, run.successor, run.status().stop_asked_by) == ("stopped", None, "command line")


async def test_a_program_that_vanishes_between_two_starts_is_tried_again(hasty: World, tmp_path: Path) -> None:
    world = hasty
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nrm {program}; exit 1\n")
    program.chmod(0o700)
    world.script("web", [str(program)], restart="always")
    last = await world.reached(await world.start("web"), "ready")
    assert (last.state, last.status().first_error) == ("crash-looping", "exit 1")


# Dependencies.


@pytest.mark.promise("dependencies")
async def test_what_a_script_depends_on_is_started_first_and_waited_for(world: World) -> None:
    world.script("db", f"sleep 0.1; echo accepting; {SLEEP}", ready=Ready(log="accept"))
    world.script("migrate", "true", "db")
    world.script("web", SLEEP, "migrate", "db")
    run = await world.start("web")
    assert (run.state, run.pid) == ("pending", None)
    await world.becomes("web", "running")
    order = world.kinds()
    assert order.index("db ready") < order.index("migrate started") < order.index("migrate exited")
    assert order.index("migrate exited") < order.index("web started")


async def test_a_dependency_that_never_listens_is_waited_for_until_it_has_run_for_a_while(hasty: World) -> None:
    world = hasty
    world.script("worker", SLEEP)
    world.script("web", SLEEP, "worker")
    run = await world.start("web")
    worker = await world.becomes("worker", "running")
    assert (run.state, run.waits_for) == ("pending", ["worker"])
    await world.becomes("web", "running")
    assert (worker.state, run.waits_for) == ("running", [])


async def test_a_dependency_that_names_its_proof_is_waited_for_however_long_it_takes(hasty: World) -> None:
    world = hasty
    world.script("db", "sleep 0.5; echo accepting; exec sleep 600", ready=Ready(log="accept"))
    world.script("web", SLEEP, "db")
    await world.start("web")
    await world.becomes("web", "running")
    order = world.kinds()
    assert order.index("db ready") < order.index("web started")


async def test_a_dependency_that_fails_is_the_reason_why_the_dependent_is_not_started(world: World) -> None:
    world.script("db", "echo disk full; exit 5")
    world.script("web", SLEEP, "db")
    run = await world.reached(await world.start("web"), "ready")
    assert (run.state, run.pid) == ("failed", None)
    assert isinstance(run.start_error, DependencyFailed)
    assert run.start_error.context == {"script": "web", "dependency": "db", "status": "failed"}
    assert world.kinds("web") == ["web failed"]


async def test_a_dependency_that_can_not_be_started_is_named_too(world: World) -> None:
    world.script("db", ["no-such-program"])
    world.script("web", SLEEP, "db")
    run = await world.reached(await world.start("web"), "ready")
    assert "no-such-program" in (run.reason or "")


async def test_a_dependency_that_is_restarted_is_waited_for_again(world: World) -> None:
    db = world.script("db", f"echo started; {SLEEP}", ready=Ready(log="accepting"))
    world.script("web", SLEEP, "db")
    web = await world.start("web")
    await world.becomes("db", "running")
    for _ in range(3):
        await world.manager.restart(db)
        await asyncio.sleep(0)  # whoever waits is woken
        assert (web.state, web.waits_for) == ("pending", ["db"])
    world.script("db", f"echo accepting; {SLEEP}", ready=Ready(log="accepting"))
    await world.manager.restart(world.scripts["db"])
    await world.becomes("web", "running")
    order = world.kinds()
    assert order.index("db ready") < order.index("web started")


async def test_a_dependency_that_is_stopped_is_not_waited_for_any_longer(world: World) -> None:
    world.script("db", f"echo started; {SLEEP}", ready=Ready(log="accepting"))
    world.script("web", SLEEP, "db")
    web = await world.start("web")
    await world.manager.stop(await world.becomes("db", "running"))
    await world.reached(web, "ready")
    assert isinstance(web.start_error, DependencyFailed)
    assert web.start_error.context == {"script": "web", "dependency": "db", "status": "stopped"}


@pytest.mark.promise("dependencies")
@pytest.mark.parametrize("needs", ["web", "nothing"])
async def test_a_cycle_and_an_unknown_name_are_reported_and_nothing_hangs(world: World, needs: str) -> None:
    world.script("web", SLEEP, needs)
    run = await world.reached(await world.start("web"), "ready")
    assert (run.state, isinstance(run.start_error, DependencyFailed)) == ("failed", True)


async def test_a_defect_of_ours_leaves_nobody_pending_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(dependencies, "needed_by", defect)
    world.script("web", SLEEP, "db")
    run = await world.reached(await world.start("web"), "ready")
    assert (run.state, isinstance(run.start_error, Internal)) == ("failed", True)
    assert await world.manager.stop(run) is True


async def test_a_pending_script_tells_what_it_waits_for_and_can_be_stopped(world: World) -> None:
    world.script("db", f"echo up; {SLEEP}", ready=Ready(log="never"))
    world.script("web", SLEEP, "db")
    run = await world.start("web")
    await world.becomes("db", "running")
    again, already = await world.manager.ensure(world.scripts["web"])
    assert (again, already, run.status().waits_for) == (run, True, ["db"])
    assert await world.manager.stop(run) is False
    assert (run.state, run.status().waits_for, world.kinds("web")) == ("stopped", msgspec.UNSET, ["web stopped"])


async def test_at_shutdown_nobody_is_stopped_before_those_that_depend_on_it() -> None:
    world = World()
    async with world.manager:
        world.script("db", f"echo up; {SLEEP}", ready=Ready(log="up"))
        world.script("api", f"echo up; {SLEEP}", "db", ready=Ready(log="up"))
        world.script("web", SLEEP, "api")
        await world.start("web")
        await world.becomes("web", "running")
        world.script("late", SLEEP, "never")
    assert world.kinds()[-3:] == ["web stopped", "api stopped", "db stopped"]
    assert {run.stop_asked_by for run in world.manager.runs()} == {"shutdown"}


# Readiness as the script names it.


async def test_it_is_ready_when_the_line_comes_that_it_named(world: World) -> None:
    world.script(
        "web", f"echo starting; sleep 0.05; echo compiled in 3 ms; {SLEEP}", ready=Ready(log=r"compiled in \d+")
    )
    run = await world.reached(await world.start("web"), "ready")
    assert (run.state, world.manager.last_lines(run, 5)) == ("ready", ["starting", "compiled in 3 ms"])


async def test_it_is_ready_when_the_port_answers_that_it_named(world: World) -> None:
    port = free_port()
    world.script("web", python(LISTENS, port), ready=Ready(port=port))
    run = await world.reached(await world.start("web"), "ready")
    assert (run.state, run.urls) == ("ready", [f"http://localhost:{port}"] if sys.platform == "linux" else [])


async def test_it_is_ready_when_its_url_answers_with_success(world: World) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/health?deep=1"
    world.script("web", [sys.executable, "-I", "-c", HTTP, str(port)], ready=Ready(http=url))
    assert (await world.reached(await world.start("web"), "ready")).state == "ready"


async def test_an_invalid_expression_for_readiness_is_an_error_and_starts_nothing(world: World) -> None:
    world.script("web", SLEEP, ready=Ready(log="("))
    with pytest.raises(Exception, match=r"ready\.log"):
        await world.start("web")
    run = world.manager.current("web")
    assert run
    assert (run.state, run.child) == ("failed", None)


# Ports.


@LINUX
async def test_a_taken_port_is_named_with_its_owner_and_makes_no_script_ready(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        world.script("web", python("import time; print('up', flush=True); time.sleep(600)"), ready=Ready(port=port))
        run = await world.start("web")
        await world.becomes("web", "running")
        assert not await world.manager.until(run, "ready", 0.3)
        owner = run.status().port_owner
        assert (owner.port, owner.pid, owner.script) == (port, os.getpid(), owner.foreign)  # type: ignore[union-attr]


@pytest.mark.promise("readiness-is-proof")
@LINUX
async def test_a_url_that_another_process_answers_makes_no_script_ready_before_it_has_changed_hands(
    world: World,
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):  # it may have given up
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 204 No Content\r\n\r\n")
            asked.set()

    asked = asyncio.Event()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as stranger:
        port = stranger.sockets[0].getsockname()[1]
        world.script("web", python(PATIENT_HTTP, port), ready=Ready(http=f"http://127.0.0.1:{port}/"))
        run = await world.start("web")
        async with asyncio.timeout(WITHIN_S):
            await asked.wait()
        assert not await world.manager.until(run, "ready", 0.3)
        assert run.status().port_owner.pid == os.getpid()  # type: ignore[union-attr]
    await world.reached(run, "ready")
    assert (run.state, run.status().port_owner) == ("ready", msgspec.UNSET)


@LINUX
async def test_behind_a_proxy_that_was_there_before_it_is_ready_when_its_url_answers(world: World) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):  # it may have given up
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 200 OK\r\n\r\n" if asked.is_set() else b"HTTP/1.0 502 Bad Gateway\r\n\r\n")
            asked.set()

    asked = asyncio.Event()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        world.script("web", SLEEP, ready=Ready(http=f"http://127.0.0.1:{port}/"))
        assert (await world.reached(await world.start("web"), "ready")).state == "ready"


@pytest.mark.promise("a-taken-port")
@LINUX
async def test_a_script_that_fails_for_a_taken_port_names_the_script_that_has_it(world: World) -> None:
    port = free_port()
    world.script("first", python(LISTENS, port))
    await world.reached(await world.start("first"), "ready")
    world.script("second", f"echo 'Error: listen EADDRINUSE: address already in use :::{port}' >&2; exit 1")
    run = await world.reached(await world.start("second"), "exit")
    first = world.manager.current("first")
    owner = run.status().port_owner
    assert first
    assert (owner.port, owner.pid, owner.script) == (port, first.pid, "first-1")  # type: ignore[union-attr]
    assert first.state == "ready"
    failed = [change for change in world.manager.changes.log.after(0) if change.kind == "failed"]
    assert [(change.reason, change.first_error, change.last_lines) for change in failed] == [
        (run.reason, msgspec.UNSET, msgspec.UNSET)
    ]
    assert (str(port) in (run.reason or ""), run.status().errors) == (True, msgspec.UNSET)
    assert "\n" not in (run.reason or "")


@LINUX
async def test_a_watcher_that_lives_on_after_a_taken_port_is_told_who_has_it(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        world.script("web", f"echo Error: Port {port} is already in use; echo waiting for changes; {SLEEP}")
        run = await world.start("web")
        while len(world.manager.last_lines(run, 2)) < 2:
            await asyncio.sleep(0.01)
        await world.manager.find_port_owner(run)
        owner = run.status().port_owner
        assert (owner.port, owner.pid) == (port, os.getpid())  # type: ignore[union-attr]


# Settings of the start and the stop.


async def test_the_lines_of_an_env_file_are_read_at_each_start(world: World, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=from file\nB=from file\nBRUMMER_PROCESS=stolen\n")
    world.script("web", "echo $A, $B, $BRUMMER_PROCESS", environment={"B": "from script"}, env_file=str(path))
    run = await world.reached(await world.start("web"), "exit")
    assert world.manager.last_lines(run, 1) == [f"from file, from script, {GENERATION}"]
    path.write_text("A=anew")
    run = await world.reached(await world.start("web"), "exit")
    assert world.manager.last_lines(run, 1) == [f"anew, from script, {GENERATION}"]


def given(**variables: str) -> Environment:
    return Environment({"PATH": os.environ["PATH"], **variables}, "then")


async def test_a_script_starts_in_the_environment_of_who_asks_and_keeps_it_until_another_asks(world: World) -> None:
    web = world.script("web", "echo $A")
    printed = []
    for asked_with in (given(A="one"), None, given(A="two"), None):
        run = await world.manager.restart(web, environment=asked_with)
        await world.reached(run, "exit")
        printed += world.manager.last_lines(run, 1)
    assert printed == ["one", "one", "two", "two"]
    other, _ = await world.manager.ensure(world.script("other", "echo -$A-"))
    await world.reached(other, "exit")
    assert world.manager.last_lines(other, 1) == ["--"], "a script that nobody has started has the instance's own"


async def test_an_automatic_restart_and_what_it_depends_on_have_the_environment_of_the_start(
    world: World, tmp_path: Path
) -> None:
    world.script("db", "echo db $A")
    count = tmp_path / "count"
    web = world.script("web", f"echo web $A; echo >> {count}; test $(wc -l < {count}) = 2", "db", restart="on-failure")
    run, _ = await world.manager.ensure(web, environment=given(A="asked"))
    await world.becomes("web", "exited")
    assert run.latest.process_id == "web-2"
    assert [line.text for line in world.manager.output.log.after(0)] == ["db asked", "web asked", "web asked"]


async def test_one_that_waits_for_its_restart_starts_in_the_environment_of_who_asks(world: World) -> None:
    web = world.script("web", "echo $A; exit 1", restart="always")
    world.manager = Manager(GENERATION, Guard(GENERATION), find=world.find, tuning=Tuning(restart_base_s=600))
    async with world.manager as manager:
        first, _ = await manager.ensure(web, environment=given(A="one"))
        await manager.changes.until(lambda: first.has_ended)
        second, _ = await manager.ensure(web, environment=given(A="two"), input_ends=True)
        await manager.changes.until(lambda: second.has_ended)
        assert manager.last_lines(second, 1) == ["two"]
        assert second.surroundings.input_ends


async def test_equal_environments_are_kept_once(world: World) -> None:
    one = world.manager.environment_of({"A": "1"})
    run = await world.manager.restart(world.script("web", "true"), environment=one)
    assert world.manager.environment_of({"A": "1"}).variables is one.variables
    assert world.manager.environment_of({"A": "2"}).variables is not one.variables
    await world.reached(run, "exit")


async def test_a_port_is_the_same_at_each_start_though_another_process_has_it_now(world: World, tmp_path: Path) -> None:
    line = ProcfileLine(0, str(tmp_path))
    with socket.create_server(("", 0)) as server:
        wanted = server.getsockname()[1]
        web = world.script("web", "echo $PORT", procfile=line, environment={})
        run = await world.manager.restart(web, environment=given(PORT=str(wanted)))
        await world.reached(run, "exit")
        [port] = world.manager.last_lines(run, 1)
        assert int(port) > wanted
    again = await world.manager.restart(web)
    await world.reached(again, "exit")
    assert world.manager.last_lines(again, 1) == [port]


async def test_an_env_file_may_be_a_pipe_that_somebody_fills_in_time(world: World, tmp_path: Path) -> None:
    def fill() -> None:
        with path.open("w") as pipe:  # waits for the reader
            pipe.write("A=secret\n")

    path = tmp_path / ".env"
    os.mkfifo(path)
    world.script("web", "echo $A", env_file=str(path))
    run = await world.start("web")
    await asyncio.to_thread(fill)
    await world.reached(run, "exit")
    assert world.manager.last_lines(run, 1) == ["secret"]


async def test_a_pipe_that_nobody_fills_is_not_waited_for_for_ever(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "PIPE_WAIT_S", 0.05)
    os.mkfifo(tmp_path / ".env")
    world.script("web", SLEEP, env_file=str(tmp_path / ".env"))
    run = await world.reached(await world.start("web"), "ready")
    assert (run.state, isinstance(run.start_error, EnvFileUnusable)) == ("failed", True)


@pytest.mark.parametrize("content", [None, "\udcff"])
async def test_an_env_file_that_can_not_be_used_is_a_clear_error(
    world: World, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / ".env"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    world.script("web", SLEEP, env_file=str(path))
    run = await world.reached(await world.start("web"), "ready")
    assert isinstance(run.start_error, EnvFileUnusable)
    assert (run.state, run.start_error.context.get("path")) == ("failed", str(path))


async def test_lines_of_an_env_file_that_can_not_be_understood_are_left_out_and_named(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nSECRET 2\nB='open\n")
    world.script("web", "echo $A, $B", env_file=str(path))
    run = await world.reached(await world.start("web"), "exit")
    note, printed = world.manager.last_lines(run, 2)
    assert printed == "1,"
    assert (str(path) in note, "line 2, 3" in note, "SECRET" in note) == (True, True, False)


async def test_it_is_stopped_by_the_signal_that_it_named(world: World) -> None:
    # Not SIGINT: a shell whose child dies of it may choose to die of it, too.
    world.script("web", "trap 'echo bye; exit 0' USR1; echo up; while :; do sleep 0.01; done", stop_signal="SIGUSR1")
    run = await world.start("web")
    await world.manager.changes.until(lambda: run.state == "running")
    while not world.manager.last_lines(run, 1):
        await asyncio.sleep(0.01)
    await world.manager.stop(run)
    assert (run.state, run.status().exit_code, world.manager.last_lines(run, 1)) == ("stopped", 0, ["bye"])


async def test_one_that_does_not_listen_is_killed_in_its_time_and_that_is_reported(world: World) -> None:
    world.script("web", "trap '' TERM; echo up; while :; do sleep 0.01; done", stop_timeout_s=0.1)
    run = await world.start("web")
    while not world.manager.last_lines(run, 1):
        await asyncio.sleep(0.01)
    await world.manager.stop(run)
    status = run.status()
    assert (status.status, status.signal) == ("stopped", "SIGKILL")
    assert "0.1 s" in str(status.reason)


async def test_a_signal_that_is_none_is_refused_before_anything_starts(world: World) -> None:
    world.script("web", SLEEP, stop_signal="SIGNOTHING")
    with pytest.raises(Exception, match="SIGNOTHING"):
        await world.start("web")


# How it ended.


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("no-such-command", "exit 127: command not found"),
        ("/etc/passwd", "exit 126: found, but it can't be executed"),
        ("kill -TERM $$", "killed by SIGTERM, not sent by Brummer"),
        ("exit 4", None),
    ],
)
async def test_the_reason_says_how_it_ended(world: World, command: str, reason: str | None) -> None:
    world.script("web", command)
    assert (await world.reached(await world.start("web"), "exit")).reason == reason


@pytest.mark.promise("how-it-ended")
async def test_a_kill_by_another_program_is_not_claimed(world: World) -> None:
    world.script("web", SLEEP)
    run = await world.start("web")
    os.kill(run.pid or 0, signal.SIGKILL)
    await world.reached(run, "exit")
    assert (run.reason or "").startswith("killed by SIGKILL, not sent by Brummer")


@LINUX
async def test_what_left_its_group_has_the_same_time_to_end(world: World, tmp_path: Path) -> None:
    world.script("db", python(DAEMON, tmp_path / "state"), stop_timeout_s=WITHIN_S)
    run = await world.start("db")
    while not (tmp_path / "state").exists():
        await asyncio.sleep(0.01)
    await world.manager.stop(run)
    assert (tmp_path / "state").read_text() == "saved"


@LINUX
async def test_a_daemon_lives_on_until_a_stop_is_asked_for_and_then_has_its_time(world: World, tmp_path: Path) -> None:
    world.script("db", python(DAEMON, tmp_path / "state", "exit"), stop_timeout_s=WITHIN_S)
    for _ in range(2):
        (tmp_path / "state").unlink(missing_ok=True)
        run = await world.reached(await world.start("db"), "exit")
        assert (run.state, (tmp_path / "state").read_text()) == ("exited", "dirty")
        assert (world.manager.is_busy, await world.manager.has_daemons()) == (False, True)
        assert await world.manager.stop(run) is False
        assert not await world.manager.has_daemons()
        assert ((tmp_path / "state").read_text(), run.state) == ("saved", "exited")
        assert await world.manager.stop(run) is True


@LINUX
async def test_a_restart_and_the_end_of_the_instance_stop_daemons_too(tmp_path: Path) -> None:
    world = World()
    async with world.manager:
        world.script("db", python(DAEMON, tmp_path / "state", "exit"), stop_timeout_s=WITHIN_S)
        await world.reached(await world.start("db"), "exit")
        run = await world.manager.restart(world.script("db", python(DAEMON, tmp_path / "anew", "exit")))
        assert (tmp_path / "state").read_text() == "saved"
        await world.reached(run, "exit")
    assert (tmp_path / "anew").read_text() == "saved"


@LINUX
async def test_what_left_its_group_and_does_not_listen_is_killed_in_its_time(world: World, tmp_path: Path) -> None:
    world.script(
        "web", f"setsid sh -c \"trap '' TERM; echo \\$\\$ > {tmp_path}/pid; exec sleep 600\" & wait", stop_timeout_s=0.1
    )
    run = await world.start("web")
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        await asyncio.sleep(0.01)
    await world.manager.stop(run)
    assert identify(int((tmp_path / "pid").read_text())) is None


@LINUX
async def test_what_cleared_its_environment_and_left_its_group_ends_with_its_script(
    world: World, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    world.script("web", f"env -i PATH=$PATH setsid sh -c 'echo $$ > {pid_file}; exec sleep 600' & echo up; wait")
    run = await world.start("web")
    while not pid_file.exists() or not pid_file.read_text().strip():
        await asyncio.sleep(0.01)
    await world.manager.stop(run)
    assert identify(int(pid_file.read_text())) is None
