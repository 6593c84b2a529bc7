"""The method table of an MCP server: for both eras, both transports, hub and instance.

A transport (`stdio`, `streamable_http`) decodes a message and gives a `Request` to `McpServer.handle`. It gets the
bytes of the response if the answer is in memory, a `RunningCall` if the call was sent at once, else a coroutine that it
runs as a task and may cancel.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw

from brummer.core.errors import shown
from brummer.wire.mcp import eras
from brummer.wire.mcp.jsonrpc import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    NO_ID,
    UNSUPPORTED_VERSION,
    Message,
    ProtocolError,
    is_id,
    notification,
    result_response,
)

CALL_KEY: Final = "dev.brummer/call-key"
"""``_meta`` key with which a hub names a call, so that it can be cancelled or asked for again on another connection."""

LEDGER_POSITION: Final = "dev.brummer/ledger-position"
"""``_meta`` key of a call: the ledger's position as the hub knew it when it first sent the call to this run."""

BEGIN_BY: Final = "dev.brummer/begin-by"
"""``_meta`` key of a call: the latest time to begin it, on the instance's own clock."""

CLIENT_GONE: Final = "the client has gone"
"""Message of a cancellation (`asyncio.Task.cancel`) by a lost client: it ends the wait, and the work may stay."""

EMPTY_RESULT: Final = b"{}"


class Meta(msgspec.Struct, gc=False):
    """The members of ``params._meta`` that we act on."""

    version: str | None = msgspec.field(name=eras.META_VERSION, default=None)
    capabilities: Raw = msgspec.field(name=eras.META_CAPABILITIES, default=Raw())
    client_info: Raw = msgspec.field(name=eras.META_CLIENT_INFO, default=Raw())
    progress_token: Raw = msgspec.field(name="progressToken", default=Raw())
    traceparent: Raw = Raw()
    tracestate: Raw = Raw()
    call_key: str | None = msgspec.field(name=CALL_KEY, default=None)
    ledger_position: int | None = msgspec.field(name=LEDGER_POSITION, default=None)
    begin_by_s: float | None = msgspec.field(name=BEGIN_BY, default=None)

    def trace(self) -> dict[str, str]:
        """The sender's W3C trace context; a value that is not a string is ignored, so that no call fails for it."""
        given = {"traceparent": bytes(self.traceparent), "tracestate": bytes(self.tracestate)}
        return {name: msgspec.json.decode(text, type=str) for name, text in given.items() if text.startswith(b'"')}


class Params(msgspec.Struct, gc=False):
    """The members of ``params`` that we act on, over all methods."""

    meta: Meta = msgspec.field(name="_meta", default_factory=Meta)
    name: str | None = None
    arguments: Raw = Raw(b"{}")
    cursor: str | None = None
    uri: str | None = None
    version: str | None = msgspec.field(name="protocolVersion", default=None)
    capabilities: Raw = Raw()
    client_info: Raw = msgspec.field(name="clientInfo", default=Raw())
    request_id: Raw = msgspec.field(name="requestId", default=Raw())


_decode_params = msgspec.json.Decoder(Params).decode


class Session(msgspec.Struct, eq=False):
    """One client's relation to this server: a stdio process, or what an ``Mcp-Session-Id`` names."""

    id: str
    capabilities: dict[str, Any] = msgspec.field(default_factory=dict)
    roots: tuple[str, ...] = ()
    version: str | None = None
    """The version that ``initialize`` agreed on; None before that."""
    client: str = ""
    """The name that the client gave in ``initialize``."""
    client_version: str = ""
    find_roots: Callable[[], Awaitable[None]] | None = None
    """Asks the client for its roots; None if they are known, or it has none. Some clients fail on any request."""
    chosen: str | None = None
    """The instance that `instances_connect` chose for calls without ``instance``."""
    calls: int = 0
    """The number of its ``tools/call``."""
    is_the_process: bool = False
    """It lasts as long as its client's process, as over stdio."""

    @property
    def has_lasted(self) -> bool:
        """It is known to outlive a call: some clients open a session for each call."""
        return self.is_the_process or self.calls > 1


def _never() -> bool:
    return False


class Request(msgspec.Struct, eq=False):
    """One request on its way; ``notify`` carries messages that belong to it back to its sender."""

    id: bytes
    method: str
    params: Params
    session: Session | None
    notify: Callable[[bytes], None]
    is_modern: bool = False
    on_response: Callable[[bytes], None] | None = None
    """Takes the response of a call that is a `RunningCall`; None where the transport wants to wait for it in a task."""
    sender_hung_up: Callable[[], bool] = _never
    """The kernel knows that the connection of the request has ended."""

    @property
    def client(self) -> str:
        """The name that its sender gives to itself; empty if it gives none."""
        return self.client_info[0]

    @property
    def client_info(self) -> tuple[str, str]:
        """The name and the version of its sender, as it gives them; each may be empty."""
        named = _client_in(self.params.meta.client_info)
        if named[0] or self.session is None:
            return named
        return self.session.client, self.session.client_version

    def with_notify(self, notify: Callable[[bytes], None]) -> "Request":
        """The same request, whose messages go elsewhere."""
        return msgspec.structs.replace(self, notify=notify)


class ToolCall(msgspec.Struct, eq=False):
    """A ``tools/call`` as the tools see it; a `brummer.wire.mcp.tools.CallContext`."""

    name: str
    arguments: bytes
    request: Request

    @property
    def session(self) -> Session | None:
        return self.request.session

    @property
    def client(self) -> str:
        """The name and version that the caller gives to itself, as one text; empty if it gives none."""
        return " ".join(filter(None, self.request.client_info))

    def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Send ``notifications/progress`` if the caller gave a progress token."""
        token = self.request.params.meta.progress_token
        if not token:
            return
        params: dict[str, object] = {"progressToken": token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        self.request.notify(notification("notifications/progress", params))


class RunningCall:
    """A call that was sent at once, and whose answer comes in a callback: no task waits for it.

    It has the methods of a task that transports use.
    """

    __slots__ = ()

    def cancel(self, message: str | None = None) -> object:
        """Cancel the call: no answer will come. ``message``: as in `CLIENT_GONE`."""
        raise NotImplementedError

    def cancelling(self) -> int:
        """0: a cancelled call has ended."""
        return 0


StartCall = Callable[[ToolCall, Callable[[bytes], None]], "bytes | RunningCall | None"]
"""Begins a call without a task: returns the result, or the running call, which gives its result to the callback.

None: the call needs a task, and was not begun; use `ToolServer.call_tool`.
"""


class ToolServer(Protocol):
    """Answers ``tools/list`` and ``tools/call``."""

    @property
    def tools_json(self) -> bytes:
        """The JSON array of tool definitions: the same bytes at every call."""

    def has_tool(self, name: str) -> bool: ...

    async def call_tool(self, call: ToolCall) -> bytes:
        """Run one call; returns the encoded era-neutral ``CallToolResult``. Only called for tools it has."""

    def cancel_call(self, key: str) -> bool:
        """Stop the work of the call with this `CALL_KEY`, also if no client waits for it. False: there is none."""


class Resources(Protocol):
    """Answers ``resources/list`` and ``resources/read``: a few resources, the same in every list."""

    @property
    def resources_json(self) -> bytes:
        """The JSON array of what can be read."""

    async def read_resource(self, uri: str) -> bytes | None:
        """The JSON array of its contents; None if there is no such resource."""


def decode_request(
    message: Message,
    session: Session | None,
    notify: Callable[[bytes], None],
    on_response: Callable[[bytes], None] | None = None,
) -> Request:
    """The request, in the era that its body declares. Raises `ProtocolError` for invalid params."""
    try:
        params = _decode_params(message.params) if message.params else Params()
    except (msgspec.DecodeError, RecursionError) as error:
        if (others := _without_nulls(bytes(message.params))) is not None:
            message = msgspec.structs.replace(message, params=Raw(others))
            return decode_request(message, session, notify, on_response)
        text = f"Invalid params: {error}"
        raise ProtocolError(INVALID_PARAMS, text, request_id=bytes(message.id) or NO_ID) from None
    if params.meta.progress_token:
        _check_progress_token(params.meta, message)
    method = message.method or ""
    is_modern = params.meta.version is not None or method == "server/discover"
    return Request(bytes(message.id), method, params, session, notify, is_modern, on_response)


def cancelled_by(message: Message) -> Params:
    """The params of a ``notifications/cancelled``; empty for a malformed one, which both eras ignore."""
    try:
        return decode_request(message, None, lambda _: None).params
    except ProtocolError:
        return Params()


def _without_nulls(params: bytes) -> bytes | None:
    """Params without empty members (`null` or an empty array, also as ``_meta``); None if they contain none.

    Encoders write these for optional members that have no value.
    """
    if params in (b"null", b"[]"):
        return b""
    try:
        members = msgspec.json.decode(params, type=dict[str, Raw])
    except (msgspec.DecodeError, RecursionError):
        return None
    if bytes(members.get("_meta", Raw())) not in (b"null", b"[]"):
        return None
    del members["_meta"]
    return msgspec.json.encode(members)


def _check_progress_token(meta: Meta, message: Message) -> None:
    token = bytes(meta.progress_token)
    if token == b"null":  # what some encoders make of "none"
        meta.progress_token = Raw()
    elif not is_id(token):
        text = "Invalid params: progressToken must be a string or an integer"
        raise ProtocolError(INVALID_PARAMS, text, request_id=bytes(message.id) or NO_ID)


class McpServer:
    """The method table. One for each process; it holds no connection."""

    def __init__(
        self,
        tools: ToolServer,
        *,
        name: str,
        version: str,
        instructions: str,
        start_call: StartCall | None = None,
        resources: Resources | None = None,
    ) -> None:
        self._tools = tools
        self._resources = resources
        self._capabilities = eras.WITH_TOOLS if resources is None else eras.WITH_RESOURCES
        further = {} if resources is None else _OF_RESOURCES
        self._legacy_methods, self._modern_methods = {**_LEGACY_METHODS, **further}, {**_MODERN_METHODS, **further}
        self._start_call = start_call
        self._info = {"name": name, "version": version}
        self._instructions = instructions
        info_json = msgspec.json.encode(self._info)
        self._complete = eras.complete_result_prefix(info_json, cacheable=False)
        self._cacheable = eras.complete_result_prefix(info_json, cacheable=True)
        self._subscriptions: set[asyncio.Future[None]] = set()

    @property
    def tools_json(self) -> bytes:
        """See `ToolServer.tools_json`."""
        return self._tools.tools_json

    def handle(self, request: Request) -> "bytes | RunningCall | Coroutine[Any, Any, bytes]":
        """The response, or the coroutine that will return it. Raises `ProtocolError` for a request it can't serve.

        A `RunningCall` is returned only for a request with ``on_response``.
        """
        methods = self._legacy_methods
        if request.is_modern:
            _refuse_incomplete_meta(request)
            methods = self._modern_methods
        method = methods.get(request.method)
        if method is None:
            raise ProtocolError(
                METHOD_NOT_FOUND, f"Method not found: {shown(request.method)}", request_id=request.id, http_status=404
            )
        return method(self, request)

    def cancel_call(self, key: str) -> bool:
        """See `ToolServer.cancel_call`."""
        return self._tools.cancel_call(key)

    def end_subscriptions(self) -> None:
        """Answer every ``subscriptions/listen``: nothing more will come."""
        for subscription in self._subscriptions:
            if not subscription.done():
                subscription.set_result(None)

    # Answered from memory.

    def _initialize(self, request: Request) -> bytes:
        result = eras.initialize_result(request.params.version, self._info, self._instructions, self._capabilities)
        if request.session is not None:
            request.session.version = result["protocolVersion"]
            request.session.client, request.session.client_version = _client_in(request.params.client_info)
            if request.params.capabilities:
                request.session.capabilities = _as_object(request.params.capabilities)
        return result_response(request.id, msgspec.json.encode(result))

    def _discover(self, request: Request) -> bytes:
        result = eras.discover_result(self._info, self._instructions, self._capabilities)
        return result_response(request.id, msgspec.json.encode(result))

    def _ping(self, request: Request) -> bytes:
        return result_response(request.id, EMPTY_RESULT)

    def _list_tools(self, request: Request) -> bytes:
        return self._whole_list(request, b"tools", self._tools.tools_json)

    def _list_resources(self, request: Request) -> bytes:
        return self._whole_list(request, b"resources", self._resources.resources_json if self._resources else b"[]")

    def _list_templates(self, request: Request) -> bytes:
        """None: many clients ask as soon as there are resources, and report an error as a fault."""
        return self._whole_list(request, b"resourceTemplates", b"[]")

    def _whole_list(self, request: Request, name: bytes, array: bytes) -> bytes:
        if request.params.cursor:
            raise ProtocolError(INVALID_PARAMS, "Invalid params: unknown cursor", request_id=request.id)
        return self._respond(request, b'{"%b":%b}' % (name, array), self._cacheable)

    # Answered later.

    def _call_tool(self, request: Request) -> "bytes | RunningCall | Coroutine[Any, Any, bytes]":
        name = request.params.name
        if name is None:
            raise ProtocolError(INVALID_PARAMS, 'Invalid params: "name" is missing', request_id=request.id)
        arguments = bytes(request.params.arguments)
        if not arguments.startswith(b"{"):
            arguments = _arguments_in(arguments, request)
        if request.session is not None:
            request.session.calls += 1
        call = ToolCall(name, arguments, request)
        if self._start_call is not None and request.on_response is not None:
            on_response = request.on_response
            sent = self._start_call(call, lambda result: on_response(self._respond(request, result, self._complete)))
            if sent is not None:
                return self._respond(request, sent, self._complete) if isinstance(sent, bytes) else sent
        if not self._tools.has_tool(name):
            raise ProtocolError(INVALID_PARAMS, f"Unknown tool: {shown(name)}", request_id=request.id)
        return self._finish_call(call)

    async def _finish_call(self, call: ToolCall) -> bytes:
        return self._respond(call.request, await self._tools.call_tool(call), self._complete)

    async def _read_resource(self, request: Request) -> bytes:
        uri = request.params.uri
        if uri is None or self._resources is None:
            raise ProtocolError(INVALID_PARAMS, 'Invalid params: "uri" is missing', request_id=request.id)
        contents = await self._resources.read_resource(uri)
        if contents is None:
            text = f"Resource not found: {shown(uri)}"
            raise ProtocolError(INVALID_PARAMS, text, request_id=request.id, data={"uri": uri})
        return self._respond(request, b'{"contents":%b}' % contents, self._cacheable)

    async def _listen(self, request: Request) -> bytes:
        """Keep a subscription open until its sender or we end it. The lists are frozen: nothing is ever sent."""
        meta = {eras.META_SUBSCRIPTION: Raw(request.id)}
        request.notify(notification("notifications/subscriptions/acknowledged", {"_meta": meta, "notifications": {}}))
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._subscriptions.add(ended)
        try:
            await ended
        finally:
            self._subscriptions.discard(ended)
        result = eras.subscription_ended(self._info, Raw(request.id))
        return result_response(request.id, msgspec.json.encode(result))

    def _respond(self, request: Request, era_neutral: bytes, modern_prefix: bytes) -> bytes:
        if request.is_modern:
            era_neutral = eras.modern_result(modern_prefix, era_neutral)
        return result_response(request.id, era_neutral)


_Method = Callable[[McpServer, Request], bytes | RunningCall | Coroutine[Any, Any, bytes]]

# ruff: noqa: SLF001 — the tables are part of the class, written below it so that they can name its methods.
_LEGACY_METHODS: dict[str, _Method] = {
    "initialize": McpServer._initialize,
    "ping": McpServer._ping,
    "tools/list": McpServer._list_tools,
    "tools/call": McpServer._call_tool,
}
_MODERN_METHODS: dict[str, _Method] = {
    "server/discover": McpServer._discover,
    "tools/list": McpServer._list_tools,
    "tools/call": McpServer._call_tool,
    "subscriptions/listen": McpServer._listen,
}
_OF_RESOURCES: dict[str, _Method] = {
    "resources/list": McpServer._list_resources,
    "resources/templates/list": McpServer._list_templates,
    "resources/read": McpServer._read_resource,
}
"""Of both eras, where a server has some."""


def _arguments_in(given: bytes, request: Request) -> bytes:
    """The arguments as an object. Some clients write no arguments as `null`, ``""`` or (PHP) an empty array, and some
    send the arguments of a model as a string. Raises `ProtocolError`.
    """
    try:
        meant = msgspec.json.decode(given)
        if meant in (None, "", []):
            return EMPTY_RESULT
        if isinstance(meant, str):
            msgspec.json.decode(meant, type=dict[str, Raw])
            return meant.strip().encode()
    except (msgspec.DecodeError, RecursionError):
        pass
    raise ProtocolError(INVALID_PARAMS, 'Invalid params: "arguments" must be an object', request_id=request.id)


def _client_in(info: Raw) -> tuple[str, str]:
    """Name and version of a client's ``Implementation``; a wrong one is ignored, so that no call fails for it."""
    given = _as_object(info) if info else {}
    name, version = given.get("name"), given.get("version")
    return name if isinstance(name, str) else "", version if isinstance(version, str) else ""


def _refuse_incomplete_meta(request: Request) -> None:
    meta = request.params.meta
    if meta.version is None or not bytes(meta.capabilities).startswith(b"{"):
        missing = eras.META_VERSION if meta.version is None else eras.META_CAPABILITIES
        raise ProtocolError(INVALID_PARAMS, f"Invalid params: _meta lacks {missing}", request_id=request.id)
    if meta.version != eras.MODERN:
        raise ProtocolError(
            UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            request_id=request.id,
            data=eras.unsupported_version_data(meta.version),
        )


def _as_object(raw: Raw) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {}
