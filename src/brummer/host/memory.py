"""How much memory this process takes, and giving back what it does not need."""

import contextlib
import gc
import os
import sys

if sys.platform == "linux":

    def resident_bytes() -> int | None:
        """Of this process, now; 10 µs. None where the system does not tell."""
        try:
            with open("/proc/self/statm", "rb") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return None

else:
    import ctypes

    _TASK_BASIC_INFO = 20
    """MACH_TASK_BASIC_INFO"""

    class _TaskInfo(ctypes.Structure):
        _fields_ = (
            ("virtual_size", ctypes.c_uint64),
            ("resident_size", ctypes.c_uint64),
            ("resident_size_max", ctypes.c_uint64),
            ("user_time", ctypes.c_int32 * 2),
            ("system_time", ctypes.c_int32 * 2),
            ("policy", ctypes.c_int32),
            ("suspend_count", ctypes.c_int32),
        )

    def resident_bytes() -> int | None:
        """Of this process, now. None where the system does not tell."""
        from brummer.host.libc import libc  # noqa: PLC0415 — ctypes' library is loaded when somebody asks

        library, info = libc(), _TaskInfo()
        count = ctypes.c_uint32(ctypes.sizeof(info) // 4)
        task = ctypes.c_uint32.in_dll(library, "mach_task_self_")
        failed = library.task_info(task, _TASK_BASIC_INFO, ctypes.byref(info), ctypes.byref(count))
        return None if failed else int(info.resident_size)


def give_back() -> None:
    """Garbage, and unused memory that the allocator keeps."""
    gc.collect()
    trim()


def trim() -> None:
    """Give unused memory of the allocator back to the system: a tenth of a millisecond."""
    if sys.platform == "linux":
        from brummer.host.libc import function  # noqa: PLC0415 — as above

        with contextlib.suppress(OSError):  # only glibc has it
            function("malloc_trim")(0)
