"""The instance's own port: it listens before the record is published, so two instances never share a port."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from typing import Final

from brummer.core.errors import BrummerError
from brummer.host.ports import is_answered

HOST: Final = "127.0.0.1"
RANGE: Final = range(7777, 8000)
BACKLOG: Final = 128


class PortTaken(BrummerError):
    """The port that was asked for by number is in use."""

    code = "port_taken"


def listen(asked: int | None, previous: int | None) -> socket.socket:
    """A listening socket: on the port asked for, else on this project's previous one, else on the first free
    one.

    Raises `PortTaken` for a port that was asked for; otherwise there is always some port left.
    """
    for port in _candidates(asked, previous):
        try:
            return _listen(port)
        except OSError as error:
            if asked is not None:
                raise PortTaken(
                    f"port {asked} can't be used: {error.strerror}; choose another with -p, or leave -p out", port=asked
                ) from None
    raise PortTaken("no port is free on 127.0.0.1")


def _candidates(asked: int | None, previous: int | None) -> Iterator[int]:
    if asked is not None:
        yield asked
        return
    if previous is not None:
        yield previous
    yield from RANGE
    yield 0  # any port that the operating system has


def _listen(port: int) -> socket.socket:
    """Bind and listen as one step: with SO_REUSEADDR it is listening, not binding, that makes a port ours.

    macOS lets 127.0.0.1 be bound although another process has the port on all addresses. Its clients would reach us.
    """
    if sys.platform == "darwin" and port and is_answered((HOST, port)):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
