"""How much memory this process takes, and giving back what it does not need."""

import contextlib
import gc
import os
import sys
from typing import Final

MAXRSS_BYTES: Final = 1 if sys.platform == "darwin" else 1024
"""The unit of ru_maxrss: getrusage(2) of each system."""

if sys.platform == "linux":

    def resident_bytes() -> int | None:
        """Of this process, now; 10 µs. None where the system does not tell."""
        try:
            with open("/proc/self/statm", "rb") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return None

else:
    from brummer.host.macos.processes import mac_processes

    def resident_bytes() -> int | None:
        """Of this process, now. None where the system does not tell."""
        return mac_processes().resident_bytes(os.getpid())


def peak_bytes() -> int:
    """The most resident memory that this process, or what has started it, has had so far."""
    import resource  # noqa: PLC0415 — no start needs it

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES


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
