"""A link's connections: how each is made and proven, and the three pools that keep them.

Three, because none may wait behind another: calls, calls that wait for something to happen, and cancellations.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from brummer.core.errors import BrummerError, ConnectionClosed, TransportError
from brummer.host.real_system import REAL
from brummer.host.system import System
from brummer.link.budget import Budget, Place, Purpose
from brummer.link.peer import Peer
from brummer.link.pool import Pool
from brummer.settings.limits import DEFAULTS, Limits
from brummer.wire.http.connection import HttpConnection, Reservations

CONNECT_TIMEOUT_S: Final = 0.5
"""Loopback connects in microseconds. The kernel repeats a lost SYN after 1, 3, 7 … s; trying anew is sooner."""

REMOTE_CONNECT_TIMEOUT_S: Final = 5.0
"""Beyond this machine a name has to be found and TLS to be agreed on, and a SYN that is lost comes again after 1 s."""

RESERVED_DESCRIPTORS: Final = 8
"""Of those that the system allows: for the directory, new links, and whoever asks what is wrong."""

CONNECTIONS_FOR_CANCELLATIONS: Final = 2
"""A round trip each, and never behind a call: the other two pools may be taken for hours."""


class Connections:
    """``target`` tells whom to connect to now; ``on_closed`` is called whenever one of them closes.

    Each has a place in the ``budget`` that all links share; ``reservations`` are for large answers.
    """

    def __init__(
        self,
        target: Callable[[], Peer],
        on_closed: Callable[[], None],
        limits: Limits = DEFAULTS,
        budget: Budget | None = None,
        reservations: Reservations | None = None,
        system: System = REAL,
    ) -> None:
        self._system = system
        self.budget = budget = budget or Budget(limits.connections)
        self._target = target
        self._on_closed = on_closed
        self._reply_limit_bytes = limits.reply_bytes
        self._reservations = reservations
        self.calls = Pool(
            partial(self.open, Purpose.CALL),
            limit=min(limits.in_flight_per_instance, budget.for_calls),
            gives_up=partial(self._gives_up, Purpose.CALL),
        )
        self.waits = Pool(
            partial(self.open, Purpose.WAIT),
            limit=min(limits.waiting_per_instance, budget.for_waits),
            keep=0,
            gives_up=partial(self._gives_up, Purpose.WAIT),
        )
        self.cancellations = Pool(
            partial(self.open, Purpose.OWN),
            limit=CONNECTIONS_FOR_CANCELLATIONS,
            keep=0,
            gives_up=partial(self._gives_up, Purpose.CALL),
        )
        self.dials = 0
        self.on_left: Callable[[], None] = lambda: None
        """Called when the last one was closed by a server that may close what idles, and may also be gone."""
        self._needs_none = False
        """That there is none for calls has an innocent reason."""

    @property
    def pools(self) -> tuple[Pool, Pool, Pool]:
        return self.calls, self.waits, self.cancellations

    @property
    def size(self) -> int:
        return sum(pool.size for pool in self.pools)

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

    @property
    def are_lost(self) -> bool:
        """Whether none is left for calls, and not because others wanted its place, or its server closes what idles."""
        return self.calls.size == 0 and not self._needs_none

    async def open(self, purpose: Purpose) -> HttpConnection:
        """Take a place, connect and prove identity: see `open_at`. Raises `Busy` where too many wait for a place."""
        return await self.open_at(await self.budget.take(purpose, self))

    async def open_at(self, place: Place) -> HttpConnection:
        """Connect and prove identity; raises `TransportError`, `Impostor` among them. Waits for the proof for ever.

        The place is given back when that fails, else when the connection closes.
        """
        try:
            connection = await self._proven(place)
        except BaseException:
            place.give_back()
            raise
        if place.purpose is Purpose.CALL:
            self._needs_none = False
        place.was_proven()
        return connection

    def add(self, connection: HttpConnection) -> None:
        """Have calls use one that was opened outside."""
        self._needs_none = False
        self.calls.add(connection)

    def distrust(self) -> None:
        """One could not be opened, or failed: that there is none for calls has no innocent reason any more."""
        self._needs_none = False

    async def _proven(self, place: Place) -> HttpConnection:
        target = self._target()
        self.dials += 1
        connection = await HttpConnection.open(
            target.host,
            target.port,
            timeout_s=connect_timeout_s(target),
            limit_bytes=self._reply_limit_bytes,
            on_close=partial(self._forget, place),
            reservations=self._reservations,
            descriptors=self._system.descriptors.descriptor_limit() - RESERVED_DESCRIPTORS,
            tls=target.tls,
            sockets=self._system.sockets,
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
        connection.opened_at = self._system.clock.elapsed()
        return connection

    async def open_within(self, timeout_s: float) -> HttpConnection:
        """`open` for the hub itself; the proof may take so long, and the place what it must."""
        place = await self.budget.take(Purpose.OWN, self)
        try:
            async with asyncio.timeout(connect_timeout_s(self._target()) + timeout_s):
                return await self.open_at(place)
        except TimeoutError:
            raise TransportError("connected, but the identity probe was not answered") from None

    def drop_spares(self) -> None:
        """Those that idle beside the one that is kept warm."""
        for pool in self.pools:
            pool.close_spares()

    def drop_idle(self) -> None:
        """Those that carry no call: after a long sleep nobody may know them any more at the other end."""
        for pool in self.pools:
            pool.close_idle()

    def close(self) -> None:
        """All of them, at once; calls on them fail with `ConnectionClosed`."""
        self._needs_none = False
        for pool in self.pools:
            pool.close()

    # What `Budget` asks of an owner.

    def idle(self, purpose: Purpose | None) -> Iterable[HttpConnection]:
        if purpose is Purpose.WAIT:
            return self.waits.idle
        if purpose is Purpose.OWN:  # one that idles has become a call's
            return ()
        return [*self.calls.idle, *self.cancellations.idle, *(self.waits.idle if purpose is None else ())]

    def give_up(self, connection: HttpConnection) -> None:
        connection.close()
        self._needs_none = self.calls.size == 0

    def _gives_up(self, purpose: Purpose, connection: HttpConnection) -> bool:
        wanted = self.budget.wanted
        if not wanted or purpose not in wanted:
            return False
        self.give_up(connection)
        return True

    def _forget(self, place: Place, connection: HttpConnection) -> None:
        if self.calls.connections == [connection]:
            if connection.lacked_room:
                self._needs_none = True
            elif connection.was_hung_up and not self._target().keeps_idle:
                self._needs_none = True
                self.on_left()
        for pool in self.pools:
            pool.drop(connection)
        place.give_back()  # not before: whoever gets it would look for room among those that idle, and find this one
        self._on_closed()


def connect_timeout_s(target: Peer) -> float:
    """Until it is connected, TLS and all."""
    if target.is_local:
        return CONNECT_TIMEOUT_S
    return max(REMOTE_CONNECT_TIMEOUT_S, target.patience_s / 2)  # the other half is for the handshake
