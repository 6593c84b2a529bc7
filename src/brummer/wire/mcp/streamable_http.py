"""The MCP endpoint: Streamable HTTP of both eras on one path, plus whatever plain routes its owner adds.

`brummer.wire.http.auth` first decides whether to serve the client; open routes need no token. Then the era is found: a
modern request names it in header and body, which must agree; all other requests are legacy. Sources:
modelcontextprotocol, docs/specification/2026-07-28/basic/transports/streamable-http and
docs/specification/2025-11-25/basic/transports.
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from brummer.wire.http.auth import FOREIGN, TOKEN_NEEDED, Auth
from brummer.wire.http.server import Exchange, HttpRequest, Refusal
from brummer.wire.http.sse import KEEP_ALIVE, encode_event
from brummer.wire.mcp import eras, mirrored_headers
from brummer.wire.mcp.eras import Era
from brummer.wire.mcp.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NO_ID,
    UNSUPPORTED_VERSION,
    BatchReceived,
    Message,
    ProtocolError,
    decode,
    error_response,
    id_of,
)
from brummer.wire.mcp.mirrored_headers import Body, mirrored_parameters
from brummer.wire.mcp.server import McpServer, Params, Request, RunningCall, Session, decode_params, era_of

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
"""Legacy sessions that are kept. A dropped one is adopted when it is used again."""

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


class StreamableHttp:
    """The handler for an `HttpServer`, which must be given its `admit`.

    ``routes`` need no token, but a Host that names us; ``private_routes`` need the token. ``proves_token(request)``:
    does a request to an open route prove, without the token, that its sender knows it?
    """

    def __init__(
        self,
        server: McpServer,
        *,
        token: str,
        routes: Mapping[bytes, Route] | None = None,
        private_routes: Mapping[bytes, Route] | None = None,
        extra_hosts: frozenset[str] = frozenset(),
        proves_token: Callable[[HttpRequest], bool] = lambda _: False,
    ) -> None:
        self._proves_token = proves_token
        self._server = server
        self._door = Auth(token, extra_hosts)
        self._routes = routes or {}
        self._private_routes = private_routes or {}
        self._mirrored = mirrored_parameters(server.tools_json)
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._deleted: dict[str, None] = {}  # the oldest first
        self._calls: dict[object, set[asyncio.Task[Any]]] = {}  # more than one: a call may be asked for again

    def admit(self, request: HttpRequest) -> bool | Refusal:
        """See `brummer.wire.http.server.Admit`."""
        verdict = self._door.admit(request)
        if verdict is True or verdict is FOREIGN or self._open_route(request) is None:
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
        elif (route := self._private_routes.get(path)) is not None:
            status, body = route(request) if request.method == b"GET" else (405, b"")
            exchange.respond(status, body, [JSON])
        elif path != ENDPOINT:
            exchange.respond(404, b'{"error":"the MCP endpoint is /mcp"}', [JSON])
        elif request.method == b"DELETE":
            self._delete(exchange)
        else:
            exchange.respond(405, b"", [(b"allow", b"POST, DELETE")])

    # Who speaks.

    def _session_of(self, request: HttpRequest) -> Session | None:
        """None without a session header. An unknown id is adopted, such as one from before a restart of this server.

        Raises `ProtocolError`: 404 for a session that its client has ended, 400 for an impossible id.
        """
        header = request.headers.get(b"mcp-session-id")
        if not header:
            return None
        session_id = header.decode("latin-1")
        session = self._sessions.get(session_id)
        if session is None:
            if session_id in self._deleted:
                raise ProtocolError(INVALID_REQUEST, "Session not found: it was ended by DELETE", http_status=404)
            if len(session_id) > SESSION_ID_LIMIT or not session_id.isascii() or not session_id.isprintable():
                raise ProtocolError(INVALID_REQUEST, "Mcp-Session-Id must be up to 256 visible ASCII characters")
            session = self._add_session(session_id)
        self._sessions.move_to_end(session_id)
        return session

    def _add_session(self, session_id: str) -> Session:
        """Over the limit, drop a session that has made no call, else the least recently used one."""
        if len(self._sessions) >= SESSION_LIMIT:
            unused = (session.id for session in self._sessions.values() if not session.calls)
            del self._sessions[next(unused, next(iter(self._sessions)))]
        session = self._sessions[session_id] = Session(id=session_id)
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
        del self._sessions[session.id]
        self._deleted[session.id] = None
        if len(self._deleted) > DELETED_LIMIT:
            del self._deleted[next(iter(self._deleted))]
        exchange.respond(204)

    # What is said.

    async def _post(self, exchange: Exchange) -> None:
        legacy = _version_of(exchange.request) in ("", *eras.LEGACY)
        request_id = NO_ID
        try:
            message = decode(_body_of(exchange.request))
            if message.is_request:
                request_id = bytes(message.id)
                await self._post_request(exchange, message)
            else:
                self._post_notification(exchange, message)
        except BatchReceived as batch:
            await self._post_batch(exchange, batch)
        except ProtocolError as error:
            if error.request_id == NO_ID:
                error.request_id = request_id
            in_body = legacy and error.code in (METHOD_NOT_FOUND, INVALID_PARAMS)
            _answer(exchange, 200 if in_body else error.http_status, error.as_message())
        except Exception:  # noqa: BLE001 — the barrier: the client gets an answer with its id
            _log.exception("request %s failed", request_id.decode())
            _answer(exchange, 500, _internal_error(request_id))

    def _post_notification(self, exchange: Exchange, message: Message) -> None:
        """A notification or a response: taken note of, and never answered but with a status."""
        version = _version_of(exchange.request)
        if version and version not in eras.SUPPORTED:
            raise _unsupported(version)
        session = None if version == eras.MODERN else self._session_of(exchange.request)
        self._on_notification(message, session)
        exchange.respond(202)

    async def _post_request(self, exchange: Exchange, message: Message) -> None:
        params = decode_params(message)
        method = message.method or ""
        era = self._agreed_era(exchange.request, message, params)
        session, extra = None, []
        if method == "initialize" and era is Era.LEGACY:  # it wants a new session, even if it names an old one
            session = self._add_session(secrets.token_urlsafe(18))
            extra = [(b"mcp-session-id", session.id.encode())]
        elif era is Era.LEGACY:
            session = self._session_of(exchange.request)
        reply = _Reply(exchange)
        if method == "subscriptions/listen" and era is Era.MODERN and not reply.may_stream:
            raise ProtocolError(INVALID_REQUEST, "Accept must list text/event-stream", http_status=406)
        request = Request(
            bytes(message.id), method, params, era, session, reply.notify, sender_hung_up=exchange.peer_hung_up
        )
        answer = self._server.handle(request)
        assert not isinstance(answer, RunningCall)  # noqa: S101 — the request had no `on_response`
        if isinstance(answer, bytes):
            exchange.respond(200, answer, [JSON, *extra])
        else:
            if not params.meta.call_key:  # a hub of Brummer waits as long as needed
                reply.begin_if_slow()
            try:
                reply.finish(await self._settled(exchange, message, params, era, session, answer))
            finally:
                reply.close()

    async def _settled(
        self,
        exchange: Exchange,
        message: Message,
        params: Params,
        era: Era,
        session: Session | None,
        answer: Coroutine[Any, Any, bytes],
    ) -> bytes:
        """Await the answer, as a task that can be cancelled by name, and by hanging up where the era says so."""
        key = params.meta.call_key or (session and (session.id, bytes(message.id)))
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 — coroutines run in tasks
        if era is Era.MODERN or params.meta.call_key:
            exchange.on_peer_gone(task.cancel)  # of a call with a key this ends the wait, not the work
        if key:
            self._calls.setdefault(key, set()).add(task)
        try:
            return await answer
        except asyncio.CancelledError:
            if exchange.peer_gone or not self._was_cancelled(key, task):
                raise
            task.uncancel()
            return _cancelled(bytes(message.id))
        finally:
            self._forget(key, task)

    # Batches.

    async def _post_batch(self, exchange: Exchange, batch: BatchReceived) -> None:
        """Handle all messages at once; send the responses together, once all are there (JSON-RPC 2.0 §6)."""
        try:
            if _version_of(exchange.request) not in ("", eras.WITH_BATCHES):
                exchange.respond(400, b"[%b]" % b",".join(batch.refusals()), [JSON])
                return
            session = self._session_of(exchange.request)
        except ProtocolError as error:
            _answer(exchange, error.http_status, error.as_message())
            return
        reply = _Reply(exchange)
        reply.begin_if_slow()
        tasks = [asyncio.create_task(self._batched(exchange, each, session, reply)) for each in batch.messages]
        try:
            answers = [answer for answer in await asyncio.gather(*tasks) if answer]
            if answers:
                reply.finish(b"[%b]" % b",".join(answers))
            else:
                exchange.respond(202)
        finally:
            reply.close()
            for task in tasks:
                task.cancel()

    async def _batched(self, exchange: Exchange, line: bytes, session: Session | None, reply: "_Reply") -> bytes | None:
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
            params, method = decode_params(message), message.method or ""
            request = Request(bytes(message.id), method, params, Era.LEGACY, session, notify)
            answer = self._server.handle(request)
            assert not isinstance(answer, RunningCall)  # noqa: S101 — the request had no `on_response`
            if isinstance(answer, bytes):
                return answer
            return await self._settled(exchange, message, params, Era.LEGACY, session, answer)
        except ProtocolError as error:
            return error.as_message()
        except Exception:  # noqa: BLE001 — the barrier, as for a single message
            _log.exception("request %s failed", request_id.decode())
            return _internal_error(request_id)
        finally:
            is_answered = True

    def _was_cancelled(self, key: object, task: asyncio.Task[Any]) -> bool:
        """By message, which takes the call out of the table; not by a lost peer or the end of the server."""
        return bool(key) and task not in self._calls.get(key, ())

    def _forget(self, key: object, task: asyncio.Task[Any]) -> None:
        tasks = self._calls.get(key, set())
        tasks.discard(task)
        if not tasks:
            self._calls.pop(key, None)

    def _on_notification(self, message: Message, session: Session | None) -> None:
        if message.method != "notifications/cancelled":
            return
        try:
            params = decode_params(message)
        except ProtocolError:
            return  # a malformed cancellation is ignored, as both eras ask
        if params.meta.call_key and self._server.cancel_call(params.meta.call_key):
            return
        key = params.meta.call_key or (session and (session.id, bytes(params.request_id)))
        for task in self._calls.pop(key, ()):
            task.cancel()

    # Which era, and do header and body agree?

    def _agreed_era(self, request: HttpRequest, message: Message, params: Params) -> Era:
        """The request's era. Raises `ProtocolError` where headers contradict the body or name an unknown version."""
        header, in_body = _version_of(request), params.meta.version
        method = message.method or ""
        if in_body is None and header in ("", *eras.LEGACY):
            return era_of(method, params) if not header else Era.LEGACY
        if in_body is not None and header != in_body:
            mirrored_headers.mismatch(bytes(message.id), "MCP-Protocol-Version", header, in_body)
        if header not in eras.SUPPORTED:
            raise _unsupported(header)
        body = Body(bytes(message.id), method, params.name, bytes(params.arguments))
        mirrored_headers.check(request.headers, body, self._mirrored)
        return Era.MODERN


class _Reply:
    """One request's answer: plain JSON, unless something has to be said before the result; then an event stream."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._beat: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def may_stream(self) -> bool:
        return b"text/event-stream" in self._exchange.request.headers.get(b"accept", b"").lower()

    def notify(self, message: bytes) -> None:
        if self._closed or not self.may_stream:
            return
        self._begin()
        self._exchange.send(encode_event(message))

    def begin_if_slow(self) -> None:
        """Begin the stream after `PATIENCE_S`, so that the client sees that its request is being served."""
        if self.may_stream and not self._exchange.streaming:
            self._beat = asyncio.get_running_loop().call_later(PATIENCE_S, self._on_beat)

    def _begin(self) -> None:
        if not self._exchange.streaming:
            self._exchange.start_stream(200, EVENT_STREAM)
            self._keep_alive()

    def finish(self, response: bytes) -> None:
        if self._exchange.streaming:
            self._exchange.send(encode_event(response))
            self._exchange.end()
        else:
            self._exchange.respond(200, response, _JSON_ONLY)

    def close(self) -> None:
        """From now on the connection belongs to the next request."""
        self._closed = True
        if self._beat is not None:
            self._beat.cancel()

    def _keep_alive(self) -> None:
        """Comments keep a silent stream open across proxies and impatient clients."""
        if self._beat is not None:
            self._beat.cancel()
        self._beat = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._on_beat)

    def _on_beat(self) -> None:
        self._begin()
        self._exchange.send(KEEP_ALIVE)
        self._keep_alive()


def _answer(exchange: Exchange, status: int, message: bytes) -> None:
    if exchange.streaming:
        exchange.send(encode_event(message))
        exchange.end()
    else:
        exchange.respond(status, message, [JSON])


def _internal_error(request_id: bytes) -> bytes:
    return error_response(request_id, INTERNAL_ERROR, "Internal error; the server's log has the traceback")


def _cancelled(request_id: bytes) -> bytes:
    """HTTP needs some answer to a request that was cancelled by message; its sender no longer waits for it."""
    return ProtocolError(INVALID_REQUEST, "Request cancelled", request_id=request_id).as_message()


def _path_of(request: HttpRequest) -> bytes:
    return request.target.partition(b"?")[0]


def _body_of(request: HttpRequest) -> bytes:
    content_type = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if content_type != b"application/json":
        raise ProtocolError(INVALID_REQUEST, "Content-Type must be application/json", http_status=415)
    accept = request.headers.get(b"accept", b"*/*").lower()
    if accept.find(b"application/json") < 0 and not any(kind in accept for kind in _ALSO_ACCEPTABLE):
        message = "Accept must list application/json and text/event-stream"
        raise ProtocolError(INVALID_REQUEST, message, http_status=406)
    return request.body


def _version_of(request: HttpRequest) -> str:
    return request.headers.get(b"mcp-protocol-version", b"").decode("latin-1")


def _unsupported(version: str) -> ProtocolError:
    data = eras.unsupported_version_data(version)
    return ProtocolError(UNSUPPORTED_VERSION, "Unsupported protocol version", data=data)
