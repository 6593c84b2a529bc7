"""What can still be told of runs that nobody is there to tell of: read from what their instance has written.

Blocking, for a thread. Files are read bounded and believed only where they are whole; a file that can't be read counts
as if it were not there. Lines have the numbers that they had in the live instance, so a cursor of the one is good for
the other, as long as it is of the same generation.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from brummer.core.errors import BrummerError, NotFound, shown
from brummer.host.directories import private_directory
from brummer.host.files import read_bounded
from brummer.logs.bounded_log import PAGE_BYTES, Page, parse_cursor, twice_encoded
from brummer.logs.journal import record_format
from brummer.logs.journal.record_format import About, Noted
from brummer.logs.journal.retention import FILES, Shelved, shelved
from brummer.logs.output import Line, Stamp

READ_BYTES: Final = 16 * 1024 * 1024
"""Of all asked runs together; one alone never has more. As objects it is five times as much."""
FILE_BYTES: Final = 8 * 1024 * 1024
"""No file of ours comes near."""
FACTS_BYTES: Final = 1024 * 1024
ABOUT_BYTES: Final = 64 * 1024
SETTLED_S: Final = 1.0
"""Twice the longest pause between two writes of a run."""
SHOWN: Final = 50
LOST: Final = "lost"
"""The status of a run that its instance did not live to see the end of."""


class _Numbered(Protocol):
    @property
    def n(self) -> int: ...


T = TypeVar("T", bound=_Numbered)


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run as its files tell of it: its last facts, and all that was noted."""

    files: Shelved
    noted: list[Noted]
    process: dict[str, Any]

    @property
    def generation(self) -> str:
        return self.files.stem.generation

    def facts(self, generation: str | None, *, is_over: bool) -> dict[str, Any]:
        """As `scripts_status` shows it. An id of another generation names that: ids begin anew with each."""
        facts = dict(self.process)
        if self.generation != generation:
            facts["process_id"] = f"{facts['process_id']}@{self.generation}"
        if is_over and facts.get("ended_at") is None:
            was = "waited to be started" if facts["status"] == "pending" else "ran, and its guard ended it"
            facts |= {"status": LOST, "pid": None, "reason": f"its instance died while it {was}; nobody saw more"}
        return facts


@dataclass(frozen=True, slots=True)
class Kept:
    """Entries of one generation, oldest first. ``gone``: for each stretch of missing ones how many, and the number
    of the entry before which they were.
    """

    generation: str
    entries: Sequence[Any]
    gone: Sequence[tuple[int, int]] = ()
    unsettled_from: int | None = None
    """From this number on some may be missing that are still to be written; None: nothing more will be."""


class BlackBox:
    """One look at the black box of a project. ``without``: the generation that can speak for itself."""

    def __init__(self, directory: Path, *, without: str | None = None) -> None:
        self.runs = [run for files in _shelved(directory) if files.stem.generation != without for run in _read(files)]
        """The latest first; none when there is no black box that can be read."""
        self.generation = self.runs[0].generation if self.runs and without is None else None
        """The last one that ran anything."""

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

    def lines(self, process: str | None, *, is_over: bool = True) -> Kept:
        """Of one process, by name or id, or of all. Raises NotFound. ``is_over`` as for `processes`."""
        runs = self._called(process) if process is not None else self.runs
        if not runs:
            raise NotFound("nothing has run", processes=[])
        generation = runs[0].generation
        runs = [run for run in runs if run.generation == generation]
        lines: list[Line] = []
        gone: list[tuple[int, int]] = []
        for run in runs:
            found, before = _lines_of(run.files, READ_BYTES // len(runs))
            lines += found
            if before:
                gone.append((before, found[0].n if found else 1))
        lines.sort(key=lambda line: line.n)
        is_settled = is_over or generation != self.generation
        return Kept(generation, lines, gone, None if is_settled else _unsettled_from(lines))

    def changes(self) -> Kept:
        """All of the last generation. Raises NotFound."""
        if self.generation is None:
            raise NotFound("nothing has run", processes=[])
        by_n = {noted.n: noted for run in self.runs if run.generation == self.generation for noted in run.noted}
        numbers = sorted(by_n)
        gone = [(n - before - 1, n) for before, n in itertools.pairwise([0, *numbers]) if n - before > 1]
        return Kept(self.generation, [by_n[n] for n in numbers], gone)

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


def _shelved(directory: Path) -> list[Shelved]:
    try:
        private_directory(directory, create=False)
        return shelved(directory)
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
    """Whose black box this is."""
    try:
        return record_format.decode_about(read_bounded(directory / record_format.ABOUT, ABOUT_BYTES))
    except (BrummerError, OSError):
        return None


def projects(root: Path) -> list[About]:
    """All projects that have a black box. Raises BrummerError, OSError."""
    private_directory(root, create=False)
    found = [(path, about(path)) for path in list(root.iterdir())[:FILES]]
    return [whose for path, whose in found if whose is not None and whose.instance_id == path.name]


def page(
    kept: Kept,
    cursor: str | None,
    limit: int,
    wanted: Callable[[Any], bool],
    *,
    limit_size: int = PAGE_BYTES,
    size_of: Callable[[Any], int] = twice_encoded,
) -> Page[Any]:
    """As `NumberedLog.read`; ``dropped`` is never too small. Raises InvalidArguments.

    Who reads on with cursors gets nothing of which a part may come later; ``omitted`` tells how much is withheld.
    """
    entries = kept.entries
    settled = [entry for entry in entries if kept.unsettled_from is None or entry.n < kept.unsettled_from]
    last_n = settled[-1].n if settled else 0
    if cursor is None:
        found, omitted = _newest(entries, limit, wanted, limit_size, size_of)
        dropped = 0 if omitted else sum(count for count, _ in kept.gone)
        return Page(found, f"{kept.generation}.{last_n}", dropped, {}, omitted, more=False, cursor_reset=False)
    generation, position = parse_cursor(cursor)
    is_ours = generation == kept.generation
    position = position if is_ours else 0
    found, is_cut = _first((entry for entry in settled if entry.n > position), limit, wanted, limit_size, size_of)
    dropped = sum(max(0, min(count, before - 1 - position)) for count, before in kept.gone)
    next_n = found[-1].n if is_cut else max(position, last_n)
    withheld = sum(map(wanted, entries[len(settled) :]))
    return Page(found, f"{kept.generation}.{next_n}", dropped, {}, withheld, more=is_cut, cursor_reset=not is_ours)


def _newest(
    entries: Sequence[T], limit: int, wanted: Callable[[T], bool], room: int, size_of: Callable[[T], int]
) -> tuple[list[T], int]:
    found: deque[T] = deque()
    omitted = 0
    for entry in reversed(entries):
        if not wanted(entry):
            continue
        room -= size_of(entry)
        if omitted or len(found) == limit or (room < 0 and found):
            omitted += 1
        else:
            found.appendleft(entry)
    return list(found), omitted


def _first(
    entries: Iterable[T], limit: int, wanted: Callable[[T], bool], room: int, size_of: Callable[[T], int]
) -> tuple[list[T], bool]:
    found: list[T] = []
    for entry in filter(wanted, entries):
        room -= size_of(entry)
        if len(found) == limit or (room < 0 and found):
            return found, True
        found.append(entry)
    return found, False


def _read(files: Shelved) -> list[PastRun]:
    """None or one."""
    if files.facts is None:
        return []
    try:
        noted = record_format.decode_noted(read_bounded(files.facts, FACTS_BYTES))
    except (BrummerError, OSError):
        return []
    return [PastRun(files, noted, noted[-1].process)] if noted else []


def _lines_of(files: Shelved, room: int) -> tuple[list[Line], int]:
    """The newest segments that there is room for, one at the least; and how many lines came before those."""
    parts: list[list[Line]] = []
    before = 0
    for before_this, path in sorted(files.segments.items(), reverse=True):
        if parts and room <= 0:
            break
        try:
            data = read_bounded(path, FILE_BYTES)
        except (BrummerError, OSError):
            break  # removed meanwhile, or not ours: what came before it is of no use without it
        parts.append(record_format.decode_lines(data))
        before, room = before_this, room - len(data)
    return [line for part in reversed(parts) for line in part], before
