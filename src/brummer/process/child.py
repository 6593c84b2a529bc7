"""One child: a leader in its own session, its process group, its two pipes or its terminal.

The order of an end: the leader dies (pidfd) → its status is noted, but it stays a zombie, which keeps its number ours →
the rest of its group is asked to end, then killed → the pipes are read to their end, or for half a second if a process
outside the group holds them open → the leader is reaped. Only then is the child `ended`: all of its output is there,
none of its group lives, and no signal can have reached another process. The processes that have left the group
(`process_tree`) end with a script that was stopped or has failed.
"""

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import msgspec

from brummer.core.errors import SHORTAGES, BrummerError, system_error
from brummer.host.exits import watch_exit
from brummer.host.memory import peak_bytes
from brummer.host.pids import identify
from brummer.host.process_groups import end_group, kill_group, peek_exit, reap
from brummer.process.guard import RUN_MARK
from brummer.process.pipe_reader import FloodHandler, OnOutput, PipeReader, Stream
from brummer.process.process_tree import RETRY_S, ProcessTree, Scans, all_died
from brummer.process.throttle import Throttle

if TYPE_CHECKING:
    from brummer.host.terminals import Terminal
    from brummer.process.child_input import ChildInput

LEFTOVER_GRACE_S = 1.0
"""For the processes that a dead leader left behind: their work is of no use, but they may have files to close."""
KILL_WAIT_S = 2.0
"""SIGKILL works at once, except on a process in a system call on a dead disk."""
DRAIN_S = 0.5
"""For the end of a pipe from which all was read: a process outside the group may keep it open."""
UNREAD_CHECK_S = 0.001
KEEPS_TERMINALS = sys.platform == "darwin"
"""When the last user of a terminal closes it, macOS drops what was not read yet. So we stay one until all is read."""
NOT_YET_S = (0.001,) * 20
"""Pauses while a dead leader can't be waited for yet: macOS reports a death some instructions too early. Later than
that, it only seemed dead: its /proc is hidden from us.
"""
LEAVING_S = (0.01, 0.03, 0.06, 0.1, 0.1)
"""Pauses in which a daemon leaves the group (setsid) once its parent has exited; on a busy machine that takes a little.
"""


Stdin = Literal["open", "ended", "terminal"]
"""The standard input of a child: a pipe that stays open until the child or we end, because many programs end with their
input, which they take for the life of who started them; or the end of input at once; or a terminal. See `Child.input`.
"""


class ScriptFailedToStart(BrummerError):
    """The system could not start the command; ``context`` has command, directory and errno's name."""

    code = "script_failed_to_start"


class StopTimedOut(BrummerError):
    """Some of the group live after SIGKILL, or may not be signalled by us; ``context.pids`` names them."""

    code = "stop_timed_out"
    transient = True
    default_outcome = "failed"


class Exit(msgspec.Struct, frozen=True):
    """How it ended: ``exit_code``, or ``signal`` by name; both None if another process has taken its status.

    ``asked``: after `Child.stop`. ``output_complete`` is False if a process outside the group kept a pipe open, so that
    more output might have come. ``was_forced``: by our own SIGKILL, because the grace of a stop was over.
    """

    exit_code: int | None
    signal: str | None
    asked: bool
    output_complete: bool
    was_forced: bool = False


class Shared(msgspec.Struct, frozen=True):
    """What all children of an instance share: the loop's time for their output, and the scans of processes."""

    throttle: Throttle
    scans: Scans


def start(
    command: Sequence[str] | str,
    directory: str | Path,
    environment: Mapping[str, str],
    on_output: OnOutput,
    *,
    on_flood: FloodHandler | None = None,
    stdin: Stdin = "open",
    shared: Shared | None = None,
) -> "Child":
    """Start a command, a text through /bin/sh, on the running loop. Raises ScriptFailedToStart, SystemFailed.

    ``on_output(stream, chunk)`` is called on the loop. Without ``on_flood`` a flood is held back. With a terminal
    as ``stdin`` all three standard streams are that, and all that it prints is "stdout". Blocks for the 1 ms until the
    program is loaded.
    """
    arguments = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    screen = _terminal(arguments, str(directory)) if stdin == "terminal" else None
    try:
        process = subprocess.Popen(
            screen.starting(arguments) if screen else arguments,
            cwd=directory,
            env=environment if screen is None else screen.environment(environment),
            stdin=screen.inside if screen else subprocess.DEVNULL if stdin == "ended" else subprocess.PIPE,
            stdout=subprocess.PIPE if screen is None else screen.inside,
            stderr=subprocess.PIPE if screen is None else screen.inside,
            bufsize=0,
            start_new_session=True,
        )
    except (OSError, ValueError, MemoryError) as error:
        if screen:
            screen.outside.close()
            screen.inside.close()
        raise _failed_to_start(arguments, str(directory), error) from None
    if screen and not KEEPS_TERMINALS:
        screen.inside.close()
    pipes: dict[Stream, IO[bytes] | None] = {"stdout": process.stdout, "stderr": process.stderr}
    pipes = {"stdout": screen.outside} if screen else pipes
    try:
        child = Child(
            process, pipes, on_output, on_flood, environment.get(RUN_MARK, ""), shared or Shared(Throttle(), Scans())
        )
        child.terminal = screen
        return child
    except OSError as error:  # it runs, but can't be read: no code would ever end it
        kill_group(process.pid)
        process.wait()
        for pipe in filter(None, (*pipes.values(), process.stdin, screen.inside if screen else None)):
            pipe.close()
        raise _failed_to_start(arguments, str(directory), error) from None


def _terminal(arguments: list[str], directory: str) -> "Terminal":
    from brummer.host.terminals import open_terminal  # noqa: PLC0415 - few scripts have one

    try:
        return open_terminal()
    except OSError as error:
        if error.errno in SHORTAGES:
            raise _failed_to_start(arguments, directory, error) from None
        raise ScriptFailedToStart(
            f"could not start {arguments[0]}: no terminal is available: {error.strerror}",
            command=arguments,
            directory=directory,
            errno=errno.errorcode.get(error.errno or 0),
        ) from None


def _failed_to_start(arguments: list[str], directory: str, error: OSError | ValueError | MemoryError) -> BrummerError:
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or number in SHORTAGES or number == errno.EAGAIN:
        doing = f"could not start {arguments[0]}"
        facts = {"command": arguments, "directory": directory}
        return system_error(error, doing, outcome="not_executed", **facts)  # type: ignore[arg-type]
    if isinstance(error, OSError) and str(error.filename) == directory:
        why = f"its directory {directory} can't be entered: {error.strerror}"
    elif number == errno.ENOENT:
        why = f"{arguments[0]} was not found; is it installed and on PATH?"
    else:
        why = f"{arguments[0]}: {error.strerror if isinstance(error, OSError) else error}"
    return ScriptFailedToStart(
        f"could not start {arguments[0]}: {why}" if why.startswith("its") else f"could not start: {why}",
        command=arguments,
        directory=directory,
        errno=errno.errorcode.get(number) if number else None,
    )


class Child:
    """A started child. Its group has the number ``pid``; the environment of all that it starts has ``mark``."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        pipes: Mapping[Stream, IO[bytes] | None],
        on_output: OnOutput,
        on_flood: FloodHandler | None,
        mark: str,
        shared: Shared,
    ) -> None:
        self.pid = process.pid
        self._inherited_bytes = peak_bytes()
        """The kernel counts our own peak as the leader's: it had our memory before it loaded its program."""
        self.tree = ProcessTree(process.pid, f"{RUN_MARK}={mark}", shared.scans)
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._stop_asked = False
        self._stopping: asyncio.Task[None] | None = None
        self._grace_ends_s = 0.0
        self._kill_timer: asyncio.TimerHandle | None = None
        self._was_forced = False
        self.terminal: Terminal | None = None
        self._input: ChildInput | None = None
        self._all_read = asyncio.Event()
        self._readers = {
            stream: PipeReader(stream, pipe, on_output, on_flood, shared.throttle, self._note_end_of_output)
            for stream, pipe in pipes.items()
            if pipe is not None
        }
        self._leader_died = asyncio.Event()
        self._unwatch: Callable[[], None] = lambda: None
        self._watch_leader()
        self.ended: asyncio.Task[Exit] = self._loop.create_task(self._live(), name=f"child {self.pid}")
        """Await it shielded: it is shared."""

    def __repr__(self) -> str:
        state = "ended" if self.ended.done() else "stopping" if self._stop_asked else "alive"
        return f"<Child pid={self.pid} {state}, {list(self._readers.values())}>"

    @property
    def input(self) -> "ChildInput | None":
        """The way to type to it; None if its input ended at its start. Raises OSError without a free descriptor."""
        if self._input is None and not self.ended.done():
            from brummer.process.child_input import ChildInput  # noqa: PLC0415 - few scripts are typed to

            if self.terminal and not self.terminal.outside.closed:
                self._input = ChildInput(os.dup(self.terminal.outside.fileno()), is_terminal=True)
            elif self._process.stdin:
                self._input = ChildInput(os.dup(self._process.stdin.fileno()), is_terminal=False)
                self._process.stdin.close()
        return self._input

    async def stop(self, grace_s: float, number: signal.Signals = signal.SIGTERM) -> Exit:
        """Send the signal to the whole group, and SIGKILL after ``grace_s``; returns when all of it is gone and its
        output is read. Carried through even if the caller is cancelled. Raises StopTimedOut.
        """
        if not self.ended.done() and not self._stop_asked:
            self._stop_asked = True
            self._grace_ends_s = self._loop.time() + grace_s
            self._stopping = self._loop.create_task(self._ask_to_end(grace_s, number), name=f"stop {self.pid}")
        try:
            async with asyncio.timeout(grace_s + KILL_WAIT_S):
                return await asyncio.shield(self.ended)
        except TimeoutError:
            pids = [member.pid for member in await self.tree.members()]
            raise StopTimedOut(f"processes {pids} did not end, not even by SIGKILL", pids=pids) from None

    async def end_daemons(self, grace_s: float) -> bool:
        """End the processes that have left the group of a script that has exited well; True if there were any."""
        return await self.tree.end_escapees(grace_s)

    async def has_daemons(self) -> bool:
        """Whether `end_daemons` would find any."""
        return await self.tree.has_escapees()

    async def abandon(self) -> None:
        """Give up a child that can't be stopped: close the pipes, end the task. Its zombie stays until we exit."""
        self.ended.cancel()
        await asyncio.wait([self.ended, *([self._stopping] if self._stopping else [])])
        self._release()  # a task that never began had no chance to

    async def _ask_to_end(self, grace_s: float, number: signal.Signals) -> None:
        await self.tree.remember()
        self._end_group(grace_s, number)

    async def _live(self) -> Exit:
        try:
            await self._leader_died.wait()
            self.tree.usage.leader_died()
            asked, was_forced = self._stop_asked, self._was_forced
            status = await self._status()
            await self._group_is_empty(LEAVING_S if status == 0 else ())
            if self._stop_asked or status != 0:
                await self._escapees_are_gone()
            complete = await self._output_is_read()
            if self._stopping:  # it may still scan, and must not signal a number that is no longer ours
                await asyncio.wait([self._stopping])
            self._reap()
            code, name = (None, _signal_name(-status)) if status is not None and status < 0 else (status, None)
            return Exit(code, name, asked, complete, was_forced and name == "SIGKILL")
        finally:
            self._release()

    def _watch_leader(self) -> None:
        """Try again until a descriptor is free."""
        try:
            identity = identify(self.pid)
        except OSError:
            self._unwatch = self._loop.call_later(RETRY_S, self._watch_leader).cancel
            return
        if identity is None:
            self._leader_died.set()
        else:
            self._unwatch = watch_exit(self._loop, identity, self._leader_died.set).close

    async def _status(self) -> int | None:
        """The status of the dead leader; None if it was taken, as by the kernel while SIGCHLD is ignored."""
        pauses = iter(NOT_YET_S)
        while True:
            try:
                status = peek_exit(self.pid)
            except ChildProcessError:
                return None
            if status is not None:
                return status
            await asyncio.sleep(next(pauses, RETRY_S))

    def _reap(self) -> None:
        try:
            self._process.returncode, cpu_s, peak = reap(self.pid)
        except ChildProcessError:  # by the kernel, as above
            self._process.wait()
        else:
            self.tree.usage.reaped(cpu_s, peak if peak > self._inherited_bytes else None)

    async def _group_is_empty(self, leaving_s: Sequence[float]) -> None:
        """End the members that are left after these pauses. Members may fork, so repeat until none is left."""
        pauses = iter(leaving_s)
        while living := await self.tree.members():
            pause_s = None if self._stop_asked else next(pauses, None)
            if pause_s is not None:
                await asyncio.sleep(pause_s)
                continue
            self._end_group(LEFTOVER_GRACE_S)
            await all_died(living)

    def _end_group(self, grace_s: float, number: signal.Signals = signal.SIGTERM) -> None:
        """The first call sets the grace."""
        if self._kill_timer is None:
            end_group(self.pid, number)
            self._kill_timer = self._loop.call_later(grace_s, self._kill_group)

    def _kill_group(self) -> None:
        self._was_forced = True
        kill_group(self.pid)

    async def _escapees_are_gone(self) -> None:
        """After a stop or a failure, end the processes that left the group (setsid, double fork): they would block the
        next run. A script that ended well may have started a daemon on purpose: it lives until `end_daemons`. As the
        group, they have the grace of a stop to end themselves.
        """
        await self.tree.end_escapees(self._grace_ends_s - self._loop.time())

    async def _output_is_read(self) -> bool:
        for reader in self._readers.values():
            await reader.rest_is_read()  # what the dead have printed is there, though a busy machine takes its time
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while KEEPS_TERMINALS and self.terminal and self.terminal.unread_bytes():  # noqa: ASYNC110 — no event
                    await asyncio.sleep(UNREAD_CHECK_S)  # the reader has its own pace
                self._let_go_of_the_terminal()
                await self._all_read.wait()
        return self._all_read.is_set()

    def _let_go_of_the_terminal(self) -> None:
        if self.terminal:
            self.terminal.inside.close()

    def _note_end_of_output(self) -> None:
        if all(reader.is_closed for reader in self._readers.values()):
            self._all_read.set()

    def _release(self) -> None:
        if self._kill_timer:
            self._kill_timer.cancel()
        self._unwatch()
        self._let_go_of_the_terminal()
        for reader in self._readers.values():
            reader.close()
        if self._process.stdin:
            self._process.stdin.close()
        if self._input:
            self._input.close()
        self._process.poll()  # also after an internal error, since no other code takes its status


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"  # a real-time signal
