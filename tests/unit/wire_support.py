"""What the tests of `brummer.wire` share: a few tools, a client on pipes, a client on a bare socket."""

import asyncio
import contextlib
import json
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import msgspec

from brummer.core.errors import NotFound
from brummer.wire.http.server import Admit, Handler, HttpServer, ServerLimits
from brummer.wire.mcp.jsonrpc import ProtocolError
from brummer.wire.mcp.pipes import DescriptorCalls
from brummer.wire.mcp.server import McpServer, ToolCall
from brummer.wire.mcp.stdio import FINISH_S, ROOTS_S, StdioServer
from brummer.wire.mcp.tools import Content, Tool, ToolTable

WAIT_S: Final = 10.0
LIMIT_BYTES: Final = 1 << 20
TOKEN: Final = "t0ken-" + "x" * 37
INFO: Final = {"name": "tested", "version": "1.2.3"}
INSTRUCTIONS: Final = "Ask, and it shall be answered: “at once”."

MODERN: Final = "2026-07-28"
META: Final[dict[str, Any]] = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Numbered(msgspec.Struct, forbid_unknown_fields=True):
    n: int = 0


class Anything(msgspec.Struct):
    pass


class Tools:
    """Tools that a test can watch and hold: ``wait`` runs until `release` is set."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.release = asyncio.Event()
        self.running = 0
        self.calls: list[ToolCall] = []
        self.keyed: list[str] = []
        self.filler = "x" * 1_000_000
        tools = [
            Tool(_definition("echo", {"n": {"type": "integer"}}), Numbered, self._echo),
            Tool(_definition("wait", {}), Anything, self._wait),
            Tool(_definition("steps", {}), Anything, self._steps),
            Tool(_definition("big", {}), Anything, self._big),
            Tool(_definition("not_found", {}), Anything, self._not_found),
            Tool(_definition("defect", {}), Anything, self._defect),
            Tool(_definition("refuse", {}), Anything, self._refuse),
            Tool(_definition("picture", {}), Anything, self._picture),
            Tool(_definition("stubborn", {}), Anything, self._stubborn),
        ]
        self.table = ToolTable(tools)

    @property
    def tools_json(self) -> bytes:
        return self.table.tools_json

    def has_tool(self, name: str) -> bool:
        return self.table.has_tool(name)

    async def call_tool(self, call: ToolCall) -> bytes:
        self.calls.append(call)
        if call.name == "broken":
            raise RuntimeError("not even a tool")
        return await self.table.call(call.name, call.arguments, call)

    def cancel_call(self, key: str) -> bool:
        self.keyed.append(key)
        return False

    def server(self, resources: "Views | None" = None) -> McpServer:
        return McpServer(
            self, name=INFO["name"], version=INFO["version"], instructions=INSTRUCTIONS, resources=resources
        )

    async def _echo(self, arguments: Numbered, _: ToolCall) -> object:
        return {"n": arguments.n}

    async def _wait(self, _: Anything, __: ToolCall) -> object:
        self.running += 1
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.running -= 1
        return {"waited": True}

    async def _steps(self, _: Anything, call: ToolCall) -> object:
        for number in (1, 2):
            call.report_progress(number, 2, "stepping")
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(call.report_progress, 3)  # what must not be heard any more
        return {"steps": 2}

    async def _big(self, _: Anything, __: ToolCall) -> object:
        return {"filler": self.filler}

    async def _not_found(self, _: Anything, __: ToolCall) -> object:
        raise NotFound("no such thing; there are a and b", known=["a", "b"], path="a\udcffb")

    async def _defect(self, _: Anything, __: ToolCall) -> object:
        raise KeyError("a defect")

    async def _refuse(self, _: Anything, call: ToolCall) -> object:
        data: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
        raise ProtocolError(-32021, "Missing required client capability", request_id=call.request.id, data=data)

    async def _picture(self, _: Anything, __: ToolCall) -> object:
        return Content([{"type": "image", "data": "AA==", "mimeType": "image/png"}])

    async def _stubborn(self, _: Anything, call: ToolCall) -> object:
        """Answers although it was cancelled, and has something to say besides."""
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            call.report_progress(1)
            self.cancelled.set()
        return {"stubborn": True}


class Views:
    """One resource."""

    URI: Final = "ui://tested/view"

    def __init__(self) -> None:
        self.resources_json = msgspec.json.encode([{"uri": self.URI, "name": "view"}])

    async def read_resource(self, uri: str) -> bytes | None:
        return msgspec.json.encode([{"uri": uri, "text": "<html>"}]) if uri == self.URI else None


def _definition(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "description": f"Does {name}.",
        "inputSchema": {"type": "object", "properties": properties, "additionalProperties": False},
    }


def call(name: str, arguments: object = None, *, request_id: object = 1, **meta: object) -> dict[str, Any]:
    """A legacy ``tools/call``; ``meta`` goes into ``_meta``."""
    params: dict[str, Any] = {"name": name, "arguments": arguments or {}}
    if meta:
        params["_meta"] = meta
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


def modern(method: str, params: Mapping[str, Any] | None = None, request_id: object = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": {**(params or {}), "_meta": META}}


PING: Final[dict[str, Any]] = {"jsonrpc": "2.0", "id": "ping", "method": "ping"}
PONG: Final[dict[str, Any]] = {"jsonrpc": "2.0", "id": "ping", "result": {}}


class StdioClient:
    """The other end of a `StdioServer`'s pipes. ``to_server`` may be missing where its input is something else."""

    def __init__(self, to_server: asyncio.StreamWriter | None, from_server: int) -> None:
        self._to_server = to_server
        self._fd = from_server
        self._loop = asyncio.get_running_loop()
        self._lines: deque[bytes] = deque()
        self._begun = bytearray()
        self.ended = False

    def send(self, *messages: object) -> None:
        self.send_raw(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def send_raw(self, data: bytes) -> None:
        self.to_server.write(data)

    @property
    def to_server(self) -> asyncio.StreamWriter:
        assert self._to_server is not None
        return self._to_server

    @property
    def has_heard_all(self) -> bool:
        return not self._lines and not self._begun

    async def line(self) -> bytes:
        """The next line; reads the pipe no further than it must, so that an unread pipe fills up."""
        async with asyncio.timeout(WAIT_S):
            while not self._lines and not self.ended:
                await self._read()
        assert self._lines, "the server closed its output"
        return self._lines.popleft()

    async def lines(self, count: int) -> list[bytes]:
        """The next so many, read as fast as they come; bound it from outside."""
        while len(self._lines) < count and not self.ended:
            await self._read()
        return [self._lines.popleft() for _ in range(count)]

    async def message(self) -> dict[str, Any]:
        message: dict[str, Any] = msgspec.json.decode(await self.line(), strict=True)
        return message

    async def messages(self, count: int) -> list[dict[str, Any]]:
        return [await self.message() for _ in range(count)]

    async def ask(self, message: object) -> dict[str, Any]:
        self.send(message)
        return await self.message()

    async def _read(self) -> None:
        readable: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._fd, _note, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(self._fd)
        data = os.read(self._fd, 1 << 20)
        self.ended = not data
        self._begun += data
        if b"\n" in data:
            *lines, rest = bytes(self._begun).split(b"\n")
            self._lines += lines
            self._begun = bytearray(rest)

    def close_stdin(self) -> None:
        self.to_server.close()

    def close_stdout(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@contextlib.asynccontextmanager
async def stdio(
    tools: Tools,
    *,
    limit_bytes: int = LIMIT_BYTES,
    already_read: bytes = b"",
    finish_s: float = FINISH_S,
    roots_s: float = ROOTS_S,
    descriptors: DescriptorCalls = os,
) -> AsyncIterator[tuple[StdioClient, StdioServer, asyncio.Task[None]]]:
    """A client, the server it talks to over real pipes, and the task that serves."""
    stdin, to_server = os.pipe()
    from_server, stdout = os.pipe()
    os.set_blocking(stdin, False)  # only for the guard against blocking calls
    server = StdioServer(
        tools.server(),
        stdin=stdin,
        stdout=stdout,
        limit_bytes=limit_bytes,
        descriptors=descriptors,
        finish_s=finish_s,
        roots_s=roots_s,
    )
    serving = asyncio.create_task(server.serve(already_read))
    client = StdioClient(await _writer(to_server), from_server)
    try:
        yield client, server, serving
    finally:
        client.close_stdin()
        server.close()
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(serving, return_exceptions=True)
            with contextlib.suppress(OSError):
                await client.to_server.wait_closed()
        client.close_stdout()
        os.close(stdin)
        os.close(stdout)


def _note(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


async def _writer(fd: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport, _ = await loop.connect_write_pipe(lambda: protocol, os.fdopen(fd, "wb", buffering=0))
    return asyncio.StreamWriter(transport, protocol, None, loop)


@contextlib.asynccontextmanager
async def serving(
    handler: Handler,
    *,
    limit_bytes: int = LIMIT_BYTES,
    admit: Admit | None = None,
    limits: ServerLimits | None = None,
) -> AsyncIterator[tuple[HttpServer, int]]:
    """An HTTP server on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(handler, body_limit_bytes=limit_bytes, admit=admit, limits=limits)
    await server.start([listener])
    try:
        yield server, listener.getsockname()[1]
    finally:
        async with asyncio.timeout(WAIT_S):
            await server.close()


class Answer(msgspec.Struct):
    """What came back over a bare socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def events(self) -> list[Any]:
        events = [block for block in self.body.split(b"\n\n") if b"data: " in block]
        return [msgspec.json.decode(event.partition(b"data: ")[2]) for event in events]


class RawClient:
    """HTTP/1.1 by hand, so that every byte is the test's own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, *, has_body: bool = True) -> Answer:
        async with asyncio.timeout(WAIT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
            body = await self._body(headers) if has_body else b""
        return Answer(int(head[0].split()[1]), headers, body)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while chunk := await self.chunk():
                body += chunk
            return body
        return await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def chunk(self) -> bytes:
        async with asyncio.timeout(WAIT_S):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            chunk = await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        return chunk

    async def chunk_head(self) -> None:
        """Wait until an answer in chunks has begun."""
        async with asyncio.timeout(WAIT_S):
            await self.reader.readuntil(b"\r\n\r\n")

    async def event(self) -> Any:
        """The next event of a stream, comments passed over."""
        while not (chunk := await self.chunk()).startswith(b"event:"):
            assert chunk.startswith(b":"), chunk
        return msgspec.json.decode(chunk.partition(b"data: ")[2])

    async def rest(self) -> bytes:
        """Everything up to the end of the connection, also of one that was reset."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def post(self, message: object, **headers: str | None) -> Answer:
        self.send(post(message, **headers))
        return await self.answer()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[RawClient]:
    client = RawClient(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield client
    finally:
        await client.close()


def post(message: object, **headers: str | None) -> bytes:
    """A POST to the endpoint; ``headers`` by name with ``_`` for ``-``, None to leave a usual one out."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    usual: dict[str, str | None] = {
        "host": "127.0.0.1",
        "authorization": f"Bearer {TOKEN}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "content-length": str(len(body)),
    }
    stated = usual | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}\r\n" for name, value in stated.items() if value is not None]
    return f"POST /mcp HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1") + body


def modern_headers(message: Mapping[str, Any], **changed: str | None) -> dict[str, str | None]:
    """The headers that mirror a modern message."""
    headers: dict[str, str | None] = {"mcp_protocol_version": MODERN, "mcp_method": message["method"]}
    if message["method"] in ("tools/call", "resources/read"):
        headers["mcp_name"] = message["params"].get("name") or message["params"].get("uri")
    return headers | changed


async def until(condition: Callable[[], object]) -> None:
    """For what sets no event: a turn of the loop at a time, bounded."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)
