"""How many files and sockets this process may have open, and what waits in one to be read."""

import os
import sys
from typing import IO


def raise_descriptor_limit(wanted: int) -> None:
    """Raise the limit to ``wanted``, if it is lower: see `set_descriptor_limit`."""
    if descriptor_limit() < wanted:
        set_descriptor_limit(wanted)


def set_descriptor_limit(wanted: int) -> None:
    """At most up to the hard limit. Not for an instance: its children would inherit it, and some of them
    still use select(2), which can't count beyond 1024.
    """
    import resource  # noqa: PLC0415 — only a hub sets it

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def prepare_descriptors_of_instance() -> None:
    """MacOS lets a process have 256, and a script takes five of an instance. Up to 1024 is safe for its children, which
    inherit the limit: select(2) can count that far.
    """
    if sys.platform == "darwin":
        raise_descriptor_limit(1024)


def descriptor_limit() -> int:
    """How many it may have open: the soft RLIMIT_NOFILE, read without an import, because each start checks it."""
    soft = os.sysconf("SC_OPEN_MAX")
    return sys.maxsize if soft < 0 else soft


def lowest_free_descriptor() -> int:
    """The lowest unused descriptor number, or the limit if none is free."""
    import socket  # noqa: PLC0415 — as above

    try:
        with socket.socket() as sock:
            return sock.fileno()
    except OSError:
        return descriptor_limit()


def unread_bytes(file: IO[bytes]) -> int:
    """How many bytes wait in this pipe or terminal. Raises OSError."""
    import fcntl  # noqa: PLC0415 — a hub reads neither
    import termios  # noqa: PLC0415 — as above

    return int.from_bytes(fcntl.ioctl(file, termios.FIONREAD, bytes(4)), sys.byteorder)
