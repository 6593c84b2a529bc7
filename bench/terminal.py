"""A program on a terminal of its own, as a person has it in front of them: what it draws, when, and at what cost.

It answers the program's question for synchronized output, as today's terminals do. So each picture has a begin that can
be counted. It emulates nothing: what is looked for is a piece of text that is drawn in one piece.
"""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from driver import PATIENCE_S

ROWS, COLUMNS = 30, 120
READ_BYTES: Final = 65_536

ALTERNATE_SCREEN: Final = b"\x1b[?1049h"
PICTURE: Final = b"\x1b[?2026h"
ASKS_FOR_PICTURES: Final = b"\x1b[?2026$p"
HAS_PICTURES: Final = b"\x1b[?2026;2$y"

_SEQUENCE: Final = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[ -/]*[0-~])")


class NotDrawnError(Exception):
    """The program did not draw what was waited for, or ended before."""


class Seen(NamedTuple):
    """When something was there, as `time.perf_counter`, and the CPU time that the program had used by then."""

    at_s: float
    cpu_s: float


def cpu_s(pid: int) -> float:
    """The CPU time of a process, with all its threads, living or ended, in nanoseconds' precision. Raises OSError.

    Linux names this clock by the process id, see clock_getcpuclockid(3); the time in /proc has a hundredth of a second.
    """
    return time.clock_gettime((~pid << 3) | 2)


class Terminal:
    """``pid``: of the program. What it draws is kept from the last `forget` on."""

    def __init__(self, process: "subprocess.Popen[bytes]", descriptor: int) -> None:
        self.pid = process.pid
        self.started_s = time.perf_counter()
        self.pictures = 0
        self._process = process
        self._descriptor = descriptor
        self._drawn = b""
        self._news = threading.Condition()
        self._has_ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except OSError:  # the program has ended
                data = b""
            with self._news:
                self._drawn += data
                self.pictures += data.count(PICTURE)
                self._has_ended = not data
                self._news.notify_all()
            if not data:
                return
            if ASKS_FOR_PICTURES in data:
                os.write(self._descriptor, HAS_PICTURES)

    def forget(self) -> None:
        """What was drawn so far counts no more."""
        with self._news:
            self._drawn = b""

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def wait_for(self, *texts: str, within_s: float = PATIENCE_S) -> Seen:
        """Until all of them were drawn. Raises NotDrawnError."""
        wanted = [text.encode() for text in texts]
        return self._wait(lambda drawn: all(text in drawn for text in wanted), " and ".join(texts), within_s)

    def wait_for_alternate_screen(self) -> Seen:
        """Raises NotDrawnError."""
        with self._news:
            return self._until(lambda: ALTERNATE_SCREEN in self._drawn, "the alternate screen", PATIENCE_S)

    def _wait(self, is_there: Callable[[bytes], bool], what: str, within_s: float) -> Seen:
        with self._news:
            return self._until(lambda: is_there(_SEQUENCE.sub(b"", self._drawn)), what, within_s)

    def _until(self, is_there: Callable[[], bool], what: str, within_s: float) -> Seen:
        """With the lock held."""
        self._news.wait_for(lambda: self._has_ended or is_there(), within_s)
        seen = time.perf_counter()
        if not is_there():
            drawn = _SEQUENCE.sub(b"", self._drawn)[-2000:].decode(errors="replace")
            raise NotDrawnError(f"{what}: not drawn within {within_s:g} s; the end of what was drawn: {drawn!r}")
        return Seen(seen, cpu_s(self.pid))

    def wait_until_quiet(self, quiet_s: float) -> None:
        """Until nothing was drawn for so long. Raises NotDrawnError."""
        deadline = time.monotonic() + PATIENCE_S
        with self._news:
            while self._news.wait(quiet_s):
                if time.monotonic() > deadline:
                    raise NotDrawnError(f"silence of {quiet_s:g} s: it draws all the time")

    def end(self) -> None:
        """Kill what is left of it. Raises subprocess.TimeoutExpired."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        os.close(self._descriptor)

    def leave(self) -> None:
        """By its key. Raises subprocess.TimeoutExpired."""
        self.type("q")
        self._process.wait(PATIENCE_S)


@contextlib.contextmanager
def terminal(command: Sequence[str], environment: Mapping[str, str], place: Path) -> Iterator[Terminal]:
    """Run it on a terminal of 120 × 30, in a session of its own."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    kept = {name: value for name, value in environment.items() if name not in {"CI", "NO_COLOR", "COLUMNS", "LINES"}}
    process = subprocess.Popen(
        ["setsid", "--ctty", *command],  # becomes the command, with the terminal as its own
        env={**kept, "TERM": "xterm-256color"},
        cwd=place,
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    program = Terminal(process, ours)
    try:
        yield program
    finally:
        program.end()
