"""kill -9 of the instance must leave no orphans: a guard process sees its death and ends what it started.

The guard holds the read end of a pipe whose only write end is ours (close-on-exec, so no child has it). We
report the process groups that live; when we die, the pipe ends. `guard_main` is its program and says what it
does then.

It is spawned, not forked. A fork before asyncio would take 0.2 ms of our time and a spawn takes 0.5
(measured; its 13 ms of start-up run on another core, and the pipe keeps what we say meanwhile). In return the
guard has nothing of ours: no locks, no descriptors, no marked environment, and no command line in which
`pkill -f brum` finds us, for it is given its program by descriptor and the interpreter that no virtual environment
hides. And a guard that was killed can be replaced at any time in the same way, which a fork under threads
could not.
"""

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from brummer.core.errors import BrummerError
from brummer.host.exits import watch_exit
from brummer.host.pids import identify

MARK: Final = "BRUMMER_PROCESS"
"""An environment variable that every process of an instance inherits; its value is the generation."""
CLOSE_TIMEOUT_S = 3.0
"""The guard itself gives up after `brummer.process.guard_main.GIVE_UP_AFTER_S`."""
PROGRAMS: Final = [Path(__file__).with_name("guard_main.py")]
"""The guard's program, and on macOS what that needs beside the standard library."""
if sys.platform == "darwin":
    from brummer.host.macos import process_table

    PROGRAMS.append(Path(process_table.__file__))
_MISSING: Final = "if this process is killed, its scripts keep running"

_log = logging.getLogger(__name__)


RUN_MARK: Final = "BRUMMER_RUN"
"""Name of the variable that every process of one run of a script inherits; its value is unique to that run."""


def marks(generation: str, process_id: str = "") -> dict[str, str]:
    """The variables by which the processes of a run are found wherever they are."""
    return {MARK: generation, RUN_MARK: f"{generation}/{process_id}"}


class GuardMissing(BrummerError):
    """If this process is killed, nothing ends its scripts."""

    code = "guard_missing"


class Guard:
    """Call `start` before all else, `keep` while the loop runs, and `close` after all else.

    Before `start`, `add` and `remove` only keep the list.
    """

    def __init__(self, generation: str) -> None:
        self._generation = generation
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None
        self._is_wanted = False

    def __repr__(self) -> str:
        return f"<Guard pid={self.pid} of {len(self._groups)} groups>"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def groups(self) -> frozenset[int]:
        return frozenset(self._groups)

    def children(self) -> set[int]:
        """All that we have: the guard, and the leaders of the groups."""
        return {*self._groups, *([self._process.pid] if self._process else [])}

    def start(self) -> None:
        """Returns before the guard runs: the pipe remembers. A failure is logged, and we go on."""
        self._is_wanted = True
        try:
            self._spawn()
        except OSError as error:
            _log.warning("no guard: %s (%s)", _MISSING, error)

    def add(self, group: int) -> None:
        self._groups.add(group)
        self._write(f"+{group}\n")

    def remove(self, group: int) -> None:
        """The group is empty."""
        self._groups.discard(group)
        self._write(f"-{group}\n")

    async def keep(self) -> None:
        """On the running loop: start a guard if there is none, and watch it. Waits for ever before `start`.

        Raises GuardMissing if it has died or can't be started; then call again.
        """
        if not self._is_wanted:
            await asyncio.Event().wait()
        if self._process is None:
            try:
                self._spawn()
            except OSError as error:
                raise GuardMissing(f"{_MISSING} ({error})") from error
        status = await self._died()
        self._process = None
        self._close_pipe()
        raise GuardMissing(f"the guard died (status {status}); until there is another, {_MISSING}")

    async def close(self) -> None:
        """Let the guard end all processes and exit: usually 40 ms, at most 3 s. Do not call `keep` after it."""
        self._close_pipe()
        if self._process is not None:
            await asyncio.to_thread(_reaped, self._process)
            self._process = None

    def _spawn(self) -> None:
        """The environment is passed on without a mark: an outer instance's guard must not end ours before it
        is done.
        """
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        read_end, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        try:
            with contextlib.ExitStack() as files:
                programs = [files.enter_context(program.open("rb")).fileno() for program in PROGRAMS]
                program, *further = (f"/dev/fd/{descriptor}" for descriptor in programs)
                self._process = subprocess.Popen(
                    [os.path.realpath(sys.executable), "-I", "-S", program, self._generation, *further],
                    stdin=read_end,
                    stdout=subprocess.DEVNULL,
                    pass_fds=programs,
                    start_new_session=True,
                    env=environment,
                )
        except OSError:
            self._close_pipe()
            raise
        finally:
            os.close(read_end)
        for group in self._groups:
            self._write(f"+{group}\n")

    def _write(self, line: str) -> None:
        """If the guard is gone, or stopped for so long that the pipe is full, `keep` replaces it."""
        if self._pipe is None:
            return
        try:
            os.write(self._pipe, line.encode())
        except BlockingIOError:
            self._process.kill() if self._process else None
        except BrokenPipeError:
            pass

    async def _died(self) -> int | None:
        """Wait for its end; returns its exit status. Raises OSError if it can't be watched just now."""
        process = self._process
        if process is None:
            return None
        died = asyncio.Event()
        identity = identify(process.pid)
        watch = watch_exit(asyncio.get_running_loop(), identity, died.set) if identity else None
        try:
            if watch is not None:
                await died.wait()
        finally:
            if watch is not None:
                watch.close()
        return process.wait()

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                os.close(self._pipe)
            self._pipe = None


def _reaped(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(CLOSE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
