"""The official Python SDK's client (2.3) through the hub, over stdio and over HTTP, and straight to an instance, in
every mode that it has.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from brummer.contract.texts import lines_of
from brummer.contract.tools import INSTANCE_TOOLS, TOOLS
from tests.integration.programs import BRUM, LEGACY, MODERN, WAIT_S, Brum, Instance

HUB_TOOLS = [tool.name for tool in TOOLS]
INSTANCE_NAMES = [tool.name for tool in INSTANCE_TOOLS]
MODES = {"legacy": LEGACY, "auto": MODERN, MODERN: MODERN}
"""Mode → the revision that it must lead to: a server of both eras is never talked down."""

FRONTS = ["stdio", "http", "instance"]


@contextlib.asynccontextmanager
async def client_to(front: str, brum: Brum, instance: Instance, mode: str) -> AsyncIterator[Client]:
    """The SDK's client, connected as its documentation says."""
    async with contextlib.AsyncExitStack() as stack:
        if front == "stdio":
            stdio = StdioServerParameters(command=str(BRUM), args=["--mcp"], env=brum.environment, cwd=str(brum.home))
            client = Client(stdio, mode=mode)
        else:
            url = brum.hub_over_http().url if front == "http" else instance.url
            token = brum.http_token if front == "http" else instance.token
            headers = {"Authorization": f"Bearer {token}"}
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=30))
            client = Client(streamable_http_client(url, http_client=http), mode=mode)
        yield await stack.enter_async_context(client)


async def called(client: Client, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """The structured content of a call that has to succeed; the SDK has checked it against the output schema."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    content: dict[str, Any] | None = result.structured_content
    assert content is not None
    return content


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """For what can only be asked: it must come true in time."""
    async with asyncio.timeout(WAIT_S):
        while not await condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def instance(brum: Brum) -> Instance:
    return brum.instance(brum.project("shop"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("front", FRONTS)
async def test_it_lists_and_calls(brum: Brum, instance: Instance, front: str, mode: str) -> None:
    async with client_to(front, brum, instance, mode) as client:
        assert client.protocol_version == MODES[mode]
        listed = (await client.list_tools()).tools
        assert [tool.name for tool in listed] == (INSTANCE_NAMES if front == "instance" else HUB_TOOLS)
        for tool in listed:
            assert tool.output_schema is None
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is not None

        scripts = (await called(client, "scripts_list"))["scripts"]
        assert [script["name"] for script in scripts] == ["dev", "hello", "fail", "quiet"]

        ended = await called(client, "scripts_run", name="hello", wait="exit")
        assert (ended["status"], ended["exit_code"], ended["already_running"]) == ("exited", 0, False)
        found = await called(client, "logs_search", query="hello from")
        assert [line["text"] for line in lines_of(found) if line["stream"] == "stdout"] == ["hello from the script"]

        running = await called(client, "scripts_run", name="dev")
        assert running["status"] == "ready"
        again = await called(client, "scripts_run", name="dev")
        assert (again["already_running"], again["process_id"]) == (True, running["process_id"])

        failed = await client.call_tool("scripts_run", {"name": "nonsense"})
        assert failed.is_error
        assert failed.structured_content is not None
        error = failed.structured_content["error"]
        assert error.keys() == {"code", "message", "retryable", "retry_after_s", "outcome", "context"}
        assert (error["code"], error["outcome"]) == ("not_found", "not_executed")


@pytest.mark.promise("official-clients")
@pytest.mark.parametrize("mode", MODES)
async def test_every_tool_of_the_hub_answers_as_its_schema_says(brum: Brum, instance: Instance, mode: str) -> None:
    async with client_to("stdio", brum, instance, mode) as client:
        await client.list_tools()
        connected = await called(client, "instances_connect", instance=instance.id)
        assert connected["instance"]["instance_id"] == instance.id
        listed = (await called(client, "instances_list"))["instances"]
        assert [item["instance_id"] for item in listed] == [instance.id]
        assert (listed[0]["state"], listed[0]["pid"], listed[0]["mcp_url"]) == ("ready", instance.pid, instance.url)
        assert (await called(client, "scripts_run", name="dev"))["status"] == "ready"
        assert (await called(client, "scripts_restart", name="dev"))["status"] == "ready"
        assert [item["name"] for item in (await called(client, "scripts_status"))["processes"]] == ["dev"]
        assert (await called(client, "logs_tail", limit=1))["lines"][0]["process"] == "dev"
        assert (await called(client, "wait_for", process="dev", ready=True))["matched"]
        stopped = await called(client, "scripts_stop", name="dev")
        assert (stopped["status"], stopped["pid"]) == ("stopped", None)
        kinds = [change["kind"] for change in (await called(client, "changes_since"))["changes"]]
        assert kinds.count("started") == 2
        status = await called(client, "hub_status")
        assert [link["state"] for link in status["links"]] == ["ready"]
        tools = await called(client, "instance_tools")
        assert [tool["name"] for tool in tools["tools"]] == INSTANCE_NAMES
        inner = await called(client, "instance_call", tool="scripts_list", arguments={})
        assert inner["scripts"]
        assert "disconnected" in await called(client, "instances_disconnect")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("front", FRONTS)
async def test_an_unknown_tool_is_a_protocol_error_and_the_next_call_works(
    brum: Brum, instance: Instance, front: str, mode: str
) -> None:
    async with client_to(front, brum, instance, mode) as client:
        with pytest.raises(MCPError) as raised:
            await client.call_tool("no_such_tool", {})
        assert raised.value.code == INVALID_PARAMS
        assert (await called(client, "scripts_list"))["scripts"]


@pytest.mark.promise("progress-before-result")
async def test_progress_of_a_long_wait_arrives_everywhere(brum: Brum, instance: Instance) -> None:
    """An instance reports every five seconds; all ways there wait at the same time."""

    async def wait(front: str, mode: str) -> list[tuple[float, float | None, str | None]]:
        reports = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            reports.append((progress, total, message))

        async with client_to(front, brum, instance, mode) as client:
            result = await client.call_tool(
                "wait_for", {"log": "never", "timeout_s": 3.5}, progress_callback=on_progress
            )
        assert result.structured_content is not None
        assert result.structured_content["matched"] is False
        return reports

    ways = [(front, mode) for front in FRONTS for mode in ("legacy", MODERN)]
    async with asyncio.timeout(30):
        for reports in await asyncio.gather(*(wait(*way) for way in ways)):
            (progress, total, message), *more = reports
            assert (progress == pytest.approx(3.0, abs=0.5), total, bool(message), more) == (True, 3.5, True, [])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("front", ["stdio", "http"])
async def test_a_cancelled_call_is_freed(brum: Brum, instance: Instance, front: str, mode: str) -> None:
    async with client_to(front, brum, instance, mode) as client:

        async def in_flight() -> int:
            links = (await called(client, "hub_status"))["links"]
            return int(links[0]["in_flight"])

        async def one_is() -> bool:
            return await in_flight() == 1

        async def none_is() -> bool:
            return await in_flight() == 0

        waiting = asyncio.ensure_future(client.call_tool("wait_for", {"log": "never", "timeout_s": 60}))
        await until(one_is)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(none_is)
        assert (await called(client, "scripts_list"))["scripts"]
