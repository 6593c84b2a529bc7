"""The MCP endpoint over real sockets: who may speak, in which era, how calls are answered, followed and cancelled."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from brummer.wire.http import auth
from brummer.wire.http.server import Exchange, HttpServer, Refusal
from brummer.wire.mcp import eras
from brummer.wire.mcp import streamable_http as module
from brummer.wire.mcp.jsonrpc import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    UNSUPPORTED_VERSION,
)
from brummer.wire.mcp.server import CALL_KEY
from brummer.wire.mcp.streamable_http import StreamableHttp

from .wire_support import (
    INFO,
    INSTRUCTIONS,
    META,
    MODERN,
    TOKEN,
    WAIT_S,
    Answer,
    RawClient,
    Tools,
    Views,
    call,
    connected,
    modern,
    modern_headers,
    post,
    serving,
    until,
)


class Served:
    """An endpoint, one connection to it, and what is behind it."""

    def __init__(self, tools: Tools, handler: StreamableHttp, server: HttpServer, client: RawClient, port: int) -> None:
        self.tools = tools
        self.handler = handler
        self.server = server
        self.client = client
        self.port = port

    async def modern(self, message: dict[str, Any], **changed: str | None) -> Answer:
        return await self.client.post(message, **modern_headers(message, **changed))

    async def session(self) -> str:
        opening = {"protocolVersion": "2025-11-25", "capabilities": {}}
        answer = await self.client.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": opening})
        return answer.headers["mcp-session-id"]

    async def asked(self, head: str) -> Answer:
        """The answer to this request, with the token."""
        return await self.asked_as_a_stranger(f"{head}\nauthorization: Bearer {TOKEN}")

    async def asked_as_a_stranger(self, head: str) -> Answer:
        self.client.send(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
        return await self.client.answer()

    async def posted_alone(self, **headers: str | None) -> Answer:
        """The answer to a ping on a connection of its own: one that is refused is closed."""
        async with connected(self.port) as client:
            return await client.post(legacy("ping"), **headers)


async def by_itself(exchange: Exchange) -> None:
    exchange.respond(200, b"by itself")


@contextlib.asynccontextmanager
async def served(extra_hosts: frozenset[str] = frozenset(), resources: Views | None = None) -> AsyncIterator[Served]:
    tools = Tools()
    routes = {b"/identity": lambda request: (200, b'{"target":"%b"}' % request.target)}
    handler = StreamableHttp(
        tools.server(resources),
        token=TOKEN,
        routes=routes,
        private_handlers={b"/private": by_itself},
        extra_hosts=extra_hosts,
    )
    async with serving(handler, admit=handler.admit) as (server, port), connected(port) as client:
        yield Served(tools, handler, server, client, port)


def legacy(method: str, params: object = None, request_id: object = 1) -> dict[str, Any]:
    message = {"jsonrpc": "2.0", "id": request_id, "method": method}
    return message if params is None else {**message, "params": params}


def cancelled(request_id: object, **meta: object) -> dict[str, Any]:
    params = {"requestId": request_id, **({"_meta": meta} if meta else {})}
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}


# Who may speak.

OURS = [
    "127.0.0.1",
    "127.0.0.1:7777",
    "localhost",
    "LocalHost:1",
    "[::1]",
    "[::1]:7777",
    "hub.internal",
    "HUB.internal:80",
]
FOREIGN = [
    "evil.com",
    "evil.com:7777",
    "localhost.evil.com",
    "evil-localhost",
    "notlocalhost",
    "localhost.",
    "127.0.0.1.evil.com",
    "127.0.0.2",
    "0.0.0.0",
    "2130706433",
    "[::]",
    "[::1",
    "::1",
    "[::1]evil.com",
    "[::ffff:127.0.0.1]",
    "localhost@evil.com",
    "evil.com@localhost",
    "evil.com:x@localhost",
    "localhost:evil",
    "localhost:",
    "localhost:1:2",
    "localhost/evil.com",
    "localhost#evil.com",
    "localhost?evil.com",
    "localhost\\evil.com",
    "evil.com\\@localhost",
    "localhost, evil.com",
    "local\thost",
    "localhost evil.com",
    "l\u043ecalhost".encode().decode("latin-1"),  # with a Cyrillic o
    "",
]


@pytest.mark.parametrize("host", OURS)
async def test_a_request_to_our_host_without_the_token_gets_401(host: str) -> None:
    async with served(extra_hosts=frozenset({"Hub.internal"})) as it:
        for sent in ({"host": host}, {"origin": f"http://{host.lower()}"}, {"origin": f"https://{host.lower()}"}):
            assert (await it.posted_alone(**sent)).status == 200
            assert (await it.posted_alone(authorization=None, **sent)).status == 401


@pytest.mark.parametrize("host", FOREIGN)
async def test_a_foreign_host_is_served_with_the_token_only_and_a_foreign_origin_never(host: str) -> None:
    async with served() as it:
        assert (await it.posted_alone(host=host)).status == 200
        assert (await it.posted_alone(host=host, authorization=None)).status == 403
        assert (await it.posted_alone(host=host, authorization="Bearer wrong")).status == 403
        for origin in (f"http://{host}", f"https://{host}"):
            answer = await it.posted_alone(origin=origin)
            assert answer.status == 403
            assert TOKEN.encode() not in answer.body
        assert (await it.posted_alone()).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "localhost",
        "file://localhost",
        "ftp://localhost",
        "//localhost",
        "http:localhost",
        "http://",
        "http:///localhost",
        "http://localhost/",
        "http://localhost@evil.com",
        "http://evil.com#@localhost",
        "javascript://localhost",
        "http://[::1",
    ],
)
async def test_an_origin_that_is_no_web_page_of_ours_is_refused(origin: str) -> None:
    async with served() as it:
        assert (await it.posted_alone(origin=origin)).status == 403


async def test_no_host_and_two_hosts_count_as_foreign() -> None:
    async with served() as it:
        assert (await it.posted_alone(host=None, authorization=None)).status == 403
        two = "GET /identity HTTP/1.1\nhost: localhost\nhost: localhost"
        assert (await it.asked_as_a_stranger(two)).status == 403


async def test_what_was_judged_is_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "JUDGED_LIMIT", 5)
    async with served() as it:
        for number in range(20):
            assert (await it.posted_alone(origin=f"http://localhost:{number}")).status == 200
            assert (await it.posted_alone(origin=f"http://evil.com:{number}")).status == 403
        assert len(it.handler._door._judged) <= 5


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer  {TOKEN}",
        f"Bearer {TOKEN} {TOKEN}",
        f"Bearer {TOKEN.upper()}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        "Bearer \xff\xfe",
    ],
)
async def test_who_does_not_show_the_token_gets_no_further(authorization: str | None) -> None:
    async with served() as it:
        answer = await it.client.post(call("echo"), authorization=authorization)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert it.tools.calls == []


@pytest.mark.parametrize("target", ["/", "/mcp", "/metrics", "/nothing"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD"])
async def test_without_the_token_every_path_and_method_gets_the_same_answer(method: str, target: str) -> None:
    async with served() as it:
        it.client.send(f"{method} {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        answer = await it.client.answer(has_body=method != "HEAD")
        assert answer.status == 401
        assert set(answer.headers) <= {"www-authenticate", "content-type", "content-length", "connection"}


async def test_a_private_handler_answers_by_itself_to_who_has_the_token() -> None:
    async with served() as it, connected(it.port) as client:
        it.client.send(b"GET /private HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await it.client.answer()).status == 401
        client.send(b"GET /private HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %b\r\n\r\n" % TOKEN.encode())
        assert (await client.answer()).body == b"by itself"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_who_shows_the_token_is_served(scheme: str) -> None:
    async with served() as it:
        assert (await it.client.post(call("echo"), authorization=f"{scheme} {TOKEN}")).status == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /identity HTTP/1.1\nhost: evil.com", 403),
        ("DELETE /identity HTTP/1.1\nhost: localhost", 401),
        ("GET /identity HTTP/1.1\nhost: localhost\ncontent-length: 1", 401),
        ("GET /identity HTTP/1.1\nhost: localhost\ntransfer-encoding: chunked", 401),
    ],
)
async def test_a_plain_route_needs_no_token_but_the_right_host_and_method_and_no_body(head: str, status: int) -> None:
    async with served() as it:
        answer = await it.asked_as_a_stranger("GET /identity?nonce=1 HTTP/1.1\nhost: localhost")
        assert (answer.status, answer.json) == (200, {"target": "/identity?nonce=1"})
        assert (await it.asked_as_a_stranger(head)).status == status


async def test_a_plain_route_is_open_to_who_lacks_the_token_and_to_no_other_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auth.Auth, "admit", lambda *_: Refusal(429, b"come later"))
    async with served() as it:
        answer = await it.asked_as_a_stranger("GET /identity HTTP/1.1\nhost: 127.0.0.1")
        assert (answer.status, answer.body) == (429, b"come later")


async def test_a_server_without_an_admission_check_authorizes_no_request() -> None:
    """The handler without its `admit`: no request is authorized."""
    tools = Tools()
    handler = StreamableHttp(tools.server(), token=TOKEN)
    async with serving(handler) as (_, port), connected(port) as client:
        assert (await client.post(call("echo"))).status == 401
        assert tools.calls == []


@pytest.mark.parametrize("target", ["/", "/mcp/", "/MCP", "/mcpx", "/mcp/../identity", "*", "/%6dcp"])
async def test_another_path_is_not_found(target: str) -> None:
    async with served() as it:
        assert (await it.asked(f"POST {target} HTTP/1.1\nhost: localhost")).status == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "PATCH", "HEAD"])
async def test_another_method_is_not_allowed(method: str) -> None:
    async with served() as it:
        answer = await it.asked(f"{method} /mcp HTTP/1.1\nhost: localhost\naccept: text/event-stream")
        assert answer.status == 405
        assert answer.headers["allow"] == "POST, DELETE"
        assert "access-control-allow-origin" not in answer.headers


async def test_a_query_does_no_harm() -> None:
    async with served() as it:
        it.client.send(post(legacy("ping")).replace(b"/mcp", b"/mcp?x=y", 1))
        assert (await it.client.answer()).status == 200


# What may be said.


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonp", 415),
        (None, 415),
    ],
)
async def test_only_json_is_taken(content_type: str | None, status: int) -> None:
    async with served() as it:
        assert (await it.client.post(legacy("ping"), content_type=content_type)).status == status


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json, text/event-stream", 200),
        ("Application/Json", 200),
        ("text/event-stream", 200),
        ("*/*", 200),
        ("application/*;q=0.5", 200),
        (None, 200),
        ("text/html", 406),
        ("image/png", 406),
    ],
)
async def test_a_client_must_be_able_to_take_an_answer(accept: str | None, status: int) -> None:
    async with served() as it:
        assert (await it.client.post(legacy("ping"), accept=accept)).status == status


@pytest.mark.parametrize(
    ("body", "code", "request_id"),
    [
        (b"", PARSE_ERROR, None),
        (b"hello", PARSE_ERROR, None),
        (b'{"jsonrpc":"2.0","id":5,"method":', PARSE_ERROR, 5),
        (b"\xff", PARSE_ERROR, None),
        (b"[" * 1_000_000, INVALID_REQUEST, None),  # too deep for every Python
        (b"[]", INVALID_REQUEST, None),
        (b'{"jsonrpc":"1.0","id":5,"method":"ping"}', INVALID_REQUEST, 5),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', INVALID_REQUEST, None),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', INVALID_REQUEST, 1.5),
    ],
)
async def test_malformed_messages_are_bad_requests(body: bytes, code: int, request_id: object) -> None:
    async with served() as it:
        answer = await it.client.post(body)
        assert answer.status == 400
        assert (answer.json["error"]["code"], answer.json["id"]) == (code, request_id)
        assert (await it.client.post(legacy("ping"))).status == 200


async def test_a_message_may_span_lines() -> None:
    async with served() as it:
        answer = await it.client.post(json.dumps(call("echo", {"n": 5}), indent=2).encode())
        assert answer.json["result"]["structuredContent"] == {"n": 5}


NOTED: list[dict[str, Any]] = [
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "method": "notifications/unknown", "params": {"name": 5}},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "unknown"}},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "name": 5}},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": [1]},
    {"jsonrpc": "2.0", "id": 5, "result": {}},
    {"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "x"}},
]


@pytest.mark.parametrize("message", NOTED)
@pytest.mark.parametrize("version", [None, "2025-11-25", MODERN])
async def test_notifications_and_responses_are_noted_without_an_answer(message: Any, version: str | None) -> None:
    async with served() as it:
        answer = await it.client.post(message, mcp_protocol_version=version)
        assert (answer.status, answer.body) == (202, b"")


@pytest.mark.parametrize("message", [legacy("ping"), NOTED[0]])
@pytest.mark.parametrize("version", ["1900-01-01", "2025-11-26", "x", MODERN + ", " + MODERN])
async def test_an_unknown_version_is_refused(message: dict[str, Any], version: str) -> None:
    async with served() as it:
        answer = await it.client.post(message, mcp_protocol_version=version)
        assert answer.status == 400
        assert answer.json["error"]["code"] == UNSUPPORTED_VERSION
        assert answer.json["error"]["data"] == {"supported": list(eras.SUPPORTED), "requested": version}
        assert answer.json["id"] == message.get("id")


# The legacy era.


@pytest.mark.parametrize("version", eras.LEGACY)
async def test_a_handshake_opens_a_session_that_serves_until_it_is_deleted(version: str) -> None:
    async with served() as it:
        opening = {
            "protocolVersion": version,
            "capabilities": {"roots": {}},
            "clientInfo": {"name": "c", "version": "1"},
        }
        answer = await it.client.post(legacy("initialize", opening))
        assert answer.status == 200
        assert answer.json["result"] == eras.initialize_result(version, INFO, INSTRUCTIONS)
        session = answer.headers["mcp-session-id"]
        assert all(0x21 <= ord(letter) <= 0x7E for letter in session)
        stated = {"mcp_session_id": session, "mcp_protocol_version": version}
        assert (await it.client.post(NOTED[0], **stated)).status == 202
        assert (await it.client.post(call("echo", {"n": 1}), **stated)).json["result"]["structuredContent"] == {"n": 1}
        assert it.tools.calls[0].session is not None
        deleted = await it.asked(f"DELETE /mcp HTTP/1.1\nhost: localhost\nmcp-session-id: {session}")
        assert deleted.status == 204
        refused = await it.client.post(legacy("ping", request_id=9), **stated)
        assert (refused.status, refused.json["id"]) == (404, 9)
        again = await it.asked(f"DELETE /mcp HTTP/1.1\nhost: localhost\nmcp-session-id: {session}")
        assert again.status == 404
        anew = await it.client.post(legacy("initialize", opening), mcp_session_id=session)
        assert anew.status == 200
        assert anew.headers["mcp-session-id"] != session


async def test_sessions_differ_and_an_unknown_one_is_adopted() -> None:
    async with served() as it:
        assert await it.session() != await it.session()
        assert (await it.client.post(legacy("ping"), mcp_session_id="of-a-hub-before")).status == 200
        assert (await it.client.post(NOTED[0], mcp_session_id="of-a-hub-before")).status == 202
        for _ in range(2):
            assert (await it.client.post(call("echo"), mcp_session_id="of-a-hub-before")).status == 200
        first, second = it.tools.calls
        assert first.session is second.session
        assert first.session is not None
        assert first.session.id == "of-a-hub-before"
        assert (await it.asked("DELETE /mcp HTTP/1.1\nhost: localhost")).status == 405


@pytest.mark.parametrize("session_id", ["x" * 257, "caf\xe9", "a\tb"])
async def test_an_impossible_session_id_is_a_bad_request(session_id: str) -> None:
    async with served() as it:
        assert (await it.client.post(legacy("ping"), mcp_session_id=session_id)).status == 400


async def test_a_session_that_is_opened_anew_ignores_the_one_before() -> None:
    async with served() as it:
        opening = {"protocolVersion": "2025-11-25", "capabilities": {}}
        answer = await it.client.post(legacy("initialize", opening), mcp_session_id="stale")
        assert answer.status == 200
        assert answer.headers["mcp-session-id"] != "stale"


async def test_a_session_is_not_demanded() -> None:
    async with served() as it:
        assert (await it.client.post(call("echo"), mcp_protocol_version="2025-06-18")).status == 200
        assert it.tools.calls[0].session is None


async def test_sessions_without_a_call_are_dropped_before_those_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SESSION_LIMIT", 3)
    async with served() as it:
        used = await it.session()
        await it.client.post(call("echo"), mcp_session_id=used)
        for _ in range(5):
            await it.session()
        await it.client.post(call("echo"), mcp_session_id=used)
        first, second = it.tools.calls
        assert first.session is second.session
        assert len(it.handler.sessions) == 3


async def test_the_least_recently_used_session_is_dropped_if_all_made_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SESSION_LIMIT", 3)
    async with served() as it:
        for name in ("a", "b", "c", "a", "d"):
            assert (await it.client.post(call("echo"), mcp_session_id=name)).status == 200
        assert list(it.handler.sessions) == ["c", "a", "d"]


async def test_deleted_sessions_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELETED_LIMIT", 2)
    async with served() as it:
        for name in ("a", "b", "c"):
            deleted = await it.asked(f"DELETE /mcp HTTP/1.1\nhost: localhost\nmcp-session-id: {name}")
            assert deleted.status == 204
        statuses = [(await it.client.post(legacy("ping"), mcp_session_id=name)).status for name in ("a", "b", "c")]
        assert statuses == [200, 404, 404]


# Batches.


@pytest.mark.parametrize("version", [None, "2025-03-26"])
async def test_a_batch_gets_one_answer_with_all_its_responses(version: str | None) -> None:
    async with served() as it:
        messages = [call("echo", {"n": 1}), NOTED[0], legacy("no/such", request_id=2), 5, call("steps", request_id=3)]
        answer = await it.client.post(messages, mcp_protocol_version=version, accept="application/json")
        assert answer.status == 200
        answers = {each["id"]: each for each in answer.json}
        assert set(answers) == {1, 2, None, 3}
        assert answers[1]["result"]["structuredContent"] == {"n": 1}
        assert answers[2]["error"]["code"] == METHOD_NOT_FOUND
        noted = await it.client.post([NOTED[0]], mcp_protocol_version=version)
        assert (noted.status, noted.body) == (202, b"")


async def test_progress_of_a_batch_comes_before_its_one_answer() -> None:
    async with served() as it:
        answer = await it.client.post([call("steps", progressToken="p"), legacy("ping", request_id=2)])
        *progress, last = answer.events
        assert [each["params"]["progress"] for each in progress] == [1, 2]
        assert [each["id"] for each in last] == [1, 2]


async def test_a_call_of_a_batch_is_cancelled_by_session_and_id() -> None:
    async with served() as it, connected(it.port) as other:
        it.client.send(post([call("wait"), legacy("ping", request_id=2)], mcp_session_id="s"))
        await it.tools.started.wait()
        assert (await other.post(cancelled(1), mcp_session_id="s")).status == 202
        answer = await it.client.answer()
        assert [("error" in each, each["id"]) for each in answer.json] == [(True, 1), (False, 2)]
        assert it.tools.cancelled.is_set()


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25", MODERN])
async def test_another_version_has_no_batches_and_every_request_in_one_is_refused_by_its_id(version: str) -> None:
    async with served() as it:
        answer = await it.client.post(
            [call("echo"), NOTED[0], legacy("ping", request_id=2)], mcp_protocol_version=version
        )
        assert answer.status == 400
        assert [each["id"] for each in answer.json] == [1, 2]
        assert {each["error"]["code"] for each in answer.json} == {INVALID_REQUEST}
        assert it.tools.calls == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (legacy("no/such"), METHOD_NOT_FOUND),
        (legacy("subscriptions/listen", {}), METHOD_NOT_FOUND),
        (legacy("tools/call", {"name": "no_such"}), INVALID_PARAMS),
        (legacy("tools/call", {"name": 5}), INVALID_PARAMS),
        (legacy("tools/list", {"cursor": "x"}), INVALID_PARAMS),
    ],
)
async def test_a_legacy_client_finds_protocol_errors_in_the_body(message: dict[str, Any], code: int) -> None:
    async with served() as it:
        answer = await it.client.post(message, mcp_protocol_version="2025-11-25")
        assert (answer.status, answer.json["id"], answer.json["error"]["code"]) == (200, 1, code)


# The modern era.


async def test_a_modern_request_is_served_by_what_it_says_itself() -> None:
    async with served() as it:
        answer = await it.modern(modern("tools/call", {"name": "echo", "arguments": {"n": 4}}))
        assert answer.status == 200
        assert answer.json["result"]["resultType"] == "complete"
        assert answer.json["result"]["structuredContent"] == {"n": 4}
        assert answer.json["result"]["_meta"] == {eras.META_SERVER_INFO: INFO}
        assert "mcp-session-id" not in answer.headers


async def test_discovery_and_lists_may_be_cached() -> None:
    async with served() as it:
        discovery = (await it.modern(modern("server/discover"))).json["result"]
        assert discovery == eras.discover_result(INFO, INSTRUCTIONS)
        tools = (await it.modern(modern("tools/list"))).json["result"]
        assert (tools["ttlMs"] >= 0, tools["cacheScope"], tools["resultType"]) == (True, "public", "complete")
        assert len(tools["tools"]) == len(json.loads(it.tools.tools_json))


async def test_a_session_is_nothing_to_a_modern_request() -> None:
    async with served() as it:
        session = await it.session()
        message = modern("tools/call", {"name": "echo"})
        for header in (session, "made-up"):
            answer = await it.modern(message, mcp_session_id=header)
            assert answer.status == 200
            assert it.tools.calls[-1].session is None
        assert (await it.client.post(NOTED[0], mcp_protocol_version=MODERN, mcp_session_id="made-up")).status == 202


ECHO = modern("tools/call", {"name": "echo"}, 7)
MISMATCHES: list[dict[str, str | None]] = [
    {"mcp_method": None},
    {"mcp_method": "tools/list"},
    {"mcp_method": "Tools/Call"},
    {"mcp_method": ""},
    {"mcp_name": None},
    {"mcp_name": "wait"},
    {"mcp_name": "ECHO"},
    {"mcp_name": "=?base64?d2FpdA==?="},
    {"mcp_name": "=?base64?!!!?="},
    {"mcp_name": "\xff"},
    {"mcp_protocol_version": None},
    {"mcp_protocol_version": ""},
    {"mcp_protocol_version": "2025-11-25"},
    {"mcp_protocol_version": "1900-01-01"},
]


@pytest.mark.parametrize("changed", MISMATCHES)
async def test_a_header_that_contradicts_the_body_is_refused(changed: dict[str, str | None]) -> None:
    async with served() as it:
        answer = await it.modern(ECHO, **changed)
        assert answer.status == 400
        assert (answer.json["id"], answer.json["error"]["code"]) == (7, HEADER_MISMATCH)
        assert it.tools.calls == []


@pytest.mark.parametrize("name", ["echo", "  echo\t", "=?base64?ZWNobw==?="])
async def test_a_header_that_repeats_the_body_is_taken_however_it_is_written(name: str) -> None:
    async with served() as it:
        message = post(ECHO, **modern_headers(ECHO, mcp_name=name)).replace(b"mcp-method", b"MCP-METHOD")
        it.client.send(message)
        assert (await it.client.answer()).status == 200


def with_meta(method: str, meta: object, **params: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": meta}}


WITHOUT_CAPABILITIES = {key: value for key, value in META.items() if "Capabilities" not in key}
WITHOUT_VERSION = {key: value for key, value in META.items() if "Version" not in key}
WITHOUT_CLIENT = {key: value for key, value in META.items() if "clientInfo" not in key}


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "id": 7, "method": "server/discover"},
        {"jsonrpc": "2.0", "id": 7, "method": "server/discover", "params": {}},
        with_meta("server/discover", {}),
        with_meta("server/discover", WITHOUT_VERSION),
        with_meta("server/discover", WITHOUT_CAPABILITIES),
        with_meta("tools/list", WITHOUT_CAPABILITIES),
        with_meta("tools/list", META | {"io.modelcontextprotocol/clientCapabilities": None}),
        with_meta("tools/list", META | {"io.modelcontextprotocol/clientCapabilities": []}),
        with_meta("tools/list", None),
        with_meta("tools/list", META, cursor="x"),
        with_meta("tools/call", META, name="no_such"),
        with_meta("tools/call", META),
    ],
)
async def test_modern_params_that_do_not_do_are_a_bad_request(message: dict[str, Any]) -> None:
    async with served() as it:
        headers = {"mcp_protocol_version": MODERN, "mcp_method": message["method"]}
        name = message.get("params", {}).get("name")
        answer = await it.client.post(message, **headers, **({"mcp_name": name} if name else {}))
        assert answer.status == 400
        assert (answer.json["id"], answer.json["error"]["code"]) == (7, INVALID_PARAMS)


async def test_a_client_need_not_introduce_itself() -> None:
    async with served() as it:
        assert (await it.modern(with_meta("tools/list", WITHOUT_CLIENT))).status == 200


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "resources/subscribe", "no/such"])
async def test_a_method_that_the_modern_era_does_not_have_is_not_found(method: str) -> None:
    async with served() as it:
        answer = await it.modern(modern(method, request_id=7))
        assert (answer.status, answer.json["id"], answer.json["error"]["code"]) == (404, 7, METHOD_NOT_FOUND)


@pytest.mark.parametrize("version", ["1900-01-01", "v999.0.0", "2025-11-25"])
async def test_a_modern_request_in_a_version_that_has_none_is_told_which_have(version: str) -> None:
    async with served() as it:
        message = with_meta("server/discover", META | {"io.modelcontextprotocol/protocolVersion": version})
        answer = await it.modern(message, mcp_protocol_version=version)
        assert (answer.status, answer.json["id"]) == (400, 7)
        assert answer.json["error"]["code"] == UNSUPPORTED_VERSION
        assert answer.json["error"]["data"] == {"supported": list(eras.SUPPORTED), "requested": version}


async def test_a_refusal_by_a_tool_keeps_its_code_and_data() -> None:
    async with served() as it:
        answer = await it.modern(modern("tools/call", {"name": "refuse"}))
        assert (answer.status, answer.json["error"]["code"]) == (400, -32021)
        assert answer.json["error"]["data"] == {"requiredCapabilities": {"sampling": {}}}


# Answers.


async def test_a_defect_behind_the_tools_is_an_internal_error_with_the_id(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with served() as it:
        monkeypatch.setattr(it.tools, "has_tool", lambda _: True)
        with caplog.at_level(logging.ERROR):
            answer = await it.client.post(call("broken", request_id="b"))
        assert (answer.status, answer.json["id"], answer.json["error"]["code"]) == (500, "b", INTERNAL_ERROR)
        assert caplog.records[0].exc_info is not None
        assert (await it.client.post(legacy("ping"))).status == 200


async def test_a_tools_own_failure_is_a_result() -> None:
    async with served() as it:
        for name, code in (("not_found", "not_found"), ("defect", "internal")):
            answer = await it.client.post(call(name))
            assert answer.status == 200
            assert answer.json["result"]["isError"] is True
            assert answer.json["result"]["structuredContent"]["error"]["code"] == code


@pytest.mark.parametrize("accept", ["application/json", "*/*", None])
async def test_who_takes_no_stream_gets_the_result_alone(accept: str | None) -> None:
    async with served() as it:
        answer = await it.client.post(call("steps", progressToken="p"), accept=accept)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["result"]["structuredContent"] == {"steps": 2}


async def test_who_asks_for_no_progress_gets_plain_json() -> None:
    async with served() as it:
        assert (await it.client.post(call("steps"))).headers["content-type"] == "application/json"


@pytest.mark.parametrize("token", ["p", 0])
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_progress_comes_before_the_result_and_never_after(era: str, token: object) -> None:
    async with served() as it:
        if era == "legacy":
            answer = await it.client.post(call("steps", progressToken=token))
        else:
            answer = await it.modern(with_meta("tools/call", META | {"progressToken": token}, name="steps"))
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["x-accel-buffering"] == "no"
        first, second, result = answer.events
        assert [event["params"]["progress"] for event in (first, second)] == [1, 2]
        assert {event["params"]["progressToken"] for event in (first, second)} == {token}
        assert result["result"]["structuredContent"] == {"steps": 2}
        assert (await it.client.post(legacy("ping"))).json["result"] == {}


async def test_a_failure_after_progress_ends_the_stream_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as it:

        async def fail(tool_call: Any) -> bytes:
            tool_call.report_progress(1)
            raise RuntimeError("a defect")

        monkeypatch.setattr(it.tools, "call_tool", fail)
        answer = await it.client.post(call("steps", progressToken="p"))
        assert [event.get("error", {}).get("code") for event in answer.events] == [None, INTERNAL_ERROR]
        assert (await it.client.post(legacy("ping"))).status == 200


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_slow_call_begins_its_answer_as_a_stream(era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    monkeypatch.setattr(module, "KEEP_ALIVE_S", 0.01)
    async with served() as it:
        message = call("wait") if era == "legacy" else modern("tools/call", {"name": "wait", "arguments": {}})
        it.client.send(post(message, **({} if era == "legacy" else modern_headers(message))))
        await it.client.chunk_head()
        for _ in range(3):
            assert (await it.client.chunk()).startswith(b":")
        it.tools.release.set()
        assert (await it.client.event())["result"]["structuredContent"] == {"waited": True}


@pytest.mark.parametrize("kind", ["takes no stream", "has a key"])
async def test_a_slow_call_is_plain_where_its_client_waits_or_takes_no_stream(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    async with served() as it:
        if kind == "has a key":
            it.client.send(post(call("wait", **{CALL_KEY: "k"})))
        else:
            it.client.send(post(call("wait"), accept="application/json"))
        await it.tools.started.wait()
        await asyncio.sleep(0.05)
        it.tools.release.set()
        answer = await it.client.answer()
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["result"]["structuredContent"] == {"waited": True}


async def test_a_silent_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE_S", 0.01)
    async with served() as it:
        message = modern("subscriptions/listen", {"notifications": {}})
        it.client.send(post(message, **modern_headers(message)))
        await it.client.chunk_head()
        await it.client.event()
        for _ in range(3):
            assert (await it.client.chunk()).startswith(b":")


# Cancellation.


async def waiting(it: Served, message: dict[str, Any], **headers: str | None) -> RawClient:
    """A second connection, whose call is running."""
    client = RawClient(*await asyncio.open_connection("127.0.0.1", it.port))
    client.send(post(message, **headers))
    async with asyncio.timeout(WAIT_S):
        await it.tools.started.wait()
    return client


async def test_a_modern_client_that_hangs_up_cancels_its_call() -> None:
    async with served() as it:
        message = modern("tools/call", {"name": "wait"})
        client = await waiting(it, message, **modern_headers(message))
        await client.close()
        async with asyncio.timeout(WAIT_S):
            await it.tools.cancelled.wait()
        await until(lambda: not it.server.running)
        assert it.handler.calls == {}


async def test_a_legacy_client_that_hangs_up_does_not() -> None:
    async with served() as it:
        client = await waiting(it, call("wait"))
        await client.close()
        await until(lambda: len(it.server.connections) == 1)
        assert (await it.client.post(legacy("ping"))).status == 200
        assert it.tools.running == 1
        it.tools.release.set()
        await until(lambda: not it.server.running)
        assert not it.tools.cancelled.is_set()


async def test_a_legacy_call_is_cancelled_by_session_and_id() -> None:
    async with served() as it:
        session, other = await it.session(), await it.session()
        client = await waiting(it, call("wait", request_id="w"), mcp_session_id=session)
        for message, header in ((cancelled("w"), other), (cancelled("v"), session), (cancelled("w"), None)):
            assert (await it.client.post(message, mcp_session_id=header)).status == 202
        assert it.tools.running == 1
        assert (await it.client.post(cancelled("w"), mcp_session_id=session)).status == 202
        answer = await client.answer()
        assert (answer.status, answer.json["id"]) == (200, "w")
        assert "error" in answer.json
        assert it.tools.cancelled.is_set()
        assert it.handler.calls == {}
        assert (await client.post(legacy("ping"))).status == 200
        await client.close()


async def test_a_call_with_a_key_is_cancelled_by_its_key_from_anywhere() -> None:
    async with served() as it:
        client = await waiting(it, call("wait", **{CALL_KEY: "key-1"}))
        await it.client.post(cancelled(0, **{CALL_KEY: "key-2"}))
        assert it.tools.running == 1
        await it.client.post(cancelled(0, **{CALL_KEY: "key-1"}))
        assert "error" in (await client.answer()).json
        assert it.tools.cancelled.is_set()
        assert it.tools.keyed == ["key-2", "key-1"]
        await client.close()


async def test_work_that_outlives_its_caller_is_cancelled_where_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as it:
        monkeypatch.setattr(it.tools, "cancel_call", lambda key: key == "key-1")
        client = await waiting(it, call("wait", **{CALL_KEY: "key-1"}))
        await it.client.post(cancelled(0, **{CALL_KEY: "key-1"}))
        assert it.tools.running == 1
        it.tools.release.set()
        assert (await client.answer()).json["result"]["structuredContent"] == {"waited": True}
        await client.close()


async def test_a_call_that_is_asked_for_twice_is_cancelled_twice() -> None:
    async with served() as it:
        message = call("wait", **{CALL_KEY: "key-1"})
        first, second = await waiting(it, message), await waiting(it, message)
        await until(lambda: it.tools.running == 2)
        await it.client.post(cancelled(0, **{CALL_KEY: "key-1"}))
        for client in (first, second):
            assert "error" in (await client.answer()).json
            await client.close()
        assert it.tools.running == 0
        assert it.handler.calls == {}


async def test_a_call_that_has_ended_does_not_shield_its_double_from_cancellation() -> None:
    async with served() as it:
        first = await waiting(it, call("wait", **{CALL_KEY: "key-1"}))
        assert (await it.client.post(call("echo", **{CALL_KEY: "key-1"}))).status == 200
        await it.client.post(cancelled(0, **{CALL_KEY: "key-1"}))
        assert "error" in (await first.answer()).json
        await first.close()


async def test_the_end_of_the_server_is_the_end_of_its_calls() -> None:
    async with served() as it:
        session = await it.session()
        client = await waiting(it, call("wait", request_id="w"), mcp_session_id=session)
        async with asyncio.timeout(WAIT_S):
            await it.server.close()
        assert await client.rest() == b""
        assert it.tools.cancelled.is_set()
        assert it.handler.calls == {}
        await client.close()


# Subscriptions.


@pytest.mark.parametrize("request_id", [17, "sub"])
async def test_a_subscription_is_acknowledged_and_held_open_until_its_client_leaves(request_id: object) -> None:
    async with served() as it:
        message = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, request_id)
        async with connected(it.port) as client:
            client.send(post(message, **modern_headers(message)))
            await client.chunk_head()
            acknowledged = await client.event()
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
            assert acknowledged["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": request_id}
            assert acknowledged["params"]["notifications"] == {}
            assert (await it.client.post(legacy("ping"))).status == 200
            assert len(it.server.running) == 1
        await until(lambda: not it.server.running)


async def test_a_subscription_needs_a_client_that_takes_a_stream() -> None:
    async with served() as it:
        answer = await it.modern(modern("subscriptions/listen", {}, 7), accept="application/json")
        assert (answer.status, answer.json["id"]) == (406, 7)


# Mirrored parameters.


# Resources.


async def test_resources_are_listed_and_read_in_both_eras() -> None:
    async with served(resources=Views()) as it:
        listed = [(await it.client.post(legacy("resources/list"))).json["result"]]
        read = [(await it.client.post(legacy("resources/read", {"uri": Views.URI}))).json["result"]]
        templates = [(await it.client.post(legacy("resources/templates/list"))).json["result"]]
        listed.append((await it.modern(modern("resources/list"))).json["result"])
        read.append((await it.modern(modern("resources/read", {"uri": Views.URI}))).json["result"])
        templates.append((await it.modern(modern("resources/templates/list"))).json["result"])
    assert [each["resources"] for each in listed] == [[{"uri": Views.URI, "name": "view"}]] * 2
    assert [each["contents"] for each in read] == [[{"uri": Views.URI, "text": "<html>"}]] * 2
    assert [each["resourceTemplates"] for each in templates] == [[], []]
    for old, new in (listed, read, templates):
        assert (new["resultType"], new["cacheScope"]) == ("complete", "public")
        assert new["ttlMs"] > 0
        assert not old.keys() & {"resultType", "ttlMs", "cacheScope"}


@pytest.mark.parametrize("uri", ["ui://tested/other", "", "file:///etc/passwd"])
async def test_a_resource_that_is_not_there_is_named_in_the_error(uri: str) -> None:
    async with served(resources=Views()) as it:
        for answer in (
            await it.client.post(legacy("resources/read", {"uri": uri})),
            await it.modern(modern("resources/read", {"uri": uri})),
        ):
            assert answer.json["error"]["code"] == INVALID_PARAMS
            assert answer.json["error"]["data"] == {"uri": uri}


async def test_a_resource_is_read_by_its_uri_and_a_list_has_one_page() -> None:
    async with served(resources=Views()) as it:
        answer = await it.client.post(legacy("resources/read", {}))
        assert answer.json["error"]["code"] == INVALID_PARAMS
        answer = await it.client.post(legacy("resources/list", {"cursor": "x"}))
        assert answer.json["error"]["code"] == INVALID_PARAMS


async def test_a_header_that_names_another_resource_is_refused() -> None:
    message = modern("resources/read", {"uri": Views.URI})
    async with served(resources=Views()) as it:
        answer = await it.modern(message, mcp_name="ui://tested/other")
        assert answer.json["error"]["code"] == HEADER_MISMATCH
        assert (await it.modern(message, mcp_name=None)).json["error"]["code"] == HEADER_MISMATCH


@pytest.mark.parametrize("method", ["resources/list", "resources/read", "resources/templates/list"])
async def test_a_server_without_resources_has_no_methods_for_them(method: str) -> None:
    async with served() as it:
        params = {"uri": Views.URI}
        assert (await it.client.post(legacy(method, params))).json["error"]["code"] == METHOD_NOT_FOUND
        assert (await it.modern(modern(method, params))).json["error"]["code"] == METHOD_NOT_FOUND


@pytest.mark.parametrize("resources", [None, Views()], ids=["without", "with"])
async def test_a_server_says_whether_it_has_resources(resources: Views | None) -> None:
    async with served(resources=resources) as it:
        opening = legacy("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
        old = (await it.client.post(opening)).json["result"]["capabilities"]
        new = (await it.modern(modern("server/discover"))).json["result"]["capabilities"]
    more: dict[str, Any] = {"resources": {}, "extensions": {"io.modelcontextprotocol/ui": {}}} if resources else {}
    assert old == new == {"tools": {}, **more}


async def test_a_tools_mirrored_parameters_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    definition = {
        "name": "echo",
        "inputSchema": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "Number"}}},
    }
    monkeypatch.setattr(Tools, "tools_json", json.dumps([definition]).encode())
    async with served() as it:
        message = modern("tools/call", {"name": "echo", "arguments": {"n": 42}}, 7)
        assert (await it.modern(message, mcp_param_number="42.0")).status == 200
        for wrong in (None, "43", "x"):
            answer = await it.modern(message, mcp_param_number=wrong)
            assert (answer.status, answer.json["id"], answer.json["error"]["code"]) == (400, 7, HEADER_MISMATCH)
        assert len(it.tools.calls) == 1
        assert (await it.client.post(call("echo", {"n": 42}))).status == 200
