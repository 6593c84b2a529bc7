"""The hub tells an instance which client asks for a change."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.hub.direct_calls import tool_result
from brummer.settings.servers import Server
from brummer.wire.http.server import Exchange
from brummer.wire.mcp.eras import META_CLIENT_INFO
from brummer.wire.mcp.server import Meta, Params, Request, Session, ToolCall

from .fakes import respond
from .test_foreign import Modern
from .test_hub import hub_with, served

CLIENT = {"name": "claude-code", "version": "2.1.3"}
WITH_PICTURES = msgspec.Raw(msgspec.json.encode({**CLIENT, "icons": [{"src": "data:" + "x" * 9_000}]}))


def _ignore(_: bytes) -> None:
    """Messages beside the answer."""


def requests(tool: str) -> dict[str, Request]:
    """As clients of both eras send them."""
    return {
        "legacy": Request(
            b"1", "tools/call", Params(name=tool), Session("s", client="claude-code", client_version="2.1.3"), _ignore
        ),
        "modern": Request(b"1", "tools/call", Params(name=tool, meta=Meta(client_info=WITH_PICTURES)), None, _ignore),
    }


async def metas(tmp_path: Path, tool: str, arguments: dict[str, Any], era: str) -> list[dict[str, Any]]:
    """What comes with the calls at the instance."""
    found: list[dict[str, Any]] = []

    async def answer(exchange: Exchange, message: dict[str, Any]) -> None:
        found.append(message["params"]["_meta"])
        respond(exchange, message, {"structuredContent": {}, "isError": False})

    async with served(tmp_path / "shop", answer) as shop, hub_with(shop) as router:
        await router.instances.settled()
        await router.call_tool(ToolCall(tool, msgspec.json.encode(arguments), requests(tool)[era]))
    return found


@pytest.mark.promise("who-asked")
@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("tool", ["scripts_run", "scripts_stop", "scripts_restart"])
async def test_a_call_that_changes_something_names_the_client_and_its_version_alone(
    tmp_path: Path, tool: str, era: str
) -> None:
    (meta,) = await metas(tmp_path, tool, {"name": "dev"}, era)
    assert meta[META_CLIENT_INFO] == CLIENT
    (meta,) = await metas(tmp_path, "instance_call", {"tool": tool, "arguments": {"name": "dev"}}, era)
    assert meta[META_CLIENT_INFO] == CLIENT


@pytest.mark.parametrize("tool", ["scripts_status", "logs_tail", "changes_since"])
async def test_a_call_that_only_reads_carries_nothing_more(tmp_path: Path, tool: str) -> None:
    (meta,) = await metas(tmp_path, tool, {}, "legacy")
    assert META_CLIENT_INFO not in meta


async def test_a_foreign_server_does_not_learn_which_client_asks() -> None:
    async with Modern() as server, hub_with() as router:
        router.instances.add_server(Server("docs", server.target.url))
        call = {"instance": "docs", "tool": "scripts_run", "arguments": {}}
        await router.call_tool(
            ToolCall("instance_call", msgspec.json.encode(call), requests("instance_call")["legacy"])
        )
        assert "tools/call" in server.methods()
        assert CLIENT["name"] not in str(server.heard)


async def test_a_program_that_calls_its_own_hub_says_who_it_is(tmp_path: Path) -> None:
    found: list[dict[str, Any]] = []

    async def answer(exchange: Exchange, message: dict[str, Any]) -> None:
        found.append(message["params"]["_meta"])
        respond(exchange, message, {"structuredContent": {}, "isError": False})

    class Own:
        def __init__(self, router: Any) -> None:
            self.router = router

    async with served(tmp_path / "shop", answer) as shop, hub_with(shop) as router:
        await tool_result(Own(router), "scripts_stop", b'{"name":"dev"}', "command line")  # type: ignore[arg-type]
    assert found[0][META_CLIENT_INFO] == {"name": "command line", "version": ""}
