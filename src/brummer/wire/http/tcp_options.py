"""The options of every TCP connection of Brummer, on both sides: no delay, and a lost path is noticed in half a minute.

Also asks the kernel whether a connection has ended, which it knows before the event loop does.
"""

import select
import socket
import sys
from typing import Final

KEEPALIVE_IDLE_S: Final = 15
KEEPALIVE_INTERVAL_S: Final = 5
KEEPALIVE_PROBES: Final = 3

USER_TIMEOUT_MS: Final = 1000 * (KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_PROBES)
"""Keepalive misses a path lost under unacknowledged data, and the user timeout one lost while idle; so both are set."""

_TCP_RXT_CONNDROPTIME: Final = 0x80
"""The user timeout of macOS, in seconds (netinet/tcp.h); the module `socket` does not have it."""

_HUNG_UP: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP
"""Events of a peer that has sent its last byte: Linux reports the first, macOS the second."""


def has_hung_up(sock: socket.socket) -> bool:
    """The peer has ended the connection. Bytes that it sent before can still be read, and are read first."""
    poll = select.poll()
    poll.register(sock.fileno(), _HUNG_UP)
    try:
        return bool(poll.poll(0))
    except OSError:  # EINVAL if the limit on open files was lowered to 0: unknown
        return False


def set_tcp_options(sock: socket.socket) -> None:
    """On macOS, raises OSError for a socket whose peer is gone."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPALIVE", KEEPALIVE_IDLE_S),  # macOS' name for the same
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    if sys.platform == "darwin":
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_RXT_CONNDROPTIME, USER_TIMEOUT_MS // 1000)
