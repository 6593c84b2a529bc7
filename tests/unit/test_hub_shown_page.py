"""The page as a hub offers it: one resource, an address on demand, and nothing made before it is wanted."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.contract.tools import VIEW_URI
from brummer.core.errors import BrummerError
from brummer.discovery.directory import VARIABLE
from brummer.hub.service import Hub, running_hub
from brummer.hub.shown_page import MIME_TYPE, PageResource
from brummer.settings.table import Flags
from brummer.wire.mcp.jsonrpc import decode
from brummer.wire.mcp.server import decode_request

from .wire_support import WAIT_S


class FakePage:
    """A `BrowserPage`; ``error`` is raised in place of an address."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.addresses = 0
        self.is_closed = False

    def text(self) -> str:
        return "<!doctype html><p>grün"

    async def address(self) -> str:
        if self.error is not None:
            raise self.error
        self.addresses += 1
        return f"http://127.0.0.1:1/#{self.addresses}"

    async def close(self) -> None:
        self.is_closed = True


async def test_the_page_is_made_when_it_is_first_wanted_and_once() -> None:
    made: list[FakePage] = []

    def make() -> FakePage:
        made.append(FakePage())
        return made[-1]

    resource = PageResource(make, is_listed=True)
    assert [each["uri"] for each in msgspec.json.decode(resource.resources_json)] == [VIEW_URI]
    await resource.close()
    assert made == []
    assert await resource.read_resource("ui://brummer/other") is None
    assert made == []
    await resource.read_resource(VIEW_URI)
    await resource.page.address()
    assert len(made) == 1
    await resource.close()
    assert made[0].is_closed


async def test_the_resource_is_a_page_of_mcp_apps_that_may_load_nothing() -> None:
    resource = PageResource(FakePage, is_listed=True)
    listed = msgspec.json.decode(resource.resources_json)
    contents = msgspec.json.decode(await resource.read_resource(VIEW_URI) or b"")
    assert [each["mimeType"] for each in (*listed, *contents)] == [MIME_TYPE] * 2
    assert contents[0]["text"] == "<!doctype html><p>grün"
    assert "csp" not in contents[0]["_meta"]["ui"]


# In a hub.


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {VARIABLE: str(tmp_path / "instances"), "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}


async def asked(hub: Hub, method: str, **params: object) -> Any:
    """The result of a request of the older era."""
    message = decode(msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    answer = hub.server.handle(decode_request(message, None, lambda _: None))
    whole = answer if isinstance(answer, bytes) else await answer  # type: ignore[misc]
    return msgspec.json.decode(whole)["result"]


def tools_named(result: Any) -> dict[str, Any]:
    return {each["name"]: each for each in result["tools"]}


async def test_a_hub_with_a_page_lists_it_and_its_tool_names_it(environ: dict[str, str]) -> None:
    page = FakePage()
    async with asyncio.timeout(WAIT_S), running_hub(environ, Path("/"), make_page=lambda _: page) as hub:
        assert "resources" in (await asked(hub, "initialize", protocolVersion="2025-11-25"))["capabilities"]
        tool = tools_named(await asked(hub, "tools/list"))["view_open"]
        assert tool["_meta"]["ui"]["resourceUri"] == VIEW_URI
        assert (await asked(hub, "resources/read", uri=VIEW_URI))["contents"][0]["text"] == page.text()
        result = await asked(hub, "tools/call", name="view_open", arguments={})
        assert result["structuredContent"]["url"] == "http://127.0.0.1:1/#1"
        assert result["structuredContent"]["instances"] == []
        assert "http://127.0.0.1:1/#1" in result["content"][0]["text"]
    assert page.is_closed


async def test_without_resources_the_tool_still_gives_the_address(environ: dict[str, str]) -> None:
    flags = Flags({"resources": False})
    make_page = lambda _: FakePage()  # noqa: E731
    async with asyncio.timeout(WAIT_S), running_hub(environ, Path("/"), flags=flags, make_page=make_page) as hub:
        assert (await asked(hub, "initialize", protocolVersion="2025-11-25"))["capabilities"] == {"tools": {}}
        assert "_meta" not in tools_named(await asked(hub, "tools/list"))["view_open"]
        result = await asked(hub, "tools/call", name="view_open", arguments={})
        assert result["structuredContent"]["url"] == "http://127.0.0.1:1/#1"


@pytest.mark.parametrize(
    ("error", "why"),
    [(BrummerError("it is busy"), "it is busy"), (OSError(28, "No space left on device"), "No space left on device")],
)
async def test_a_page_that_can_not_be_served_is_no_failure_of_the_tool(
    environ: dict[str, str], error: Exception, why: str
) -> None:
    make_page = lambda _: FakePage(error)  # noqa: E731
    async with asyncio.timeout(WAIT_S), running_hub(environ, Path("/"), make_page=make_page) as hub:
        result = await asked(hub, "tools/call", name="view_open", arguments={})
    assert result["isError"] is False
    assert result["structuredContent"]["url"] is None
    assert why in result["structuredContent"]["why"]
    assert why in result["content"][0]["text"]


async def test_a_hub_that_has_no_page_says_so(environ: dict[str, str]) -> None:
    async with asyncio.timeout(WAIT_S), running_hub(environ, Path("/")) as hub:
        result = await asked(hub, "tools/call", name="view_open", arguments={})
        assert result["structuredContent"]["url"] is None
        assert "_meta" not in tools_named(await asked(hub, "tools/list"))["view_open"]
