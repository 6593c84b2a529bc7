"""The arguments of ``instance_call``: the name of an instance's own tool, and the arguments of that tool."""

from typing import Final

import msgspec
from msgspec import Raw

from brummer.contract.tools import InstanceCall
from brummer.core.errors import InvalidArguments
from brummer.wire.mcp.tool_arguments import ArgumentDecoder

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


_inner_calls: Final = ArgumentDecoder("instance_call", InstanceCall, ("instance",))


def members(tool: str, arguments: bytes) -> dict[str, Raw]:
    """The arguments of a tool, each undecoded. Raises `InvalidArguments` if they are not an object."""
    try:
        return _decode_members(arguments)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArguments(f"{tool}: {error}", tool=tool) from None


def inner_call(arguments: bytes) -> tuple[str, bytes]:
    """The tool's name, and its own arguments. Raises `InvalidArguments`."""
    inner = _inner_calls.decode(arguments)
    given = _own_arguments(inner.tool, bytes(inner.arguments))
    if given.startswith(b'"'):
        given = msgspec.json.decode(given, type=str).strip().encode()
        members("instance_call", given)
    if given == b"[]":  # of clients in PHP
        given = b"{}"
    if not given.lstrip().startswith(b"{"):
        what = "instance_call: `arguments` must be an object"
        raise InvalidArguments(what, tool="instance_call", argument="arguments")
    return inner.tool, given


def _own_arguments(tool: str, given: bytes) -> bytes:
    """The tool's arguments, also if a client repeats the whole call in their place.

    Semantic Kernel does that: it gives a parameter named `arguments` all arguments of its call.
    """
    if b'"tool"' not in given or not given.lstrip().startswith(b"{"):
        return given
    inner = members("instance_call", given)
    repeats = len(inner) > 1 and inner.keys() <= {"instance", "tool", "arguments"}
    if not repeats or bytes(inner.get("tool", b"")) != msgspec.json.encode(tool):
        return given
    return bytes(inner.get("arguments", b"{}"))
