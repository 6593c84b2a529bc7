"""The peer of a link that is ours: how one run of an instance is proven, and what requests to it look like."""

import asyncio
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import msgspec

from brummer.core.errors import BadAnswer
from brummer.link.call import Answers, Call, OwnMeta
from brummer.link.errors import Impostor, ServerFull
from brummer.link.peer import Condition
from brummer.wire.http import status_codes
from brummer.wire.http.connection import HttpConnection
from brummer.wire.mcp import eras, identity


class LedgerView(msgspec.Struct):
    """The last known state of a run's ledger and clock, by which the run decides whether it may begin a call.

    The two clocks are never compared. The time that its clock showed when it answered is a lower bound of what it shows
    when we read the answer. So a call's due time, converted to that clock, is too early there, never too late.
    """

    ledger_position: int = 0
    _ahead_s: float | None = None
    """A lower bound of its clock minus ours; None while its clock is not known."""

    def update(self, position: int, clock_s: float | None) -> None:
        self.ledger_position = max(self.ledger_position, position)
        if clock_s is not None:
            self._ahead_s = clock_s - asyncio.get_running_loop().time()

    def of_call(self, call: Call, generation: str) -> OwnMeta:
        """Brummer's own members in the ``_meta`` of a request for this call."""
        if call.repeatable or call.sent_to != generation:  # this run got no request for it, or may run it twice
            call.ledger_position = self.ledger_position
        ahead_s, due_s = self._ahead_s, call.due_s
        begin_by_s = None if ahead_s is None or due_s == math.inf else due_s + ahead_s
        return OwnMeta(call.key, call.ledger_position, begin_by_s)


def _unseen() -> Condition:
    return "unknown"


@dataclass(frozen=True, repr=False)
class Target:
    """One run of one instance: its address, and what proves it. ``protocols``: the versions of MCP that it speaks."""

    instance_id: str
    """Its name among the instances of all machines: `brummer.discovery.record.Record.key`."""
    generation: str
    host: str
    port: int
    token: str
    protocols: tuple[str, ...] = eras.SUPPORTED
    condition: Callable[[], Condition] = field(default=_unseen, compare=False)
    """Samples its process, where that can be seen."""
    is_near: bool = field(default=False, compare=False)
    """See `brummer.link.peer.Peer.is_near`."""
    own_id: str = ""
    """The id that it proves, if that is not ``instance_id``."""
    is_local: bool = True
    """Of another machine, the address is the near end of the way there."""
    in_other_network: bool = field(default=False, compare=False)
    """See `brummer.link.peer.Peer.in_other_network`."""
    patience_s: float = 0.0
    """On this machine it proves itself in a millisecond; one that takes longer is to be reported."""
    ledger: LedgerView = field(default_factory=LedgerView, compare=False)

    def __repr__(self) -> str:
        return f"<Target {self.instance_id} {self.generation} at {self.authority}>"

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    tls: ClassVar[None] = None
    keeps_idle: ClassVar[bool] = True
    has_ledger: ClassVar[bool] = True
    is_direct: ClassVar[bool] = True
    refusal: ClassVar[None] = None
    refused_s: ClassVar[None] = None

    @property
    def is_compatible(self) -> bool:
        """It speaks the version in which the hub makes its calls, `LEGACY_LATEST`."""
        return eras.LEGACY_LATEST in self.protocols

    @cached_property
    def _head(self) -> bytes:
        """The head of every POST, up to the value of ``accept``.

        The legacy form without a session: in that era a lost connection cancels nothing, and our calls rely on it.
        """
        return (
            f"POST /mcp HTTP/1.1\r\nhost: {self.authority}\r\nauthorization: Bearer {self.token}\r\n"
            f"content-type: application/json\r\nmcp-protocol-version: {eras.LEGACY_LATEST}\r\n"
            "accept: application/json"
        ).encode()

    def post(self, body: bytes, *, streams: bool) -> bytes:
        """The whole HTTP request. ``streams``: the answer may be a stream of events."""
        accept = b", text/event-stream" if streams else b""
        return b"%b%b\r\ncontent-length: %d\r\n\r\n%b" % (self._head, accept, len(body), body)

    def request(self, connection: HttpConnection, call: Call) -> tuple[bytes, Answers]:
        """See `brummer.link.peer.Peer.request`; never None."""
        request_id = b"%d" % connection.calls
        own = OwnMeta(call.key) if call.only_reads else self.ledger.of_call(call, self.generation)
        meta = call.meta_with(msgspec.to_builtins(own)) if call.meta or call.trace else own
        message = call.message(request_id, meta)
        return self.post(message, streams=call.on_notification is not None), Answers(request_id, call)

    async def ask(self, connection: HttpConnection, call: Call) -> bytes:
        """Make the call on this connection; returns the result object.

        Raises `TransportError`, `RemoteRefusal`, `NotBegun`.
        """
        request, answers = self.request(connection, call)
        return answers.result(await connection.exchange(request, answers.on_event))

    async def cancel(self, connection: HttpConnection, call: Call) -> None:
        """Stop the work of a call that was sent on any connection."""
        await connection.exchange(self.post(call.cancellation(), streams=False))

    async def prove(self, connection: HttpConnection) -> None:
        """Return when this run has proven itself. Raises `Impostor`, or another `TransportError`."""
        nonce = secrets.token_urlsafe(18)
        head = (
            f"GET {identity.PATH.decode()}?nonce={nonce} HTTP/1.1\r\nhost: {self.authority}\r\n"
            f"{identity.ASKER_HEADER}: {identity.asker_proof(self.token, nonce)}\r\n\r\n"
        )
        try:
            response = await connection.exchange(head.encode())
        except BadAnswer as error:
            if error.context.get("status") == status_codes.UNAVAILABLE:
                raise ServerFull(f"the server on port {self.port} accepts no more connections") from None
            raise Impostor(f"another process answers on port {self.port}: {error.message}", port=self.port) from None
        if response.status == status_codes.UNAVAILABLE:
            raise ServerFull(f"the server on port {self.port} accepts no more connections")
        proven = identity.proven(
            response.body,
            token=self.token,
            nonce=nonce,
            instance_id=self.own_id or self.instance_id,
            generation=self.generation,
        )
        if proven is None:
            raise Impostor(f"another process answers on port {self.port}", port=self.port, status=response.status)
        self.note_ledger(proven.ledger_position, proven.clock_s)

    def note_ledger(self, position: int, clock_s: float | None) -> None:
        self.ledger.update(position, clock_s)
