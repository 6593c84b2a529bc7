"""JSON-RPC 2.0 envelopes that leave their payload alone: raw bytes in, raw bytes out.

A message is decoded only as far as routing needs: ``id`` keeps the bytes of its sender; ``params``, ``result`` and
``error`` stay undecoded. A fault of a message is raised as `ProtocolError`, which can write its own response.
"""

import codecs
import re
from typing import Final

import msgspec
from msgspec import Raw

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
HEADER_MISMATCH: Final = -32020
NOT_BEGUN: Final = -32050
"""An instance did not begin this request of a call; ``data`` is a `brummer.wire.mcp.not_begun.NotBegunData`."""
UNSUPPORTED_VERSION: Final = -32022

NEVER_BEGUN: Final = frozenset(
    {PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, HEADER_MISMATCH, UNSUPPORTED_VERSION}
)
"""Errors of a request that did not begin, if they come before the request reaches a tool."""

NO_TOOLS: Final = frozenset({METHOD_NOT_FOUND, HEADER_MISMATCH, UNSUPPORTED_VERSION})
"""The ones that no tool returns for its own work: some tools return the others for an invalid result."""

NO_ID: Final = b"null"
"""Stands in an error answer for an id that could not be read (JSON-RPC 2.0 §5)."""


PIECE_BYTES: Final = 64 * 1024
"""The size of one decoded piece; it stays in the processor's cache."""

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
"""Some programs write it before their first message, though UTF-8 needs none."""


class ProtocolError(Exception):
    """Malformed protocol input. ``http_status`` is what Streamable HTTP answers with."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        request_id: bytes = NO_ID,
        data: object = None,
        http_status: int = 400,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.request_id = request_id
        self.data = data
        self.http_status = http_status

    def as_message(self) -> bytes:
        """The JSON-RPC error response, without a trailing newline."""
        return error_response(self.request_id, self.code, self.message, self.data)


class BatchReceived(ProtocolError):
    """An array of messages, each undecoded, where one message was expected. As an error it refuses the whole array."""

    def __init__(self, messages: list[bytes]) -> None:
        super().__init__(INVALID_REQUEST, "Invalid request: batches are part of protocol version 2025-03-26 only")
        self.messages = messages

    def refusals(self) -> list[bytes]:
        """One error response for each request in it that has an id; if none has, one response without an id."""
        ids = [request_id for each in self.messages if (request_id := id_of(each)) != NO_ID]
        return [error_response(request_id, self.code, self.message) for request_id in ids or [NO_ID]]


class Message(msgspec.Struct, gc=False):
    """One incoming message. An empty ``Raw`` means that the member is absent."""

    jsonrpc: str = ""
    id: Raw = Raw()
    method: str | None = None
    params: Raw = Raw()
    result: Raw = Raw()
    error: Raw = Raw()

    @property
    def is_request(self) -> bool:
        return self.method is not None and bool(self.id)

    @property
    def is_notification(self) -> bool:
        return self.method is not None and not self.id


class Reply(msgspec.Struct, gc=False):
    """A response as its asker sees it; an empty ``Raw`` means that the member is absent."""

    id: Raw = Raw()
    result: Raw = Raw()
    error: Raw = Raw()


class _OnlyId(msgspec.Struct):
    id: Raw = Raw(NO_ID)


_decode_message = msgspec.json.Decoder(Message).decode
_decode_reply = msgspec.json.Decoder(Reply).decode
_decode_only_id = msgspec.json.Decoder(_OnlyId).decode
_decode_batch = msgspec.json.Decoder(list[Raw]).decode
_ID = re.compile(rb'-?(?:0|[1-9][0-9]*)|"[^\n]*"')

# Expressions for broken messages are compiled where they are used: that costs a millisecond, and only errors need it.
_PLAIN = rb'"(?:jsonrpc|method)"\s*:\s*"[^"\\]{0,200}"'
_ID_MEMBER = rb'"id"\s*:\s*(-?(?:0|[1-9][0-9]{0,200})|"(?:[^"\\]|\\.){0,200}")\s*'
_ID_IN_HEAD = rb"\s*\{\s*(?:%b\s*,\s*){0,2}%b[,}]" % (_PLAIN, _ID_MEMBER)
_ID_VALUE = _ID_MEMBER + rb"[,}]"
_NUMBER = rb"-?[0-9][-+.0-9eE]{0,30}"
_TOKEN = rb'"(?:[^"\\]|\\.)*+"?|[][{}]'
"""A string or a bracket: enough to compute the nesting depth of a position."""
_ID_IN_TAIL = rb"%b(?:,\s*%b\s*){0,2}\}\s*$" % (_ID_MEMBER, _PLAIN)


def decode(data: bytes) -> Message:
    """Decode one message; raises `ProtocolError` for anything that JSON-RPC 2.0 as MCP uses it does not allow.

    An array of messages is `BatchReceived`.
    """
    if not data.isascii():
        _refuse_invalid_utf8(data)
    try:
        message = _decode_message(data)
    except msgspec.ValidationError as error:
        if data.lstrip().startswith(b"["):
            raise _batch(data) from None
        raise ProtocolError(INVALID_REQUEST, f"Invalid request: {error}", request_id=id_of(data)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        if data.startswith(BYTE_ORDER_MARK):
            return decode(data.removeprefix(BYTE_ORDER_MARK))
        raise ProtocolError(PARSE_ERROR, f"Parse error: {error}", request_id=_id_of_broken(data)) from None
    if message.jsonrpc == "2.0" and message.method is not None and (not message.id or bytes(message.id).isdigit()):
        return message
    return _checked(message, data)


def _checked(message: Message, data: bytes) -> Message:
    """The message, if it is a response, or its id is a string or missing. Raises `ProtocolError`."""
    if message.jsonrpc != "2.0":
        raise ProtocolError(INVALID_REQUEST, 'Invalid request: "jsonrpc" must be "2.0"', request_id=id_of(data))
    if message.method is None and (message.result or message.error):
        return message  # a response is never answered, whatever its id: that could go on for ever
    request_id = bytes(message.id)
    if request_id and not is_id(request_id):
        if request_id == NO_ID and message.method is not None and message.method.startswith("notifications/"):
            message.id = Raw()  # what some encoders make of "none"
            return message
        text = 'Invalid request: "id" must be a string or an integer'
        raise ProtocolError(INVALID_REQUEST, text, request_id=id_of(data))
    if message.method is None:
        raise ProtocolError(INVALID_REQUEST, 'Invalid request: "method" is missing', request_id=request_id or NO_ID)
    return message


def _batch(data: bytes) -> ProtocolError:
    try:
        messages = [bytes(each) for each in _decode_batch(data)]
    except RecursionError as error:
        return ProtocolError(INVALID_REQUEST, f"Invalid request: {error}")
    except msgspec.DecodeError as error:
        return ProtocolError(PARSE_ERROR, f"Parse error: {error}")
    return BatchReceived(messages) if messages else ProtocolError(INVALID_REQUEST, "Invalid request: an empty batch")


def decode_reply(data: bytes) -> Reply:
    """Decode what was given as an answer. Raises `ProtocolError`."""
    if not data.isascii():
        _refuse_invalid_utf8(data)
    try:
        return _decode_reply(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(PARSE_ERROR, f"Parse error: {error}") from None


def _refuse_invalid_utf8(data: bytes) -> None:
    """The decoder does not check what it leaves undecoded, and one invalid byte may make our reader end its connection.

    Raises `ProtocolError`.
    """
    start, end = 0, len(data)
    try:
        while start < end:  # piece by piece: the text of a large message would take up to four times its memory
            piece = data[start : start + PIECE_BYTES]
            start += codecs.utf_8_decode(piece, "strict", start + PIECE_BYTES >= end)[1]
    except UnicodeDecodeError as error:
        message = f"Parse error: not UTF-8 at byte {start + error.start}"
        raise ProtocolError(PARSE_ERROR, message, request_id=_id_of_broken(data)) from None


def is_id(raw: bytes) -> bool:
    """Whether valid JSON is what MCP takes for a request id or a progress token: a string or an integer."""
    return _ID.fullmatch(raw) is not None


def id_of(data: bytes) -> bytes:
    """The id of a message that is otherwise malformed, so that its sender need not wait for ever."""
    try:
        request_id = bytes(_decode_only_id(data).id)
    except (msgspec.DecodeError, RecursionError):
        return NO_ID
    return request_id if is_id(request_id) or re.fullmatch(_NUMBER, request_id) else NO_ID


def _id_of_broken(data: bytes) -> bytes:
    """The id of a message that is not JSON, or nested too deeply, if the id can still be found."""
    if len(data) > PIECE_BYTES:
        return id_of_truncated(data[:PIECE_BYTES], data[-PIECE_BYTES:])
    return _intact(_visible_id(data))


def id_of_truncated(head: bytes, tail: bytes) -> bytes:
    """The id of a message too long to be kept: clients put it right at its start or right at its end."""
    return _intact(_visible_id(head) or re.search(_ID_IN_TAIL, tail))


def _visible_id(data: bytes) -> re.Match[bytes] | None:
    """The member ``id`` of the outermost object; one in ``params`` may name another request."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:4]:  # UTF-16, as of some shells: ASCII and NULs
        data = data.lstrip(b"\xff\xfe").replace(b"\0", b"")
    if found := re.match(_ID_IN_HEAD, data):
        return found
    depth, id_value = 0, re.compile(_ID_VALUE)
    for token in re.finditer(_TOKEN, data, re.DOTALL):
        text = token[0]
        if text == b'"id"' and depth == 1 and (found := id_value.match(data, token.start())):
            return found
        depth += (text in b"[{") - (text in b"]}")
    return None


def _intact(found: re.Match[bytes] | None) -> bytes:
    """The id that was found, unless echoing it would spoil the answer."""
    if found is None:
        return NO_ID
    try:
        found[1].decode()
        msgspec.json.decode(found[1])
    except (UnicodeDecodeError, msgspec.DecodeError):
        return NO_ID
    return found[1]


def result_response(request_id: bytes, result: bytes) -> bytes:
    """A success response around an encoded result object."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (request_id, result)


def error_response(request_id: bytes, code: int, message: str, data: object = None) -> bytes:
    """A failure response; ``data`` is left out when it is None."""
    error: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (request_id, msgspec.json.encode(error))


def internal_error(request_id: bytes) -> bytes:
    """The failure response for a defect of ours."""
    return error_response(request_id, INTERNAL_ERROR, "Internal error; the server's log has the traceback")


def request(request_id: bytes, method: str, params: bytes) -> bytes:
    """A request around encoded params."""
    return b'{"jsonrpc":"2.0","id":%b,"method":"%b","params":%b}' % (request_id, method.encode(), params)


def notification(method: str, params: object) -> bytes:
    """A notification; ``params`` is encoded here."""
    return b'{"jsonrpc":"2.0","method":"%b","params":%b}' % (method.encode(), msgspec.json.encode(params))
