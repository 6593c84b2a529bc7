"""What a link asks of the peer that it leads to. A run of our instances and a foreign server each implement it."""

import ssl
from typing import Final, Literal, Protocol

from brummer.link.call import Answers, Call
from brummer.link.errors import Refused
from brummer.wire.http.connection import HttpConnection

Condition = Literal["stopped", "frozen", "busy", "idle", "gone", "unknown"]
"""What a peer's process does, seen from outside."""

OTHER_NETWORK: Final = "it runs in another network namespace, whose loopback is not ours"
"""Why an instance of this machine can't be reached; see `Peer.in_other_network`."""


class Peer(Protocol):
    """`brummer.link.target.Target`, and `brummer.foreign.peer.ForeignTarget`."""

    @property
    def instance_id(self) -> str:
        """Its name among all peers."""

    @property
    def generation(self) -> str:
        """Names its run. A server that is not ours has one for all its runs."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def tls(self) -> ssl.SSLContext | None:
        """None for plain HTTP."""

    @property
    def is_local(self) -> bool:
        """It is on this machine: no route and no carrier is between us."""

    @property
    def is_near(self) -> bool:
        """Its process is in our pid namespace, so its end is seen, and until then a failed dial costs 50 µs; and it is
        worth one, because its loopback is ours.
        """

    @property
    def in_other_network(self) -> bool:
        """Its port is on the loopback of another network namespace, which can't be reached from here."""

    @property
    def patience_s(self) -> float:
        """Seconds that a proof may take at least."""

    @property
    def keeps_idle(self) -> bool:
        """It keeps idle connections open, so one that closes is a loss."""

    @property
    def has_ledger(self) -> bool:
        """It remembers the keys of calls: asked again, it answers what came of them."""

    @property
    def is_direct(self) -> bool:
        """One request makes a call: see `request`."""

    @property
    def protocols(self) -> tuple[str, ...]:
        """The versions of MCP that it speaks."""

    @property
    def is_compatible(self) -> bool:
        """The hub can make its calls in one of these versions."""

    @property
    def refusal(self) -> Refused | None:
        """Its last answer over HTTP, if that was a refusal. Never of an instance of ours."""

    @property
    def refused_s(self) -> float | None:
        """Seconds since it refuses; None while it does not."""

    def condition(self) -> Condition:
        """Sample its process."""

    def request(self, connection: HttpConnection, call: Call) -> tuple[bytes, Answers] | None:
        """The request that makes the call, and what reads its answer. None if the peer is not direct: see `ask`."""

    async def prove(self, connection: HttpConnection) -> None:
        """Return when this peer has answered on the connection. Raises `TransportError`, or another `BrummerError`."""

    async def ask(self, connection: HttpConnection, call: Call) -> bytes:
        """Make the call; return the result object. Raises `TransportError`, `RemoteRefusal`, `NotBegun`."""

    async def cancel(self, connection: HttpConnection, call: Call) -> None:
        """Stop the work of a call that was sent on another connection."""

    def note_ledger(self, position: int, clock_s: float | None) -> None:
        """The peer has reported its ledger's position and its clock. A peer without a ledger ignores both."""
