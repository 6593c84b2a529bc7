"""kqueue(2): the death of a process, and changes of directories.

The calls are those of the module `select`, which has them on macOS only; so its constants are repeated here, from
sys/event.h.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from brummer.host.readers import read_when_ready

_EVFILT_VNODE, _EVFILT_PROC = -4, -5
_EV_ADD, _EV_ONESHOT, _EV_CLEAR = 0x1, 0x10, 0x20
_NOTE_DELETE, _NOTE_WRITE, _NOTE_RENAME, _NOTE_REVOKE = 0x1, 0x2, 0x20, 0x40
_NOTE_EXIT: Final = 0x80000000
_LOST: Final = _NOTE_DELETE | _NOTE_RENAME | _NOTE_REVOKE
_O_EVTONLY: Final = 0x8000
"""Opened for events only, which does not keep a volume from being unmounted."""
_EVENTS: Final = 64

_log = logging.getLogger(__name__)

Listener = Callable[[Literal["created", "changed", "lost", "overflow"], str | None], None]


class Queue(Protocol):
    """`select.kqueue`."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...
    def control(self, changes: Sequence[Any] | None, events: int, timeout: float | None = None, /) -> list[Any]: ...


class Kernel(Protocol):
    """The module `select` of a Mac."""

    @property
    def kqueue(self) -> Callable[[], Queue]: ...
    @property
    def kevent(self) -> Callable[..., Any]: ...


def exit_descriptor(pid: int, kernel: Kernel) -> int:
    """A descriptor that becomes readable when this process dies. Raises OSError (ESRCH: it is dead).

    It is a duplicate of a kqueue with one event; the queue lives as long as the descriptor.
    """
    queue = kernel.kqueue()
    try:
        queue.control([kernel.kevent(pid, _EVFILT_PROC, _EV_ADD | _EV_ONESHOT, _NOTE_EXIT)], 0)
        return os.dup(queue.fileno())
    finally:
        queue.close()


class DirectoryEvents:
    """The `brummer.host.directory_events.EventSource` of a Mac; ``on_idle()`` when it has closed itself.

    NOTE_WRITE on a directory means an entry added, removed or renamed: just what an atomic write makes.
    """

    kind = "kqueue"

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        kernel: Kernel,
        on_idle: Callable[[], None],
        open_directory: Callable[[Path, int], int] = os.open,
    ) -> None:
        self._loop = loop
        self._kernel = kernel
        self._on_idle = on_idle
        self._open = open_directory
        self._listeners: dict[int, Listener] = {}
        self._queue = kernel.kqueue()
        self._is_closed = False
        try:
            read_when_ready(loop, self._queue.fileno(), self._read, self._failed)
        except OSError:
            self._queue.close()
            raise

    def add(self, path: Path, listener: Listener) -> int:
        try:
            watch = self._open(path, _O_EVTONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            self._close_if_idle()
            raise
        event = self._kernel.kevent(watch, _EVFILT_VNODE, _EV_ADD | _EV_CLEAR, _NOTE_WRITE | _LOST)
        try:
            self._queue.control([event], 0)
        except OSError:
            os.close(watch)
            self._close_if_idle()
            raise
        self._listeners[watch] = listener
        return watch

    def remove(self, watch: int, listener: Listener) -> None:
        if self._listeners.get(watch) == listener:  # bound methods are equal, not identical
            del self._listeners[watch]
            os.close(watch)
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if not self._listeners and not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._queue.fileno())
            self._queue.close()
            self._on_idle()

    def _failed(self, error: OSError) -> None:
        """No more events will come from here: each listener starts anew with another source."""
        _log.warning("changes of directories can't be read any more: %s", error)
        self._on_idle()
        for watch, listener in tuple(self._listeners.items()):
            self._lose(watch, listener)

    def _read(self) -> None:
        for event in self._queue.control(None, _EVENTS, 0):
            listener = self._listeners.get(event.ident)
            if listener is None:
                continue
            if event.fflags & _LOST:
                self._lose(event.ident, listener)
            else:
                _tell(listener, "changed")

    def _lose(self, watch: int, listener: Listener) -> None:
        self.remove(watch, listener)
        _tell(listener, "lost")


def _tell(listener: Listener, happening: Literal["changed", "lost"]) -> None:
    """A listener that fails affects neither the others nor the events that are still unread."""
    try:
        listener(happening, None)
    except Exception:  # noqa: BLE001 — the barrier: as above
        _log.exception("a listener to a directory failed")
