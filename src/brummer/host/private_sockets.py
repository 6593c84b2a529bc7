"""Unix sockets in a directory of ours: private from the first moment, and with paths of any length.

A socket gets its name only when its process listens. So if no process listens at a name, a dead process left it.
"""

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from brummer.host.files import temporary_name

if sys.platform == "darwin":
    from brummer.host.macos.files import short_address
    from brummer.host.pids import process_state

ADDRESS_LIMIT_BYTES: Final = 107 if sys.platform == "linux" else 103
"""sun_path of struct sockaddr_un, less the NUL at its end: 108 bytes on Linux (unix(7)), 104 on macOS."""

KEEPS_THE_NAME: Final[dict[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""For `create_unix_server`: from Python 3.13 on a server removes the name of its socket, unless this is set."""

Mark = tuple[int, int, int]
"""Which file a path names: device, inode, and time of the last change, which a rename leaves as it is."""


@contextlib.contextmanager
def address_of(path: Path) -> Iterator[str]:
    """What to bind or connect to for this path. Raises OSError."""
    if len(os.fsencode(path)) <= ADDRESS_LIMIT_BYTES:
        yield str(path)
    elif sys.platform == "darwin":
        with short_address(path, ADDRESS_LIMIT_BYTES) as address:
            yield address
    else:
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{directory}/{path.name}"
        finally:
            os.close(directory)


def listen_privately(path: Path, backlog: int) -> tuple[socket.socket, Mark]:
    """A non-blocking listener at this path, mode 0600, and its mark; what was there is replaced. Raises OSError."""
    hidden = path.with_name(temporary_name(path.name))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        with address_of(hidden) as address:
            _bind_privately(listener, address)
        try:
            mark = _mark_of(os.lstat(hidden))
            listener.listen(backlog)
            os.rename(hidden, path)
        except BaseException:
            os.unlink(hidden)
            raise
    except BaseException:
        listener.close()
        raise
    return listener, mark


if sys.platform == "linux":

    def _bind_privately(listener: socket.socket, address: str) -> None:
        """The file takes its mode from the socket's own (unix_bind in net/unix/af_unix.c). The umask would do as well,
        but it belongs to all threads.
        """
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(address)

else:

    def _bind_privately(listener: socket.socket, address: str) -> None:
        """No process can connect before `listen`, and no other user can enter the directory."""
        listener.bind(address)
        os.chmod(address, 0o600)


def own_socket(path: Path) -> Mark | None:
    """Which socket of ours stands at this path; None for anything else, and for nothing."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
        return None
    return _mark_of(status)


def _mark_of(status: os.stat_result) -> Mark:
    return status.st_dev, status.st_ino, status.st_mtime_ns


def is_dead(path: Path, owner_pid: int | None = None) -> bool:
    """No process listens at this socket of ours, by proof: the kernel refuses. Never waits.

    Not for a directory that other machines share: a socket of theirs refuses us, too.
    """
    if own_socket(path) is None:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            with address_of(path) as address:
                asking.connect(address)
        except ConnectionRefusedError:
            # macOS also refuses when the queue is full: there the process that made it must be gone as well.
            return sys.platform != "darwin" or owner_pid is None or process_state(owner_pid) is None
        except OSError:  # such as EAGAIN: its queue is full, so a process has it open
            return False
    return False


def remove(path: Path, mark: Mark) -> bool:
    """Remove this socket and no other that may have taken its place by now. Whether it is gone.

    Only what was moved aside is known for certain; the wrong one is put back.
    """
    aside = path.with_name(temporary_name(path.name))
    try:
        os.rename(path, aside)
    except OSError:
        return False
    is_it = own_socket(aside) == mark
    if not is_it:
        with contextlib.suppress(OSError):  # a still newer one is there by now
            os.link(aside, path)
    with contextlib.suppress(OSError):
        os.unlink(aside)
    return is_it


def remove_dead(path: Path, owner_pid: int | None = None) -> bool:
    """Remove the socket if a dead process left it. Whether it did."""
    mark = own_socket(path)
    return mark is not None and is_dead(path, owner_pid) and remove(path, mark)
