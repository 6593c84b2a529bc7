import asyncio
import os
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from msgspec.structs import replace

from brummer.host.out_of_memory import OomKills
from brummer.host.ports import listening_ports
from brummer.instance.changes import Published
from brummer.instance.detect import Script
from brummer.instance.live_run import CHANGE_LINE_LENGTH, INCOMPLETE, ShuttingDown, Tuning
from brummer.instance.manager import Manager, Until
from brummer.instance.run import Errors, Run
from brummer.logs.error_groups import ErrorGroup, PrintedErrors
from brummer.logs.journal.writer import RunJournal
from brummer.process.child import ScriptFailedToStart, start
from brummer.process.guard import MARK, Guard
from tests.unit.process_support import members

WITHIN_S = 30
GENERATION = uuid4().hex
"""Of this test run alone: what carries its mark is ended wherever it is."""
SERVER = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0))
{say}
time.sleep(600)
"""
PRINTS_ITS_URL = "print(f'on http://localhost:{server.getsockname()[1]}/', flush=True)"


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    """Its guard is never started: the harness looks for what is left behind."""
    async with Manager(GENERATION, Guard(GENERATION)) as manager:
        yield manager


def script(command: list[str] | str, name: str = "web", directory: str | Path = "/") -> Script:
    return Script(name, command, "test", str(directory))


def python(code: str, name: str = "web") -> Script:
    return script([sys.executable, "-I", "-c", code], name)


async def reached(manager: Manager, run: Run, until: Until) -> Run:
    assert await manager.until(run, until, WITHIN_S)
    return run


async def ran(manager: Manager, command: str) -> Run:
    run, _ = await manager.ensure(script(command))
    return await reached(manager, run, "exit")


def kinds(manager: Manager) -> list[str]:
    return [change.kind for change in manager.changes.log.after(0)]


def last_change(manager: Manager) -> dict[str, Any]:
    *_, change = manager.changes.log.after(0)
    return {name: getattr(change, name) for name in change.__struct_fields__}


async def test_a_script_runs_to_its_end_and_its_facts_stay(manager: Manager) -> None:
    run = await ran(manager, "echo hello; exit 3")
    status = run.status()
    assert (status.process_id, status.status, status.exit_code, status.signal) == ("web-1", "failed", 3, None)
    assert (status.pid, status.ended_at is not None) == (None, True)
    assert manager.last_lines(run, 10) == ["hello"]


@pytest.mark.promise("how-it-ended")
@pytest.mark.parametrize(
    ("command", "state", "exit_code", "signal_name"),
    [("exit 0", "exited", 0, None), ("exit 1", "failed", 1, None), ("kill -9 $$", "failed", None, "SIGKILL")],
)
async def test_how_it_ended_is_reported_truthfully(
    manager: Manager, command: str, state: str, exit_code: int | None, signal_name: str | None
) -> None:
    status = (await ran(manager, command)).status()
    assert (status.status, status.exit_code, status.signal) == (state, exit_code, signal_name)


@pytest.mark.promise("run-ensures")
async def test_asked_for_twice_at_once_only_one_process_starts(manager: Manager) -> None:
    answers = await asyncio.gather(*(manager.ensure(script("exec sleep 600")) for _ in range(5)))
    assert len({run.process_id for run, _ in answers}) == 1
    assert sorted(already for _, already in answers) == [False, True, True, True, True]


async def test_one_that_has_ended_starts_anew_under_the_next_number(manager: Manager) -> None:
    await ran(manager, "true")
    run, already = await manager.ensure(script("exec sleep 600"))
    assert (run.process_id, already) == ("web-2", False)
    assert [old.state for old in manager.runs()] == ["exited", "running"]


async def test_stopping_ends_it_and_a_second_stop_finds_it_ended(manager: Manager) -> None:
    run, _ = await manager.ensure(script("exec sleep 600"))
    assert await manager.stop(run) is False
    assert await manager.stop(run) is True
    status = run.status()
    assert (status.status, status.exit_code, status.signal) == ("stopped", None, "SIGTERM")
    assert kinds(manager) == ["started", "stopped"]


async def test_a_start_that_is_asked_for_during_a_stop_waits_for_its_end(manager: Manager) -> None:
    trap = "trap 'sleep 0.1; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    first, _ = await manager.ensure(script(trap))
    await until_it_printed(manager, first)
    stopping = asyncio.create_task(manager.stop(first))
    await asyncio.sleep(0)
    assert first.state == "stopping"
    second, already = await manager.ensure(script(trap))
    assert (first.state, second.state, already) == ("stopped", "running", False)
    assert await stopping is False


async def test_a_restart_stops_the_old_and_starts_the_new(manager: Manager) -> None:
    first, _ = await manager.ensure(script("exec sleep 600"))
    second = await manager.restart(script("exec sleep 601"))
    assert (first.state, second.state, second.process_id) == ("stopped", "running", "web-2")


async def test_a_restart_of_what_does_not_run_starts_it(manager: Manager) -> None:
    run = await manager.restart(script("true"))
    assert run.process_id == "web-1"


async def test_a_script_that_can_not_start_is_an_error_and_a_failed_run(manager: Manager) -> None:
    with pytest.raises(ScriptFailedToStart):
        await manager.ensure(script(["no-such-program"]))
    run = manager.current("web")
    assert run
    assert (run.state, run.pid, "no-such-program" in (run.reason or "")) == ("failed", None, True)
    assert kinds(manager) == ["failed"]
    assert manager.last_lines(run, 5) == [run.reason]


async def test_a_directory_that_is_no_text_is_an_error_and_a_failed_run_like_any_other(manager: Manager) -> None:
    with pytest.raises(ScriptFailedToStart):
        await manager.ensure(script("true", directory="/nowhere-\udcff"))
    run = manager.current("web")
    assert run
    assert (run.state, manager.last_lines(run, 5)) == ("failed", [run.reason])


async def test_two_thousand_lines_before_the_exit_are_all_stored(manager: Manager) -> None:
    run, _ = await manager.ensure(python("print('\\n'.join(f'line {n}' for n in range(2000)))"))
    await reached(manager, run, "exit")
    assert [line.text for line in manager.lines_of(run)] == [f"line {n}" for n in range(2000)]


async def test_a_run_has_its_own_lines_and_not_those_of_the_run_before(manager: Manager) -> None:
    first = await ran(manager, "echo first")
    second = await ran(manager, "echo second; echo third")
    assert manager.last_lines(first, 10) == ["first"]
    assert manager.last_lines(second, 1) == ["third"]


async def test_a_failure_is_a_change_with_its_last_lines(manager: Manager) -> None:
    await ran(manager, "for n in 1 2 3 4 5 6 7; do echo $n; done; exit 2")
    change = last_change(manager)
    assert (change["kind"], change["exit_code"], change["signal"]) == ("failed", 2, None)
    assert change["last_lines"] == ["3", "4", "5", "6", "7"]


async def test_lines_of_any_length_make_no_large_change(manager: Manager) -> None:
    await ran(manager, "for n in 1 2 3; do printf '%016000d\\n' $n; done; exit 2")
    assert [len(text) < CHANGE_LINE_LENGTH + 50 for text in last_change(manager)["last_lines"]] == [True] * 3


async def test_what_an_error_has_told_is_not_told_again_by_the_failure(manager: Manager) -> None:
    await ran(manager, "echo on my way; echo 'ValueError: no table' >&2; exit 2")
    change = last_change(manager)
    assert (change["first_error"], change["last_lines"]) == ("ValueError: no table", ["on my way"])


async def test_a_short_last_line_is_reported_whatever_the_reason_is(manager: Manager) -> None:
    await ran(manager, "echo command; exit 127")
    change = last_change(manager)
    assert (change["reason"], change["last_lines"]) == ("exit 127: command not found", ["command"])


async def test_why_a_start_failed_is_reported_once(manager: Manager) -> None:
    with pytest.raises(ScriptFailedToStart):
        await manager.ensure(Script("web", ["no-such-program"], "test", "/"))
    assert last_change(manager)["last_lines"] is msgspec.UNSET


@pytest.mark.promise("readiness-is-proof")
async def test_a_server_is_ready_when_the_url_that_it_printed_answers(manager: Manager) -> None:
    run, _ = await manager.ensure(python(SERVER.format(say=PRINTS_ITS_URL)))
    await reached(manager, run, "ready")
    assert run.state == "ready"
    assert [url.rpartition(":")[0] for url in run.urls] == ["http://localhost"]
    assert kinds(manager) == ["started", "url", "ready"]


@pytest.mark.skipif(sys.platform != "linux", reason="platform: who listens is looked up in /proc")
async def test_a_server_that_prints_nothing_is_ready_when_its_group_listens(manager: Manager) -> None:
    server = SERVER.format(say="")
    run, _ = await manager.ensure(python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {server!r}])"))
    await reached(manager, run, "ready")
    assert [url.rpartition(":")[0] for url in run.urls] == ["http://localhost"]


async def test_a_url_on_which_nobody_listens_makes_nothing_ready(manager: Manager) -> None:
    run, _ = await manager.ensure(script("echo see http://localhost:9; exec sleep 600"))
    assert not await manager.until(run, "ready", 0.4)
    assert (run.state, run.urls) == ("running", ["http://localhost:9"])


@pytest.mark.skipif(sys.platform != "linux", reason="platform: who listens is looked up in /proc")
async def test_a_url_on_which_another_process_listened_before_makes_nothing_ready_and_that_process_is_named(
    manager: Manager,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        run, _ = await manager.ensure(script(f"echo on http://localhost:{port}; exec sleep 600"))
        assert await manager.changes.until(lambda: bool(run.urls), WITHIN_S)
        await manager.find_port_owner(run)  # although nothing has looked yet whether it is ready
        assert not await manager.until(run, "ready", 0.1)
        owner = run.status().port_owner
        assert (run.state, owner.port, owner.pid) == ("running", port, os.getpid())  # type: ignore[union-attr]


async def test_waiting_for_readiness_ends_when_the_process_does(manager: Manager) -> None:
    run, _ = await manager.ensure(script("exit 1"))
    await reached(manager, run, "ready")
    assert run.state == "failed"


async def test_output_that_can_not_be_understood_hides_nothing_that_comes_later(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> list[ErrorGroup]:
        raise ValueError

    monkeypatch.setattr(PrintedErrors, "read", read)
    await ran(manager, "echo Error: odd")
    monkeypatch.undo()
    run = await ran(manager, "echo http://localhost:9; echo Error: even")
    assert (run.urls, run.printed_errors and run.printed_errors.count) == (["http://localhost:9"], 1)
    assert isinstance(errors := run.status().errors, Errors)
    assert (errors.first, errors.last, errors.where) == ("Error: even", "Error: even", None)


async def test_a_url_is_reported_once_and_urls_elsewhere_are_not_its_own(manager: Manager) -> None:
    run = await ran(manager, "echo http://localhost:9/ http://localhost:9 https://example.com; echo http://0.0.0.0:9")
    assert run.urls == ["http://localhost:9"]
    assert kinds(manager) == ["started", "url", "exited"]


async def test_a_script_finds_the_mark_in_its_environment(manager: Manager) -> None:
    run = await ran(manager, f"echo ${MARK}")
    assert manager.last_lines(run, 1) == [GENERATION]


async def test_the_guard_knows_a_group_exactly_while_it_lives() -> None:
    guard = Guard(GENERATION)
    async with Manager(GENERATION, guard) as manager:
        run, _ = await manager.ensure(script("exec sleep 600"))
        assert guard.groups == {run.pid}
        await manager.stop(run)
        assert guard.groups == frozenset()


async def test_leaving_stops_everything_and_starts_nothing_more() -> None:
    async with Manager(GENERATION, Guard(GENERATION)) as manager:
        runs = [(await manager.ensure(script("sleep 600 & wait", f"web{n}")))[0] for n in range(3)]
        groups = [run.pid or 0 for run in runs]
    assert [run.state for run in runs] == ["stopped"] * 3
    assert [await asyncio.to_thread(members, group) for group in groups] == [[], [], []]
    with pytest.raises(ShuttingDown):
        await manager.ensure(script("true"))


async def test_leaving_takes_no_longer_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brummer.process.child.kill_group", lambda _: None)
    stubborn = script("trap '' TERM; echo up; while :; do sleep 600; done")
    async with Manager(GENERATION, Guard(GENERATION), tuning=Tuning(shutdown_margin_s=0.1)) as manager:
        run, _ = await manager.ensure(replace(stubborn, stop_timeout_s=0.05))
        await until_it_printed(manager, run)
        group = run.pid or 0
    os.killpg(group, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, group, os.WEXITED | os.WNOWAIT)
    assert run.child
    await run.child.abandon()  # reaps it


async def test_a_stopped_script_whose_leader_was_killed_leaves_no_children(manager: Manager) -> None:
    run, _ = await manager.ensure(script("sleep 600 & sleep 600 & echo up; wait"))
    await until_it_printed(manager, run)
    group = run.pid or 0
    os.kill(group, signal.SIGKILL)
    await reached(manager, run, "exit")
    assert (run.status().signal, await asyncio.to_thread(members, group)) == ("SIGKILL", [])


async def test_output_that_is_given_up_is_reported_as_a_line(manager: Manager) -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    run, _ = await manager.ensure(python(code))
    await reached(manager, run, "exit")
    printed, said = manager.lines_of(run)
    os.kill(int(printed.text), signal.SIGKILL)
    assert (said.stream, said.text) == ("brum", INCOMPLETE)


FEW = 3


@pytest.fixture
async def forgetful() -> AsyncIterator[Manager]:
    """It keeps few runs: twenty, one after the other, are too many for a busy machine."""
    async with Manager(GENERATION, Guard(GENERATION), tuning=Tuning(kept_runs=FEW)) as manager:
        yield manager


async def test_facts_of_old_runs_are_kept_up_to_a_limit_and_of_the_latest_always(forgetful: Manager) -> None:
    manager = forgetful
    quiet, _ = await manager.ensure(script("true", "quiet"))
    for _ in range(FEW + 2):
        await ran(manager, "true")
    assert [run.name for run in manager.runs()] == ["quiet", *["web"] * (FEW + 1)]
    assert manager.current("quiet") is quiet
    assert manager.find("web-1") is None
    assert manager.find(f"web-{FEW + 2}") is manager.current("web")


async def test_the_end_of_a_restarted_run_is_still_known_when_many_scripts_run(forgetful: Manager) -> None:
    manager = forgetful
    first = await ran(manager, "exit 3")
    for number in range(FEW + 1):
        await reached(manager, (await manager.ensure(script("true", f"other{number}")))[0], "exit")
    await ran(manager, "true")
    assert manager.find("web-1") is first


async def until_it_printed(manager: Manager, run: Run) -> None:
    printed = asyncio.Event()
    leave = manager.output.follow(lambda batch: printed.set() if run.owns(batch.lines[0]) else None)
    if next(manager.lines_of(run), None) is None:
        async with asyncio.timeout(WITHIN_S):
            await printed.wait()
    leave()


async def test_on_a_terminal_people_get_the_colours_and_agents_plain_text(manager: Manager) -> None:
    raw: list[str] = []
    manager.output.follow(lambda batch: raw.extend(batch.raw))
    command = "test -t 1 && printf '\\033[32mgreen\\033[0m\\n'"
    run, _ = await manager.ensure(Script("web", command, "test", "/", wants_terminal=True))
    await reached(manager, run, "exit")
    assert (raw, manager.last_lines(run, 5)) == (["\x1b[32mgreen\x1b[0m"], ["green"])


# Faults that must not prevent the end of a run.


@pytest.fixture
def sigchld_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


async def test_a_script_whose_status_the_kernel_has_taken_ends_without_success(
    manager: Manager, sigchld_ignored: None
) -> None:
    run = await ran(manager, "true")
    status = run.status()
    assert (status.status, status.exit_code, status.signal) == ("failed", None, None)
    assert "not known" in str(status.reason)


async def test_a_script_whose_status_the_kernel_will_take_can_be_stopped(
    manager: Manager, sigchld_ignored: None
) -> None:
    run, _ = await manager.ensure(script("exec sleep 600"))
    assert await manager.stop(run) is False
    assert run.state == "stopped"


async def test_a_run_that_has_ended_says_what_it_has_used_also_in_the_change_that_the_journal_keeps(
    manager: Manager,
) -> None:
    noted: list[Published] = []
    manager.changes.listen(noted.append)
    run = await ran(manager, f"{shlex.quote(sys.executable)} -c 'import time\nwhile time.process_time() < 0.2: pass'")
    status = run.status()
    assert isinstance(status.cpu_s, float)
    assert 0.2 <= status.cpu_s < 30
    assert noted[-1].status == status


async def test_a_run_that_never_started_has_used_nothing(manager: Manager) -> None:
    with pytest.raises(ScriptFailedToStart):
        await manager.ensure(script(["/nonexistent"]))
    status = manager.current_runs()[0].status()
    assert (status.cpu_s, status.memory_max_mib) == (msgspec.UNSET, msgspec.UNSET)


async def test_a_server_that_was_looked_at_while_it_became_ready_has_memory(manager: Manager) -> None:
    run, _ = await manager.ensure(python(SERVER.format(say=PRINTS_ITS_URL)))
    await reached(manager, run, "ready")
    await manager.stop(run)
    memory_max_mib = run.status().memory_max_mib
    assert isinstance(memory_max_mib, float)
    assert 2 < memory_max_mib < 500


async def test_a_listener_of_changes_that_raises_affects_no_other_and_no_start(manager: Manager) -> None:
    def raises(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    for _ in range(3):
        manager.changes.listen(raises)
    waits = [asyncio.create_task(manager.changes.until(lambda: last(manager) == "exited", WITHIN_S)) for _ in range(3)]
    await asyncio.sleep(0)
    manager.changes.listen(raises)
    await ran(manager, "true")
    assert await asyncio.gather(*waits) == [True] * 3


def last(manager: Manager) -> str:
    return (kinds(manager) or [""])[-1]


async def test_a_run_ends_although_why_it_ended_can_not_be_found_out(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("brummer.instance.exit_reason.taken_port", refused)
    run = await ran(manager, "exit 3")
    assert (run.state, run.status().exit_code) == ("failed", 3)
    assert "could not be found out" in str(run.reason)


async def test_a_run_ends_although_following_its_child_has_failed(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr("brummer.process.child.peek_exit", refused)
    run = await ran(manager, "true")
    assert run.state == "failed"


async def test_a_journal_that_can_not_be_opened_affects_no_run() -> None:
    opened: list[str] = []

    def refuse(name: str) -> RunJournal:
        opened.append(name)
        raise OSError(24, "Too many open files")

    async with Manager(GENERATION, Guard(GENERATION), open_journal=refuse) as manager:
        run = await ran(manager, "echo hello")
        assert (run.state, manager.last_lines(run, 5)) == ("exited", ["hello"])
    assert opened[:2] == ["web", "web"]


async def test_readiness_is_found_although_checks_had_failed(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, real = 0, listening_ports

    def sometimes(processes: Any) -> set[int]:
        nonlocal looks
        looks += 1
        if looks <= 2:
            raise OSError(24, "Too many open files")
        return real(processes)

    monkeypatch.setattr("brummer.process.readiness.listening_ports", sometimes)
    run, _ = await manager.ensure(python(SERVER.format(say=PRINTS_ITS_URL)))
    assert (await reached(manager, run, "ready")).state == "ready"
    assert looks > 2


async def test_a_kill_by_another_program_during_a_stop_is_reported_as_that(manager: Manager) -> None:
    ignores = (
        "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(600)"
    )
    run, _ = await manager.ensure(replace(python(ignores), stop_timeout_s=WITHIN_S))
    assert await manager.changes.until(lambda: run.state == "running")
    async with asyncio.timeout(WITHIN_S):
        while not manager.last_lines(run, 1):
            await asyncio.sleep(0.001)
    stopping = asyncio.create_task(manager.stop(run))
    while run.state != "stopping":
        await asyncio.sleep(0)
    assert run.pid
    os.kill(run.pid, signal.SIGKILL)
    await stopping
    assert last(manager) == "stopped"
    assert str(run.reason).startswith("killed by SIGKILL, not sent by Brummer")


async def test_kills_for_lack_of_memory_are_counted_from_before_the_start() -> None:
    """The kernel may kill it in its first moment."""
    kills = OomKills("memory.events", 7)

    def killed_at_once(*arguments: Any, **more: Any) -> Any:
        nonlocal kills
        kills = OomKills(kills.source, kills.kills + 1)
        return start(*arguments, **more)

    tuning = Tuning(start=killed_at_once, oom_kills=lambda: kills)
    async with Manager(GENERATION, Guard(GENERATION), tuning=tuning) as manager:
        run = await ran(manager, "kill -KILL $$")
    assert "the kernel's OOM killer killed 1 process" in str(run.reason)


async def test_kills_in_another_control_group_do_not_count_for_the_run() -> None:
    """The instance may be moved while the script runs."""
    counts = iter([OomKills("a/memory.events", 0), OomKills("b/memory.events", 5)])
    async with Manager(GENERATION, Guard(GENERATION), tuning=Tuning(oom_kills=lambda: next(counts))) as manager:
        run = await ran(manager, "kill -KILL $$")
    assert "not sent by Brummer: out of memory?" in str(run.reason)
