"""One process at a time: a lock on a file, which the system frees when its holder dies.

It is flock(2). POSIX record locks would be dropped as soon as anything in the process closed the same file. Locks of
the open file description (F_OFD_SETLK) behave as flock does but are Linux's alone. Both are inherited by a forked
child and outlive the parent then; a child that execs loses the descriptor (close-on-exec), and one that Python forks
drops it at once (`_forget_after_fork`). Only a fork made in C, without exec, keeps the lock for as long as it lives.

The file is never removed, since a lock on a removed file is invisible to others. So after locking, the path is checked:
it must still name the locked file. Waiting is polling with jitter and always bounded;
nothing here holds one lock while it waits for another, so there can be no deadlock.
"""

import asyncio
import contextlib
import fcntl
import os
import stat
import weakref
from pathlib import Path
from typing import Final

from brummer.core.errors import BrummerError
from brummer.host.files import FileRefused
from brummer.host.real_system import REAL
from brummer.host.system import Files, Locks, System

_REPLACED_TRIES: Final = 3
_POLL_S: Final = (0.002, 0.02)


class LockTimeout(BrummerError):
    """Another process held the lock for too long. ``holder_pid`` is the pid in the file, if there is one."""

    code = "lock_timeout"
    transient = True

    def __init__(self, path: Path, holder_pid: int | None, waited_s: float) -> None:
        holder = f"process {holder_pid}" if holder_pid else "an unknown process"
        super().__init__(
            f"{path} is held by {holder}, which did not let go within {waited_s:g} s."
            " See whether it is stopped or stuck, and end it if so.",
            path=str(path),
            holder_pid=holder_pid,
        )
        self.path = path
        self.holder_pid = holder_pid


class LocksUnsupported(BrummerError):
    """The file system there knows no locks."""

    code = "locks_unsupported"

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path.parent} is on a file system without locks", path=str(path))
        self.path = path


_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PROBE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def _try_lock(descriptor: int, locks: Locks, *, shared: bool) -> bool:
    """Probes take the shared kind, so that they don't disturb each other."""
    try:
        locks.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(descriptor: int, locks: Locks) -> None:
    locks.flock(descriptor, fcntl.LOCK_UN)


def _write_holder(descriptor: int, text: bytes, files: Files) -> None:
    files.ftruncate(descriptor, 0)
    files.pwrite(descriptor, text, 0)


def _forget_after_fork() -> None:
    for lock in _held:
        lock.forget()


os.register_at_fork(after_in_child=_forget_after_fork)


class FileLock:
    """A lock that is held. Keep it; `release` gives it up, and so does the death of the process."""

    __slots__ = ("__weakref__", "_descriptor", "_system", "path")

    def __init__(self, path: Path, descriptor: int, system: System = REAL) -> None:
        self.path = path
        self._system = system
        self._descriptor: int | None = descriptor
        _held.add(self)

    def __repr__(self) -> str:
        return f"<FileLock {self.path} {'held' if self._descriptor is not None else 'released'}>"

    @classmethod
    def try_acquire(cls, path: Path, system: System = REAL) -> "FileLock | None":
        """The lock, or None when another process has it. Creates the file, not its directory.

        Raises LocksUnsupported, FileRefused (not a regular file), OSError (missing or read-only directory…).
        """
        files = system.files
        for _ in range(_REPLACED_TRIES):
            descriptor = files.open(path, _OPEN, 0o600)
            try:
                if not _locked(path, descriptor, system, shared=False):
                    files.close(descriptor)
                    return None
                if _is_at(path, descriptor, files):
                    with contextlib.suppress(OSError):  # a full disk takes our name, not the lock
                        _write_holder(descriptor, b"%d\n" % system.processes.own_identity().pid, files)
                    return cls(path, descriptor, system)
            except BaseException:
                files.close(descriptor)
                raise
            files.close(descriptor)
        return None

    @classmethod
    async def acquire(cls, path: Path, timeout_s: float, system: System = REAL) -> "FileLock":
        """The lock, waited for at most ``timeout_s``. Raises LockTimeout and what `try_acquire` raises."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while (lock := cls.try_acquire(path, system)) is None:
            if loop.time() >= deadline:
                raise LockTimeout(path, holder_pid(path, system), timeout_s)
            await asyncio.sleep(system.random.uniform(*_POLL_S))
        return lock

    def is_in_place(self) -> bool:
        """The path still names the file that we locked, so that others see the lock."""
        return self._descriptor is not None and _is_at(self.path, self._descriptor, self._system.files)

    def release(self) -> None:
        """Let go, at once even for a child that has inherited the descriptor."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                _unlock(self._descriptor, self._system.locks)
        self.forget()

    def forget(self) -> None:
        """Close the file without unlocking: others that share the descriptor keep the lock."""
        if self._descriptor is not None:
            self._system.files.close(self._descriptor)
            self._descriptor = None


_held: "weakref.WeakSet[FileLock]" = weakref.WeakSet()


def _locked(path: Path, descriptor: int, system: System, *, shared: bool) -> bool:
    if not stat.S_ISREG(system.files.fstat(descriptor).st_mode):
        raise FileRefused(path, "not_regular")
    try:
        return _try_lock(descriptor, system.locks, shared=shared)
    except OSError as error:
        raise LocksUnsupported(path) from error


def _is_at(path: Path, descriptor: int, files: Files) -> bool:
    try:
        return os.path.samestat(files.lstat(path), files.fstat(descriptor))
    except OSError:
        return False


def holder_pid(path: Path, system: System = REAL) -> int | None:
    """The pid that the last holder wrote down, in its own pid namespace."""
    with contextlib.suppress(OSError):
        descriptor = system.files.open(path, _PROBE)
        try:
            return _read_holder(descriptor, system.files)
        finally:
            system.files.close(descriptor)
    return None


def _read_holder(descriptor: int, files: Files) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(files.read(descriptor, 32))
    return None


def is_locked(path: Path, system: System = REAL) -> bool | None:
    """Whether a process holds this lock; None if unknown (no such file, no locks there). Costs 6 µs.

    It takes the lock for a microsecond, so a process that wants it must try more than once.
    """
    return _probe(path, system)[0]


def was_released(path: Path, pid: int, system: System = REAL) -> bool:
    """Whether the process with this pid held the lock, and holds it no more. A process creates the file before it has
    locked it and written its pid, and may be stopped between; so a free lock alone proves nothing.
    """
    is_held, holder = _probe(path, system)
    return is_held is False and holder == pid


def _probe(path: Path, system: System) -> tuple[bool | None, int | None]:
    """(`is_locked`, the last holder if the lock is free)."""
    try:
        descriptor = system.files.open(path, _PROBE)
    except OSError:
        return None, None
    try:
        if not _locked(path, descriptor, system, shared=True):
            return True, None
        return False, _read_holder(descriptor, system.files)
    except (LocksUnsupported, FileRefused, OSError):
        return None, None
    finally:
        system.files.close(descriptor)
