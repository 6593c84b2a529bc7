"""Directories that no other user can enter, and the advice when there can be none."""

import contextlib
import errno
import itertools
import os
import stat
import sys
from pathlib import Path
from typing import Final, Literal

from brummer.core.errors import BrummerError
from brummer.host.system import Files

DirectoryRefusal = Literal[
    "missing",
    "symlink",
    "not_a_directory",
    "foreign_owner",
    "open_to_others",
    "forbidden",
    "read_only",
    "full",
    "failed",
]

_ADVICE: Final[dict[DirectoryRefusal, str]] = {
    "missing": "Create it, or set BRUMMER_INSTANCES_DIR to a directory of yours.",
    "symlink": "Replace the link by a directory, or set BRUMMER_INSTANCES_DIR to where it points.",
    "not_a_directory": "Remove what is there, or set BRUMMER_INSTANCES_DIR to a directory of yours.",
    "foreign_owner": "Set BRUMMER_INSTANCES_DIR to a directory of yours, or chown this one.",
    "open_to_others": "Run chmod 700 on it.",
    "forbidden": "Give yourself the right to write there (chmod 700), or set BRUMMER_INSTANCES_DIR.",
    "read_only": "Mount it for writing, or set BRUMMER_INSTANCES_DIR to a place that can be written.",
    "full": "Free some space there, or set BRUMMER_INSTANCES_DIR to a place that has some.",
    "failed": "Look at it by hand, or set BRUMMER_INSTANCES_DIR to another directory.",
}
_REASONS: Final[dict[int, DirectoryRefusal]] = {
    errno.ENOENT: "missing",
    errno.ELOOP: "symlink",
    errno.ENOTDIR: "not_a_directory",
    errno.EEXIST: "not_a_directory",
    errno.EACCES: "forbidden",
    errno.EPERM: "forbidden",
    errno.EROFS: "read_only",
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
}


class DirectoryUnusable(BrummerError):
    """A directory that we can't, or must not, keep files in; the message says what to do."""

    code = "directory_unusable"

    def __init__(self, path: Path, reason: DirectoryRefusal, detail: str = "") -> None:
        why = f"{reason.replace('_', ' ')}{f' ({detail})' if detail else ''}"
        super().__init__(f"{path} can't be used: {why}. {_ADVICE[reason]}", path=str(path), reason=reason)
        self.path = path
        self.reason = reason

    @classmethod
    def because_of(cls, path: Path, error: OSError) -> "DirectoryUnusable":
        return cls(path, _REASONS.get(error.errno or 0, "failed"), os.strerror(error.errno or 0))


_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def writable_directory(path: Path, files: Files = os) -> None:
    """Raises DirectoryUnusable for one in which no file can be made, or OSError. Costs 2 µs, where no disk lets us
    wait.
    """
    system = files.statvfs(path)
    if not files.access(path, os.W_OK | os.X_OK):
        raise DirectoryUnusable(path, "read_only" if system.f_flag & os.ST_RDONLY else "forbidden")
    is_root = files.geteuid() == 0  # the file system reserves space for root
    if system.f_blocks and not (system.f_bfree if is_root else system.f_bavail):
        raise DirectoryUnusable(path, "full", "no block is free")
    if system.f_files and not (system.f_ffree if is_root else system.f_favail):
        raise DirectoryUnusable(path, "full", "no inode is free")


def private_directory(path: Path, *, create: bool = True, files: Files = os) -> None:
    """Make sure that only we can read and write in this directory; make it (and its parents) if need be.

    A directory of ours that others may enter is closed to them. Raises DirectoryUnusable.
    """
    try:
        if create:
            _make(path, files)
        descriptor = files.open(path, _DIRECTORY)
    except OSError as error:
        raise _refused_directory(path, error, files) from error
    try:
        _close_to_others(path, descriptor, files)
    finally:
        files.close(descriptor)


def real_path(path: str | Path) -> str:
    """The path without links, one for each directory, however it is typed: names on a Mac ignore case."""
    if sys.platform == "darwin":
        from brummer.host.macos.files import real_path as as_the_system_spells_it  # noqa: PLC0415 — only there

        return as_the_system_spells_it(path)
    return os.path.realpath(path)


def _make(path: Path, files: Files) -> None:
    """As mkdir -p does, but each with mode 0700: Python gives the parents the mode of the umask."""
    for place in reversed([path, *itertools.takewhile(lambda parent: not _is_there(parent, files), path.parents)]):
        with contextlib.suppress(FileExistsError):
            files.mkdir(place, 0o700)


def _is_there(path: Path, files: Files) -> bool:
    try:
        files.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _refused_directory(path: Path, error: OSError, files: Files) -> DirectoryUnusable:
    """Linux answers ENOTDIR when a directory is asked for and the path is a link, so check for a link."""
    with contextlib.suppress(OSError):
        if stat.S_ISLNK(files.lstat(path).st_mode):
            return DirectoryUnusable(path, "symlink")
    return DirectoryUnusable.because_of(path, error)


def _close_to_others(path: Path, descriptor: int, files: Files) -> None:
    status = files.fstat(descriptor)
    if status.st_uid != files.geteuid():
        raise DirectoryUnusable(path, "foreign_owner", f"user {status.st_uid}")
    if status.st_mode & 0o077:
        try:
            files.fchmod(descriptor, 0o700)
        except OSError as error:
            raise DirectoryUnusable(path, "open_to_others", os.strerror(error.errno or 0)) from error
