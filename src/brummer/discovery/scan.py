"""One scan of the directory, in short steps: list it, and read only what has changed since the last scan.

A file is known by inode, times and size. That signature can lie: an inode is reused at once after a replacement, and
the kernel's clock for files ticks every 4 ms. So a file that was changed just before it was read is read again at the
next scan (the "racy" entries of git's index).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from brummer.core.errors import SHORTAGES
from brummer.discovery.record import LIMIT_BYTES, Malformed, Newer, Record, decode
from brummer.host.directories import private_directory, writable_directory
from brummer.host.files import FileRefused, open_for_reading, read_descriptor, refusal_of
from brummer.host.real_system import REAL
from brummer.host.system import DirectoryEntry, System

STEP_S: Final = 0.003
SETTLED_NS: Final = 100_000_000
"""25 ticks of the slowest clock for files; a change within it may leave the signature as it was."""

Signature = tuple[int, int, int, int]


class RefusedFile(msgspec.Struct, frozen=True):
    """A file that was not read. ``code`` is a `FileRefusal` or ``unreadable``."""

    filename: str
    code: str
    detail: str


class Sighting(msgspec.Struct, frozen=True):
    """A file that is new or has changed. ``signature`` is None when it must be read again next time."""

    filename: str
    signature: Signature | None
    outcome: Record | Malformed | Newer | RefusedFile


class Scan:
    """``steps`` takes at most 3 ms each, so that other tasks run in between, or runs in a thread."""

    def __init__(
        self,
        directory: Path,
        known: Mapping[str, Signature | None],
        system: System = REAL,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._directory = directory
        self._system = system
        self._known = known
        self._clock = clock or system.clock.awake
        self.seen: set[str] = set()
        """Names of all candidates; complete when the steps have ended."""

    def steps(self) -> Iterator[list[Sighting]]:
        """The files that are new or changed, in any order. Raises DirectoryUnusable, OSError.

        A directory that can't be written is listed completely before that is raised.
        """
        private_directory(self._directory, create=False, files=self._system.files)
        sightings: list[Sighting] = []
        until = self._clock() + STEP_S
        with self._system.files.scandir(self._directory) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    sightings.extend(self._read_entry(entry))
                if self._clock() >= until:
                    yield sightings
                    sightings = []
                    until = self._clock() + STEP_S
        yield sightings
        writable_directory(self._directory, self._system.files)

    def _read_entry(self, entry: DirectoryEntry) -> Iterator[Sighting]:
        self.seen.add(entry.name)
        try:
            status = entry.stat(follow_symlinks=False)
            signature = _signature(status)
            if self._known.get(entry.name) == signature:
                return
            if refusal := refusal_of(status, LIMIT_BYTES, self._system.files):
                refused = RefusedFile(entry.name, refusal, f"{refusal.replace('_', ' ')}: not read")
                yield Sighting(entry.name, signature, refused)
            else:
                yield _read(self._directory / entry.name, self._system)
        except FileNotFoundError:
            self.seen.discard(entry.name)
        except FileRefused as error:
            yield Sighting(entry.name, None, RefusedFile(entry.name, error.reason, "changed while it was read"))
        except OSError as error:
            if error.errno in SHORTAGES:
                raise  # a fault of this process, not of the file
            detail = os.strerror(error.errno or 0)
            yield Sighting(entry.name, None, RefusedFile(entry.name, "unreadable", detail))


def _signature(status: os.stat_result) -> Signature:
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _read(path: Path, system: System) -> Sighting:
    """Signature and content are those of one and the same file, whatever the path names by now."""
    files = system.files
    now_ns = int(system.clock.wall() * 1e9)
    descriptor = open_for_reading(path, LIMIT_BYTES, files)
    try:
        status = files.fstat(descriptor)
        data = read_descriptor(path, descriptor, LIMIT_BYTES, files)
    finally:
        files.close(descriptor)
    settled = now_ns - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED_NS
    return Sighting(path.name, _signature(status) if settled else None, decode(data, path.name))
