"""Files without a disk: names, inodes, descriptors, locks of open files, events of changes, and power cuts.

It does what Linux documents for the calls that `brummer.host.system.Files` names. A rename replaces at once. A power
cut loses everything that was not synced; content and names are synced separately. A lock belongs to an open file and
ends with its last descriptor. A directory sends its watchers events of its names, and of its own end.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from brummer.host.directory_events import Happening, Listener
from brummer.testing.memory_sockets import SocketHolder, failure
from brummer.testing.simulated_loop import SimulatedLoop

BLOCKS: Final = 1000
USER: Final = 1000
LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN = 1, 2, 4, 8
"""The numbers of fcntl(2)."""


class Inode:
    """A file or a directory; ``synced`` is the content after a power cut."""

    __slots__ = (
        "_known",
        "_status",
        "changed_ns",
        "content",
        "holders",
        "links",
        "mode",
        "names",
        "number",
        "synced",
        "synced_names",
        "uid",
    )

    def __init__(self, number: int, mode: int, now_ns: int) -> None:
        self.number = number
        self.mode = mode
        self.uid = USER
        self.content = bytearray()
        self.names: dict[str, Inode] = {}
        self.synced: bytes | None = None
        self.synced_names: dict[str, Inode] = {}
        self.links = 1
        self.changed_ns = now_ns
        self._status: os.stat_result | None = None
        self._known: tuple[int, ...] = ()
        self.holders: dict[OpenFile, int] = {}
        """The holders of locks on it, and the kind of each lock."""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def status(self) -> os.stat_result:
        known = (self.mode, self.links, len(self.content), self.changed_ns)
        if self._status is None or self._known != known:
            self._status, self._known = self._new_status(), known
        return self._status

    def _new_status(self) -> os.stat_result:
        seconds = self.changed_ns / 1e9
        values = (self.mode, self.number, 1, self.links, self.uid, self.uid, len(self.content), *[int(seconds)] * 3)
        times = {f"st_{kind}time": seconds for kind in "amc"} | {f"st_{kind}time_ns": self.changed_ns for kind in "amc"}
        return os.stat_result(values, times)


class OpenFile:
    """An open file, to which descriptors refer."""

    __slots__ = ("appends", "fd", "inode", "position")

    def __init__(self, inode: Inode, *, appends: bool) -> None:
        self.inode = inode
        self.appends = appends
        self.position = 0
        self.fd = -1


class _Name:
    """An `os.DirEntry`."""

    def __init__(self, directory: str, name: str, inode: Inode) -> None:
        self.name = name
        self.path = f"{directory}/{name}"
        self._inode = inode

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 — there are no links here
        return self._inode.status()


class Disk:
    """All files of one machine. ``wall_s`` is its clock; its time for files ticks every 4 ms, as a kernel's does."""

    def __init__(self, loop: SimulatedLoop, wall_s: Callable[[], float]) -> None:
        self._loop = loop
        self._wall_s = wall_s
        self._last = 1
        self.root = Inode(1, stat.S_IFDIR | 0o700, 0)
        self.is_full = False
        self.has_events = True
        """False: other machines may write here, so a program must poll."""
        self._watches: dict[int, tuple[Inode, Listener, Any]] = {}
        self._watch_numbers = 0

    def now_ns(self) -> int:
        return int(self._wall_s() * 250) * 4_000_000

    def new_inode(self, mode: int) -> Inode:
        self._last += 1
        return Inode(self._last, mode, self.now_ns())

    def find(self, path: Path | str) -> Inode:
        """Raises FileNotFoundError, NotADirectoryError."""
        inode = self.root
        for part in _parts(str(path)):
            if not inode.is_directory:
                raise failure(errno.ENOTDIR)
            found = inode.names.get(part)
            if found is None:
                raise failure(errno.ENOENT)
            inode = found
        return inode

    def parent_of(self, path: Path | str) -> tuple[Inode, str]:
        place, _, name = str(path).rpartition("/")
        parent = self.find(place)
        if not parent.is_directory:
            raise failure(errno.ENOTDIR)
        return parent, name

    def remove_tree(self, path: Path) -> None:
        """As ``rm -rf``: all names below, and the directory itself."""
        directory = self.find(path)
        for name in list(directory.names):
            del directory.names[name]
            self.tell(directory, "changed", name)
        parent, name = self.parent_of(path)
        del parent.names[name]
        self.tell(directory, "lost", None)
        self.tell(parent, "changed", name)

    def lose_power(self) -> None:
        """A power cut: everything that was not synced is lost."""
        self._lose(self.root)

    def _lose(self, directory: Inode) -> None:
        directory.names = dict(directory.synced_names)
        for inode in directory.names.values():
            inode.holders.clear()
            if inode.is_directory:
                self._lose(inode)
            else:
                inode.content = bytearray(inode.synced or b"")

    # Hints.

    def watch(self, path: Path, listener: Listener, context: Any) -> int:
        inode = self.find(path)
        if not inode.is_directory:
            raise failure(errno.ENOTDIR)
        self._watch_numbers += 1
        self._watches[self._watch_numbers] = (inode, listener, context)
        return self._watch_numbers

    def unwatch(self, number: int) -> None:
        self._watches.pop(number, None)

    def tell(self, inode: Inode, happening: Happening, name: str | None) -> None:
        for number, (watched, listener, context) in list(self._watches.items()):
            if watched is inode:
                if happening == "lost":
                    del self._watches[number]
                self._loop.run_later(20e-6, self._deliver, listener, context, happening, name)

    def _deliver(self, listener: Listener, context: Any, happening: Happening, name: str | None) -> None:
        self._loop.call_soon(listener, happening, name, context=context)


@lru_cache(maxsize=1024)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


class MemoryFiles:
    """The `Files` and `Locks` of one process on a `Disk`. ``fault(name)`` may raise OSError before any call."""

    def __init__(self, disk: Disk, holder: SocketHolder, fault: Callable[[str, Path | None], None]) -> None:
        self._disk = disk
        self._holder = holder
        self._fault = fault
        self.descriptors: dict[int, OpenFile] = {}

    def open(self, path: Path, flags: int, mode: int = 0o777, /) -> int:
        self._fault("open", path)
        disk = self._disk
        creates = flags & os.O_CREAT
        parent, name = disk.parent_of(path)
        inode = parent.names.get(name) if name else disk.root
        if inode is None:
            if not creates:
                raise failure(errno.ENOENT)
            if disk.is_full:
                raise failure(errno.ENOSPC)
            fd = self._open(disk.new_inode(stat.S_IFREG | mode), flags)
            parent.names[name] = self.descriptors[fd].inode
            disk.tell(parent, "created", name)
            return fd
        if creates and flags & os.O_EXCL:
            raise failure(errno.EEXIST)
        if flags & os.O_DIRECTORY and not inode.is_directory:
            raise failure(errno.ENOTDIR)
        return self._open(inode, flags)

    def _open(self, inode: Inode, flags: int) -> int:
        file = OpenFile(inode, appends=bool(flags & os.O_APPEND))
        file.fd = fd = self._holder.take_descriptor(file, "open")
        self.descriptors[fd] = file
        return fd

    def close(self, fd: int, /) -> None:
        file = self.descriptors.pop(fd, None)
        if file is None:
            raise failure(errno.EBADF)
        self._holder.free_descriptor(fd)
        file.inode.holders.pop(file, None)

    def _file(self, call: str, fd: int) -> OpenFile:
        self._fault(call, None)
        file = self.descriptors.get(fd)
        if file is None:
            raise failure(errno.EBADF)
        return file

    def read(self, fd: int, length: int, /) -> bytes:
        file = self._file("read", fd)
        data = bytes(file.inode.content[file.position : file.position + length])
        file.position += len(data)
        return data

    def write(self, fd: int, data: bytes | memoryview, /) -> int:
        file = self._file("write", fd)
        if self._disk.is_full:
            raise failure(errno.ENOSPC)
        if file.appends:
            file.position = len(file.inode.content)
        self._put(file, bytes(data), file.position)
        file.position += len(data)
        return len(data)

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        file = self._file("write", fd)
        if self._disk.is_full:
            raise failure(errno.ENOSPC)
        self._put(file, data, offset)
        return len(data)

    def _put(self, file: OpenFile, data: bytes, position: int) -> None:
        file.inode.content[position : position + len(data)] = data
        file.inode.changed_ns = self._disk.now_ns()

    def ftruncate(self, fd: int, length: int, /) -> None:
        file = self._file("ftruncate", fd)
        del file.inode.content[length:]
        file.inode.changed_ns = self._disk.now_ns()

    def fsync(self, fd: int, /) -> None:
        inode = self._file("fsync", fd).inode
        if inode.is_directory:
            inode.synced_names = dict(inode.names)
        else:
            inode.synced = bytes(inode.content)

    def fchmod(self, fd: int, mode: int, /) -> None:
        inode = self._file("fchmod", fd).inode
        inode.mode = stat.S_IFMT(inode.mode) | mode

    def fstat(self, fd: int, /) -> os.stat_result:
        return self._file("fstat", fd).inode.status()

    def stat(self, path: Path, /) -> os.stat_result:
        self._fault("stat", path)
        return self._disk.find(path).status()

    def lstat(self, path: Path, /) -> os.stat_result:
        return self.stat(path)

    def replace(self, source: Path, target: Path, /) -> None:
        self._fault("rename", target)
        old, old_name = self._disk.parent_of(source)
        new, new_name = self._disk.parent_of(target)
        if old_name not in old.names:
            raise failure(errno.ENOENT)
        inode = old.names.pop(old_name)
        new.names[new_name] = inode
        self._disk.tell(old, "changed", old_name)
        self._disk.tell(new, "changed", new_name)

    def link(self, source: Path, target: Path, /) -> None:
        self._fault("link", target)
        inode = self._disk.find(source)
        parent, name = self._disk.parent_of(target)
        if name in parent.names:
            raise failure(errno.EEXIST)
        parent.names[name] = inode
        self._disk.tell(parent, "created", name)

    def unlink(self, path: Path, /) -> None:
        self._fault("unlink", path)
        parent, name = self._disk.parent_of(path)
        if name not in parent.names:
            raise failure(errno.ENOENT)
        del parent.names[name]
        self._disk.tell(parent, "changed", name)

    def mkdir(self, path: Path, mode: int = 0o777, /) -> None:
        self._fault("mkdir", path)
        parent, name = self._disk.parent_of(path)
        if name in parent.names:
            raise failure(errno.EEXIST)
        parent.names[name] = self._disk.new_inode(stat.S_IFDIR | mode)
        self._disk.tell(parent, "created", name)

    @contextmanager
    def scandir(self, path: Path, /) -> Iterator[Iterator[_Name]]:
        self._fault("scandir", path)
        directory = self._disk.find(path)
        if not directory.is_directory:
            raise failure(errno.ENOTDIR)
        yield iter([_Name(str(path), name, inode) for name, inode in directory.names.items()])

    def statvfs(self, path: Path, /) -> os.statvfs_result:
        self._fault("statvfs", path)
        self._disk.find(path)
        free = 0 if self._disk.is_full else BLOCKS
        return os.statvfs_result((4096, 4096, BLOCKS * 2, free, free, BLOCKS, BLOCKS, BLOCKS, 0, 255))

    def access(self, path: Path, mode: int, /) -> bool:  # noqa: ARG002 — all is ours
        try:
            self._disk.find(path)
        except OSError:
            return False
        return True

    def geteuid(self) -> int:
        return USER

    # Locks.

    def flock(self, fd: int, operation: int, /) -> None:
        file = self._file("flock", fd)
        holders = file.inode.holders
        if operation & LOCK_UN:
            holders.pop(file, None)
            return
        kind = operation & (LOCK_SH | LOCK_EX)
        others = [held for holder, held in holders.items() if holder is not file]
        if others and (kind == LOCK_EX or LOCK_EX in others):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        holders[file] = kind

    # The `Filesystems` part; a disk here is a tmpfs.

    def is_tmpfs(self, path: Path, /) -> bool:
        """As the real one: False if that can't be told."""
        try:
            self._fault("statfs", path)
        except OSError:
            return False
        return True

    def filesystem_has_events(self, _: Path, /) -> bool:
        return self._disk.has_events


class MemoryHints:
    """A `brummer.host.directory_events.EventSource` on a `Disk`."""

    kind = "inotify"

    def __init__(self, disk: Disk, fault: Callable[[str, Path | None], None]) -> None:
        self._disk = disk
        self._fault = fault

    def add(self, path: Path, listener: Listener) -> int:
        self._fault("watch", path)
        return self._disk.watch(path, listener, copy_context())

    def remove(self, watch: int, listener: Listener) -> None:  # noqa: ARG002 — a number is one listener's
        self._disk.unwatch(watch)
