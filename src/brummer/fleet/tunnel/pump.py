"""Sockets at the ends of streams: what a socket reads goes into its stream, and what arrives is written to it.

A socket is read when its stream has credit and the carrier is not full, one frame at a time, so at most one frame of
what it has sent waits here; what arrives is in the buffer of its transport, and counts as taken when the kernel has it.
So a stopped reader costs the window of its stream, and no more.

A stream that was reset resets its socket (RST), which the program behind it can tell from an end.
"""

import asyncio
import logging
import math
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final, cast

from brummer.fleet.tunnel.carrier import Carrier, CarrierChange, Delivery
from brummer.fleet.tunnel.frames import ResetCause
from brummer.fleet.tunnel.stream import (
    ByteStream,
    DataArrived,
    EndArrived,
    StreamOpened,
    StreamOver,
    StreamWanted,
    TunnelEvent,
    TunnelLimits,
)
from brummer.fleet.tunnel.tunnel import StreamRefused, Tunnel

ConnectTo = Callable[[], Awaitable[socket.socket]]
"""Connects to the instance. An exception refuses the stream."""

_log = logging.getLogger(__name__)

_RST: Final = struct.pack("ii", 1, 0)
"""SO_LINGER for no time at all: a close throws away what is unsent, and sends RST (socket(7))."""


class Pump:
    """``host``: this machine's name. Made, used and closed on the running loop."""

    def __init__(self, carrier: Carrier, host: str, limits: TunnelLimits | None = None) -> None:
        self.tunnel = Tunnel(host, secrets.token_hex(8), lambda: secrets.token_hex(8), limits)
        self.carrier = carrier
        self.loop = asyncio.get_running_loop()
        self.buffer = memoryview(bytearray(self.tunnel.outputs.limits.frame_bytes))
        """For all sockets: a loop fills it, and calls `SocketEnd.buffer_updated`, in one turn."""
        self._sockets: dict[ByteStream, SocketEnd] = {}
        self._dials: dict[ByteStream, asyncio.Future[None]] = {}
        self._connects: dict[str, ConnectTo] = {}
        self._connecting: dict[ByteStream, asyncio.Task[None]] = {}
        self._is_busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._ends = [carrier.changes.subscribe(self._changed), carrier.subscribe(self.tunnel.inbox, self._heard)]

    def serve(self, subject: str, connect: ConnectTo) -> Callable[[], None]:
        """Lead streams under this `open_subject` to sockets of ``connect``; what is returned ends that."""
        self.tunnel.serve(subject)
        self._connects[subject] = connect
        unsubscribe = self.carrier.subscribe(subject, self._heard)

        def end() -> None:
            unsubscribe()
            self.tunnel.withdraw(subject)
            self._connects.pop(subject, None)

        return end

    async def dial(self, subject: str, sock: socket.socket) -> None:
        """Lead this connected socket to the instance under ``subject``. Raises `StreamRefused`; the socket is ours."""
        end = await self._attach(sock)
        try:
            stream = end.stream = self.tunnel.dial(subject, self.loop.time())
        except StreamRefused:
            end.reset()
            raise
        if end.is_lost:
            stream.reset(ResetCause.SOCKET)
        self._sockets[stream] = end
        opened = self._dials[stream] = self.loop.create_future()
        self.act()
        try:
            await opened
        except BaseException:
            stream.reset(ResetCause.SOCKET)
            self.act()
            raise
        finally:
            del self._dials[stream]

    async def close(self) -> None:
        """Reset all streams, and hear nothing more."""
        for stream in list(self.tunnel.streams):
            stream.reset(ResetCause.SOCKET)
        self.act()
        for end in self._ends:
            end()
        if self._timer:
            self._timer.cancel()
        await asyncio.gather(*self._connecting.values(), return_exceptions=True)

    def act(self) -> None:
        """Do what the tunnel wants done. What is done may make it want more, which the outermost call does."""
        if self._is_busy:
            return
        self._is_busy = True
        outputs = self.tunnel.outputs
        try:
            while outputs.publishes or outputs.events:
                while outputs.publishes:
                    publish = outputs.publishes.popleft()
                    self.carrier.publish(publish.subject, publish.data, publish.reply)
                if outputs.events:
                    self._tell(outputs.events.popleft())
        finally:
            self._is_busy = False
        self._set_timer()

    # The carrier's side.

    def _heard(self, delivery: Delivery) -> None:
        if delivery.is_nobody:
            self.tunnel.nobody(delivery.subject)
        else:
            self.tunnel.received(delivery.subject, delivery.reply, delivery.data, self.loop.time())
        self.act()

    def _changed(self, change: CarrierChange) -> None:
        match change:
            case CarrierChange.LOST:
                self.tunnel.lost()
            case CarrierChange.BACK:
                self.tunnel.back()
            case CarrierChange.WRITABLE:
                for end in list(self._sockets.values()):
                    end.send_if_allowed()
        self.act()

    # The sockets' side.

    def _tell(self, event: TunnelEvent) -> None:
        stream = event.stream
        end = self._sockets.get(stream)
        match event:
            case StreamWanted(_, subject):
                task = self.loop.create_task(self._connect(stream, self._connects[subject]), name="stream connect")
                self._connecting[stream] = task
                task.add_done_callback(lambda _: self._connecting.pop(stream))
            case StreamOpened() if not self._dials[stream].done():
                self._dials[stream].set_result(None)
            case StreamOver(_, cause):
                self._end(stream, cause)
            case DataArrived(_, data) if end:
                end.write(data)
            case EndArrived() if end:
                end.write_end()
        if end:
            end.send_if_allowed()

    def _end(self, stream: ByteStream, cause: ResetCause | None) -> None:
        if (opened := self._dials.get(stream)) and not opened.done():
            opened.set_exception(StreamRefused(cause or ResetCause.BROKEN))
        if task := self._connecting.get(stream):
            task.cancel()
        if end := self._sockets.pop(stream, None):
            end.close() if cause is None else end.reset()

    async def _connect(self, stream: ByteStream, connect: ConnectTo) -> None:
        """The answer to the opening is said when the socket can take the bytes that may follow at once."""
        try:
            end = await self._attach(await connect())
        except Exception as error:  # noqa: BLE001 — the barrier: whatever it was, the other end waits for an answer
            _log.debug("a stream to an instance is refused", exc_info=error)
            stream.reset(ResetCause.REFUSED)
        else:
            end.stream = stream
            self._sockets[stream] = end
            if end.is_lost:
                stream.reset(ResetCause.REFUSED)
            stream.accept(self.loop.time())
            end.send_if_allowed()
        self.act()

    async def _attach(self, sock: socket.socket) -> "SocketEnd":
        end = SocketEnd(self)
        try:
            await self.loop.create_connection(lambda: end, sock=sock)
        except BaseException:
            sock.close()
            raise
        return end

    # Time.

    def _set_timer(self) -> None:
        """A timer that is early is left alone: the time to look only moves on while bytes come and go."""
        due_s = self.tunnel.outputs.due_s
        if self._timer and self._timer.when() <= due_s < math.inf:
            return
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_at(due_s, self._tick) if due_s < math.inf else None

    def _tick(self) -> None:
        self._timer = None
        self.tunnel.tick(self.loop.time())
        self.act()


class SocketEnd(asyncio.BufferedProtocol):
    """The socket of one stream.

    Before the stream is open it reads once at most, and keeps that: uvloop reads as soon as a transport is made,
    whatever `connection_made` has said.
    """

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self.stream: ByteStream | None = None
        self._transport: asyncio.Transport | None = None
        self._unsent = b""
        self._has_ended = False
        self._waiting = 0
        self._is_full = False

    @property
    def is_lost(self) -> bool:
        """The socket has gone, perhaps before there was a stream that could be told."""
        return self._transport is None

    # The stream's side.

    def send_if_allowed(self) -> None:
        """Send what was read, and read more, while there is credit and the carrier takes more."""
        stream, transport = self.stream, self._transport
        if stream is None or transport is None:
            return
        while self._unsent and stream.may_send and not self._pump.carrier.is_full:
            piece = self._unsent[: stream.may_send]
            self._unsent = self._unsent[len(piece) :]
            stream.send(piece, self._pump.loop.time())
        if self._has_ended and not self._unsent:
            stream.end(self._pump.loop.time())
        elif not transport.is_closing():
            if self._unsent or not stream.may_send or self._pump.carrier.is_full:
                transport.pause_reading()
            else:
                transport.resume_reading()

    def write(self, data: bytes) -> None:
        if self._transport:
            self._waiting += len(data)
            self._transport.write(data)
            if not self._is_full:
                self._taken()

    def write_end(self) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """The kernel has all bytes already."""
        if self._transport:
            self._transport.close()

    def reset(self) -> None:
        if self._transport:
            sock = self._transport.get_extra_info("socket")
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
            self._transport.abort()

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 — the credit decides
        """It is never empty, which a loop would not allow. What was read without credit waits, and nothing after it."""
        return self._pump.buffer[: self.stream.may_send if self.stream else 0] or self._pump.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._unsent += bytes(self._pump.buffer[:nbytes])
        if self.stream is None and self._transport:
            self._transport.pause_reading()
        self.send_if_allowed()
        self._pump.act()

    def eof_received(self) -> bool:
        """The socket stays open: the other direction may go on."""
        self._has_ended = True
        self.send_if_allowed()
        self._pump.act()
        return True

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._taken()
        self._pump.act()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 — nothing more is taken, whatever it was
        self._transport = None
        if self.stream:
            self.stream.reset(ResetCause.SOCKET)
            self._pump.act()

    def _taken(self) -> None:
        count, self._waiting = self._waiting, 0
        if self.stream:
            self.stream.consumed(count)
