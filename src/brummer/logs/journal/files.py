"""The files of a journal while one thread writes them."""

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from brummer.host.directories import private_directory
from brummer.host.files import FileRefused, create, open_for_appending, read_bounded, write_all, write_atomically
from brummer.logs.journal import record_format
from brummer.logs.journal.record_format import About, Stem, cost
from brummer.logs.journal.retention import tidy_project, tidy_projects
from brummer.logs.output import Line
from brummer.settings.limits import DEFAULTS, Limits

KEPT_BYTES: Final = 2 * 1024 * 1024
"""The least that is kept of each run's output."""
SEGMENT_BYTES: Final = KEPT_BYTES // 4
SEGMENTS: Final = 5
"""Four that are full, and the one that is being written."""
FACTS_BYTES: Final = 256 * 1024
"""Of each run's changes and the facts with them: at least the last 75. A server that fails every few seconds reaches
this within minutes.
"""
MAX_UNWRITTEN: Final = 100
"""Changes of one run that wait while the disk is full."""
CHUNK_BYTES: Final = 64 * 1024
"""Encoded at a time: 0.3 ms in which the loop can't run."""

NotedChange = tuple[int, object, object]
"""The number of a change, the change, and the facts of its run."""

_log = logging.getLogger(__name__)


class LostLines:
    """The number of lines of a run that are not written, and the last of them."""

    def __init__(self) -> None:
        self.count = 0
        self.last: Line | None = None

    def add(self, line: Line, count: int = 1) -> None:
        self.count += count
        self.last = line

    def mark(self) -> list[Line]:
        """A line that reports the loss, in the place of the last lost line; none without a loss."""
        if self.last is None:
            return []
        text = f"[… {self.count} lines are not in the black box: they came too fast, or could not be written]"
        return [Line(self.last.n, self.last.process, "brum", self.last.at, text)]


class ProjectFiles:
    """The directory of one project, made when the first run begins. ``find_root`` gives that of all projects.

    All files in it take at most ``limits.journal_bytes``. Before a file is made, a quarter of
    them is freed for it. It is closed at an eighth, so that one last write may exceed that.
    """

    def __init__(self, find_root: Callable[[], Path], about: About, limits: Limits = DEFAULTS) -> None:
        limit_bytes = self._limit_bytes = limits.journal_bytes
        self.file_bytes = limit_bytes // 8
        self.facts_bytes = min(FACTS_BYTES, self.file_bytes)
        self.chunk_bytes = min(CHUNK_BYTES, limit_bytes // 32)
        self._find_root = find_root
        self._about = about
        self._directory: Path | None = None
        self._live: set[Stem] = set()
        self.problem: str | None = None
        """Why the last write failed; None if it did not."""

    def create(self, stem: Stem, filename: str) -> int:
        """Create a file of this run, after others were removed for it if need be. Raises BrummerError, OSError."""
        directory = self.directory()
        tidy_project(directory, self._live, self._limit_bytes * 3 // 4)
        self._live.add(stem)
        return create(directory / filename)

    def end(self, stem: Stem) -> None:
        self._live.discard(stem)

    def directory(self) -> Path:
        """There, and known by its name. Raises BrummerError, OSError."""
        if self._directory is None:
            root = self._find_root()
            directory = root / self._about.instance_id
            private_directory(root)
            private_directory(directory)
            about = directory / record_format.ABOUT
            write_atomically(about, msgspec.json.encode(self._about), durable=False)
            tidy_projects(root, keep=directory, now_s=about.stat().st_mtime)
            self._directory = directory
        return self._directory

    def failed(self, error: Exception) -> None:
        """Log it once, until a write succeeds. The directory may have been removed, so the next try makes it again."""
        self._directory = None
        if self.problem is None:
            self.problem = str(error)
            _log.warning("the black box can't be written, so present output is lost if the instance dies: %s", error)


class RunFiles:
    """What one run leaves: its facts, and the last segments of its lines."""

    def __init__(self, project: ProjectFiles, stem: Stem) -> None:
        self._project = project
        self._stem = stem
        self._facts: int | None = None
        self._facts_bytes = 0
        self._segment: int | None = None
        self._segments: deque[Path] = deque()
        self._cost = self._file_bytes = 0
        self._before = 0
        self._lost = LostLines()
        self._unwritten: deque[NotedChange] = deque(maxlen=MAX_UNWRITTEN)
        self._is_torn = False
        self.has_failed = False
        """With the last write."""

    def write(self, lines: list[Line], noted: list[NotedChange], lost: LostLines, *, is_last: bool) -> None:
        """Never raises."""
        if lost.last is not None:
            self._lost.add(lost.last, lost.count)
        self._unwritten += noted
        try:
            self._write_lines(lines)
            self._write_facts()
        except Exception as error:  # noqa: BLE001 - the barrier: the instance continues after any error
            self._project.failed(error)
            self.has_failed = True
        else:
            self.has_failed, self._project.problem = False, None
        finally:
            if is_last:
                self._close()

    def _write_facts(self) -> None:
        """Changes that could not be written are tried again: without its facts a run is unknown."""
        if self._facts is None:
            self._facts = self._project.create(self._stem, self._stem.facts())
        if self._unwritten:
            frames = b"".join(record_format.encode_noted(*one) for one in self._unwritten)
            if self._facts_bytes + len(frames) > self._project.facts_bytes:
                self._facts = self._without_the_oldest(self._facts)
            write_all(self._facts, frames)
            self._facts_bytes += len(frames)
            self._unwritten.clear()

    def _without_the_oldest(self, facts: int) -> int:
        """Remove the older half of the facts; a reader sees the file before or after that."""
        path, kept = self._project.directory() / self._stem.facts(), b""
        with contextlib.suppress(FileNotFoundError, FileRefused):  # it was removed: begin a new one
            kept = read_bounded(path, 2 * FACTS_BYTES)[-self._project.facts_bytes // 2 :]
        write_atomically(path, kept, durable=False)
        descriptor = open_for_appending(path)
        os.close(facts)
        self._facts_bytes = len(kept)
        return descriptor

    def _write_lines(self, lines: list[Line]) -> None:
        """In chunks. A chunk that can't be written is lost, and the next one reports that."""
        written = 0
        try:
            while written < len(lines) or self._lost.count:
                chunk = _first_of(lines, written, self._project.chunk_bytes)
                self._write_chunk([*self._lost.mark(), *chunk])
                self._before += self._lost.count + len(chunk)
                self._lost = LostLines()
                written += len(chunk)
        finally:
            if written < len(lines):
                self._lost.add(lines[-1], len(lines) - written)

    def _write_chunk(self, chunk: list[Line]) -> None:
        segment = self._segment
        if segment is None or self._cost >= SEGMENT_BYTES or self._file_bytes >= self._project.file_bytes:
            segment = self._next_segment()
        frames = (b"\n" if self._is_torn else b"") + record_format.encode_lines(chunk)
        self._is_torn = True
        write_all(segment, frames)
        self._is_torn = False
        self._cost += sum(map(cost, chunk))
        self._file_bytes += len(frames)

    def _next_segment(self) -> int:
        filename = self._stem.lines(self._before)
        descriptor = self._project.create(self._stem, filename)
        if self._segment is not None:
            os.close(self._segment)
        self._segment, self._cost, self._file_bytes = descriptor, 0, 0
        self._segments.append(self._project.directory() / filename)
        while len(self._segments) > SEGMENTS:
            self._segments.popleft().unlink(missing_ok=True)
        return descriptor

    def _close(self) -> None:
        for descriptor in (self._facts, self._segment):
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._facts = self._segment = None
        self._project.end(self._stem)


def _first_of(lines: list[Line], start: int, left_bytes: int) -> list[Line]:
    for end in range(start, len(lines)):
        left_bytes -= cost(lines[end])
        if left_bytes <= 0:
            return lines[start : end + 1]
    return lines[start:]
