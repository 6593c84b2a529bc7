"""The client connection, against our own server and against peers that do as they like."""

import asyncio
import contextlib
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from brummer.core.errors import (
    BadAnswer,
    ConnectionClosed,
    ConnectionRefused,
    ConnectionReset,
    NameNotFound,
    TimedOut,
    TooLarge,
    TransportError,
)
from brummer.wire.http import connection as module
from brummer.wire.http import tcp_options
from brummer.wire.http.connection import HttpConnection, Response
from brummer.wire.http.server import Exchange
from brummer.wire.http.sse import KEEP_ALIVE, encode_event

from .wire_support import WAIT_S, serving, until

pytest_plugins = ("tests.unit.wire_loops",)

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
RESET = b"\x01\0\0\0\0\0\0\0"  # struct linger: on, no time at all

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Watched:
    """A connection, and how often it said that it had closed."""

    def __init__(self) -> None:
        self.closes: list[HttpConnection] = []
        self.closed = asyncio.Event()

    def on_close(self, connection: HttpConnection) -> None:
        self.closes.append(connection)
        self.closed.set()

    async def open(self, port: int, limit_bytes: int = 1 << 20) -> HttpConnection:
        return await HttpConnection.open(
            "127.0.0.1", port, timeout_s=WAIT_S, limit_bytes=limit_bytes, on_close=self.on_close
        )


@contextlib.asynccontextmanager
async def facing(peer: Peer, *, limit_bytes: int = 1 << 20) -> AsyncIterator[tuple[HttpConnection, Watched]]:
    """A connection to a peer that is the test's own."""
    done = asyncio.Event()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        finally:
            writer.close()
            done.set()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    watched = Watched()
    connection = await watched.open(server.sockets[0].getsockname()[1], limit_bytes)
    try:
        yield connection, watched
    finally:
        connection.close()
        server.close()
        async with asyncio.timeout(WAIT_S):
            await done.wait()
        assert watched.closes == [connection]


def saying(*pieces: bytes, close: bool = False) -> Peer:
    """A peer that answers the first request with these pieces, one at a time, and then stays until it is left."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if not close:
            with contextlib.suppress(ConnectionError):
                await reader.read()

    return peer


async def asked(connection: HttpConnection, request: bytes = GET, events: list[bytes] | None = None) -> Response:
    async with asyncio.timeout(WAIT_S):
        return await connection.exchange(request, None if events is None else events.append)


# Against our own server.


async def echo(exchange: Exchange) -> None:
    exchange.respond(200, exchange.request.body, [(b"X-Seen", exchange.request.method)])


def test_a_connection_has_only_slots_because_access_to_more_than_30_other_attributes_is_slow() -> None:
    assert HttpConnection.__dictoffset__ == 0


async def test_hundreds_of_requests_go_over_one_connection() -> None:
    watched = Watched()
    async with serving(echo) as (server, port):
        connection = await watched.open(port)
        local_port = connection.local_port
        for number in range(500):
            body = b"%d" % number
            response = await asked(connection, b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            assert (response.status, response.body, response.headers[b"x-seen"]) == (200, body, b"POST")
        assert connection.local_port == local_port
        assert connection.calls == 500
        assert len(server.connections) == 1
        connection.close()
        connection.close()
        assert watched.closes == [connection]


async def test_large_bodies_go_through_in_both_directions() -> None:
    body = bytes(range(256)) * 40_000
    watched = Watched()
    async with serving(echo, limit_bytes=len(body)) as (_, port):
        connection = await watched.open(port, limit_bytes=len(body))
        head = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
        for _ in range(2):
            assert (await asked(connection, head + body)).body == body
        connection.close()


async def test_an_answer_that_comes_in_one_large_piece_leaves_the_connection_open() -> None:
    body = b"x" * (module.READ_BYTES - 1000)

    async def large(exchange: Exchange) -> None:
        exchange.respond(200, body)

    watched = Watched()
    async with serving(large) as (_, port):
        connection = await watched.open(port)
        for _ in range(20):
            assert (await asked(connection)).body == body
        assert not watched.closes
        connection.close()


async def test_an_answer_that_comes_before_the_request_is_sent_is_taken_and_the_connection_left() -> None:
    body = b"x" * 20_000_000
    watched = Watched()
    async with serving(echo, limit_bytes=1000) as (_, port):
        connection = await watched.open(port)
        response = await asked(connection, b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        assert response.status == 413
        assert connection.closed
        assert watched.closes == [connection]


async def test_a_server_that_closes_is_noticed_at_once() -> None:
    watched = Watched()
    async with serving(echo) as (server, port):
        connection = await watched.open(port)
        await asked(connection)
        await server.close()
        async with asyncio.timeout(WAIT_S):
            await watched.closed.wait()
        with pytest.raises(ConnectionClosed) as caught:
            await asked(connection)
        assert caught.value.sent is False


async def test_its_socket_can_be_handed_over_for_another_protocol() -> None:
    watched = Watched()
    async with serving(echo) as (_, port):
        connection = await watched.open(port)
        await asked(connection)
        with connection.hand_over() as sock:
            assert watched.closes == [connection]
            reader, writer = await asyncio.open_connection(sock=sock)
            writer.write(GET)
            async with asyncio.timeout(WAIT_S):
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()


async def test_a_close_that_the_loop_has_not_told_yet_is_noticed_before_sending() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    watched = Watched()
    connection = await watched.open(listener.getsockname()[1])
    peer, _ = listener.accept()
    peer.close()
    with pytest.raises(ConnectionClosed) as caught:
        await connection.exchange(GET)
    assert caught.value.sent is False
    assert watched.closes == [connection]
    listener.close()


async def test_who_spoke_first_is_told_nothing_though_the_loop_has_not_heard_him_yet() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    connection = await Watched().open(listener.getsockname()[1])
    peer, _ = listener.accept()
    peer.sendall(b"220 mail.example ESMTP\r\n")
    with pytest.raises(BadAnswer, match="without a request") as caught:
        await connection.exchange(GET)
    assert caught.value.sent is False
    assert connection.closed
    with pytest.raises(ConnectionResetError):  # closed with his words unread, and not a byte of ours before
        peer.recv(1)
    peer.close()
    listener.close()


async def test_the_events_of_a_stream_come_as_they_are_sent() -> None:
    more = asyncio.Event()

    async def stream(exchange: Exchange) -> None:
        exchange.start_stream(200, [(b"content-type", b"Text/Event-Stream; charset=utf-8")])
        exchange.send(encode_event(b"one") + KEEP_ALIVE)
        await more.wait()
        exchange.send(encode_event(b"two"))
        exchange.end()

    watched = Watched()
    events: list[bytes] = []
    async with serving(stream) as (_, port):
        connection = await watched.open(port)
        answer = asyncio.create_task(asked(connection, events=events))
        await until(lambda: events)
        assert events == [b"one"]
        assert connection.busy
        more.set()
        assert (await answer).body == b""
        assert events == [b"one", b"two"]
        assert not connection.busy
        assert (await asked(connection, events=events)).status == 200
        connection.close()


async def test_a_cancelled_exchange_closes_because_its_answer_is_on_its_way() -> None:
    gone, started = asyncio.Event(), asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        exchange.on_peer_gone(gone.set)
        started.set()
        await gone.wait()

    watched = Watched()
    async with serving(hold) as (_, port):
        connection = await watched.open(port)
        answer = asyncio.create_task(asked(connection))
        await started.wait()
        answer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answer
        assert connection.closed
        assert watched.closes == [connection]
        async with asyncio.timeout(WAIT_S):
            await gone.wait()


async def test_closing_a_connection_ends_the_exchange_on_it() -> None:
    async with facing(saying()) as (connection, _):
        answer = asyncio.create_task(asked(connection))
        await until(lambda: connection.busy)
        connection.close()
        with pytest.raises(ConnectionClosed) as caught:
            await answer
        assert caught.value.sent is True


# What peers may say.


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([OK], b"ok"),
        ([bytes([byte]) for byte in OK], b"ok"),
        (
            [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"2\r\nok\r\n1;x=y\r\n!\r\n", b"0\r\n\r\n"],
            b"ok!",
        ),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
        ([b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"], b""),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", OK], b"ok"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" + OK], b"ok"),
    ],
)
async def test_an_answer_is_read_however_it_is_framed_and_cut(pieces: list[bytes], body: bytes) -> None:
    async with facing(saying(*pieces)) as (connection, _):
        response = await asked(connection)
        assert response.body == body
        assert not connection.closed


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_an_answer_that_ends_the_connection_is_whole_and_leaves_it_closed(head: bytes) -> None:
    async with facing(saying(head, b"o", b"k", close=True)) as (connection, watched):
        response = await asked(connection)
        assert (response.status, response.body) == (200, b"ok")
        assert connection.closed
        assert watched.closes == [connection]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"SSH-2.0-OpenSSH_9.6\r\n"],
        [b"\x15\x03\x01\x00\x02\x02\x16"],
        [b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"],
        [b"HTTP/1.1 abc OK\r\n\r\n"],
        [module.PLAIN_HEAD + b"9" * 5000 + b"\r\n\r\n{}"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
        [b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n", b"x" * 1_500_000],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"10000\r\n%b\r\n" % (b"x" * 0x10000) * 40],
        [b"HTTP/1.1 200 OK\r\n", b"x-filler: 1234567890\r\n" * 10_000],
        [b"HTTP/1.1 200 OK\r\nx-filler: ", b"x" * 1_000_000],
        [b"HTTP/1.1 200 ", b"x" * 1_000_000],
        [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", b"data: " + b"x" * 1_500_000],
        [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", b"data: x\n" * 200_000],
    ],
)
async def test_an_answer_that_is_none_or_too_large_is_a_bad_answer(pieces: list[bytes]) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await saying(*pieces)(reader, writer)

    async with facing(peer, limit_bytes=200_000) as (connection, watched):
        with pytest.raises(BadAnswer) as caught:
            await asked(connection, events=[])
        assert caught.value.sent is True
        assert watched.closes == [connection]


async def test_an_event_that_its_listener_cannot_bear_is_a_bad_answer() -> None:
    def refuse(_: bytes) -> None:
        raise ValueError("not what was asked for")

    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    async with facing(saying(head, encode_event(b"x"))) as (connection, _):
        with pytest.raises(BadAnswer):
            await connection.exchange(GET, refuse)
        assert connection.closed


@pytest.mark.parametrize("more", [OK, b"HTTP/1.1 200 OK\r\ncontent-le", b"garbage", b"x"])
async def test_who_answers_more_than_was_asked_gets_no_second_question(more: bytes) -> None:
    async with facing(saying(OK + more)) as (connection, watched):
        assert (await asked(connection)).body == b"ok"
        async with asyncio.timeout(WAIT_S):
            await watched.closed.wait()


async def test_who_speaks_without_being_asked_is_left() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        with contextlib.suppress(ConnectionError):
            await reader.read()

    async with facing(peer) as (connection, watched):
        async with asyncio.timeout(WAIT_S):
            await watched.closed.wait()
        with pytest.raises(ConnectionClosed) as caught:
            await asked(connection)
        assert caught.value.sent is False


# What was sent, when the connection is lost.


async def test_a_refused_connection_has_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefused) as caught:
        await Watched().open(port)
    assert caught.value.sent is False


async def test_a_name_that_can_be_none_is_not_found() -> None:
    with pytest.raises(NameNotFound) as caught:
        await HttpConnection.open("a..b", 80, timeout_s=WAIT_S, limit_bytes=1, on_close=lambda _: None)
    assert caught.value.sent is False


async def test_a_connection_that_is_not_taken_in_time_has_sent_nothing() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        with pytest.raises(TimedOut) as caught:
            await HttpConnection.open("127.0.0.1", port, timeout_s=0.05, limit_bytes=1000, on_close=lambda _: None)
        assert caught.value.sent is False
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ],
)
async def test_a_peer_that_closes_before_it_has_answered_may_have_acted(said: bytes) -> None:
    async with facing(saying(said, close=True)) as (connection, watched):
        with pytest.raises(ConnectionClosed) as caught:
            await asked(connection)
        assert caught.value.sent is True
        assert watched.closes == [connection]


async def test_half_a_chunked_answer_is_none() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"
    async with facing(saying(head, close=True)) as (connection, _):
        with pytest.raises(ConnectionClosed):
            await asked(connection)


async def test_a_peer_that_resets_after_the_request_may_have_acted() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    async with facing(peer) as (connection, _):
        with pytest.raises(ConnectionReset) as caught:
            await asked(connection)
        assert caught.value.sent is True


async def test_a_peer_that_resets_in_the_middle_of_a_request_may_have_acted() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1000)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    async with facing(peer) as (connection, _):
        body = b"x" * 20_000_000
        with pytest.raises(TransportError) as caught:
            await asked(connection, b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        assert caught.value.sent is True


async def test_a_reset_of_an_idle_connection_is_noticed_at_once() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    watched = Watched()
    connection = await watched.open(listener.getsockname()[1])
    peer, _ = listener.accept()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    peer.close()
    async with asyncio.timeout(WAIT_S):
        await watched.closed.wait()
    with pytest.raises(ConnectionClosed) as caught:
        await connection.exchange(GET)
    assert caught.value.sent is False
    listener.close()


async def test_ipv6_works_where_there_is_some() -> None:
    if not socket.has_ipv6:
        pytest.skip("platform: no IPv6")
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("platform: no IPv6 on loopback")
    connection = await HttpConnection.open(
        "::1", listener.getsockname()[1], timeout_s=WAIT_S, limit_bytes=1000, on_close=lambda _: None
    )
    connection.close()
    listener.close()


async def test_its_state_is_there_to_see() -> None:
    async with facing(saying()) as (connection, _):
        assert "idle" in repr(connection)
        answer = asyncio.create_task(asked(connection))
        await until(lambda: connection.busy)
        assert "busy" in repr(connection)
        connection.close()
        with pytest.raises(ConnectionClosed):
            await answer
        assert "closed" in repr(connection)
        assert connection.calls == 1


@pytest.mark.promise("half-open-is-noticed")
async def test_the_kernel_watches_over_an_idle_connection() -> None:
    async with facing(saying()) as (connection, _):
        sock = connection._sock
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == tcp_options.KEEPALIVE_IDLE_S
        await asyncio.to_thread(sock.sendall, GET)  # lets the peer end


class ScriptedReservations:
    """Grants of memory that a test makes; a `Reservations`."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.left = 0
        self.least_bytes: int | None = None
        self.on_granted: Callable[[int], None] = lambda _: None

    def reserve(
        self, size_bytes: int, on_granted: Callable[[int], None], least_bytes: int | None = None
    ) -> Callable[[], None]:
        self.asked.append(size_bytes)
        self.least_bytes = least_bytes
        self.on_granted = on_granted
        return self._leave

    def _leave(self) -> None:
        self.left += 1


LARGE = 3 * module.LARGE_BYTES
LARGE_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (LARGE, b"x" * LARGE)


@contextlib.asynccontextmanager
async def unread_large_answer() -> AsyncIterator[tuple[HttpConnection, ScriptedReservations, "asyncio.Task[Response]"]]:
    reservations = ScriptedReservations()
    async with facing(saying(LARGE_ANSWER), limit_bytes=2 * LARGE) as (connection, _):
        connection.reservations = reservations
        exchange = asyncio.create_task(connection.exchange(GET))
        await until(lambda: bool(reservations.asked))
        yield connection, reservations, exchange


async def test_a_large_answer_waits_outside_until_there_is_room() -> None:
    async with unread_large_answer() as (connection, reservations, exchange):
        assert reservations.asked == [LARGE]
        assert connection._body_bytes < LARGE
        reservations.on_granted(LARGE)
        response = await asyncio.wait_for(exchange, WAIT_S)
        assert len(response.body) == LARGE
        assert reservations.left == 1
        assert connection._body == []
        assert not connection.closed


async def test_a_large_answer_without_room_is_too_large() -> None:
    async with unread_large_answer() as (connection, reservations, exchange):
        reservations.on_granted(0)
        with pytest.raises(TooLarge, match="memory"):
            await asyncio.wait_for(exchange, WAIT_S)
        assert connection.closed
        assert reservations.left == 1


async def test_whoever_gives_up_while_he_waits_for_room_leaves_it() -> None:
    async with unread_large_answer() as (connection, reservations, exchange):
        exchange.cancel()
        await asyncio.wait([exchange])
        assert connection.closed
        assert reservations.left == 1


async def test_an_answer_over_the_limit_is_refused_by_its_length_and_asks_for_no_room() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % LARGE
    async with facing(saying(head), limit_bytes=LARGE - 1) as (connection, _):
        connection.reservations = reservations = ScriptedReservations()
        with pytest.raises(TooLarge):
            await asyncio.wait_for(connection.exchange(GET), WAIT_S)
        assert reservations.asked == []


HALF = b"x" * (LARGE // 2)
PARTS = [b"%x\r\n%b\r\n" % (len(HALF), HALF)] * 2
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"


@contextlib.asynccontextmanager
async def of_unknown_length(
    *parts: bytes,
) -> AsyncIterator[tuple[HttpConnection, ScriptedReservations, "asyncio.Task[Response]"]]:
    reservations = ScriptedReservations()
    async with facing(saying(b"".join(parts)), limit_bytes=2 * LARGE) as (connection, _):
        connection.reservations = reservations
        exchange = asyncio.create_task(connection.exchange(GET, lambda event: event == b"answer"))
        await until(lambda: bool(reservations.asked))
        yield connection, reservations, exchange


async def test_a_large_answer_in_chunks_waits_and_asks_for_its_largest_possible_size() -> None:
    async with of_unknown_length(CHUNKED, b"\r\n", *PARTS, b"0\r\n\r\n") as (connection, reservations, exchange):
        assert reservations.asked == [2 * LARGE]
        assert reservations.least_bytes is not None
        assert module.LARGE_BYTES <= connection._body_bytes < reservations.least_bytes <= 2 * LARGE
        reservations.on_granted(2 * LARGE)
        response = await asyncio.wait_for(exchange, WAIT_S)
        assert response.body == 2 * HALF
        assert (reservations.asked, reservations.left, connection.closed) == ([2 * LARGE], 1, False)


async def test_an_answer_in_chunks_that_outgrows_its_room_is_too_large() -> None:
    async with of_unknown_length(CHUNKED, b"\r\n", *PARTS, b"0\r\n\r\n") as (connection, reservations, exchange):
        reservations.on_granted(LARGE - 1)
        with pytest.raises(TooLarge, match="memory"):
            await asyncio.wait_for(exchange, WAIT_S)
        assert (reservations.left, connection.closed) == (1, True)


async def test_a_large_event_releases_its_room_when_it_was_passed_on_and_the_answer_asks_anew() -> None:
    event = b"data: " + b"x" * LARGE + b"\n\n"
    body = event + event + b"data: answer\n\n"
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = CHUNKED + b"content-type: text/event-stream\r\n\r\n"
    async with of_unknown_length(head, chunks) as (connection, reservations, exchange):
        reservations.on_granted(2 * LARGE)
        await until(lambda: len(reservations.asked) == 2)
        assert reservations.left == 1
        reservations.on_granted(2 * LARGE)
        await asyncio.wait_for(exchange, WAIT_S)
        assert (reservations.asked, reservations.left, connection.closed) == ([2 * LARGE] * 2, 2, False)


async def test_an_answer_that_is_complete_before_it_gets_room_leaves_the_connection_usable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LARGE_BYTES", 4)
    reservations = ScriptedReservations()
    answer = CHUNKED + b"\r\n8\r\nxxxxxxxx\r\n0\r\n\r\n"

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        await reader.read()

    async with facing(twice) as (connection, _):
        connection.reservations = reservations
        for number in (1, 2):
            response = await asyncio.wait_for(connection.exchange(GET), WAIT_S)
            assert (response.body, reservations.left) == (b"x" * 8, number)


async def test_an_idle_connection_keeps_no_bytes_of_the_last_answer() -> None:
    class Taking:
        def __call__(self, event: bytes) -> bool:
            self.event = event
            return True

    body = b"data: answer\n\n"
    stream = b"%bcontent-type: text/event-stream\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (CHUNKED, len(body), body)
    async with facing(saying(stream)) as (connection, _):
        taking = Taking()
        gone = weakref.ref(taking)
        await asyncio.wait_for(connection.exchange(GET, taking), WAIT_S)
        assert taking.event == b"answer"
        del taking
        assert not connection.closed
        assert gone() is None
