import asyncio
import contextlib
import errno
import os
import resource
import shlex
import signal
import stat
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from brummer.core.errors import SystemFailed
from brummer.host.pids import ProcessIdentity, identify
from brummer.host.process_groups import peek_exit
from brummer.host.terminals import COLUMNS, ROWS, Terminal
from brummer.logs.output import Output, ProcessOutput
from brummer.process import child, guard_main, process_tree
from brummer.process.child import Child, Exit, ScriptFailedToStart, Shared, Stdin, StopTimedOut, start
from brummer.process.guard_main import Scan
from brummer.process.pipe_reader import FloodHandler
from brummer.process.process_tree import Scans
from brummer.process.throttle import DEFAULT_LIMITS, SHARE, FloodLimits, Throttle
from tests.unit.process_support import members

LISTS_DESCRIPTORS = pytest.mark.skipif(sys.platform != "linux", reason="platform: descriptors are listed in /proc")
WITHIN_S = 30
GRACE_S = 5.0
IGNORES_TERM = (
    "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(600)"
)
ENDS_WHEN_TOLD = (
    "import os,signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); print(os.getpid(), flush=True);"
    "signal.sigwait([signal.SIGUSR1]); print('bye')"
)


class Started:
    """A child, what it printed, and the way to wait for a part of that."""

    def __init__(
        self,
        command: list[str] | str,
        directory: Path | str = "/",
        *,
        stdin: Stdin = "open",
        throttle: Throttle | None = None,
    ) -> None:
        self.printed: defaultdict[str, bytes] = defaultdict(bytes)
        self._news = asyncio.Event()
        self.child: Child = start(
            command,
            directory,
            dict(os.environ),
            self._on_output,
            stdin=stdin,
            shared=Shared(throttle or Throttle(), Scans()),
        )

    def _on_output(self, stream: str, chunk: bytes) -> None:
        self.printed[stream] += chunk
        self._news.set()

    async def until_printed(self, enough: Callable[[bytes], bool]) -> bytes:
        async with asyncio.timeout(WITHIN_S):
            while not enough(self.printed["stdout"]):
                self._news.clear()
                await self._news.wait()
        return self.printed["stdout"]

    async def exit(self) -> Exit:
        async with asyncio.timeout(WITHIN_S):
            return await asyncio.shield(self.child.ended)


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


async def living(group: int) -> list[int]:
    return await asyncio.to_thread(members, group)


async def test_what_it_prints_on_both_streams_arrives_and_its_exit_code_is_reported() -> None:
    started = Started("echo out; echo err >&2; exit 7")
    assert await started.exit() == Exit(7, None, asked=False, output_complete=True)
    assert started.printed == {"stdout": b"out\n", "stderr": b"err\n"}


async def test_two_thousand_lines_printed_at_once_before_the_exit_all_arrive() -> None:
    started = Started(python("print('\\n'.join(f'line {n}' for n in range(2000)))"))
    await started.exit()
    assert started.printed["stdout"].splitlines() == [b"line %d" % n for n in range(2000)]


async def test_more_than_a_pipe_holds_arrives_too() -> None:
    started = Started("head -c 1000000 /dev/zero; echo end >&2")
    await started.exit()
    assert (len(started.printed["stdout"]), started.printed["stderr"]) == (1_000_000, b"end\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGRTMIN])
async def test_a_death_by_signal_is_reported_by_its_name(number: signal.Signals) -> None:
    started = Started(f"kill -{int(number)} $$")
    assert await started.exit() == Exit(None, number.name, asked=False, output_complete=True)


def burns(cpu_s: float, then: str = "") -> str:
    """A command of a shell that uses so much CPU time, and says so."""
    code = f"import time\nwhile time.process_time() < {cpu_s}: pass\nprint('burnt', flush=True)\n{then}"
    return shlex.join(python(code))


SLEEPS = "time.sleep(600)"


async def test_the_cpu_time_of_a_run_is_that_of_its_leader_and_of_all_children_that_were_waited_for() -> None:
    started = Started(f"{burns(0.2)}; {burns(0.2)}")
    assert started.child.tree.usage.cpu_s is None
    await started.exit()
    assert started.child.tree.usage.cpu_s is not None
    assert 0.4 <= started.child.tree.usage.cpu_s < 30


@pytest.mark.parametrize("by", ["", "setsid "], ids=["in the group", "in a session of its own"])
async def test_a_child_that_nobody_waited_for_counts_as_it_was_seen_before_the_stop(by: str) -> None:
    started = Started(f"{by}{burns(0.2, f'kept = bytearray({64 << 20}); print(1, flush=True); {SLEEPS}')} & wait")
    await started.until_printed(lambda text: text.count(b"\n") == 2)
    await started.child.stop(GRACE_S)
    usage = started.child.tree.usage
    assert usage.cpu_s is not None
    assert usage.peak_bytes is not None
    assert 0.2 - 0.02 <= usage.cpu_s < 30
    assert 64 << 20 <= usage.peak_bytes < 1 << 30


async def test_a_child_that_outlives_its_killed_leader_counts_too() -> None:
    started = Started(f"{burns(0.2, SLEEPS)} & wait")
    await started.until_printed(lambda text: text.endswith(b"\n"))
    os.kill(started.child.pid, signal.SIGKILL)
    await started.exit()
    assert started.child.tree.usage.cpu_s is not None
    assert 0.2 - 0.02 <= started.child.tree.usage.cpu_s < 30


async def test_memory_that_the_kernel_may_have_counted_for_us_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Started("true")
    await small.exit()
    assert small.child.tree.usage.peak_bytes is None
    monkeypatch.setattr(child, "peak_bytes", lambda: 0)  # as of an instance that is smaller than its script
    large = Started("true")
    await large.exit()
    assert (large.child.tree.usage.peak_bytes or 0) > 1 << 20


async def test_a_run_whose_status_was_taken_by_another_has_no_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(_: int) -> tuple[int, float, int]:
        raise ChildProcessError

    monkeypatch.setattr(child, "reap", taken)
    started = Started("exit 3")
    assert (await started.exit()).exit_code == 3
    assert started.child.tree.usage.cpu_s is None


async def test_standard_input_stays_open_until_its_end_so_that_what_ends_with_its_input_goes_on() -> None:
    started = Started("echo up; cat; echo end; exec sleep 600")
    await started.until_printed(lambda text: text.endswith(b"up\n"))
    await started.child.stop(GRACE_S)
    assert started.printed["stdout"] == b"up\n"


async def test_each_child_has_an_input_of_its_own() -> None:
    """Node makes its input non-blocking, for all who share it."""
    makes_it_so = Started(
        python("import os; os.set_blocking(0, False); print('up', flush=True); import time; time.sleep(600)")
    )
    await makes_it_so.until_printed(lambda text: text.endswith(b"up\n"))
    other = Started(python("import os; print(os.get_blocking(0))"))
    await other.exit()
    assert other.printed["stdout"] == b"True\n"
    await makes_it_so.child.stop(GRACE_S)


async def test_where_the_input_ends_at_once_nobody_waits_for_it() -> None:
    started = Started("cat; echo end", stdin="ended")
    await started.exit()
    assert started.printed["stdout"] == b"end\n"


@pytest.mark.parametrize("end", ["exit 0", "exec sleep 600"])
async def test_the_input_is_closed_with_its_child(end: str) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    started = Started(end)
    await (started.exit() if end == "exit 0" else started.child.stop(GRACE_S))
    assert len(list(Path("/dev/fd").iterdir())) == before


async def test_stopping_ends_a_chain_of_shells_down_to_the_last() -> None:
    started = Started("sh -c 'sh -c \"sleep 600 & echo \\$!; wait\"; :'; :")
    sleeper = int(await started.until_printed(lambda text: text.endswith(b"\n")))
    assert len(await living(started.child.pid)) == 4
    exit_ = await started.child.stop(GRACE_S)
    assert (exit_.signal, exit_.asked) == ("SIGTERM", True)
    assert await living(started.child.pid) == []
    assert not psutil.pid_exists(sleeper) or psutil.Process(sleeper).status() == psutil.STATUS_ZOMBIE


@pytest.mark.promise("stop-ends-the-tree")
async def test_a_tree_that_ignores_sigterm_is_killed_when_the_grace_is_over() -> None:
    code = f"import subprocess,sys; subprocess.Popen([sys.executable,'-I','-S','-c',{IGNORES_TERM!r}]); {IGNORES_TERM}"
    started = Started(python(code))
    await started.until_printed(lambda text: text.count(b"on") == 2)
    assert len(await living(started.child.pid)) == 2
    exit_ = await started.child.stop(grace_s=0.1)
    assert exit_ == Exit(None, "SIGKILL", asked=True, output_complete=True, was_forced=True)
    assert await living(started.child.pid) == []


async def test_a_stopped_process_hears_that_it_should_end() -> None:
    started = Started("sleep 600 & echo $!; kill -STOP $$")
    await started.until_printed(lambda text: text.endswith(b"\n"))
    exit_ = await started.child.stop(GRACE_S)
    assert (exit_.signal, await living(started.child.pid)) == ("SIGTERM", [])


async def test_what_a_killed_leader_leaves_behind_is_ended_too() -> None:
    started = Started("sleep 600 & sleep 600 & echo up; wait")
    await started.until_printed(lambda text: text.endswith(b"\n"))
    os.kill(started.child.pid, signal.SIGKILL)
    exit_ = await started.exit()
    assert (exit_.signal, exit_.asked) == ("SIGKILL", False)
    assert await living(started.child.pid) == []


@LISTS_DESCRIPTORS
@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_an_end_for_which_no_descriptor_is_left_is_seen_to_once_there_are_some(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def look() -> Scan:
        try:
            return guard_main.scan()
        except OSError:
            loop.call_soon_threadsafe(failed.set)
            raise

    loop, failed = asyncio.get_running_loop(), asyncio.Event()
    monkeypatch.setattr(process_tree, "scan", look)
    started = Started("sleep 600 & sleep 600 & echo up; wait")
    await started.until_printed(lambda text: text.endswith(b"\n"))
    await asyncio.to_thread(members, started.child.pid)  # imports what a thread needs
    with no_descriptor_left():
        if how == "killed":
            os.kill(started.child.pid, signal.SIGKILL)
        ending = asyncio.create_task(started.child.stop(GRACE_S) if how == "stopped" else started.exit())
        async with asyncio.timeout(WITHIN_S):
            await failed.wait()
    assert (await ending).signal == ("SIGTERM" if how == "stopped" else "SIGKILL")
    assert await living(started.child.pid) == []


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Of this process, for as long as this lasts: whatever is opened fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_what_a_script_that_exits_well_leaves_in_its_group_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "LEAVING_S", (0.0,))
    started = Started("sleep 600 & sleep 600 & exit 0")
    assert await started.exit() == Exit(0, None, asked=False, output_complete=True)
    assert await living(started.child.pid) == []


async def test_a_member_has_the_grace_of_the_stop_although_the_leader_ended_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The shorter grace is for processes that a leader leaves behind without a stop."""
    monkeypatch.setattr(child, "LEFTOVER_GRACE_S", 0.0)
    started = Started(f"{shlex.join(python(ENDS_WHEN_TOLD))} & wait")
    member = int(await started.until_printed(lambda text: text.endswith(b"\n")))
    stopping = asyncio.create_task(started.child.stop(grace_s=600.0))
    async with asyncio.timeout(WITHIN_S):
        while await living(started.child.pid) != [member]:
            await asyncio.sleep(0)
        for _ in range(3):  # so that the child has looked for members, too
            assert await living(started.child.pid) == [member]
        os.kill(member, signal.SIGUSR1)
        assert await stopping == Exit(None, "SIGTERM", asked=True, output_complete=True)
    assert started.printed["stdout"].endswith(b"bye\n")


async def test_output_that_a_child_prints_while_it_is_ended_is_kept() -> None:
    started = Started("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done")
    await started.until_printed(lambda text: text.endswith(b"\n"))
    assert await started.child.stop(GRACE_S) == Exit(0, None, asked=True, output_complete=True)
    assert started.printed["stdout"] == b"up\nbye\n"


async def test_what_was_printed_before_the_end_is_read_however_slowly_that_goes() -> None:
    throttle = SlowThrottle(child.DRAIN_S, FloodLimits(chunk_bytes=16_384))
    started = Started("head -c 60000 /dev/zero", throttle=throttle)
    assert (await started.exit()).output_complete
    assert len(started.printed["stdout"]) == 60_000


async def test_a_process_outside_the_group_that_holds_the_output_open_does_not_hold_the_end() -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    started = Started([sys.executable, "-I", "-c", code])
    pid = int(await started.until_printed(lambda text: text.endswith(b"\n")))
    try:
        exit_ = await started.exit()
        assert exit_ == Exit(0, None, asked=False, output_complete=False)
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_two_who_stop_get_the_same_end() -> None:
    started = Started("sleep 600")
    one, other = await asyncio.gather(started.child.stop(GRACE_S), started.child.stop(GRACE_S))
    assert one == other == await started.child.stop(GRACE_S)


async def test_a_stop_is_carried_through_when_its_caller_is_cancelled() -> None:
    started = Started(python(IGNORES_TERM))
    await started.until_printed(lambda text: text.endswith(b"\n"))
    stopping = asyncio.create_task(started.child.stop(grace_s=0.05))
    await asyncio.sleep(0)
    stopping.cancel()
    assert (await started.exit()).signal == "SIGKILL"


async def test_a_group_that_can_not_be_ended_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brummer.process.child.KILL_WAIT_S", 0.05)
    monkeypatch.setattr("brummer.process.child.kill_group", lambda _: None)
    started = Started(python(IGNORES_TERM))
    await started.until_printed(lambda text: text.endswith(b"\n"))
    with pytest.raises(StopTimedOut) as caught:
        await started.child.stop(grace_s=0.05)
    assert caught.value.context["pids"] == [started.child.pid]
    os.kill(started.child.pid, signal.SIGKILL)
    await started.exit()


@LISTS_DESCRIPTORS
async def test_an_abandoned_child_leaves_nothing_of_ours_open() -> None:
    started = Started("sleep 600")
    before = len(open_descriptors())
    await started.child.abandon()
    assert len(open_descriptors()) == before - 4
    os.killpg(started.child.pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, started.child.pid, os.WEXITED | os.WNOWAIT)
    await started.child.abandon()  # reaps it


async def test_a_missing_program_is_reported_by_name(tmp_path: Path) -> None:
    with pytest.raises(ScriptFailedToStart) as caught:
        Started(["no-such-program", "run"], tmp_path)
    context = caught.value.context
    assert (context["command"], context["errno"]) == (["no-such-program", "run"], "ENOENT")
    assert "no-such-program" in caught.value.message


async def test_a_missing_directory_is_reported_by_name(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ScriptFailedToStart) as caught:
        Started(["true"], missing)
    assert str(missing) in caught.value.message


async def test_a_file_that_is_no_program_is_reported(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("text")
    program.chmod(stat.S_IRWXU)
    with pytest.raises(ScriptFailedToStart) as caught:
        Started([str(program)], tmp_path)
    assert caught.value.context["errno"] == "ENOEXEC"


async def test_a_command_with_a_nul_byte_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ScriptFailedToStart) as caught:
        Started(["echo", "a\0b"], tmp_path)
    assert caught.value.context["errno"] is None


async def test_the_child_is_in_its_own_session() -> None:
    started = Started([sys.executable, "-c", "import os; print(os.getsid(0))"])
    await started.exit()
    assert int(started.printed["stdout"]) == started.child.pid


@LISTS_DESCRIPTORS
async def test_no_descriptor_is_left_open() -> None:
    await Started("true").exit()
    before = open_descriptors()
    for _ in range(3):
        await Started("true").exit()
    assert open_descriptors() == before


def open_descriptors() -> set[str]:
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(f"{descriptor.name}: {descriptor.readlink()}")
    return found


async def test_on_a_terminal_it_sees_one_and_all_it_prints_arrives() -> None:
    started = Started(
        python(
            "import os, sys; print(*(os.isatty(fd) for fd in range(3)), *os.get_terminal_size());"
            "print('x' * 100_000); print('end', file=sys.stderr)"
        ),
        stdin="terminal",
    )
    assert await started.exit() == Exit(0, None, asked=False, output_complete=True)
    first, long, last = started.printed["stdout"].splitlines()
    assert (first, long, last) == (f"True True True {COLUMNS} {ROWS}".encode(), b"x" * 100_000, b"end")


async def test_where_the_last_close_drops_what_was_printed_the_terminal_is_kept_until_all_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on macOS; here only the order can be seen."""
    was_open, unread_bytes = [], Terminal.unread_bytes

    def unread(terminal: Terminal) -> int:
        was_open.append(not terminal.inside.closed)
        return unread_bytes(terminal) or len(was_open) < 3

    monkeypatch.setattr(child, "KEEPS_TERMINALS", True)
    monkeypatch.setattr(Terminal, "unread_bytes", unread)
    before = open_descriptors()
    started = Started(python("print('x' * 100_000); print('end')"), stdin="terminal")
    assert await started.exit() == Exit(0, None, asked=False, output_complete=True)
    assert started.printed["stdout"].splitlines()[-1] == b"end"
    assert len(was_open) >= 3
    assert all(was_open)
    assert open_descriptors() == before


async def test_a_failure_is_reported_though_the_death_is_known_before_the_exit_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on macOS: its kernel reports a death before the process can be waited for."""
    early = iter([None, None])

    def peek(pid: int) -> int | None:
        return next(early, peek_exit(pid))

    monkeypatch.setattr(child, "peek_exit", peek)
    assert await Started("exit 3").exit() == Exit(3, None, asked=False, output_complete=True)
    assert next(early, "asked") == "asked"


async def test_a_stop_ends_what_waits_for_a_key() -> None:
    started = Started(python("print('name?', end=' ', flush=True); input()"), stdin="terminal")
    assert await started.until_printed(lambda printed: b"?" in printed) == b"name? "
    assert (await started.child.stop(GRACE_S)).asked
    assert started.printed["stdout"] == b"name? "


@pytest.mark.parametrize(("stdin", "line_end"), [("open", b"\n"), ("terminal", b"\r")])
async def test_it_can_be_typed_to_and_closes_what_it_had_for_that(stdin: Stdin, line_end: bytes) -> None:
    before = open_descriptors()
    started = Started(python("print('name?', end=' ', flush=True); print('hello', input())"), stdin=stdin)
    await started.until_printed(lambda printed: b"?" in printed)
    target = started.child.input
    assert target is not None
    assert started.child.input is target
    assert (target.is_terminal, target.echoes()) == (stdin == "terminal", stdin == "terminal")
    assert target.write(b"wine" + line_end) == "all"
    assert (await started.exit()).exit_code == 0
    assert b"hello wine" in started.printed["stdout"]
    assert (target.write(b"more"), target.echoes()) == ("closed", False)
    assert open_descriptors() == before


async def test_a_child_whose_input_ended_at_its_start_has_none() -> None:
    started = Started("wc -c", stdin="ended")
    assert started.child.input is None
    await started.exit()


async def test_a_terminal_shows_by_its_echo_whether_a_password_is_read() -> None:
    code = "import getpass; print(len(getpass.getpass())); input('again? ')"
    started = Started(python(code), stdin="terminal")
    await started.until_printed(lambda printed: b"Password:" in printed)
    target = started.child.input
    assert target is not None
    assert not target.echoes()
    assert target.write("pässword\r".encode()) == "all"
    await started.until_printed(lambda printed: b"again?" in printed)
    assert (target.echoes(), b"ssword\r" in started.printed["stdout"]) == (True, False)
    await started.child.stop(GRACE_S)


async def test_ctrl_c_and_the_controlling_terminal_are_those_of_the_child() -> None:
    started = Started("read -r answer < /dev/tty; echo got $answer; exec sleep 600", stdin="terminal")
    target = started.child.input
    assert target is not None
    assert target.write(b"it\r") == "all"
    await started.until_printed(lambda printed: b"got it" in printed)
    assert target.write(b"\x03") == "all"
    assert (await started.exit()).signal == "SIGINT"


@pytest.mark.parametrize(("named", "seen"), [("dumb", b"xterm-256color"), ("", b"xterm-256color"), ("vt100", b"vt100")])
async def test_its_terminal_has_a_type_that_can_show_colours_unless_the_environment_names_another(
    monkeypatch: pytest.MonkeyPatch, named: str, seen: bytes
) -> None:
    monkeypatch.setenv("TERM", named)
    started = Started("echo $TERM", stdin="terminal")
    await started.exit()
    assert started.printed["stdout"].strip() == seen


async def test_where_its_terminal_has_no_path_it_has_the_terminal_as_its_streams_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ttyname(descriptor: int) -> str:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr(os, "ttyname", ttyname)
    started = Started("test -t 0 && ! (: < /dev/tty) 2> /dev/null", stdin="terminal")
    assert (await started.exit()).exit_code == 0


@pytest.mark.parametrize("stdin", ["open", "terminal"])
async def test_what_is_not_read_is_refused_whole_and_all_that_was_taken_arrives(stdin: Stdin) -> None:
    line = b"y" * 998 + b"\n"
    code = (
        "import sys; sys.stdin.buffer.readline(); input = sys.stdin.buffer.read(LENGTH); print(len(input), input[-1])"
    )
    waits = Started(["sleep", "600"], stdin=stdin)
    target = waits.child.input
    assert target is not None
    taken = 0
    while (answer := target.write(line)) == "all":
        taken += 1
    assert answer == "none"
    assert taken > 4
    assert target.write(line) == "none"
    drained = asyncio.Event()
    target.when_drained(drained.set)
    await waits.child.stop(GRACE_S)
    await drained.wait()
    assert target.write(line) == "closed"
    reads = Started(python(code.replace("LENGTH", str(len(line) * 200))), stdin=stdin)
    target = reads.child.input
    assert target is not None
    sent = 0
    while sent < 201:
        if target.write(line) == "all":
            sent += 1
        else:
            drained.clear()
            target.when_drained(drained.set)
            await drained.wait()
    assert await reads.until_printed(lambda printed: b"%d 10" % (len(line) * 200) in printed)
    await reads.exit()


async def test_a_pipe_can_be_ended_and_one_that_the_child_has_closed_takes_nothing() -> None:
    counts = Started("wc -c")
    assert counts.child.input is not None
    assert counts.child.input.write(b"12345") == "all"
    counts.child.input.close()
    assert counts.child.input.write(b"6") == "closed"
    assert (await counts.exit()).exit_code == 0
    assert counts.printed["stdout"].split() == [b"5"]
    deaf = Started("exec 0<&-; echo closed; exec sleep 600")
    await deaf.until_printed(lambda printed: b"closed" in printed)
    assert deaf.child.input is not None
    assert deaf.child.input.write(b"6") == "closed"
    await deaf.child.stop(GRACE_S)


@LISTS_DESCRIPTORS
async def test_where_no_terminal_is_to_be_had_the_start_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def openpty() -> tuple[int, int]:
        raise OSError(errno.ENOSPC, "out of pty devices")

    monkeypatch.setattr(os, "openpty", openpty)
    with pytest.raises(ScriptFailedToStart) as caught:
        Started(["true"], stdin="terminal")
    assert caught.value.context["errno"] == "ENOSPC"


async def test_a_terminal_for_which_no_descriptor_is_left_is_a_shortage(monkeypatch: pytest.MonkeyPatch) -> None:
    def openpty() -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "openpty", openpty)
    with pytest.raises(SystemFailed) as caught:
        Started(["true"], stdin="terminal")
    assert (caught.value.code, caught.value.outcome) == ("no_descriptor_left", "not_executed")


async def test_a_terminal_whose_program_can_not_start_is_closed() -> None:
    before = list(Path("/proc/self/fd").iterdir())
    with pytest.raises(ScriptFailedToStart):
        Started(["true"], stdin="terminal", directory="/nothing/here")
    assert len(list(Path("/proc/self/fd").iterdir())) == len(before)


class SlowThrottle(Throttle):
    def __init__(self, rest_s: float, limits: FloodLimits = DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self.rest_s = rest_s

    def rest_after(self, now: float, spent_s: float, share: float = SHARE) -> float:
        return self.rest_s


async def test_a_flood_is_held_back_while_it_rests_and_goes_on_afterwards() -> None:
    throttle = SlowThrottle(600)
    flood = Started("exec yes", throttle=throttle)
    calm = Started("echo on; exec sleep 600")
    await flood.until_printed(bool)
    held_back = len(flood.printed["stdout"])
    await calm.until_printed(bool)
    await calm.child.stop(GRACE_S)
    assert len(flood.printed["stdout"]) == held_back
    await flood.child.stop(GRACE_S)
    throttle.rest_s = 0.001
    short = Started("head -c 300000 /dev/zero", throttle=throttle)
    assert (await short.exit()).output_complete
    assert len(short.printed["stdout"]) == 300_000


COUNTS = "import sys\nfor n in range(200_000): sys.stdout.write(f'line {n}\\n')"


class Flooded(NamedTuple):
    """A flood on its way into an output. It is one even on a slow, busy machine."""

    child: Child
    output: Output
    sink: ProcessOutput


def flooded(command: list[str], is_allowed: Callable[[], bool]) -> Flooded:
    limits = FloodLimits(flood_bytes=100_000, calm_s=3600.0, sample_s=3600.0, chunk_bytes=16_384)
    output = Output("gen", max_bytes=1 << 30)
    sink = output.open("flood")
    child = start(
        command,
        "/",
        dict(os.environ),
        lambda stream, chunk: sink.feed(stream, chunk, 0.0),
        on_flood=FloodHandler(
            lambda stream, chunk: sink.sample(stream, chunk, 0.0),
            lambda stream: sink.show_sample(stream, 0.0),
            is_allowed,
        ),
        shared=Shared(SlowThrottle(0.001, limits), Scans()),
    )
    return Flooded(child, output, sink)


async def counted(*, is_allowed: bool) -> tuple[Output, int]:
    """The lines kept of 200,000, and the number of all lines."""
    flood = flooded(python(COUNTS), lambda: is_allowed)
    async with asyncio.timeout(WITHIN_S):
        await asyncio.shield(flood.child.ended)
    flood.sink.end(0.0)
    return flood.output, flood.output.log.last_n


async def test_of_a_flood_the_beginning_and_the_end_are_read_and_the_rest_is_counted() -> None:
    output, count = await counted(is_allowed=True)
    lines = list(output.log.after(0))
    marks = [line for line in lines if line.stream == "brum"]
    texts = [line.text for line in lines if line.stream == "stdout"]
    assert marks
    assert count == 200_000 + len(marks)
    assert len(texts) < 150_000
    assert texts[:5_000] == [f"line {number}" for number in range(5_000)]
    assert texts[-2_500:] == [f"line {number}" for number in range(197_500, 200_000)]


async def test_a_flood_is_held_back_if_a_follower_needs_every_line() -> None:
    output, _ = await counted(is_allowed=False)
    assert [line.text for line in output.log.after(0)] == [f"line {number}" for number in range(200_000)]


async def test_a_flood_is_read_in_full_from_the_moment_at_which_a_follower_needs_every_line() -> None:
    """And what was not kept until then is reported at once."""
    needed = False
    flood = flooded(["yes"], lambda: not needed)
    log = flood.output.log
    async with asyncio.timeout(WITHIN_S):
        while "sampling" not in repr(flood.child):
            await asyncio.sleep(0.001)
        needed, before = True, log.last_n
        while "sampling" in repr(flood.child) or log.last_n < before + 10_000:
            await asyncio.sleep(0.001)
    kept = sum(1 for line in log.after(before))
    assert log.last_n - before - kept == log.dropped_between(before, log.last_n)
    assert [line.n for line in log.newest()][:1000] == list(range(log.last_n, log.last_n - 1000, -1))
    await flood.child.stop(GRACE_S)


async def test_the_last_lines_of_a_flood_are_shown_at_intervals_and_its_end_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports: asyncio.Queue[str] = asyncio.Queue()
    limits = FloodLimits(flood_bytes=1, calm_s=3600.0, sample_s=0.001)
    monkeypatch.setattr("brummer.process.throttle.STILL_BYTES", 0)  # it is a flood however little is read
    flood = start(
        ["yes"],
        "/",
        dict(os.environ),
        lambda _, chunk: None if chunk else reports.put_nowait("over"),
        on_flood=FloodHandler(lambda _, chunk: None, lambda stream: reports.put_nowait(f"show {stream}"), lambda: True),
        shared=Shared(SlowThrottle(0.001, limits), Scans()),
    )
    async with asyncio.timeout(WITHIN_S):
        assert [await reports.get() for _ in range(3)] == ["show stdout"] * 3
        monkeypatch.setattr("brummer.process.throttle.STILL_BYTES", sys.maxsize)  # however much
        while (report := await reports.get()) != "over":
            assert report == "show stdout"
    await flood.stop(GRACE_S)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "no_process_left"),
        (OSError(errno.EMFILE, "Too many open files"), "no_descriptor_left"),
    ],
    ids=["no memory", "memory limit of the process", "no process", "no descriptor"],
)
async def test_each_shortage_at_a_start_has_an_error_of_its_own_with_advice(
    error: Exception, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "Popen", refused)
    with pytest.raises(SystemFailed) as caught:
        Started(["true"])
    assert (caught.value.code, caught.value.retryable, caught.value.outcome) == (code, True, "not_executed")
    assert caught.value.message.endswith(").")


async def test_a_child_that_can_not_be_watched_at_once_is_watched_as_soon_as_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0

    def short(pid: int) -> ProcessIdentity | None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return identify(pid)

    monkeypatch.setattr("brummer.process.child.identify", short)
    assert (await Started("exit 5").exit()).exit_code == 5
    assert looks == 2


async def test_a_child_whose_output_can_not_be_read_is_ended_and_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as epoll_ctl does beyond max_user_watches

    before = set(psutil.Process().children())
    monkeypatch.setattr("brummer.process.child.PipeReader", refused)
    with pytest.raises(ScriptFailedToStart):
        Started(["sleep", "600"])
    assert set(psutil.Process().children()) == before


async def test_a_pipe_that_can_not_be_read_for_a_while_is_read_on_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, read = 0, os.read

    def short(descriptor: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        if reads == 1:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return read(descriptor, size)

    started = Started(["sh", "-c", "echo hello; sleep 0.2; echo on"])
    monkeypatch.setattr("brummer.process.pipe_reader.os.read", short)
    assert (await started.exit()).exit_code == 0
    assert started.printed["stdout"] == b"hello\non\n"
    assert reads < 20
