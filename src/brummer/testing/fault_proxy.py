"""A TCP proxy that injects the faults of networks, peers and kernels into connections.

Theory of operation: for every connection that it accepts it asks a script for the faults, connects to the real server,
and passes bytes on until a fault is due. All faults are decided in advance, by the number of the connection and of the
byte, so a seeded script and the same traffic give the same faults. It can repeat the bytes that the client has sent,
also those after a cut, like a late packet that arrives when its connection has ended. A server that acts on requests
must recognise the repetition.
"""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Final, Protocol, Self

READ_BYTES: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER for no time at all: closing throws away what is unsent and sends RST (socket(7))."""


@dataclass(frozen=True, slots=True)
class ProxyFaults:
    """The faults of one connection. Bytes are counted in each direction from the connection's beginning; None: never.

    ``cut_requests_at``, ``cut_answers_at``: it ends once so many bytes were passed on, by RST if ``resets``, else by
    FIN. ``stall_s``: before that, nothing passes in either direction for so long. ``delay_s``: before each piece.
    ``piece_bytes``: no more at once. ``repeats``: afterwards the server gets all requests once more, on a new
    connection whose answers are not read.
    """

    cut_requests_at: int | None = None
    cut_answers_at: int | None = None
    resets: bool = False
    stall_s: float = 0.0
    delay_s: float = 0.0
    piece_bytes: int | None = None
    repeats: bool = False


class FaultScript(Protocol):
    """Decides the faults of each connection before its first byte."""

    def __call__(self, number: int) -> ProxyFaults:
        """The faults of the connection of this number; the first is 0."""


def no_faults(number: int) -> ProxyFaults:  # noqa: ARG001
    """No connection has a fault."""
    return ProxyFaults()


def random_faults(rng: Random, *, up_to_bytes: int) -> FaultScript:
    """Cuts every connection at a random byte up to there, and does everything else to some of them."""

    def faults(number: int) -> ProxyFaults:  # noqa: ARG001 — every connection fares alike
        cut_at, in_answers = rng.randint(1, up_to_bytes), rng.random() < 0.5  # noqa: PLR2004 — as often as not
        return ProxyFaults(
            cut_requests_at=None if in_answers else cut_at,
            cut_answers_at=cut_at if in_answers else None,
            resets=rng.random() < 0.5,  # noqa: PLR2004
            stall_s=rng.choice((0.0, 0.0, 0.0, 0.05)),
            delay_s=rng.choice((0.0, 0.0, 0.0, 0.002)),
            piece_bytes=rng.choice((None, None, 1_000, 100)),
            repeats=rng.random() < 0.3,  # noqa: PLR2004
        )

    return faults


class FaultProxy:
    """Used as ``async with FaultProxy(host, port, script) as proxy``; it listens on ``proxy.port`` of loopback.

    ``on_request`` gets every piece that clients send, with the number of its connection. ``script`` and ``address`` (of
    the server) may be replaced at any time, for later connections.
    """

    def __init__(
        self,
        host: str,
        port: int,
        script: FaultScript = no_faults,
        *,
        listen_on: int = 0,
        on_request: Callable[[int, bytes], None] | None = None,
    ) -> None:
        self.script = script
        self.counts: Counter[str] = Counter()
        """What has happened so far: connections, cuts, resets, stalls, repeats, refusals."""
        self.address = (host, port)
        self._listen_on = listen_on
        self._on_request = on_request
        self._server: asyncio.Server | None = None
        self._passages: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<FaultProxy for {self.address} {dict(self.counts)}>"

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None  # noqa: S101 — only inside the block
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._listen_on)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None  # noqa: S101
        self._server.close()
        self.cut_all()
        if self._passages:
            await asyncio.wait(self._passages)
        await self._server.wait_closed()

    def cut_all(self) -> None:
        """End every connection now, with RST."""
        for passage in self._passages:
            passage.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.counts["connections"]
        self.counts["connections"] += 1
        passage = asyncio.current_task()
        assert passage is not None  # noqa: S101 — callbacks of start_server run as tasks
        self._passages.add(passage)
        try:
            await self._pass(number, reader, writer)
        except asyncio.CancelledError:
            _close(writer, resets=True)
        except OSError:
            self.counts["refusals"] += 1
            _close(writer, resets=True)
        finally:
            self._passages.discard(passage)

    async def _pass(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its first byte to its last."""
        faults = self.script(number)
        server_reader, server_writer = await asyncio.open_connection(*self.address)
        sent: list[bytes] = []

        def note(data: bytes) -> None:
            sent.append(data)
            if self._on_request is not None:
                self._on_request(number, data)

        way = _Way(faults)
        pumps = [
            asyncio.ensure_future(way.pump(reader, server_writer, faults.cut_requests_at, note)),
            asyncio.ensure_future(way.pump(server_reader, writer, faults.cut_answers_at)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
            was_cut = any(not pump.cancelled() and not pump.exception() and pump.result() for pump in pumps)
            for end in (writer, server_writer):
                _close(end, resets=faults.resets and was_cut)
        if was_cut:
            self._count(faults)
        if faults.repeats and sent:
            await self._repeat(b"".join(sent))

    def _count(self, faults: ProxyFaults) -> None:
        self.counts["cuts"] += 1
        self.counts["resets"] += faults.resets
        self.counts["stalls"] += faults.stall_s > 0

    async def _repeat(self, requests: bytes) -> None:
        self.counts["repeats"] += 1
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(requests)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):  # the server closes what it can't make sense of, the rest stays open
                    while await reader.read(READ_BYTES):
                        pass
        finally:
            _close(writer, resets=False)


class _Way:
    """Both directions of one connection; a stall holds up the two."""

    def __init__(self, faults: ProxyFaults) -> None:
        self._faults = faults
        self._open = asyncio.Event()
        self._open.set()

    async def pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        cut_at: int | None,
        note: Callable[[bytes], None] | None = None,
    ) -> bool:
        """Pass on until the end; True if that was the cut. Raises OSError when a side is broken."""
        passed = 0
        while data := await reader.read(READ_BYTES):
            if note is not None:
                note(data)
            due = data if cut_at is None else data[: cut_at - passed]
            for piece in _pieces(due, self._faults.piece_bytes):
                await asyncio.sleep(self._faults.delay_s)  # and be it 0: a piece is a segment of its own
                await self._open.wait()
                writer.write(piece)
                await writer.drain()
            passed += len(due)
            if passed == cut_at:
                self._open.clear()
                await asyncio.sleep(self._faults.stall_s)
                return True
        return False


def _pieces(data: bytes, size: int | None) -> Iterator[bytes]:
    step = size or len(data) or 1
    for start in range(0, len(data), step):
        yield data[start : start + step]


def _close(writer: asyncio.StreamWriter, *, resets: bool) -> None:
    if resets:
        with contextlib.suppress(OSError):  # it is closed already
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
    else:
        writer.close()
