"""Writes the output and the changes of an instance's runs as they happen, into bounded files that survive a kill -9.

Lines are collected on the loop and written by one thread, a few milliseconds later, because a disk may stall. There is
no fsync: a write is safe from our death, and only a crash of the machine loses it.

The output of a process that prints faster than `RATE_BYTES_S` is written at that rate: a pause follows each write, and
then the newest `KEPT_BYTES` of the output since are written. A line in the file reports the number of missing lines. A
disk that is full or can't be written costs lines, and one warning in the log; never more.
"""

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from brummer.logs.journal import record_format
from brummer.logs.journal.files import KEPT_BYTES, LostLines, NotedChange, ProjectFiles, RunFiles
from brummer.logs.journal.record_format import About, cost
from brummer.logs.output import Line
from brummer.settings.limits import DEFAULTS

RATE_BYTES_S: Final = 4 * 1024 * 1024
"""A flood costs at most 3 % of a core here; more output would be displaced half a second later anyway."""
GATHER_S: Final = 0.01
"""The shortest pause between two writes: waking the thread costs 0.1 ms."""
RETRY_S: Final = 1.0
CLOSE_S: Final = 2.0

Batch = tuple[RunFiles, list[Line], list[NotedChange], LostLines, bool]


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
        limit_bytes: int = DEFAULTS.journal_bytes,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._files = ProjectFiles(find_root, about, limit_bytes)
        self._generation = generation
        self._runs = 0
        self._open: set[RunJournal] = set()
        self._waiting: set[RunJournal] = set()
        self._handed_over: list[RunJournal] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = 0.0
        self._not_before_s = 0.0
        self._no_thread: str | None = None
        self._writer: _Writer | None = None

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
        run = RunJournal(files, self._is_waiting)
        self._open.add(run)
        return run

    async def close(self) -> None:
        """Write the rest, within 2 s."""
        for run in tuple(self._open):
            run.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting:
            self._hand_over(list(self._waiting), self._loop.time())
        writer, self._writer = self._writer, None
        if writer is not None:
            await asyncio.to_thread(writer.end)

    def _is_waiting(self, run: "RunJournal") -> None:
        """The run has something to write."""
        self._waiting.add(run)
        self._plan()

    def _plan(self) -> None:
        """Set the timer for the first moment at which something may be written; no timer while the thread writes."""
        if not self._waiting or (self._writer is not None and self._writer.is_busy):
            return
        due_s = max(self._not_before_s, min(run.not_before_s for run in self._waiting))
        if self._timer is not None and due_s < self._timer_s:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer, self._timer_s = self._loop.call_at(due_s, self._write), due_s

    def _write(self) -> None:
        """Hand the thread everything that may be written now."""
        now_s = self._loop.time()
        self._timer, self._not_before_s = None, now_s + GATHER_S
        if due := [run for run in self._waiting if run.not_before_s <= now_s]:
            self._hand_over(due, now_s)
        self._plan()

    def _hand_over(self, runs: list["RunJournal"], now_s: float) -> None:
        """Without a thread everything waits, and the oldest lines are dropped."""
        if self._writer is None or not self._writer.is_alive:
            try:
                self._writer = _Writer(self._loop, self._written)
            except RuntimeError as error:  # the limit on threads of the user or the container is reached
                self._no_thread, self._not_before_s = f"no thread can be started: {error}", now_s + RETRY_S
                return
            self._no_thread = None
        self._waiting.difference_update(runs)
        self._open.difference_update(run for run in runs if run.is_closed)
        self._handed_over = runs
        self._writer.write([run.batch(now_s) for run in runs])

    def _written(self) -> None:
        """Retry a failed write, also if the scripts print nothing more."""
        for run in self._handed_over:
            run.retry_if_failed()
        self._plan()


class RunJournal:
    """The journal of one run. All methods are for the loop, and return at once."""

    def __init__(self, files: RunFiles, on_waiting: Callable[["RunJournal"], None]) -> None:
        self._files = files
        self._on_waiting = on_waiting
        self._is_waiting = False
        self._lines: deque[Line] = deque()
        self._cost = 0
        self._lost = LostLines()
        self._noted: list[NotedChange] = []
        self.not_before_s = 0.0
        """How long it must wait: the pause that follows from its last write. Its end does not wait."""
        self.is_closed = False

    def add(self, lines: Sequence[Line]) -> None:
        """Lines that the run printed."""
        self._lines.extend(lines)
        self._cost += sum(map(cost, lines))
        while self._cost > KEPT_BYTES:
            oldest = self._lines.popleft()
            self._cost -= cost(oldest)
            self._lost.add(oldest)
        if not self._is_waiting:
            self._wait()

    def note(self, n: int, change: object, process: object) -> None:
        """Change ``n`` of the instance, and the facts of the run after it; neither may be modified later."""
        self._noted.append((n, change, process))
        self._wait()

    def close(self) -> None:
        """The run is over."""
        self.is_closed, self.not_before_s = True, 0.0
        self._wait()

    def retry_if_failed(self) -> None:
        """Called when the last write is done."""
        if self._files.has_failed and not self.is_closed:
            self._wait()

    def _wait(self) -> None:
        self._is_waiting = True
        self._on_waiting(self)

    def batch(self, now_s: float) -> Batch:
        """Everything that waits, for the thread."""
        self.not_before_s = now_s + (RETRY_S if self._files.has_failed else self._cost / RATE_BYTES_S)
        batch = self._files, list(self._lines), self._noted, self._lost, self.is_closed
        self._lines.clear()
        self._noted, self._lost, self._cost = [], LostLines(), 0
        self._is_waiting = False
        return batch


class _Writer:
    """The thread. It is a daemon: a disk that never answers must not prevent the end of this process.

    ``on_written`` is called on the loop. Raises RuntimeError if no thread can be started.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_written: Callable[[], None]) -> None:
        self._loop = loop
        self._on_written = on_written
        self._batches: queue.SimpleQueue[list[Batch] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="black box", daemon=True)
        self.is_busy = False
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def write(self, batches: list[Batch]) -> None:
        """Returns at once; `is_busy` until they are written."""
        self.is_busy = True
        self._batches.put(batches)

    def end(self) -> None:
        """Returns when all is written; blocks for at most 2 s."""
        self._batches.put(None)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (batches := self._batches.get()) is not None:
            for files, lines, noted, lost, is_last in batches:
                files.write(lines, noted, lost, is_last=is_last)
            self.is_busy = False
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._on_written)
