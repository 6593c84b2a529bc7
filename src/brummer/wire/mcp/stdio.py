"""An MCP server over stdin and stdout: newline-delimited JSON-RPC that cannot be blocked, and dies with its client.

Reading never waits for work: every call is a task of its own, and what is in memory is answered on the spot. Writing
never blocks either; when the client does not read, reading stops until it does. Whoever starts
it has taken standard output away from the rest of the process (`brummer.cli.protocol_stream`).
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
from brummer.wire.mcp.pipes import Descriptors, LineReader, Reader, Writer, start_reading
from brummer.wire.mcp.server import CLIENT_GONE, McpServer, Params, Request, RunningCall, Session, decode_params, era_of

_log = logging.getLogger(__name__)

FINISH_S: Final = 1.0
"""How long calls in flight may still answer after stdin closed: the process must be gone within two seconds."""

CLEAN_UP_S: Final = 0.3
"""How long calls that were then cancelled may take to clean up behind themselves."""

ROOTS_S: Final = 2.0
"""How long a call waits for the client's roots. A client answers from memory; some never do."""

_ROOTS_REQUEST_ID: Final = b'"brummer-roots"'


class StdioServer:
    """Serves one client until its stdin ends. Create it in a running loop, then await `serve`."""

    def __init__(
        self, server: McpServer, *, stdin: int, stdout: int, limit_bytes: int, descriptors: Descriptors = os
    ) -> None:
        self._descriptors = descriptors
        self._server = server
        self._stdin = stdin
        self._stdout = stdout
        self._limit_bytes = limit_bytes
        self._lines = LineReader(limit_bytes, self._on_line, self._on_overlong)
        self._in_flight: dict[bytes, asyncio.Task[Any] | RunningCall] = {}
        self._emptied: asyncio.Future[None] | None = None
        self._writer = Writer(
            stdout, on_full=self._pause, on_drained=self._resume, on_broken=self.close, descriptors=descriptors
        )
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._reader: Reader | None = None
        self.session = Session(id="stdio", is_the_process=True)
        self._asked_roots: asyncio.Future[None] | None = None

    async def serve(self, already_read: bytes = b"") -> None:
        """Serve until EOF, a broken stdout or `close`; calls in flight then get a moment to answer."""
        self._reader = start_reading(self._loop, self._stdin, self._on_data, self._descriptors)
        try:
            if already_read:
                self._lines.feed(already_read)
            await self._closed.wait()
            self._server.end_subscriptions()
            if not self._writer.broken:
                await self._none_in_flight(FINISH_S)
        finally:
            self._pause()
            await self._cancel_calls()
            await self._writer.close(timeout_s=FINISH_S / 2)

    def close(self) -> None:
        """Stop reading; `serve` returns soon after."""
        self._closed.set()
        self._pause()

    async def _cancel_calls(self) -> None:
        for request_id in list(self._in_flight):
            self._cancel(request_id, CLIENT_GONE)
        await self._none_in_flight(CLEAN_UP_S)

    async def _none_in_flight(self, timeout_s: float) -> None:
        if self._in_flight:
            self._emptied = self._loop.create_future()
            await asyncio.wait((self._emptied,), timeout=timeout_s)

    def _cancel(self, request_id: bytes, message: str | None = None) -> None:
        call = self._in_flight.get(request_id)
        if call is not None:
            call.cancel(message)
        if isinstance(call, RunningCall):
            self._take_out(request_id)

    def _take_out(self, request_id: bytes) -> None:
        del self._in_flight[request_id]
        if self._emptied is not None and not self._in_flight and not self._emptied.done():
            self._emptied.set_result(None)

    # Reading.

    def _resume(self) -> None:
        if self._reader is not None and not self._closed.is_set():
            self._reader.resume()

    def _pause(self) -> None:
        if self._reader is not None:
            self._reader.pause()

    def _on_data(self, data: bytes) -> None:
        if data:
            self._lines.feed(data)
            return
        self._lines.end()
        self.close()

    def _on_overlong(self, head: bytes, tail: bytes) -> None:
        message = f"Message exceeds {self._limit_bytes} bytes"
        data = {"code": "too_large", "limit_bytes": self._limit_bytes}
        self._writer.write(error_response(id_of_truncated(head, tail), INVALID_REQUEST, message, data))

    def _on_line(self, line: bytes) -> None:
        try:
            message = decode(line)
            if message.method is None:
                self._on_response(message)
            elif message.id:
                self._on_request(message)
            else:
                self._on_notification(message)
        except BatchReceived as batch:
            self._on_batch(batch)
        except ProtocolError as error:
            self._writer.write(error.as_message())
        except Exception:  # noqa: BLE001 — the barrier: whatever one line does, the next line works
            _log.exception("a message could not be handled")
            self._writer.write(_internal_error(id_of(line)))

    def _on_request(self, message: Message) -> None:
        request_id = bytes(message.id)
        answer = self._server.handle(self._request(message, request_id, partial(self._on_answered, request_id)))
        if isinstance(answer, bytes):
            self._writer.write(answer)
            return
        if isinstance(answer, RunningCall):
            self._in_flight[request_id] = answer
            return
        task = self._loop.create_task(self._answer(request_id, answer), name=f"request {request_id.decode()}")
        self._in_flight[request_id] = task
        task.add_done_callback(partial(self._on_done, request_id, answer))

    def _request(self, message: Message, request_id: bytes, on_response: Callable[[bytes], None] | None) -> Request:
        """Raises ProtocolError."""
        if request_id in self._in_flight:
            text = f"Invalid request: id {request_id.decode()} is already in use by a request in flight"
            raise ProtocolError(INVALID_REQUEST, text, request_id=request_id)
        params = decode_params(message)
        method, notify = message.method or "", partial(self._say, request_id)
        return Request(request_id, method, params, era_of(method, params), self.session, notify, on_response)

    def _on_batch(self, batch: BatchReceived) -> None:
        """Handle all messages in order; write their responses together, once all are there (JSON-RPC 2.0 §6)."""
        if self.session.version not in (None, eras.WITH_BATCHES):
            for refusal in batch.refusals():
                self._writer.write(refusal)
            return
        answers = _BatchAnswers(self._writer.write)
        for line in batch.messages:
            self._on_batched(line, answers)
        answers.end()

    def _on_batched(self, line: bytes, answers: "_BatchAnswers") -> None:
        try:
            message = decode(line)
            if message.method is None:
                self._on_response(message)
            elif not message.id:
                self._on_notification(message)
            else:
                self._on_batched_request(message, answers)
        except ProtocolError as error:
            answers.add(error.as_message())
        except Exception:  # noqa: BLE001 — as for a single message
            _log.exception("a message could not be handled")
            answers.add(_internal_error(id_of(line)))

    def _on_batched_request(self, message: Message, answers: "_BatchAnswers") -> None:
        request_id = bytes(message.id)
        answer = self._server.handle(self._request(message, request_id, None))
        assert not isinstance(answer, RunningCall)  # noqa: S101 — the request had no `on_response`
        if isinstance(answer, bytes):
            answers.add(answer)
            return
        answers.expect()
        task = self._loop.create_task(_settled(request_id, answer), name=f"request {request_id.decode()}")
        self._in_flight[request_id] = task
        task.add_done_callback(partial(self._on_batched_done, request_id, answer, answers))

    def _on_batched_done(
        self,
        request_id: bytes,
        answer: Coroutine[Any, Any, bytes],
        answers: "_BatchAnswers",
        task: asyncio.Task[bytes],
    ) -> None:
        answer.close()
        answers.settle(None if task.cancelled() or task.cancelling() else task.result())
        self._take_out(request_id)

    async def _answer(self, request_id: bytes, answer: Coroutine[Any, Any, bytes]) -> None:
        self._say(request_id, await _settled(request_id, answer))
        self._take_out(request_id)

    def _on_answered(self, request_id: bytes, message: bytes) -> None:
        """The answer of a call that was `RunningCall`; one that was cancelled has none."""
        self._take_out(request_id)
        self._writer.write(message, is_last=not self._in_flight)

    def _say(self, request_id: bytes, message: bytes) -> None:
        """Write what belongs to a request in flight; once it is answered or cancelled, nothing more is said of it."""
        call = self._in_flight.get(request_id)
        if call is not None and not call.cancelling():
            self._writer.write(message)

    def _on_done(self, request_id: bytes, answer: Coroutine[Any, Any, bytes], task: asyncio.Task[None]) -> None:
        answer.close()  # it has not even begun when the cancellation came in one piece with the request
        if self._in_flight.get(request_id) is task:
            self._take_out(request_id)

    def _on_notification(self, message: Message) -> None:
        if message.method == "notifications/cancelled":
            self._cancel(bytes(_lenient_params(message).request_id))  # and, as both eras ask, no answer
        elif message.method in ("notifications/initialized", "notifications/roots/list_changed"):
            self._asked_roots, self.session.roots = None, ()
            self.session.find_roots = self._find_roots if "roots" in self.session.capabilities else None

    async def _find_roots(self) -> None:
        """Ask once for any number of calls. A client that does not answer has no roots until it does."""
        if self._asked_roots is None:
            self._asked_roots = self._loop.create_future()
            self._writer.write(jsonrpc.request(_ROOTS_REQUEST_ID, "roots/list", b"{}"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ROOTS_S):
                await asyncio.shield(self._asked_roots)
        self.session.find_roots = None

    def _on_response(self, message: Message) -> None:
        if bytes(message.id) != _ROOTS_REQUEST_ID:
            return
        if message.result:
            self.session.roots = _root_uris(message.result)
        if self._asked_roots is not None and not self._asked_roots.done():
            self._asked_roots.set_result(None)


async def _settled(request_id: bytes, answer: Coroutine[Any, Any, bytes]) -> bytes:
    """The response, also when the request fails."""
    try:
        return await answer
    except ProtocolError as error:
        return error.as_message()
    except Exception:  # noqa: BLE001 — as above
        _log.exception("request %s failed", request_id.decode())
        return _internal_error(request_id)


class _BatchAnswers:
    """Collects the responses of a batch, and writes them as one array when all are there."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._answers: list[bytes] = []
        self._missing = 1  # the end of the batch itself

    def add(self, answer: bytes) -> None:
        self._answers.append(answer)

    def expect(self) -> None:
        """One more response will come by `settle`."""
        self._missing += 1

    def settle(self, answer: bytes | None) -> None:
        """Add an expected response; None for a cancelled request, which has none."""
        if answer is not None:
            self._answers.append(answer)
        self._missing -= 1
        if not self._missing and self._answers:
            self._write(b"[%b]" % b",".join(self._answers))

    def end(self) -> None:
        """All messages of the batch were handled."""
        self.settle(None)


def _internal_error(request_id: bytes) -> bytes:
    return error_response(request_id, jsonrpc.INTERNAL_ERROR, "Internal error; the log on stderr has the traceback")


def _lenient_params(message: Message) -> Params:
    """A malformed notification is ignored, never answered."""
    try:
        return decode_params(message)
    except ProtocolError:
        return Params()


class _Root(msgspec.Struct):
    uri: str


class _Roots(msgspec.Struct):
    roots: list[_Root]


def _root_uris(result: bytes) -> tuple[str, ...]:
    try:
        return tuple(root.uri for root in msgspec.json.decode(result, type=_Roots).roots)
    except (msgspec.DecodeError, RecursionError):
        return ()
