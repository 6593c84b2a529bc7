"""Results of foreign servers: the same bytes if clients accept them, corrected if they don't."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import _v2025_11_25 as legacy_types
from mcp_types import _v2026_07_28 as modern_types

from brummer.foreign.results import neutral, tool_result
from brummer.wire.mcp.eras import complete_result_prefix, modern_result

TEXT: dict[str, Any] = {"type": "text", "text": "hello"}
LINK: dict[str, Any] = {"type": "resource_link", "uri": "file:///a", "name": "a"}
IMAGE: dict[str, Any] = {"type": "image", "data": "AAAA", "mimeType": "image/png", "annotations": {"priority": 0.5}}
EMBEDDED: dict[str, Any] = {"type": "resource", "resource": {"uri": "file:///a", "text": "x", "mimeType": "text/plain"}}

json_values = st.sampled_from([None, True, 0, 2, "", "x", [], [None], {}, {"a": None}, [TEXT], LINK])
spoiled_blocks = st.one_of(
    [
        st.fixed_dictionaries({}, optional={name: st.just(value) | json_values for name, value in block.items()})
        for block in (TEXT, LINK, IMAGE, EMBEDDED)
    ]
)
results = st.fixed_dictionaries(
    {},
    optional={
        "content": st.lists(spoiled_blocks | json_values, max_size=3) | json_values,
        "structuredContent": json_values,
        "isError": json_values,
        "further": json_values,
    },
)


def given_out(result: object, *, modern: bool) -> Any:
    return msgspec.json.decode(tool_result(neutral(msgspec.json.encode(result)), modern=modern))


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize(
    "result",
    [
        b'{"content":[{"type":"text","text":"1.10 \\u00e9"}]}',
        b'{"content":[],"structuredContent":{"a":[1.10]},"isError":false}',
        b'{"content":[{"text":"x","type":"text"}],"isError":true,"further":{"a":1e400}}',
        msgspec.json.encode({"content": [TEXT, LINK, IMAGE, EMBEDDED]}),
    ],
)
def test_a_result_that_clients_accept_passes_byte_for_byte(result: bytes, *, modern: bool) -> None:
    assert tool_result(neutral(result), modern=modern) == result


@pytest.mark.parametrize("value", [[1, {"a": 2}], "text", 7, True, []])
def test_structured_content_that_is_not_an_object_is_wrapped_for_legacy_clients_only(value: object) -> None:
    result = {"content": [TEXT], "structuredContent": value}
    assert given_out(result, modern=True) == result
    assert given_out(result, modern=False) == {**result, "structuredContent": {"result": value}}


@pytest.mark.parametrize(
    ("result", "content"),
    [
        ({}, []),
        ({"content": None}, []),
        ({"structuredContent": {"a": 1}}, [{"type": "text", "text": '{"a":1}'}]),
        ({"structuredContent": None}, []),
        ({"content": "hello"}, [TEXT]),
        ({"content": TEXT}, [TEXT]),
        ({"content": ["hello", TEXT]}, [TEXT, TEXT]),
        ({"content": [5]}, [{"type": "text", "text": "5"}]),
        ({"content": [{**TEXT, "annotations": None}]}, [TEXT]),
        ({"content": [{"type": "text"}]}, [{"type": "text", "text": '{"type":"text"}'}]),
        ({"content": [{"type": "chart", "x": 1}]}, [{"type": "text", "text": '{"type":"chart","x":1}'}]),
        (
            {"content": [{"type": "resource", "resource": {"uri": "a:b", "text": "x", "mimeType": None}}]},
            [{"type": "resource", "resource": {"uri": "a:b", "text": "x"}}],
        ),
    ],
)
def test_missing_or_invalid_content_becomes_text(result: object, content: object) -> None:
    for modern in (True, False):
        assert given_out(result, modern=modern)["content"] == content


@given(result=results, modern=st.booleans())
def test_the_official_clients_accept_every_result_of_a_server(result: dict[str, Any], *, modern: bool) -> None:
    passed = given_out(result, modern=modern)
    if modern:
        modern_types.CallToolResult.model_validate({"resultType": "complete", **passed}, strict=True)
    else:
        legacy_types.CallToolResult.model_validate(passed, strict=True)
    assert passed.get("further") == result.get("further")


@pytest.mark.parametrize(
    ("further", "kept"),
    [
        ({"annotations": []}, {}),
        ({"_meta": []}, {}),
        ({"annotations": "none"}, {}),
        ({"annotations": {"priority": None, "audience": ["user"]}}, {"annotations": {"audience": ["user"]}}),
        ({"annotations": {"priority": None}}, {"annotations": {}}),
        ({"annotations": {}, "_meta": {"x": None}}, {"annotations": {}, "_meta": {"x": None}}),
    ],
)
def test_members_of_a_block_are_objects_without_nulls_or_left_out(
    further: dict[str, Any], kept: dict[str, Any]
) -> None:
    given = given_out({"content": [{**TEXT, **further}]}, modern=False)
    assert given["content"] == [{**TEXT, **kept}]


@pytest.mark.parametrize(
    ("meta", "kept"),
    [
        ({"widget": {"id": 1}}, {"widget": {"id": 1}}),
        ({"io.modelcontextprotocol/serverInfo": {}, "a": 1}, {"a": 1}),
        ({"io.modelcontextprotocol/serverInfo": {}}, None),
        ({}, None),
        (None, None),
        (5, None),
    ],
)
def test_a_servers_own_meta_reaches_clients_of_both_eras(meta: object, kept: object) -> None:
    passed = tool_result(neutral(msgspec.json.encode({"content": [], "_meta": meta})), modern=True)
    assert msgspec.json.decode(passed).get("_meta") == kept
    prefix = complete_result_prefix(b'{"name":"hub"}', cacheable=False)
    response = modern_result(prefix, passed)
    assert response.count(b'"_meta"') == 1
    expected = {"io.modelcontextprotocol/serverInfo": {"name": "hub"}, **(kept if isinstance(kept, dict) else {})}
    assert msgspec.json.decode(response) == {"resultType": "complete", "_meta": expected, "content": []}
