"""An MCP server over stdin and stdout: newline-delimited JSON-RPC that cannot be blocked, and ends with its client.

Reading never waits for work: each call is a task or a callback, and what is in memory is answered at once. Writing
never blocks: while the client does not read, no further requests are read. The caller has reserved standard output for
the protocol (`brummer.cli.protocol_stream`).
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import msgspec

from brummer.wire.mcp import eras, jsonrpc
from brummer.wire.mcp.jsonrpc import (
    INVALID_REQUEST,
    BatchReceived,
    Message,
    ProtocolError,
    decode,
    error_response,
    id_of,
    id_of_truncated,
)
from brummer.wire.mcp.pipes import ByteReader, DescriptorCalls, LineReader, Writer, start_reading
from brummer.wire.mcp.server import (
    CLIENT_GONE,
    McpServer,
    RunningCall,
    Session,
    cancelled_by,
    decode_request,
)

_log = logging.getLogger(__name__)

FINISH_S: Final = 1.0
"""How long calls in flight may still answer after stdin closed: the process must end within two seconds."""

CLEAN_UP_S: Final = 0.3
"""How long calls that were then cancelled may take to clean up."""

ROOTS_S: Final = 2.0
"""How long a call waits for the client's roots. A client answers from memory; some never answer."""

_ROOTS_REQUEST_ID: Final = b'"brummer-roots"'


class StdioServer:
    """Serves one client until its stdin ends. Create it in a running loop, then await `serve`."""

    def __init__(
        self,
        server: McpServer,
        *,
        stdin: int,
        stdout: int,
        limit_bytes: int,
        descriptors: DescriptorCalls = os,
        finish_s: float = FINISH_S,
        roots_s: float = ROOTS_S,
    ) -> None:
        self._finish_s = finish_s
        self._roots_s = roots_s
        self._descriptors = descriptors
        self._server = server
        self._stdin = stdin
        self._limit_bytes = limit_bytes
        self.lines = LineReader(limit_bytes, self._on_line, self._on_overlong, self.close)
        self.in_flight: dict[bytes, asyncio.Task[bytes] | RunningCall] = {}
        self._emptied: asyncio.Event | None = None
        self.writer = Writer(
            stdout, on_full=self._pause, on_drained=self._resume, on_broken=self.close, descriptors=descriptors
        )
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._reader: ByteReader | None = None
        self.session = Session(id="stdio", is_the_process=True)
        self._asked_roots: asyncio.Future[None] | None = None

    async def serve(self, already_read: bytes = b"") -> None:
        """Serve until EOF, a broken stdout or `close`; calls in flight then have ``finish_s`` to answer."""
        self._reader = start_reading(self._loop, self._stdin, self.lines.feed, self._descriptors)
        try:
            if already_read:
                self.lines.feed(already_read)
            await self._closed.wait()
            self._server.end_subscriptions()
            if not self.writer.broken:
                await self._none_in_flight(self._finish_s)
        finally:
            self._pause()
            for request_id in list(self.in_flight):
                self._cancel(request_id, CLIENT_GONE)
            await self._none_in_flight(CLEAN_UP_S)
            await self.writer.close(timeout_s=self._finish_s / 2)

    def close(self) -> None:
        """Stop reading; `serve` returns soon after."""
        self._closed.set()
        self._pause()

    async def _none_in_flight(self, timeout_s: float) -> None:
        if self.in_flight:
            self._emptied = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._emptied.wait()

    def _cancel(self, request_id: bytes, message: str | None = None) -> None:
        call = self.in_flight.get(request_id)
        if call is not None:
            call.cancel(message)
        if isinstance(call, RunningCall):
            self._take_out(request_id)

    def _take_out(self, request_id: bytes) -> None:
        del self.in_flight[request_id]
        if self._emptied is not None and not self.in_flight:
            self._emptied.set()

    # Reading.

    def _resume(self) -> None:
        if self._reader is not None and not self._closed.is_set():
            self._reader.resume()

    def _pause(self) -> None:
        if self._reader is not None:
            self._reader.pause()

    def _on_overlong(self, head: bytes, tail: bytes) -> None:
        message = f"Message exceeds {self._limit_bytes} bytes"
        data = {"code": "too_large", "limit_bytes": self._limit_bytes}
        self.writer.write(error_response(id_of_truncated(head, tail), INVALID_REQUEST, message, data))

    def _on_line(self, line: bytes, batch: "_Batch | None" = None) -> None:
        """Handle one message. The response to a message of a batch goes into the ``batch``."""
        response = None
        try:
            message = decode(line)
            if message.method is None:
                self._on_response(message)
            elif message.id:
                self._on_request(message, batch)
                return
            else:
                self._on_notification(message)
        except BatchReceived as received:
            if batch is None:
                self._on_batch(received)
                return
            response = received.as_message()
        except ProtocolError as error:
            response = error.as_message()
        except Exception:  # noqa: BLE001 — the barrier: whatever one line does, the next line works
            _log.exception("a message could not be handled")
            response = jsonrpc.internal_error(id_of(line))
        if batch is not None:
            batch.settle(response)
        elif response is not None:
            self.writer.write(response)

    def _on_batch(self, received: BatchReceived) -> None:
        """Handle all messages in order; write their responses together, once all are there (JSON-RPC 2.0 §6)."""
        if self.session.version not in (None, eras.WITH_BATCHES):
            for refusal in received.refusals():
                self.writer.write(refusal)
            return
        batch = _Batch(len(received.messages), self.writer.write)
        for line in received.messages:
            self._on_line(line, batch)

    def _on_request(self, message: Message, batch: "_Batch | None") -> None:
        """Raises ProtocolError."""
        request_id = bytes(message.id)
        if request_id in self.in_flight:
            text = f"Invalid request: id {request_id.decode()} is already in use by a request in flight"
            raise ProtocolError(INVALID_REQUEST, text, request_id=request_id)
        on_response = partial(self._on_answered, request_id) if batch is None else None
        request = decode_request(message, self.session, partial(self._say, request_id), on_response)
        answer = self._server.handle(request)
        if isinstance(answer, RunningCall):
            self.in_flight[request_id] = answer
        elif not isinstance(answer, bytes):
            name = f"request {request_id.decode()}"
            task = self._loop.create_task(self._answer(request_id, answer, batch), name=name)
            self.in_flight[request_id] = task
            task.add_done_callback(partial(self._on_done, request_id, answer, batch))
        elif batch is None:
            self.writer.write(answer)
        else:
            batch.settle(answer)

    async def _answer(self, request_id: bytes, answer: Coroutine[Any, Any, bytes], batch: "_Batch | None") -> bytes:
        """The response, also when the request fails. That of a single request is written at once."""
        try:
            response = await answer
        except ProtocolError as error:
            response = error.as_message()
        except Exception:  # noqa: BLE001 — as above
            _log.exception("request %s failed", request_id.decode())
            response = jsonrpc.internal_error(request_id)
        if batch is None:
            self._say(request_id, response)
            self._take_out(request_id)
        return response

    def _on_done(
        self,
        request_id: bytes,
        answer: Coroutine[Any, Any, bytes],
        batch: "_Batch | None",
        task: asyncio.Task[bytes],
    ) -> None:
        answer.close()  # it has not even begun when the cancellation came in one piece with the request
        if self.in_flight.get(request_id) is task:
            self._take_out(request_id)
        if batch is not None:
            batch.settle(None if task.cancelled() or task.cancelling() else task.result())

    def _on_answered(self, request_id: bytes, response: bytes) -> None:
        """The response of a `RunningCall`; one that was cancelled has none."""
        del self.in_flight[request_id]
        self.writer.write(response, is_last=not self.in_flight)
        if self._emptied is not None and not self.in_flight:
            self._emptied.set()

    def _say(self, request_id: bytes, message: bytes) -> None:
        """Write a message of a request in flight; nothing more is sent of one that is answered or cancelled."""
        call = self.in_flight.get(request_id)
        if call is not None and not call.cancelling():
            self.writer.write(message)

    def _on_notification(self, message: Message) -> None:
        if message.method == "notifications/cancelled":
            self._cancel(bytes(cancelled_by(message).request_id))  # and, as both eras ask, no answer
        elif message.method in ("notifications/initialized", "notifications/roots/list_changed"):
            self._asked_roots, self.session.roots = None, ()
            self.session.find_roots = self._find_roots if "roots" in self.session.capabilities else None

    async def _find_roots(self) -> None:
        """Ask once for any number of calls. A client that does not answer has no roots until it does."""
        if self._asked_roots is None:
            self._asked_roots = self._loop.create_future()
            self.writer.write(jsonrpc.request(_ROOTS_REQUEST_ID, "roots/list", b"{}"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._roots_s):
                await asyncio.shield(self._asked_roots)
        self.session.find_roots = None

    def _on_response(self, message: Message) -> None:
        if bytes(message.id) != _ROOTS_REQUEST_ID:
            return
        if message.result:
            self.session.roots = _root_uris(message.result)
        if self._asked_roots is not None and not self._asked_roots.done():
            self._asked_roots.set_result(None)


class _Batch:
    """Collects the responses of a batch, and writes them as one array when all ``missing`` messages are settled."""

    def __init__(self, missing: int, write: Callable[[bytes], None]) -> None:
        self._missing = missing
        self._write = write
        self._responses: list[bytes] = []

    def settle(self, response: bytes | None) -> None:
        """One message is done; None for a notification, a response, or a cancelled request."""
        if response is not None:
            self._responses.append(response)
        self._missing -= 1
        if not self._missing and self._responses:
            self._write(b"[%b]" % b",".join(self._responses))


class _Root(msgspec.Struct):
    uri: str


class _Roots(msgspec.Struct):
    roots: list[_Root]


def _root_uris(result: bytes) -> tuple[str, ...]:
    try:
        return tuple(root.uri for root in msgspec.json.decode(result, type=_Roots).roots)
    except (msgspec.DecodeError, RecursionError):
        return ()
