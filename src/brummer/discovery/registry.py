"""The hub's side: scans of the directory become `Appeared`, `Changed` and `Gone`, in order, once per real change.

A scan is caused by a hint of the directory watch, by `rescan_now`, and by a timer every 30 s. It compares, so a lost
hint only delays an event, and a hundred hints cause one scan. The first hint causes a scan at once; the next scan comes
after a pause as long as the last scan, so a storm of changes takes at most half of the time. A death needs no scan: the
exit watch reports it.

All state changes happen between awaits, one file at a time: a scan that is cancelled has done less, never half.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final, Self, TypeVar

import msgspec

from brummer.discovery.events import DirectoryEvent, DirectoryProblem
from brummer.discovery.findings import Findings
from brummer.discovery.owners import sweep
from brummer.discovery.record import Record
from brummer.discovery.roster import Roster
from brummer.discovery.scan import STEP_S, Scan, Sighting
from brummer.host.directories import DirectoryUnusable
from brummer.host.directory_watch import DirectoryWatch
from brummer.host.real_system import REAL
from brummer.host.system import System

_T = TypeVar("_T")

RESCAN_S: Final = 30.0
RESCAN_WITHOUT_HINTS_S: Final = 2.0
"""Without hints: there is no watch, other machines write there, or the last scan failed."""
COALESCE_S: Final = 0.01
FOLLOW_UP_S: Final = 0.2
"""The kernel announces that a file is closed just before it frees its lock: scan once more."""
JITTER: Final = (0.8, 1.2)


class Statistics(msgspec.Struct, frozen=True):
    """What the registry has done and sees now. ``hints`` and ``problems`` count by reason and by code."""

    directory: str
    watch: str
    listed: int
    scans: int
    hints: dict[str, int]
    last_scan_s: float
    problems: dict[str, int]


class Registry:
    """``async with Registry(directory) as registry: async for event in registry: …`` (one consumer)."""

    def __init__(self, directory: Path, system: System = REAL, *, refusal: DirectoryUnusable | None = None) -> None:
        """``refusal``: why there is no directory to scan, for the life of this process."""
        self.directory = directory
        self._refusal = refusal
        self._system = system
        self._clock = system.clock
        self._loop = asyncio.get_running_loop()
        self._findings = Findings(directory, system.clock.elapsed)
        self._roster = Roster(self._loop, self._findings, self._emit, system)
        self._pending: deque[DirectoryEvent] = deque()
        self._wakeup = asyncio.Event()
        self._scanning = asyncio.Lock()
        self._hints: Counter[str] = Counter()
        self._hinted = self._closed = False
        self._scans = 0
        self._last_scan_s = self.next_scan_s = self._not_before = self._sweep_at = 0.0
        self._watch = DirectoryWatch(self._loop, self.directory, self.rescan_now, system)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Registry {self.directory} listed={len(self._roster)} scans={self._scans}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DirectoryEvent:
        while not self._pending:
            if self._closed:
                raise StopAsyncIteration
            await self._wait_or_scan()
        return self._pending.popleft()

    def take(self, pass_on: Callable[[DirectoryEvent], object]) -> None:
        """Pass on the events that the iteration has not taken yet, in order. If one can't be passed on, it stays."""
        while self._pending:
            pass_on(self._pending[0])
            self._pending.popleft()

    def close(self) -> None:
        """Stop watching; the iterator ends after what is still pending."""
        self._closed = True
        self._watch.close()
        self._roster.close()
        self._wakeup.set()

    def snapshot(self) -> dict[str, Record]:
        """The listed instances by id; events not yet consumed are in it already."""
        return self._roster.records()

    @property
    def problems(self) -> list[DirectoryProblem]:
        """What is there and not used, now."""
        return self._findings.problems

    def seen_for_s(self, code: str) -> float | None:
        """For how long there has been such a problem."""
        since_s = self._findings.since_s.get(code)
        return None if since_s is None else self._clock.elapsed() - since_s

    def missing(self) -> dict[str, float]:
        """Listed instances whose record is not there (any more), and for how many seconds."""
        return self._roster.missing()

    @property
    def is_directory_missing(self) -> bool:
        return self._findings.is_directory_missing

    @property
    def is_polling(self) -> bool:
        """Not all changes cause a hint."""
        return self._roster.is_shared or self._watch.kind == "polling"

    def statistics(self) -> Statistics:
        return Statistics(
            directory=str(self.directory),
            watch=self._watch.kind,
            listed=len(self._roster),
            scans=self._scans,
            hints=dict(self._hints),
            last_scan_s=self._last_scan_s,
            problems=dict(+self._findings.counts),
        )

    def rescan_now(self, reason: str) -> None:
        """Scan soon: within 10 ms, or as long as the last scan took."""
        self._hints[reason] += 1
        self._hinted = True
        self.next_scan_s = min(self.next_scan_s, self._loop.time())
        self._wakeup.set()

    async def scan(self) -> None:
        """Scan now. When it returns, all that was true when it was called is in `snapshot` and in the events."""
        async with self._scanning:
            if self._closed:
                return
            started, hinted = self._clock.awake(), self._hinted
            self.next_scan_s, self._hinted = float("inf"), False
            try:
                await self._scan_directory()
            except BaseException:
                self.next_scan_s = self._loop.time()
                raise
            self._last_scan_s = self._clock.awake() - started
            self._plan_next(was_hinted=hinted)

    def _emit(self, event: DirectoryEvent) -> None:
        self._pending.append(event)
        self._wakeup.set()

    # When to scan.

    async def _wait_or_scan(self) -> None:
        wait_s = max(self.next_scan_s, self._not_before) - self._loop.time()
        if wait_s <= 0:
            await self.scan()
            return
        self._wakeup.clear()
        timer = self._loop.call_later(wait_s, self._wakeup.set)
        try:
            await self._wakeup.wait()
        finally:
            timer.cancel()

    def _plan_next(self, *, was_hinted: bool) -> None:
        now = self._loop.time()
        self._scans += 1
        self._not_before = now + max(COALESCE_S, self._last_scan_s)
        has_failed = self._findings.has_directory_failed or self._findings.counts["unreadable"] > 0
        polls = self.is_polling or has_failed  # no hint reports that it can be read again
        interval_s = (RESCAN_WITHOUT_HINTS_S if polls else RESCAN_S) * self._system.random.uniform(*JITTER)
        if was_hinted and self._roster.needs_another_scan:
            interval_s = FOLLOW_UP_S
        self.next_scan_s = min(self.next_scan_s, now + interval_s)
        self._wakeup.set()

    # What a scan does.

    async def _scan_directory(self) -> None:
        self._watch.verify()
        self._roster.is_shared = not self._system.filesystems.filesystem_has_events(self.directory)
        if self._refusal is not None:
            self._findings.note_directory(self._refusal)
            return
        scan = Scan(self.directory, self._findings.signatures, self._system)
        await self._apply_scan(scan)
        unseen = [name for name in self._findings.files if name not in scan.seen]
        await self._apply_each(self._roster.forget_if_gone, unseen)
        self._roster.begin_review()
        await self._apply_each(self._roster.review, self._roster.listed())
        if self._loop.time() >= self._sweep_at:
            self._sweep_at = self._loop.time() + RESCAN_S / 2
            await self._run(sweep, self.directory, self._system)

    async def _apply_scan(self, scan: Scan) -> None:
        """Apply what has changed. A listing that fails halfway does no harm: missing files are checked by name."""
        problem = None
        steps = scan.steps()
        try:
            while (sightings := await self._run(_next_step, steps)) is not None:
                await self._apply_each(self._roster.apply, sightings)
                await asyncio.sleep(0)
        except DirectoryUnusable as error:
            problem = error
        except OSError as error:
            problem = DirectoryUnusable.because_of(self.directory, error)
        self._findings.note_directory(problem)

    async def _run(self, work: Callable[..., _T], *arguments: object) -> _T:
        """On the loop where it takes microseconds; in a thread if the directory is on another machine."""
        if self._roster.is_shared:
            return await asyncio.to_thread(work, *arguments)
        return work(*arguments)

    async def _apply_each(self, work: Callable[[_T], None], items: Collection[_T]) -> None:
        """Do it for all, and yield to other tasks every 3 ms."""
        until = self._clock.awake() + STEP_S
        for item in items:
            work(item)
            if self._clock.awake() >= until:
                await asyncio.sleep(0)
                until = self._clock.awake() + STEP_S


def _next_step(steps: Iterator[list[Sighting]]) -> list[Sighting] | None:
    return next(steps, None)
