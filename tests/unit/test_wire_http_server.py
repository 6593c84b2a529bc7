"""The HTTP server against bare sockets: order, bounds, and what becomes of a request whose peer misbehaves."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from brummer.wire.http import server as module
from brummer.wire.http import tcp_options
from brummer.wire.http.server import Admit, Exchange, HttpRequest, HttpServer, Refusal, ServerLimits

from .wire_support import LIMIT_BYTES, WAIT_S, RawClient, connected, serving, until

pytest_plugins = ("tests.unit.wire_loops",)

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


class Handler:
    """Echoes; ``/wait`` waits for `release`, ``/stream`` for an item per chunk, ``/fail`` fails."""

    def __init__(self) -> None:
        self.seen: list[module.HttpRequest] = []
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.gone = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        self.seen.append(request)
        self.started.set()
        match request.target:
            case b"/wait":
                exchange.on_peer_gone(self.gone.set)
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
                exchange.respond(200, b"waited")
            case b"/stream":
                exchange.start_stream(200, [(b"content-type", b"text/plain")])
                while chunk := await self.chunks.get():
                    exchange.send(chunk)
                exchange.end()
            case b"/fail":
                raise RuntimeError("a defect")
            case b"/fail-late":
                exchange.start_stream(200)
                exchange.send(b"half")
                raise RuntimeError("a defect")
            case b"/none":
                exchange.respond(204)
            case b"/large":
                exchange.respond(200, b"x" * 200_000)
            case _:
                exchange.respond(200, b"%b %b %b" % (request.method, request.target, request.body))


@contextlib.asynccontextmanager
async def served(
    limit_bytes: int = LIMIT_BYTES, admit: Admit | None = None, **limits: float
) -> AsyncIterator[tuple[Handler, RawClient, HttpServer]]:
    handler = Handler()
    bounds = msgspec.convert(limits, ServerLimits)
    async with (
        serving(handler, limit_bytes=limit_bytes, admit=admit, limits=bounds) as (server, port),
        connected(port) as client,
    ):
        yield handler, client, server


def request(target: str = "/", method: str = "GET", body: bytes = b"", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    length = f"content-length: {len(body)}\r\n" if body else ""
    return f"{method} {target} HTTP/1.1\r\nhost: a\r\n{lines}{length}\r\n".encode() + body


# Another protocol.


class Upper:
    """Switches to a protocol in which each piece comes back in capitals, until ``.``; ``!`` is answered with much."""

    def __init__(self) -> None:
        self.seen = b""
        self.over = asyncio.Event()
        self.was_stalled = asyncio.Event()
        self.is_writable_again = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.request.target != b"/up":
            exchange.respond(200, b"plain")
            return
        self.connection = exchange.switch(b"upper", self._on_data, self.is_writable_again.set)
        exchange.on_peer_gone(self.over.set)
        await self.over.wait()

    def _on_data(self, data: bytes) -> None:
        self.seen += data
        if b"!" in data:
            while self.connection.is_writable:
                self.connection.write(b"X" * 65_536)
            self.was_stalled.set()
        self.connection.write(data.upper())
        if b"." in data:
            self.over.set()


UP = request("/up", connection="upgrade", upgrade="upper")


@pytest.fixture
async def upper() -> AsyncIterator[tuple[Upper, RawClient]]:
    handler = Upper()
    async with serving(handler) as (_, port), connected(port) as client:
        yield handler, client


async def test_a_handler_may_switch_to_another_protocol_until_it_returns(upper: tuple[Upper, RawClient]) -> None:
    handler, client = upper
    client.send(GET)
    assert (await client.answer()).body == b"plain"
    client.send(UP)
    answer = await client.answer()
    assert (answer.status, answer.headers["upgrade"], answer.headers["connection"]) == (101, "upper", "upgrade")
    client.send(b"get /\r\n\r\n")
    assert await client.reader.readexactly(9) == b"GET /\r\n\r\n"
    client.send(b"the end.")
    assert await client.rest() == b"THE END."
    handler.connection.write(b"more")
    handler.connection.pause_reading()
    handler.connection.resume_reading()


async def test_a_peer_that_does_not_read_is_seen_and_so_is_its_return(upper: tuple[Upper, RawClient]) -> None:
    handler, client = upper
    client.send(UP)
    await client.answer()
    client.send(b"!")
    await handler.was_stalled.wait()
    assert not handler.connection.is_writable
    async with asyncio.timeout(WAIT_S):
        while not handler.is_writable_again.is_set():
            await client.reader.read(1 << 20)
    assert handler.connection.is_writable


async def test_a_switched_connection_can_be_held_back_and_its_loss_is_reported(upper: tuple[Upper, RawClient]) -> None:
    handler, client = upper
    client.send(UP)
    await client.answer()
    handler.connection.pause_reading()
    client.send(b"later")
    client.send(b"!")
    for _ in range(10):
        await asyncio.sleep(0)
    assert handler.seen == b""
    handler.connection.resume_reading()
    await until(lambda: b"later" in handler.seen)
    client.writer.close()
    async with asyncio.timeout(WAIT_S):
        await handler.over.wait()


# Requests and their order.


async def test_one_connection_serves_hundreds_of_requests() -> None:
    async with served() as (_, client, server):
        for number in range(500):
            client.send(request(f"/{number}", "POST", b"body"))
            assert (await client.answer()).body == b"POST /%d body" % number
        assert len(server.connections) == 1


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with served() as (_, client, _):
        client.send(b"".join(request(f"/{number}") for number in range(1000)))
        for number in range(1000):
            assert (await client.answer()).body == b"GET /%d " % number


async def test_a_pipelined_request_waits_for_the_one_before() -> None:
    async with served() as (handler, client, _):
        client.send(request("/wait") + request("/next"))
        await handler.started.wait()
        client.send(request("/last"))
        await asyncio.sleep(0.01)
        assert len(handler.seen) == 1
        handler.release.set()
        assert [(await client.answer()).body for _ in range(3)] == [b"waited", b"GET /next ", b"GET /last "]


async def test_a_request_may_come_byte_by_byte() -> None:
    async with served() as (_, client, _):
        for byte in request("/slow", "POST", b"body", X_Header="  spaced  "):
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer()).body == b"POST /slow body"


async def test_header_names_come_in_lower_case_and_repeated_ones_joined() -> None:
    async with served() as (handler, client, _):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Twice: 1\r\nx-tWICE:  2 \r\nX-Empty:\r\n\r\n")
        await client.answer()
        assert handler.seen[0].headers == {b"host": b"a", b"x-twice": b"1, 2", b"x-empty": b""}


async def test_a_chunked_request_is_put_together_and_its_trailers_are_no_headers() -> None:
    async with served() as (handler, client, _):
        client.send(request("/", "POST", transfer_encoding="chunked"))
        client.send(b"4;ext=1\r\nWiki\r\n5\r\npedia\r\n0\r\nAuthorization: forged\r\n\r\n" + GET)
        assert (await client.answer()).body == b"POST / Wikipedia"
        assert b"authorization" not in handler.seen[0].headers
        assert (await client.answer()).body == b"GET / "


async def test_a_client_that_asks_whether_to_go_on_is_told_so() -> None:
    async with served() as (_, client, _):
        head, _, body = request("/", "POST", b"body", expect="100-continue").partition(b"body")
        client.send(head)
        assert (await client.answer(has_body=False)).status == 100
        client.send(b"body")
        assert (await client.answer()).body == b"POST / body"
        assert body == b""


async def test_a_client_that_does_not_wait_for_that_gets_one_answer() -> None:
    async with served() as (handler, client, _):
        client.send(request("/wait") + request("/", "POST", b"body", expect="100-continue"))
        await handler.started.wait()
        handler.release.set()
        assert [(await client.answer()).body for _ in range(2)] == [b"waited", b"POST / body"]


async def test_the_word_to_go_on_waits_for_the_answer_before_it() -> None:
    async with served() as (handler, client, _):
        client.send(request("/stream"))
        client.send(request("/", "POST", b"body", expect="100-continue")[:-4])
        await handler.started.wait()
        await handler.chunks.put(b"one")
        await asyncio.sleep(0.01)
        await handler.chunks.put(b"two")
        await handler.chunks.put(None)
        assert (await client.answer()).body == b"onetwo"
        assert (await client.answer(has_body=False)).status == 100
        client.send(b"body")
        assert (await client.answer()).body == b"POST / body"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"])
async def test_the_handler_gets_every_method(method: str) -> None:
    async with served() as (_, client, _):
        client.send(request("/x?y", method) + GET)
        assert (await client.answer()).body == f"{method} /x?y ".encode()
        assert (await client.answer()).status == 200


async def test_the_answer_to_head_has_a_length_and_no_body() -> None:
    async with served() as (_, client, _):
        client.send(request("/", "HEAD") + GET)
        head = await client.answer(has_body=False)
        assert (head.status, head.headers["content-length"]) == (200, str(len("HEAD / ")))
        assert (await client.answer()).body == b"GET / "


async def test_an_answer_without_content_has_no_length() -> None:
    async with served() as (_, client, _):
        client.send(request("/none") + GET)
        none = await client.answer()
        assert none.status == 204
        assert "content-length" not in none.headers
        assert (await client.answer()).status == 200


async def test_an_offer_to_upgrade_is_passed_over() -> None:
    async with served() as (handler, client, _):
        upgrade = request("/up", connection="Upgrade, HTTP2-Settings", upgrade="h2c")
        client.send((upgrade + GET) * 300)
        for _ in range(300):
            assert (await client.answer()).body == b"GET /up "
            assert (await client.answer()).body == b"GET / "
        assert len(handler.seen) == 600


@pytest.mark.parametrize("more", [{}, {"transfer_encoding": "chunked"}])
async def test_an_offer_to_upgrade_with_a_body_is_refused_before_anything_runs(more: dict[str, str]) -> None:
    async with served() as (handler, client, _):
        client.send(request("/", "POST", b"" if more else b"ab", connection="Upgrade", upgrade="h2c", **more))
        assert (await client.answer()).status == 400
        assert handler.seen == []


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
    ],
)
async def test_a_connection_that_ends_with_its_answer_says_so(head: bytes) -> None:
    async with served() as (handler, client, server):
        client.send(head + GET)
        answer = await client.answer()
        assert answer.headers["connection"] == "close"
        assert await client.rest() == b""
        assert len(handler.seen) == 1
        await until(lambda: not server.connections)


async def test_a_stream_for_an_old_client_is_plain_bytes_up_to_the_end() -> None:
    async with served() as (handler, client, _):
        client.send(b"GET /stream HTTP/1.0\r\nhost: a\r\n\r\n")
        for chunk in (b"one", b"two", None):
            await handler.chunks.put(chunk)
        head = await client.answer(has_body=False)
        assert "transfer-encoding" not in head.headers
        assert await client.rest() == b"onetwo"


# What is refused.

REFUSED: dict[str, tuple[bytes, int]] = {
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not HTTP at all\r\n\r\n", 400),
    "no request line": (b"hello\r\n\r\n", 400),
    "a NUL in a header": (b"GET / HTTP/1.1\r\nhost: a\0b\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nhost\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
    "a length and chunks": (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n", 400),
    "a negative length": (b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
    "a length beyond all numbers": (b"POST / HTTP/1.1\r\ncontent-length: " + b"9" * 40 + b"\r\n\r\n", 400),
    "a bad chunk": (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", 400),
    "large headers": (b"GET / HTTP/1.1\r\n" + b"x-filler: 1234567890\r\n" * 5000, 431),
    "one large header": (b"GET / HTTP/1.1\r\nx-filler: " + b"x" * 100_000 + b"\r\n\r\n", 431),
    "one endless header": (b"GET / HTTP/1.1\r\nx-filler: " + b"x" * 1_000_000, 431),
    "an endless header name": (b"GET / HTTP/1.1\r\n" + b"x" * 1_000_000, 431),
    "an endless target": (b"GET /" + b"x" * 1_000_000, 431),
    "an endless trailer": (
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: " + b"x" * 1_000_000,
        431,
    ),
    "endless blank lines": (b"\r\n" * 500_000, 431),
    "a body over the limit": (b"POST / HTTP/1.1\r\ncontent-length: 2000000\r\n\r\n" + b"x" * 2_000_000, 413),
    "chunks over the limit": (
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + b"10000\r\n%b\r\n" % (b"x" * 0x10000) * 40,
        413,
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_what_is_refused_is_told_why_even_if_it_goes_on_sending(kind: str) -> None:
    data, status = REFUSED[kind]
    async with served(limit_bytes=1_000_000) as (handler, client, server):
        client.send(data)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert answer.body
        assert await client.rest() == b""
        await client.close()
        await until(lambda: not server.connections)
        assert handler.seen == []


async def test_a_body_of_just_the_limit_is_taken() -> None:
    async with served(limit_bytes=1000) as (_, client, _):
        client.send(request("/", "POST", b"x" * 1000))
        assert (await client.answer()).status == 200
        client.send(request("/", "POST", b"x" * 1001))
        assert (await client.answer()).status == 413


async def test_a_body_over_the_limit_is_refused_before_it_is_sent_if_the_client_asks() -> None:
    async with served(limit_bytes=1000) as (_, client, _):
        client.send(request("/", "POST", b"x" * 1001, expect="100-continue")[:-1001])
        assert (await client.answer()).status == 413


async def test_tiny_chunks_are_no_endless_header() -> None:
    async with served() as (_, client, _):
        client.send(request("/", "POST", transfer_encoding="chunked") + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")
        assert len((await client.answer()).body) == len("POST / ") + 50_000


@pytest.mark.parametrize(
    "begun", [b"G", b"GET / HTTP/1.1\r\nhost:", b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf"]
)
async def test_a_request_that_takes_too_long_is_refused(begun: bytes) -> None:
    async with served(request_s=0.02) as (_, client, server):
        client.send(GET)
        assert (await client.answer()).status == 200
        client.send(begun)
        assert (await client.answer()).status == 408
        assert await client.rest() == b""
        await client.close()
        await until(lambda: not server.connections)


async def test_an_idle_connection_is_kept() -> None:
    async with served(request_s=0.01) as (_, client, server):
        client.send(GET)
        await client.answer()
        await asyncio.sleep(0.05)
        client.send(GET)
        assert (await client.answer()).status == 200
        assert len(server.connections) == 1


async def test_a_slow_call_is_not_refused_for_a_request_that_waits_behind_it() -> None:
    async with served(request_s=0.02) as (handler, client, _):
        client.send(request("/wait") + b"GET /half HTTP/1.1\r\n")
        await handler.started.wait()
        await asyncio.sleep(0.1)
        handler.release.set()
        assert (await client.answer()).body == b"waited"
        assert (await client.answer()).status == 408


@pytest.mark.parametrize("garbage", [b"garbage\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"])
async def test_garbage_behind_a_request_is_refused_after_the_answer(garbage: bytes) -> None:
    async with served() as (handler, client, _):
        client.send(request("/wait") + request("/next") + garbage)
        await handler.started.wait()
        handler.release.set()
        assert [(await client.answer()).body for _ in range(2)] == [b"waited", b"GET /next "]
        assert (await client.answer()).status == 400
        assert await client.rest() == b""


async def test_a_refused_peer_that_stays_is_dropped() -> None:
    async with served(linger_s=0.02) as (_, client, server):
        client.send(b"garbage\r\n\r\n")
        assert (await client.answer()).status == 400
        await until(lambda: not server.connections)


async def test_proven_connections_over_the_limit_are_turned_away() -> None:
    handler = Handler()
    async with serving(handler, limits=ServerLimits(proven=2)) as (server, port):
        async with connected(port) as first, connected(port) as second:
            for client in (first, second):
                client.send(GET)
                assert (await client.answer()).status == 200
            async with connected(port) as third:
                third.send(GET)
                assert (await third.answer()).status == 503
                assert await third.rest() == b""
        await until(lambda: not server.connections)
        async with connected(port) as fourth:
            fourth.send(GET)
            assert (await fourth.answer()).status == 200


# Unproven connections.

SECRET = b"secret"
NO = Refusal(401, b"no", ((b"www-authenticate", b"Bearer"),))


def admit(request: HttpRequest) -> bool | Refusal:
    """``/open`` needs no secret, and proves nothing."""
    if request.headers.get(b"authorization") == SECRET:
        return True
    return False if request.target == b"/open" else NO


PROVEN = request("/", authorization=SECRET.decode())

BEGINNINGS = {
    "silent": b"",
    "half a request": b"POST / HTTP/1.1\r\nhost: a\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "blank lines": b"\r\n\r\n",
    "a request without the secret": GET,
    "a body without the secret": request("/", "POST", b"x" * 1000)[:-1],
    "an open request": request("/open"),
}


@pytest.mark.promise("floods-of-connections")
@pytest.mark.parametrize("beginning", BEGINNINGS)
async def test_any_number_of_unproven_connections_leaves_room_for_others(beginning: str) -> None:
    handler = Handler()
    async with (
        serving(handler, admit=admit, limits=ServerLimits(proven=2, unproven=4)) as (server, port),
        connected(port) as early,
        contextlib.AsyncExitStack() as stack,
    ):
        early.send(PROVEN)
        assert (await early.answer()).status == 200
        for _ in range(20):
            other = await stack.enter_async_context(connected(port))
            other.send(BEGINNINGS[beginning])
        await until(lambda: len(server.connections) <= 1 + 4)
        late = await stack.enter_async_context(connected(port))
        for client in (early, late, early):
            client.send(PROVEN)
            assert (await client.answer()).status == 200


async def turns() -> None:
    """So many of the loop that what was sent before has been read."""
    for _ in range(100):
        await asyncio.sleep(0)


async def test_a_connection_whose_head_comes_in_pieces_keeps_its_place_meanwhile() -> None:
    async with (
        serving(Handler(), admit=admit, limits=ServerLimits(unproven=1, unproven_s=WAIT_S, grace_s=0.0)) as (
            server,
            port,
        ),
        connected(port) as client,
    ):
        client.send(PROVEN[:30])
        await until(lambda: bool(server.connections))
        await turns()  # in which it is read
        server.places.grace_s = WAIT_S
        async with connected(port) as other:
            other.send(BEGINNINGS["half a request"])
            await turns()
            client.send(PROVEN[30:])
            assert (await client.answer()).status == 200


async def test_the_oldest_silent_connection_is_replaced() -> None:
    async with (
        serving(Handler(), admit=admit, limits=ServerLimits(unproven=1, grace_s=0.01)) as (_, port),
        contextlib.AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(connected(port)) for _ in range(10)]
        clients[-1].send(PROVEN)
        assert (await clients[-1].answer()).status == 200
        for client in clients[:-1]:
            assert await client.rest() == b""


async def test_a_connection_that_sends_at_once_is_read_before_it_could_be_dropped() -> None:
    """All come in one turn of the loop, and the request of the first is there by then."""
    async with serving(Handler(), admit=admit, limits=ServerLimits(unproven=1)) as (_, port):
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            first.sendall(PROVEN)
            for _ in range(20):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            first.setblocking(False)
            async with asyncio.timeout(WAIT_S):
                answer = await asyncio.get_running_loop().sock_recv(first, 1000)
            assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("soft", "kept"), [(20, 2), (64, 8), (10**6, 9)])
async def test_unproven_connections_take_a_small_share_of_the_open_files(soft: int, kept: int) -> None:
    async with (
        serving(Handler(), admit=admit, limits=ServerLimits(unproven=9, open_files=soft)) as (server, port),
        contextlib.AsyncExitStack() as stack,
    ):
        for _ in range(12):
            (await stack.enter_async_context(connected(port))).send(b"G")
        async with connected(port) as last:
            last.send(PROVEN)
            assert (await last.answer()).status == 200
            assert len(server.connections) == kept  # the last one took one of these places for a moment


@pytest.mark.parametrize("begun", [b"", b"G", b"GET / HTTP/1.1\r\nhost:", b"POST / HTTP/1.1\r\ncontent-length: 9\r\n"])
async def test_an_unproven_connection_has_little_time(begun: bytes) -> None:
    async with served(admit=admit, unproven_s=0.5) as (handler, client, server):
        client.send(begun)
        said = await client.rest()
        assert said == b"" if not begun else said.startswith(b"HTTP/1.1 408 ")
        await client.close()
        await until(lambda: not server.connections)
        assert handler.seen == []


async def test_bytes_that_arrive_slowly_do_not_extend_the_time() -> None:
    async with served(admit=admit, unproven_s=0.05) as (_, client, server):

        async def drip() -> None:
            for byte in itertools.cycle(b"x"):
                client.send(bytes([byte]))
                await asyncio.sleep(0.005)

        client.send(b"GET / HTTP/1.1\r\nx-filler: ")
        dripping = asyncio.create_task(drip())
        assert (await client.answer()).status == 408
        dripping.cancel()
        await client.close()
        await until(lambda: not server.connections)


async def test_a_body_may_take_its_time_once_the_head_has_proven_its_sender() -> None:
    async with served(admit=admit, unproven_s=0.5) as (_, client, _):
        whole = request("/", "POST", b"slow", authorization=SECRET.decode())
        client.send(whole[:-1])
        await asyncio.sleep(0.6)
        client.send(whole[-1:])
        assert (await client.answer()).body == b"POST / slow"


async def test_an_open_request_is_served_and_its_connection_may_idle() -> None:
    async with served(admit=admit, unproven_s=0.02) as (handler, client, server):
        client.send(request("/open"))
        assert (await client.answer()).status == 200
        await asyncio.sleep(0.1)
        assert len(server.connections) == 1
        client.send(PROVEN)
        assert (await client.answer()).status == 200
        assert [each.is_authorized for each in handler.seen] == [False, True]


async def test_a_request_without_the_secret_is_refused_at_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(admit=admit) as (handler, client, _):
        client.send(request("/", "POST", b"x" * 1000, expect="100-continue")[:-1000])
        answer = await client.answer()
        assert (answer.status, answer.body, answer.headers["www-authenticate"]) == (401, b"no", "Bearer")
        client.send(b"x" * 500)
        assert await client.rest() == b""
        assert handler.seen == []


async def test_a_request_without_the_secret_is_refused_on_a_proven_connection_as_well() -> None:
    async with served(admit=admit) as (handler, client, _):
        client.send(PROVEN + GET)
        assert [(await client.answer()).status for _ in range(2)] == [200, 401]
        assert len(handler.seen) == 1


async def test_the_kernel_checks_the_connection_of_a_client() -> None:
    async with served() as (_, client, server):
        client.send(GET)
        await client.answer()
        (connection,) = server.connections
        assert connection.transport is not None
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == tcp_options.USER_TIMEOUT_MS


# Peers that do not read, or are gone.


async def test_a_peer_that_does_not_take_its_answers_is_not_read_any_further() -> None:
    async with served() as (handler, client, server):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(request("/large") * 1000)
        (connection,) = server.connections
        await until(lambda: not connection._writable)
        await asyncio.sleep(0.05)
        transport: Any = connection.transport
        assert transport.get_write_buffer_size() < 2_000_000
        served_before = len(handler.seen)
        assert served_before < 200
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(1000):
            assert len((await client.answer()).body) == 200_000


async def test_a_peer_that_vanishes_is_noticed_while_its_request_is_served() -> None:
    async with served() as (handler, client, server):
        client.send(request("/wait"))
        await handler.started.wait()
        await client.close()
        async with asyncio.timeout(WAIT_S):
            await handler.gone.wait()
        assert not server.connections
        handler.release.set()
        await until(lambda: not server.running)
        assert not handler.cancelled.is_set()


async def test_a_peer_that_resets_in_the_middle_of_a_stream_does_no_harm() -> None:
    async with served() as (handler, client, server):
        client.send(request("/stream"))
        await handler.chunks.put(b"x" * 100_000)
        await client.chunk_head()
        sock: socket.socket = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        await client.close()
        await until(lambda: not server.connections)
        await handler.chunks.put(b"more")
        await handler.chunks.put(None)
        await until(lambda: not server.running)


async def test_a_late_question_whether_the_peer_is_gone_is_answered_at_once() -> None:
    told = asyncio.Event()
    asked = asyncio.Event()
    gone = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        asked.set()
        await gone.wait()
        exchange.on_peer_gone(told.set)
        exchange.respond(200)

    async with serving(handler) as (server, port):
        async with connected(port) as client:
            client.send(GET)
            await asked.wait()
        await until(lambda: not server.connections)
        gone.set()
        async with asyncio.timeout(WAIT_S):
            await told.wait()


async def test_a_handler_that_fails_costs_one_answer() -> None:
    async with served() as (_, client, _):
        client.send(request("/fail") + GET)
        assert (await client.answer()).status == 500
        assert (await client.answer()).status == 200


async def test_a_handler_that_fails_in_the_middle_of_an_answer_ends_the_connection() -> None:
    async with served() as (_, client, server):
        client.send(request("/fail-late"))
        rest = await client.rest()
        assert b"0\r\n\r\n" not in rest
        await until(lambda: not server.connections)


async def test_closing_ends_what_runs_and_leaves_nothing() -> None:
    handler = Handler()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = HttpServer(handler, body_limit_bytes=1000)
    await server.start([listener])
    async with connected(port) as waiting, connected(port) as gone, connected(port) as half, connected(port) as idle:
        waiting.send(request("/wait") + GET)
        await handler.started.wait()
        gone.send(request("/wait"))
        half.send(b"GET / HT")
        idle.send(GET)
        await idle.answer()
        await until(lambda: len(server.running) == 2)
        await gone.close()
        await until(lambda: len(server.connections) == 3)
        async with asyncio.timeout(WAIT_S):
            await server.close()
        assert (server.connections, server.running) == ([], {})
        assert handler.cancelled.is_set()
        for client in (waiting, half, idle):
            assert await client.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
