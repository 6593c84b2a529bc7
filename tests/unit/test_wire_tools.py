"""Tools as a table: strict arguments in, results and errors out, and no defect of a tool reaches its caller as one."""

import asyncio
import json
import logging
from typing import Any

import msgspec
import pytest

from brummer.core.errors import BadAnswer, BrummerError, NotFound, TransportError
from brummer.core.memory import MemoryFull
from brummer.wire.mcp.jsonrpc import ProtocolError
from brummer.wire.mcp.tools import Content, Tool, ToolTable, failed, structured


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    count: int = 1


class Context:
    client = ""

    def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        pass


async def answers(given: object, arguments: bytes = b'{"name":"x"}') -> dict[str, Any]:
    """The result of a tool that returns, or raises, what is given."""

    async def run(decoded: Arguments, _: Context) -> object:
        if isinstance(given, BaseException):
            raise given
        return decoded if given is Arguments else given

    table = ToolTable([Tool({"name": "tool"}, Arguments, run)])
    result: dict[str, Any] = json.loads(await table.call("tool", arguments, Context()))
    return result


def error_of(result: dict[str, Any]) -> dict[str, Any]:
    assert result["isError"] is True
    error: dict[str, Any] = result["structuredContent"]["error"]
    text = result["content"][0]["text"]
    assert text.startswith(f"error {error['code']}: {error['message']}\noutcome: {error['outcome']}; ")
    assert all(name in text for name, value in error["context"].items() if value)
    assert set(error) == {"code", "message", "retryable", "retry_after_s", "outcome", "context"}
    return error


async def test_a_result_without_a_renderer_is_structured_and_the_same_as_text() -> None:
    result = await answers({"text": 'a "quoted"\nline é \u2028', "n": 1.5})
    assert result["isError"] is False
    assert result["content"][0]["type"] == "text"
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]


async def test_arguments_are_decoded_into_their_type() -> None:
    assert (await answers(Arguments))["structuredContent"] == {"name": "x", "count": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        b"{}",
        b'{"name":5}',
        b'{"name":"x","count":"one"}',
        b'{"name":"x","count":1.5}',
        b'{"name":"x","typo":1}',
        b'{"name":null}',
        b"[]",
        b"null",
        b"",
        b"{",
        b'{"name":' + b"[" * 100_000,
        b'{"name":"\\ud800"}',
    ],
)
async def test_arguments_that_do_not_fit_are_an_error_that_names_the_tool(arguments: bytes) -> None:
    error = error_of(await answers({}, arguments))
    assert error["code"] == "invalid_arguments"
    assert error["outcome"] == "not_executed"
    assert error["context"]["tool"] == "tool"


async def test_an_error_of_ours_is_a_result_with_its_fields() -> None:
    raised = MemoryFull("there is no room", retry_after_s=2.5, known=["a"])
    error = error_of(await answers(raised))
    assert error == {
        "code": "busy",
        "message": "there is no room",
        "retryable": True,
        "retry_after_s": 2.5,
        "outcome": "not_executed",
        "context": {"known": ["a"]},
    }


@pytest.mark.promise("errors-have-fields")
@pytest.mark.parametrize("context", [{"path": object()}, {"paths": {1, 2}}, {"number": float("nan")}, {"key": b"\xff"}])
async def test_whatever_an_error_holds_can_be_shown(context: dict[str, Any]) -> None:
    assert error_of(await answers(NotFound("there is no x", **context)))["code"] == "not_found"


async def test_a_name_that_is_no_unicode_is_shown_as_well_as_it_can_be() -> None:
    error = error_of(await answers(NotFound("there is no a\udcff", path="é\udcff/b", paths=["\udcfe"])))
    assert error["message"] == "there is no a?"
    assert error["context"] == {"path": "é?/b", "paths": ["?"]}
    result = await answers({"line": "broken \udc80 byte", "n": 1})
    assert result["structuredContent"] == {"line": "broken ? byte", "n": 1}


@pytest.mark.parametrize("defect", [KeyError("x"), RecursionError(), ZeroDivisionError(), AssertionError("no")])
async def test_a_defect_becomes_internal_and_is_logged(defect: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        error = error_of(await answers(defect))
    assert (error["code"], error["outcome"]) == ("internal", "unknown")
    assert caplog.records[0].exc_info is not None


async def test_a_result_that_cannot_be_encoded_is_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert error_of(await answers({"loop": loop}))["code"] == "internal"


async def test_a_protocol_error_is_the_clients_business() -> None:
    with pytest.raises(ProtocolError):
        await answers(ProtocolError(-32021, "sampling is needed"))


async def test_a_cancelled_tool_is_cancelled() -> None:
    with pytest.raises(asyncio.CancelledError):
        await answers(asyncio.CancelledError())


async def test_content_of_other_kinds_is_shown_as_it_is() -> None:
    block = {"type": "image", "data": "AA==", "mimeType": "image/png"}
    assert await answers(Content([block])) == {"content": [block], "isError": False}


def test_the_list_is_the_same_bytes_in_the_order_given() -> None:
    async def run(_: Arguments, __: Context) -> object:
        return {}

    tools = [Tool({"name": name, "inputSchema": {}}, Arguments, run) for name in ("b", "a", "c")]
    table = ToolTable(tools)
    assert [tool["name"] for tool in json.loads(table.tools_json)] == ["b", "a", "c"]
    assert table.tools_json == ToolTable(tools).tools_json
    assert table.has_tool("a")
    assert not table.has_tool("d")


def test_the_helpers_agree_with_the_table() -> None:
    assert json.loads(structured({"a": 1}))["structuredContent"] == {"a": 1}
    assert error_of(json.loads(failed(BrummerError("x"))))["code"] == "internal"


@pytest.mark.parametrize("kind", [TransportError, BadAnswer])
def test_a_transport_error_knows_what_was_sent(kind: type[TransportError]) -> None:
    assert kind("lost").sent is False
    assert kind("lost", sent=True, port=5).context == {"port": 5}
