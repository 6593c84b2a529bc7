"""The view that an agent opens: the tool, its resource in both eras, its address, and the setting that removes it."""

import json
import signal
import socket
import stat
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.integration.browser import page_server
from tests.integration.programs import BRUM, LEGACY, MODERN_META, WAIT_S, Brum, Hub, RpcError, within

URI = "ui://brummer/view"
OPENING = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}


def tool_of(hub: Hub) -> dict[str, object]:
    tool: dict[str, object] = {each["name"]: each for each in hub.ask("tools/list")["tools"]}["view_open"]
    return tool


def open_page(address: str) -> str:
    """What a browser gets before it has shown the secret."""
    with urlopen(address.partition("#")[0], timeout=WAIT_S) as answer:
        page: str = answer.read().decode()
    return page


def test_an_agent_opens_a_view_which_its_hub_serves_until_it_ends(brum: Brum) -> None:
    brum.instance(brum.project("shop"))
    hub = brum.hub().greet()
    assert not (brum.instances / "web.session").exists()
    result = hub.ask("tools/call", name="view_open", arguments={})
    content = result["structuredContent"]
    assert content["url"] in result["content"][0]["text"]
    assert [each["name"] for each in content["instances"]] == ["shop"]
    assert "<!doctype html>" in open_page(content["url"])
    assert hub.call("view_open")["url"] != content["url"]
    hub.close_stdin()
    assert hub.wait() == 0
    with pytest.raises(OSError, match="refused"):
        open_page(content["url"])


def test_two_hubs_and_brum_web_show_one_page(brum: Brum) -> None:
    server = page_server(brum)
    port = server.url.partition("#")[0]
    first, second = brum.hub().greet(), brum.hub().greet()
    assert first.call("view_open")["url"].startswith(port)
    assert second.call("view_open")["url"].startswith(port)
    assert brum.run("web").stdout.startswith(port)
    server.end()
    assert within(WAIT_S, lambda: first.call("view_open")["url"].startswith(port))


def test_the_page_is_a_resource_in_both_eras(brum: Brum) -> None:
    hub = brum.hub()
    opening = hub.ask("initialize", **OPENING)
    assert opening["capabilities"]["resources"] == {}
    assert tool_of(hub)["_meta"] == {"ui": {"resourceUri": URI}}
    for meta in ({}, {"_meta": MODERN_META}):
        assert [each["uri"] for each in hub.ask("resources/list", **meta)["resources"]] == [URI]
        contents = hub.ask("resources/read", uri=URI, **meta)["contents"]
        assert [each["mimeType"] for each in contents] == ["text/html;profile=mcp-app"]
        assert contents[0]["text"].startswith("<!doctype html>")
        with pytest.raises(RpcError) as caught:
            hub.ask("resources/read", uri="ui://brummer/other", **meta)
        assert caught.value.code == -32602


@pytest.mark.parametrize("where", ["variable", "file", "flag"])
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_setting_removes_the_resource_and_leaves_the_address(brum: Brum, where: str, era: str) -> None:
    home = brum.home / "home"
    home.mkdir()
    more = {"HOME": str(home)} | ({"BRUMMER_RESOURCES": "false"} if where == "variable" else {})
    if where == "file":
        (home / ".brum.toml").write_text("resources = false\n")
    hub = brum.hub(*(["--set", "resources=false"] if where == "flag" else []), cwd=None, **more)
    if era == "legacy":
        opening = hub.ask(
            "initialize", protocolVersion=LEGACY, capabilities={}, clientInfo={"name": "t", "version": "0"}
        )
    else:
        opening = hub.ask("server/discover", _meta=MODERN_META)
    assert opening["capabilities"] == {"tools": {}}
    assert "_meta" not in tool_of(hub)
    for method in ("resources/list", "resources/read", "resources/templates/list"):
        with pytest.raises(RpcError) as caught:
            hub.ask(method, uri=URI)
        assert caught.value.code == -32601
    assert hub.call("view_open")["url"].startswith("http://127.0.0.1:")


def test_the_early_answer_says_the_same_as_the_server(brum: Brum, tmp_path: Path) -> None:
    """The client's opening is there before the hub, and not before: both answers are compared."""
    late = brum.hub("--set", "logind=false").ask("initialize", **OPENING)
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": OPENING})
    script = tmp_path / "opened.sh"
    script.write_text(f"printf '%s\\n' '{line}' | {BRUM} --mcp\n")
    early = json.loads(brum.start("/bin/sh", script).stdout.line())["result"]
    assert early == late


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_brum_web_prints_one_address_and_ends_when_it_is_told_to(brum: Brum, number: signal.Signals) -> None:
    server = page_server(brum)
    again = brum.run("web")
    assert again.status == 0
    assert f"process {server.pid} serves the page already" in again.stderr
    assert again.stdout.count("\n") == 1
    server.signal(number)
    assert server.wait() == 0
    assert server.stdout.rest() == server.url + "\n"
    assert server.stderr.rest() == ""
    assert not (brum.instances / "web.sock").exists()


def test_a_port_that_is_taken_is_named(brum: Brum) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = brum.run("web", "--port", str(port))
    assert done.status == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert done.stdout == ""


def test_the_file_of_the_session_is_for_its_user_alone(brum: Brum) -> None:
    page_server(brum)
    assert stat.S_IMODE((brum.instances / "web.session").stat().st_mode) == 0o600
    assert stat.S_IMODE((brum.instances / "web.sock").stat().st_mode) == 0o600
