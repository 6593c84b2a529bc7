"""What is known of each file in the directory, and which of them can't be used."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from brummer.discovery.events import DirectoryProblem
from brummer.discovery.record import Record, displayable
from brummer.host import clocks

if TYPE_CHECKING:
    from brummer.discovery.scan import Signature
    from brummer.host.directories import DirectoryUnusable

_log = logging.getLogger(__name__)


class Findings:
    """``files`` holds the last outcome per name, ``signatures`` what it was read from (None: read it again).

    Each kind of problem is logged when its first case turns up; `problems` has them all.
    """

    def __init__(self, directory: Path, elapsed: Callable[[], float] = clocks.elapsed) -> None:
        self._elapsed = elapsed
        self.directory = directory
        self.files: dict[str, Record | DirectoryProblem] = {}
        self.signatures: dict[str, Signature | None] = {}
        self.counts: Counter[str] = Counter()
        self.since_s: dict[str, float] = {}
        """By code, when the first of the cases that are there now was found; elapsed time."""
        self.is_directory_missing = False
        self._of_directory: DirectoryProblem | None = None

    @property
    def problems(self) -> list[DirectoryProblem]:
        of_files = [outcome for outcome in self.files.values() if isinstance(outcome, DirectoryProblem)]
        return [self._of_directory, *of_files] if self._of_directory else of_files

    @property
    def has_directory_failed(self) -> bool:
        """The directory is there, but the last scan could not use it."""
        return self._of_directory is not None

    def use(self, filename: str, record: Record) -> None:
        self._count(self.files.get(filename), None)
        self.files[filename] = record

    def refuse(self, filename: str, code: str, detail: str) -> None:
        problem = DirectoryProblem(code, displayable(str(self.directory / filename)), detail)
        self._count(self.files.get(filename), problem)
        self.files[filename] = problem

    def forget(self, filename: str) -> None:
        self._count(self.files.pop(filename, None), None)
        self.signatures.pop(filename, None)

    def note_directory(self, error: "DirectoryUnusable | None") -> None:
        """A directory that is not there yet is no problem: no instance has run so far."""
        problem = None
        self.is_directory_missing = error is not None and error.reason == "missing"
        if error is not None and not self.is_directory_missing:
            problem = DirectoryProblem(f"directory_{error.reason}", str(self.directory), error.message)
        self._count(self._of_directory, problem)
        self._of_directory = problem

    def _count(self, old: Record | DirectoryProblem | None, new: DirectoryProblem | None) -> None:
        if isinstance(old, DirectoryProblem):
            self.counts[old.code] -= 1
        if new is not None:
            self.counts[new.code] += 1
            if self.counts[new.code] == 1 and getattr(old, "code", "") != new.code:
                self.since_s[new.code] = self._elapsed()
            first = self.counts[new.code] == 1 and old != new
            level = logging.WARNING if first else logging.DEBUG
            _log.log(level, "%s: %s (%s)", new.path, new.detail, new.code)
