"""Calls that were sent on the spot: the stdio server keeps for them what it keeps for its tasks."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from brummer.wire.mcp.server import CLIENT_GONE, McpServer, RunningCall, ToolCall

from . import wire_support
from .wire_support import PING, PONG, WAIT_S, Tools, call, modern, stdio, until


class Sent(RunningCall):
    def __init__(self, tool_call: ToolCall, done: Callable[[bytes], None]) -> None:
        self.call = tool_call
        self.done = done
        self.cancelled_with: list[str | None] = []

    def cancel(self, message: str | None = None) -> None:
        self.cancelled_with.append(message)


class SendingTools(Tools):
    """``wait`` is sent on the spot, ``echo`` has its result at once, all others take a task."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []

    def start_call(self, tool_call: ToolCall, done: Callable[[bytes], None]) -> bytes | RunningCall | None:
        if tool_call.name == "echo":
            return b'{"content":[],"isError":false}'
        if tool_call.name != "wait":
            return None
        self.sent.append(Sent(tool_call, done))
        return self.sent[-1]

    def server(self, resources: wire_support.Views | None = None) -> McpServer:
        info = wire_support.INFO
        return McpServer(
            self,
            name=info["name"],
            version=info["version"],
            instructions=wire_support.INSTRUCTIONS,
            start_call=self.start_call,
            resources=resources,
        )


RESULT = b'{"content":[],"structuredContent":{"late":true}}'


def cancelled(request_id: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}}


async def sent(tools: SendingTools, count: int) -> None:
    await until(lambda: len(tools.sent) == count)


class CountingDescriptors:
    """The module `os`, which notes what is written."""

    read, fstat, set_blocking = staticmethod(os.read), staticmethod(os.fstat), staticmethod(os.set_blocking)

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, fd: int, data: memoryview, /) -> int:
        self.writes.append(bytes(data))
        return os.write(fd, data)


async def test_the_last_answer_in_flight_goes_out_at_once_and_earlier_ones_wait_for_company() -> None:
    tools, descriptors = SendingTools(), CountingDescriptors()
    writes = descriptors.writes
    async with stdio(tools, descriptors=descriptors) as (client, _, _):
        client.send(call("wait", request_id="first"), call("wait", request_id="last"))
        await sent(tools, 2)
        tools.sent[0].done(RESULT)
        assert writes == []
        tools.sent[1].done(RESULT)
        assert writes == []  # a write is due in this turn anyway
        await asyncio.sleep(0)
        assert len(writes) == 1
        client.send(call("wait", request_id="alone"))
        await sent(tools, 3)
        tools.sent[2].done(RESULT)
        assert len(writes) == 2


async def test_the_answer_goes_out_when_it_comes_in_the_era_of_its_request() -> None:
    tools = SendingTools()
    async with stdio(tools) as (client, server, _):
        client.send(call("wait", request_id="old"), modern("tools/call", {"name": "wait", "arguments": {}}, "new"))
        await sent(tools, 2)
        tools.sent[1].done(RESULT)
        tools.sent[0].done(RESULT)
        answers = {answer["id"]: answer["result"] for answer in await client.messages(2)}
        assert answers["old"] == {"content": [], "structuredContent": {"late": True}}
        assert answers["new"]["resultType"] == "complete"
        assert server.in_flight == {}


async def test_a_result_that_is_there_at_once_and_a_call_that_takes_a_task_are_answered_as_ever() -> None:
    async with stdio(SendingTools()) as (client, _, _):
        assert (await client.ask(call("echo", {"n": 1})))["result"]["content"] == []
        assert (await client.ask(call("big", request_id="task")))["id"] == "task"


async def test_its_id_cannot_be_used_again_before_it_is_answered() -> None:
    tools = SendingTools()
    async with stdio(tools) as (client, _, _):
        client.send(call("wait", request_id=5), call("wait", request_id=5))
        assert "error" in await client.message()
        tools.sent[0].done(RESULT)
        assert "result" in await client.message()


async def test_cancelled_it_is_over_and_its_id_is_free() -> None:
    tools = SendingTools()
    async with stdio(tools) as (client, server, _):
        client.send(call("wait", request_id=5), cancelled(5))
        assert await client.ask(PING) == PONG
        assert tools.sent[0].cancelled_with == [None]
        assert server.in_flight == {}
        client.send(call("wait", request_id=5))
        await sent(tools, 2)
        tools.sent[1].done(RESULT)
        assert "result" in await client.message()


async def test_the_end_of_input_leaves_it_its_moment_to_answer() -> None:
    tools = SendingTools()
    async with stdio(tools) as (client, _, serving):
        client.send(call("wait", request_id="last"))
        await sent(tools, 1)
        client.close_stdin()
        tools.sent[0].done(RESULT)
        assert (await client.message())["id"] == "last"
        await serving


async def test_after_that_moment_it_is_let_go_and_its_work_may_stay() -> None:
    tools = SendingTools()
    async with stdio(tools, finish_s=0.05) as (client, server, serving):
        client.send(call("wait"))
        await sent(tools, 1)
        client.close_stdin()
        async with asyncio.timeout(WAIT_S):
            await serving
        assert tools.sent[0].cancelled_with == [CLIENT_GONE]
        assert server.in_flight == {}
