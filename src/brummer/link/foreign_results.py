"""Results of servers that are not ours, read with care: what can't be understood is told, or says nothing. Pure."""

import contextlib

import msgspec
from msgspec import Raw

from brummer.core.errors import BrummerError, shown
from brummer.link.errors import NoResult
from brummer.wire import eras
from brummer.wire.mirrored_headers import Parameters, annotated_parameters


class InputNeeded(BrummerError):
    """The server wants an answer from the user before it goes on, which can't be passed on."""

    code = "input_required"


def neutral(result: bytes) -> bytes:
    """Without what belongs to the era in which it was asked for. Raises `InputNeeded`, `NoResult`."""
    try:
        members = msgspec.json.decode(result, type=dict[str, Raw])
    except (msgspec.MsgspecError, RecursionError):
        raise NoResult("the result is no object", sent=True) from None
    if bytes(members.pop("resultType", Raw(b'"complete"'))) == b'"input_required"':
        raise InputNeeded("the server asks for input from the user, which can't be passed on through this call")
    for member in ("_meta", "ttlMs", "cacheScope"):
        members.pop(member, None)
    return msgspec.json.encode(members)


class _Initialized(msgspec.Struct):
    version: str = msgspec.field(name="protocolVersion", default="")


def agreed_version(result: bytes) -> str:
    """What the server chose. Raises `NoResult` for a version that we don't speak."""
    try:
        version = msgspec.json.decode(result, type=_Initialized).version
    except (msgspec.MsgspecError, RecursionError):
        version = ""
    if version not in eras.LEGACY:
        raise NoResult(f"it speaks no version of ours, but {shown(version) or 'nothing'}", sent=True)
    return version


class _Hints(msgspec.Struct, rename="camel"):
    read_only_hint: bool | None = None
    idempotent_hint: bool | None = None

    @property
    def may_be_repeated(self) -> bool:
        return bool(self.read_only_hint or self.idempotent_hint)


class _ListedTool(msgspec.Struct, rename="camel"):
    name: str
    annotations: _Hints | None = None
    input_schema: object = None


class _ToolsList(msgspec.Struct):
    tools: list[_ListedTool]


def repeatable_of(tools_list: bytes) -> frozenset[str]:
    """The names of the tools that say of themselves that they may be repeated."""
    tools = _tools_in(tools_list)
    return frozenset(tool.name for tool in tools if tool.annotations and tool.annotations.may_be_repeated)


def mirrored_of(tools_list: bytes) -> Parameters:
    """Which arguments the tools want repeated in headers; of a tool that asks for what is forbidden, none."""
    found = {}
    for tool in _tools_in(tools_list):
        with contextlib.suppress(ValueError):
            found[tool.name] = annotated_parameters(tool.input_schema)
    return found


def _tools_in(tools_list: bytes) -> list[_ListedTool]:
    """What can't be read says nothing."""
    try:
        return msgspec.json.decode(tools_list, type=_ToolsList).tools
    except (msgspec.MsgspecError, RecursionError):
        return []
