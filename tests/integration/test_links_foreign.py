"""MCP servers that are not ours, made with the official SDK: both eras, forgotten sessions, lost calls, TLS."""

import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .programs import Brum, Hub, Program

SERVER = Path(__file__).parent / "scenarios" / "foreign_server.py"


@pytest.fixture
def brum(tmp_path: Path) -> Iterator[Brum]:
    world = Brum(tmp_path)
    yield world
    world.end()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def start(brum: Brum, port: int, kind: str) -> Program:
    program = brum.python(SERVER, str(port), kind, brum.home / "counted.txt")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.02)  # another program's port opens without an event
        else:
            return program
    raise TimeoutError("the foreign server did not come up")


def hub_for(brum: Brum, url: str, **environment: Any) -> Hub:
    return brum.hub("--server", f"docs={url}", **environment).greet()


def foreign_call(hub: Hub, tool: str, **arguments: Any) -> dict[str, Any]:
    return hub.ask(
        "tools/call", 40, name="instance_call", arguments={"instance": "docs", "tool": tool, "arguments": arguments}
    )


def begin(hub: Hub, request_id: int, tool: str, **arguments: Any) -> None:
    params = {"name": "instance_call", "arguments": {"instance": "docs", "tool": tool, "arguments": arguments}}
    hub.send(
        json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}).encode() + b"\n"
    )


def until_counted(brum: Brum, what: str, times: int) -> None:
    counted = brum.home / "counted.txt"
    deadline = time.monotonic() + 20
    while not counted.exists() or counted.read_text().split().count(what) < times:
        assert time.monotonic() < deadline, f"{what} did not begin"
        time.sleep(0.01)


@pytest.mark.promise("foreign-servers")
@pytest.mark.parametrize("kind", ["stateful", "stateless"])
def test_a_foreign_server_is_listed_and_its_tools_are_called(brum: Brum, kind: str) -> None:
    port = free_port()
    start(brum, port, kind)
    hub = hub_for(brum, f"http://127.0.0.1:{port}/mcp")
    (listed,) = hub.call("instances_list")["instances"]
    assert (listed["instance_id"], listed["state"], listed["pid"]) == ("docs", "ready", None)
    tools = hub.call("instance_tools", instance="docs")["tools"]
    assert {tool["name"] for tool in tools} == {"echo", "look", "change"}
    assert foreign_call(hub, "echo", text="hello")["structuredContent"] == {"result": "hello"}
    assert hub.call("scripts_list", instance="docs")["error"]["code"] == "not_an_instance"


@pytest.mark.parametrize("kind", ["stateful", "stateless"])
def test_after_a_restart_the_next_call_works_though_the_server_forgot_the_session(brum: Brum, kind: str) -> None:
    port = free_port()
    first = start(brum, port, kind)
    hub = hub_for(brum, f"http://127.0.0.1:{port}/mcp")
    foreign_call(hub, "echo", text="before")
    first.signal(signal.SIGKILL)
    first.wait()
    start(brum, port, kind)
    assert foreign_call(hub, "echo", text="after")["structuredContent"] == {"result": "after"}


@pytest.mark.promise("foreign-calls-once")
def test_a_lost_call_is_sent_again_if_the_server_says_it_may_be_and_is_unknown_if_not(brum: Brum) -> None:
    port = free_port()
    first = start(brum, port, "stateless")
    hub = hub_for(brum, f"http://127.0.0.1:{port}/mcp")
    begin(hub, 901, "look", seconds=2)
    begin(hub, 902, "change", seconds=2)
    until_counted(brum, "look", 1)
    until_counted(brum, "change", 1)
    first.signal(signal.SIGKILL)
    first.wait()
    start(brum, port, "stateless")
    answers = {message["id"]: message["result"] for message in (hub.receive(40), hub.receive(40))}
    assert answers[901]["structuredContent"] == {"result": "looked"}
    assert answers[902]["structuredContent"]["error"]["outcome"] == "unknown"
    counted = (brum.home / "counted.txt").read_text().split()
    assert (counted.count("look"), counted.count("change")) == (2, 1)


class _Minimal(BaseHTTPRequestHandler):
    """Answers as little as a modern MCP server may."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        result = {"resultType": "complete", "content": [], "structuredContent": {"method": message["method"]}}
        body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def certificate(folder: Path) -> tuple[Path, Path]:
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return key, cert


def test_a_server_behind_tls_is_reached_by_name_and_a_certificate_that_does_not_hold_is_refused(brum: Brum) -> None:
    key, cert = certificate(brum.home)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Minimal)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"https://localhost:{server.server_port}/mcp"
        trusting = hub_for(brum, url, SSL_CERT_FILE=str(cert))
        assert foreign_call(trusting, "any")["structuredContent"] == {"method": "tools/call"}
        wary = hub_for(brum, url)
        (listed,) = wary.call("instances_list")["instances"]
        assert listed["last_error"]["code"] == "tls"
        trusting.end()
        wary.end()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_users_settings_file_names_servers_and_a_broken_one_is_only_reported(brum: Brum) -> None:
    port = free_port()
    start(brum, port, "stateless")
    home = brum.project("home", {".brum.toml": f'[servers.docs]\nurl = "http://127.0.0.1:{port}/mcp"\n'})
    hub = brum.hub(HOME=str(home)).greet()
    assert foreign_call(hub, "echo", text="x")["structuredContent"] == {"result": "x"}
    broken = brum.project("broken", {".brum.toml": "servers = = 3\n"})
    hub = brum.hub(cwd=broken).greet()
    assert [problem["code"] for problem in hub.call("hub_status")["problems"]] == ["settings_invalid"]
