"""Events of the system for directories: one source per event loop, for all its directories.

A source says little on purpose: *created* (a new name, perhaps without content yet; only Linux tells that apart),
*changed* (perhaps a name), *lost* (the directory was removed, moved or unmounted, and this watch has ended) or
*overflow* (events were dropped). The listener scans the directory to learn more.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal, Protocol

_log = logging.getLogger(__name__)

Happening = Literal["created", "changed", "lost", "overflow"]
Listener = Callable[[Happening, str | None], None]


class EventSource(Protocol):
    """``add`` returns a number by which the watch is removed, and raises OSError; a lost watch has removed itself."""

    kind: str

    def add(self, path: Path, listener: Listener) -> int: ...
    def remove(self, watch: int, listener: Listener) -> None: ...


open_sources: dict[int, EventSource] = {}
"""By the id of the loop; a source takes itself out with its last watch."""


def source_for(loop: asyncio.AbstractEventLoop) -> EventSource:
    """The source of this loop. Raises OSError when the system gives none (EMFILE: 128 inotify instances per user)."""
    source = open_sources.get(id(loop))
    if source is None:
        source = open_sources[id(loop)] = _open_source(loop)
    return source


def _tell_all(listeners: Iterable[Listener], happening: Happening, name: str | None = None) -> None:
    """Call each listener. One that raises affects neither the other listeners nor the unread events."""
    for listener in tuple(listeners):
        try:
            listener(happening, name)
        except Exception:  # noqa: BLE001 — the barrier: as above
            _log.exception("a listener to a directory failed")


if sys.platform == "linux":
    import struct

    from brummer.host.libc import check, function
    from brummer.host.readers import read_when_ready

    _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
    _DELETE_SELF, _MOVE_SELF, _UNMOUNT, _OVERFLOW, _IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
    _ONLYDIR: Final = 0x01000000
    _MASK: Final = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR
    _LOST: Final = _DELETE_SELF | _MOVE_SELF | _UNMOUNT | _IGNORED
    _HEADER: Final = struct.Struct("iIII")
    _BUFFER_BYTES: Final = 65536
    """1,300 events at the most, 3 ms of work; the loop calls again for more."""

    class _Inotify:
        kind = "inotify"

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop
            self._listeners: dict[int, list[Listener]] = {}
            self._descriptor = check(function("inotify_init1")(os.O_NONBLOCK | os.O_CLOEXEC))
            try:
                read_when_ready(loop, self._descriptor, self._read, self._failed)
            except OSError:
                os.close(self._descriptor)
                raise

        def add(self, path: Path, listener: Listener) -> int:
            try:
                add_watch = function("inotify_add_watch")
                watch = check(add_watch(self._descriptor, os.fsencode(path), _MASK), str(path))
            except OSError:
                self._close_if_idle()
                raise
            self._listeners.setdefault(watch, []).append(listener)
            return watch

        def remove(self, watch: int, listener: Listener) -> None:
            listeners = self._listeners.get(watch, [])
            if listener in listeners:
                listeners.remove(listener)
                if not listeners:
                    del self._listeners[watch]
                    function("inotify_rm_watch")(self._descriptor, watch)
            self._close_if_idle()

        def _close_if_idle(self) -> None:
            if not self._listeners and open_sources.get(id(self._loop)) is self:
                del open_sources[id(self._loop)]
                self._loop.remove_reader(self._descriptor)
                os.close(self._descriptor)

        def _failed(self, error: OSError) -> None:
            """No more events will come from here: each listener starts anew with another source."""
            _log.warning("changes of directories can't be read any more: %s", error)
            open_sources.pop(id(self._loop), None)
            for watch in tuple(self._listeners):
                self._lose(watch)
            os.close(self._descriptor)

        def _read(self) -> None:
            data = os.read(self._descriptor, _BUFFER_BYTES)
            at = 0
            while at < len(data):
                watch, mask, _, length = _HEADER.unpack_from(data, at)
                at += _HEADER.size + length
                self._tell(watch, mask, data[at - length : at].rstrip(b"\0"))

        def _tell(self, watch: int, mask: int, name: bytes) -> None:
            if mask & _OVERFLOW:
                _tell_all([each for listeners in self._listeners.values() for each in listeners], "overflow")
            elif mask & _LOST:
                self._lose(watch)
            else:
                happening: Happening = "created" if mask & _CREATE else "changed"
                _tell_all(self._listeners.get(watch, ()), happening, os.fsdecode(name))

        def _lose(self, watch: int) -> None:
            """A moved directory keeps its watch, but its path is no longer the watched one: end it."""
            listeners = self._listeners.pop(watch, [])
            if listeners:
                function("inotify_rm_watch")(self._descriptor, watch)
            _tell_all(listeners, "lost")
            self._close_if_idle()

    def _open_source(loop: asyncio.AbstractEventLoop) -> EventSource:
        return _Inotify(loop)

else:
    import select

    from brummer.host.macos.kqueue import DirectoryEvents

    def _open_source(loop: asyncio.AbstractEventLoop) -> EventSource:
        def forget() -> None:
            open_sources.pop(id(loop), None)

        return DirectoryEvents(loop, select, forget)
