"""Files of a Mac: the one true path of a directory, a write that reaches the disk, and a short path for a socket."""

import contextlib
import errno
import fcntl
import os
import pwd
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

F_GETPATH: Final = 50
F_FULLFSYNC: Final = 51
"""Of fcntl(2); the module `fcntl` has them on macOS only."""
_PATH_BYTES: Final = 1024

Control = Callable[[int, int, bytes], bytes]
"""`fcntl.fcntl`."""


def real_path(path: str | Path, control: Control = fcntl.fcntl) -> str:
    """The path as the file system spells it. Its names differ in case and in Unicode form from what users type, and
    `os.path.realpath` keeps what they typed. For a path that does not exist, that is the result.
    """
    resolved = os.path.realpath(path)
    try:
        descriptor = os.open(resolved, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return resolved
    try:
        return os.fsdecode(control(descriptor, F_GETPATH, bytes(_PATH_BYTES)).split(b"\0")[0])
    except OSError:
        return resolved
    finally:
        os.close(descriptor)


def sync(descriptor: int, fsync: Callable[[int], None], control: Callable[[int, int], int] = fcntl.fcntl) -> None:
    """Until the data survive a power cut: fsync(2) there leaves them in the drive's own memory. Raises OSError."""
    try:
        control(descriptor, F_FULLFSYNC)
    except OSError:  # not every file system has it
        fsync(descriptor)


@contextlib.contextmanager
def short_address(path: Path, limit_bytes: int) -> Iterator[str]:
    """A path for a socket whose own path is too long: through a link in a private directory, since the system measures
    the path before it follows links. Raises OSError.
    """
    with tempfile.TemporaryDirectory(prefix="b", dir="/tmp") as private:
        link = Path(private) / "d"
        link.symlink_to(path.parent)
        address = str(link / path.name)
        if len(os.fsencode(address)) > limit_bytes:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))
        yield address


def support_directory(entry_of: Callable[[int], pwd.struct_passwd] = pwd.getpwuid) -> Path:
    """Where Brummer keeps what belongs to this user; the same for all processes, whatever their environments say.

    Not $TMPDIR, which differs under sudo, ssh and launchd, and is emptied after three days.
    """
    return Path(entry_of(os.geteuid()).pw_dir) / "Library" / "Application Support" / "brummer"
