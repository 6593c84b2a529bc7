"""Accepts connections at a pace that its owner sets. asyncio's own server accepts every connection at any time."""

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable
from typing import Final

BACKLOG: Final = 4096
"""Connections that wait in the kernel; the system's own limit (net.core.somaxconn) is the same. A full queue makes
clients wait for a second.
"""

PER_TURN: Final = 32
"""Connections accepted in one turn of the loop: some 2 ms, in which calls under way wait."""

PAUSE_S: Final = 0.05
"""The pause after an accept that failed for lack of descriptors or memory: time for others to free some."""

_GONE: Final = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM})
"""The connection ended, or a firewall refused it, before the accept; the next one is not affected (accept(2))."""


class Acceptor:
    """``take`` gets the socket of each connection, non-blocking. ``wait_s`` returns how long the next one must wait."""

    def __init__(
        self,
        listeners: Iterable[socket.socket],
        *,
        wait_s: Callable[[], float],
        take: Callable[[socket.socket], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners = list(listeners)
        self._wait_s = wait_s
        self._take = take
        self._resuming: asyncio.TimerHandle | None = None
        for listener in self._listeners:
            listener.setblocking(False)
            listener.listen(BACKLOG)
        self._resume()

    def close(self) -> None:
        """Stop listening."""
        self._stop()
        while self._listeners:
            self._listeners.pop().close()

    def _resume(self) -> None:
        self._resuming = None
        for listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _stop(self) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())

    def _pause(self, delay_s: float) -> None:
        self._stop()
        self._resuming = self._loop.call_later(delay_s, self._resume)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(PER_TURN):
            if (delay_s := self._wait_s()) > 0:
                self._pause(delay_s)
                return
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _GONE:
                    self._pause(PAUSE_S)
                    return
            else:
                accepted.setblocking(False)
                self._take(accepted)
