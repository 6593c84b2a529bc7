"""Hints that a directory has changed, without saying what changed.

A watch belongs to a directory, not to a path, and the directory may be removed, moved, unmounted, or not be there
yet. So this watches the directory if there is one, else the nearest parent, until the next part of the path turns up
there. Whatever it misses (a parent of the directory was moved; something was mounted over it) is found by `verify`,
which the owner calls at each of its own periodic scans. No thread, and no polling.
"""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from brummer.host.directory_events import EventSource, Happening
from brummer.host.real_system import REAL
from brummer.host.system import Files, System

Hint = Literal["watching", "changed", "overflow", "lost"]
"""watching: the directory is there and watched from now on. lost: it is gone, is no longer the one at that path, or no
further hint will come.
"""

_REARM_TRIES: Final = 8


class DirectoryWatch:
    """Calls ``on_hint(hint)`` on the loop, also once at the start if the directory exists; names that begin with a
    dot don't count. A directory that does not exist, and a system that gives no events, are no errors.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        on_hint: Callable[[Hint], None],
        system: System = REAL,
    ) -> None:
        self._loop = loop
        self._system = system
        self.path = path
        self._on_hint = on_hint
        self._closed = False
        self._source: EventSource | None = None
        self._watch: int | None = None
        self._place: Path | None = None
        self._inode: tuple[int, int] | None = None
        self._rearm()

    def __repr__(self) -> str:
        return f"<DirectoryWatch {self.path} {self.kind} at {self._place}>"

    @property
    def kind(self) -> str:
        """``inotify``, ``kqueue``; ``polling`` when no hint will come and the owner must poll."""
        return self._source.kind if self._source and self._watch is not None else "polling"

    @property
    def is_watching(self) -> bool:
        """The directory itself is watched, not a parent of it."""
        return self._watch is not None and self._place == self.path

    def verify(self) -> None:
        """Watch what the path names now, should that be another directory than the one we watch. Costs 2 µs."""
        if not self._closed and (not self.is_watching or _inode(self.path, self._system.files) != self._inode):
            self._rearm()

    def close(self) -> None:
        self._closed = True
        self._drop()

    def _rearm(self) -> None:
        """The tree may change between our check and our watch: after each watch, check again."""
        try:
            for _ in range(_REARM_TRIES):
                place = _nearest_directory(self.path, self._system.files)
                if not self._add(place) or _nearest_directory(self.path, self._system.files) == place:
                    break
        except OSError:  # the path can't be read now: no hint will come until `verify` finds more
            self._drop()
        if self.is_watching:
            self._hint("watching")

    def _add(self, place: Path) -> bool:
        self._drop()
        try:
            self._source = self._system.directory_events(self._loop)
            self._watch = self._source.add(place, self._on_event)
        except FileNotFoundError:
            return True  # it was removed meanwhile: check again
        except (OSError, NotImplementedError):
            return False
        self._place = place
        self._inode = _inode(place, self._system.files)
        return True

    def _drop(self) -> None:
        if self._source is not None and self._watch is not None:
            self._source.remove(self._watch, self._on_event)
        self._source = self._watch = self._place = self._inode = None

    def _on_event(self, happening: Happening, name: str | None) -> None:
        if happening == "lost":
            was_watching, self._watch = self.is_watching, None
            self._rearm()
            if was_watching or self._watch is None:
                self._hint("lost")
        elif self.is_watching:
            if happening == "overflow":
                self._hint("overflow")
            elif not _is_ignored(happening, name or ""):
                self._hint("changed")
        elif name is None or name == self._awaited():
            self._rearm()
            if self._watch is None:  # the owner must poll from now on, not from its next periodic scan on
                self._hint("lost")

    def _awaited(self) -> str:
        """The part of the path that is missing in the parent we watch."""
        parent = self._place or self.path.parent
        return self.path.relative_to(parent).parts[0]

    def _hint(self, hint: Hint) -> None:
        if not self._closed:
            self._on_hint(hint)


def _is_ignored(happening: Happening, name: str) -> bool:
    """Hidden names, and the creation of a lock file. What the lock guards is created just after it: a scan at once
    would find nothing, and delay the scan that finds it by 10 ms.
    """
    return name.startswith(".") or (happening == "created" and name.endswith(".lock"))


def _inode(path: Path, files: Files) -> tuple[int, int] | None:
    try:
        status = files.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _nearest_directory(path: Path, files: Files) -> Path:
    return next((place for place in (path, *path.parents) if _is_directory(place, files)), Path(path.anchor))


def _is_directory(path: Path, files: Files) -> bool:
    try:
        return stat.S_ISDIR(files.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
