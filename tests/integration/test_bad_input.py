"""Whatever stands on standard input, the hub answers it or rightly ignores it, and the next line works."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.programs import LEGACY, MODERN_META, Brum, Hub

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602


@pytest.fixture
def hub(brum: Brum) -> Hub:
    """One that has answered its first message, so that the event loop reads what follows."""
    return brum.hub().greet()


def request(request_id: object = 7, method: object = "ping", **more: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, **more}).encode()


def call(tool: object, arguments: object, request_id: object = 7) -> bytes:
    return request(request_id, "tools/call", params={"name": tool, "arguments": arguments})


REFUSED: dict[str, tuple[bytes, int, object]] = {
    "not JSON": (b"hello?", PARSE_ERROR, None),
    "half a message": (b'{"jsonrpc":"2.0","id":7,"meth', PARSE_ERROR, 7),
    "NUL bytes": (b"\0\0\0\0", PARSE_ERROR, None),
    "a NUL inside a message": (b'{"jsonrpc":"2.0","id":7,\0"method":"ping"}', PARSE_ERROR, 7),
    "invalid UTF-8": (b'{"jsonrpc":"2.0","id":7,"method":"p\xff\xfeng"}', PARSE_ERROR, 7),
    "an overlong UTF-8 form": (b'{"jsonrpc":"2.0","id":7,"method":"\xc0\xaf"}', PARSE_ERROR, 7),
    "too deep": (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":' + b"[" * 100_000, PARSE_ERROR, 7),
    "deep, and a list": (b"[" * 100_000, INVALID_REQUEST, None),
    "a batch in a version without": (b"[" + request() + b"]", INVALID_REQUEST, 7),
    "a number": (b"42", INVALID_REQUEST, None),
    "null": (b"null", INVALID_REQUEST, None),
    "no version": (b'{"id":7,"method":"ping"}', INVALID_REQUEST, 7),
    "another version": (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', INVALID_REQUEST, 7),
    "no method": (b'{"jsonrpc":"2.0","id":7}', INVALID_REQUEST, 7),
    "a method that is a number": (request(method=5), INVALID_REQUEST, 7),
    "an id that is null": (request(None), INVALID_REQUEST, None),
    "an id that is an object": (request({"a": 1}), INVALID_REQUEST, None),
    "an id that is a fraction": (request(1.5), INVALID_REQUEST, 1.5),
    "params that are a list": (request(params=[1]), INVALID_PARAMS, 7),
    "params that are text": (request(params="x"), INVALID_PARAMS, 7),
    "an unknown method": (request(method="no/such"), METHOD_NOT_FOUND, 7),
    "a method of the other era": (request(method="ping", params={"_meta": MODERN_META}), METHOD_NOT_FOUND, 7),
    "an unknown tool": (call("no_such_tool", {}), INVALID_PARAMS, 7),
    "a tool without a name": (request(method="tools/call", params={"arguments": {}}), INVALID_PARAMS, 7),
    "a tool whose name is a number": (call(5, {}), INVALID_PARAMS, 7),
    "tool arguments that are a list": (call("scripts_list", [1]), INVALID_PARAMS, 7),
    "tool arguments that are text": (call("scripts_list", "hello"), INVALID_PARAMS, 7),
    "an unknown cursor": (request(method="tools/list", params={"cursor": "x"}), INVALID_PARAMS, 7),
}


@pytest.mark.promise("one-bad-message-costs-one-answer")
@pytest.mark.parametrize(("line", "code", "request_id"), REFUSED.values(), ids=REFUSED.keys())
def test_a_malformed_line_is_refused_with_its_id_and_the_next_one_works(
    hub: Hub, line: bytes, code: int, request_id: object
) -> None:
    hub.send(line + b"\n")
    answer = hub.receive()
    assert (answer["error"]["code"], answer["id"]) == (code, request_id)
    assert answer["error"]["message"]
    assert hub.ask("ping") == {}


FAILED_CALLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "an unknown instance": ("scripts_list", {"instance": "nobody"}, "not_found"),
    "an instance that is a number": ("scripts_list", {"instance": 5}, "invalid_arguments"),
    "an unknown argument": ("instances_list", {"colour": "red"}, "invalid_arguments"),
    "an argument that is missing": ("instances_connect", {}, "invalid_arguments"),
    "an argument of the wrong type": ("instances_connect", {"instance": ["a"]}, "invalid_arguments"),
    "an inner tool that is missing": ("instance_call", {}, "no_instances"),
    "no instance at all": ("scripts_list", {}, "no_instances"),
}


@pytest.mark.parametrize(("tool", "arguments", "code"), FAILED_CALLS.values(), ids=FAILED_CALLS.keys())
def test_a_call_that_makes_no_sense_is_a_tool_result_that_says_so(
    hub: Hub, tool: str, arguments: dict[str, Any], code: str
) -> None:
    error = hub.call(tool, **arguments)["error"]
    assert (error["code"], error["outcome"]) == (code, "not_executed")
    assert error["message"]
    assert hub.ask("ping") == {}


@pytest.mark.promise("one-bad-message-costs-one-answer")
def test_twenty_megabytes_are_refused_with_their_id_and_the_next_line_works(hub: Hub) -> None:
    hub.send(call("scripts_run", {"name": "x" * 20_000_000}, request_id=99) + b"\n")
    answer = hub.answer_to(99)
    assert answer["error"]["code"] == INVALID_REQUEST
    assert answer["error"]["data"]["code"] == "too_large"
    assert hub.ask("ping") == {}


LONG = "x" * 10_000_000
LONG_CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "the name of a script": ("scripts_run", {"name": LONG}),
    "the name of an instance": ("scripts_list", {"instance": LONG}),
    "the name of a process": ("scripts_stop", {"process_id": LONG}),
    "the name of an inner tool": ("instance_call", {"tool": LONG}),
}


@pytest.mark.parametrize(("tool", "arguments"), LONG_CALLS.values(), ids=LONG_CALLS.keys())
def test_ten_megabytes_arrive_and_do_not_come_back(brum: Brum, tool: str, arguments: dict[str, Any]) -> None:
    instance = brum.instance(brum.project("shop"))
    hub = brum.hub().greet()
    error = hub.call(tool, **arguments)["error"]
    assert len(json.dumps(error)) < 2_000
    assert instance.process.poll() is None
    assert hub.ask("ping") == {}


@pytest.mark.parametrize("line", [request(method=LONG), call(LONG, {})], ids=["a method", "a tool"])
def test_a_name_of_ten_megabytes_does_not_come_back(hub: Hub, line: bytes) -> None:
    hub.send(line + b"\n")
    assert len(json.dumps(hub.receive()["error"])) < 2_000
    assert hub.ask("ping") == {}


def test_the_id_of_a_request_in_flight_cannot_be_used_again(brum: Brum) -> None:
    brum.instance(brum.project("shop"))
    hub = brum.hub().greet()
    hub.send(call("wait_for", {"log": "never", "timeout_s": 0.5}) + b"\n" + request() + b"\n")
    refused, answered = hub.receive(), hub.receive()
    assert (refused["id"], refused["error"]["code"]) == (7, INVALID_REQUEST)
    assert (answered["id"], answered["result"]["structuredContent"]["matched"]) == (7, False)
    hub.send(request() + b"\n")
    assert hub.receive() == {"jsonrpc": "2.0", "id": 7, "result": {}}


IGNORED = {
    "an empty line": b"",
    "blanks": b" \t ",
    "an unknown notification": b'{"jsonrpc":"2.0","method":"notifications/no_such"}',
    "a notification with bad params": b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":5}',
    "a cancellation of nothing": b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}',
    "an answer to nothing": b'{"jsonrpc":"2.0","id":1,"result":{}}',
    "an error for nothing": b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}',
}


@pytest.mark.parametrize("line", IGNORED.values(), ids=IGNORED.keys())
def test_what_asks_for_no_answer_gets_none(hub: Hub, line: bytes) -> None:
    hub.send(line + b"\n" + request(8) + b"\n")
    assert hub.receive() == {"jsonrpc": "2.0", "id": 8, "result": {}}


@pytest.mark.parametrize("first", [b"hello?", b"\xff", b"[]", b'{"jsonrpc":"2.0","id":7}', b"", b"5" * 300_000])
def test_a_hub_whose_very_first_line_is_bad_serves_the_second(brum: Brum, first: bytes) -> None:
    hub = brum.hub()
    hub.send(first + b"\n")
    opened = hub.ask("initialize", protocolVersion=LEGACY, capabilities={}, clientInfo={"name": "t", "version": "0"})
    assert opened["protocolVersion"] == LEGACY
    assert hub.ask("ping") == {}


def test_a_line_that_comes_byte_by_byte_is_a_line(hub: Hub) -> None:
    for byte in request(8):
        hub.send(bytes([byte]))
    hub.send(b"\r\n")
    assert hub.receive()["id"] == 8


def test_a_last_line_without_its_end_is_answered(brum: Brum) -> None:
    hub = brum.hub().greet()
    hub.send(request(8))
    hub.close_stdin()
    assert hub.receive()["id"] == 8
    assert hub.wait(2) == 0


# What prints where it should not.

STRAY = """
import os, subprocess, sys
from brummer.hub.tools import hub_tools
from brummer.wire.mcp.server import McpServer

def noisily(plain):
    def wrapped(*args, **kwargs):
        print("a stray print")
        sys.__stdout__.write("a stray write\\n")
        os.write(1, b"a stray system call\\n")
        subprocess.run(["echo", "a stray child"])
        return plain(*args, **kwargs)
    return wrapped

McpServer._list_tools = noisily(McpServer._list_tools)
"""


@pytest.mark.promise("nothing-else-on-the-stream")
def test_nothing_that_the_hub_prints_can_reach_the_stream(brum: Brum) -> None:
    launcher = f"""{STRAY}
from brummer.wire.mcp import server
server._LEGACY_METHODS["tools/list"] = McpServer._list_tools
from brummer.__main__ import main
sys.argv = ["brum", "--mcp"]
sys.exit(main())
"""
    hub = Hub([sys.executable, "-c", launcher], cwd=brum.home, env=brum.environment)
    try:
        hub.greet()
        for _ in range(3):
            assert len(hub.ask("tools/list")["tools"]) == 16
        hub.close_stdin()
        assert hub.wait() == 0
        assert hub.stdout.rest().count("stray") == 0
        said = hub.stderr.rest()
        assert [said.count(f"a stray {what}") for what in ("print", "write", "system call", "child")] == [3] * 4
    finally:
        hub.end()


def test_a_hub_without_a_standard_error_works(brum: Brum) -> None:
    command = [sys.executable, "-c", "import os, sys; os.close(2); os.execv(sys.argv[1], sys.argv[1:])"]
    brum_command = [str(part) for part in (sys.executable, "-m", "brummer", "--mcp")]
    done = subprocess.run(
        [*command, *brum_command],
        input=request(8, "tools/list") + b"\n" + request(9) + b"\n",
        stdout=subprocess.PIPE,
        timeout=20,
        check=True,
        cwd=brum.home,
        env=brum.environment,
    )
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [8, 9]


# What nobody thought of.

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
methods = st.sampled_from(
    [
        *("initialize", "ping", "tools/list", "tools/call", "server/discover", "notifications/cancelled"),
        *("notifications/initialized", "notifications/roots/list_changed", "resources/list", "", "\0", "é"),
    ]
)
tools = st.sampled_from(["instances_list", "instances_connect", "hub_status", "scripts_list", "wait_for", "no"])
near_requests = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | json_values,
        "id": st.integers() | json_values,
        "method": methods | json_values,
        "params": json_values
        | st.fixed_dictionaries(
            {},
            optional={
                "name": tools | json_values,
                "arguments": st.dictionaries(st.sampled_from(["instance", "name", "query"]), json_values) | json_values,
                "_meta": st.just(MODERN_META) | json_values,
                "requestId": json_values,
                "cursor": json_values,
            },
        ),
        "result": json_values,
        "error": json_values,
    },
)


def line_of(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


def torn(line_and_cut: tuple[bytes, float]) -> bytes:
    line, cut = line_and_cut
    return line[: int(len(line) * cut)]


well_formed = near_requests.map(line_of)
lines = (
    well_formed
    | st.tuples(well_formed, st.floats(0, 1)).map(torn)
    | st.binary(max_size=200).map(lambda data: data.replace(b"\n", b""))
    | json_values.map(line_of)
)


@pytest.fixture(scope="module")
def lasting_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """One hub for every generated line: what one line breaks, the next ones find broken."""
    brum = Brum(tmp_path_factory.mktemp("hub"))
    try:
        yield brum.hub().greet()
    finally:
        brum.end()


@pytest.mark.promise("one-bad-message-costs-one-answer")
@settings(
    max_examples=200,
    derandomize=os.environ.get("BRUMMER_CI") == "1",
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an answer that is missing costs a wait at each attempt
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(batch=st.lists(lines, min_size=10, max_size=30))
def test_thousands_of_generated_lines_are_each_answered_or_rightly_ignored(
    lasting_hub: Hub, batch: list[bytes]
) -> None:
    lasting_hub.send(b"".join(line + b"\n" for line in batch) + request("fence") + b"\n")
    missing = sum(asks_for_an_answer(line) for line in batch) + 1
    while missing:
        message = lasting_hub.receive()
        if "method" not in message:
            missing -= 1
            assert ("result" in message) != ("error" in message)
    assert lasting_hub.ask("ping") == {}
    assert lasting_hub.process.poll() is None


def asks_for_an_answer(line: bytes) -> bool:
    """By the rules of JSON-RPC 2.0 and MCP, told apart without the code under test."""
    if not line.strip():
        return False
    try:
        message = json.loads(line.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        return True
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return True
    return asks(message)


def asks(message: dict[str, Any]) -> bool:
    """A request, or something that is neither a notification nor a response. A method of null is none."""
    if (method := message.get("method")) is not None:
        return not isinstance(method, str) or "id" in message
    return not message.keys() & {"result", "error"}


def refuse(constant: str) -> float:
    """NaN and the infinities are Python's, not JSON's."""
    raise ValueError(constant)
