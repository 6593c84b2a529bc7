"""Writes the output and the changes of an instance's runs as they happen, into bounded files that survive a kill -9.

The loop collects them, and one thread writes them a few milliseconds later, because a disk may stall. There is no
fsync: a write is safe from our death, and only a crash of the machine loses it.

The output of a process that prints faster than `RATE_BYTES_S` is written at that rate: a pause follows each write, and
then the newest `KEPT_BYTES` of the output since are written. A line in the file reports the number of missing lines. A
disk that is full or can't be written costs lines, and one warning in the log; never more.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from brummer.host.clocks import awake
from brummer.logs.journal import record_format
from brummer.logs.journal.files import KEPT_BYTES, LostLines, NotedChange, ProjectFiles, RunFiles
from brummer.logs.journal.record_format import About, cost
from brummer.logs.output import Line
from brummer.settings.limits import DEFAULTS, Limits

RATE_BYTES_S: Final = 4 * 1024 * 1024
"""A flood costs at most 3 % of a core here; more output would be displaced half a second later anyway."""
GATHER_S: Final = 0.01
"""The shortest pause between two writes: waking the thread costs 0.1 ms."""
RETRY_S: Final = 1.0
CLOSE_S: Final = 2.0


class Journal:
    """The journal of one generation of an instance. Before its first run there are no files and no thread.

    ``find_root`` gives the directory that all projects share; it is called in the thread.
    """

    def __init__(
        self,
        find_root: Callable[[], Path],
        about: About,
        generation: str,
        *,
        limits: Limits = DEFAULTS,
        retry_s: float = RETRY_S,
    ) -> None:
        self._files = ProjectFiles(find_root, about, limits)
        self._generation = generation
        self._retry_s = retry_s
        self._runs = 0
        self._open: set[RunJournal] = set()
        self._has_news = threading.Event()
        self._thread: threading.Thread | None = None
        self._no_thread: str | None = None
        self._restart: asyncio.TimerHandle | None = None
        self._is_closing = False

    def __repr__(self) -> str:
        return f"<Journal of {self._generation}, {len(self._open)} open, problem: {self.problem}>"

    @property
    def problem(self) -> str | None:
        """Why it can't be written just now; None if it can."""
        return self._no_thread or self._files.problem

    def open(self, script: str) -> "RunJournal":
        """The journal of a new run of a script."""
        self._runs += 1
        files = RunFiles(self._files, record_format.stem(self._generation, self._runs, script))
        run = RunJournal(files, self._wake, self._retry_s)
        self._open.add(run)
        return run

    async def close(self) -> None:
        """Write the rest, within 2 s."""
        for run in tuple(self._open):
            run.close()
        self._is_closing = True
        if self._restart:
            self._restart.cancel()
        if self._thread:
            self._has_news.set()
            await asyncio.to_thread(self._thread.join, CLOSE_S)

    def _wake(self) -> None:
        """A run has something to write. Without a thread everything waits, and the oldest lines are dropped."""
        if self._thread is None and self._restart is None:
            self._start_thread()
        if not self._has_news.is_set():
            self._has_news.set()

    def _start_thread(self) -> None:
        """A daemon: a disk that never answers must not prevent the end of this process."""
        self._restart = None
        thread = threading.Thread(target=self._write, name="black box", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the limit on threads of the user or the container is reached
            self._no_thread = f"no thread can be started: {error}"
            self._restart = asyncio.get_running_loop().call_later(self._retry_s, self._start_thread)
        else:
            self._thread, self._no_thread = thread, None

    def _write(self) -> None:
        """The thread: write what is due, until `close`."""
        pause_s: float | None = None
        while not self._is_closing or self._has_news.is_set():
            self._has_news.wait(pause_s)
            self._has_news.clear()
            now_s = awake()
            for run in tuple(self._open):
                if run.is_due(now_s) and run.write(now_s):
                    self._open.discard(run)
            if not self._is_closing:
                time.sleep(GATHER_S)
            waiting = [run.not_before_s for run in tuple(self._open) if run.has_news]
            pause_s = max(0.0, min(waiting) - awake()) if waiting else None


class RunJournal:
    """The journal of one run. The loop calls `add`, `note` and `close`, which return at once; the thread the rest."""

    def __init__(self, files: RunFiles, wake: Callable[[], None], retry_s: float) -> None:
        self._files = files
        self._wake = wake
        self._retry_s = retry_s
        self._lock = threading.Lock()
        self._lines: deque[Line] = deque()
        self._cost = 0
        self._lost = LostLines()
        self._noted: list[NotedChange] = []
        self._is_closed = False
        self.not_before_s = 0.0
        """The end of the pause after its last write, on the awake clock. The end of the run does not wait for it."""

    def add(self, lines: Sequence[Line]) -> None:
        """Lines that the run printed."""
        with self._lock:
            self._lines.extend(lines)
            self._cost += sum(map(cost, lines))
            while self._cost > KEPT_BYTES:
                oldest = self._lines.popleft()
                self._cost -= cost(oldest)
                self._lost.add(oldest)
        self._wake()

    def note(self, n: int, change: object, process: object) -> None:
        """Change ``n`` of the instance, and the facts of the run after it; neither may be modified later."""
        with self._lock:
            self._noted.append((n, change, process))
        self._wake()

    def close(self) -> None:
        """The run is over."""
        self._is_closed = True
        self._wake()

    @property
    def has_news(self) -> bool:
        return bool(self._noted or self._lines or self._is_closed or self._files.has_failed)

    def is_due(self, now_s: float) -> bool:
        """Something is to be written now."""
        return self.has_news and (self._is_closed or now_s >= self.not_before_s)

    def write(self, now_s: float) -> bool:
        """Write everything; True if the run is over."""
        with self._lock:
            is_last, spent, lines, noted, lost = self._is_closed, self._cost, self._lines, self._noted, self._lost
            self._cost, self._lines, self._noted, self._lost = 0, deque(), [], LostLines()
        self._files.write(list(lines), noted, lost, is_last=is_last)
        self.not_before_s = now_s + (self._retry_s if self._files.has_failed else spent / RATE_BYTES_S)
        return is_last
