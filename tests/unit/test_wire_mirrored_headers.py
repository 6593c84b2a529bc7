"""Headers that repeat the body: what agrees passes, everything else is -32020."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.wire.mcp.jsonrpc import HEADER_MISMATCH, ProtocolError
from brummer.wire.mcp.mirrored_headers import Body, check, mirrored_parameters, unwrapped

SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "shard": {"type": "integer", "x-mcp-header": "Shard-No"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "query": {"type": "string"},
        "anything": True,
        "where": {
            "type": "object",
            "properties": {"tenant": {"type": "string", "x-mcp-header": "Tenant"}},
        },
    },
}
TABLE = mirrored_parameters(
    json.dumps([{"name": "plain", "inputSchema": {}}, {"name": "sql", "inputSchema": SCHEMA}]).encode()
)


def agrees(arguments: object, headers: dict[str, str | bytes], name: str = "sql") -> bool:
    stated = {"mcp-method": "tools/call", "mcp-name": name, **headers}
    encoded = {
        header.lower().encode(): value if isinstance(value, bytes) else value.encode()
        for header, value in stated.items()
    }
    body = Body(b"1", "tools/call", name, json.dumps(arguments).encode())
    try:
        check(encoded, body, TABLE)
    except ProtocolError as error:
        refusal = error
    else:
        return True
    assert (refusal.code, refusal.request_id, refusal.http_status) == (HEADER_MISMATCH, b"1", 400)
    return False


def wrapped(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def test_what_is_mirrored_is_found_along_properties_only() -> None:
    assert [(parameter.path, parameter.header) for parameter in TABLE["sql"]] == [
        (("region",), "Mcp-Param-Region"),
        (("shard",), "Mcp-Param-Shard-No"),
        (("dry",), "Mcp-Param-Dry"),
        (("where", "tenant"), "Mcp-Param-Tenant"),
    ]
    assert "plain" not in TABLE


def test_a_list_without_annotations_costs_nothing() -> None:
    assert mirrored_parameters(b"not even looked at") == {}


@pytest.mark.parametrize(
    "inner",
    [
        {"type": "string", "x-mcp-header": ""},
        {"type": "string", "x-mcp-header": "a b"},
        {"type": "string", "x-mcp-header": "a\r\nb"},
        {"type": "string", "x-mcp-header": "a:"},
        {"type": "string", "x-mcp-header": "é"},
        {"type": "number", "x-mcp-header": "N"},
        {"type": "object", "x-mcp-header": "O"},
        {"type": ["string", "null"], "x-mcp-header": "S"},
        {"x-mcp-header": "S"},
        {"type": "string", "x-mcp-header": 5} | {"type": "array"},
    ],
)
def test_a_definition_that_clients_would_hide_is_refused_at_the_start(inner: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {"p": inner}}
    with pytest.raises(ValueError, match="p: x-mcp-header"):
        mirrored_parameters(json.dumps([{"name": "t", "inputSchema": schema}]).encode())


def test_one_header_for_two_parameters_is_refused_whatever_its_case() -> None:
    properties = {name: {"type": "string", "x-mcp-header": header} for name, header in (("a", "Same"), ("b", "sAME"))}
    with pytest.raises(ValueError, match="twice"):
        mirrored_parameters(json.dumps([{"name": "t", "inputSchema": {"properties": properties}}]).encode())


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({}, {}),
        ({"query": "x"}, {}),
        ({"region": None}, {}),
        ({"region": "us-west1"}, {"Mcp-Param-Region": "us-west1"}),
        ({"region": "us-west1"}, {"MCP-PARAM-REGION": wrapped("us-west1")}),
        ({"region": ""}, {"Mcp-Param-Region": ""}),
        ({"region": ""}, {"Mcp-Param-Region": "=?base64??="}),
        ({"region": "Hello, 世界"}, {"Mcp-Param-Region": wrapped("Hello, 世界")}),
        ({"region": " padded "}, {"Mcp-Param-Region": wrapped(" padded ")}),
        ({"region": "line1\nline2"}, {"Mcp-Param-Region": wrapped("line1\nline2")}),
        ({"region": "=?base64?literal?="}, {"Mcp-Param-Region": wrapped("=?base64?literal?=")}),
        ({"region": "=?base64?SGVsbG8="}, {"Mcp-Param-Region": "=?base64?SGVsbG8="}),
        ({"region": "=?base64?="}, {"Mcp-Param-Region": "=?base64?="}),
        ({"region": "SGVsbG8="}, {"Mcp-Param-Region": "SGVsbG8="}),
        ({"shard": 42}, {"Mcp-Param-Shard-No": "42"}),
        ({"shard": 42}, {"Mcp-Param-Shard-No": "42.0"}),
        ({"shard": -7}, {"Mcp-Param-Shard-No": "-7"}),
        ({"shard": 2**53 - 1}, {"Mcp-Param-Shard-No": str(2**53 - 1)}),
        ({"dry": True}, {"Mcp-Param-Dry": "true"}),
        ({"dry": False}, {"Mcp-Param-Dry": "false"}),
        ({"where": {"tenant": "a"}}, {"Mcp-Param-Tenant": "a"}),
        ({"where": {}}, {}),
        ({"where": "not an object"}, {}),
        ({}, {"Mcp-Param-Unknown": "passed over"}),
        ([1], {}),
    ],
)
def test_headers_that_repeat_the_arguments_pass(arguments: object, headers: dict[str, str | bytes]) -> None:
    assert agrees(arguments, headers)


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({"region": "a"}, {}),
        ({"region": ""}, {}),
        ({}, {"Mcp-Param-Region": "a"}),
        ({"region": None}, {"Mcp-Param-Region": "null"}),
        ({"region": "a"}, {"Mcp-Param-Region": "A"}),
        ({"region": "a"}, {"Mcp-Param-Region": "a, a"}),
        ({"region": "Hello"}, {"Mcp-Param-Region": "=?base64?SGVsbG8?="}),
        ({"region": "Hello"}, {"Mcp-Param-Region": "=?base64?SGVs!!!bG8=?="}),
        ({"region": "Hello"}, {"Mcp-Param-Region": "=?BASE64?SGVsbG8=?="}),
        ({"region": "é"}, {"Mcp-Param-Region": "é"}),
        ({"region": "\ufffd"}, {"Mcp-Param-Region": b"\xff"}),
        ({"region": "a\x01"}, {"Mcp-Param-Region": "a\x01"}),
        ({"region": "\ufffd"}, {"Mcp-Param-Region": "=?base64?/w==?="}),
        ({"shard": 42}, {"Mcp-Param-Shard-No": "43"}),
        ({"shard": 42}, {"Mcp-Param-Shard-No": "42.5"}),
        ({"shard": 42}, {"Mcp-Param-Shard-No": "٤٢".encode()}),
        ({"shard": 42}, {"Mcp-Param-Shard-No": wrapped("٤٢")}),
        ({"shard": 42}, {"Mcp-Param-Shard-No": "4_2"}),
        ({"shard": 1}, {"Mcp-Param-Shard-No": "1e0"}),
        ({"shard": 1}, {"Mcp-Param-Shard-No": "true"}),
        ({"shard": 2**53 + 1}, {"Mcp-Param-Shard-No": str(2**53)}),
        ({"shard": 1.5}, {"Mcp-Param-Shard-No": "1.5"}),
        ({"dry": True}, {"Mcp-Param-Dry": "True"}),
        ({"dry": True}, {"Mcp-Param-Dry": "1"}),
        ({"where": {"tenant": "a"}}, {}),
        ({"where": {"tenant": ["a"]}}, {"Mcp-Param-Tenant": "a"}),
    ],
)
def test_headers_that_contradict_the_arguments_are_refused(arguments: object, headers: dict[str, str | bytes]) -> None:
    assert not agrees(arguments, headers)


def test_the_method_and_the_name_are_compared_as_they_are_written() -> None:
    assert agrees({}, {}, "plain")
    assert agrees({}, {"mcp-name": wrapped("plain")}, "plain")
    assert not agrees({}, {"mcp-name": "Plain"}, "plain")
    assert not agrees({}, {"mcp-method": "TOOLS/CALL"}, "plain")
    assert not agrees({}, {"mcp-method": ""}, "plain")


def test_a_missing_header_is_a_mismatch() -> None:
    for missing in (b"mcp-method", b"mcp-name"):
        headers = {b"mcp-method": b"tools/call", b"mcp-name": b"plain"}
        del headers[missing]
        with pytest.raises(ProtocolError) as caught:
            check(headers, Body(b"1", "tools/call", "plain", b"{}"), {})
        assert caught.value.code == HEADER_MISMATCH


def test_only_a_call_has_a_name_to_repeat() -> None:
    check({b"mcp-method": b"tools/list"}, Body(b"1", "tools/list", None, b"{}"), TABLE)
    check({b"mcp-method": b"tools/call"}, Body(b"1", "tools/call", None, b"{}"), TABLE)


@given(st.text())
def test_whatever_is_wrapped_comes_out_again(text: str) -> None:
    try:
        raw = wrapped(text).encode()
    except UnicodeEncodeError:
        return
    assert unwrapped(raw) == text


@given(st.binary(max_size=40))
def test_no_header_can_do_more_than_disagree(raw: bytes) -> None:
    found = unwrapped(raw)
    assert found is None or isinstance(found, str)
