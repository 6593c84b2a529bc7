"""Envelopes: payloads are never touched, and what is malformed is refused with its sender's id where it can be read."""

import json
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.wire.mcp import jsonrpc
from brummer.wire.mcp.jsonrpc import INVALID_REQUEST, NO_ID, PARSE_ERROR, ProtocolError, decode, id_of_truncated

PAYLOADS = [
    b'{"n":1.10,"big":123456789012345678901234567890,"tiny":1e-400,"minus":-0}',
    b'{"b":1,"a":2,"b":3}',
    b'{"s":"\\u00e9\\u2028\\/\\u0041","raw":"\xc3\xa9\xe2\x80\xa8/A"}',
    b'{ "spaced" : [ 1 , 2 ] }',
    b'{"nul":"\\u0000","pair":"\\ud83d\\ude00"}',
]


@pytest.mark.promise("payloads-pass-unchanged")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_goes_through_byte_for_byte(payload: bytes) -> None:
    message = decode(b'{"jsonrpc":"2.0","id":1,"method":"m","params":%b}' % payload)
    assert bytes(message.params) == payload
    assert jsonrpc.request(b"1", "m", bytes(message.params)).endswith(b'"params":%b}' % payload)
    assert jsonrpc.result_response(b"1", payload) == b'{"jsonrpc":"2.0","id":1,"result":%b}' % payload


@pytest.mark.parametrize("request_id", [b"0", b"-7", b"9" * 300, b'""', b'"\\u0041"', b'"\xc3\xa9"', b'"a\\"b"'])
def test_an_id_comes_back_as_its_sender_wrote_it(request_id: bytes) -> None:
    assert bytes(decode(b'{"jsonrpc":"2.0", "id" : %b ,"method":"m"}' % request_id).id) == request_id


TOO_DEEP = 1_000_000
"""Levels: Python 3.14 bounds them by the bytes of the stack, of which each takes some; older ones allow a thousand."""


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


MALFORMED = {
    "not JSON": (b"hello", PARSE_ERROR, NO_ID),
    "an empty line": (b"", PARSE_ERROR, NO_ID),
    "half a line": (b'{"jsonrpc":"2.0","id":5,"method":"pi', PARSE_ERROR, b"5"),
    "half a line, cut in its id": (b'{"jsonrpc":"2.0","id":5', PARSE_ERROR, NO_ID),
    "half a line that ends in another object's id": (b'{"method":"m","params":{"id":3}', PARSE_ERROR, NO_ID),
    "two messages": (b'{"jsonrpc":"2.0","id":1,"method":"m"} {"id":2}', PARSE_ERROR, b"1"),
    "NUL": (b"\0\0\0", PARSE_ERROR, NO_ID),
    "NUL in a string": (b'{"jsonrpc":"2.0","id":1,"method":"m\0"}', PARSE_ERROR, b"1"),
    "invalid UTF-8": (b'{"jsonrpc":"2.0","method":"m","id":"a","params":{"x":"\xff"}}', PARSE_ERROR, b'"a"'),
    "invalid UTF-8 in the id": (b'{"id":"\xff","method":"m"}', PARSE_ERROR, NO_ID),
    "a surrogate in UTF-8": (b'{"jsonrpc":"2.0","id":1,"method":"\xed\xa0\x80"}', PARSE_ERROR, b"1"),
    "a lone surrogate": (b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', PARSE_ERROR, b"1"),
    "a lone surrogate in the id": (b'{"jsonrpc":"2.0","id":"\\ud800","method":"m"}', PARSE_ERROR, NO_ID),
    "a bad escape in the id": (b'{"jsonrpc":"2.0","id":"\\q","method":"m"}', PARSE_ERROR, NO_ID),
    "an id behind what is wrong": (
        b'{"jsonrpc":"2.0","params":{"x":+1,"id":3},"method":"m","id":7}',
        PARSE_ERROR,
        b"7",
    ),
    "an id between other members": (b'{"params":{"id":3},"id":7,"method":"m\xff"}', PARSE_ERROR, b"7"),
    "a comma at the end": (b'{"jsonrpc":"2.0","method":"m","id":7,}', PARSE_ERROR, b"7"),
    "strings that never end": (b'{"id":7,"a":"' + b'\\"' * 30_000, PARSE_ERROR, b"7"),
    "an id in a string": (b'{"method":"\\"id\\":7,","params":', PARSE_ERROR, NO_ID),
    "UTF-16": ('{"jsonrpc":"2.0","id":1,"method":"m"}'.encode("utf-16"), PARSE_ERROR, b"1"),
    "UTF-16 without a mark": ('{"jsonrpc":"2.0","id":1,"method":"m"}'.encode("utf-16-le"), PARSE_ERROR, b"1"),
    "an empty batch": (b"[]", INVALID_REQUEST, NO_ID),
    "half a batch": (b'[{"jsonrpc":"2.0","id":1,"method":"m"},', PARSE_ERROR, NO_ID),
    "NaN": (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"n":NaN}}', PARSE_ERROR, b"1"),
    "deep nesting": (b'{"jsonrpc":"2.0","id":1,"method":"m","params":%b}' % nested(TOO_DEEP), PARSE_ERROR, b"1"),
    "deep nesting that is no object": (nested(TOO_DEEP), INVALID_REQUEST, NO_ID),
    "endless nesting": (b'{"id":1,"method":"m","params":' + b'{"a":' * 100_000, PARSE_ERROR, b"1"),
    "a batch": (b'[{"jsonrpc":"2.0","id":1,"method":"m"}]', INVALID_REQUEST, NO_ID),
    "a string": (b'"hello"', INVALID_REQUEST, NO_ID),
    "a number": (b"1", INVALID_REQUEST, NO_ID),
    "null": (b"null", INVALID_REQUEST, NO_ID),
    "an empty object": (b"{}", INVALID_REQUEST, NO_ID),
    "no version": (b'{"id":1,"method":"m"}', INVALID_REQUEST, b"1"),
    "the wrong version": (b'{"jsonrpc":"1.0","method":"m","id":1}', INVALID_REQUEST, b"1"),
    "a version of the wrong type": (b'{"jsonrpc":2.0,"method":"m","id":1}', INVALID_REQUEST, b"1"),
    "a method of the wrong type": (b'{"jsonrpc":"2.0","method":["m"],"id":"a"}', INVALID_REQUEST, b'"a"'),
    "no method": (b'{"jsonrpc":"2.0","id":1}', INVALID_REQUEST, b"1"),
    "id null": (b'{"jsonrpc":"2.0","id":null,"method":"m"}', INVALID_REQUEST, NO_ID),
    "id float": (b'{"jsonrpc":"2.0","id":1.0,"method":"m"}', INVALID_REQUEST, b"1.0"),
    "id exponent": (b'{"jsonrpc":"2.0","id":1e2,"method":"m"}', INVALID_REQUEST, b"1e2"),
    "id bool": (b'{"jsonrpc":"2.0","id":true,"method":"m"}', INVALID_REQUEST, NO_ID),
    "id object": (b'{"jsonrpc":"2.0","id":{"a":1},"method":"m"}', INVALID_REQUEST, NO_ID),
    "id array": (b'{"jsonrpc":"2.0","id":[1],"method":"m"}', INVALID_REQUEST, NO_ID),
    "everything wrong": (b'{"jsonrpc":[],"id":{},"method":{}}', INVALID_REQUEST, NO_ID),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_input_is_refused_with_the_right_code_and_the_senders_id(kind: str) -> None:
    data, code, request_id = MALFORMED[kind]
    with pytest.raises(ProtocolError) as caught:
        decode(data)
    assert (caught.value.code, caught.value.request_id) == (code, request_id)
    answer: dict[str, Any] = json.loads(caught.value.as_message())
    assert answer["error"]["code"] == code
    assert b"\n" not in caught.value.as_message()


def test_a_long_error_does_not_repeat_a_long_input() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(b'{"jsonrpc":"2.0","id":1,"method":"m","%b":x}' % (b"a" * 100_000))
    assert len(caught.value.as_message()) < 1_000


@pytest.mark.parametrize("end", [b"\r", b" ", b"\t\r"])
def test_blank_space_around_a_message_is_no_mistake(end: bytes) -> None:
    assert decode(b' {"jsonrpc":"2.0","id":1,"method":"m"}' + end).is_request


@pytest.mark.parametrize("request_id", [b"null", b"1", b"1.5", b"{}"])
def test_a_response_is_taken_whatever_its_id_because_it_must_not_be_answered(request_id: bytes) -> None:
    message = decode(b'{"jsonrpc":"2.0","id":%b,"error":{"code":1,"message":"no"}}' % request_id)
    assert not message.is_request
    assert not message.is_notification


def test_unknown_members_are_ignored() -> None:
    message = decode(b'{"jsonrpc":"2.0","id":1,"method":"m","extra":{"deep":[1]},"trace":null}')
    assert message.is_request


FILLER = b'"params":{"a":"' + b"x" * 5000 + b'","id":99}'
TRUNCATED = {
    "at the start": (b'{"jsonrpc":"2.0","id":7,"method":"m",%b}' % FILLER, b"7"),
    "first of all": (b'{"id":"seven","jsonrpc":"2.0","method":"m",%b}' % FILLER, b'"seven"'),
    "behind the method": (b'{"jsonrpc":"2.0","method":"tools/call","id":7,%b}' % FILLER, b"7"),
    "at the end": (b'{"method":"m",%b,"jsonrpc":"2.0","id":7}' % FILLER, b"7"),
    "before the last": (b'{%b,"id":7,"jsonrpc":"2.0"}' % FILLER, b"7"),
    "before the method": (b'{%b, "id" : "a" , "method" : "m" }  ' % FILLER, b'"a"'),
    "only in the payload": (b'{"jsonrpc":"2.0","method":"m",%b}' % FILLER, NO_ID),
    "a float": (b'{"id":7.5,"method":"m",%b}' % FILLER, NO_ID),
    "too many digits": (b'{"id":%b,"method":"m",%b}' % (b"7" * 300, FILLER), NO_ID),
    "leading zeros": (b'{"id":007,"method":"m",%b}' % FILLER, NO_ID),
    "not to be echoed": (b'{"id":"\xff\\q","method":"m",%b}' % FILLER, NO_ID),
}


@pytest.mark.parametrize("where", TRUNCATED)
def test_the_id_of_a_message_too_long_to_keep_is_found_at_either_end(where: str) -> None:
    line, request_id = TRUNCATED[where]
    assert id_of_truncated(line[:4096], line[-512:]) == request_id


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(st.one_of(st.integers(), st.text(max_size=30)), st.text(min_size=1, max_size=20), json_values)
def test_whatever_json_writes_is_read_without_a_change(request_id: object, method: str, params: object) -> None:
    try:
        data = json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode()
        json.dumps([request_id, method, params], ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate, which is no Unicode
        return
    message = decode(data)
    assert json.loads(bytes(message.id)) == request_id
    assert message.method == method
    assert json.loads(bytes(message.params)) == params


@given(st.binary(max_size=200))
def test_whatever_bytes_come_in_they_are_a_message_or_a_protocol_error(data: bytes) -> None:
    try:
        decode(data)
    except ProtocolError as error:
        answer = msgspec.json.decode(error.as_message())
    else:
        return
    assert answer["error"]["code"] in (PARSE_ERROR, INVALID_REQUEST)


def test_the_recursion_limit_is_not_ours_to_raise() -> None:
    before = sys.getrecursionlimit()
    with pytest.raises(ProtocolError):
        decode(nested(1_000_000))
    assert sys.getrecursionlimit() == before


def test_a_byte_order_mark_before_a_message_does_no_harm() -> None:
    message = decode(b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"m"}')
    assert (bytes(message.id), message.method) == (b"1", "m")


def test_a_notification_with_id_null_is_a_notification() -> None:
    assert decode(b'{"jsonrpc":"2.0","id":null,"method":"notifications/initialized"}').is_notification


def test_a_batch_comes_apart_into_its_messages_and_refuses_each_request_by_its_id() -> None:
    with pytest.raises(jsonrpc.BatchReceived) as caught:
        decode(b' [{"jsonrpc":"2.0","id":1,"method":"m"},{"jsonrpc":"2.0","method":"n"},{"id":"a"},5]')
    assert caught.value.messages[0] == b'{"jsonrpc":"2.0","id":1,"method":"m"}'
    assert len(caught.value.messages) == 4
    assert [msgspec.json.decode(each)["id"] for each in caught.value.refusals()] == [1, "a"]
    with pytest.raises(jsonrpc.BatchReceived) as caught:
        decode(b"[5]")
    assert [msgspec.json.decode(each)["id"] for each in caught.value.refusals()] == [None]
