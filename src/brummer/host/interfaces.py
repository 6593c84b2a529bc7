"""What the system knows of its network, and a hint when that may have changed."""

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Final

from brummer.core.errors import SHORTAGES

DOCUMENTATION_ADDRESSES: Final = (
    (socket.AF_INET, "192.0.2.1"),
    (socket.AF_INET6, "2001:db8::1"),
)
"""Addresses of documentation (RFC 5737, RFC 3849). A datagram socket is only connected to them, and nothing is ever
sent.
"""


def default_sources() -> tuple[str | None, str | None]:
    """The addresses (IPv4, IPv6) from which we would speak to the outside; None without a route there. Microseconds.

    Raises OSError for want of descriptors or memory: that says nothing of the network.
    """
    v4, v6 = (_source(family, address) for family, address in DOCUMENTATION_ADDRESSES)
    return v4, v6


def _source(family: int, address: str) -> str | None:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect((address, 9))
            source: str = sock.getsockname()[0]
            return source
    except OSError as error:
        if error.errno in SHORTAGES:
            raise
        return None


OnFailed = Callable[[OSError], None]


class NetworkHints:
    """Calls back soon after the network may have changed, and sometimes when it has not. Close it when done.

    It calls ``on_failed`` when no more hints will come.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close


_NAME_BYTES: Final = 16
_UP, _RUNNING = 0x1, 0x40

_SIOCGIFFLAGS: Final = 0x8913 if sys.platform == "linux" else 0xC0206911


def _flags(interface: str) -> int:
    """The interface's flags; 0 when there is none of that name. Raises OSError as `default_sources`."""
    request = struct.pack(f"{_NAME_BYTES}sh14x", os.fsencode(interface), 0)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, request)
    except OSError as error:
        if error.errno in SHORTAGES:
            raise
        return 0
    flags: int = struct.unpack_from("H", answer, _NAME_BYTES)[0]
    return flags


if sys.platform == "linux":
    from brummer.host.readers import read_when_ready

    _ROUTE_LINES: Final = 64
    """The default route stands first; a machine with thousands of routes must not cost us a heartbeat."""

    _GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
    """rtnetlink(7): links, IPv4 addresses and routes, IPv6 addresses and routes."""

    _MESSAGES_BYTES: Final = 65536

    def loopback_is_up() -> bool:
        """Whether 127.0.0.1 can be reached at all."""
        return bool(_flags("lo") & _UP)

    def carrier() -> bool | None:
        """Whether the interface of the default route is up and running; None without such a route."""
        interface = _default_interface()
        return None if interface is None else _flags(interface) & (_UP | _RUNNING) == _UP | _RUNNING

    def _default_interface() -> str | None:
        """Of the calling process' network namespace."""
        for path, column, default in (
            ("/proc/self/net/route", 1, "00000000"),
            ("/proc/self/net/ipv6_route", 0, "0" * 32),
        ):
            with contextlib.suppress(OSError), open(path, encoding="ascii", errors="surrogateescape") as file:
                for _, line in zip(range(_ROUTE_LINES), file, strict=False):
                    fields = line.split()
                    name = fields[0] if column else fields[-1]
                    if fields[column] == default and name != "lo":
                        return name
        return None

    def watch_network(
        loop: asyncio.AbstractEventLoop, on_hint: Callable[[], None], on_failed: OnFailed
    ) -> NetworkHints:
        """The kernel's own announcements. Raises OSError where a sandbox refuses the socket."""
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)

        def read() -> None:
            try:
                while sock.recv(_MESSAGES_BYTES):
                    pass
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # messages were lost: all the more reason for a check
                    raise
            on_hint()

        def close() -> None:
            loop.remove_reader(sock)
            sock.close()

        try:
            sock.bind((0, _GROUPS))
            read_when_ready(loop, sock.fileno(), read, on_failed)
        except OSError:
            sock.close()
            raise
        return NetworkHints(close)

else:
    from brummer.host.macos.library import system_library
    from brummer.host.macos.routes import watch_routes

    def loopback_is_up() -> bool:
        """Whether 127.0.0.1 can be reached at all."""
        return bool(_flags("lo0") & _UP)

    def carrier() -> bool | None:
        """Not seen: the route goes away with the carrier there."""
        return None

    def watch_network(
        loop: asyncio.AbstractEventLoop, on_hint: Callable[[], None], on_failed: OnFailed
    ) -> NetworkHints:
        """The routing socket, and the notification of a changed configuration. Raises OSError."""
        return NetworkHints(watch_routes(loop, on_hint, on_failed, system_library()))
