"""Files that several processes share: written whole or not at all, read without trust in their author."""

import contextlib
import errno
import itertools
import os
import re
import stat
import sys
from pathlib import Path
from typing import Final, Literal

from brummer.core.errors import BrummerError
from brummer.host.pids import ProcessIdentity
from brummer.host.real_system import REAL
from brummer.host.system import Files, System

FileRefusal = Literal["symlink", "not_regular", "foreign_owner", "too_large", "open_to_others"]


class FileRefused(BrummerError):
    """A file that is not what we could have written: we don't read it."""

    code = "file_refused"

    def __init__(self, path: Path, reason: FileRefusal, detail: str = "") -> None:
        self.why = reason.replace("_", " ") + (f" ({detail})" if detail else "")
        super().__init__(f"{path} is refused: {self.why}", path=str(path), reason=reason)
        self.path = path
        self.reason = reason


_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


def _foreign(status: os.stat_result, files: Files) -> bool:
    return status.st_uid != files.geteuid()


def _sync(descriptor: int, files: Files) -> None:
    """Until the file survives a power cut."""
    if sys.platform == "darwin":
        from brummer.host.macos.files import sync  # noqa: PLC0415 — only there

        sync(descriptor, files.fsync)
    else:
        files.fsync(descriptor)


def _sync_directory(path: Path, files: Files) -> None:
    descriptor = files.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _sync(descriptor, files)
    finally:
        files.close(descriptor)


_counter = itertools.count()
_TEMPORARY: Final = re.compile(r"\..*\.([0-9a-zA-Z]{0,8})-(\d{1,20})-(\d{1,10})-(\d{1,20})-\d+\.tmp", re.DOTALL)
_ABANDONED_AFTER_S: Final = 3600.0
"""A write takes milliseconds. After this time, a file whose writer can't be identified was left behind."""


def temporary_name(name: str, system: System = REAL) -> str:
    """A hidden name, unique to this write, with the identity of the writer: see `is_abandoned`."""
    own = system.processes.own_identity()
    return f".{name}.{_boot_prefix(own)}-{own.pid_namespace}-{own.pid}-{own.start_token}-{next(_counter)}.tmp"


def _boot_prefix(identity: ProcessIdentity) -> str:
    return identity.boot_id.replace("-", "")[:8]


def is_abandoned(path: Path, system: System = REAL) -> bool:
    """A temporary file of ours whose writer died before it was done."""
    found = _TEMPORARY.fullmatch(path.name)
    if not found:
        return False
    own = system.processes.own_identity()
    boot, namespace, pid, start = found[1], *map(int, found.groups()[1:])
    writer = ProcessIdentity(own.boot_id, namespace, pid, start)
    if boot == _boot_prefix(own) and system.processes.same_namespace(writer):
        if system.processes.is_running(writer):
            return False
        with contextlib.suppress(OSError):
            if system.processes.process_state(pid) is None:
                return True
    try:  # else the writer may be in another time namespace: the age of the file decides
        return system.clock.wall() - system.files.lstat(path).st_mtime > _ABANDONED_AFTER_S
    except OSError:
        return False


def write_atomically(
    path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True, system: System = REAL
) -> None:
    """Replace the file, so that a reader sees the old or the new content, never a part; if ``durable``, even after a
    power cut.

    Raises OSError (ENOSPC, EROFS, EACCES, ENOENT…), and then the old file is unchanged and nothing is left behind.
    """
    files = system.files
    durable = durable and not system.filesystems.is_tmpfs(path.parent)
    temporary = path.with_name(temporary_name(path.name, system))
    try:
        _write_new(temporary, data, mode, files, durable=durable)
        files.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            files.unlink(temporary)
        raise
    if durable:
        _sync_directory(path.parent, files)


def write_once(path: Path, data: bytes, system: System = REAL) -> bool:
    """Create the file with this content, mode 0600, unless one is there; returns whether this call created it.

    If several processes write, exactly one succeeds. A reader never sees a part of the file. Raises OSError.
    """
    files = system.files
    temporary = path.with_name(temporary_name(path.name, system))
    try:
        _write_new(temporary, data, 0o600, files, durable=not system.filesystems.is_tmpfs(path.parent))
        files.link(temporary, path)  # fails if the name is taken, which a rename does not
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(OSError):
            files.unlink(temporary)
    return True


def create(path: Path, mode: int = 0o600, files: Files = REAL.files) -> int:
    """A descriptor of a new file, for writing. Raises OSError (FileExistsError, whatever it is that is there)."""
    return files.open(path, _CREATE, mode)


def open_for_appending(path: Path) -> int:
    """A descriptor of a file that is there, for writing at its end. Raises OSError, also for a link."""
    return os.open(path, _APPEND)


def write_all(descriptor: int, data: bytes, files: Files = REAL.files) -> None:
    """Raises OSError (ENOSPC…); then a part of it may have been written."""
    rest = memoryview(data)
    while rest:
        rest = rest[files.write(descriptor, rest) :]


def _write_new(path: Path, data: bytes, mode: int, files: Files, *, durable: bool) -> None:
    descriptor = create(path, mode, files)
    try:
        write_all(descriptor, data, files)
        if durable:
            _sync(descriptor, files)
    finally:
        files.close(descriptor)


def refusal_of(status: os.stat_result, limit_bytes: int, files: Files = REAL.files) -> FileRefusal | None:
    """Why we would not read a file with this status; None when we would."""
    if stat.S_ISLNK(status.st_mode):
        return "symlink"
    if not stat.S_ISREG(status.st_mode):
        return "not_regular"
    if _foreign(status, files):
        return "foreign_owner"
    return "too_large" if status.st_size > limit_bytes else None


def open_for_reading(path: Path, limit_bytes: int, files: Files = REAL.files) -> int:
    """A descriptor of a regular file of ours; never blocks, whatever is there. Raises FileRefused, OSError."""
    try:
        descriptor = files.open(path, _READ)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileRefused(path, "symlink") from error
        if error.errno in (errno.ENXIO, errno.EOPNOTSUPP):  # a socket, on Linux and on macOS
            raise FileRefused(path, "not_regular") from error
        raise
    try:
        refusal = refusal_of(files.fstat(descriptor), limit_bytes, files)
    except BaseException:
        files.close(descriptor)
        raise
    if refusal is None:
        return descriptor
    files.close(descriptor)
    raise FileRefused(path, refusal)


def read_bounded(path: Path, limit_bytes: int, files: Files = REAL.files) -> bytes:
    """The whole of a small regular file of ours. Raises FileRefused, OSError (FileNotFoundError when there is none)."""
    descriptor = open_for_reading(path, limit_bytes, files)
    try:
        return read_descriptor(path, descriptor, limit_bytes, files)
    finally:
        files.close(descriptor)


def read_private(path: Path, limit_bytes: int) -> bytes:
    """As `read_bounded`, of a file that holds a secret: one that others may read or write is refused, too."""
    descriptor = open_for_reading(path, limit_bytes)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise FileRefused(path, "open_to_others", f"mode {mode:04o}: remove it, and a new one is made")
        return read_descriptor(path, descriptor, limit_bytes)
    finally:
        os.close(descriptor)


def read_descriptor(path: Path, descriptor: int, limit_bytes: int, files: Files = REAL.files) -> bytes:
    """All of it, from the present position; a file that grows past the limit while we read is refused, too."""
    parts: list[bytes] = []
    left_bytes = limit_bytes + 1
    while left_bytes > 0 and (part := files.read(descriptor, min(left_bytes, 1 << 16))):
        parts.append(part)
        left_bytes -= len(part)
    if left_bytes <= 0:
        raise FileRefused(path, "too_large")
    return b"".join(parts)
