"""Parts of a modern request that its headers repeat, so that an intermediary need not read its body.

A header that contradicts the body is refused: an intermediary that trusted it would have been deceived. Source:
modelcontextprotocol, docs/specification/2026-07-28/basic/transports/streamable-http, "Request Metadata".
"""

import base64
import binascii
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from brummer.wire.mcp.jsonrpc import HEADER_MISMATCH, ProtocolError

ANNOTATION: Final = "x-mcp-header"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE = re.compile(rb"[\t\x20-\x7e]*")
_PLAIN = re.compile(rb"[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?")
_WRAPPED = re.compile(rb"=\?base64\?(.*)\?=")
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")


class Parameter(NamedTuple):
    """A tool's parameter that is mirrored: where it stands in the arguments, and in which header."""

    path: tuple[str, ...]
    header: str

    @property
    def key(self) -> bytes:
        return self.header.lower().encode()


Parameters = Mapping[str, tuple[Parameter, ...]]
"""By tool; a tool without any is left out."""


def mirrored_parameters(tools_json: bytes) -> Parameters:
    """What the definitions ask to be mirrored. Raises ValueError for one that conforming clients would hide."""
    if ANNOTATION.encode() not in tools_json:
        return {}
    table: dict[str, tuple[Parameter, ...]] = {}
    for tool in msgspec.json.decode(tools_json):
        if parameters := annotated_parameters(tool.get("inputSchema")):
            table[tool["name"]] = parameters
    return table


def annotated_parameters(schema: object) -> tuple[Parameter, ...]:
    """Of one tool's input. Raises ValueError where the specification forbids what it asks for."""
    parameters = tuple(_annotated(schema, ()))
    if len({parameter.key for parameter in parameters}) < len(parameters):
        raise ValueError(f"{ANNOTATION} names one header twice")
    return parameters


def _annotated(schema: object, path: tuple[str, ...]) -> list[Parameter]:
    """Over `properties` alone: what stands behind any other keyword has no path of its own."""
    found: list[Parameter] = []
    properties = schema.get("properties") if isinstance(schema, dict) else None
    for name, inner in properties.items() if isinstance(properties, dict) else ():
        if not isinstance(inner, dict):  # true and false are schemas too
            continue
        if (header := inner.get(ANNOTATION)) is not None:
            if inner.get("type") not in ("string", "integer", "boolean") or not _TOKEN.fullmatch(str(header)):
                raise ValueError(f"{'.'.join((*path, name))}: {ANNOTATION} needs a primitive type and a header's name")
            found.append(Parameter((*path, name), f"Mcp-Param-{header}"))
        found += _annotated(inner, (*path, name))
    return found


_NAMED: Final = frozenset({"tools/call", "resources/read"})
"""The methods whose requests name what they are about: a tool, or the URI of a resource."""


class Body(NamedTuple):
    """What the headers are compared with. ``name``: of the tool, or the URI; ``arguments`` is undecoded JSON."""

    request_id: bytes
    method: str
    name: str | None
    arguments: bytes


def check(headers: Mapping[bytes, bytes], body: Body, parameters: Parameters) -> None:
    """Raises `ProtocolError` (-32020) where a header, its name in lower case, is missing or contradicts the body."""
    _compare(headers, "Mcp-Method", body.method, body.request_id)
    if body.method not in _NAMED or body.name is None:
        return
    _compare(headers, "Mcp-Name", body.name, body.request_id)
    if body.method == "tools/call" and body.name in parameters:
        arguments = _decoded(body.arguments)
        for parameter in parameters[body.name]:
            _compare(headers, parameter.header, _value_at(arguments, parameter.path), body.request_id)


def stated(name: str, arguments: bytes, parameters: Parameters) -> dict[str, str]:
    """The other side: the headers that repeat these arguments of that tool."""
    decoded = _decoded(arguments) if name in parameters else None
    values = {each.header: _value_at(decoded, each.path) for each in parameters.get(name, ())}
    return {header: wrapped(_as_text(value)) for header, value in values.items() if isinstance(value, str | int)}


def _as_text(value: str | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _decoded(arguments: bytes) -> object:
    try:
        return msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return None


def _value_at(arguments: object, path: tuple[str, ...]) -> object:
    for name in path:
        arguments = arguments.get(name) if isinstance(arguments, dict) else None
    return arguments


def _compare(headers: Mapping[bytes, bytes], header: str, expected: object, request_id: bytes) -> None:
    raw = headers.get(header.lower().encode())
    stated = None if raw is None else unwrapped(raw)
    agreed = raw is None if expected is None else stated is not None and _says(stated, expected)
    if not agreed:
        mismatch(request_id, header, stated if raw is None or stated is not None else raw.decode("latin-1"), expected)


def mismatch(request_id: bytes, header: str, stated: object, expected: object) -> None:
    """Raises the `ProtocolError` of a mismatch."""
    text = f"Header mismatch: {header} header value {stated!r} does not match body value {expected!r}"
    raise ProtocolError(HEADER_MISMATCH, text, request_id=request_id)


def wrapped(value: str) -> str:
    """A value as a header can hold it: in base64 unless it is plain text, and none that would be unwrapped."""
    raw = value.encode()
    if _PLAIN.fullmatch(raw) and not _WRAPPED.fullmatch(raw):
        return value
    return f"=?base64?{base64.b64encode(raw).decode()}?="


def unwrapped(raw: bytes) -> str | None:
    """A mirrored value, out of its base64 wrapping if it has one; None when it is invalid."""
    if not _VISIBLE.fullmatch(raw):
        return None
    if not (wrapped := _WRAPPED.fullmatch(raw)):
        return raw.decode("ascii")
    try:
        return base64.b64decode(wrapped[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _says(stated: str, value: object) -> bool:
    match value:
        case str():
            return stated == value
        case bool():
            return stated == ("true" if value else "false")
        case int():
            return _NUMBER.fullmatch(stated) is not None and Decimal(stated) == value
    return False
