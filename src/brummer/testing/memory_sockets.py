"""Connections without a kernel: sockets, listeners and server transports on a `SimulatedLoop`, with scripted faults.

Bytes travel in pieces that take time. A connection's faults are chosen when it is made (`Faults`): it ends at a chosen
byte of either direction, it is slow, it stalls, or from a chosen byte on nothing passes and neither side notices it
until its kernel gives up. After a close the peer sees what Linux shows: the end after the bytes under way, or a reset
if bytes were left unread.
"""

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

from brummer.testing.simulated_loop import KERNEL, RESOLUTION_S, Pollable, SimulatedLoop

WINDOW_BYTES: Final = 256 * 1024
"""Bytes that a connection holds in one direction, under way or unread."""

GIVES_UP_S: Final = 30.0
"""After so long without an acknowledgement the kernel ends a connection: keepalive and user timeout have this value."""

BACKLOG: Final = 64
HIGH_WATER_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class Faults:
    """The faults of one connection. Bytes count from its beginning, in each direction; None: never.

    ``cut_requests_at``, ``cut_answers_at``: it ends there, by reset if ``resets``, otherwise by an orderly close.
    ``silent_at``: from that byte of the requests on nothing passes in either direction. ``stalls_at``: there the
    requests stop for ``stall_s``.
    """

    cut_requests_at: int | None = None
    cut_answers_at: int | None = None
    resets: bool = False
    silent_at: int | None = None
    stalls_at: int | None = None
    stall_s: float = 0.0
    delay_s: float = 0.0


NO_FAULTS: Final = Faults()


class SocketHolder(Protocol):
    """The process that a socket belongs to. `take_descriptor` raises OSError (EMFILE, or an injected error)."""

    def take_descriptor(self, what: Any, call: str) -> int: ...
    def free_descriptor(self, fd: int) -> None: ...


def failure(number: int) -> OSError:
    """The OSError that the system would raise."""
    return OSError(number, os.strerror(number))


class Flow:
    """One direction of a connection: the bytes that ``target`` will read, in order, and then perhaps the end."""

    __slots__ = (
        "_is_armed",
        "_loop",
        "_pieces",
        "connection",
        "cut_at",
        "latency_s",
        "passed",
        "stalls_at",
        "target",
        "under_way",
    )

    def __init__(self, connection: "Connection", target: "MemorySocket", latency_s: float, cut_at: int | None) -> None:
        self._loop = target.loop
        self._pieces: deque[tuple[float, bytes | None]] = deque()
        self._is_armed = False
        self.connection = connection
        self.target = target
        self.latency_s = latency_s
        self.cut_at = cut_at
        self.stalls_at: int | None = None
        self.under_way = self.passed = 0

    @property
    def free_bytes(self) -> int:
        return WINDOW_BYTES - self.under_way - len(self.target.unread)

    def send(self, data: bytes | None) -> None:
        """None is the end."""
        if data is not None:
            self.under_way += len(data)
        self._pieces.append((self._loop.now_s + self.latency_s, data))
        if not self._is_armed:
            self._arm()

    def _arm(self) -> None:
        self._is_armed = True
        self._loop.call_at(self._pieces[0][0], self._arrive, context=KERNEL)

    def _arrive(self) -> None:
        self._is_armed = False
        connection, pieces = self.connection, self._pieces
        while pieces and not connection.is_over and not connection.is_silent:
            due_s, data = pieces[0]
            if due_s > self._loop.now_s + RESOLUTION_S:
                self._arm()
                return
            if data is None:
                pieces.popleft()
                self.target.receive_end()
                continue
            after = self.passed + len(data)
            if self.stalls_at is not None and after > self.stalls_at:
                self.stalls_at = None
                connection.note("stall")
                pieces[0] = (self._loop.now_s + connection.faults.stall_s, data)
                continue
            pieces.popleft()
            self.under_way -= len(data)
            if connection.faults.silent_at is not None and after > connection.faults.silent_at:
                connection.fall_silent()
                return
            if self.cut_at is not None and after >= self.cut_at:
                self.target.receive(data[: self.cut_at - self.passed])
                self.passed = self.cut_at
                connection.cut()
                return
            self.passed = after
            self.target.receive(data)


class Connection:
    """Two sockets, and the faults of the bytes between them."""

    __slots__ = (
        "_loop",
        "_network",
        "answers",
        "client",
        "faults",
        "is_over",
        "is_silent",
        "number",
        "opener",
        "requests",
        "server",
    )

    def __init__(
        self, network: "Network", number: int, faults: Faults, client: "MemorySocket", server: "MemorySocket"
    ) -> None:
        self._network = network
        self._loop = network.loop
        self.number = number
        self.faults = faults
        self.client, self.server = client, server
        self.opener = client.holder
        latency_s = faults.delay_s + network.latency_s()
        self.requests = Flow(self, server, latency_s, faults.cut_requests_at)
        self.answers = Flow(self, client, latency_s, faults.cut_answers_at)
        self.requests.stalls_at = faults.stalls_at
        self.is_over = self.is_silent = False
        client.attach(self.requests, self)
        server.attach(self.answers, self)

    def note(self, what: str) -> None:
        self._network.on_fault(self, what)

    def cut(self) -> None:
        """The network ends it for both sides."""
        self.note("reset" if self.faults.resets else "cut")
        self.is_over = True
        for end in (self.client, self.server):
            if self.faults.resets:
                end.receive_error(errno.ECONNRESET)
            else:
                end.receive_end()

    def reset(self, by: "MemorySocket") -> None:
        """The kernel of one side resets it."""
        other = self.server if by is self.client else self.client
        self._loop.run_later(self.requests.latency_s, self._arrive_reset, other)

    def _arrive_reset(self, other: "MemorySocket") -> None:
        if not self.is_over and not self.is_silent:
            self.is_over = True
            other.receive_error(errno.ECONNRESET)

    def fall_silent(self) -> None:
        """From now on nothing passes; each kernel detects that by itself."""
        if not self.is_silent and not self.is_over:
            self.note("silent")
            self.is_silent = True
            self._loop.run_later(GIVES_UP_S, self.give_up)

    def give_up(self) -> None:
        """Each kernel has waited long enough."""
        if not self.is_over:
            self.is_over = True
            for end in (self.client, self.server):
                end.receive_error(errno.ETIMEDOUT)


class MemorySocket(Pollable):
    """The used part of a connected, non-blocking `socket.socket`."""

    __slots__ = (
        "_connection",
        "_error",
        "_flow",
        "_has_ended",
        "_peer_is_closed",
        "_sent_end",
        "address",
        "closed",
        "holder",
        "unread",
    )
    family = socket.AF_INET

    def __init__(self, loop: SimulatedLoop, holder: SocketHolder, call: str, address: tuple[str, int]) -> None:
        super().__init__(loop, 0)
        self.holder = holder
        self.fd = holder.take_descriptor(self, call)
        self.address = address
        self.unread = bytearray()
        self._flow: Flow | None = None
        self._connection: Connection | None = None
        self._error = 0
        self._has_ended = self._sent_end = self._peer_is_closed = self.closed = False

    def attach(self, flow: Flow, connection: Connection) -> None:
        self._flow, self._connection = flow, connection

    # As the program sees it.

    def getsockname(self) -> tuple[str, int]:
        return self.address

    getpeername = getsockname

    def setsockopt(self, *_: object) -> None:
        pass

    def getsockopt(self, *_: object) -> int:
        return 0

    def setblocking(self, _: bool) -> None:  # noqa: FBT001 — as sockets have it
        pass

    def recv(self, size: int, flags: int = 0) -> bytes:
        if self.closed:
            raise failure(errno.EBADF)
        if self.unread:
            data = bytes(self.unread[:size])
            if not flags:  # the only one is MSG_PEEK
                del self.unread[:size]
                if self._connection is not None:
                    self._other.poll()
            return data
        if self._error:
            number, self._error = self._error, 0
            self._has_ended = True
            raise failure(number)
        if self._has_ended:
            return b""
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def send(self, data: bytes | memoryview) -> int:
        flow, connection = self._flow, self._connection
        if self.closed or flow is None or connection is None:
            raise failure(errno.EBADF)
        if self._error:
            number, self._error = self._error, 0
            self._has_ended = True
            raise failure(number)
        if self._sent_end or (connection.is_over and not connection.is_silent):
            raise failure(errno.EPIPE)
        if self._other.closed:
            connection.reset(by=self._other)  # accepted by our kernel, refused by the other one
            return len(data)
        free_bytes = flow.free_bytes
        if free_bytes <= 0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        piece = bytes(data[:free_bytes])
        flow.send(piece)
        return len(piece)

    def shutdown(self, _: int) -> None:
        if not self._sent_end and self._flow is not None:
            self._sent_end = True
            self._flow.send(None)

    def has_hung_up(self) -> bool:
        """As `brummer.wire.http.tcp_options.has_hung_up` for a real socket."""
        return self._has_ended or self._error != 0

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.reader = self.writer = None
        self.holder.free_descriptor(self.fd)
        connection, flow = self._connection, self._flow
        if connection is None or flow is None or connection.is_over:
            return
        if self.unread:
            connection.reset(by=self)
        elif not self._sent_end:
            flow.send(None)
        self._other.poll()

    # As the network sees it.

    @property
    def _other(self) -> "MemorySocket":
        connection = self._connection
        assert connection is not None  # noqa: S101 — asked only of one that is connected
        return connection.server if connection.client is self else connection.client

    def receive(self, data: bytes) -> None:
        if self.closed:
            if self._connection is not None and data:
                self._connection.reset(by=self)
            return
        self.unread += data
        self.poll()

    def receive_end(self) -> None:
        self._has_ended = True
        self.poll()

    def receive_error(self, number: int) -> None:
        if not self._has_ended:
            self._error = number
        self.poll()

    def can_read(self) -> bool:
        return bool(self.unread or self._has_ended or self._error)

    def can_write(self) -> bool:
        return self._error != 0 or self._flow is None or self._flow.free_bytes > 0 or self._other.closed


class MemoryListener(Pollable):
    """The used part of a listening `socket.socket`."""

    def __init__(self, network: "Network", holder: SocketHolder, address: tuple[str, int]) -> None:
        super().__init__(network.loop, 0)
        self.fd = holder.take_descriptor(self, "listen")
        self.network = network
        self.address = address
        self.waiting: deque[ServerSocket] = deque()
        self.closed = False
        self._holder = holder

    def getsockname(self) -> tuple[str, int]:
        return self.address

    def setblocking(self, _: bool) -> None:  # noqa: FBT001 — as sockets have it
        pass

    def listen(self, _: int) -> None:
        pass

    def can_read(self) -> bool:
        return bool(self.waiting) and not self.closed

    def can_write(self) -> bool:
        return False

    def arrive(self, server_end: "ServerSocket") -> None:
        """Add a new connection, which waits in the kernel."""
        self.waiting.append(server_end)
        self.poll()

    def accept(self) -> tuple["ServerSocket", tuple[str, int]]:
        if not self.waiting:
            raise failure(errno.EAGAIN)
        sock = self.waiting[0]
        sock.accepted(self._holder)
        self.waiting.popleft()
        return sock, sock.address

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.reader = None
            self._holder.free_descriptor(self.fd)
            self.network.forget(self)
            for sock in self.waiting:
                sock.refuse()


class MemoryTransport(asyncio.Transport):
    """The server's end of a connection, as asyncio's own transports behave."""

    def __init__(self, sock: MemorySocket, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._sock = sock
        self._loop = sock.loop
        self._protocol = protocol
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._high_bytes = HIGH_WATER_BYTES
        self._is_closing = self._is_lost = self._is_full = self._ends = False
        self._protocol.connection_made(self)
        self.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": self._sock, "peername": self._sock.address, "sockname": self._sock.address}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:  # noqa: ARG002
        self._high_bytes = HIGH_WATER_BYTES if high is None else high

    def get_write_buffer_size(self) -> int:
        return self._unsent_bytes

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return self._sock.reader is not None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol  # type: ignore[assignment]

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def pause_reading(self) -> None:
        self._sock.reader = None

    def resume_reading(self) -> None:
        if not self._is_closing and self._sock.reader is None:
            self._loop.add_reader(self._sock, self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(256 * 1024)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        if data:
            self._protocol.data_received(data)
        elif not self._protocol.eof_received():
            self.close()
        else:
            self.pause_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_lost or not data:
            return
        piece = bytes(data)
        if not self._unsent:
            piece = self._send(piece)
        if piece:
            self._unsent.append(piece)
            self._unsent_bytes += len(piece)
            if self._sock.writer is None:
                self._loop.add_writer(self._sock, self._on_writable)
            if not self._is_full and self._unsent_bytes > self._high_bytes:
                self._is_full = True
                self._protocol.pause_writing()

    def _send(self, data: bytes) -> bytes:
        """Bytes that could not be sent."""
        try:
            return data[self._sock.send(data) :]
        except BlockingIOError:
            return data
        except OSError as error:
            self._lose(error)
            return b""

    def _on_writable(self) -> None:
        data, self._unsent = b"".join(self._unsent), []
        self._unsent_bytes = 0
        rest = self._send(data)
        if self._is_lost:
            return
        if rest:
            self._unsent, self._unsent_bytes = [rest], len(rest)
            return
        self._loop.remove_writer(self._sock)
        if self._is_full:
            self._is_full = False
            self._protocol.resume_writing()
        if self._is_closing:
            self._lose(None)
        elif self._ends:
            self._sock.shutdown(socket.SHUT_WR)

    def write_eof(self) -> None:
        self._ends = True
        if not self._unsent:
            self._sock.shutdown(socket.SHUT_WR)

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self.pause_reading()
            if not self._unsent:
                self._lose(None)

    def abort(self) -> None:
        self._is_closing = True
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_lost = self._is_closing = True
        self._sock.reader = self._sock.writer = None
        self._unsent, self._unsent_bytes = [], 0
        self._loop.call_soon(self._on_lost, error)

    def _on_lost(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()


class Network:
    """All addresses of one simulated machine, and those of the world outside.

    ``plan`` decides the faults of each connection when it is made. ``refusal`` may give the error number of a connect.
    """

    def __init__(self, loop: SimulatedLoop, rng: Random) -> None:
        self.loop = loop
        self._rng = rng
        self._listeners: dict[tuple[str, int], MemoryListener] = {}
        self._ports = 20_000
        self._numbers = 0
        self.plan: Callable[[SocketHolder, tuple[str, int]], Faults] = lambda _, __: NO_FAULTS
        self.on_fault: Callable[[Connection, str], None] = lambda _, __: None
        self.is_up: Callable[[str], bool] = lambda _: True
        """Packets can reach that host; without a route a connect fails at once."""
        self.drops: Callable[[tuple[str, int]], bool] = lambda _: False
        """Packets to that address are lost, so a connect is never answered."""
        self.connections: dict[int, Connection] = {}

    def latency_s(self) -> float:
        return self._rng.uniform(20e-6, 80e-6)

    def listen(self, holder: SocketHolder, host: str, port: int | None = None) -> MemoryListener:
        if port is None:
            self._ports += 1
            port = self._ports
        if (host, port) in self._listeners:
            raise failure(errno.EADDRINUSE)
        listener = self._listeners[host, port] = MemoryListener(self, holder, (host, port))
        return listener

    def forget(self, listener: MemoryListener) -> None:
        self._listeners.pop(listener.address, None)

    async def connect(self, holder: SocketHolder, address: tuple[str, int]) -> MemorySocket:
        """A connected socket; takes the time of a round trip. Raises OSError."""
        sock = MemorySocket(self.loop, holder, "connect", ("127.0.0.1", 40_000 + self._numbers % 20_000))
        try:
            listener = await self._reach(address)
            self._numbers += 1
            server = ServerSocket(self.loop, listener, address)
            self.connections[self._numbers] = Connection(self, self._numbers, self.plan(holder, address), sock, server)
            listener.arrive(server)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _reach(self, address: tuple[str, int]) -> MemoryListener:
        if not self.is_up(address[0]):
            raise failure(errno.ENETUNREACH)
        await self._answer(self.latency_s())
        listener = self._listeners.get(address)
        if self.drops(address) or (listener is not None and len(listener.waiting) >= BACKLOG):
            await self.loop.create_future()
        if listener is None or listener.closed:
            raise failure(errno.ECONNREFUSED)
        return listener

    async def _answer(self, delay_s: float) -> None:
        answered = self.loop.create_future()
        self.loop.run_later(delay_s, _set, answered)
        await answered


class ServerSocket(MemorySocket):
    """The kernel is the holder until the process accepts the connection."""

    __slots__ = ()

    def __init__(self, loop: SimulatedLoop, listener: MemoryListener, address: tuple[str, int]) -> None:  # noqa: ARG002
        super().__init__(loop, _IN_THE_KERNEL, "accept", address)

    def accepted(self, holder: SocketHolder) -> None:
        """Raises OSError if the process may have no further descriptor."""
        self.fd = holder.take_descriptor(self, "accept")
        self.holder = holder

    def transport(self, protocol: asyncio.Protocol) -> "MemoryTransport":
        """Passes incoming bytes to the protocol."""
        return MemoryTransport(self, protocol)

    def refuse(self) -> None:
        """No process will accept the connection."""
        if self._connection is not None:
            self._connection.reset(by=self)
        self.close()


class _Kernel:
    def take_descriptor(self, what: Any, call: str) -> int:  # noqa: ARG002
        return -1

    def free_descriptor(self, fd: int) -> None:
        pass


_IN_THE_KERNEL: Final = _Kernel()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
