"""What comes back in place of a plain answer is taken for what it is, and no call is lost or made twice for it."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from brummer.link.call import Call
from brummer.link.errors import NoResult, RemoteRefusal
from brummer.link.state import LinkState
from brummer.wire.http import connection
from brummer.wire.http.server import Exchange
from brummer.wire.mcp.server import CALL_KEY

from .fakes import JSON, Answer, FakeInstance, answer_with_arguments
from .test_calls_fast_path import Asked, nothing_is_held
from .test_link import CalledLink, reached, running, tool_call

EVENTS = [(b"content-type", b"text/event-stream")]
PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'

Way = Callable[[CalledLink, Call], Awaitable[dict[str, Any]]]


async def long_way(link: CalledLink, call: Call) -> dict[str, Any]:
    result: dict[str, Any] = msgspec.json.decode(await link.call(call))
    return result


async def short_way(link: CalledLink, call: Call) -> dict[str, Any]:
    return await Asked(link, call).result()


both_ways = pytest.mark.parametrize("way", [long_way, short_way])


def response(message: dict[str, Any], **members: object) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], **members})


def result_of(message: dict[str, Any]) -> bytes:
    return response(message, result={"done": True})


def streaming(*events: Callable[[dict[str, Any]], bytes], then: Callable[[Exchange], None]) -> Answer:
    async def answer(exchange: Exchange, message: dict[str, Any]) -> None:
        exchange.start_stream(200, EVENTS)
        for event in events:
            exchange.send(b"data: %b\n\n" % event(message))
        then(exchange)

    return answer


@both_ways
async def test_a_stream_that_breaks_off_behind_its_answer_has_answered(way: Way) -> None:
    answer = streaming(result_of, then=lambda exchange: exchange.connection.abort())
    async with FakeInstance(answer=answer) as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        assert await way(link, tool_call()) == {"done": True}
        assert len(instance.calls) == 1


@both_ways
async def test_a_stream_that_stays_open_behind_its_answer_has_answered(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STREAM_END_S", 0.01)
    answer = streaming(result_of, then=lambda _: None)
    async with FakeInstance(answer=answer) as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        assert await way(link, tool_call()) == {"done": True}
        assert len(instance.calls) == 1
        assert nothing_is_held(link)


async def test_what_a_server_asks_of_us_under_the_id_of_our_request_is_no_answer() -> None:
    heard: list[bytes] = []
    answer = streaming(
        lambda message: response(message, method="ping"),
        lambda _: PROGRESS,
        result_of,
        then=Exchange.end,
    )
    async with FakeInstance(answer=answer) as instance, running(instance.target) as link:
        call = tool_call()
        call.on_notification = heard.append
        assert msgspec.json.decode(await link.call(call)) == {"done": True}
    assert heard == [PROGRESS]


@both_ways
@pytest.mark.parametrize("said", [{"result": {"done": False}}, {"error": {"code": -32603, "message": "no"}}])
async def test_an_answer_to_another_request_is_not_ours_which_is_asked_for_again(
    way: Way, said: dict[str, Any]
) -> None:
    async def shifted(exchange: Exchange, message: dict[str, Any]) -> None:
        if len(instance.calls) > 1:
            await answer_with_arguments(exchange, message)
        else:
            exchange.respond(200, response({"id": 4711}, **said), JSON)

    async with FakeInstance(answer=shifted) as instance, running(instance.target) as link:
        await reached(link, LinkState.READY)
        assert (await way(link, tool_call({"n": 1})))["structuredContent"] == {"n": 1}
        first, second = (call["params"]["_meta"][CALL_KEY] for call in instance.calls)
        assert first == second
        assert instance.connections == 1  # the first one is not to be trusted


@pytest.mark.parametrize("headers", [JSON, EVENTS])
async def test_an_answer_that_is_not_utf_8_never_comes_through(headers: list[tuple[bytes, bytes]]) -> None:
    """One such byte ends the agent's side of the connection: most clients read strictly."""

    async def answer(exchange: Exchange, message: dict[str, Any]) -> None:
        said = response(message, result={"text": "@"}).replace(b"@", b"\xff")
        exchange.respond(200, b"data: %b\n\n" % said if headers is EVENTS else said, headers)

    async with FakeInstance(answer=answer) as instance, running(instance.target) as link:
        with pytest.raises(NoResult):
            await link.call(tool_call())
        assert len(instance.calls) == 1


@pytest.mark.parametrize("repeatable", [True, False])
async def test_who_hangs_up_behind_a_whole_answer_is_not_asked_again(*, repeatable: bool) -> None:
    async def fail(exchange: Exchange, _: dict[str, Any]) -> None:
        exchange.connection.keep_alive = False
        exchange.respond(500, b"oops")

    async with FakeInstance(answer=fail) as instance, running(instance.target) as link:
        with pytest.raises(NoResult) as caught:
            await link.call(tool_call(repeatable=repeatable))
        assert (caught.value.outcome, caught.value.context["status"]) == ("unknown", 500)
        assert len(instance.calls) == 1


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (200, {"code": -32602, "message": "Unknown tool"}, "not_executed"),
        (400, {"code": -32600, "message": "Invalid request"}, "not_executed"),
        (500, {"code": -32603, "message": "Internal error"}, "unknown"),
        (200, {"code": -32000, "message": "it broke halfway"}, "unknown"),
        (200, {"code": ["odd"], "message": "it broke halfway"}, "unknown"),
        (401, "a bearer token is needed", "not_executed"),
        (200, "it broke halfway", "unknown"),
    ],
)
async def test_a_refusal_says_whether_the_call_may_have_run(status: int, error: object, outcome: str) -> None:
    async def refuse(exchange: Exchange, message: dict[str, Any]) -> None:
        exchange.respond(status, response(message, error=error), JSON)

    async with FakeInstance(answer=refuse) as instance, running(instance.target) as link:
        with pytest.raises(RemoteRefusal) as caught:
            await link.call(tool_call())
        assert caught.value.outcome == outcome
        assert len(instance.calls) == 1


@pytest.mark.parametrize("error", [b'{"code":1e400}', b'{"code":1,"data":1e400}'])
async def test_an_error_with_a_number_that_no_double_holds_is_no_defect_of_ours(error: bytes) -> None:
    async def refuse(exchange: Exchange, message: dict[str, Any]) -> None:
        exchange.respond(200, b'{"jsonrpc":"2.0","id":%d,"error":%b}' % (int(message["id"]), error), JSON)

    async with FakeInstance(answer=refuse) as instance, running(instance.target) as link:
        with pytest.raises(NoResult):
            await link.call(tool_call())
