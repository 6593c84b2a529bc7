"""Listening sockets of the HTTP servers that the user asks for: ``--http`` and ``--metrics``."""

import errno
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

Address = tuple[str, int]
_Found = tuple[socket.AddressFamily, str]


class Port(NamedTuple):
    """Where to listen, and what clients must send. ``token`` may block, and raise `BrummerError`."""

    address: Address
    token: Callable[[], str]


LOCALHOST: Final[list[_Found]] = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
"""Most clients try both (RFC 6761 §6.3), some only the second, and some hosts files have only the first."""

_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})
"""This machine lacks the address, for example because IPv6 is off."""

TRIES: Final = 10
"""Tries for a port that the system chooses and that must be free in both families; the first nearly always is."""


def listen(host: str, port: int) -> list[socket.socket]:
    """A listener on each address of this host, all on one port; with port 0 the system chooses it.

    It may look up a name over the network, so use a thread. Raises OSError.
    """
    addresses = LOCALHOST if host.lower() == "localhost" else _addresses_of(host)
    for attempt in range(1, TRIES + 1):
        try:
            return _listen_on(addresses, port)
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE or attempt == TRIES:
                raise
    raise AssertionError


def _addresses_of(host: str) -> list[_Found]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _listen_on(addresses: list[_Found], port: int) -> list[socket.socket]:
    """Addresses that this machine lacks are left out, unless it lacks all."""
    listeners: list[socket.socket] = []
    for number, (family, address) in enumerate(addresses, 1):
        try:
            listener = socket.create_server((address, port), family=family)
        except OSError as error:
            if error.errno in _NOT_HERE and (listeners or number < len(addresses)):
                continue
            for each in listeners:
                each.close()
            raise
        listeners.append(listener)
        port = listener.getsockname()[1]
    return listeners
