"""An HTTP/1.1 server for a few loopback clients that stay for hours: connections stay open, and everything is bounded.

Theory of operation: there is one `_Connection` for each TCP connection; httptools parses its bytes. The requests of one
connection are answered in order, one at a time. While a peer sends the next request too early, or does not read its
answers, its bytes are not read. A refusal of the server itself (100, 408, 431, …) waits for its turn too. The `Handler`
serves a request, and answers through the `Exchange`.

A connection is *unproven* until `Admit` has accepted the head of one of its requests. Unproven connections have a short
time limit and places of their own (`brummer.wire.http.places`). A request is refused at its head: its body is not kept.

Why not uvicorn: docs/decisions/0002-own-http-server.md.
"""

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from typing import Any, Final, Protocol, cast

import httptools
import msgspec

from brummer.wire.http import status_codes
from brummer.wire.http.accepting import Acceptor
from brummer.wire.http.places import GRACE_S, Places
from brummer.wire.http.tcp_options import has_hung_up, set_tcp_options

_log = logging.getLogger(__name__)

REQUEST_HEADERS_BYTES: Final = 32 * 1024
"""Our own requests have some 400 bytes of headers, those of a browser 2 KiB."""

UNPROVEN_SHARE: Final = 8
"""Unproven connections take at most one part in eight of the files that this process may open."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = (b"connection", b"close")


class HttpRequest(msgspec.Struct):
    """One whole request; header names are lower case, a repeated header's values are joined by a comma."""

    method: bytes = b""
    target: bytes = b""
    headers: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    body: bytes = b""
    http_version: str = "1.1"
    is_authorized: bool = False


class ServerLimits(msgspec.Struct, frozen=True):
    """What bounds a server, beside the size of a body."""

    proven: int = 256
    """Proven connections: enough for some ten hubs with all their connections, and for people with curl."""
    unproven: int = 128
    """More than clients open at one time. During a flood of 1,000 connections a client waits less than a second."""
    open_files: int = sys.maxsize
    """How many files and sockets this process may have open."""
    unproven_s: float = 2.0
    """From the accept to the head that proves the connection, or to the end of its first request."""
    request_s: float = 30.0
    """From the first byte of a request to its last. Loopback carries 10 MB in a tenth of a second."""
    linger_s: float = 2.0
    """How long a refused peer may continue to send. A close at once would reset the connection and lose the refusal."""
    grace_s: float = GRACE_S
    """See `brummer.wire.http.places`."""


Headers = Iterable[tuple[bytes, bytes]]


class Refusal(msgspec.Struct, frozen=True):
    """A complete answer to a request that is not served."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


Handler = Callable[["Exchange"], Awaitable[None]]
Admit = Callable[[HttpRequest], bool | Refusal]
"""Judges a request by its head. True: its sender is authorized. False: it may be served, but proves nothing."""


class Exchange:
    """One request and the way to answer it: `respond` once, or `start_stream`, `send` …, `end`."""

    def __init__(self, connection: "_Connection", request: HttpRequest) -> None:
        self.connection = connection
        self.loop = connection.loop
        self.request = request
        self.started = False
        self.streaming = False

    def respond(self, status: int, body: bytes = b"", headers: Headers = ()) -> None:
        """The whole answer. Does nothing when the peer has gone."""
        self.started = True
        length = b"" if status == status_codes.NO_CONTENT else b"content-length: %d\r\n" % len(body)
        if self.request.method == b"HEAD":
            body = b""
        self.connection.write(b"%b%b\r\n%b" % (self._head(status, headers), length, body))

    def refuse(self, refusal: Refusal) -> None:
        self.respond(refusal.status, refusal.body, refusal.headers)

    def start_stream(self, status: int, headers: Headers = ()) -> None:
        """Begin an answer whose length is not known; chunks follow, for HTTP/1.0 plain bytes up to the close."""
        self.started = self.streaming = True
        framing = b"transfer-encoding: chunked\r\n\r\n" if self._chunked else b"\r\n"
        self.connection.write(self._head(status, headers) + framing)

    def send(self, data: bytes) -> None:
        if data:
            self.connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        if self._chunked:
            self.connection.write(b"0\r\n\r\n")

    def switch(
        self, protocol: bytes, on_data: Callable[[bytes], None], on_writable: Callable[[], None]
    ) -> "SwitchedConnection":
        """Answer 101: until the handler returns, the connection carries bytes of this protocol. ``on_data`` gets what
        the peer sends; ``on_writable`` is called once its answers are read again.
        """
        self.started = True
        offer = ((b"connection", b"upgrade"), (b"upgrade", protocol))
        self.connection.write(_head(status_codes.SWITCHING, offer) + b"\r\n")
        return self.connection.switch(on_data, on_writable)

    def _head(self, status: int, headers: Headers) -> bytes:
        return _head(status, tuple(headers) if self.connection.keep_alive else (*headers, _CLOSE))

    @property
    def _chunked(self) -> bool:
        return self.request.http_version != "1.0"

    @property
    def peer_gone(self) -> bool:
        return self.connection.transport is None

    def peer_hung_up(self) -> bool:
        """The kernel knows that the peer has ended the connection; the event loop may learn it later."""
        return self.connection.hung_up()

    def on_peer_gone(self, callback: Callable[[], object]) -> None:
        """Call once if the connection is lost before the answer is complete; at once if it is lost already."""
        if self.peer_gone:
            callback()
        else:
            self.connection.on_lost = callback


class SwitchedConnection(Protocol):
    """A connection that carries another protocol than HTTP; see `Exchange.switch`. Calls after its end do nothing."""

    @property
    def is_writable(self) -> bool:
        """False while more than 64 KiB wait for the peer to read them: write no more then."""

    def write(self, data: bytes) -> None: ...

    def pause_reading(self) -> None:
        """Leave what the peer sends in the kernel, which then holds the peer back."""

    def resume_reading(self) -> None: ...


@lru_cache(maxsize=32)
def _head(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Cached: nearly all answers have the same head."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    return b"HTTP/1.1 %d %b\r\n%b" % (status, status_codes.REASONS.get(status, b""), lines)


class HttpServer:
    """Listens on sockets that are bound already, so that the port is ours before its number is published.

    Without ``admit`` the head of any request proves its connection, and authorizes nothing. ``hung_up(socket)``: has
    the peer ended the connection?
    """

    def __init__(
        self,
        handler: Handler,
        *,
        body_limit_bytes: int,
        admit: Admit | None = None,
        hung_up: Callable[[Any], bool] = has_hung_up,
        limits: ServerLimits | None = None,
    ) -> None:
        self.hung_up = hung_up
        self.handler = handler
        self.admit = admit
        self.body_limit_bytes = body_limit_bytes
        self.limits = limits = limits or ServerLimits()
        unproven = min(limits.unproven, limits.open_files // UNPROVEN_SHARE)
        self.places: Places[_Connection] = Places(proven=limits.proven, unproven=unproven, grace_s=limits.grace_s)
        self.running: dict[asyncio.Task[None], None] = {}
        self.closed = False
        self._acceptor: Acceptor | None = None
        self._connecting: dict[asyncio.Task[None], None] = {}

    @property
    def connections(self) -> "list[_Connection]":
        return list(self.places)

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Serve what these listeners accept; `close` closes them."""
        loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(sockets, wait_s=lambda: self.places.wait_s(loop.time()), take=self._take)

    def _take(self, sock: socket.socket) -> None:
        if (oldest := self.places.make_room()) is not None:
            oldest.abort()
        loop, connection = asyncio.get_running_loop(), _Connection(self)
        self.places.add(connection, loop.time())
        task = loop.create_task(self._connect(connection, sock))
        self._connecting[task] = None
        task.add_done_callback(self._connecting.pop)

    async def _connect(self, connection: "_Connection", sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        except OSError:  # the peer is gone already
            self.places.remove(connection)
            sock.close()

    async def close(self) -> None:
        """Stop listening, drop every connection and cancel what runs, also for peers that have gone already."""
        self.closed = True
        if self._acceptor is not None:
            self._acceptor.close()
        if self._connecting:
            await asyncio.wait(self._connecting)
        for connection in self.places:
            connection.on_lost = None  # every task is cancelled below, and once
            connection.abort()
        running = list(self.running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        while len(self.places):  # noqa: ASYNC110 — the loop closes their sockets within its next turns
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # and the sockets of connections that were dropped to make room


class _Connection(asyncio.Protocol):
    """Parses requests off one socket and runs the handler for one at a time."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self.loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._request = HttpRequest()
        self._body: list[bytes] = []
        self._body_bytes = self._header_bytes = 0
        self._unparsed_bytes = 0  # fed to the parser since its last callback
        self._receiving = self._in_headers = self._continue_due = False
        self._queued: list[tuple[HttpRequest, bool]] = []
        self._refusal: Refusal | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable = True
        self._hung_up = self._paused = self._is_proven = False
        self.keep_alive = True
        self.transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        self.on_lost: Callable[[], object] | None = None
        self._on_data: Callable[[bytes], None] | None = None
        self._on_writable: Callable[[], None] = lambda: None

    # The socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # what create_server makes; uvloop's is no subclass
        if self._server.closed or self not in self._server.places:  # it was dropped to make room
            transport.abort()
            return
        self.transport = transport
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.transport = None
        del self._parser  # it holds us too: such a circle would stay until a full collection, which is hours away
        self._server.places.remove(self)
        self._stop_timer()
        if self.task is not None and self.on_lost is not None:
            self.on_lost()

    def data_received(self, data: bytes) -> None:
        if self.transport is None or self._refusal is not None:
            return
        if self._on_data is not None:
            self._on_data(data)
            return
        self._unparsed_bytes += len(data)
        try:
            while data:
                data = self._feed(data)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, _RefusedError) else _MALFORMED)
        except httptools.HttpParserError:
            self._refuse(_MALFORMED)
        else:
            if self._unparsed_bytes > REQUEST_HEADERS_BYTES:  # one endless header, which the parser alone would keep
                self._refuse(_HEADERS_TOO_LARGE)
            elif self._receiving and self.task is None:  # most requests come in one piece, and need no timer
                self._start_timer()

    def _feed(self, data: bytes) -> bytes:
        """Parse; returns the rest: the parser stops at an offer to upgrade, which is ignored (RFC 9110 §7.8)."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            return data[offer.args[0] :]
        return b""

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._on_writable()
        if self.task is None:
            self._go_on()

    # As a `SwitchedConnection`.

    def switch(self, on_data: Callable[[bytes], None], on_writable: Callable[[], None]) -> "SwitchedConnection":
        self.keep_alive = False
        self._on_data, self._on_writable = on_data, on_writable
        return self

    @property
    def is_writable(self) -> bool:
        return self._writable

    def pause_reading(self) -> None:
        if self.transport is not None and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.transport is not None:
            self._resume_reading(self.transport)

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def hung_up(self) -> bool:
        transport = self.transport
        if transport is None or transport.is_closing():
            return True
        return self._server.hung_up(transport.get_extra_info("socket"))

    def _refuse(self, refusal: Refusal) -> None:
        """Refuse an unreadable or unservable request, in its turn, and close: the start of the next one is unknown."""
        self._refusal = refusal
        self._server.places.hear(self)
        self._stop_timer()
        if self.task is None:
            self._go_on()

    def _hang_up(self, transport: asyncio.Transport, refusal: Refusal) -> None:
        """Send the refusal, end our side, and read the peer's last bytes."""
        head = _head(refusal.status, (_CLOSE, *refusal.headers))
        body = b"" if self._request.method == b"HEAD" else refusal.body
        transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(refusal.body), body))
        transport.write_eof()
        self._hung_up = True
        self._resume_reading(transport)
        self._timer = self.loop.call_later(self._server.limits.linger_s, transport.abort)

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        self._request = HttpRequest()
        self._body, self._body_bytes, self._header_bytes = [], 0, 0
        self._receiving = self._in_headers = True

    def on_url(self, url: bytes) -> None:
        self._unparsed_bytes = 0
        self._header_bytes += len(url)
        if self._header_bytes > REQUEST_HEADERS_BYTES:
            raise _RefusedError(_HEADERS_TOO_LARGE)
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._unparsed_bytes = 0
        size_bytes = self._header_bytes = self._header_bytes + len(name) + len(value)
        if size_bytes > REQUEST_HEADERS_BYTES:
            raise _RefusedError(_HEADERS_TOO_LARGE)
        if not self._in_headers:  # a trailer, which must not pass for a header: RFC 9110 §6.5.1
            return
        headers, name = self._request.headers, name.lower()
        value = value.strip(b" \t")
        headers[name] = b"%b, %b" % (headers[name], value) if name in headers else value

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._request.method = self._parser.get_method()
        self._request.http_version = self._parser.get_http_version()
        self._admit()
        headers = self._request.headers
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._server.body_limit_bytes:
            raise self._body_too_large()
        if self._parser.should_upgrade() and (length.strip(b"0") or b"transfer-encoding" in headers):
            raise _RefusedError(_UPGRADE_WITH_BODY)  # the parser skips it
        self._continue_due = headers.get(b"expect", b"").lower() == b"100-continue"
        if self.task is None:
            self._say_continue()

    def _admit(self) -> None:
        """Raises _RefusedError."""
        if self._server.admit is not None:
            verdict = self._server.admit(self._request)
            if isinstance(verdict, Refusal):
                raise _RefusedError(verdict)
            self._request.is_authorized = verdict
            if not verdict:
                return
        if not self._is_proven and self.transport is not None:
            if not self._server.places.prove(self):
                raise _RefusedError(_FULL)
            self._is_proven = True
            self._stop_timer()
            _keep_watch(self.transport.get_extra_info("socket"))

    def _body_too_large(self) -> "_RefusedError":
        return _RefusedError(_plain(413, f"body exceeds {self._server.body_limit_bytes} bytes"))

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        self._continue_due = False
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._server.body_limit_bytes:
            raise self._body_too_large()

    def on_message_complete(self) -> None:
        self._stop_timer()
        if not self._is_proven:
            self._server.places.hear(self)
        self._unparsed_bytes = 0
        self._receiving = self._continue_due = False
        self._request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        keep_alive = self._parser.should_keep_alive() and self._request.http_version != "1.0"
        self._queued.append((self._request, keep_alive))
        if self.task is None and self._writable:
            self._serve_next()
        else:
            self.pause_reading()

    # Serving.

    def _serve_next(self) -> None:
        request, self.keep_alive = self._queued.pop(0)
        self.task = self.loop.create_task(self._serve(Exchange(self, request)))
        self._server.running[self.task] = None

    async def _serve(self, exchange: Exchange) -> None:
        try:
            await self._server.handler(exchange)
        except asyncio.CancelledError:
            self.abort()
            raise
        except Exception:  # noqa: BLE001 — the barrier: one request must not cost the others
            _log.exception("a request failed")
            if exchange.started:
                self.abort()
            else:
                exchange.respond(500)
        finally:
            self._finish()

    def _finish(self) -> None:
        if self.task is not None:
            del self._server.running[self.task]
        self.task = self.on_lost = None
        if self._on_data is not None:
            self._on_data, self._on_writable = _ignore, lambda: None
        if self.transport is not None and not self.keep_alive:
            self.transport.close()
        self._go_on()

    def _go_on(self) -> None:
        """Serve the next request, send a refusal, or read on."""
        if self.transport is None or self.transport.is_closing() or self._hung_up or not self._writable:
            return
        if self._queued:
            self._serve_next()
        elif self._refusal is not None:
            self._hang_up(self.transport, self._refusal)
        else:
            self._resume_reading(self.transport)
            self._say_continue()
            if self._receiving:
                self._start_timer()

    def _resume_reading(self, transport: asyncio.Transport) -> None:
        if self._paused:
            self._paused = False
            transport.resume_reading()

    def _say_continue(self) -> None:
        if self._continue_due:
            self._continue_due = False
            self.write(_CONTINUE)

    def _start_timer(self) -> None:
        if self._timer is None:
            limits = self._server.limits
            delay_s = limits.request_s if self._is_proven else limits.unproven_s
            self._timer = self.loop.call_later(delay_s, self._on_timeout)

    def _on_timeout(self) -> None:
        if self._receiving:
            self._refuse(_TOO_SLOW)
        else:
            self.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _ignore(data: bytes) -> None:
    """What comes after the end."""


class _RefusedError(Exception):
    """Carried through the parser out of a callback."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


def _plain(status: int, reason: str) -> Refusal:
    return Refusal(status, reason.encode(), ((b"content-type", b"text/plain"),))


_MALFORMED: Final = _plain(400, "malformed request")
_UPGRADE_WITH_BODY: Final = _plain(400, "a request that offers to upgrade can't have a body here")
_TOO_SLOW: Final = _plain(408, "request took too long")
_HEADERS_TOO_LARGE: Final = _plain(431, f"headers exceed {REQUEST_HEADERS_BYTES} bytes")
_FULL: Final = _plain(status_codes.UNAVAILABLE, "too many connections")


def _keep_watch(sock: socket.socket) -> None:
    """Notice within half a minute that the path to the peer is lost."""
    with contextlib.suppress(OSError):  # macOS reports here that the peer has gone already
        set_tcp_options(sock)
