"""Runs whose instance does not answer, read from the files that it has written.

Blocking: use a thread. Reading is bounded, and only whole frames are used; an unreadable file counts as missing. Lines
have the numbers that they had in the live instance, so a cursor of it goes on here if it is of the same generation.
"""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from sys import maxsize
from typing import Any, Final, TypeVar

import msgspec

from brummer.core.errors import BrummerError, NotFound, shown
from brummer.host.directories import private_directory
from brummer.host.files import read_bounded
from brummer.logs.entries import Entries, Numbered, Place
from brummer.logs.journal import record_format
from brummer.logs.journal.files import KEPT_BYTES
from brummer.logs.journal.record_format import About, Noted
from brummer.logs.journal.retention import FILES, StoredRun, stored_runs
from brummer.logs.journal.writer import RATE_BYTES_S
from brummer.logs.output import Line, Stamp

READ_BYTES: Final = 16 * 1024 * 1024
"""Of all selected runs together; a single run never has more. As objects they take five times as much."""
FILE_BYTES: Final = 8 * 1024 * 1024
"""Far more than any file of ours."""
FACTS_READ_BYTES: Final = 1024 * 1024
ABOUT_BYTES: Final = 64 * 1024
SETTLED_S: Final = 2 * KEPT_BYTES / RATE_BYTES_S
"""Twice the longest pause between two writes of a run."""
SHOWN: Final = 50
LOST: Final = "lost"
"""The status of a run whose instance died before the run had ended."""


T = TypeVar("T", bound=Numbered)

_number = attrgetter("n")
_process = attrgetter("process")


class PastRun(msgspec.Struct, frozen=True):
    """A run as its files describe it: ``process`` are its last facts, and ``noted`` all of its changes with facts."""

    files: StoredRun
    noted: list[Noted]
    process: dict[str, Any]

    @property
    def generation(self) -> str:
        return self.files.stem.generation

    def facts(self, generation: str | None, *, is_over: bool) -> dict[str, Any]:
        """As `scripts_status` shows it. An id of another generation names the generation, since each begins at 1."""
        facts = dict(self.process)
        if self.generation != generation:
            facts["process_id"] = f"{facts['process_id']}@{self.generation}"
        if facts.get("ended_at") is None:  # these are as old as its last change
            facts.pop("cpu_s", None)
            facts.pop("memory_max_mib", None)
        if is_over and facts.get("ended_at") is None:
            was = "waited to be started" if facts["status"] == "pending" else "ran, and its guard ended it"
            facts |= {"status": LOST, "pid": None, "reason": f"its instance died while it {was}; its end was not seen"}
        return facts


class JournalEntries(Entries[T]):
    """Entries of one generation, given oldest first. ``gone``: for each range of missing entries how many, and the
    number of the entry before which they were. ``unsettled_from``: from this number on others may still be written in
    between; None: nothing more will be written.
    """

    def __init__(
        self,
        generation: str,
        entries: Sequence[T],
        gone: Sequence[tuple[int, int]] = (),
        unsettled_from: int | None = None,
    ) -> None:
        self.generation = generation
        self.entries = entries
        self.gone = gone
        self._settled = len(entries) if unsettled_from is None else self._position(unsettled_from - 1)
        self.last_n = entries[self._settled - 1].n if self._settled else 0
        self._own: dict[str, list[T]] = {}

    def after(self, n: int, process: str | None = None) -> Iterator[T]:
        return _of(process, itertools.islice(self.entries, self._position(n), self._settled))

    def newest(self, process: str | None = None, before: int | None = None) -> Iterator[T]:
        end = len(self.entries) if before is None else self._position(before - 1)
        return _of(process, (self.entries[at] for at in range(end - 1, -1, -1)))

    def around(self, entry: T, count: int) -> tuple[list[T], list[T]]:
        own = self.own(_process(entry))
        position = bisect_right(own, entry.n, key=_number)
        return own[max(0, position - 1 - count) : max(0, position - 1)], own[position : position + count]

    def own(self, process: str) -> list[T]:
        """All of one process."""
        if process not in self._own:
            self._own[process] = list(_of(process, iter(self.entries)))
        return self._own[process]

    def dropped_between(self, after: int, until: int, process: str | None = None) -> int:  # noqa: ARG002 - at least
        return sum(max(0, min(count, min(before - 1, until) - after)) for count, before in self.gone)

    def count(self, wanted: Callable[[T], bool] | None, process: str | None = None) -> int:
        return sum(1 for entry in _of(process, iter(self.entries)) if wanted is None or wanted(entry))

    def unsettled(self) -> Iterable[T]:
        return self.entries[self._settled :]

    def _position(self, n: int) -> int:
        return bisect_right(self.entries, n, key=_number)


def _of(process: str | None, entries: Iterator[T]) -> Iterator[T]:
    return entries if process is None else (entry for entry in entries if _process(entry) == process)


class BlackBox:
    """The black box of a project as it is now. ``without``: a generation that is left out, since it answers itself."""

    def __init__(self, directory: Path, *, without: str | None = None) -> None:
        self.runs = [
            run for files in _stored_runs(directory) if files.stem.generation != without and (run := _read(files))
        ]
        """The latest first; empty without a readable black box."""
        self.generation = self.runs[0].generation if self.runs and without is None else None
        """The last one that has run a script."""
        self._generations = list(dict.fromkeys(run.generation for run in self.runs))

    @property
    def written_at(self) -> str | None:
        """When the last of it was written, as RFC 3339."""
        return Stamp()(max(run.files.written_s for run in self.runs)) if self.runs else None

    def processes(self, name: str | None, *, is_over: bool) -> list[dict[str, Any]]:
        """As `scripts_status`: without a name the latest run of each script. Raises NotFound.

        ``is_over``: the last generation has ended, as all before it have.
        """
        runs = self.runs if name is None else self._called(name)
        latest = {run.process["name"]: run for run in reversed(runs)}
        chosen = list(reversed(latest.values())) if name is None else runs
        return [run.facts(self.generation, is_over=is_over or run.generation != self.generation) for run in chosen]

    def lines(
        self, process: str | None, *, is_over: bool = True, read: str | None = None, last: str | None = None
    ) -> JournalEntries[Line]:
        """Of one process, by name or id, or of all: those of its last generation. ``read``: the generation of the
        cursor; lines of an earlier one do not come after it. ``last``: the last generation, which may have run nothing.
        Raises NotFound. ``is_over`` as for `processes`.
        """
        runs = self._called(process) if process is not None else self.runs
        if not runs:
            raise NotFound("nothing has run", processes=[])
        generation = read if read and self._is_after(read, runs[0].generation, last) else runs[0].generation
        runs = [run for run in runs if run.generation == generation]
        lines: list[Line] = []
        gone: list[tuple[int, int]] = []
        for run in runs:
            found, before = _lines_of(run.files, READ_BYTES // len(runs))
            lines += found
            if before:
                gone.append((before, found[0].n if found else maxsize))
        lines.sort(key=lambda line: line.n)
        is_settled = is_over or generation != self.generation
        entries = JournalEntries(generation, lines, gone, None if is_settled else _unsettled_from(lines))
        last_change_n = self._last_change_n(generation)
        entries.other_n = lambda: last_change_n
        entries.since = self._since(generation)
        return entries

    def cursor(self) -> str | None:
        """After the last change, and before all lines: the number of the last line is in files that are not read for
        this.
        """
        return str(Place(self.generation, 0, self._last_change_n(self.generation))) if self.generation else None

    def _last_change_n(self, generation: str) -> int:
        return max((noted.n for run in self.runs if run.generation == generation for noted in run.noted), default=0)

    def _is_after(self, generation: str, other: str, last: str | None) -> bool:
        """It is the other one, or known to be a later one."""
        known = self._generations
        return generation == last or (generation in known and known.index(generation) <= known.index(other))

    def _since(self, generation: str) -> str:
        """When it started its first run."""
        started = [str(run.process.get("started_at", "")) for run in self.runs if run.generation == generation]
        return min(started, default="")

    def changes(self, read: str | None = None, last: str | None = None) -> JournalEntries[Noted]:
        """All of the last generation. ``read``, ``last``: as for `lines`. Raises NotFound."""
        if self.generation is None:
            raise NotFound("nothing has run", processes=[])
        generation = read if read and self._is_after(read, self.generation, last) else self.generation
        by_n = {noted.n: noted for run in self.runs if run.generation == generation for noted in run.noted}
        numbers = sorted(by_n)
        gone = [(n - before - 1, n) for before, n in itertools.pairwise([0, *numbers]) if n - before > 1]
        entries = JournalEntries(generation, [by_n[n] for n in numbers], gone)
        entries.kind, entries.since = "change_n", self._since(generation)
        return entries

    def find(self, process: str) -> list[PastRun]:
        """By name all its runs, the latest first; else by id that very run."""
        if by_name := [run for run in self.runs if run.process["name"] == process]:
            return by_name
        ids = [run.facts(self.generation, is_over=True)["process_id"] for run in self.runs]
        return [self.runs[ids.index(process)]] if process in ids else []

    def _called(self, process: str) -> list[PastRun]:
        if found := self.find(process):
            return found
        ids = [run.facts(self.generation, is_over=True)["process_id"] for run in self.runs[:SHOWN]]
        raise NotFound(f"the black box has no process {shown(process)!r}", processes=ids)


def _stored_runs(directory: Path) -> list[StoredRun]:
    try:
        private_directory(directory, create=False)
        return stored_runs(directory)
    except (BrummerError, OSError):
        return []


def _unsettled_from(lines: Sequence[Line]) -> int:
    """Runs are written each in its own time, so while the instance lives lines of another may be missing among the
    last ones. A cursor must not pass those.
    """
    try:
        settled = Stamp()(datetime.fromisoformat(lines[-1].at).timestamp() - SETTLED_S)
    except (IndexError, ValueError):
        return 1
    return next((line.n for line in lines if line.at > settled), lines[-1].n)


def about(directory: Path) -> About | None:
    """The project of this black box."""
    try:
        return record_format.decode_about(read_bounded(directory / record_format.ABOUT, ABOUT_BYTES))
    except (BrummerError, OSError):
        return None


def projects(root: Path) -> list[About]:
    """All projects that have a black box. Raises BrummerError, OSError."""
    private_directory(root, create=False)
    found = [(path, about(path)) for path in list(root.iterdir())[:FILES]]
    return [whose for path, whose in found if whose is not None and whose.instance_id == path.name]


def _read(files: StoredRun) -> PastRun | None:
    """None if its facts are missing or unreadable."""
    if files.facts is None:
        return None
    try:
        noted = record_format.decode_noted(read_bounded(files.facts, FACTS_READ_BYTES))
    except (BrummerError, OSError):
        return None
    return PastRun(files, noted, noted[-1].process) if noted else None


def _lines_of(files: StoredRun, left_bytes: int) -> tuple[list[Line], int]:
    """The lines of the newest segments that fit, at least one segment; and the number of lines before those."""
    parts: list[list[Line]] = []
    before = 0
    for before_this, path in sorted(files.segments.items(), reverse=True):
        if parts and left_bytes <= 0:
            break
        try:
            data = read_bounded(path, FILE_BYTES)
        except (BrummerError, OSError):
            break  # removed meanwhile, or not ours: what came before it is of no use without it
        parts.append(record_format.decode_lines(data))
        before, left_bytes = before_this, left_bytes - len(data)
    return [line for part in reversed(parts) for line in part], before
