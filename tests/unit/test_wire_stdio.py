"""The stdio server over real pipes: nothing that a client sends, or fails to read, takes the stream away from it."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from brummer.wire.mcp import pipes
from brummer.wire.mcp import stdio as module
from brummer.wire.mcp.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR
from brummer.wire.mcp.server import ToolCall
from brummer.wire.mcp.stdio import StdioServer

from . import wire_support
from .wire_support import META, MODERN, PING, PONG, WAIT_S, StdioClient, Tools, call, modern, stdio, until

pytest_plugins = ("tests.unit.wire_loops",)


async def test_a_call_is_answered_with_its_structured_content() -> None:
    async with stdio(Tools()) as (client, _, _):
        answer = await client.ask(call("echo", {"n": 7}, request_id="a"))
        assert answer["id"] == "a"
        assert answer["result"]["structuredContent"] == {"n": 7}
        assert "resultType" not in answer["result"]


@pytest.mark.promise("both-eras")
async def test_both_eras_are_served_on_one_stream() -> None:
    async with stdio(Tools()) as (client, _, _):
        legacy = await client.ask(call("echo", {"n": 1}))
        later = await client.ask(modern("tools/call", {"name": "echo", "arguments": {"n": 2}}))
        assert legacy["result"]["structuredContent"] == {"n": 1}
        assert later["result"]["structuredContent"] == {"n": 2}
        assert later["result"]["resultType"] == "complete"
        assert later["result"]["_meta"]["io.modelcontextprotocol/serverInfo"] == wire_support.INFO


REFUSED: dict[str, tuple[object, int]] = {
    "unknown method": ({"jsonrpc": "2.0", "id": 1, "method": "no/such"}, METHOD_NOT_FOUND),
    "params that are a list": ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}, INVALID_PARAMS),
    "an unknown tool": (call("no_such_tool"), INVALID_PARAMS),
    "no tool": ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}}, INVALID_PARAMS),
    "arguments that are a list": (call("echo", [1]), INVALID_PARAMS),
    "an unknown cursor": (
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": "x"}},
        INVALID_PARAMS,
    ),
    "a progress token that is a list": (call("echo", progressToken=[1]), INVALID_PARAMS),
    "a progress token that is a float": (call("echo", progressToken=1.5), INVALID_PARAMS),
    "modern without capabilities": (
        call("echo", **{"io.modelcontextprotocol/protocolVersion": MODERN}),
        INVALID_PARAMS,
    ),
    "modern with capabilities null": (
        call("echo", **META | {"io.modelcontextprotocol/clientCapabilities": None}),
        INVALID_PARAMS,
    ),
    "discovery without meta": ({"jsonrpc": "2.0", "id": 1, "method": "server/discover"}, INVALID_PARAMS),
    "a legacy method, said in modern": (modern("ping"), METHOD_NOT_FOUND),
    "an unknown version": (call("echo", **META | {"io.modelcontextprotocol/protocolVersion": "1900-01-01"}), -32022),
    "a refusal by the tool": (call("refuse"), -32021),
    "a defect behind the tools": (call("broken"), INTERNAL_ERROR),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_request_that_cannot_be_served_is_answered_by_id_and_the_next_one_works(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message, code = REFUSED[kind]
    tools = Tools()
    monkeypatch.setattr(tools, "has_tool", lambda name: name != "no_such_tool")
    async with stdio(tools) as (client, _, _):
        answer = await client.ask(message)
        assert (answer["id"], answer["error"]["code"]) == (1, code)
        assert await client.ask(PING) == PONG


async def test_an_unknown_version_is_told_which_are_known() -> None:
    async with stdio(Tools()) as (client, _, _):
        message = modern("tools/list")
        message["params"]["_meta"] = META | {"io.modelcontextprotocol/protocolVersion": "1900-01-01"}
        answer = await client.ask(message)
        assert answer["error"]["data"]["requested"] == "1900-01-01"
        assert MODERN in answer["error"]["data"]["supported"]


@pytest.mark.parametrize("nothing", [None, [], "", "{}", " { } "])
async def test_empty_arguments_count_as_left_out(nothing: object) -> None:
    async with stdio(Tools()) as (client, _, _):
        message = call("steps", progressToken=None)
        message["params"]["arguments"] = nothing
        answer = await client.ask(message)
        assert answer["result"]["structuredContent"] == {"steps": 2}


async def test_arguments_as_the_text_that_a_model_has_written_are_taken() -> None:
    async with stdio(Tools()) as (client, _, _):
        message = call("echo")
        message["params"]["arguments"] = '{"n": 7}'
        assert (await client.ask(message))["result"]["structuredContent"] == {"n": 7}


@pytest.mark.parametrize("arguments", [5, [1], "x", "[]", "null", '{"n": 1', '{"n": 1} {}', True])
async def test_arguments_that_are_no_object_are_refused(arguments: object) -> None:
    async with stdio(Tools()) as (client, _, _):
        message = call("echo")
        message["params"]["arguments"] = arguments
        assert (await client.ask(message))["error"]["code"] == INVALID_PARAMS


@pytest.mark.parametrize("params", [None, [], {"_meta": None}, {"_meta": []}, {"_meta": {}}, {}])
async def test_empty_params_count_as_left_out(params: object) -> None:
    async with stdio(Tools()) as (client, _, _):
        assert await client.ask({**PING, "params": params}) == PONG
        whole = {"name": "echo", "arguments": {"n": 1}, **(params if isinstance(params, dict) else {})}
        answer = await client.ask({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": whole})
        assert answer["result"]["structuredContent"] == {"n": 1}


async def test_a_byte_order_mark_before_the_first_message_does_no_harm() -> None:
    async with stdio(Tools()) as (client, _, _):
        client.send_raw(b"\xef\xbb\xbf" + json.dumps(PING).encode() + b"\n")
        assert await client.message() == PONG


# Batches.


def opening(version: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": "o", "method": "initialize", "params": {"protocolVersion": version}}


@pytest.mark.parametrize("version", [None, "2025-03-26"])
async def test_a_batch_gets_one_answer_with_all_its_responses(version: str | None) -> None:
    tools = Tools()
    async with stdio(tools) as (client, _, _):
        if version:
            await client.ask(opening(version))
        notified = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        unknown = {"jsonrpc": "2.0", "id": 3, "method": "no/such"}
        client.send([call("wait", request_id=1), notified, call("echo", {"n": 2}, request_id=2), unknown, 5, PING])
        await tools.started.wait()
        assert await client.ask({**PING, "id": "other"}) == {**PONG, "id": "other"}
        tools.release.set()
        answers = {answer["id"]: answer for answer in msgspec.json.decode(await client.line())}
        assert set(answers) == {1, 2, 3, None, "ping"}
        assert answers[1]["result"]["structuredContent"] == {"waited": True}
        assert answers[2]["result"]["structuredContent"] == {"n": 2}
        assert answers[3]["error"]["code"] == METHOD_NOT_FOUND


async def test_a_batch_without_requests_is_not_answered() -> None:
    async with stdio(Tools()) as (client, _, _):
        client.send([{"jsonrpc": "2.0", "method": "notifications/initialized"}])
        assert await client.ask(PING) == PONG


async def test_of_a_batch_a_cancelled_call_has_no_answer() -> None:
    tools = Tools()
    async with stdio(tools) as (client, _, _):
        client.send([call("wait", request_id=1), call("echo", request_id=2)])
        await tools.started.wait()
        client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        assert [answer["id"] for answer in msgspec.json.decode(await client.line())] == [2]
        assert tools.cancelled.is_set()


@pytest.mark.parametrize("version", ["2024-11-05", "2025-06-18", "2025-11-25"])
async def test_another_version_has_no_batches_and_every_request_in_one_is_refused_by_its_id(version: str) -> None:
    tools = Tools()
    async with stdio(tools) as (client, _, _):
        await client.ask(opening(version))
        client.send([call("echo", request_id=7), {"jsonrpc": "2.0", "method": "notifications/x"}, PING])
        refused = await client.messages(2)
        assert [each["id"] for each in refused] == [7, "ping"]
        assert {each["error"]["code"] for each in refused} == {INVALID_REQUEST}
        assert tools.calls == []
        assert await client.ask(PING) == PONG


async def test_an_id_in_flight_is_refused_and_the_first_call_is_still_answered() -> None:
    tools = Tools()
    async with stdio(tools) as (client, _, _):
        client.send(call("wait", request_id=5))
        await tools.started.wait()
        refusal = await client.ask(call("echo", request_id=5))
        assert (refusal["id"], refusal["error"]["code"]) == (5, INVALID_REQUEST)
        tools.release.set()
        assert (await client.message())["result"]["structuredContent"] == {"waited": True}
        assert (await client.ask(call("echo", {"n": 2}, request_id=5)))["result"]["structuredContent"] == {"n": 2}


@pytest.mark.parametrize("where", ["start", "end"])
async def test_a_message_that_is_too_long_is_refused_by_its_id_and_the_next_line_works(where: str) -> None:
    filler = b'"params":{"a":"' + b"x" * 20_000_000 + b'"}'
    head, tail = (b'"id":"far",', b"") if where == "start" else (b"", b',"id":"far"')
    async with stdio(Tools(), limit_bytes=16 * 1024 * 1024) as (client, server, _):
        client.send_raw(b'{"jsonrpc":"2.0",%b"method":"ping",%b%b}\n' % (head, filler, tail))
        answer = await client.message()
        assert answer["id"] == "far"
        assert answer["error"]["code"] == INVALID_REQUEST
        assert answer["error"]["data"] == {"code": "too_large", "limit_bytes": 16 * 1024 * 1024}
        assert await client.ask(PING) == PONG
        assert server.lines.held_bytes == 0


async def test_a_long_line_is_not_kept_while_it_comes_in() -> None:
    async with stdio(Tools(), limit_bytes=1000) as (client, server, _):
        client.send_raw(b"x" * 5_000_000)
        client.send_raw(b"y" * 5_000_000)
        await client.to_server.drain()
        await until(lambda: server.lines.held_bytes)
        assert server.lines.held_bytes <= pipes.LineReader.TAIL_BYTES
        client.send_raw(b"\n")
        assert (await client.message())["error"]["data"]["code"] == "too_large"


async def test_a_message_of_just_the_limit_is_taken() -> None:
    line = json.dumps(PING).encode()
    async with stdio(Tools(), limit_bytes=len(line)) as (client, _, _):
        client.send_raw(line + b"\n" + line + b" \n" + line + b"\n")
        answers = await client.messages(3)
        assert [answer.get("result") for answer in answers] == [{}, None, {}]


async def test_a_message_may_come_byte_by_byte() -> None:
    async with stdio(Tools()) as (client, _, _):
        for byte in json.dumps(call("echo", {"n": 3})).encode() + b"\r\n":
            client.send_raw(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.message())["result"]["structuredContent"] == {"n": 3}


async def test_what_was_read_before_the_server_started_is_the_beginning_of_its_input() -> None:
    line = json.dumps(call("echo", {"n": 3})).encode()
    async with stdio(Tools(), already_read=line[:20]) as (client, _, _):
        client.send_raw(line[20:] + b"\n")
        assert (await client.message())["result"]["structuredContent"] == {"n": 3}


async def test_blank_lines_are_passed_over() -> None:
    async with stdio(Tools()) as (client, _, _):
        client.send_raw(b"\n\r\n  \n\t\n" + json.dumps(PING).encode() + b"\r\n\n")
        assert await client.message() == PONG


async def test_ten_thousand_pipelined_pings_are_answered_in_order() -> None:
    async with stdio(Tools()) as (client, _, _):
        client.send(*({"jsonrpc": "2.0", "id": number, "method": "ping"} for number in range(10_000)))
        answers = await client.messages(10_000)
        assert [answer["id"] for answer in answers] == list(range(10_000))


async def test_a_result_never_breaks_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async def spread(_: ToolCall) -> bytes:
        return b'{\r\n"content" : [],\n "structuredContent":{"text":"a\\nb"}\r\n}'

    tools = Tools()
    monkeypatch.setattr(tools, "call_tool", spread)
    async with stdio(tools) as (client, _, _):
        client.send(call("echo"), modern("tools/call", {"name": "echo"}, 2))
        for _ in range(2):
            line = await client.line()
            assert b"\r" not in line
            assert msgspec.json.decode(line)["result"]["structuredContent"] == {"text": "a\nb"}


# Cancellation and progress.


async def test_a_cancelled_call_stops_and_is_not_answered() -> None:
    tools = Tools()
    async with stdio(tools) as (client, server, _):
        client.send(call("wait", request_id="w"))
        await tools.started.wait()
        client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "w"}})
        await tools.cancelled.wait()
        assert await client.ask(PING) == PONG
        assert server.in_flight == {}


async def test_a_call_cancelled_in_one_breath_with_its_request_never_begins() -> None:
    tools = Tools()
    async with stdio(tools) as (client, server, _):
        client.send(call("wait"), {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        assert await client.ask(PING) == PONG
        assert server.in_flight == {}
        assert tools.running == 0


async def test_a_cancelled_call_that_answers_nevertheless_is_not_heard() -> None:
    tools = Tools()
    async with stdio(tools) as (client, server, _):
        client.send(call("stubborn", request_id=3, progressToken="p"))
        await tools.started.wait()
        client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}})
        await tools.cancelled.wait()
        assert await client.ask(PING) == PONG
        assert server.in_flight == {}


CANCELLATIONS: dict[str, Any] = {
    "of nothing": {"requestId": "no such"},
    "without an id": {},
    "with an id of the wrong type": {"requestId": {"a": 1}},
    "with params that are a list": [1],
    "with params that are malformed elsewhere": {"requestId": 1, "name": 5},
}


@pytest.mark.parametrize("kind", CANCELLATIONS)
async def test_a_cancellation_that_means_nothing_is_passed_over(kind: str) -> None:
    async with stdio(Tools()) as (client, _, _):
        client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": CANCELLATIONS[kind]})
        assert await client.ask(PING) == PONG


@pytest.mark.parametrize("token", ["token", 0, 12345678901234567890])
async def test_progress_comes_before_the_result_and_never_after(token: object) -> None:
    async with stdio(Tools()) as (client, _, _):
        client.send(call("steps", progressToken=token))
        first, second, result = await client.messages(3)
        assert [message["params"]["progress"] for message in (first, second)] == [1, 2]
        assert first["params"] == {"progressToken": token, "progress": 1, "total": 2, "message": "stepping"}
        assert result["result"]["structuredContent"] == {"steps": 2}
        assert await client.ask(PING) == PONG


async def test_progress_is_only_for_those_who_asked() -> None:
    async with stdio(Tools()) as (client, _, _):
        assert (await client.ask(call("steps")))["result"]["structuredContent"] == {"steps": 2}


@pytest.mark.parametrize("request_id", ["sub", 17])
async def test_a_subscription_is_acknowledged_held_open_and_ends_by_cancellation(request_id: object) -> None:
    async with stdio(Tools()) as (client, server, _):
        listen = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, request_id)
        acknowledged = await client.ask(listen)
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
        assert acknowledged["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": request_id}
        assert acknowledged["params"]["notifications"] == {}
        assert await client.ask(PING) == PONG
        assert len(server.in_flight) == 1
        client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}})
        assert await client.ask(PING) == PONG
        assert server.in_flight == {}


async def test_a_subscription_is_completed_when_the_server_ends() -> None:
    async with stdio(Tools()) as (client, _, serving):
        await client.ask(modern("subscriptions/listen", {"notifications": {}}, "sub"))
        client.close_stdin()
        ended = await client.message()
        assert ended["id"] == "sub"
        assert ended["result"]["resultType"] == "complete"
        assert ended["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "sub"
        async with asyncio.timeout(module.FINISH_S / 2):
            await serving


# The client's roots.


async def opened_with_roots(client: StdioClient) -> None:
    await client.ask(
        {**opening("2025-11-25"), "params": {"protocolVersion": "2025-11-25", "capabilities": {"roots": {}}}}
    )
    client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert await client.ask(PING) == PONG


async def found_roots(client: StdioClient, server: StdioServer, result: object) -> tuple[str, ...]:
    """The known roots once the client has answered the request."""
    assert server.session.find_roots is not None
    finding = asyncio.ensure_future(server.session.find_roots())
    asked = await client.message()
    assert asked["method"] == "roots/list"
    client.send({"jsonrpc": "2.0", "id": asked["id"], **({"result": result} if result != "error" else {"error": {}})})
    await finding
    return server.session.roots


async def test_roots_are_asked_for_when_they_are_needed_and_once() -> None:
    async with stdio(Tools()) as (client, server, _):
        await opened_with_roots(client)
        roots = {"roots": [{"uri": "file:///a", "name": "A"}]}
        assert await found_roots(client, server, roots) == ("file:///a",)
        assert server.session.find_roots is None
        client.send({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
        assert await client.ask(PING) == PONG
        assert await found_roots(client, server, {"roots": []}) == ()


@pytest.mark.parametrize("nonsense", [{"roots": 5}, {"roots": [{}]}, [], None, "error"])
async def test_an_answer_without_roots_is_none(nonsense: object) -> None:
    async with stdio(Tools()) as (client, server, _):
        await opened_with_roots(client)
        assert await found_roots(client, server, nonsense) == ()
        assert await client.ask(PING) == PONG


async def test_a_client_that_does_not_say_its_roots_is_not_waited_for_again() -> None:
    async with stdio(Tools(), roots_s=0.01) as (client, server, _):
        await opened_with_roots(client)
        assert server.session.find_roots is not None
        await server.session.find_roots()
        assert server.session.find_roots is None
        asked = await client.message()
        client.send({"jsonrpc": "2.0", "id": asked["id"], "result": {"roots": [{"uri": "file:///late"}]}})
        assert await client.ask(PING) == PONG
        assert server.session.roots == ("file:///late",)


async def test_a_client_without_roots_is_not_asked_for_any() -> None:
    async with stdio(Tools()) as (client, _, _):
        client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert await client.ask(PING) == PONG


# A client that does not read, and one that is gone.


@pytest.mark.promise("a-client-that-does-not-read")
async def test_a_client_that_does_not_read_is_not_read_either_and_loses_nothing() -> None:
    tools = Tools()
    async with stdio(tools) as (client, server, _):
        count = 6_000
        requests = [{"jsonrpc": "2.0", "id": number, "method": "tools/list"} for number in range(count)]
        client.send(*requests)
        await until(lambda: server.writer.is_full)
        unread = client.to_server.transport.get_write_buffer_size()
        assert unread > 0
        one_read = pipes.READ_BYTES // 40 * 2_000  # requests in one read, each with its answer
        assert server.writer.pending_bytes < pipes.UNREAD_LIMIT_BYTES + one_read
        for number in range(count):
            assert b'"id":%d,' % number in (await client.line())[:40]
        assert not server.writer.is_full
        assert server.writer.pending_bytes == 0
        assert await client.ask(PING) == PONG


async def test_large_answers_arrive_whole_through_a_small_pipe() -> None:
    tools = Tools()
    async with stdio(tools) as (client, _, _):
        client.send(*(call("big", request_id=number) for number in range(8)))
        answers = await client.messages(8)
        assert sorted(answer["id"] for answer in answers) == list(range(8))
        assert all(answer["result"]["structuredContent"] == {"filler": tools.filler} for answer in answers)


async def test_a_closed_output_ends_the_server_at_once() -> None:
    tools = Tools()
    async with stdio(tools) as (client, _, serving):
        client.send(call("wait"))
        await tools.started.wait()
        client.close_stdout()
        client.send(PING)
        async with asyncio.timeout(module.FINISH_S / 2):
            await serving
        assert tools.cancelled.is_set()


async def test_an_output_that_closes_while_it_is_full_ends_the_server() -> None:
    async with stdio(Tools()) as (client, server, serving):
        client.send(*(call("big", request_id=number) for number in range(8)))
        await until(lambda: server.writer.is_full)
        client.close_stdout()
        async with asyncio.timeout(WAIT_S):
            await serving


async def test_the_end_of_input_leaves_calls_in_flight_their_moment() -> None:
    tools = Tools()
    async with stdio(tools) as (client, _, serving):
        client.send(call("wait", request_id="last"))
        await tools.started.wait()
        client.close_stdin()
        tools.release.set()
        assert (await client.message())["id"] == "last"
        await serving


async def test_calls_that_take_longer_than_that_moment_are_cancelled() -> None:
    tools = Tools()
    async with stdio(tools, finish_s=0.05) as (client, server, serving):
        client.send(call("wait"))
        await tools.started.wait()
        client.close_stdin()
        async with asyncio.timeout(WAIT_S):
            await serving
        assert tools.cancelled.is_set()
        assert server.in_flight == {}


async def test_a_client_that_neither_reads_nor_leaves_cannot_hold_the_end() -> None:
    async with stdio(Tools(), finish_s=0.05) as (client, server, serving):
        client.send(*(call("big", request_id=number) for number in range(8)))
        await until(lambda: server.writer.is_full)
        server.close()
        async with asyncio.timeout(WAIT_S):
            await serving


async def test_half_a_line_at_the_end_of_input_is_answered() -> None:
    async with stdio(Tools()) as (client, _, serving):
        client.send_raw(json.dumps(PING).encode())
        client.close_stdin()
        assert await client.message() == PONG
        await serving


async def test_closing_stops_taking_requests() -> None:
    tools = Tools()
    async with stdio(tools) as (client, server, serving):
        client.send(call("wait", request_id=1))
        await tools.started.wait()
        server.close()
        client.send(PING)
        tools.release.set()
        assert (await client.message())["id"] == 1
        await serving
        assert client.has_heard_all


# Other kinds of descriptors.


async def serve_file(requests: bytes, path: Path, tools: Tools) -> list[dict[str, Any]]:
    """The answers to what stands in a file, written to another one."""
    (path / "in").write_bytes(requests)
    stdin = os.open(path / "in", os.O_RDONLY)
    stdout = os.open(path / "out", os.O_WRONLY | os.O_CREAT)
    os.set_blocking(stdout, False)  # only for the guard against blocking calls
    server = StdioServer(tools.server(), stdin=stdin, stdout=stdout, limit_bytes=1 << 20)
    try:
        async with asyncio.timeout(WAIT_S):
            await server.serve()
    finally:
        for fd in (stdin, stdout):
            os.close(fd)
    return [json.loads(line) for line in (path / "out").read_bytes().splitlines()]


async def test_input_may_be_a_file(tmp_path: Path) -> None:
    pings = [{"jsonrpc": "2.0", "id": number, "method": "ping"} for number in range(20_000)]
    answers = await serve_file(b"\n".join(json.dumps(ping).encode() for ping in pings), tmp_path, Tools())
    assert [answer["id"] for answer in answers] == list(range(20_000))


async def test_input_may_be_nothing_at_all() -> None:
    stdin = os.open(os.devnull, os.O_RDONLY)
    output, stdout = os.pipe()
    server = StdioServer(Tools().server(), stdin=stdin, stdout=stdout, limit_bytes=1000)
    async with asyncio.timeout(WAIT_S):
        await server.serve()
    for fd in (stdin, stdout, output):
        os.close(fd)


async def test_an_input_that_is_closed_is_at_its_end() -> None:
    stdin, other = os.pipe()
    output, stdout = os.pipe()
    os.close(other)
    os.close(stdin)
    server = StdioServer(Tools().server(), stdin=stdin, stdout=stdout, limit_bytes=1000)
    async with asyncio.timeout(WAIT_S):
        await server.serve()
    for fd in (stdout, output):
        os.close(fd)


async def test_a_file_that_is_read_in_a_thread_waits_with_the_client_and_loses_nothing(
    tmp_path: Path,
) -> None:
    count = 6_000
    lines = b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"tools/list"}\n' % number for number in range(count))
    (tmp_path / "in").write_bytes(lines)
    stdin = os.open(tmp_path / "in", os.O_RDONLY)
    from_server, stdout = os.pipe()
    finish_s = 6 * WAIT_S  # a busy machine reads the last of them slowly
    server = StdioServer(Tools().server(), stdin=stdin, stdout=stdout, limit_bytes=1 << 20, finish_s=finish_s)
    serving = asyncio.create_task(server.serve())
    client = StdioClient(None, from_server)
    await until(lambda: server.writer.is_full)
    async with asyncio.timeout(WAIT_S):  # one for all lines: after the file's end the server waits half a second for us
        answers = await client.lines(count)
        await serving
    assert all(b'"id":%d,' % number in answer[:40] for number, answer in enumerate(answers))
    for fd in (stdin, stdout, from_server):
        os.close(fd)


# Thousands of bad lines.

GOOD = [
    PING,
    call("echo", {"n": 3}, request_id="e"),
    modern("tools/call", {"name": "echo", "arguments": {"n": 1}}, 12),
    modern("server/discover", {}, "d"),
    {"jsonrpc": "2.0", "id": 4, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}},
    {"jsonrpc": "2.0", "id": 5, "method": "tools/list"},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
    {"jsonrpc": "2.0", "id": 6, "result": {"roots": []}},
]
SNIPPETS = [b"\0", b"\xff", b"\\ud800", b"\\q", b'"', b"{", b"}", b"[", b"null", b"1e999", b"-", b"\xef\xbb\xbf", b"\r"]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    line = json.dumps(draw(st.sampled_from(GOOD))).encode()
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(line)))
        end = draw(st.integers(start, min(len(line), start + 12)))
        line = line[:start] + draw(st.sampled_from(SNIPPETS) | st.binary(max_size=3)) + line[end:]
    return line.replace(b"\n", b" ")


member = st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "x"])
value = st.sampled_from(["2.0", 1, -1, 1.5, None, True, "ping", "tools/call", [], {}, [1], {"name": 5}, "\ud800"])
objects = st.dictionaries(member, value, max_size=6).map(lambda message: json.dumps(message).encode())
any_line = (mutated() | objects | st.binary(max_size=60).map(lambda line: line.replace(b"\n", b""))).filter(
    lambda line: not line.lstrip(b" \t\r\xef\xbb\xbf").startswith(b"[")  # a batch has its own tests
)


class _Envelope(msgspec.Struct):
    """A reader of its own for what JSON-RPC calls a response or a notification, strict in other ways than ours."""

    method: Any = msgspec.UNSET
    id: Any = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # a response is one, whatever its numbers
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    jsonrpc: Any = msgspec.UNSET


def expects_an_answer(line: bytes) -> bool:
    """No for blank lines, notifications and responses; yes for requests and for whatever is malformed."""
    if not line.strip():
        return False
    while line.startswith(b"\xef\xbb\xbf"):
        line = line[3:]
    try:
        line.decode()
        envelope = msgspec.json.decode(line, type=_Envelope)
    except (UnicodeDecodeError, msgspec.DecodeError):
        return True
    if envelope.jsonrpc != "2.0":
        return True
    if isinstance(envelope.method, str):
        is_noted = envelope.id is None and envelope.method.startswith("notifications/")
        return envelope.id is not msgspec.UNSET and not is_noted
    if envelope.method not in (msgspec.UNSET, None):
        return True
    return envelope.result is msgspec.UNSET and envelope.error is msgspec.UNSET


def is_an_answer(line: bytes) -> bool:
    answer = json.loads(line.decode())
    assert answer["jsonrpc"] == "2.0"
    assert ("result" in answer) != ("error" in answer)
    if "error" in answer:
        assert isinstance(answer["error"]["code"], int)
        assert isinstance(answer["error"]["message"], str)
    assert answer["id"] is None or isinstance(answer["id"], str | int | float)
    return True


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(any_line, min_size=30, max_size=60))
@example([b'{"jsonrpc": "2.0", "id": 6, "result": {"roots":1e999}}'])
async def test_every_line_gets_the_one_answer_it_is_due_and_the_stream_lives(lines: list[bytes]) -> None:
    last = json.dumps({**PING, "id": "the last one"}).encode()
    async with stdio(Tools()) as (client, _, _):
        due = 0
        for line in lines:
            client.send_raw(line + b"\n")
            due += expects_an_answer(line)
        client.send_raw(last + b"\n")
        got = [await client.line() for _ in range(due + 1)]
        assert all(is_an_answer(line) for line in got)
        assert any(re.search(rb'"the last one"', line) for line in got)
        assert await client.ask(PING) == PONG


def test_the_parse_error_code_is_the_one_of_json_rpc() -> None:
    assert PARSE_ERROR == -32700
