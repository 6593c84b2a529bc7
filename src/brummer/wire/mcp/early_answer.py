"""The very first answer, given before the event loop is even imported.

Importing asyncio takes longer than everything else in a start (55 to 95 ms measured); a client's opening message,
``initialize`` or ``server/discover``, needs none of it. So the hub looks once whether that message is there already,
answers it with what is in memory, and only then loads the rest. Everything else is left for `stdio` to read.
"""

import json
import os
import select
from typing import Any, Final, NamedTuple

from brummer.wire.mcp import eras

WAIT_S: Final = 0.01
"""Clients write as soon as they have spawned us, so it is there; if not, starting up is a better use of the time."""

READ_BYTES: Final = 65_536

ID_LIMIT: Final = 100
"""Characters. With a longer id the answer might not fit into a pipe that is not read yet."""


_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
"""As in `jsonrpc`, whose imports are too heavy here."""


class EarlyAnswer(NamedTuple):
    """The unread bytes; the client's capabilities, its name and version and the agreed version of MCP, if its handshake
    was answered.
    """

    rest: bytes = b""
    capabilities: dict[str, Any] = {}  # noqa: RUF012 — never written to
    version: str | None = None
    client: str = ""
    client_version: str = ""


def answer_early(
    stdin: int, stdout: int, server_info: dict[str, str], instructions: str, capabilities: dict[str, Any]
) -> EarlyAnswer:
    """Answer the first message if it is there and is an opening; returns what was read beyond it."""
    try:
        if not select.select([stdin], [], [], WAIT_S)[0]:
            return EarlyAnswer()
        data = os.read(stdin, READ_BYTES)
    except (OSError, ValueError):
        return EarlyAnswer()
    line, newline, rest = data.partition(b"\n")
    opening = _opening(line) if newline else None
    if opening is None:
        return EarlyAnswer(data)
    request_id, method, params = opening
    if method == "initialize":
        result = eras.initialize_result(params.get("protocolVersion"), server_info, instructions, capabilities)
    else:
        result = eras.discover_result(server_info, instructions, capabilities)
    answer = {"jsonrpc": "2.0", "id": request_id, "result": result}
    try:
        os.write(stdout, json.dumps(answer, separators=(",", ":")).encode() + b"\n")  # under 4 KiB: never blocks
    except OSError:  # the client has gone: the server will find out
        return EarlyAnswer(data)
    of_client, info = params.get("capabilities"), params.get("clientInfo")
    named = [info.get("name"), info.get("version")] if isinstance(info, dict) else ["", ""]
    return EarlyAnswer(
        rest,
        of_client if isinstance(of_client, dict) else {},
        result.get("protocolVersion"),
        *(each if isinstance(each, str) else "" for each in named),
    )


def _opening(line: bytes) -> tuple[str | int, str, dict[str, Any]] | None:
    """(id, method, params) of a flawless opening; anything doubtful is None and gets its answer from `server`."""
    try:
        message = json.loads(
            line.removeprefix(_BYTE_ORDER_MARK).decode(), parse_constant=_refuse
        )  # of bytes it would take UTF-16 too
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return None
    request_id, method, params = message.get("id"), message.get("method"), message.get("params")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int) or not isinstance(params, dict):
        return None
    if len(str(request_id)) > ID_LIMIT or not str(request_id).isascii():
        return None
    is_legacy = method == "initialize" and "_meta" not in params and isinstance(params.get("protocolVersion"), str)
    if is_legacy or (method == "server/discover" and _is_modern(params.get("_meta"))):
        return request_id, str(method), params
    return None


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are not JSON


def _is_modern(meta: object) -> bool:
    return (
        isinstance(meta, dict)
        and meta.get(eras.META_VERSION) == eras.MODERN
        and isinstance(meta.get(eras.META_CAPABILITIES), dict)
    )
