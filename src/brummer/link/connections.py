"""A link's connections: how each is made and proven, and the three pools that keep them.

Three, because none may wait behind another: calls, calls that wait for something to happen, and cancellations.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from brummer.core.errors import BrummerError, ConnectionClosed, TransportError
from brummer.core.limits import DEFAULTS, Limits
from brummer.host.clocks import elapsed
from brummer.link.peer import Peer
from brummer.link.pool import Pool
from brummer.wire.http_connection import HttpConnection

CONNECT_TIMEOUT_S: Final = 0.5
"""Loopback connects in microseconds. The kernel repeats a lost SYN after 1, 3, 7 … s; trying anew is sooner."""

CONNECTIONS_FOR_CANCELLATIONS: Final = 2
"""A round trip each, and never behind a call: the other two pools may be taken for hours."""


class Connections:
    """``target`` tells whom to connect to now; ``on_closed`` is called whenever one of them closes."""

    def __init__(self, target: Callable[[], Peer], on_closed: Callable[[], None], limits: Limits = DEFAULTS) -> None:
        self._target = target
        self._on_closed = on_closed
        self._reply_limit_bytes = limits.reply_bytes
        self.calls = Pool(self.open, limit=limits.in_flight_per_instance)
        self.waits = Pool(self.open, limit=limits.waiting_per_instance, keep=0)
        self.cancellations = Pool(self.open, limit=CONNECTIONS_FOR_CANCELLATIONS, keep=0)
        self.dials = 0

    @property
    def size(self) -> int:
        return self.calls.size + self.waits.size + self.cancellations.size

    @property
    def busy(self) -> int:
        """Those that carry a call."""
        return self.calls.busy + self.waits.busy

    @property
    def in_use(self) -> bool:
        """Whether a call is under way, or about to be."""
        return self.calls.in_use > 0 or self.waits.in_use > 0

    @property
    def oldest(self) -> HttpConnection | None:
        return min(self.calls.connections, key=lambda connection: connection.opened_at, default=None)

    async def open(self) -> HttpConnection:
        """Connect and prove identity; raises `TransportError`, `Impostor` among them. Waits for the proof for ever."""
        target = self._target()
        self.dials += 1
        connection = await HttpConnection.open(
            target.host,
            target.port,
            timeout_s=CONNECT_TIMEOUT_S,
            limit_bytes=self._reply_limit_bytes,
            on_close=self._forget,
            tls=target.tls,
        )
        try:
            await target.prove(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, BrummerError) and not isinstance(error, TransportError):  # it refuses our hello, say
                raise TransportError(f"it can't be spoken to: {error.message}") from None
            raise
        if target is not self._target():
            connection.close()
            raise TransportError("the record changed while the connection was made")
        if connection.closed:
            raise ConnectionClosed("it closes every connection after one answer, or went away just now")
        connection.opened_at = elapsed()
        return connection

    async def open_within(self, timeout_s: float) -> HttpConnection:
        """`open`, whose proof may take so long."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S + timeout_s):
                return await self.open()
        except TimeoutError:
            raise TransportError("connected, but the identity probe was not answered") from None

    def drop_idle(self) -> None:
        """Those that carry no call: after a long sleep nobody may know them any more at the other end."""
        for pool in (self.calls, self.waits, self.cancellations):
            pool.close_idle()

    def close(self) -> None:
        """All of them, at once; calls on them fail with `ConnectionClosed`."""
        for pool in (self.calls, self.waits, self.cancellations):
            pool.close()

    def _forget(self, connection: HttpConnection) -> None:
        for pool in (self.calls, self.waits, self.cancellations):
            pool.drop(connection)
        self._on_closed()
