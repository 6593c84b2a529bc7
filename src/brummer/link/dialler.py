"""Connects to the peer of a link, and has it prove its identity."""

import asyncio
from collections.abc import Callable
from typing import Final

from brummer.core.errors import BrummerError, ConnectionClosed, TransportError
from brummer.host.system import System
from brummer.link.peer import Peer
from brummer.wire.http.connection import HttpConnection, Reservations

CONNECT_TIMEOUT_S: Final = 0.5
"""Loopback connects in microseconds. The kernel repeats a lost SYN after 1, 3, 7 … s; trying anew is sooner."""

REMOTE_CONNECT_TIMEOUT_S: Final = 5.0
"""Beyond this machine a name has to be found and TLS to be agreed on, and a SYN that is lost comes again after 1 s."""

RESERVED_DESCRIPTORS: Final = 8
"""Of those that the system allows: kept for the directory, new links, and clients that ask for the status."""


class LinkDialler:
    """A `Dialler` of the pool. ``target`` returns the link's peer; ``reservations`` are for large answers."""

    def __init__(
        self, target: Callable[[], Peer], reply_limit_bytes: int, reservations: Reservations | None, system: System
    ) -> None:
        self._target = target
        self._reply_limit_bytes = reply_limit_bytes
        self._reservations = reservations
        self._system = system

    @property
    def keeps_idle(self) -> bool:
        return self._target().keeps_idle

    async def __call__(
        self, on_close: Callable[[HttpConnection], None], within_s: float | None = None
    ) -> HttpConnection:
        """Raises `TransportError`, `Impostor` among them. ``within_s`` None: it waits for the proof for ever."""
        target = self._target()
        connect_s = connect_timeout_s(target)
        try:
            async with asyncio.timeout(None if within_s is None else connect_s + within_s):
                return await self._proven(target, connect_s, on_close)
        except TimeoutError:
            raise TransportError("connected, but the identity probe was not answered") from None

    async def _proven(
        self, target: Peer, connect_s: float, on_close: Callable[[HttpConnection], None]
    ) -> HttpConnection:
        connection = await HttpConnection.open(
            target.host,
            target.port,
            timeout_s=connect_s,
            limit_bytes=self._reply_limit_bytes,
            on_close=on_close,
            reservations=self._reservations,
            descriptors=self._system.descriptors.descriptor_limit() - RESERVED_DESCRIPTORS,
            tls=target.tls,
            sockets=self._system.sockets,
        )
        try:
            await target.prove(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, BrummerError) and not isinstance(error, TransportError):
                raise TransportError(f"the handshake failed: {error.message}") from None
            raise
        if target is not self._target():
            connection.close()
            raise TransportError("the record changed while the connection was made")
        if connection.closed:
            raise ConnectionClosed("it closes every connection after one answer, or has just ended")
        connection.opened_at = self._system.clock.elapsed()
        return connection


def connect_timeout_s(target: Peer) -> float:
    """Until it is connected, TLS and all."""
    if target.is_local:
        return CONNECT_TIMEOUT_S
    return max(REMOTE_CONNECT_TIMEOUT_S, target.patience_s / 2)  # the other half is for the handshake
