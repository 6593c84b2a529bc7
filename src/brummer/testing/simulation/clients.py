"""The two agents: one uses its hub over stdio, the other over HTTP. Each starts its hub, and restarts it."""

import itertools
from typing import Any, Final

import msgspec

from brummer.core.errors import TransportError
from brummer.settings.limits import Limits
from brummer.testing.process_table import Machine, Pipe
from brummer.testing.simulation.parts import HTTP_TOKEN, HubRun, SimulatedSurroundings, pipes
from brummer.testing.simulation.trace import Trace
from brummer.wire.http.connection import HttpConnection
from brummer.wire.mcp.pipes import LineReader

REPLY_LIMIT_BYTES: Final = 16 << 20
LINE_LIMIT_BYTES: Final = 16 << 20


class Asked(msgspec.Struct, eq=False):
    """One call of an agent and its result. ``answer``: the decoded tool result, None if none came."""

    number: int
    client: str
    tool: str
    inner_tool: str
    """The tool's name in the instance, or in the server."""
    target: str
    mutating: bool
    deadline_s: float
    sent_s: float
    hub: HubRun
    generation: str
    """The run of the target at the moment when the call was sent."""
    progress: bool
    """It wants to hear of its progress."""
    answered_s: float = 0.0
    answer: dict[str, Any] | None = None
    is_over: bool = False
    cancelled: bool = False
    lost: bool = False
    """The hub, or the connection to it, was gone before an answer."""

    @property
    def code(self) -> str:
        """The error's code; empty without an error."""
        content = (self.answer or {}).get("structuredContent")
        error = content.get("error") if isinstance(content, dict) else None
        return error["code"] if error else ""

    @property
    def changes(self) -> bool:
        """It changes something, so it must not begin when no client waits for it any more."""
        return self.target != "docs" and (self.mutating or self.tool == "scripts_stop")


class SimulatedClient:
    """The common part of both agents."""

    def __init__(
        self, name: str, machine: Machine, limits: Limits, surroundings: SimulatedSurroundings, trace: Trace, port: int
    ) -> None:
        self.name = name
        self.machine = machine
        self.process = machine.spawn(name)
        self._limits = limits
        self._surroundings = surroundings
        self.trace = trace
        self.port = port
        self.hub: HubRun | None = None
        self.runs: list[HubRun] = []
        self.asked: list[Asked] = []
        self._to_hub: Pipe | None = None
        self._from_hub: Pipe | None = None
        self._numbers = itertools.count(1)
        self.not_reading: list[tuple[float, float]] = []

    def start_hub(self) -> None:
        process = self.machine.spawn(f"hub of {self.name}")
        self.hub = hub = HubRun(f"hub-{self.name}", process, self._limits, self._surroundings, self.trace)
        self.runs.append(hub)
        to_hub, stdin, stdout, from_hub = pipes(self.process, process)
        self._to_hub, self._from_hub = to_hub, from_hub
        self.trace(hub.name, f"starts, pid {process.pid}")
        process.start(self._run(hub, stdin, stdout))
        self.process.context.run(self._connected)

    async def _run(self, hub: HubRun, stdin: Pipe, stdout: Pipe) -> None:
        try:
            await hub.serve(stdin, stdout, self.port)
        except Exception as error:  # noqa: BLE001 — the judge shall hear of it
            if not hub.process.is_dead:
                hub.result = f"{type(error).__name__}: {error}"
                self.trace(hub.name, f"ended by {hub.result}")
        finally:
            for end in (stdin, stdout):
                end.close()

    def _connected(self) -> None:
        """Called when the hub's standard streams exist."""

    def close_hub(self) -> None:
        """Close the hub's stdin: the hub must end."""
        if self._to_hub is not None:
            self._to_hub.close()

    def finish(self, asked: Asked, answer: dict[str, Any] | None, *, lost: bool = False) -> None:
        if asked.is_over:
            return
        asked.is_over = True
        asked.answered_s = self.process.loop.time()
        asked.answer, asked.lost = answer, lost
        self.trace(
            self.name,
            f"call {asked.number}: {_shown(answer) if answer is not None else 'lost' if lost else 'no answer'}",
        )

    def ask(self, asked: Asked, arguments: dict[str, Any]) -> None:
        raise NotImplementedError

    def cancel(self, asked: Asked) -> None:
        raise NotImplementedError

    def stop_reading(self, seconds: float) -> None:
        """Read no answers for so long."""

    def lose_hub(self) -> None:
        """The hub is dead: its open calls get no answer."""
        for asked in self.asked:
            if not asked.is_over:
                self.finish(asked, None, lost=True)


def _shown(answer: dict[str, Any]) -> str:
    content = answer.get("structuredContent", {})
    error = content.get("error") if isinstance(content, dict) else None
    if error:
        return f"{error['code']} ({error['outcome']})"
    return f"by {content.get('by')}" if isinstance(content, dict) and "by" in content else str(answer)[:200]


def _request(number: int, tool: str, arguments: dict[str, Any], *, progress: bool) -> bytes:
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    if progress:
        params["_meta"] = {"progressToken": number}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})


class StdioClient(SimulatedClient):
    """Lines over two pipes."""

    def _connected(self) -> None:
        lines = LineReader(LINE_LIMIT_BYTES, self._on_line, lambda _, __: None)
        self._unsent = bytearray()
        assert self._from_hub is not None  # noqa: S101 — `start_hub` has made it
        self.process.loop.add_reader(self._from_hub.fd, self._on_readable, self._from_hub, lines)
        client_info = {"name": "simulated", "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client_info}
        self._send(msgspec.json.encode({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))

    def _send(self, message: bytes) -> None:
        self._unsent += message + b"\n"
        self._flush()

    def _flush(self) -> None:
        pipe = self._to_hub
        if pipe is None or pipe.closed:
            return
        try:
            while self._unsent:
                sent = pipe.write(bytes(self._unsent))
                del self._unsent[:sent]
        except OSError as error:
            if isinstance(error, BlockingIOError) or error.errno == 11:  # noqa: PLR2004 — EAGAIN
                self.process.context.run(self.process.loop.add_writer, pipe, self._on_writable, pipe)
            return

    def _on_writable(self, pipe: Pipe) -> None:
        pipe.writer = None
        self._flush()

    def _on_readable(self, pipe: Pipe, lines: LineReader) -> None:
        """``lines`` are the pipe's own: a hub that was killed may have left half a line."""
        data = pipe.read(1 << 16)
        if data:
            lines.feed(data)
        else:
            pipe.close()
            if pipe is self._from_hub:
                self.lose_hub()

    def _on_line(self, line: bytes) -> None:
        message = msgspec.json.decode(line)
        number = message.get("id")
        for asked in self.asked:
            if asked.number == number and "method" not in message:
                if asked.cancelled:
                    self.trace(self.name, f"call {number}: answered though it was cancelled")
                answer = message.get("result", {"protocol_error": message.get("error")})
                self.finish(asked, answer)

    def ask(self, asked: Asked, arguments: dict[str, Any]) -> None:
        self.asked.append(asked)
        self._send(_request(asked.number, asked.tool, arguments, progress=asked.progress))

    def cancel(self, asked: Asked) -> None:
        asked.cancelled = True
        params = {"requestId": asked.number}
        self._send(msgspec.json.encode({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}))
        self.finish(asked, None)

    def stop_reading(self, seconds: float) -> None:
        pipe, loop = self._from_hub, self.process.loop
        if pipe is None or pipe.closed or pipe.reader is None:
            return
        reader, pipe.reader = pipe.reader, None
        self.not_reading.append((loop.time(), loop.time() + seconds))

        def read_on() -> None:
            if not pipe.closed:
                pipe.reader = reader
                pipe.poll()

        self.process.context.run(loop.call_later, seconds, read_on)


class HttpClient(SimulatedClient):
    """One POST per call, on connections that are used again."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._idle: list[HttpConnection] = []

    def ask(self, asked: Asked, arguments: dict[str, Any]) -> None:
        self.asked.append(asked)
        body = _request(asked.number, asked.tool, arguments, progress=asked.progress)
        self.process.start(self._post(asked, body))

    def cancel(self, asked: Asked) -> None:
        """Only stop waiting: in this era that is not a cancellation, and the work continues."""
        asked.cancelled = True
        self.finish(asked, None)

    def lose_hub(self) -> None:
        """Each connection notices it by itself; a connection that is being made may even reach the next run."""

    async def _post(self, asked: Asked, body: bytes) -> None:
        events: list[bytes] = []
        try:
            connection = self._idle.pop() if self._idle else await self._open()
            answer = await connection.exchange(_head(self.port, len(body)) + body, lambda event: _note(events, event))
            if not connection.closed:
                self._idle.append(connection)
        except TransportError as error:
            self.trace(self.name, f"call {asked.number}: {error.code}")
            self.finish(asked, None, lost=True)
            return
        message = msgspec.json.decode(events[-1] if events else answer.body or b"{}")
        self.finish(asked, message.get("result", {"protocol_error": message.get("error"), "status": answer.status}))

    def _forget(self, connection: HttpConnection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    async def _open(self) -> HttpConnection:
        return await HttpConnection.open(
            "127.0.0.1",
            self.port,
            timeout_s=5.0,
            limit_bytes=REPLY_LIMIT_BYTES,
            on_close=self._forget,
            sockets=self.process.system.sockets,
        )


def _note(events: list[bytes], event: bytes) -> bool:
    if event:
        events.append(event)
    return b'"result"' in event or b'"error"' in event


def _head(port: int, length: int) -> bytes:
    return (
        f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {HTTP_TOKEN}\r\n"
        "content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
        f"mcp-protocol-version: 2025-11-25\r\ncontent-length: {length}\r\n\r\n"
    ).encode()
