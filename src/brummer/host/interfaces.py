"""What the system knows of its network, and a hint when that may have changed."""

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
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


_DEFAULT_V4: Final = "00000000"
_DEFAULT_V6: Final = "0" * 32


def default_interfaces(routes_v4: Iterable[str], routes_v6: Iterable[str]) -> Iterator[str]:
    """The interfaces of the default routes, read as far as they are asked for. The lines are those of Linux' files
    ``/proc/net/route`` and ``/proc/net/ipv6_route``.

    A VPN's route to half of all addresses also begins with zeros, but its mask does not.
    """
    for line in routes_v4:
        if len(fields := line.split()) > 7 and fields[1] == fields[7] == _DEFAULT_V4:  # noqa: PLR2004 - up to the mask
            yield fields[0]
    for line in routes_v6:
        fields = line.split()
        if fields[:2] == [_DEFAULT_V6, "00"] and fields[-1] != "lo":  # there the kernel refuses what has no route
            yield fields[-1]


def any_has_signal(interfaces: Iterable[str], has_signal: Callable[[str], bool]) -> bool | None:
    """None without an interface. One is enough: with the cable out and Wi-Fi up, both may have a default route."""
    found = None
    for interface in interfaces:
        if has_signal(interface):
            return True
        found = False
    return found


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

    _ROUTE_LINES: Final = 1000
    """Of each file: a machine with more routes must not cost us a heartbeat. IPv4's default routes are the first in
    theirs, IPv6's come after those to networks.
    """

    _GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
    """rtnetlink(7): links, IPv4 addresses and routes, IPv6 addresses and routes."""

    _MESSAGES_BYTES: Final = 65536

    def loopback_is_up() -> bool:
        """Whether 127.0.0.1 can be reached at all."""
        return bool(_flags("lo") & _UP)

    def carrier() -> bool | None:
        """Whether an interface of a default route is up and running; None without such a route."""
        routes = _lines("/proc/self/net/route"), _lines("/proc/self/net/ipv6_route")
        return any_has_signal(default_interfaces(*routes), _is_running)

    def _is_running(interface: str) -> bool:
        return _flags(interface) & (_UP | _RUNNING) == _UP | _RUNNING

    def _lines(path: str) -> Iterator[str]:
        """Of the calling process' network namespace; none where there is no such file."""
        with contextlib.suppress(OSError), open(path, encoding="ascii", errors="surrogateescape") as file:
            yield from islice(file, _ROUTE_LINES)

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
