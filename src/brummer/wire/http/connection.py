"""One persistent HTTP/1.1 client connection to a loopback server, for one request at a time.

It shows what libraries hide: whether bytes of a request reached the kernel (`TransportError.sent`), and that the peer
has closed, at once. That needs the socket itself, so it reads and writes a non-blocking one in the loop's readiness
callbacks: no transport, no hidden buffer, no silent retry.
"""

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Final, Protocol

import httptools
import msgspec

from brummer.core.errors import BadAnswer, ConnectionClosed, NoRoom, TooLarge, TransportError
from brummer.wire.http import status_codes
from brummer.wire.http.dialling import Sockets, dial, socket_error
from brummer.wire.http.sse import EventDecoder

READ_BYTES: Final = 64 * 1024
"""From 128 KiB on, malloc maps and unmaps memory for each read: three system calls."""

ANSWER_HEADERS_BYTES: Final = 64 * 1024
"""More than any server sends before its answer. A stranger on the port must not fill the memory."""

LARGE_BYTES: Final = 1024 * 1024
"""An answer of this size and more asks for memory before it is read."""

STREAM_END_S: Final = 0.25
"""How long a stream may stay open after its answer. It should end at once, and closing it costs a new dial."""

FRESH_S: Final = 0.001
"""A peer that answered so recently has hardly closed since. In a burst of calls this saves a system call for each."""

_FULL: Final = b"HTTP/1.1 503"
"""What a server without free places sends before it reads anything."""

PLAIN_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
"""The beginning of nearly all answers of an instance; a length, an empty line and the body follow."""

_PLAIN_HEADERS: Final = {b"content-type": b"application/json"}

_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Response(msgspec.Struct, gc=False):
    """``body`` is empty for an event stream, whose events went to ``on_event``."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    is_framed: bool = True
    """False: it ended with the connection, so it may have been cut short."""


OnAnswer = Callable[[Response | TransportError], None]
OnEvent = Callable[[bytes], object]
"""Takes an event of the stream; returns true for the event with the answer."""
OnGranted = Callable[[int], None]
"""Takes the number of bytes that are granted; 0 if there is no memory."""


class Reservations(Protocol):
    """Memory for large answers; see `brummer.pool.memory_reservations`."""

    def reserve(self, size_bytes: int, on_granted: OnGranted, least_bytes: int | None = None) -> Callable[[], None]: ...


class HttpConnection:
    """Open with `HttpConnection.open`. ``on_close`` is called once, as soon as the connection is unusable.

    ``reservations``: memory for large answers, asked before one is read.
    """

    # CPython 3.11 makes attribute access slow in a class with more than 30 attributes, unless they are slots.
    __slots__ = (
        "_body", "_body_bytes", "_events", "_head_bytes", "_headers", "_in_body", "_limit_bytes", "_loop",
        "_on_answer", "_on_bytes", "_on_close", "_on_event", "_parser", "_parsing", "_release", "_response",
        "_reusable", "_room_bytes", "_secure", "_sent", "_sock", "_stream_end", "_unsent", "_waits_for_memory",
        "calls", "closed", "heard_s", "lacked_memory", "local_port", "opened_at", "reservations", "was_hung_up",
    )  # fmt: skip

    def __init__(
        self,
        sock: socket.socket,
        *,
        limit_bytes: int,
        on_close: Callable[["HttpConnection"], None],
        reservations: Reservations | None = None,
    ) -> None:
        self._sock = sock
        self._limit_bytes = limit_bytes
        self.reservations = reservations
        self._release: Callable[[], None] | None = None
        self._waits_for_memory = False
        self._room_bytes = sys.maxsize
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._on_answer: OnAnswer | None = None
        self._on_event: OnEvent | None = None
        self._on_bytes: Callable[[], None] | None = None
        self._response: Response | None = None
        self._events: EventDecoder | None = None
        self._unsent: bytes | memoryview = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = self._head_bytes = 0
        self._parsing = self._in_body = False
        self._stream_end: asyncio.TimerHandle | None = None
        self._sent = False
        self._reusable = True
        self.closed = False
        self.opened_at = 0.0
        """Set by the code that opened it, on any clock."""
        self.calls = 0
        self.was_hung_up = False
        """The peer has closed it in an orderly way while it carried no request."""
        self.lacked_memory = False
        """It was closed because its answer found no memory here."""
        self.heard_s = float("-inf")
        """When it last brought an answer, in loop time."""
        self.local_port: int = sock.getsockname()[1]
        self._secure = sock if isinstance(sock, ssl.SSLSocket) else None
        self._loop.add_reader(sock, self._on_readable)

    @classmethod
    async def open(  # noqa: PLR0913 — the address, and by name what bounds it
        cls,
        host: str,
        port: int,
        *,
        timeout_s: float,
        limit_bytes: int,
        on_close: Callable[["HttpConnection"], None],
        reservations: Reservations | None = None,
        descriptors: int = sys.maxsize,
        tls: ssl.SSLContext | None = None,
        sockets: Sockets | None = None,
    ) -> "HttpConnection":
        """Connect, as `dial` does; raises `TransportError`."""
        sock = await dial(host, port, timeout_s=timeout_s, descriptors=descriptors, tls=tls, sockets=sockets)
        try:
            return cls(sock, limit_bytes=limit_bytes, on_close=on_close, reservations=reservations)
        except OSError as error:  # lost in this moment: on some systems getsockname then fails
            sock.close()
            raise socket_error(error, sent=False) from None

    def __repr__(self) -> str:
        state = "closed" if self.closed else "busy" if self.busy else "idle"
        return f"<HttpConnection {state} port={self.local_port} calls={self.calls}>"

    @property
    def busy(self) -> bool:
        return self._on_answer is not None

    async def exchange(
        self, request: bytes, on_event: OnEvent | None = None, on_bytes: Callable[[], None] | None = None
    ) -> Response:
        """Send one request and return its response; an event stream's events go to ``on_event`` as they come.

        ``on_bytes`` is called for every part of the response's body that arrives, such as a comment of an event stream.
        After the event with the answer, the stream has `STREAM_END_S` to end.

        Raises `TransportError`. Cancelling it closes the connection, because the answer is still on its way.
        """
        answered: asyncio.Future[Response] = self._loop.create_future()

        def on_answer(outcome: Response | TransportError) -> None:
            if answered.done():
                return
            if isinstance(outcome, TransportError):
                answered.set_exception(outcome)
            else:
                answered.set_result(outcome)

        try:
            self.send(request, on_answer, on_event, on_bytes)
            return await answered
        except BaseException:
            answered.cancel()
            self.close()
            raise

    def send(
        self,
        request: bytes,
        on_answer: OnAnswer,
        on_event: OnEvent | None = None,
        on_bytes: Callable[[], None] | None = None,
    ) -> None:
        """As `exchange`, without a task: ``on_answer`` gets the response or the error, once, and must not raise.

        An error may come before this returns. Raises `TransportError` where nothing was sent.
        """
        if self.closed or self._loop.time() - self.heard_s > FRESH_S:
            self._notice_what_came()
        self._on_answer, self._on_event, self._sent = on_answer, on_event, False
        self._on_bytes = on_bytes
        self._head_bytes, self._parsing, self._in_body = 0, False, False
        self.calls += 1
        self._unsent = request
        self._send()

    def _notice_what_came(self) -> None:
        """Check for a close that the loop has not reported yet: a request that is not sent has a known outcome.

        Raises ConnectionClosed, and BadAnswer if the peer has sent bytes without a request.
        """
        if self.closed:
            raise ConnectionClosed("the connection is closed", sent=False)
        if self._secure is not None:
            return
        try:
            came = self._sock.recv(len(_FULL), socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            came = b""
        self.close()
        if came:
            status = {"status": status_codes.UNAVAILABLE} if came == _FULL else {}
            raise BadAnswer("the peer sent bytes without a request", sent=False, **status)
        raise ConnectionClosed("the connection is closed", sent=False)

    def close(self) -> None:
        """Close at once; safe at any time. A request that waits for its answer fails with `ConnectionClosed`."""
        if not self.closed:
            self._fail(ConnectionClosed("the connection was closed", sent=self._sent))

    def hand_over(self) -> socket.socket:
        """The socket, for another protocol than HTTP, while no request is under way: it is the caller's from now on."""
        sock = self._sock.dup()
        self.close()
        return sock

    def _fail(self, error: TransportError) -> None:
        """Close, and give the error to the waiter, or the answer if that was complete."""
        on_answer, self._on_answer = self._on_answer, None
        self._on_event = self._on_bytes = None  # they may hold an answer of many megabytes
        outcome: Response | TransportError = error
        if self._stream_end is not None:
            outcome = self._whole()
            self._drop_stream_end(self._stream_end)
        self.closed = True
        if self._release is not None:
            self._give_room_back(self._release)
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        del self._parser  # it holds us too: such a circle would stay until a full collection, which is hours away
        self._on_close(self)
        if on_answer is not None:
            on_answer(outcome)

    def _deliver(self, response: Response) -> None:
        on_answer, self._on_answer = self._on_answer, None
        self._on_event = self._on_bytes = None  # they may hold an answer of many megabytes
        self.heard_s = self._loop.time()
        if self._stream_end is not None:
            self._drop_stream_end(self._stream_end)
        if not self._reusable:
            self.close()
        if self._release is not None:
            self._give_room_back(self._release)
        if on_answer is not None:
            on_answer(response)

    # Writing.

    def _send(self) -> None:
        try:
            while self._unsent:
                sent_bytes = self._sock.send(self._unsent)
                self._sent = True
                self._unsent = b"" if sent_bytes == len(self._unsent) else memoryview(self._unsent)[sent_bytes:]
        except _NOT_NOW:
            self._loop.add_writer(self._sock, self._on_writable)
        except OSError as error:
            self._fail(socket_error(error, sent=self._sent))

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._sock)
        self._send()

    # Reading.

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except _NOT_NOW:
            return
        except OSError as error:
            self._fail(socket_error(error, sent=self._sent))
            return
        if self._secure is not None and self._secure.pending():
            self._loop.call_soon(self._read_on)
        if not data:
            self._on_end()
        elif self._on_answer is None:
            self._fail(BadAnswer("the peer sent bytes without a request", sent=self._sent))
        elif (response := self._plain_answer(data)) is not None:
            self._deliver(response)
        else:
            self._parse(data)
            if self._on_answer is not None:
                self._loop.call_soon(self._read_on)

    def _plain_answer(self, data: bytes) -> Response | None:
        """An answer in one piece that begins exactly as an instance writes it needs no parser."""
        if self._parsing or not data.startswith(PLAIN_HEAD):
            return None
        length, _, body = data[len(PLAIN_HEAD) :].partition(b"\r\n\r\n")
        if length != b"%d" % len(body) or len(body) > self._limit_bytes or self._unsent:
            return None
        return Response(status_codes.OK, _PLAIN_HEADERS, body)

    def _read_on(self) -> None:
        """Read again without a wakeup: TLS may hold decrypted data, or a reset may have come with the data.

        libuv, and so uvloop, stops watching a socket in error and reports that only once (uv__poll_io).
        """
        if not self.closed and not self._waits_for_memory:
            self._on_readable()

    def _on_end(self) -> None:
        """The end of the connection ends an answer without a length: RFC 9112 §6.3."""
        self.was_hung_up = self._on_answer is None
        framed = b"content-length" in self._headers or b"transfer-encoding" in self._headers
        if self._in_body and not framed:
            self._reusable = False
            response = self._whole()
            response.is_framed = False
            self._deliver(response)
        else:
            self._fail(ConnectionClosed("the peer closed the connection", sent=self._sent))

    def _parse(self, data: bytes) -> None:
        self._parsing = True
        failure: TransportError | None = None
        try:
            self._parser.feed_data(data)
            if not self._in_body and self._response is None:
                self._count_head(len(data))
        except Exception as error:  # noqa: BLE001 — httptools wraps whatever our callbacks raise
            cause = error.__context__
            malformed = BadAnswer(f"malformed answer: {cause or error}", sent=self._sent)
            failure = cause if isinstance(cause, TooLarge) else malformed
            self.lacked_memory = isinstance(cause, NoRoom)
        response, self._response = self._response, None
        if response is not None:
            self._reusable = self._reusable and failure is None
            self._deliver(response)
        elif failure is not None and not self.closed:
            self._fail(failure)

    def on_message_begin(self) -> None:
        if self._response is not None:
            raise ValueError("the peer sends more answers than there were requests")
        self._headers, self._body, self._body_bytes, self._events = {}, [], 0, None
        self._in_body = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        self._headers[name.lower()] = value

    def _count_head(self, size: int) -> None:
        """Counts bytes twice that came in several pieces: the parser reports a header only when it is complete."""
        self._head_bytes += size
        if self._head_bytes > ANSWER_HEADERS_BYTES:
            raise ValueError(f"headers exceed {ANSWER_HEADERS_BYTES} bytes")

    def on_headers_complete(self) -> None:
        self._in_body = True
        if self._headers.get(b"content-type", b"").lower().startswith(b"text/event-stream"):
            self._events = EventDecoder(self._limit_bytes)
        elif (length := int(self._headers.get(b"content-length", b"0"))) >= LARGE_BYTES:
            self._check_size(length)
            self._ask_for_memory(length)

    def on_body(self, body: bytes) -> None:
        if self._on_bytes is not None:
            self._on_bytes()
        if self._events is not None:
            self._on_events(self._events, body)
            return
        self._body_bytes += len(body)
        self._check_size(self._body_bytes)
        self._body.append(body)
        self._check_memory(self._body_bytes)

    def _on_events(self, events: EventDecoder, body: bytes) -> None:
        for event in events.feed(body):
            if self._on_event is not None and self._on_event(event) and self._stream_end is None:
                self._stream_end = self._loop.call_later(STREAM_END_S, self.close)
        if self._stream_end is not None:
            return
        if events.held_bytes >= LARGE_BYTES:
            self._check_memory(events.held_bytes)
        elif self._release is not None:  # the large event has been passed on
            self._give_room_back(self._release)

    def _check_memory(self, held_bytes: int) -> None:
        """Once an answer of unknown length is large, ask for memory for its largest possible size."""
        if held_bytes > self._room_bytes:
            raise _no_room()
        if held_bytes >= LARGE_BYTES and self._release is None:
            self._ask_for_memory(self._limit_bytes, min(2 * held_bytes, self._limit_bytes))

    def on_message_complete(self) -> None:
        self._in_body = False
        if self._parser.get_status_code() >= status_codes.OK:  # 1xx: the answer is yet to come
            self._reusable = self._parser.should_keep_alive() and not self._unsent
            self._response = self._whole()

    def _drop_stream_end(self, timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._stream_end = None

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            what = f"the answer exceeds {self._limit_bytes} bytes"
            raise TooLarge(what, sent=True, limit_bytes=self._limit_bytes)

    def _ask_for_memory(self, size_bytes: int, least_bytes: int | None = None) -> None:
        """Reserve memory for a large answer. Until it is granted, the answer stays in the kernel."""
        if self.reservations is not None:
            self._waits_for_memory = True
            self._release = self.reservations.reserve(size_bytes, self._on_granted, least_bytes)
            if self._waits_for_memory:
                self._loop.remove_reader(self._sock)

    def _on_granted(self, room_bytes: int) -> None:
        self._waits_for_memory = False
        self._room_bytes = room_bytes
        if room_bytes:
            self._loop.add_reader(self._sock, self._on_readable)
            self._loop.call_soon(self._read_on)
        else:
            self.lacked_memory = True
            self._fail(_no_room())

    def _give_room_back(self, release: Callable[[], None]) -> None:
        self._room_bytes, self._release = sys.maxsize, None
        release()
        if self._waits_for_memory:  # the answer was complete before the memory was granted
            self._waits_for_memory = False
            self._loop.add_reader(self._sock, self._on_readable)

    def _whole(self) -> Response:
        parts, self._body = self._body, []  # else an idle connection would keep its last answer
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return Response(self._parser.get_status_code(), self._headers, body)


def _no_room() -> NoRoom:
    return NoRoom("there is not enough memory for the answer (memory_hard)", sent=True)
