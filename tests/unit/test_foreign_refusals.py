"""Foreign servers that refuse: each refusal has its own code, and the hub obeys the server's time to come back."""

import asyncio
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any

import msgspec
import pytest

from brummer.calls.basic import BasicLink
from brummer.core.errors import BrummerError
from brummer.foreign.peer import ForeignTarget
from brummer.foreign.refusals import (
    RETRY_AFTER_MAX_S,
    refusal_by_content,
    refusal_by_status,
    retry_after_s,
)
from brummer.health.observe import of_links
from brummer.link.errors import OutcomeUnknown, Refused
from brummer.link.state import LinkState
from brummer.peers.instances import Instances
from brummer.settings.servers import Server
from brummer.wire.http.connection import Response
from brummer.wire.http.server import Exchange

from .fakes import JSON
from .test_foreign import Legacy, Message, Modern, linked, result
from .test_link import eventually, reached, running, tool_call
from .virtual_world import in_virtual_time

HTML = [(b"content-type", b"text/html; charset=utf-8")]
WALL_S = 1_800_000_000.0
DAY_S = 86_400.0
Headers = Sequence[tuple[bytes, bytes]]


class Refusing(Modern):
    """Answers every request with ``status`` while that is set, and otherwise like any modern server."""

    def __init__(self, status: int | None = 401, body: bytes = b"", headers: Headers = ()) -> None:
        super().__init__()
        self.status, self.body, self.headers = status, body, list(headers)

    async def answer(self, exchange: Exchange, message: Message) -> None:
        if self.status is None:
            await super().answer(exchange, message)
        else:
            exchange.respond(self.status, self.body, self.headers)


class RefusingCalls(Legacy):
    """Refuses only calls of tools, and only the first ones."""

    def __init__(self, status: int, times: int = 1, headers: Headers = ()) -> None:
        super().__init__()
        self.status, self.times, self.headers = status, times, list(headers)

    async def call(self, exchange: Exchange, message: Message) -> None:
        if self.times:
            self.times -= 1
            exchange.respond(self.status, b"", self.headers)
        else:
            await super().call(exchange, message)


def after(seconds: int) -> Headers:
    return [(b"retry-after", b"%d" % seconds)]


async def failure(link: Any, **call: Any) -> BrummerError:
    with pytest.raises(BrummerError) as caught:
        await link.call(tool_call(**call))
    return caught.value


# Messages.


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"120", 120.0),
        (b" 7 ", 7.0),
        (b"1.5", 1.5),
        (b"999999999", RETRY_AFTER_MAX_S),
        (formatdate(WALL_S + 90, usegmt=True).encode(), 90.0),
        (formatdate(WALL_S - 90, usegmt=True).encode(), 0.0),
        (b"Sun, 06 Nov 9994 08:49:37 GMT", RETRY_AFTER_MAX_S),
        (b"soon", None),
        (b"-5", None),
        (b"", None),
        (b"\xff\x00", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: bytes, seconds: float | None) -> None:
    assert retry_after_s({b"retry-after": value}, WALL_S) == seconds


def test_a_date_is_compared_with_the_servers_own_clock() -> None:
    theirs = WALL_S + 3600
    headers = {b"date": formatdate(theirs, usegmt=True).encode()}
    headers[b"retry-after"] = formatdate(theirs + 30, usegmt=True).encode()
    assert retry_after_s(headers, WALL_S) == 30


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b'{"error":"invalid_token","error_description":"it has expired"}', JSON, "it has expired"),
        (b'{"error":"invalid_token"}', JSON, "invalid_token"),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"who are you"}}', JSON, "who are you"),
        (b'{"detail":"Not authenticated"}', JSON, "Not authenticated"),
        (b"go away", [(b"content-type", b"text/plain")], "go away"),
    ],
)
def test_the_servers_own_words_are_repeated(body: bytes, headers: Headers, words: str) -> None:
    refusal = refusal_by_status(Response(401, dict(headers), body), WALL_S)
    assert refusal is not None
    assert refusal.message.endswith(f"it says: {words}")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"error":5}', b"\xff", b"[" * 3000, b"x" * 100_000, b'"text"'])
@pytest.mark.parametrize("status", [200, 204, 307, 401, 404, 429, 500, 503, 599])
def test_a_refusal_with_any_body_is_reported(status: int, body: bytes) -> None:
    response = Response(status, {b"content-type": b"application/x-unknown"}, body)
    refusal = refusal_by_status(response, WALL_S) or refusal_by_content(response, WALL_S)
    assert refusal is not None
    assert refusal.context["status"] == status


# Behaviour.

LASTING: list[tuple[int, bytes, Headers, str]] = [
    (401, b"{}", JSON, "unauthorized"),
    (401, b'{"error":"invalid_token"}', JSON, "unauthorized"),
    (401, b'{"jsonrpc":"2.0","id":"x","error":{"code":-32000,"message":"no"}}', JSON, "unauthorized"),
    (403, b"<html>", HTML, "forbidden"),
    (404, b"<html>", HTML, "refused_by_server"),
    (405, b"", [], "refused_by_server"),
    (415, b"", [], "refused_by_server"),
    (302, b"", [(b"location", b"https://login.example/")], "moved"),
    (200, b"<!doctype html>", HTML, "not_mcp"),
    (200, b"OK", [(b"content-type", b"text/plain")], "not_mcp"),
    (200, b'{"status":"up"}', JSON, "not_mcp"),
    (200, b"", JSON, "not_mcp"),
    (200, b"\x1f\x8b", [*JSON, (b"content-encoding", b"gzip")], "not_mcp"),
]


@pytest.mark.parametrize(("status", "body", "headers", "code"), LASTING)
def test_a_call_to_a_refusing_server_fails_at_once_with_the_refusal(
    status: int, body: bytes, headers: Headers, code: str
) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with Refusing(status, body, headers) as server, running(server.target) as link:
            for _ in range(3):
                began_s = loop.time()
                error = await failure(link)
                assert (error.code, error.retryable, error.outcome) == (code, False, "not_executed")
                assert loop.time() - began_s < 1
            assert server.ran == {}

    in_virtual_time(story())


@pytest.mark.parametrize(("status", "body", "headers", "code"), LASTING)
def test_a_refusing_server_is_dialled_rarely_and_the_first_call_reaches_it_once_it_serves(
    status: int, body: bytes, headers: Headers, code: str
) -> None:
    async def story() -> None:
        async with Refusing(status, body, headers) as server, running(server.target) as link:
            await asyncio.sleep(DAY_S)
            assert link.last_error is not None
            assert link.last_error.code == code
            assert len(server.heard) < 2000
            server.status = None
            assert await result(link, tool_call({"n": 1})) == {"echo": {"n": 1}}

    in_virtual_time(story())


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_server_that_begins_to_refuse_is_dialled_rarely_as_well(status: int) -> None:
    async def story() -> None:
        async with Refusing(None) as server, running(server.target) as link:
            await reached(link, LinkState.READY)
            server.status = status
            await asyncio.sleep(DAY_S)
            assert link.state in (LinkState.RETRYING, LinkState.RECONNECTING)
            assert len(server.heard) < 2000
            server.status = None
            assert await result(link, tool_call({"n": 1})) == {"echo": {"n": 1}}

    in_virtual_time(story())


def test_a_server_that_limits_our_probes_stays_ready() -> None:
    async def story() -> None:
        async with Refusing(None) as server, running(server.target) as link:
            await reached(link, LinkState.READY)
            server.status = 429
            await asyncio.sleep(3600)
            assert link.state is LinkState.READY
            assert len(server.heard) < 200

    in_virtual_time(story())


@pytest.mark.parametrize("status", [429, 503])
def test_the_handshake_is_not_repeated_before_the_time_that_the_server_has_set(status: int) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with Refusing(status, headers=after(500)) as server, running(server.target) as link:
            await eventually(lambda: link.last_error is not None)
            heard, asked_s = len(server.heard), loop.time()
            for _ in range(5):
                error = await failure(link)
                assert error.code == ("rate_limited" if status == 429 else "server_unavailable")
                assert (error.retryable, error.outcome) == (True, "not_executed")
                assert error.retry_after_s is not None
                assert 0 <= asked_s + 500 - loop.time() - error.retry_after_s < 1
                await link.check()
                await asyncio.sleep(90)
            assert len(server.heard) == heard
            server.status = None
            await asyncio.sleep(60)
            assert link.state is LinkState.READY

    in_virtual_time(story())


@pytest.mark.parametrize("status", [429, 503])
def test_a_call_waits_for_a_server_that_asks_for_a_short_pause(status: int) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with Refusing(status, headers=after(10)) as server, running(server.target) as link:
            await eventually(lambda: link.last_error is not None)
            server.status = None
            asked_s, heard = loop.time(), len(server.heard)
            assert await result(link, tool_call({"n": 1}, deadline_s=30)) == {"echo": {"n": 1}}
            assert 9.9 < loop.time() - asked_s < 11
            assert server.ran == {1: 1}
            assert len(server.heard) > heard

    in_virtual_time(story())


@pytest.mark.parametrize("status", [429, 503])
def test_a_call_that_is_refused_for_a_short_time_is_made_again_after_it(status: int) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with linked(server := RefusingCalls(status, 2, after(4))) as link:
            began_s = loop.time()
            assert await result(link, tool_call({"n": 1}, deadline_s=30)) == {"echo": {"n": 1}}
            assert 8 <= loop.time() - began_s < 9
            assert server.ran == {1: 1}

    in_virtual_time(story())


def test_a_call_whose_deadline_is_before_the_time_that_the_server_has_set_fails_at_once() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with Refusing(429, headers=after(10)) as server, running(server.target) as link:
            await eventually(lambda: link.last_error is not None)
            asked_s = loop.time()
            assert (await failure(link, deadline_s=5)).code == "rate_limited"
            assert loop.time() - asked_s < 1

    in_virtual_time(story())


@pytest.mark.parametrize("status", [429, 503])
def test_calls_are_refused_here_until_the_time_that_the_server_has_set(status: int) -> None:
    async def story() -> None:
        async with linked(server := RefusingCalls(status, 1, after(300))) as link:
            first = await failure(link)
            assert first.retry_after_s == 300
            heard = server.methods().count("tools/call")
            await asyncio.sleep(100)
            second = await failure(link)
            assert (second.code, second.outcome) == (first.code, "not_executed")
            assert second.retry_after_s == pytest.approx(200, abs=1)
            assert server.methods().count("tools/call") == heard
            await asyncio.sleep(200)
            assert await result(link, tool_call({"n": 1})) == {"echo": {"n": 1}}

    in_virtual_time(story())


def test_calls_for_which_further_connections_are_opened_wait_like_the_others() -> None:
    async def story() -> None:
        async with linked(server := RefusingCalls(429, 1, after(4))) as link:
            calls = (result(link, tool_call({"n": number}, deadline_s=30)) for number in range(20))
            assert await asyncio.gather(*calls) == [{"echo": {"n": number}} for number in range(20)]
            assert sorted(server.ran.values()) == [1] * 20

    in_virtual_time(story())


class RefusingConnections(Legacy):
    """Refuses the first ``ping``, with which a further connection begins; the call with ``n`` 1 takes eight seconds."""

    def __init__(self, headers: Headers) -> None:
        super().__init__()
        self.headers = list(headers)
        self.refused = 0

    async def answer(self, exchange: Exchange, message: Message) -> None:
        if message["method"] == "ping" and not self.refused:
            self.refused += 1
            exchange.respond(429, b"", self.headers)
        else:
            await super().answer(exchange, message)

    async def call(self, exchange: Exchange, message: Message) -> None:
        if message["params"]["arguments"]["n"] == 1:
            await asyncio.sleep(8)
        await super().call(exchange, message)


@pytest.mark.parametrize(("seconds", "waits"), [(4, True), (300, False), (None, False)])
def test_a_call_for_which_a_further_connection_is_refused_comes_back_or_gets_the_refusal(
    *, seconds: int | None, waits: bool
) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with linked(server := RefusingConnections(after(seconds) if seconds else [])) as link:
            under_way = asyncio.create_task(result(link, tool_call({"n": 1}, deadline_s=30)))
            await eventually(lambda: "tools/call" in server.methods())
            began_s = loop.time()
            if waits:
                assert await result(link, tool_call({"n": 2}, deadline_s=30)) == {"echo": {"n": 2}}
            else:
                error = await failure(link, arguments={"n": 2})
                assert (error.code, error.outcome, error.retry_after_s) == ("rate_limited", "not_executed", seconds)
            assert loop.time() - began_s == pytest.approx(seconds if waits and seconds else 0, abs=0.5)
            assert server.refused == 1
            assert await under_way == {"echo": {"n": 1}}

    in_virtual_time(story())


def test_a_call_that_is_answered_meanwhile_does_not_end_the_pause() -> None:
    class RefusingSecond(Legacy):
        async def call(self, exchange: Exchange, message: Message) -> None:
            if message["params"]["arguments"]["n"] == 2:
                exchange.respond(429, b"", after(300))
            else:
                await asyncio.sleep(2)
                await super().call(exchange, message)

    async def story() -> None:
        async with linked(server := RefusingSecond()) as link:
            under_way = asyncio.create_task(result(link, tool_call({"n": 1})))
            await asyncio.sleep(1)
            assert (await failure(link, arguments={"n": 2})).retry_after_s == 300
            assert await under_way == {"echo": {"n": 1}}
            assert (await failure(link, arguments={"n": 3})).code == "rate_limited"
            assert server.ran == {1: 1}

    in_virtual_time(story())


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_gateway_that_lost_the_server_under_a_call_leaves_its_outcome_unknown(status: int) -> None:
    async def story() -> None:
        async with linked(server := RefusingCalls(status)) as link:
            error = await failure(link)
            assert isinstance(error, Refused)
            assert error.outcome == "unknown"
            assert server.methods().count("tools/call") == 1

    in_virtual_time(story())


async def test_a_token_that_expires_makes_calls_fail_as_unauthorized() -> None:
    async with linked(server := RefusingCalls(401, 1)) as link:
        error = await failure(link)
        assert (error.code, error.outcome, server.ran) == ("unauthorized", "not_executed", {})


async def test_the_basic_link_reports_each_refusal_with_its_own_code() -> None:
    async with RefusingCalls(403) as server:
        link = BasicLink(server.target)
        error = await failure(link)
        assert (error.code, error.outcome) == ("forbidden", "not_executed")
        assert not isinstance(error, OutcomeUnknown)


def _problems(instances: Instances) -> list[tuple[str, Any]]:
    statuses = [known.link.status() for known in instances]
    return [(each.code, each.since_s) for each in of_links(instances, statuses)]


def test_a_refusal_is_a_problem_for_as_long_as_it_lasts(tmp_path: Any) -> None:
    async def story() -> None:
        instances = Instances(tmp_path)
        async with Refusing(401) as server:
            instances.add_server(Server("docs", server.target.url))
            (known,) = instances
            await known.link.settled()
            assert [code for code, _ in _problems(instances)] == ["server_refuses"]
            server.status = 503
            await asyncio.sleep(1000)
            ((code, since_s),) = _problems(instances)
            assert code == "server_busy"
            assert since_s is not None
            server.status = None
            assert msgspec.json.decode(await known.caller.call(tool_call({"n": 1}))) == {"echo": {"n": 1}}
            assert _problems(instances) == []
            server.status = 429
            await failure(known.caller)
            assert known.link.state is LinkState.READY
            assert [code for code, _ in _problems(instances)] == ["server_busy"]
            await instances.close()

    in_virtual_time(story())


async def test_a_server_that_speaks_no_http_is_not_mcp() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    target = ForeignTarget("docs", f"http://127.0.0.1:{port}/mcp")
    async with listening, running(target) as link:
        error = await failure(link)
        assert (error.code, error.retryable, error.outcome) == ("not_mcp", False, "not_executed")
