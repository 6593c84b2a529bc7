"""Answers of a hub or an instance, with their error codes."""

from typing import Any, Final

import msgspec
from msgspec import Raw

OK: Final = "ok"


class _Coded(msgspec.Struct):
    code: str = "without a code"


class _Content(msgspec.Struct):
    error: _Coded = msgspec.field(default_factory=_Coded)


class _Result(msgspec.Struct):
    is_error: bool = msgspec.field(name="isError", default=False)
    content: Raw = msgspec.field(name="structuredContent", default=Raw(b"{}"))


class LimitAnswer(msgspec.Struct, frozen=True):
    """``code``: of the error, or `OK`. ``content``: the encoded structured content."""

    code: str
    content: Raw = Raw(b"{}")

    def decoded(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.content)
        return found


def of_result(result: bytes | Raw) -> LimitAnswer:
    """Of a tool's result object."""
    found = msgspec.json.decode(result, type=_Result)
    if not found.is_error:
        return LimitAnswer(OK, found.content)
    return LimitAnswer(msgspec.json.decode(found.content, type=_Content).error.code)


class _RpcError(msgspec.Struct):
    code: int = 0
    data: _Coded = msgspec.field(default_factory=_Coded)


def of_rpc_error(error: bytes | Raw) -> LimitAnswer:
    """Of the ``error`` member of a JSON-RPC response."""
    return LimitAnswer(msgspec.json.decode(error, type=_RpcError).data.code)
