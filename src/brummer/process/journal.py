"""What an instance writes into its black box, as it happens: bounded files that survive its kill -9.

Lines are collected on the loop and written by one thread, a few milliseconds later, because a disk may stall. There is
no fsync: what a write has given to the kernel is safe from our death, and only a death of the machine loses it.

A process that prints faster than `RATE_BYTES_S` is written at that rate: each write is followed by the pause that it
has earned, and of what gathers meanwhile the newest `KEPT_BYTES` are written next. A line in the file says how many are
missing. A disk that is full or can't be written costs lines, and one complaint in the log; never more.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from brummer.core.limits import DEFAULTS
from brummer.process import journal_format
from brummer.process.journal_files import KEPT_BYTES, Lost, Noted, ProjectFiles, RunFiles
from brummer.process.journal_format import About, cost
from brummer.process.output import Line

RATE_BYTES_S: Final = 4 * 1024 * 1024
"""A flood may cost 3 % of a core here, and no more; what it would fill is thrown away half a second later anyway."""
GATHER_S: Final = 0.01
"""The thread is woken no more often: that costs 0.1 ms, whatever it is given to write."""
RETRY_S: Final = 1.0
CLOSE_S: Final = 2.0

Batch = tuple[RunFiles, list[Line], list[Noted], Lost, bool]


class Journal:
    """The black box of one generation of an instance. Before its first run nothing is made, and no thread runs.

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
        self._timer: asyncio.TimerHandle | None = None
        self._not_before_s = 0.0
        self._writer: _Writer | None = None

    def __repr__(self) -> str:
        return f"<Journal of {self._generation}, {len(self._open)} open, problem: {self.problem}>"

    @property
    def problem(self) -> str | None:
        """Why it could not be written, if ever it could not."""
        return self._files.problem

    def open(self, script: str) -> "RunJournal":
        """For a new run of a script, on the running loop."""
        self._runs += 1
        files = RunFiles(self._files, journal_format.stem(self._generation, self._runs, script))
        run = RunJournal(files, self._is_waiting)
        self._open.add(run)
        return run

    async def close(self) -> None:
        """Write what is there, for 2 s at the most."""
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
        """It has something to write."""
        self._waiting.add(run)
        if self._timer is None:
            self._timer = self._loop.call_at(self._not_before_s, self._write)

    def _write(self) -> None:
        """Hand over what may be written now; what may not is looked at again."""
        now_s = self._loop.time()
        self._timer, self._not_before_s = None, now_s + GATHER_S
        if self._writer is None or not self._writer.is_busy:
            self._hand_over([run for run in self._waiting if run.may_be_written(now_s)], now_s)
        if self._waiting:
            self._timer = self._loop.call_at(self._not_before_s, self._write)

    def _hand_over(self, runs: list["RunJournal"], now_s: float) -> None:
        self._writer = self._writer or _Writer()
        self._waiting.difference_update(runs)
        self._open.difference_update(run for run in runs if run.is_closed)
        self._writer.write([run.batch(now_s) for run in runs])


class RunJournal:
    """One run's part of it. All methods are for the loop, and return at once."""

    def __init__(self, files: RunFiles, on_waiting: Callable[["RunJournal"], None]) -> None:
        self._files = files
        self._on_waiting = on_waiting
        self._is_waiting = False
        self._lines: deque[Line] = deque()
        self._cost = 0
        self._lost = Lost()
        self._noted: list[Noted] = []
        self._not_before_s = 0.0
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
        """Change ``n`` of the instance, and the facts of the run after it; nobody may change them any more."""
        self._noted.append((n, change, process))
        self._wait()

    def close(self) -> None:
        """The run is over."""
        self.is_closed = True
        self._wait()

    def _wait(self) -> None:
        self._is_waiting = True
        self._on_waiting(self)

    def may_be_written(self, now_s: float) -> bool:
        """Whether it has had the pause that its last write has earned; its end waits for nothing."""
        return self.is_closed or now_s >= self._not_before_s

    def batch(self, now_s: float) -> Batch:
        """All that there is to write, for the thread."""
        self._not_before_s = now_s + (RETRY_S if self._files.has_failed else self._cost / RATE_BYTES_S)
        batch = self._files, list(self._lines), self._noted, self._lost, self.is_closed
        self._lines.clear()
        self._noted, self._lost, self._cost = [], Lost(), 0
        self._is_waiting = False
        return batch


class _Writer:
    """The thread. It is a daemon: a disk that never answers must not keep us from ending."""

    def __init__(self) -> None:
        self._batches: queue.SimpleQueue[list[Batch] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="black box", daemon=True)
        self._thread.start()
        self.is_busy = False

    def write(self, batches: list[Batch]) -> None:
        """Returns at once; `is_busy` until they are written."""
        self.is_busy = True
        self._batches.put(batches)

    def end(self) -> None:
        """When all is written; blocks for 2 s at the most."""
        self._batches.put(None)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (batches := self._batches.get()) is not None:
            for files, lines, noted, lost, is_last in batches:
                files.write(lines, noted, lost, is_last=is_last)
            self.is_busy = False
