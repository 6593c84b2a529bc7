"""The C library, for the few calls that Python does not wrap. POSIX only."""

import ctypes
import errno
import functools
import os


@functools.cache
def libc() -> ctypes.CDLL:
    """The library itself, with errno kept for `check`."""
    return ctypes.CDLL(None, use_errno=True)


def function(name: str) -> "ctypes._NamedFuncPointer":
    """A function of the C library. Raises OSError(ENOSYS) where the system has none of that name."""
    try:
        found: ctypes._NamedFuncPointer = getattr(libc(), name)
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name) from None
    return found


def check(result: int, subject: str = "") -> int:
    """Pass a non-negative result on; turn a negative one into the OSError that errno names."""
    if result >= 0:
        return result
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), subject or None)
