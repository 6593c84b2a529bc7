"""A peer that is not ours: any MCP server over Streamable HTTP, of either era.

There is no record, no proof and no ledger: the user's settings name its URL, and a call that was lost after it was sent
is sent again only if the server's own hints allow that. A handshake finds its era (modern first, as the specification
says). A legacy server's session is kept over all connections; if the server has forgotten it, the call begins a new
one. Servers report a forgotten session in many ways, and some tools fail in the same ways. So after such a refusal the
server is pinged, and only if it refuses the ping, too, the call is made again.

A server that sets a time to come back (``Retry-After``) gets no request before that. A call waits for the time if it is
short, and fails at once with the server's own refusal if it is long.
"""

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Final
from urllib.parse import quote, urlsplit

import msgspec

from brummer import __version__
from brummer.core.errors import BadAnswer, BrummerError, TransportError
from brummer.core.http_text import header_faults, is_sendable_url
from brummer.foreign.refusals import HelloRefused, NotMcp, NotSendable, refusal_by_content, refusal_by_status
from brummer.foreign.results import agreed_version, mirrored_of, neutral
from brummer.host.clocks import elapsed, wall
from brummer.link.call import Answers, Call
from brummer.link.errors import COME_BACK_S, NoResult, Refused, RemoteRefusal
from brummer.link.peer import Condition
from brummer.wire.http.connection import HttpConnection, Response
from brummer.wire.mcp import eras, jsonrpc
from brummer.wire.mcp.mirrored_headers import Parameters, stated, wrapped

CLIENT_INFO: Final = {"name": "brummer-hub", "version": __version__}
FORGOTTEN_STATUSES: Final = frozenset({400, 401, 404, 410})
"""Of a request with a session id: 404 by the specification; the others were seen in the wild."""

FORGOTTEN_CODES: Final = frozenset({-32001, -32000, -32600})
"""JSON-RPC codes of "session not found" and "not initialized" in the wild."""

_IN_PATHS: Final = "!#$%&'()*+,/:;=?@[]~"
"""Characters that need no encoding in a path with a query (RFC 3986 §3.3 and §3.4), and ``%`` of encoded ones."""

_Refusal = RemoteRefusal | NoResult


@dataclass(frozen=True)
class Dialect:
    """What the handshake found. ``version`` goes into the header of every request."""

    version: str
    is_modern: bool = False
    session_id: str | None = field(default=None, repr=False)


_MODERN: Final = Dialect(eras.MODERN, is_modern=True)


class _NotKnown(Exception):
    """A legacy server refused a request in a way in which servers say that they have forgotten the session."""

    def __init__(self, refusal: _Refusal) -> None:
        super().__init__()
        self.refusal = refusal


@dataclass(eq=False)
class ForeignTarget:
    """A `brummer.link.peer.Peer`. ``headers`` may hold credentials and are never shown."""

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    patience_s: float = 10.0
    """For the handshake; see `brummer.settings.servers.Server`."""
    dialect: Dialect | None = None
    """None before the first handshake."""
    _mirrored: Parameters = field(default_factory=dict, repr=False)
    """The arguments that its tools want repeated in headers, known after it refused a call without them."""
    _begins_legacy: bool = field(default=False, repr=False)
    """On the next connection: some servers close the one on which they refused the modern handshake."""
    refusal: Refused | None = field(default=None, repr=False)
    """Its last answer over HTTP, if that was a refusal; None after any other answer."""
    _refused_since_s: float = field(default=0.0, repr=False)
    _closed_by: Refused | None = field(default=None, repr=False)
    _closed_until_s: float = field(default=float("-inf"), repr=False)
    """Loop time, from the ``Retry-After`` of that refusal. A call that is answered meanwhile does not change it."""
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)
    """Of requests over all connections, because some servers route the answers of a session by the id alone."""

    keeps_idle: ClassVar[bool] = False
    """Most servers close idle connections after some seconds; uvicorn, under the official Python SDK, after five."""
    has_ledger: ClassVar[bool] = False
    is_direct: ClassVar[bool] = False
    """A session that was forgotten, or a tool that needs headers, takes further requests."""
    is_compatible: ClassVar[bool] = True
    is_near: ClassVar[bool] = False
    in_other_network: ClassVar[bool] = False
    protocols: ClassVar[tuple[str, ...]] = eras.SUPPORTED
    generation: ClassVar[str] = "foreign"

    @property
    def instance_id(self) -> str:
        return self.name

    @cached_property
    def _parts(self) -> tuple[str, int, str, bool]:
        url = urlsplit(self.url)
        secure = url.scheme == "https"
        path = quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe=_IN_PATHS)
        return url.hostname or "", url.port or (443 if secure else 80), path, secure

    @property
    def host(self) -> str:
        return self._parts[0]

    @property
    def port(self) -> int:
        return self._parts[1]

    @property
    def is_local(self) -> bool:
        """See `brummer.link.peer.Peer.is_local`."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """None for plain HTTP."""
        return ssl.create_default_context() if self._parts[3] else None

    @staticmethod
    def condition() -> Condition:
        """Its process may be on another machine, and is not ours."""
        return "unknown"

    @staticmethod
    def request(*_: object) -> None:
        """None: it is not direct."""

    @staticmethod
    def note_ledger(*_: object) -> None:
        """It has none."""

    @property
    def refused_s(self) -> float | None:
        """See `brummer.link.peer.Peer.refused_s`."""
        return None if self.refusal is None else elapsed() - self._refused_since_s

    # As a link uses it.

    async def prove(self, connection: HttpConnection) -> None:
        """Shake hands, or check that the last handshake still holds."""
        dialect = self.dialect
        with _nothing_run(), self._noting_refusal():
            self._refuse_early(0.0)
            try:
                if dialect is None or not await self._understands(connection, dialect):
                    await self._shake_hands(connection)
            except Refused:
                raise
            except BadAnswer as error:
                raise NotMcp(error.message, began=False) from None
            except RemoteRefusal as error:
                raise HelloRefused(f"the server refuses the handshake: {error.message}", began=False) from None

    async def ask(self, connection: HttpConnection, call: Call) -> bytes:
        """Make the call. If the server refuses it with a time to come back, repeat it then, within `COME_BACK_S`."""
        loop = asyncio.get_running_loop()
        latest_s = loop.time() + min(COME_BACK_S, call.deadline_s)
        while True:
            self._refuse_early(latest_s - loop.time())
            if (closed_s := self._closed_until_s - loop.time()) > 0:
                await asyncio.sleep(closed_s)
                call.extend_deadline()  # the server was not asked meanwhile
            try:
                with self._noting_refusal():
                    return await self._ask(connection, call)
            except Refused as refusal:
                if refusal.outcome != "not_executed" or not self._closed_until_s - loop.time() > 0:
                    raise

    def _refuse_early(self, patience_s: float) -> None:
        """Raise the last refusal if the time that its server has set is more than ``patience_s`` from now."""
        left_s = self._closed_until_s - asyncio.get_running_loop().time()
        if self._closed_by is not None and left_s > max(0.0, patience_s):
            raise self._closed_by.after(round(left_s, 3))

    @contextlib.contextmanager
    def _noting_refusal(self) -> Iterator[None]:
        try:
            yield
        except Refused as refusal:
            if self.refusal is None:
                self._refused_since_s = elapsed()
            self.refusal = refusal
            if refusal.retry_after_s is not None:
                self._closed_by = refusal
                self._closed_until_s = asyncio.get_running_loop().time() + refusal.retry_after_s
            raise
        except BrummerError as error:
            if isinstance(error, NoResult) or not isinstance(error, TransportError):
                self.refusal = None
            raise
        self.refusal = None

    async def _ask(self, connection: HttpConnection, call: Call) -> bytes:
        """If the server has forgotten the session, or the tool needs headers, learn that once and repeat the call."""
        with _nothing_run():
            dialect = self.dialect or await self._shake_hands(connection)
        try:
            return neutral(await self._exchange(connection, call, dialect))
        except _NotKnown as doubt:
            if not await self._has_forgotten_us(connection, dialect, doubt.refusal):
                raise doubt.refusal from None
            if self.dialect is dialect:  # else another call has begun the new session
                with _nothing_run():
                    await self._shake_hands(connection)
        except RemoteRefusal as refusal:
            if not dialect.is_modern or refusal.context["rpc_code"] != jsonrpc.HEADER_MISMATCH:
                raise
            listing = Call("tools/list", {}, repeatable=True, deadline_s=0)
            with _nothing_run():
                self._mirrored = mirrored_of(await self._exchange(connection, listing, dialect))
        try:
            return neutral(await self._exchange(connection, call, self.dialect or dialect))
        except _NotKnown as doubt:
            raise doubt.refusal from None

    async def cancel(self, connection: HttpConnection, call: Call) -> None:
        """In the modern era a lost connection is the cancellation; the legacy era needs a message."""
        dialect = self.dialect
        if dialect is not None and not dialect.is_modern and call.request_id:
            message = jsonrpc.notification("notifications/cancelled", {"requestId": msgspec.Raw(call.request_id)})
            await connection.exchange(self._post(message, dialect))

    # Shaking hands.

    async def _shake_hands(self, connection: HttpConnection) -> Dialect:
        """Raises `BrummerError` if the server understands neither era."""
        begins_legacy, self._begins_legacy = self._begins_legacy, False
        if not begins_legacy and await self._understands(connection, _MODERN):
            self.dialect = _MODERN
        else:
            self._begins_legacy = not begins_legacy
            self.dialect = await self._initialize(connection)
            self._begins_legacy = False
        return self.dialect

    async def _understands(self, connection: HttpConnection, dialect: Dialect) -> bool:
        """A legacy server that refuses a ping with a JSON-RPC error has understood it."""
        question = "server/discover" if dialect.is_modern else "ping"
        try:
            await self._exchange(connection, Call(question, {}, repeatable=True, deadline_s=0), dialect)
        except RemoteRefusal:
            return not dialect.is_modern
        except Refused as refusal:
            if refusal.transient:  # the server serves no request now
                raise
            return False
        except (NoResult, _NotKnown):
            return False
        return True

    async def _has_forgotten_us(self, connection: HttpConnection, dialect: Dialect, refusal: _Refusal) -> bool:
        """The server refuses a ping in the same way as the call. After any other answer, or none, the state of the
        session is unknown, and the call may have run.
        """
        try:
            await self._exchange(connection, Call("ping", {}, repeatable=True, deadline_s=0), dialect)
        except _NotKnown as doubt:
            return doubt.refusal.context == refusal.context
        except Refused as no_service:
            if no_service.transient:
                raise
        except (RemoteRefusal, NoResult):
            pass
        return False

    async def _initialize(self, connection: HttpConnection) -> Dialect:
        request_id = self._next_id()
        params = {"protocolVersion": eras.LEGACY_LATEST, "capabilities": {}, "clientInfo": CLIENT_INFO}
        body = jsonrpc.request(request_id, "initialize", msgspec.json.encode(params))
        answers = Answers(request_id, ours=False)
        response = await connection.exchange(self._post(body, None), answers.on_event)
        session_id = response.headers.get(b"mcp-session-id")
        version = agreed_version(_result(answers, response))
        dialect = Dialect(version, session_id=session_id.decode("latin-1") if session_id else None)
        initialized = jsonrpc.notification("notifications/initialized", {})
        await connection.exchange(self._post(initialized, dialect))
        return dialect

    # Asking.

    def _next_id(self) -> bytes:
        return b"%d" % next(self._ids)

    async def _exchange(self, connection: HttpConnection, call: Call, dialect: Dialect) -> bytes:
        call.request_id = request_id = self._next_id()
        answers = Answers(request_id, call, ours=False)
        modern = dialect.is_modern
        meta: dict[str, object] = {}
        if modern:
            meta = {eras.META_VERSION: dialect.version, eras.META_CAPABILITIES: {}}
        if call.method == "tools/call" and "progressToken" not in call.meta:  # it extends the deadline
            meta["progressToken"] = int(request_id)
        request = self._post(
            call.message(request_id, call.meta_with(meta)), dialect, self._repeated(call) if modern else {}
        )
        response = await connection.exchange(request, answers.on_event, call.extend_deadline)
        try:
            return _result(answers, response)
        except (RemoteRefusal, NoResult) as refusal:
            if not modern and _may_have_forgotten(response.status, refusal.context.get("rpc_code")):
                raise _NotKnown(refusal) from None
            raise

    def _repeated(self, call: Call) -> dict[str, str]:
        """The headers in which the modern era repeats what the body says."""
        name = call.params.get("name")
        if not isinstance(name, str):
            return {"mcp-method": call.method}
        further = stated(name, msgspec.json.encode(call.params.get("arguments")), self._mirrored)
        return {"mcp-method": call.method, "mcp-name": wrapped(name), **further}

    @cached_property
    def _checked_headers(self) -> dict[str, str]:
        """The headers of the settings, names in lower case. Raises `NotSendable` if HTTP would misread them."""
        if not is_sendable_url(self.url):
            raise NotSendable("the URL has blanks or invisible characters", began=False)
        for _, why in header_faults(self.headers):
            raise NotSendable(f"the server's headers can't be sent: {why}", began=False)
        return {name.lower(): value for name, value in self.headers.items()}

    def _post(self, body: bytes, dialect: Dialect | None, further: Mapping[str, str] | None = None) -> bytes:
        """The whole HTTP request. ``dialect`` None: before the handshake. Raises `NotSendable`."""
        host, port, path, secure = self._parts
        authority = f"[{host}]" if ":" in host else host
        lines = {
            "host": authority if port == (443 if secure else 80) else f"{authority}:{port}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            **({"mcp-protocol-version": dialect.version} if dialect else {}),
            **({"mcp-session-id": dialect.session_id} if dialect and dialect.session_id else {}),
            **(further or {}),
            **self._checked_headers,
            "content-length": str(len(body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


@contextlib.contextmanager
def _nothing_run() -> Iterator[None]:
    """Around what a call needs first: whatever goes wrong there, the call itself has not run."""
    try:
        yield
    except BrummerError as error:
        error.outcome = "not_executed"
        if isinstance(error, TransportError):
            error.sent = False
        raise


def _result(answers: Answers, response: Response) -> bytes:
    """As `Answers.result`; a response without an MCP answer raises a `Refused` that describes it."""
    wall_s = wall()
    if (refusal := refusal_by_status(response, wall_s)) is not None:
        raise refusal
    try:
        return answers.result(response)
    except BadAnswer:
        if (refusal := refusal_by_content(response, wall_s)) is None:
            raise
        raise refusal from None


def _may_have_forgotten(status: int, rpc_code: object) -> bool:
    return rpc_code in FORGOTTEN_CODES or (status in FORGOTTEN_STATUSES and rpc_code != jsonrpc.METHOD_NOT_FOUND)
