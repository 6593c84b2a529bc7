"""The first answer, given before there is an event loop: the same as the server's own, or none at all."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from brummer.wire.mcp import eras
from brummer.wire.mcp.early_answer import READ_BYTES, EarlyAnswer, answer_early
from brummer.wire.mcp.jsonrpc import ProtocolError, decode
from brummer.wire.mcp.server import McpServer, Session, decode_request

from .wire_support import INFO, INSTRUCTIONS, META, PING, Tools, Views, modern


def initialize(version: object = "2025-11-25", request_id: object = 1, **params: object) -> dict[str, Any]:
    opening = {"protocolVersion": version, "capabilities": {"roots": {}}, "clientInfo": {"name": "c", "version": "1"}}
    return {"jsonrpc": "2.0", "id": request_id, "method": "initialize", "params": opening | params}


def said(
    first: bytes, *, close: bool = False, capabilities: dict[str, Any] = eras.WITH_TOOLS
) -> tuple[EarlyAnswer, bytes]:
    """What the early answer leaves, and what it answers, when these bytes are there."""
    with pipes() as (stdin, to_stdin, from_stdout, stdout):
        os.write(to_stdin, first)
        if close:
            os.dup2(from_stdout, to_stdin)  # closes the one end without making its number free
        left = answer_early(stdin, stdout, INFO, INSTRUCTIONS, capabilities)
        os.set_blocking(from_stdout, False)
        try:
            return left, os.read(from_stdout, 1 << 20)
        except BlockingIOError:
            return left, b""


@contextlib.contextmanager
def pipes() -> Iterator[tuple[int, int, int, int]]:
    ends = (*os.pipe(), *os.pipe())
    try:
        yield ends
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                os.close(end)


def server_says(line: bytes, resources: Views | None = None) -> bytes:
    server: McpServer = Tools().server(resources)
    try:
        message = decode(line)
        answer = server.handle(decode_request(message, Session("stdio"), lambda _: None))
    except ProtocolError as error:
        return error.as_message()
    assert isinstance(answer, bytes)
    return answer


OPENINGS: dict[str, dict[str, Any]] = {
    "legacy": initialize(),
    "older": initialize("2024-11-05", "a"),
    "from the future": initialize("2099-01-01", 0),
    "of no known version": initialize("hello", -1),
    "without capabilities": initialize(capabilities=None),
    "with more than we know": initialize(locale="de"),
    "modern": modern("server/discover", {}, "discover-1"),
    "with a quoted id": initialize(request_id='a"b\\c'),
    "with a large id": initialize(request_id=2**70),
}


@pytest.mark.parametrize("resources", [None, Views()], ids=["tools only", "with a resource"])
@pytest.mark.parametrize("kind", OPENINGS)
def test_an_opening_is_answered_as_the_server_answers_it(kind: str, resources: Views | None) -> None:
    line = json.dumps(OPENINGS[kind]).encode()
    capabilities = eras.WITH_TOOLS if resources is None else eras.WITH_RESOURCES
    for ending in (b"\n", b"\r\n"):
        left, answer = said(line + ending, capabilities=capabilities)
        assert answer.endswith(b"\n")
        assert left.rest == b""
        ours, theirs = json.loads(answer), json.loads(server_says(line, resources))
        assert ours == theirs
        assert list(ours["result"]) == list(theirs["result"])


def test_the_clients_capabilities_are_passed_on() -> None:
    left, _ = said(json.dumps(initialize(capabilities={"roots": {"listChanged": True}})).encode() + b"\n")
    assert left.capabilities == {"roots": {"listChanged": True}}


@pytest.mark.parametrize("rest", [b"", b'{"jsonrpc"', json.dumps(PING).encode() + b"\n\n" + b"\xff\0half"])
def test_what_follows_the_opening_is_kept_byte_for_byte(rest: bytes) -> None:
    left, answer = said(json.dumps(initialize()).encode() + b"\n" + rest)
    assert answer
    assert left.rest == rest


LINE = json.dumps(initialize()).encode()
DOUBTFUL = {
    "another request": json.dumps(PING).encode(),
    "a notification": b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
    "not JSON": b"hello",
    "a blank line": b"",
    "a batch": b"[" + LINE + b"]",
    "the wrong version of JSON-RPC": LINE.replace(b'"2.0"', b'"1.0"'),
    "no id": LINE.replace(b'"id": 1, ', b""),
    "id null": json.dumps(initialize(request_id=None)).encode(),
    "id float": json.dumps(initialize(request_id=1.5)).encode(),
    "id bool": json.dumps(initialize(request_id=True)).encode(),
    "an id longer than a pipe": json.dumps(initialize(request_id="x" * 60_000)).encode(),
    "an id with a lone surrogate": json.dumps(initialize(request_id="\ud800")).encode(),
    "a version of the wrong type": json.dumps(initialize(5)).encode(),
    "no params": b'{"jsonrpc":"2.0","id":1,"method":"initialize"}',
    "params that are a list": b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":[]}',
    "legacy with modern meta": json.dumps(initialize(_meta=META)).encode(),
    "discovery without meta": json.dumps({**modern("server/discover"), "params": {}}).encode(),
    "discovery in an unknown version": json.dumps(modern("server/discover"))
    .replace("2026-07-28", "2027-01-01")
    .encode(),
    "discovery without capabilities": json.dumps(modern("server/discover")).replace("clientCapabilities", "x").encode(),
    "NaN": LINE[:-2] + b',"n":NaN}}',
    "UTF-16": LINE.decode().encode("utf-16-be"),
    "invalid UTF-8": LINE.replace(b'"c"', b'"\xff"'),
    "a surrogate in UTF-8": LINE.replace(b'"c"', b'"\xed\xa0\x80"'),
    "too many digits": json.dumps(initialize(request_id=1)).replace('"id": 1', '"id": ' + "1" * 5000).encode(),
}
if sys.version_info < (3, 14):  # which reads it: it bounds nesting by the bytes of the stack
    DOUBTFUL["deep nesting"] = LINE[:-2] + b',"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}}"


@pytest.mark.parametrize(
    ("info", "client"),
    [
        ({"name": "claude-code", "version": "2.1.3"}, ("claude-code", "2.1.3")),
        ({"name": "claude-code", "version": 2}, ("claude-code", "")),
        ({}, ("", "")),
        ({"name": 7}, ("", "")),
        ("x", ("", "")),
        (None, ("", "")),
    ],
)
def test_name_and_version_of_the_client_are_those_that_the_server_takes(info: object, client: tuple[str, str]) -> None:
    line = json.dumps(initialize(clientInfo=info)).encode()
    session = Session("stdio")
    server: McpServer = Tools().server()
    server.handle(decode_request(decode(line), session, lambda _: None))
    left, _ = said(line + b"\n")
    assert (left.client, left.client_version) == client
    assert (session.client, session.client_version) == client


def test_a_modern_request_names_its_client_itself() -> None:
    request = decode_request(decode(json.dumps(modern("tools/list")).encode()), None, lambda _: None)
    assert request.client == "tests"
    assert decode_request(decode(json.dumps(PING).encode()), None, lambda _: None).client == ""


def test_a_byte_order_mark_before_the_opening_does_no_harm() -> None:
    left, answer = said(b"\xef\xbb\xbf" + LINE + b"\n")
    assert left.version == eras.LEGACY_LATEST
    assert json.loads(answer)["result"]["protocolVersion"] == eras.LEGACY_LATEST


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_what_is_no_flawless_opening_is_left_for_the_server_untouched(kind: str) -> None:
    data = DOUBTFUL[kind] + b"\nmore"
    left, answer = said(data)
    assert answer == b""
    assert left == EarlyAnswer(data)


def test_an_opening_that_has_not_come_in_whole_is_left() -> None:
    assert said(LINE[:40]) == (EarlyAnswer(LINE[:40]), b"")


def test_nothing_there_is_nothing_lost() -> None:
    with pipes() as (stdin, _, __, stdout):
        assert answer_early(stdin, stdout, INFO, INSTRUCTIONS, eras.WITH_TOOLS) == EarlyAnswer()


def test_an_input_at_its_end_is_nothing() -> None:
    with pipes() as (stdin, to_stdin, from_stdout, stdout):
        os.dup2(from_stdout, to_stdin)
        assert answer_early(stdin, stdout, INFO, INSTRUCTIONS, eras.WITH_TOOLS) == EarlyAnswer()


def test_a_closed_input_is_nothing() -> None:
    with pipes() as (stdin, _, __, stdout):
        os.close(stdin)
        assert answer_early(stdin, stdout, INFO, INSTRUCTIONS, eras.WITH_TOOLS) == EarlyAnswer()


def test_a_client_that_has_gone_is_left_for_the_server_to_find() -> None:
    with pipes() as (stdin, to_stdin, from_stdout, stdout):
        os.write(to_stdin, LINE + b"\n")
        os.close(from_stdout)
        assert answer_early(stdin, stdout, INFO, INSTRUCTIONS, eras.WITH_TOOLS) == EarlyAnswer(LINE + b"\n")


def test_more_than_one_read_is_left_in_the_pipe() -> None:
    with pipes() as (stdin, to_stdin, _, stdout):
        os.set_blocking(to_stdin, False)
        os.write(to_stdin, LINE + b"\n" + b"x" * (READ_BYTES - len(LINE) - 1))
        left = answer_early(stdin, stdout, INFO, INSTRUCTIONS, eras.WITH_TOOLS)
        assert len(left.rest) == READ_BYTES - len(LINE) - 1


GREETING_PROGRAM = f"""
import sys
from brummer.wire.mcp.early_answer import answer_early
answer_early(0, 1, {INFO!r}, "", {{}})
heavy = {{"asyncio", "msgspec", "httptools", "uvloop", "logging", "ssl", "socket", "typing_extensions"}}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or None)
"""


@pytest.mark.promise("first-answer-before-imports")
def test_no_heavy_module_is_imported_for_it() -> None:
    source = os.pathsep.join(path for path in sys.path if path.endswith("src"))
    done = subprocess.run(
        [sys.executable, "-S", "-c", GREETING_PROGRAM],
        input=LINE + b"\n",
        capture_output=True,
        env={**os.environ, "PYTHONPATH": source},
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert msgspec.json.decode(done.stdout)["result"]["protocolVersion"] == eras.LEGACY_LATEST
