"""Calls to one run of an instance without a hub, over one connection that stays open."""

import socket
from typing import Final

from brummer.core.errors import BrummerError
from brummer.discovery.record import Record
from brummer.host.real_system import REAL
from brummer.host.system import System
from brummer.link.call import Call
from brummer.link.target import Target
from brummer.peers.process_sampler import condition_of
from brummer.wire.http import status_codes
from brummer.wire.http.connection import HttpConnection
from brummer.wire.mcp import eras

CONNECT_S: Final = 2.0
"""Loopback answers within a millisecond; a machine that swaps gets this long."""

REMOTE_PATIENCE_S: Final = 2.0
"""A proof is one round trip: 0.6 s over a satellite, and a segment that is lost and sent again doubles that."""

ANSWER_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""An answer of an instance's own tools has at most 256 KiB, its metrics less than 1 MiB."""


class MetricsRefused(BrummerError):
    """The instance answered a request for its data with an HTTP error: it may be of another version."""

    code = "refused_by_instance"


def target_of(record: Record, system: System = REAL) -> Target:
    """The target that this record describes. A process of another machine can't be looked at from here."""
    protocols = record.protocols or (eras.LEGACY_LATEST,)
    address = (record.key, record.generation, record.host, record.port, record.token, protocols)
    if record.via is not None:
        return Target(*address, own_id=record.instance_id, is_local=False, patience_s=REMOTE_PATIENCE_S)
    own = system.processes.network_namespace()
    in_other_network = 0 not in {own, record.net_namespace} and record.net_namespace != own
    return Target(
        *address,
        condition_of(record, system.processes, system.clock.awake),
        is_near=system.processes.same_namespace(record.identity) and not in_other_network,
        in_other_network=in_other_network,
    )


class InstanceClient:
    """One call at a time. The run proves its identity on each new connection, before it receives its token."""

    def __init__(self, record: Record, limit_bytes: int = ANSWER_LIMIT_BYTES) -> None:
        self.record = record
        self.target = target_of(record)
        self._limit_bytes = limit_bytes
        self._connection: HttpConnection | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.closed

    async def prove(self) -> None:
        """Have the run prove its identity; its answer also holds the present position of its ledger.

        Raises TransportError.
        """
        connection = await self._opened()
        try:
            await self.target.prove(connection)
        except BaseException:
            connection.close()  # no call may find it: a stranger's would get the token
            raise

    async def call(self, call: Call) -> bytes:
        """Send the call once; returns the encoded result. Raises TransportError, NotBegun, RemoteRefusal."""
        return await self.target.ask(await self._proven(), call)

    async def get(self, path: bytes) -> bytes:
        """The body of the answer to a GET. Raises TransportError, MetricsRefused."""
        target = self.target
        connection = await self._proven()
        response = await connection.exchange(
            b"GET %b HTTP/1.1\r\nhost: %b\r\nauthorization: Bearer %b\r\n\r\n"
            % (path, target.authority.encode(), target.token.encode())
        )
        if response.status != status_codes.OK:
            refused = f"it refuses {path.decode()} with HTTP {response.status}"
            raise MetricsRefused(f"{refused}: it may be of another version")
        return response.body

    async def hand_over(self) -> socket.socket:
        """The socket of a connection on which the run has proven its identity, for another protocol than HTTP. Raises
        TransportError.
        """
        await self._proven()
        connection = await self._opened()
        return connection.hand_over()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _proven(self) -> HttpConnection:
        if not self.is_open:
            await self.prove()
        return await self._opened()

    async def _opened(self) -> HttpConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await HttpConnection.open(
                self.target.host,
                self.target.port,
                timeout_s=CONNECT_S,
                limit_bytes=self._limit_bytes,
                on_close=lambda _: None,
            )
        return self._connection
