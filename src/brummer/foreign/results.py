"""Converts results of foreign servers: a part that can't be understood is an error, or is ignored. Pure."""

import contextlib
from typing import Final

import msgspec
from msgspec import Raw

from brummer.core.errors import BrummerError, shown
from brummer.link.errors import NoResult
from brummer.wire.mcp import eras
from brummer.wire.mcp.mirrored_headers import Parameters, annotated_parameters


class InputNeeded(BrummerError):
    """The server wants an answer from the user before it goes on, which can't be passed on."""

    code = "input_required"


_RESERVED: Final = "io.modelcontextprotocol/"
"""Members of ``_meta`` that belong to one hop; the specification reserves them."""


def neutral(result: bytes) -> bytes:
    """The result without members of the server's era. Raises `InputNeeded`, `NoResult`.

    The server's own ``_meta`` comes first, because `brummer.wire.mcp.eras.modern_result` expects it there.
    """
    try:
        members = msgspec.json.decode(result, type=dict[str, Raw])
    except (msgspec.MsgspecError, RecursionError):
        raise NoResult("the result is no object", sent=True) from None
    if bytes(members.pop("resultType", Raw(b'"complete"'))) == b'"input_required"':
        raise InputNeeded("the server asks for input from the user, which can't be passed on through this call")
    for member in ("ttlMs", "cacheScope"):
        members.pop(member, None)
    if meta := _object(members.pop("_meta", None)):
        kept = {name: value for name, value in meta.items() if not name.startswith(_RESERVED)}
        members = {"_meta": Raw(msgspec.json.encode(kept)), **members} if kept else members
    return msgspec.json.encode(members)


def tool_result(result: bytes, *, modern: bool) -> bytes:
    """A neutral ``CallToolResult`` that obeys the specification: the same bytes, except for parts that clients refuse.

    Some servers leave ``content`` out, or put something else there. If it is missing, it repeats the structured content
    as text; an invalid block becomes text. Structured content that is not an object goes to a ``modern`` client
    unchanged, and to a legacy one as ``{"result": …}``, as the official SDKs wrap it.
    """
    members = msgspec.json.decode(result, type=dict[str, Raw])
    mended = _without_nulls(members)
    structured = mended.get("structuredContent")
    if structured is not None and not modern and _first(structured) != b"{":
        mended["structuredContent"] = Raw(b'{"result":%b}' % bytes(structured))
    mended["content"] = _content(mended.get("content", structured))
    is_error = mended.get("isError")
    if is_error is not None and _first(is_error) not in b"tf":
        mended["isError"] = Raw(b"false" if bytes(is_error) in (b"0", b'"false"', b'""') else b"true")
    return result if mended == members else msgspec.json.encode(mended)


def _content(content: Raw | None) -> Raw:
    """Unchanged if clients accept all its parts."""
    if content is None:
        return Raw(b"[]")
    blocks = msgspec.json.decode(content, type=list[Raw]) if _first(content) == b"[" else [content]
    known = [_block(block) for block in blocks]
    return content if known == blocks and _first(content) == b"[" else Raw(msgspec.json.encode(known))


def _block(block: Raw) -> Raw:
    """A content block that clients accept: of a known type, with the members that the specification requires of it."""
    members = _object(block)
    kept = _without_nulls(members)
    required = _REQUIRED.get(bytes(kept.get("type", b"")))
    if required is None or not all(_first(kept.get(name)) == start for name, start in required):
        return _as_text(block)
    if (resource := kept.get("resource")) is not None:
        inside = _object(resource)
        kept_inside = _without_nulls(inside)
        if _first(kept_inside.get("uri")) != b'"' or b'"' not in (
            _first(kept_inside.get("text")),
            _first(kept_inside.get("blob")),
        ):
            return _as_text(block)
        if len(kept_inside) < len(inside):
            kept["resource"] = Raw(msgspec.json.encode(kept_inside))
    for name in _OBJECTS & kept.keys():
        if _first(kept[name]) != b"{":
            del kept[name]
    if (annotations := kept.get("annotations")) is not None:
        said = _object(annotations)
        if len(kept_said := _without_nulls(said)) < len(said):
            kept["annotations"] = Raw(msgspec.json.encode(kept_said))
    return block if kept == members else Raw(msgspec.json.encode(kept))


_OBJECTS: Final = frozenset({"annotations", "_meta"})
"""Optional members of every block; PHP writes an empty one as an array."""

_REQUIRED: Final[dict[bytes, tuple[tuple[str, bytes], ...]]] = {
    b'"text"': (("text", b'"'),),
    b'"image"': (("data", b'"'), ("mimeType", b'"')),
    b'"audio"': (("data", b'"'), ("mimeType", b'"')),
    b'"resource_link"': (("uri", b'"'), ("name", b'"')),
    b'"resource"': (("resource", b"{"),),
}
"""How the JSON of a content block's members begins, by its type (2026-07-28/schema, ContentBlock)."""


def _as_text(block: Raw) -> Raw:
    text = msgspec.json.decode(block, type=str) if _first(block) == b'"' else bytes(block).decode()
    return Raw(msgspec.json.encode({"type": "text", "text": text}))


def _object(raw: Raw | None) -> dict[str, Raw]:
    """Its members; none if it is not an object."""
    return msgspec.json.decode(raw, type=dict[str, Raw]) if raw is not None and _first(raw) == b"{" else {}


def _without_nulls(members: dict[str, Raw]) -> dict[str, Raw]:
    """Some encoders write a missing member as null, which the official clients refuse."""
    return {name: value for name, value in members.items() if _first(value) != b"n"}


def _first(raw: Raw | None) -> bytes:
    """The first byte of a JSON value, which shows its kind; the value itself may be large and is not copied."""
    return b"" if raw is None else bytes(memoryview(raw)[:1])


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
    """Which arguments the tools want repeated in headers; none for a tool whose wish the specification forbids."""
    found = {}
    for tool in _tools_in(tools_list):
        with contextlib.suppress(ValueError):
            found[tool.name] = annotated_parameters(tool.input_schema)
    return found


def _tools_in(tools_list: bytes) -> list[_ListedTool]:
    """Entries that can't be read are ignored."""
    try:
        return msgspec.json.decode(tools_list, type=_ToolsList).tools
    except (msgspec.MsgspecError, RecursionError):
        return []
