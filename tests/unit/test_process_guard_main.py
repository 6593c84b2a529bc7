"""The guard's own program in this process; `test_process_guard` shows it as the process that it is."""

import errno
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from brummer.process import guard_main
from brummer.process.guard_main import (
    GIVE_UP_AFTER_S,
    KILL_AFTER_S,
    MARK,
    SCAN_EVERY_S,
    Identity,
    Scan,
    Status,
    end_all,
    end_groups,
    find,
    send,
    started_at,
)

READS_PROC = pytest.mark.skipif(sys.platform != "linux", reason="platform: processes are found in /proc")
WITHIN_S = 30
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
IGNORES_TERM = "trap '' TERM; echo up; while :; do sleep 600; done"


class Clock:
    """In place of the module `time`: a pause calls ``in_pause`` and moves the clock on."""

    def __init__(self, in_pause: Callable[[], object] = lambda: None) -> None:
        self.now = 1_000.0
        self.pauses: list[float] = []
        self._in_pause = in_pause

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._in_pause()
        self.now += seconds


class Machine:
    """Processes that are only numbers, and the signals that they get."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, living: dict[int, Status]) -> None:
        self.living = living
        self.environments: dict[int, bytes] = {}
        self.sent: list[tuple[int, signal.Signals, float]] = []
        """pid, signal, and seconds since the first scan."""
        self.clock = Clock()
        self._began = self.clock.now
        monkeypatch.setattr(guard_main, "time", self.clock)
        monkeypatch.setattr(guard_main, "scan", self.scan)
        monkeypatch.setattr(guard_main, "send", self.send)

    def scan(self) -> Scan:
        return dict(self.living), dict(self.environments)

    def send(self, target: Identity, number: signal.Signals) -> None:
        assert self.living[target[0]][2] == target[1]
        self.sent.append((target[0], number, self.clock.now - self._began))


class Sleepers:
    """Real processes, each in a session of its own."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str, mark: str = "") -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            command or ("sleep", "600"),
            env={**os.environ, **({"BRUMMER_PROCESS": mark} if mark else {})},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def start_stubborn(self) -> "subprocess.Popen[bytes]":
        process = self.start("sh", "-c", IGNORES_TERM)
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        return process


@pytest.fixture
def sleepers() -> Iterator[Sleepers]:
    sleepers = Sleepers()
    yield sleepers
    for process in sleepers.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=WITHIN_S)


@pytest.fixture
def changes_of_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The guard ignores signals and leaves its directory. Here that lasts until the end of the test."""
    before = [signal.getsignal(number) for number in IGNORED]
    monkeypatch.chdir(tmp_path)
    yield
    for number, handler in zip(IGNORED, before, strict=True):
        signal.signal(number, handler)


@contextmanager
def standard_input(text: str) -> Iterator[None]:
    """A pipe whose writer has ended. The guard closes it."""
    kept = os.dup(0)
    read_end, write_end = os.pipe()
    os.write(write_end, text.encode())
    os.close(write_end)
    os.dup2(read_end, 0)
    os.close(read_end)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def ended_by(process: "subprocess.Popen[bytes]") -> int:
    return -process.wait(WITHIN_S)


@READS_PROC
@pytest.mark.promise("only-its-own")
def test_the_program_ends_registered_groups_and_marked_processes_and_no_others(
    sleepers: Sleepers, monkeypatch: pytest.MonkeyPatch, changes_of_the_process: None
) -> None:
    generation = uuid4().hex
    registered, removed, torn = (sleepers.start() for _ in range(3))
    marked, of_another = sleepers.start(mark=generation), sleepers.start(mark=f"{generation} of another")
    monkeypatch.setattr(sys, "argv", ["guard", generation])
    lines = f"+{removed.pid}\n+{registered.pid}\n-{removed.pid}\n+{torn.pid}"
    with standard_input(lines):
        runpy.run_path(guard_main.__file__, run_name="__main__")
    assert (ended_by(registered), ended_by(marked)) == (signal.SIGTERM, signal.SIGTERM)
    assert [process.poll() for process in (removed, torn, of_another)] == [None, None, None]
    assert [signal.getsignal(number) for number in IGNORED] == [signal.SIG_IGN] * 3
    assert Path.cwd() == Path("/")


def no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "isdir", lambda _: False)


def no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def short() -> Scan:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    monkeypatch.setattr(guard_main, "scan", short)


@READS_PROC
@pytest.mark.parametrize("shortage", [no_proc, no_descriptor])
def test_where_processes_can_not_be_listed_the_groups_are_ended(
    sleepers: Sleepers,
    monkeypatch: pytest.MonkeyPatch,
    changes_of_the_process: None,
    shortage: Callable[[pytest.MonkeyPatch], None],
) -> None:
    generation = uuid4().hex
    registered, marked = sleepers.start(), sleepers.start(mark=generation)
    monkeypatch.setattr(guard_main, "time", Clock(lambda: ended_by(registered)))
    shortage(monkeypatch)
    with standard_input(f"+{registered.pid}\n"):
        guard_main.main(generation)
    assert ended_by(registered) == signal.SIGTERM
    assert marked.poll() is None


def test_a_group_that_ignores_sigterm_is_killed_after_the_pause(
    sleepers: Sleepers, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary, stubborn = sleepers.start(), sleepers.start_stubborn()
    clock = Clock(lambda: ended_by(ordinary))
    monkeypatch.setattr(guard_main, "time", clock)
    end_groups({ordinary.pid, stubborn.pid})
    assert (ended_by(ordinary), ended_by(stubborn)) == (signal.SIGTERM, signal.SIGKILL)
    assert clock.pauses == [KILL_AFTER_S, 0]


def test_for_groups_that_are_empty_the_guard_does_not_wait(sleepers: Sleepers, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = sleepers.start("true")
    gone.wait(WITHIN_S)
    clock = Clock()
    monkeypatch.setattr(guard_main, "time", clock)
    end_groups({gone.pid})
    assert clock.now == 1_000.0


def test_a_process_that_does_not_end_gets_sigterm_once_and_sigkill_until_the_guard_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, {7: (7, 1, 100, 7), 8: (8, 1, 100, 8)})
    end_all({7}, MARK + b"generation")
    assert {pid for pid, _, _ in machine.sent} == {7}
    (_, first, first_s), *later = machine.sent
    assert (first, first_s) == (signal.SIGTERM, 0.0)
    assert {number for _, number, _ in later} == {signal.SIGKILL}
    assert KILL_AFTER_S <= later[0][2] < KILL_AFTER_S + 2 * SCAN_EVERY_S
    assert GIVE_UP_AFTER_S - 2 * SCAN_EVERY_S < later[-1][2] < GIVE_UP_AFTER_S
    assert GIVE_UP_AFTER_S <= machine.clock.now - 1_000.0 < GIVE_UP_AFTER_S + SCAN_EVERY_S


def test_the_guard_ends_as_soon_as_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, {8: (8, 1, 100, 8)})
    end_all({7}, MARK + b"generation")
    assert (machine.sent, machine.clock.pauses) == ([], [])


def test_a_child_that_left_group_and_session_is_ended_although_its_parent_has_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, {7: (7, 1, 100, 7), 70: (70, 7, 101, 70)})

    def parent_dies(seconds: float) -> None:
        machine.clock.now += seconds
        machine.living.pop(7, None)
        machine.living[70] = (70, 1, 101, 70)

    monkeypatch.setattr(machine.clock, "sleep", parent_dies)
    end_all({7}, MARK + b"generation")
    assert {pid for pid, number, _ in machine.sent if number == signal.SIGTERM} == {7, 70}
    assert {pid for pid, number, _ in machine.sent if number == signal.SIGKILL} == {70}


def test_a_process_that_got_the_number_of_a_dead_one_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, {7: (7, 1, 200, 7)})
    assert find({7}, MARK + b"generation", {(7, 100)}) == ([], set())


@READS_PROC
def test_a_signal_reaches_the_process_that_started_then_and_none_that_started_later(sleepers: Sleepers) -> None:
    process = sleepers.start()
    started = started_at(process.pid)
    assert started
    send((process.pid, started - 1), signal.SIGKILL)
    assert process.poll() is None
    send((process.pid, started), signal.SIGTERM)
    assert ended_by(process) == signal.SIGTERM
    assert started_at(process.pid) is None
    send((process.pid, started), signal.SIGKILL)  # there is no process to signal


@READS_PROC
def test_a_stopped_process_ends_on_sigterm(sleepers: Sleepers) -> None:
    process = sleepers.start()
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    started = started_at(process.pid)
    assert started
    send((process.pid, started), signal.SIGTERM)
    assert ended_by(process) == signal.SIGTERM


class MacTable:
    """The process table of a Mac with one process."""

    def __init__(self) -> None:
        self.sent: list[tuple[Identity, signal.Signals]] = []

    def scan(self) -> Scan:
        return {7: (7, 1, 100, 7)} if not self.sent else {}, {}

    def send(self, target: Identity, number: signal.Signals) -> None:
        self.sent.append((target, number))


def test_on_macos_processes_are_found_and_signalled_by_its_process_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table = MacTable()
    monkeypatch.setattr(guard_main, "time", Clock())
    monkeypatch.setattr(guard_main, "process_table", lambda: table)
    monkeypatch.setattr(sys, "platform", "darwin")
    end_all({7}, MARK + b"generation")
    assert table.sent == [((7, 100), signal.SIGTERM)]
