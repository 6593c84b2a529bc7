"""MCP servers of other projects, through the hub, with the official Python and TypeScript clients.

The reference server from npm, servers of text-only tools on FastMCP of both SDKs, and one that refuses in every way.
"""

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from tests.integration.foreign_clients import report_of
from tests.integration.programs import BRUM, LEGACY, MODERN, WAIT_S, Brum, Hub

TEXT_SERVER: Final = Path(__file__).parent / "scenarios" / "text_server.py"
EVERYTHING: Final = Path("node_modules", "@modelcontextprotocol", "server-everything", "dist", "index.js")
CLIENT_S: Final = 60.0


class Call(NamedTuple):
    """``code``: the error that it must end with."""

    server: str
    tool: str
    arguments: dict[str, Any]
    code: str = ""
    progress: bool = False

    def as_json(self) -> dict[str, Any]:
        return {"server": self.server, "tool": self.tool, "arguments": self.arguments, "progress": self.progress}


# The refusing server.


class _Refusing(BaseHTTPRequestHandler):
    """Refuses as its path says; ``/busy`` refuses each call once for a second, and then serves."""

    protocol_version = "HTTP/1.1"
    asked: Counter[str]
    """Counts by path and method."""

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked[f"{self.path} {message['method']}"] += 1
        in_an_hour = formatdate(time.time() + 3600, usegmt=True)
        match self.path:
            case "/401":
                self.answer(401, b'{"error":"invalid_token","error_description":"it has expired"}')
            case "/403":
                self.answer(403, b"<h1>no</h1>", "text/html")
            case "/429":
                self.answer(429, b"", **{"retry-after": "120"})
            case "/503":
                self.answer(503, b"", **{"retry-after": in_an_hour})
            case "/moved":
                self.answer(308, b"", location="/elsewhere")
            case "/page":
                self.answer(200, b"<!doctype html><title>shop</title>", "text/html")
            case _ if message["method"] == "tools/call" and self.asked[f"{self.path} tools/call"] == 1:
                self.answer(429, b"", **{"retry-after": "1"})
            case _:
                self.serve(message)

    def serve(self, message: dict[str, Any]) -> None:
        """A minimal modern server; its one tool returns its argument."""
        result = {"resultType": "complete", "tools": [{"name": "give", "inputSchema": {"type": "object"}}]}
        if message["method"] == "tools/call":
            result = message["params"]["arguments"]["result"]
        self.answer(200, json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode())

    def answer(self, status: int, body: bytes, content_type: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": content_type, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def refusing() -> Iterator[ThreadingHTTPServer]:
    _Refusing.asked = Counter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


# Servers of other projects, in processes of their own.


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def listening(port: int) -> str:
    """The URL of a program that is being started, once it listens there."""
    deadline = time.monotonic() + 3 * WAIT_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.02)  # another program's port opens without an event
        else:
            return f"http://127.0.0.1:{port}/mcp"
    raise TimeoutError(f"nothing listens on port {port}")


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    node: Path,
    js: Path,
    old_sdk_python: Path,
    refusing: ThreadingHTTPServer,
) -> Iterator[Path]:
    """The home directory of a user whose settings name all of them."""
    brum = Brum(tmp_path_factory.mktemp("servers"))
    everything, old, new = free_port(), free_port(), free_port()
    brum.start(node, js / EVERYTHING, "streamableHttp", PORT=str(everything))
    brum.start(old_sdk_python, TEXT_SERVER, str(old))
    brum.python(TEXT_SERVER, str(new))
    served = f"http://127.0.0.1:{refusing.server_port}"
    tables = {
        "everything": {"url": listening(everything)},
        "hurried": {"url": f"http://127.0.0.1:{everything}/mcp", "timeout": "2s"},
        "old": {"url": listening(old)},
        "new": {"url": listening(new)},
        "impatient": {"url": f"http://127.0.0.1:{old}/mcp", "timeout": "500ms"},
        **{path: {"url": f"{served}/{path}"} for path in ("401", "403", "429", "503", "moved", "page", "busy", "odd")},
    }
    lines = []
    for name, keys in tables.items():
        lines += [f"[servers.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    (brum.home / ".brum.toml").write_text("\n".join(lines))
    yield brum.home
    brum.end()


@pytest.fixture
def user(brum: Brum, home: Path) -> dict[str, str]:
    """That user's environment."""
    _Refusing.asked.clear()
    return {**brum.environment, "HOME": str(home)}


# Calls and their expected results.

LISTED: Final = ["everything", "old", "new"]
TEXT_TOOLS: Final = {"say", "fail", "slow"}
OURS: Final = frozenset(
    {
        "deadline_exceeded",
        "forbidden",
        "moved",
        "not_mcp",
        "rate_limited",
        "server_unavailable",
        "unauthorized",
    }
)
"""Errors of the hub; the fields of a tool's own errors are not checked."""

KINDS: Final = {
    "annotated-message": ["text", "image"],
    "resource-links": ["text", "resource_link", "resource_link"],
    "resource-reference": ["text", "resource", "text"],
    "tiny-image": ["text", "image", "text"],
}
"""Types of the content that some tools of the reference server return."""

CALLS: Final = [
    Call("everything", "echo", {"message": "hello"}),
    Call("everything", "get-annotated-message", {"messageType": "error", "includeImage": True}),
    Call("everything", "get-env", {}),
    Call("everything", "get-resource-links", {"count": 2}),
    Call("everything", "get-resource-reference", {"resourceType": "Blob"}),
    Call("everything", "get-structured-content", {"location": "Chicago"}),
    Call("everything", "get-sum", {"a": 2, "b": 3}),
    Call("everything", "get-tiny-image", {}),
    Call("everything", "gzip-file-as-resource", {"data": "data:text/plain,hello", "outputType": "resource"}),
    Call("everything", "toggle-simulated-logging", {}),
    Call("everything", "toggle-subscriber-updates", {}),
    Call("everything", "get-sum", {"a": "two"}, "tool"),
    Call("everything", "no-such-tool", {}, "any"),
    Call("hurried", "trigger-long-running-operation", {"duration": 4, "steps": 8}),
    Call("everything", "trigger-long-running-operation", {"duration": 1, "steps": 4}, progress=True),
    *(
        call
        for server in ("old", "new")
        for call in (
            Call(server, "say", {"text": "grüße 👋"}),
            Call(server, "fail", {}, "tool"),
            Call(server, "slow", {"seconds": 0.1}),
            Call(server, "say", {}, "tool"),
        )
    ),
    Call("impatient", "slow", {"seconds": 3}, "deadline_exceeded"),
    Call("401", "x", {}, "unauthorized"),
    Call("403", "x", {}, "forbidden"),
    Call("429", "x", {}, "rate_limited"),
    Call("503", "x", {}, "server_unavailable"),
    Call("moved", "x", {}, "moved"),
    Call("page", "x", {}, "not_mcp"),
    Call("busy", "give", {"result": {"content": [{"type": "text", "text": "served"}]}}),
]

ODD: Final[list[dict[str, Any]]] = [
    {"content": [{"type": "text", "text": "plain"}]},
    {},
    {"structuredContent": [1, 2], "content": []},
    {"structuredContent": "text"},
    {"structuredContent": None, "content": None, "isError": None, "_meta": None},
    {"content": "text"},
    {"content": [{"type": "chart", "points": [1]}]},
    {"content": [{"type": "text", "text": "x", "annotations": None, "_meta": {"widget": 1}}], "further": {"a": 1}},
    {"content": [{"type": "resource_link", "uri": "file:///a", "name": "a"}], "isError": True},
    {"content": [], "_meta": {"widget": {"id": 7}}},
]
"""Results as servers in the wild give them."""

ODD_CALLS: Final = [Call("odd", "give", {"result": {"resultType": "complete", **result}}) for result in ODD]


async def with_python(user: dict[str, str], cwd: Path, mode: str) -> dict[str, Any]:
    """The same report as that of ``calls.mjs``."""
    hub = StdioServerParameters(command=str(BRUM), args=["--mcp"], env=user, cwd=str(cwd))
    async with asyncio.timeout(CLIENT_S), Client(hub, mode=mode) as client:
        await client.list_tools()
        tools = {}
        for server in LISTED:
            listed = (await client.call_tool("instance_tools", {"instance": server})).structured_content or {}
            tools[server] = [tool["name"] for tool in listed["tools"]]
        answers = await asyncio.gather(*(_called(client, call) for call in (*CALLS, *ODD_CALLS)))
    return {"tools": tools, "answers": answers}


async def _called(client: Client, call: Call) -> dict[str, Any]:
    reported: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        reported.append(progress)

    arguments = {"instance": call.server, "tool": call.tool, "arguments": call.arguments}
    callback = on_progress if call.progress else None
    result = await client.call_tool("instance_call", arguments, progress_callback=callback)
    content = [block.model_dump(by_alias=True, exclude_none=True) for block in result.content]
    answer = {"content": content, "structured": result.structured_content, "progress": reported}
    return {"is_error": result.is_error, **answer}


def with_typescript(node: Path, js: Path, user: dict[str, str], cwd: Path, mode: str) -> dict[str, Any]:
    way = {"mode": mode, "command": str(BRUM), "args": ["--mcp"], "env": user, "cwd": str(cwd)}
    made = {"servers": LISTED, "calls": [call.as_json() for call in (*CALLS, *ODD_CALLS)]}
    return report_of([node, js / "calls.mjs"], {**way, **made})


def check(report: dict[str, Any], mode: str) -> None:
    assert set(report["tools"]["everything"]) > {"echo", "get-sum", "trigger-long-running-operation"}
    assert set(report["tools"]["old"]) == set(report["tools"]["new"]) == TEXT_TOOLS
    check_ordinary(dict(zip(map(str, CALLS), report["answers"], strict=False)))
    check_odd(report["answers"][len(CALLS) :], mode)
    # The hub has asked once who is there, and no call has reached a server that wants to be left alone.
    assert [_Refusing.asked[f"/{path} server/discover"] for path in ("429", "503")] == [1, 1]
    assert not any(_Refusing.asked[f"/{path} tools/call"] for path in ("401", "403", "429", "503", "moved", "page"))


def check_ordinary(answers: dict[str, dict[str, Any]]) -> None:
    answer_of = {}
    for call in CALLS:
        answer = answers[str(call)]
        assert answer["is_error"] is bool(call.code), (call, answer)
        if call.code in OURS:
            error = answer_of[call.server] = answer["structured"]["error"]
            outcome = "unknown" if call.code == "deadline_exceeded" else "not_executed"
            assert (error["code"], error["outcome"]) == (call.code, outcome)
        elif not call.code:
            answer_of[f"{call.server} {call.tool}"] = answer
    assert answer_of["everything echo"]["content"] == [{"type": "text", "text": "Echo: hello"}]
    kinds = {tool: [block["type"] for block in answer_of[f"everything get-{tool}"]["content"]] for tool in KINDS}
    assert kinds == KINDS
    assert "blob" in answer_of["everything get-resource-reference"]["content"][1]["resource"]
    weather = answer_of["everything get-structured-content"]["structured"]
    assert weather.keys() == {"temperature", "conditions", "humidity"}
    # The TypeScript client drops a report that comes together with the result.
    assert answer_of["everything trigger-long-running-operation"]["progress"][:3] == [1, 2, 3]
    for server in ("old", "new"):
        assert answer_of[f"{server} say"]["content"] == [{"type": "text", "text": "grüße 👋"}]
        assert answer_of[f"{server} say"]["structured"] is None
        assert answer_of[f"{server} slow"]["content"] == [{"type": "text", "text": "done"}]
    assert "it has expired" in answer_of["401"]["message"]
    assert 0 < answer_of["429"]["retry_after_s"] <= 120
    assert 3000 < answer_of["503"]["retry_after_s"] <= 3600
    assert answer_of["busy give"]["content"] == [{"type": "text", "text": "served"}]


def check_odd(answers: list[dict[str, Any]], mode: str) -> None:
    for result, answer in zip(ODD, answers, strict=True):
        structured, content = result.get("structuredContent"), result.get("content")
        wrapped = structured is not None and not isinstance(structured, dict) and mode == LEGACY
        assert answer["structured"] == ({"result": structured} if wrapped else structured)
        assert answer["is_error"] is bool(result.get("isError"))
        if content is None:
            texts = [block["text"] for block in answer["content"]]
            assert texts == ([] if structured is None else [structured])


@pytest.mark.promise("foreign-servers")
@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_the_python_client_calls_every_tool_and_gets_every_refusal(
    brum: Brum, user: dict[str, str], mode: str
) -> None:
    check(await with_python(user, brum.home, "legacy" if mode == LEGACY else mode), mode)


@pytest.mark.promise("foreign-servers")
@pytest.mark.parametrize("mode", [LEGACY, MODERN])
def test_the_typescript_client_calls_every_tool_and_gets_every_refusal(
    brum: Brum, user: dict[str, str], node: Path, js: Path, mode: str
) -> None:
    check(with_typescript(node, js, user, brum.home, "legacy" if mode == LEGACY else mode), mode)


def test_refusals_are_problems_of_the_hub_and_its_status_names_them(brum: Brum, user: dict[str, str]) -> None:
    hub: Hub = brum.hub(HOME=user["HOME"]).greet()
    found: dict[str, str] = {}
    deadline = time.monotonic() + WAIT_S
    while len(found) < 6 and time.monotonic() < deadline:  # a transient refusal is a problem once it lasts for 2 s
        problems = hub.call("hub_status")["problems"]
        found = {problem["instance"]: problem["code"] for problem in problems if "instance" in problem}
        time.sleep(0.1)
    refuses = dict.fromkeys(("401", "403", "moved", "page"), "server_refuses")
    assert found == {**refuses, "429": "server_busy", "503": "server_busy"}
