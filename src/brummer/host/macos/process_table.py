"""The processes of a Mac, as sysctl(3) shows them: who they are, and the arguments and environment they started with.

Only the standard library is imported: the guard runs this file by itself, without the package.

Offsets are those of struct kinfo_proc (sys/sysctl.h, sys/proc.h) of 64-bit macOS.
"""

import contextlib
import ctypes
import errno
import os
import signal
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

Identity = tuple[int, int]
"""pid and start time."""
Status = tuple[int, int, int, int]
"""Process group, parent, start time, session."""

_CTL_KERN, _KERN_PROC, _KERN_PROCARGS2 = 1, 14, 49
_KERN_PROC_ALL, _KERN_PROC_PID = 0, 1
_KINFO_BYTES: Final = 648
_STARTED_AT, _STATE_AT, _PID_AT, _NAME_AT, _USER_AT, _PARENT_AT = 0, 36, 40, 243, 420, 560
_NAME_BYTES: Final = 17
_ARGUMENTS_BYTES: Final = 1 << 20
"""ARG_MAX: arguments and environment of a process take no more."""
_TRIES: Final = 8
"""Buffers have twice the size: processes may start between the question for the size and the answer."""

STOPPED: Final = 4
ZOMBIE: Final = 5
"""Values of p_stat (sys/proc.h). The kernel gives all other live processes SRUN, also those that sleep."""
MARKED: Final = b"BRUMMER_"
"""In the environment of everything that an instance has started."""


class ProcessEntry(NamedTuple):
    """One process. ``started_us``: microseconds since 1970."""

    pid: int
    parent: int
    group: int
    user: int
    state: int
    started_us: int
    name: str


class Arguments(NamedTuple):
    """What a process was started with. Apple's own programs hide their environment."""

    command: list[bytes]
    environment: list[bytes]


class ProcessTable:
    """``library`` is macOS' C library; ``session_of`` is `os.getsid`. Methods raise OSError."""

    def __init__(self, library: Any = None, session_of: Callable[[int], int] = os.getsid) -> None:
        library = library or ctypes.CDLL(None, use_errno=True)
        size = ctypes.POINTER(ctypes.c_size_t)
        self._sysctl = library.sysctl
        self._sysctl.argtypes = (
            ctypes.POINTER(ctypes.c_int),
            ctypes.c_uint,
            ctypes.c_void_p,
            size,
            ctypes.c_void_p,
            ctypes.c_size_t,
        )
        self._session_of = session_of

    def entries(self) -> list[ProcessEntry]:
        """All processes of the machine, with zombies, in one call."""
        size = self._read([_CTL_KERN, _KERN_PROC, _KERN_PROC_ALL], None, 0)
        for _ in range(_TRIES):
            buffer = ctypes.create_string_buffer(2 * size)
            try:
                used = self._read([_CTL_KERN, _KERN_PROC, _KERN_PROC_ALL], buffer, len(buffer))
            except OSError as error:
                if error.errno != errno.ENOMEM:
                    raise
                size = len(buffer)
            else:
                return [_entry(buffer.raw, at) for at in range(0, used - _KINFO_BYTES + 1, _KINFO_BYTES)]
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), "sysctl KERN_PROC_ALL")

    def entry(self, pid: int) -> ProcessEntry | None:
        """None if there is no such process."""
        buffer = ctypes.create_string_buffer(_KINFO_BYTES)
        used = self._read([_CTL_KERN, _KERN_PROC, _KERN_PROC_PID, pid], buffer, len(buffer))
        return _entry(buffer.raw, 0) if used >= _KINFO_BYTES else None

    def arguments(self, pid: int) -> Arguments | None:
        """None for a process that has ended or belongs to another user."""
        return self._arguments(pid, ctypes.create_string_buffer(_ARGUMENTS_BYTES))

    def _arguments(self, pid: int, buffer: "ctypes.Array[ctypes.c_char]") -> Arguments | None:
        try:
            used = self._read([_CTL_KERN, _KERN_PROCARGS2, pid], buffer, len(buffer))
        except OSError:
            return None
        return split_arguments(ctypes.string_at(buffer, used))

    def scan(self) -> tuple[dict[int, Status], dict[int, bytes]]:
        """All live processes but this one, and the environments of those that instances have started; by pid."""
        living: dict[int, Status] = {}
        environments: dict[int, bytes] = {}
        buffer = ctypes.create_string_buffer(_ARGUMENTS_BYTES)
        own, user = os.getpid(), os.geteuid()
        for entry in self.entries():
            if entry.state == ZOMBIE or entry.pid in (0, own):
                continue
            living[entry.pid] = entry.group, entry.parent, entry.started_us, self.session(entry.pid)
            arguments = self._arguments(entry.pid, buffer) if entry.user == user else None
            if arguments and any(line.startswith(MARKED) for line in arguments.environment):
                environments[entry.pid] = b"\0%b\0" % b"\0".join(arguments.environment)
        return living, environments

    def session(self, pid: int) -> int:
        """The session of a process; 0 for one that has just ended."""
        try:
            return self._session_of(pid)
        except OSError:
            return 0

    def send(self, target: Identity, number: signal.Signals, kill: Callable[[int, int], None] = os.kill) -> None:
        """Signal this process, unless it has ended; one that is asked to end is continued, or it would not notice."""
        pid, started = target
        with contextlib.suppress(OSError):
            entry = self.entry(pid)
            if entry is not None and entry.state != ZOMBIE and entry.started_us == started:
                kill(pid, number)
                if number == signal.SIGTERM:
                    kill(pid, signal.SIGCONT)

    def _read(self, name: Sequence[int], buffer: "ctypes.Array[ctypes.c_char] | None", size: int) -> int:
        """How many bytes it has, or was given."""
        used = ctypes.c_size_t(size)
        if self._sysctl((ctypes.c_int * len(name))(*name), len(name), buffer, ctypes.byref(used), None, 0):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), f"sysctl {name}")
        return used.value


def _entry(data: bytes, at: int) -> ProcessEntry:
    seconds, microseconds = struct.unpack_from("<qi", data, at + _STARTED_AT)
    (pid,) = struct.unpack_from("<i", data, at + _PID_AT)
    (user,) = struct.unpack_from("<I", data, at + _USER_AT)
    parent, group = struct.unpack_from("<ii", data, at + _PARENT_AT)
    name = data[at + _NAME_AT : at + _NAME_AT + _NAME_BYTES].split(b"\0")[0].decode(errors="replace")
    return ProcessEntry(pid, parent, group, user, data[at + _STATE_AT], seconds * 1_000_000 + microseconds, name)


def split_arguments(data: bytes) -> Arguments:
    """KERN_PROCARGS2: the number of arguments, the program's path, NULs, the arguments, the environment, and, after an
    empty string, what the kernel has added.
    """
    count = int.from_bytes(data[:4], "little")
    strings = data[4:].partition(b"\0")[2].lstrip(b"\0").split(b"\0")
    environment = strings[count:]
    end = environment.index(b"") if b"" in environment else len(environment)
    return Arguments(strings[:count], environment[:end])
