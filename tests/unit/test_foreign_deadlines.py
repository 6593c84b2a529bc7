"""How long a foreign server's call may take: each limit has a setting, and signs of life extend it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.foreign.peer import ForeignTarget
from brummer.foreign.refusals import NotSendable
from brummer.hub.router import Router
from brummer.link.state import LinkState
from brummer.peers.instances import Instances
from brummer.settings.servers import Server
from brummer.wire.http.server import Exchange
from brummer.wire.http.sse import KEEP_ALIVE, encode_event
from brummer.wire.mcp.server import Meta, Params, Request, ToolCall

from .test_foreign import Foreign, Legacy, Message, Modern, Tool, linked, result
from .test_link import running, tool_call
from .virtual_world import in_virtual_time

EVENTS = [(b"content-type", b"text/event-stream")]
CONTENT = {"content": [{"type": "text", "text": "done"}]}


def answer_after(seconds: float) -> Tool:
    async def answer(server: Foreign, exchange: Exchange, message: Message) -> None:
        await asyncio.sleep(seconds)
        server.respond(exchange, message, CONTENT)

    return answer


def stream(*parts: tuple[float, bytes], ends_s: float = 0.0) -> Tool:
    """Sends each part after its number of seconds, and the answer ``ends_s`` after the last one."""

    async def answer(_: Foreign, exchange: Exchange, message: Message) -> None:
        exchange.start_stream(200, EVENTS)
        for pause_s, part in parts:
            await asyncio.sleep(pause_s)
            exchange.send(part)
        await asyncio.sleep(ends_s)
        exchange.send(encode_event(msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": CONTENT})))
        exchange.end()

    return answer


async def report(server: Foreign, exchange: Exchange, message: Message) -> None:
    """Reports progress every 50 s, ten times, if the request asks for it."""
    token = message["params"].get("_meta", {}).get("progressToken")
    exchange.start_stream(200, EVENTS)
    for number in range(1, 11):
        await asyncio.sleep(50)
        if token is not None:
            params = {"progressToken": token, "progress": number}
            progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            exchange.send(encode_event(msgspec.json.encode(progress)))
    exchange.send(encode_event(msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": CONTENT})))
    exchange.end()


@contextlib.asynccontextmanager
async def hub_for(server: Foreign, *, robust: bool = True, **settings: Any) -> AsyncIterator[Router]:
    instances = Instances(Path("/"), use_robust_networking=robust)
    instances.scanned()
    async with server:
        instances.add_server(Server("docs", server.target.url, **settings))
        try:
            yield Router(instances, [])
        finally:
            await instances.close()


async def called(router: Router, token: bytes = b"", notified: list[Any] | None = None) -> dict[str, Any]:
    """The hub's client calls the tool, and asks for progress if it gives a token."""
    heard = [] if notified is None else notified

    def notify(message: bytes) -> None:
        heard.append(msgspec.json.decode(message))

    params = Params(name="instance_call", meta=Meta(progress_token=msgspec.Raw(token)))
    request = Request(b"1", "tools/call", params, None, notify)
    arguments = msgspec.json.encode({"instance": "docs", "tool": "tool", "arguments": {"n": 1}})
    decoded: dict[str, Any] = msgspec.json.decode(await router.call_tool(ToolCall("instance_call", arguments, request)))
    return decoded


def code_of(answer: dict[str, Any]) -> str:
    return str(answer.get("structuredContent", {}).get("error", {}).get("code", ""))


@pytest.mark.parametrize("robust", [True, False])
@pytest.mark.parametrize("kind", [Modern, Legacy])
@pytest.mark.parametrize(
    ("settings", "fits_s", "exceeds_s"),
    [({}, 59, 61), ({"timeout_s": 5.0}, 4, 6), ({"timeout_s": 600.0}, 599, 601)],
)
def test_a_silent_call_has_sixty_seconds_or_the_timeout_of_its_server(
    kind: Any, settings: dict[str, float], fits_s: float, exceeds_s: float, *, robust: bool
) -> None:
    async def story() -> None:
        async with hub_for(kind(answer_after(fits_s)), robust=robust, **settings) as router:
            assert await called(router) == CONTENT
        async with hub_for(kind(answer_after(exceeds_s)), robust=robust, **settings) as router:
            assert code_of(await called(router)) == "deadline_exceeded"

    in_virtual_time(story())


@pytest.mark.parametrize("robust", [True, False])
@pytest.mark.parametrize(
    "parts",
    [
        [(50, KEEP_ALIVE)] * 20,
        [(50, b": still working\r\n\r\n")] * 20,
        [(50, b"event: ping\ndata: {}\n\n")] * 20,
        [(50, b"id: 7\ndata:\n\n")] * 20,
        [(50, b"retry: 1000\n\n")] * 20,
        [(50, encode_event(b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}'))] * 20,
    ],
    ids=["comment", "words", "ping", "empty", "retry", "log"],
)
def test_every_line_of_an_event_stream_is_a_sign_of_life(parts: Any, *, robust: bool) -> None:
    async def story() -> None:
        async with hub_for(Modern(stream(*parts)), robust=robust) as router:
            assert await called(router) == CONTENT
        async with hub_for(Modern(stream(*parts, ends_s=61)), robust=robust) as router:
            assert code_of(await called(router)) == "deadline_exceeded"

    in_virtual_time(story())


def test_a_large_answer_that_comes_slowly_is_no_silence() -> None:
    async def slowly(_: Foreign, exchange: Exchange, message: Message) -> None:
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": CONTENT})
        exchange.start_stream(200, [(b"content-type", b"application/json")])
        for byte in body:
            await asyncio.sleep(50)
            exchange.send(bytes([byte]))
        exchange.end()

    async def story() -> None:
        async with hub_for(Modern(slowly), max_timeout_s=86_400.0) as router:
            assert await called(router) == CONTENT

    in_virtual_time(story())


@pytest.mark.parametrize(("max_timeout_s", "code"), [(3600.0, ""), (400.0, "deadline_exceeded")])
def test_signs_of_life_extend_a_call_up_to_the_max_timeout_of_its_server(max_timeout_s: float, code: str) -> None:
    async def story() -> None:
        async with hub_for(Modern(stream(*[(50, KEEP_ALIVE)] * 10)), max_timeout_s=max_timeout_s) as router:
            assert code_of(await called(router)) == code

    in_virtual_time(story())


@pytest.mark.parametrize("kind", [Modern, Legacy])
def test_progress_is_asked_for_always_and_passed_to_a_client_that_asked(kind: Any) -> None:
    async def story() -> None:
        async with hub_for(kind(report)) as router:
            heard: list[Any] = []
            assert await called(router, notified=heard) == CONTENT
            assert heard == []
            assert await called(router, b'"mine"', heard) == CONTENT
            assert [each["params"]["progressToken"] for each in heard] == ["mine"] * 10

    in_virtual_time(story())


async def test_requests_that_are_no_calls_ask_for_no_progress() -> None:
    async with linked(server := Legacy()) as link:
        await result(link, tool_call({"n": 1}))
        asked = {message["method"]: "progressToken" in str(message) for _, message in server.heard}
        assert asked.pop("tools/call")
        assert not any(asked.values())


@pytest.mark.parametrize(("connect_timeout_s", "is_ready"), [(10.0, False), (30.0, True)])
def test_a_server_has_its_connect_timeout_for_the_handshake(connect_timeout_s: float, *, is_ready: bool) -> None:
    class Waking(Modern):
        async def answer(self, exchange: Exchange, message: Message) -> None:
            await asyncio.sleep(20)
            await super().answer(exchange, message)

    async def story() -> None:
        async with Waking() as server:
            target = ForeignTarget("docs", server.target.url, patience_s=connect_timeout_s)
            async with running(target) as link:
                await asyncio.sleep(300)
                assert (link.state is LinkState.READY) is is_ready

    in_virtual_time(story())


# Bytes on the wire.


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (None, {"authorization": "x\r\nx-admin: yes"}),
        (None, {"authorization": "x\nx-admin: yes"}),
        (None, {"x\r\ny": "1"}),
        (None, {"Content-Length": "0"}),
        (None, {"transfer-encoding": "chunked"}),
        ("/mcp HTTP/1.1\r\nx-admin: yes\r\n\r\n", {}),
        ("/a b", {}),
    ],
)
async def test_a_request_that_http_would_misread_is_not_sent(url: str | None, headers: dict[str, str]) -> None:
    async with Modern() as server:
        target = ForeignTarget("docs", server.target.url + (url or ""), headers)
        async with running(target) as link:
            with pytest.raises(NotSendable) as caught:
                await link.call(tool_call({"n": 1}))
            assert (caught.value.outcome, caught.value.retryable) == ("not_executed", False)
            assert server.heard == []


@pytest.mark.parametrize(
    ("path", "sent"), [("/mcp/zürich", b"/mcp/z%C3%BCrich"), ("/a%20b?q=1&r=é", b"/a%20b?q=1&r=%C3%A9"), ("", b"/")]
)
async def test_a_url_is_encoded_as_http_requires(path: str, sent: bytes) -> None:
    targets: list[bytes] = []

    class Noting(Modern):
        async def answer(self, exchange: Exchange, message: Message) -> None:
            targets.append(exchange.request.target)
            await super().answer(exchange, message)

    async with Noting() as server:
        target = ForeignTarget("docs", server.target.url.removesuffix("/mcp") + path, {"authorization": "naïve"})
        async with running(target) as link:
            await link.call(tool_call({"n": 1}))
        assert set(targets) == {sent}
        assert server.heard[0][0][b"authorization"] == "naïve".encode()
