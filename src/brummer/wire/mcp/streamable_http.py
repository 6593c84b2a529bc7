"""The MCP endpoint: Streamable HTTP of both eras on one path, and the plain routes that its owner adds.

`brummer.wire.http.auth` first decides whether to serve the client; open routes need no token. Then the era is found: a
modern request names it in header and body, which must agree; all other requests are legacy. Sources:
modelcontextprotocol, docs/specification/2026-07-28/basic/transports/streamable-http and
docs/specification/2025-11-25/basic/transports.
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from brummer.wire.http.auth import TOKEN_NEEDED, Auth
from brummer.wire.http.server import Exchange, Handler, HttpRequest, Refusal
from brummer.wire.http.sse import KEEP_ALIVE, encode_event
from brummer.wire.mcp import eras
from brummer.wire.mcp.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NO_ID,
    UNSUPPORTED_VERSION,
    BatchReceived,
    Message,
    ProtocolError,
    decode,
    id_of,
    internal_error,
)
from brummer.wire.mcp.server import McpServer, Request, RunningCall, Session, cancelled_by, decode_request

if TYPE_CHECKING:
    from brummer.wire.mcp.mirrored_headers import Parameters

_log = logging.getLogger(__name__)

ENDPOINT: Final = b"/mcp"
JSON: Final = (b"content-type", b"application/json")
_JSON_ONLY: Final = (JSON,)
EVENT_STREAM: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)

SESSION_LIMIT: Final = 1_000
"""Legacy sessions that are kept. A dropped one is adopted when it is used again, without its chosen instance."""

DELETED_LIMIT: Final = 10_000
"""Ids of sessions that clients have ended; 100 bytes each."""

SESSION_ID_LIMIT: Final = 256
"""Characters of an adopted id; generated ones have 24."""

PATIENCE_S: Final = 3.0
"""After this time the answer of a slow call begins, as an event stream: without a header Node's `fetch` gives up 300 s
after the request, and other clients after 5 s.
"""

KEEP_ALIVE_S: Final = 15.0
"""Between comments on a silent stream: well inside the 60 s after which proxies and clients give up."""

_ALSO_ACCEPTABLE = (b"*/*", b"application/*", b"text/event-stream")
Route = Callable[[HttpRequest], tuple[int, bytes]]
"""A plain GET: returns (status, JSON body)."""
PrivateRoute = Callable[[HttpRequest], Awaitable[tuple[int, bytes]]]
"""The same, and may wait."""


class StreamableHttp:
    """The handler for an `HttpServer`, which must be given its `admit`.

    ``routes`` need no token, but a Host that names us. ``private_routes`` need the token, and so do
    ``private_handlers``, which answer by themselves. ``proves_token(request)``:
    does a request to an open route prove, without the token, that its sender knows it?
    """

    def __init__(
        self,
        server: McpServer,
        *,
        token: str,
        routes: Mapping[bytes, Route] | None = None,
        private_routes: Mapping[bytes, PrivateRoute] | None = None,
        private_handlers: Mapping[bytes, Handler] | None = None,
        extra_hosts: frozenset[str] = frozenset(),
        proves_token: Callable[[HttpRequest], bool] = lambda _: False,
    ) -> None:
        self._proves_token = proves_token
        self._server = server
        self._door = Auth(token, extra_hosts)
        self._routes = routes or {}
        self._private_routes = private_routes or {}
        self._private_handlers = private_handlers or {}
        self.sessions: OrderedDict[str, Session] = OrderedDict()
        self._deleted: dict[str, None] = {}  # the oldest first
        self.calls: dict[object, set[asyncio.Task[Any]]] = {}  # more than one: a call may be asked for again

    def admit(self, request: HttpRequest) -> bool | Refusal:
        """See `brummer.wire.http.server.Admit`."""
        verdict = self._door.admit(request)
        if verdict is not TOKEN_NEEDED or self._open_route(request) is None:
            return verdict
        return self._proves_token(request)

    def _open_route(self, request: HttpRequest) -> Route | None:
        """The open route of the request, if it has no body: no bytes are kept for a request without the token."""
        if request.method != b"GET":
            return None
        has_body = request.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in request.headers
        return None if has_body else self._routes.get(_path_of(request))

    async def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        path = request.target if request.target == ENDPOINT else _path_of(request)
        if request.is_authorized and request.method == b"POST" and path == ENDPOINT:
            await self._post(exchange)
        elif (route := self._open_route(request)) is not None:
            status, body = route(request)
            exchange.respond(status, body, [JSON])
        elif not request.is_authorized:
            exchange.refuse(TOKEN_NEEDED)
        elif (private := self._private_routes.get(path)) is not None:
            status, body = await private(request) if request.method == b"GET" else (405, b"")
            exchange.respond(status, body, [JSON])
        elif (handler := self._private_handlers.get(path)) is not None:
            await handler(exchange)
        elif path != ENDPOINT:
            exchange.respond(404, b'{"error":"the MCP endpoint is /mcp"}', [JSON])
        elif request.method == b"DELETE":
            self._delete(exchange)
        else:
            exchange.respond(405, b"", [(b"allow", b"POST, DELETE")])

    # Sessions.

    def _session_of(self, request: HttpRequest) -> Session | None:
        """None without a session header. An unknown id is adopted, such as one from before a restart of this server.

        Raises `ProtocolError`: 404 for a session that its client has ended, 400 for an impossible id.
        """
        header = request.headers.get(b"mcp-session-id")
        if not header:
            return None
        session_id = header.decode("latin-1")
        session = self.sessions.get(session_id)
        if session is None:
            if session_id in self._deleted:
                raise ProtocolError(INVALID_REQUEST, "Session not found: it was ended by DELETE", http_status=404)
            if len(session_id) > SESSION_ID_LIMIT or not session_id.isascii() or not session_id.isprintable():
                raise ProtocolError(INVALID_REQUEST, "Mcp-Session-Id must be up to 256 visible ASCII characters")
            session = self._add_session(session_id)
        self.sessions.move_to_end(session_id)
        return session

    def _add_session(self, session_id: str) -> Session:
        """Over the limit, drop a session that has made no call, else the least recently used one."""
        if len(self.sessions) >= SESSION_LIMIT:
            unused = (session.id for session in self.sessions.values() if not session.calls)
            del self.sessions[next(unused, next(iter(self.sessions)))]
        session = self.sessions[session_id] = Session(id=session_id)
        return session

    def _delete(self, exchange: Exchange) -> None:
        try:
            session = self._session_of(exchange.request)
        except ProtocolError as error:
            exchange.respond(error.http_status, error.as_message(), [JSON])
            return
        if session is None:
            exchange.respond(405, b"", [(b"allow", b"POST")])
            return
        del self.sessions[session.id]
        self._deleted[session.id] = None
        if len(self._deleted) > DELETED_LIMIT:
            del self._deleted[next(iter(self._deleted))]
        exchange.respond(204)

    # Messages.

    async def _post(self, exchange: Exchange) -> None:
        reply, request_id = _Reply(exchange), NO_ID
        try:
            message = decode(_body_of(exchange.request))
            if message.is_request:
                request_id = bytes(message.id)
                await self._post_request(reply, message)
            else:
                self._post_notification(exchange, message)
        except BatchReceived as batch:
            await self._post_batch(reply, batch)
        except ProtocolError as error:
            if error.request_id == NO_ID:
                error.request_id = request_id
            is_legacy = _version_of(exchange.request) in ("", *eras.LEGACY)
            in_body = is_legacy and error.code in (METHOD_NOT_FOUND, INVALID_PARAMS)
            reply.finish(error.as_message(), 200 if in_body else error.http_status)
        except Exception:  # noqa: BLE001 — the barrier: the client gets an answer with its id
            _log.exception("request %s failed", request_id.decode())
            reply.finish(internal_error(request_id), 500)
        finally:
            reply.close()

    def _post_notification(self, exchange: Exchange, message: Message) -> None:
        """A notification or a response: it is answered with a status only."""
        version = _version_of(exchange.request)
        if version and version not in eras.SUPPORTED:
            raise _unsupported(version)
        session = None if version == eras.MODERN else self._session_of(exchange.request)
        self._on_notification(message, session)
        exchange.respond(202)

    async def _post_request(self, reply: "_Reply", message: Message) -> None:
        exchange = reply.exchange
        request = decode_request(message, None, reply.notify)
        request.is_modern, request.sender_hung_up = self._is_modern(exchange.request, request), exchange.peer_hung_up
        extra: tuple[tuple[bytes, bytes], ...] = ()
        if not request.is_modern and request.method == "initialize":  # a new session, even if it names an old one
            request.session = self._add_session(secrets.token_urlsafe(18))
            extra = ((b"mcp-session-id", request.session.id.encode()),)
        elif not request.is_modern:
            request.session = self._session_of(exchange.request)
        elif request.method == "subscriptions/listen" and not reply.may_stream:
            raise ProtocolError(INVALID_REQUEST, "Accept must list text/event-stream", http_status=406)
        answer = self._handle(request)
        if isinstance(answer, bytes):
            exchange.respond(200, answer, (JSON, *extra))
            return
        if not request.params.meta.call_key:  # a hub of Brummer waits as long as needed
            reply.begin_if_slow()
        reply.finish(await self._settled(exchange, request, answer))

    def _handle(self, request: Request) -> bytes | Coroutine[Any, Any, bytes]:
        answer = self._server.handle(request)
        assert not isinstance(answer, RunningCall)  # noqa: S101 — the request has no `on_response`
        return answer

    async def _settled(self, exchange: Exchange, request: Request, answer: Coroutine[Any, Any, bytes]) -> bytes:
        """Await the answer, as a task that can be cancelled by name, and by hanging up where the era says so."""
        key = _key_of(request.params.meta.call_key, request.session, request.id)
        task = asyncio.current_task(exchange.loop)
        assert task is not None  # noqa: S101 — coroutines run in tasks
        if request.is_modern or request.params.meta.call_key:
            exchange.on_peer_gone(task.cancel)  # of a call with a key this ends the wait, not the work
        if key:
            self.calls.setdefault(key, set()).add(task)
        try:
            return await answer
        except asyncio.CancelledError:
            # A message that cancels a call takes it out of the table; a lost peer and the end of the server do not.
            if exchange.peer_gone or not key or task in self.calls.get(key, ()):
                raise
            task.uncancel()
            # HTTP needs some answer to a request that was cancelled by message; its sender no longer waits for it.
            return ProtocolError(INVALID_REQUEST, "Request cancelled", request_id=request.id).as_message()
        finally:
            if tasks := self.calls.get(key):
                tasks.discard(task)
            if not tasks:
                self.calls.pop(key, None)

    def _on_notification(self, message: Message, session: Session | None) -> None:
        if message.method != "notifications/cancelled":
            return
        params = cancelled_by(message)
        if params.meta.call_key and self._server.cancel_call(params.meta.call_key):
            return
        for task in self.calls.pop(_key_of(params.meta.call_key, session, bytes(params.request_id)), ()):
            task.cancel()

    # Batches.

    async def _post_batch(self, reply: "_Reply", batch: BatchReceived) -> None:
        """Handle all messages at once; send the responses together, once all are there (JSON-RPC 2.0 §6)."""
        exchange = reply.exchange
        try:
            if _version_of(exchange.request) not in ("", eras.WITH_BATCHES):
                exchange.respond(400, b"[%b]" % b",".join(batch.refusals()), [JSON])
                return
            session = self._session_of(exchange.request)
        except ProtocolError as error:
            reply.finish(error.as_message(), error.http_status)
            return
        reply.begin_if_slow()
        tasks = [asyncio.create_task(self._batched(reply, each, session)) for each in batch.messages]
        try:
            answers = [answer for answer in await asyncio.gather(*tasks) if answer]
            if answers:
                reply.finish(b"[%b]" % b",".join(answers))
            else:
                exchange.respond(202)
        finally:
            for task in tasks:
                task.cancel()

    async def _batched(self, reply: "_Reply", line: bytes, session: Session | None) -> bytes | None:
        """The response to one message of a batch; None for a notification or a response."""
        request_id, is_answered = id_of(line), False

        def notify(notification: bytes) -> None:
            if not is_answered:
                reply.notify(notification)

        try:
            message = decode(line)
            if not message.is_request:
                self._on_notification(message, session)
                return None
            request = decode_request(message, session, notify)
            request.is_modern = False
            answer = self._handle(request)
            return answer if isinstance(answer, bytes) else await self._settled(reply.exchange, request, answer)
        except ProtocolError as error:
            return error.as_message()
        except Exception:  # noqa: BLE001 — the barrier, as for a single message
            _log.exception("request %s failed", request_id.decode())
            return internal_error(request_id)
        finally:
            is_answered = True

    # Which era, and do header and body agree?

    @cached_property
    def _mirrored(self) -> "Parameters":
        from brummer.wire.mcp.mirrored_headers import mirrored_parameters  # noqa: PLC0415 - as below

        return mirrored_parameters(self._server.tools_json)

    def _is_modern(self, http_request: HttpRequest, request: Request) -> bool:
        """The request's era. Raises `ProtocolError` where headers contradict the body or name an unknown version."""
        header, params = _version_of(http_request), request.params
        if params.meta.version is None and header in ("", *eras.LEGACY):
            return request.is_modern and not header
        from brummer.wire.mcp import mirrored_headers  # noqa: PLC0415 - only modern clients need it

        if params.meta.version not in (None, header):
            mirrored_headers.mismatch(request.id, "MCP-Protocol-Version", header, params.meta.version)
        if header not in eras.SUPPORTED:
            raise _unsupported(header)
        body = mirrored_headers.Body(request.id, request.method, params.name or params.uri, bytes(params.arguments))
        mirrored_headers.check(http_request.headers, body, self._mirrored)
        return True


class _Reply:
    """The answer to one POST: plain JSON, or an event stream if something has to be sent before the result."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._beat: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def may_stream(self) -> bool:
        return b"text/event-stream" in self.exchange.request.headers.get(b"accept", b"").lower()

    def notify(self, message: bytes) -> None:
        if self._closed or not self.may_stream:
            return
        if not self.exchange.streaming:
            self._begin()
        self.exchange.send(encode_event(message))

    def begin_if_slow(self) -> None:
        """Begin the stream after `PATIENCE_S`, so that the client sees that its request is being served."""
        if self.may_stream and not self.exchange.streaming:
            self._beat = asyncio.get_running_loop().call_later(PATIENCE_S, self._on_beat)

    def finish(self, response: bytes, status: int = 200) -> None:
        if self.exchange.streaming:
            self.exchange.send(encode_event(response))
            self.exchange.end()
        else:
            self.exchange.respond(status, response, _JSON_ONLY)

    def close(self) -> None:
        """From now on the connection belongs to the next request."""
        self._closed = True
        if self._beat is not None:
            self._beat.cancel()

    def _begin(self) -> None:
        self.exchange.start_stream(200, EVENT_STREAM)
        self._keep_alive()

    def _keep_alive(self) -> None:
        """Comments keep a silent stream open across proxies and impatient clients."""
        if self._beat is not None:
            self._beat.cancel()
        self._beat = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._on_beat)

    def _on_beat(self) -> None:
        if not self.exchange.streaming:
            self.exchange.start_stream(200, EVENT_STREAM)
        self.exchange.send(KEEP_ALIVE)
        self._keep_alive()


def _key_of(call_key: str | None, session: Session | None, request_id: bytes) -> object:
    """The name by which a message may cancel the call; None without one."""
    return call_key or (session and (session.id, request_id))


def _path_of(request: HttpRequest) -> bytes:
    return request.target.partition(b"?")[0]


def _body_of(request: HttpRequest) -> bytes:
    content_type = request.headers.get(b"content-type", b"")
    if content_type != b"application/json" and not _is_json(content_type):
        raise ProtocolError(INVALID_REQUEST, "Content-Type must be application/json", http_status=415)
    accept = request.headers.get(b"accept", b"*/*").lower()
    if accept.find(b"application/json") < 0 and not any(kind in accept for kind in _ALSO_ACCEPTABLE):
        message = "Accept must list application/json and text/event-stream"
        raise ProtocolError(INVALID_REQUEST, message, http_status=406)
    return request.body


def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == b"application/json"


def _version_of(request: HttpRequest) -> str:
    return request.headers.get(b"mcp-protocol-version", b"").decode("latin-1")


def _unsupported(version: str) -> ProtocolError:
    data = eras.unsupported_version_data(version)
    return ProtocolError(UNSUPPORTED_VERSION, "Unsupported protocol version", data=data)
