"""macOS' C library: the functions that Brummer calls, each with the types of its arguments declared.

Without them ctypes passes an address as a C int, which is half of an address. Sources: libproc.h and sys/proc_info.h of
xnu, notify.h, statfs(2), waitid(2), mach/mach_time.h.
"""

import ctypes
import errno
import functools
import os
import struct
from pathlib import Path
from typing import Any, Final

from brummer.host.libc import libc

_PROC_PIDLISTFDS: Final = 1
_DESCRIPTOR_BYTES: Final = 8
_P_PID, _WNOHANG, _WEXITED, _WNOWAIT = 1, 0x1, 0x4, 0x20
_CLD_EXITED: Final = 1
_SIGINFO: Final = struct.Struct("<2i i i I i")
"""si_signo, si_errno, si_code, si_pid, si_uid, si_status: the begin of siginfo_t."""
_SIGINFO_BYTES: Final = 104
_FILESYSTEM_NAME_AT, _FILESYSTEM_NAME_BYTES = 72, 16
"""f_fstypename in struct statfs with 64-bit inodes."""
_STATFS_BYTES: Final = 4096
"""The structure has 2168."""
_TRIES: Final = 8


class Library:
    """``handle`` is the library itself, with errno kept."""

    def __init__(self, handle: Any, machine: str) -> None:
        integer, pointer, buffer = ctypes.c_int, ctypes.POINTER, ctypes.c_void_p

        def typed(name: str, *types: Any) -> Any:
            found = getattr(handle, name)
            found.argtypes = types
            return found

        self._process_info = typed("proc_pidinfo", integer, integer, ctypes.c_uint64, buffer, integer)
        self._descriptor_info = typed("proc_pidfdinfo", integer, integer, integer, buffer, integer)
        self._waitid = typed("waitid", integer, ctypes.c_uint, buffer, integer)
        self._statfs = typed("statfs" if machine == "arm64" else "statfs$INODE64", ctypes.c_char_p, buffer)
        self._sysctlbyname = typed(
            "sysctlbyname", ctypes.c_char_p, buffer, pointer(ctypes.c_size_t), buffer, ctypes.c_size_t
        )
        self._timebase = typed("mach_timebase_info", pointer(ctypes.c_uint32))
        self._register = typed(
            "notify_register_file_descriptor", ctypes.c_char_p, pointer(integer), integer, pointer(integer)
        )
        self._cancel = typed("notify_cancel", integer)

    def process_info(self, pid: int, flavor: int, size: int) -> bytes:
        """Empty for a process that has ended, or that belongs to another user."""
        answer = ctypes.create_string_buffer(size)
        filled = self._process_info(pid, flavor, 0, answer, size)
        return answer.raw[: max(0, filled)]

    def descriptors(self, pid: int) -> list[tuple[int, int]]:
        """Open descriptors, each with its type (PROX_FDTYPE); none if the process is hidden from us."""
        size = 64 * _DESCRIPTOR_BYTES
        for _ in range(_TRIES):
            answer = self.process_info(pid, _PROC_PIDLISTFDS, size)
            if len(answer) < size:
                return list(struct.iter_unpack("<iI", answer[: len(answer) // _DESCRIPTOR_BYTES * _DESCRIPTOR_BYTES]))
            size *= 4
        return []

    def descriptor_info(self, pid: int, descriptor: int, flavor: int, size: int) -> bytes:
        """Empty for a descriptor that is closed by now."""
        answer = ctypes.create_string_buffer(size)
        filled = self._descriptor_info(pid, descriptor, flavor, answer, size)
        return answer.raw[: max(0, filled)]

    def peek_exit(self, pid: int) -> int | None:
        """As `brummer.host.process_groups.peek_exit`; Python's own `os.waitid` is there from 3.13 on."""
        answer = ctypes.create_string_buffer(_SIGINFO_BYTES)
        if self._waitid(_P_PID, pid, answer, _WEXITED | _WNOHANG | _WNOWAIT):
            _raise_errno(f"waitid {pid}")
        code: int
        status: int
        _, _, code, found, _, status = _SIGINFO.unpack_from(answer.raw)
        if not found:
            return None
        return status if code == _CLD_EXITED else -status

    def filesystem_name(self, path: Path) -> str:
        """The name of the file system under ``path``. Raises OSError."""
        answer = ctypes.create_string_buffer(_STATFS_BYTES)
        if self._statfs(os.fsencode(path), answer):
            _raise_errno(str(path))
        name = answer.raw[_FILESYSTEM_NAME_AT : _FILESYSTEM_NAME_AT + _FILESYSTEM_NAME_BYTES]
        return name.split(b"\0")[0].decode()

    def boot_session(self) -> str | None:
        """A UUID of this boot; None if the system does not tell."""
        answer, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
        failed = self._sysctlbyname(b"kern.bootsessionuuid", answer, ctypes.byref(size), None, 0)
        return None if failed else answer.value.decode()

    def nanoseconds(self, ticks: int) -> int:
        """Of a time in units of the processor: 125/3 ns on Apple's own, 1 ns on Intel's."""
        fraction = (ctypes.c_uint32 * 2)()
        self._timebase(fraction)
        return ticks * fraction[0] // fraction[1]

    def register_notification(self, name: bytes) -> tuple[int, int] | None:
        """(descriptor, token) of a notification of notify(3); None if the system refuses that name."""
        descriptor, token = ctypes.c_int(-1), ctypes.c_int()
        failed = self._register(name, ctypes.byref(descriptor), 0, ctypes.byref(token))
        return None if failed else (descriptor.value, token.value)

    def cancel_notification(self, token: int) -> None:
        """Closes its descriptor, too."""
        self._cancel(token)


def _raise_errno(subject: str) -> None:
    number = ctypes.get_errno() or errno.EIO
    raise OSError(number, os.strerror(number), subject)


@functools.cache
def system_library() -> Library:
    """That of this Mac."""
    return Library(libc(), os.uname().machine)
