"""Servers that are not ours, as strict or as careless as some in the wild: nothing runs twice, nothing gets lost."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import msgspec
import pytest

from brummer.core.errors import BrummerError
from brummer.foreign.peer import ForeignTarget
from brummer.foreign.results import neutral, repeatable_of
from brummer.link.call import Call
from brummer.link.errors import NoResult, OutcomeUnknown, RemoteRefusal
from brummer.link.state import LinkState
from brummer.wire.http import status_codes
from brummer.wire.http.server import Exchange, HttpServer
from brummer.wire.mcp.eras import LEGACY_LATEST, MODERN
from brummer.wire.mcp.jsonrpc import ProtocolError
from brummer.wire.mcp.mirrored_headers import Body, check, mirrored_parameters

from .fakes import JSON
from .test_link import CalledLink, eventually, reached, running, tool_call
from .virtual_world import in_virtual_time

Message = dict[str, Any]
Tool = Callable[["Foreign", Exchange, Message], Awaitable[None]]


async def echo(server: "Foreign", exchange: Exchange, message: Message) -> None:
    server.respond(exchange, message, {"resultType": "complete", "echo": message["params"]["arguments"]})


class Foreign:
    """Listens on a port of its own. ``heard``: (headers, message) of everything; ``ran``: calls by their argument."""

    def __init__(self, tool: Tool = echo, *, port: int = 0) -> None:
        self.tool = tool
        self.heard: list[tuple[dict[bytes, bytes], Message]] = []
        self.ran: Counter[object] = Counter()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.http = HttpServer(self._handle, body_limit_bytes=1 << 20)
        self.target = ForeignTarget("docs", f"http://127.0.0.1:{self._listener.getsockname()[1]}/mcp")

    async def __aenter__(self) -> Self:
        await self.http.start([self._listener])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    def methods(self) -> list[str]:
        return [message["method"] for _, message in self.heard]

    def respond(self, exchange: Exchange, message: Message, result: object) -> None:
        exchange.respond(200, msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": result}), JSON)

    def refuse(self, exchange: Exchange, message: Message, code: int, status: int = 200) -> None:
        error = {"code": code, "message": "no"}
        request_id = message["id"] if status == status_codes.OK else "server-error"  # as the official SDK has it
        exchange.respond(status, msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "error": error}), JSON)

    async def _handle(self, exchange: Exchange) -> None:
        message = msgspec.json.decode(exchange.request.body)
        self.heard.append((exchange.request.headers, message))
        if "id" not in message:
            exchange.respond(202)
        else:
            await self.answer(exchange, message)

    async def call(self, exchange: Exchange, message: Message) -> None:
        self.ran[message["params"]["arguments"].get("n")] += 1
        await self.tool(self, exchange, message)

    async def answer(self, exchange: Exchange, message: Message) -> None:
        raise NotImplementedError


async def answer_as_modern(server: Foreign, exchange: Exchange, message: Message) -> None:
    if exchange.request.headers.get(b"mcp-protocol-version") != MODERN.encode():
        server.refuse(exchange, message, -32022, 400)
    elif message["method"] == "server/discover":
        server.respond(exchange, message, {"resultType": "complete", "supportedVersions": [MODERN]})
    elif message["method"] == "tools/call":
        await server.call(exchange, message)
    else:
        server.refuse(exchange, message, -32601, 404)


class Modern(Foreign):
    async def answer(self, exchange: Exchange, message: Message) -> None:
        await answer_as_modern(self, exchange, message)


class Legacy(Foreign):
    """With sessions. It answers an older ``version`` than was asked for, and takes no other in the header."""

    def __init__(self, tool: Tool = echo, *, version: str = LEGACY_LATEST) -> None:
        super().__init__(tool)
        self.version = version
        self.sessions: set[bytes] = set()
        self.begun = 0

    async def answer(self, exchange: Exchange, message: Message) -> None:
        headers, method = exchange.request.headers, message["method"]
        if method == "initialize":
            self.begun += 1
            session = b"session-%d" % self.begun
            self.sessions.add(session)
            result = {"protocolVersion": self.version, "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
            body = msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": result})
            exchange.respond(200, body, [*JSON, (b"mcp-session-id", session)])
        elif headers.get(b"mcp-session-id") not in self.sessions:
            self.refuse(exchange, message, -32600, 400)
        elif headers.get(b"mcp-protocol-version") != self.version.encode():
            self.refuse(exchange, message, -32000, 400)
        elif method == "ping":
            self.respond(exchange, message, {})
        else:
            await self.call(exchange, message)


@contextlib.asynccontextmanager
async def linked(server: Foreign) -> AsyncIterator[CalledLink]:
    async with server, running(server.target) as link:
        await reached(link, LinkState.READY)
        yield link


async def result(link: CalledLink, call: Call) -> Message:
    decoded: Message = msgspec.json.decode(await link.call(call))
    return decoded


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2025-03-26"])
async def test_the_version_that_the_server_chose_is_spoken(version: str) -> None:
    async with linked(server := Legacy(version=version)) as link:
        assert await result(link, tool_call({"n": 1})) == {"echo": {"n": 1}}
        assert server.begun == 1
        assert b"mcp-protocol-version" not in next(
            h for h, message in server.heard if message["method"] == "initialize"
        )


async def test_an_unknown_version_is_refused_and_reported() -> None:
    async with Legacy(version="2031-01-01\r\nx: y") as server, running(server.target) as link:
        await reached(link, LinkState.RETRYING)
        assert isinstance(link.last_error, NoResult)
        assert server.methods()[:2] == ["server/discover", "initialize"]


async def test_no_two_requests_of_a_session_have_the_same_id_whatever_connections_they_take() -> None:
    """Some servers find an answer's way by its id: with the same one twice, one call gets the other's answer."""
    arrived = asyncio.Event()

    async def all_at_once(server: Foreign, exchange: Exchange, message: Message) -> None:
        if sum(server.ran.values()) == 8:
            arrived.set()
        await arrived.wait()
        await echo(server, exchange, message)

    async with linked(server := Legacy(all_at_once)) as link:
        answers = await asyncio.gather(*(result(link, tool_call({"n": number})) for number in range(8)))
        assert answers == [{"echo": {"n": number}} for number in range(8)]
        ids = [message["id"] for _, message in server.heard if "id" in message]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("code", "status"), [(-32000, 200), (-32600, 200), (-32001, 200), (-32000, 400), (1, 404)])
async def test_a_tool_that_fails_as_a_forgotten_session_does_runs_once(code: int, status: int) -> None:
    async def fail(server: Foreign, exchange: Exchange, message: Message) -> None:
        server.refuse(exchange, message, code, status)

    async with linked(server := Legacy(fail)) as link:
        with pytest.raises(RemoteRefusal) as caught:
            await link.call(tool_call({"n": 1}))
        assert caught.value.context["rpc_code"] == code
        assert server.ran == {1: 1}
        assert server.begun == 1


@pytest.mark.parametrize(
    ("status", "body"), [(200, b""), (202, b""), (200, b"pong"), (404, b"no such method"), (405, b"")]
)
async def test_a_tool_that_fails_runs_once_also_if_its_server_does_not_know_ping(status: int, body: bytes) -> None:
    class WithoutPing(Legacy):
        async def answer(self, exchange: Exchange, message: Message) -> None:
            if message["method"] == "ping":
                exchange.respond(status, body)
            else:
                await super().answer(exchange, message)

    async def fail(server: Foreign, exchange: Exchange, message: Message) -> None:
        server.refuse(exchange, message, -32000)

    async with linked(server := WithoutPing(fail)) as link:
        with pytest.raises(RemoteRefusal) as caught:
            await link.call(tool_call({"n": 1}))
        assert caught.value.outcome == "unknown"
        assert server.ran == {1: 1}


@pytest.mark.parametrize(
    ("code", "status", "outcome"),
    [
        (-32602, 200, "unknown"),
        (-32600, 200, "unknown"),
        (-32700, 200, "unknown"),
        (-32601, 200, "not_executed"),
        (-32602, 400, "not_executed"),
    ],
)
@pytest.mark.parametrize("kind", [Legacy, Modern])
async def test_a_tools_own_words_do_not_prove_that_it_has_not_run(
    kind: type[Foreign], code: int, status: int, outcome: str
) -> None:
    async def invalid(server: Foreign, exchange: Exchange, message: Message) -> None:
        server.refuse(exchange, message, code, status)

    async with linked(server := kind(invalid)) as link:
        with pytest.raises(RemoteRefusal) as caught:
            await link.call(tool_call({"n": 1}))
        assert (caught.value.outcome, server.ran) == (outcome, {1: 1})


@pytest.mark.promise("foreign-calls-once")
async def test_a_foreign_server_can_not_cause_a_second_call() -> None:
    async def not_begun(_: Foreign, exchange: Exchange, message: Message) -> None:
        data = {"why": "late", "ledger_position": 1, "clock_s": 1.0}
        error = {"code": -32050, "message": "not begun", "data": data}
        exchange.respond(200, msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "error": error}), JSON)

    async with linked(server := Legacy(not_begun)) as link:
        with pytest.raises(RemoteRefusal):
            await link.call(tool_call({"n": 1}))
        assert server.ran == {1: 1}


async def test_a_session_that_is_forgotten_is_begun_anew_inside_the_call() -> None:
    async with linked(server := Legacy()) as link:
        server.sessions.clear()
        assert await result(link, tool_call({"n": 1})) == {"echo": {"n": 1}}
        assert (server.begun, server.ran) == (2, {1: 1})


async def test_a_call_whose_new_session_could_not_be_begun_has_not_run_and_is_made_later() -> None:
    class Failing(Legacy):
        async def answer(self, exchange: Exchange, message: Message) -> None:
            if message["method"] == "initialize" and self.methods().count("initialize") == 2:
                exchange.connection.abort()
            else:
                await super().answer(exchange, message)

    async with linked(server := Failing()) as link:
        server.sessions.clear()
        assert await result(link, tool_call({"n": 1})) == {"echo": {"n": 1}}
        assert server.ran == {1: 1}


async def test_a_server_that_is_replaced_by_one_of_the_other_era_is_spoken_to_in_its_way() -> None:
    class Replaced(Legacy):
        is_modern = False

        async def answer(self, exchange: Exchange, message: Message) -> None:
            if self.is_modern:
                await answer_as_modern(self, exchange, message)
            else:
                await super().answer(exchange, message)

    async with linked(server := Replaced()) as link:
        for number, is_modern in enumerate([False, True, False]):
            server.is_modern = is_modern
            dials = link.connections.dials
            for connection in server.http.connections:
                connection.abort()
            await eventually(lambda before=dials: link.connections.dials > before)  # type: ignore[misc]
            assert await result(link, tool_call({"n": number})) == {"echo": {"n": number}}
            assert server.target.dialect
            assert server.target.dialect.is_modern is is_modern
        assert server.ran == {0: 1, 1: 1, 2: 1}


async def test_a_hello_that_is_cut_short_teaches_nothing() -> None:
    class CutShort(Legacy):
        async def answer(self, exchange: Exchange, message: Message) -> None:
            if len(self.heard) == 1:
                exchange.connection.abort()
            else:
                await super().answer(exchange, message)

    async with linked(server := CutShort()) as link:
        assert await result(link, tool_call({"n": 1})) == {"echo": {"n": 1}}
        assert server.begun == 1


async def test_a_server_that_hangs_up_on_what_it_does_not_know_is_reached_all_the_same() -> None:
    class Curt(Legacy):
        async def answer(self, exchange: Exchange, message: Message) -> None:
            if message["method"] == "server/discover":
                exchange.connection.keep_alive = False
                exchange.respond(404, b"not here")
            else:
                await super().answer(exchange, message)

    async with linked(server := Curt()) as link:
        assert await result(link, tool_call({"n": 1})) == {"echo": {"n": 1}}
        assert server.begun == 1


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("plain", b"plain"),
        ("zürich", b"=?base64?esO8cmljaA==?="),
        (" padded ", b"=?base64?IHBhZGRlZCA=?="),
        (
            "x\r\nx-admin: yes\r\n\r\nPOST /evil HTTP/1.1",
            b"=?base64?eA0KeC1hZG1pbjogeWVzDQoNClBPU1QgL2V2aWwgSFRUUC8xLjE=?=",
        ),
        ("=?base64?bGl0ZXJhbA==?=", b"=?base64?PT9iYXNlNjQ/YkdsMFpYSmhiQT09Pz0=?="),
    ],
)
async def test_a_tools_name_cannot_become_a_header_of_its_own(name: str, header: bytes) -> None:
    async with linked(server := Modern()) as link:
        await link.call(Call("tools/call", {"name": name, "arguments": {}}, repeatable=False, deadline_s=5))
        headers, message = server.heard[-1]
        assert (headers[b"mcp-name"], message["params"]["name"]) == (header, name)
        assert b"x-admin" not in headers
        assert server.methods() == ["server/discover", "tools/call"]


async def test_arguments_that_a_tool_wants_in_headers_are_sent_there_once_it_has_asked() -> None:
    asks = {"type": "string", "x-mcp-header": "Region"}
    forbidden = {"name": "odd", "inputSchema": {"properties": {"a": {"x-mcp-header": "no token"}}}}
    tools = [forbidden, {"name": "tool", "inputSchema": {"properties": {"region": asks}}}]
    table = mirrored_parameters(msgspec.json.encode(tools[1:]))

    class Asking(Modern):
        async def answer(self, exchange: Exchange, message: Message) -> None:
            params = message["params"]
            arguments = msgspec.json.encode(params.get("arguments", {}))
            try:
                check(exchange.request.headers, Body(b"1", message["method"], params.get("name"), arguments), table)
            except ProtocolError as error:
                self.refuse(exchange, message, error.code, 400)
            else:
                if message["method"] == "tools/list":
                    self.respond(exchange, message, {"resultType": "complete", "tools": tools})
                else:
                    await super().answer(exchange, message)

    async with linked(server := Asking()) as link:
        for region in ("us-west1", "Zürich\r\nx: y"):
            assert (await result(link, tool_call({"n": 1, "region": region})))["echo"]["region"] == region
        assert server.methods() == ["server/discover", "tools/call", "tools/list", "tools/call", "tools/call"]
        assert server.ran == {1: 2}


async def test_a_server_that_has_moved_is_not_followed_and_said_to_have_moved() -> None:
    class Moved(Foreign):
        async def answer(self, exchange: Exchange, message: Message) -> None:
            exchange.respond(307, b"", [(b"location", b"http://127.0.0.1:1/mcp/")])

    async with Moved() as server, running(server.target) as link:
        await reached(link, LinkState.RETRYING)
        assert isinstance(link.last_error, NoResult)
        assert "http://127.0.0.1:1/mcp/" in link.last_error.message


@pytest.mark.parametrize("kind", [Modern, Legacy])
def test_a_server_that_takes_its_time_is_reached_at_once_and_not_suspected_for_it(kind: type[Foreign]) -> None:
    async def story() -> None:
        server = kind()
        answer = server.answer

        async def answer_late(exchange: Exchange, message: Message) -> None:
            await asyncio.sleep(2.5)
            await answer(exchange, message)

        server.answer = answer_late  # type: ignore[method-assign]
        async with server, running(server.target) as link:
            await asyncio.sleep(600)
            assert [each.after for each in link.history if each.before is not each.after] == [
                LinkState.CONNECTING,
                LinkState.READY,
            ]

    in_virtual_time(story())


def test_a_server_elsewhere_may_take_seconds_to_connect_to() -> None:
    async def story() -> None:
        async with Modern() as server:

            async def look_up(*_: object, **__: object) -> object:
                await asyncio.sleep(3)
                return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", server.target.port))]

            asyncio.get_running_loop().getaddrinfo = look_up  # type: ignore[method-assign, assignment]
            far = ForeignTarget("docs", f"http://docs.example:{server.target.port}/mcp")
            async with running(far) as link:
                await link.settled()
                assert link.state is LinkState.READY

    in_virtual_time(story())


def test_a_server_that_closes_what_idles_is_there_all_the_same_and_its_end_is_noticed() -> None:
    async def story() -> None:
        async with Legacy() as server, running(server.target) as link:
            await link.settled()
            assert await result(link, tool_call({"n": 0})) == {"echo": {"n": 0}}
            for number in range(1, 30):
                await asyncio.sleep(5)
                for connection in server.http.connections:
                    assert connection.transport
                    connection.transport.close()
                await asyncio.sleep(15)
                if number % 10 == 0:
                    assert await result(link, tool_call({"n": number})) == {"echo": {"n": number}}
            assert [each.after for each in link.history if each.before is not each.after] == [
                LinkState.CONNECTING,
                LinkState.READY,
            ]
            assert link.connections.dials < 20
            assert link.pool.connections == link.connections.size
            await link.call(tool_call({"n": 100}))
            await server.http.close()
            await asyncio.sleep(2)
            assert link.state is not LinkState.READY
            await asyncio.sleep(2)
            assert link.state in (LinkState.RETRYING, LinkState.RECONNECTING)

    in_virtual_time(story())


async def never(_: Foreign, __: Exchange, ___: Message) -> None:
    await asyncio.Event().wait()


async def test_a_cancelled_call_is_cancelled_at_a_legacy_server_by_its_id() -> None:
    async with linked(server := Legacy(never)) as link:
        task = asyncio.create_task(link.call(tool_call({"n": 1})))
        await eventually(lambda: server.ran[1] == 1)
        task.cancel()
        await eventually(lambda: server.methods()[-1] == "notifications/cancelled")
        headers, message = server.heard[-1]
        assert message["params"]["requestId"] == next(m["id"] for _, m in server.heard if m["method"] == "tools/call")
        assert headers[b"mcp-session-id"] in server.sessions


async def test_a_call_that_is_lost_is_unknown_and_not_made_again() -> None:
    async def hang_up(_: Foreign, exchange: Exchange, __: Message) -> None:
        exchange.connection.abort()

    async with linked(server := Legacy(hang_up)) as link:
        with pytest.raises(OutcomeUnknown):
            await link.call(tool_call({"n": 1}))
        assert server.ran == {1: 1}


@pytest.mark.parametrize("answer", [b"5", b"[]", b"null", b'"text"'])
async def test_a_result_that_is_no_object_is_no_defect_of_ours(answer: bytes) -> None:
    async def odd(server: Foreign, exchange: Exchange, message: Message) -> None:
        server.respond(exchange, message, msgspec.Raw(answer))

    async with linked(server := Legacy(odd)) as link:
        with pytest.raises(BrummerError) as caught:
            await link.call(tool_call({"n": 1}))
        assert caught.value.outcome == "unknown"
        assert server.ran == {1: 1}


def test_what_belongs_to_an_era_is_left_out_and_all_else_kept_byte_for_byte() -> None:
    meta = b'{"io.modelcontextprotocol/serverInfo":{},"a":1.10}'
    assert neutral(b'{"resultType":"complete","_meta":%b,"ttlMs":1,"content":[1.10],"x":1e400}' % meta) == (
        b'{"_meta":{"a":1.10},"content":[1.10],"x":1e400}'
    )


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        (b'{"tools":[{"name":"a","annotations":{"readOnlyHint":true}},{"name":"b"}]}', {"a"}),
        (b'{"tools":[{"name":"a","annotations":{"idempotentHint":true,"title":null}},{"name":"b"}]}', {"a"}),
        (b'{"tools":[{"name":"a","annotations":null},{"name":"b","annotations":{"readOnlyHint":null}}]}', set()),
        (b'{"tools":[{"name":"a","annotations":{"readOnlyHint":"yes"}}]}', set()),
        (b'{"tools":null}', set()),
        (b"[]", set()),
    ],
)
def test_only_what_a_tool_says_clearly_allows_to_repeat_it(listed: bytes, names: set[str]) -> None:
    assert repeatable_of(listed) == names
