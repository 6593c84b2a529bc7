"""The system interface: everything that can fail outside this process, as one small Protocol per subject.

Logic gets a `System` and calls nothing else that can fail. `real_system` builds the real one, mostly from modules of
the standard library and of this package. They match these Protocols unchanged, so the interface costs nothing.
`brummer.testing` has the in-memory ones. Two subjects belong to the event loop, which is passed in as well: readiness
of sockets and timers, and work in threads (`asyncio.to_thread`).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from brummer.core.clock import Clock
from brummer.host.pids import ProcessIdentity, ProcessState

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from brummer.host.directory_events import Source


class Entry(Protocol):
    """A name in a directory: `os.DirEntry`."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result: ...


class Files(Protocol):
    """Files and directories: the module `os`. Every method raises OSError."""

    def open(self, path: Path, flags: int, mode: int = 0o777, /) -> int: ...
    def close(self, fd: int, /) -> None: ...
    def read(self, fd: int, length: int, /) -> bytes: ...
    def write(self, fd: int, data: bytes | memoryview, /) -> int: ...
    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int: ...
    def ftruncate(self, fd: int, length: int, /) -> None: ...
    def fsync(self, fd: int, /) -> None: ...
    def fchmod(self, fd: int, mode: int, /) -> None: ...
    def fstat(self, fd: int, /) -> os.stat_result: ...
    def stat(self, path: Path, /) -> os.stat_result: ...
    def lstat(self, path: Path, /) -> os.stat_result: ...
    def replace(self, source: Path, target: Path, /) -> None: ...
    def link(self, source: Path, target: Path, /) -> None: ...
    def unlink(self, path: Path, /) -> None: ...
    def mkdir(self, path: Path, mode: int = 0o777, /) -> None: ...
    def scandir(self, path: Path, /) -> AbstractContextManager[Iterator[Entry]]: ...
    def statvfs(self, path: Path, /) -> os.statvfs_result: ...
    def access(self, path: Path, mode: int, /) -> bool: ...
    def geteuid(self) -> int: ...


class Locks(Protocol):
    """Locks on open files: the module `fcntl`."""

    def flock(self, fd: int, operation: int, /) -> None: ...


class Filesystems(Protocol):
    """What kind of file system a path is on: `brummer.host.filesystems`."""

    def is_tmpfs(self, path: Path, /) -> bool: ...
    def filesystem_has_events(self, path: Path, /) -> bool: ...


class Processes(Protocol):
    """Processes and their states: `brummer.host.pids`, and the descriptor of a process in `brummer.host.exits`."""

    def own_identity(self) -> ProcessIdentity: ...
    def same_boot(self, identity: ProcessIdentity, /) -> bool: ...
    def same_namespace(self, identity: ProcessIdentity, /) -> bool: ...
    def is_running(self, identity: ProcessIdentity, /) -> bool: ...
    def process_state(self, pid: int, /) -> ProcessState | None: ...
    def subscribe_exit(
        self, loop: "AbstractEventLoop", identity: ProcessIdentity, on_exit: Callable[[], None], /
    ) -> Callable[[], None] | None:
        """Returns a stop function; None if the process is dead already. Raises OSError if only polling can find out."""


class Sockets(Protocol):
    """Connections to other processes: `brummer.wire.dialling`. Both methods raise OSError."""

    async def addresses(self, host: str, port: int, /) -> list[tuple[int, tuple[str, int]]]:
        """The addresses of the name, each with its family."""

    async def connect(self, family: int, address: tuple[str, int], descriptors: int, /) -> Any:
        """A connected, non-blocking socket, whose descriptor must be below ``descriptors``."""


class Descriptors(Protocol):
    """How many files and sockets may be open: `brummer.host.descriptors`."""

    def set_descriptor_limit(self, wanted: int, /) -> None: ...
    def descriptor_limit(self) -> int: ...
    def lowest_free_descriptor(self) -> int: ...


class Memory(Protocol):
    """Memory of this process: `brummer.host.memory`."""

    def resident_bytes(self) -> int | None: ...
    def give_back(self) -> None: ...


class System(msgspec.Struct, frozen=True):
    """All subjects, as one process sees them. ``random`` is for jitter, never for secrets.

    ``sockets`` None: the sockets of this machine, which `brummer.wire.dialling` makes.
    """

    files: Files
    locks: Locks
    filesystems: Filesystems
    processes: Processes
    sockets: Sockets | None
    descriptors: Descriptors
    memory: Memory
    clock: Clock
    random: Random
    directory_events: "Callable[[AbstractEventLoop], Source]"
