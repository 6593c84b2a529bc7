"""Which process it is, and what it is doing.

A pid alone proves nothing: it is reused after a death and means another process in another pid namespace. The identity
of a process is (boot id, pid namespace, pid, start time), and the time namespace of the reader of that time: /proc
shows it on the reader's own clock, so start times of two time namespaces can't be compared. The start time has ticks of
10 ms on Linux; a pid is not reused in that time (32,768 forks of 0.4 ms lie between), so all together are exact.
"""

import functools
import os
import sys
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from brummer.host.control_groups import is_frozen

State = Literal["running", "sleeping", "stopped", "frozen", "zombie"]

UNKNOWN_BOOT: Final = "unknown"


class ProcessIdentity(msgspec.Struct, frozen=True):
    """One process, now and for ever. ``start_token`` counts clock ticks since boot on Linux, microseconds of the
    epoch on macOS: compare it, don't compute with it.
    """

    boot_id: str
    pid_namespace: int
    pid: int
    start_token: int
    time_namespace: int = 0
    """The time namespace in which the start time was read; 0 for the initial one, and on systems without them."""


class ProcessState(msgspec.Struct, frozen=True):
    """What a process does now. ``cpu_ticks`` is CPU time in units of the system: only its growth says anything."""

    state: State
    cpu_ticks: int


if sys.platform == "linux":
    _INITIAL_TIME_NAMESPACE: Final = 0xEFFFFFFA
    """PROC_TIME_INIT_INO of include/linux/proc_ns.h; older kernels give it an ordinary number."""

    _STATES: Final[dict[bytes, State]] = {
        b"R": "running",
        b"T": "stopped",
        b"t": "stopped",
        b"Z": "zombie",
        b"X": "zombie",
        b"x": "zombie",
    }

    def stat_fields(process: int | str) -> list[bytes] | None:
        """The fields of /proc/PID/stat behind the name, which may hold spaces and brackets: from the state on.

        None if there is no such process. Raises OSError if it can't be read (no descriptor or no memory is left), which
        proves nothing of the process.
        """
        try:
            descriptor = os.open(f"/proc/{process}/stat", os.O_RDONLY)  # a file object takes 2 µs more
            try:
                return os.read(descriptor, 4096).rpartition(b")")[2].split()
            finally:
                os.close(descriptor)
        except (FileNotFoundError, ProcessLookupError):
            return None

    def _stat(process: int | str) -> tuple[State, int, int] | None:
        """(state, CPU ticks, start time). Raises as `stat_fields`."""
        fields = stat_fields(process)
        if fields is None:
            return None
        return _STATES.get(fields[0], "sleeping"), int(fields[11]) + int(fields[12]), int(fields[19])

    @functools.cache
    def _boot_id() -> str:
        """Raises OSError if it can't be read just now; the cache does not keep a failure."""
        try:
            with open("/proc/sys/kernel/random/boot_id") as file:
                return file.read().strip()
        except (FileNotFoundError, PermissionError):
            return UNKNOWN_BOOT  # some sandboxes hide it; the start time still tells processes apart

    def _pid_namespace() -> int:
        try:
            return os.stat("/proc/self/ns/pid").st_ino
        except OSError:
            return 0

    def _time_namespace() -> int:
        try:
            inode = os.stat("/proc/self/ns/time").st_ino
        except OSError:
            return 0
        return 0 if inode == _INITIAL_TIME_NAMESPACE else inode

    @functools.cache
    def network_namespace() -> int:
        """The network namespace of this process, which has its loopback; 0 if it is not known."""
        try:
            return os.stat("/proc/self/ns/net").st_ino
        except OSError:
            return 0

    def _own_start_token() -> int:
        status = _stat("self")
        return status[2] if status else 0

    @functools.cache
    def _proc_shows_our_namespace(own_pid: int) -> bool:
        """False after ``unshare --pid`` without a new /proc: the pids shown there are not those we use."""
        try:
            return int(os.readlink("/proc/self")) == own_pid
        except (OSError, ValueError):
            return False

    def _pids_can_be_looked_up() -> bool:
        return _proc_shows_our_namespace(os.getpid())

else:
    from brummer.host.macos.library import system_library
    from brummer.host.macos.processes import mac_processes

    def _stat(process: int) -> tuple[State, int, int] | None:
        """(state, CPU ticks, start time). Raises OSError."""
        return mac_processes().status(process)

    @functools.cache
    def _boot_id() -> str:
        return system_library().boot_session() or UNKNOWN_BOOT

    def _pid_namespace() -> int:
        return 0

    def _time_namespace() -> int:
        return 0

    def network_namespace() -> int:
        """The network namespace of this process: this system has one loopback."""
        return 0

    def _own_start_token() -> int:
        status = _stat(os.getpid())
        return status[2] if status else 0

    def _pids_can_be_looked_up() -> bool:
        return True


def identify(pid: int) -> ProcessIdentity | None:
    """The process with this pid in our namespace; None if there is none, or only a zombie. Costs 16 µs.

    Raises OSError if the system does not let us read it, which proves nothing of the process.
    """
    status = _stat(pid)
    if status is None or status[0] == "zombie":
        return None
    own = own_identity()
    return msgspec.structs.replace(own, pid=pid, start_token=status[2])


def own_identity() -> ProcessIdentity:
    """The identity of this process. Read once; a forked child has its own."""
    return _identity_of_self(os.getpid())


@functools.lru_cache(maxsize=1)
def _identity_of_self(pid: int) -> ProcessIdentity:
    return ProcessIdentity(_boot_id(), _pid_namespace(), pid, _own_start_token(), _time_namespace())


def same_boot(identity: ProcessIdentity) -> bool:
    """The machine has not booted since, as far as boots can be told apart there."""
    boots = {identity.boot_id, own_identity().boot_id}
    return len(boots) == 1 or UNKNOWN_BOOT in boots


def same_namespace(identity: ProcessIdentity) -> bool:
    """Its pid and start time mean the same here as where they were recorded, so `identify` can prove something."""
    own = own_identity()
    as_ours = msgspec.structs.replace(identity, pid=own.pid, start_token=own.start_token)
    return as_ours == own and _pids_can_be_looked_up()


def same_time_namespace(identity: ProcessIdentity) -> bool:
    """Its start time was read on the same clock that this process reads."""
    return identity.time_namespace == own_identity().time_namespace


def is_running(identity: ProcessIdentity, identify: Callable[[int], ProcessIdentity | None] = identify) -> bool:
    """It is not proven dead: not gone, not a zombie, and its pid has not been reused. Only for `same_namespace`.

    A failed read proves nothing. ``identify`` looks it up.
    """
    try:
        return identify(identity.pid) == identity
    except OSError:
        return True


def process_state(pid: int) -> ProcessState | None:
    """Its state, to distinguish a stopped, a busy and an idle server; None if there is no process. Raises OSError."""
    status = _stat(pid)
    if status is None:
        return None
    state, ticks, _ = status
    return ProcessState("frozen" if state == "sleeping" and is_frozen(pid) else state, ticks)
