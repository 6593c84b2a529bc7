"""Two machines with real sockets at the ends of streams, and a carrier in memory between them."""

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from brummer.fleet.tunnel.frames import FRAME_BYTES, ResetCause
from brummer.fleet.tunnel.pump import Pump
from brummer.fleet.tunnel.stream import ANSWER_S, OPEN_S, PING_S, TunnelLimits
from brummer.fleet.tunnel.subjects import open_subject
from brummer.fleet.tunnel.tunnel import StreamRefused
from brummer.testing.memory_carrier import FULL_BYTES, MemoryBroker

from .virtual_world import in_virtual_time

pytest_plugins = ("tests.unit.wire_loops",)

SUBJECT = open_subject("there", "generation")
MIB = 1 << 20
DEADLINE_S = 40.0
KERNEL_BYTES = 1 << 18
RST = struct.pack("ii", 1, 0)

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """As `socket.socketpair`, but of TCP, which has a reset; the kernel keeps few bytes."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
        one = socket.socket()
        one.setblocking(False)
        await loop.sock_connect(one, listener.getsockname())
        other, _ = await loop.sock_accept(listener)
    other.setblocking(False)
    for sock in (one, other):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
    return one, other


class Machines:
    """``here`` dials, ``there`` serves `SUBJECT`. A program is at the other side of each socket."""

    def __init__(self, limits: TunnelLimits | None = None) -> None:
        self.broker = MemoryBroker()
        self.carriers = [self.broker.connect(), self.broker.connect()]
        self.here = Pump(self.carriers[0], "here", limits)
        self.there = Pump(self.carriers[1], "there", limits)
        self.programs: asyncio.Queue[socket.socket] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []
        self.stop = self.there.serve(SUBJECT, self._connect)

    async def _connect(self) -> socket.socket:
        ours, theirs = await tcp_pair()
        self.programs.put_nowait(theirs)
        return ours

    async def dial(self) -> tuple[Ends, Ends]:
        """The programs at both ends of a new stream."""
        ours, theirs = await tcp_pair()
        near = await self.ends(ours)
        await self.here.dial(SUBJECT, theirs)
        return near, await self.ends(self.programs.get_nowait())

    async def ends(self, sock: socket.socket) -> Ends:
        reader, writer = await asyncio.open_connection(sock=sock, limit=MIB)
        self.writers.append(writer)
        return reader, writer


@asynccontextmanager
async def machines(limits: TunnelLimits | None = None) -> AsyncIterator[Machines]:
    """Afterwards no stream, socket or timer is left."""
    both = Machines(limits)
    async with asyncio.timeout(DEADLINE_S):
        yield both
        for writer in both.writers:
            writer.transport.abort()
        for pump in (both.here, both.there):
            await pump.close()
            assert list(pump.tunnel.streams) == []
    while not both.programs.empty():
        both.programs.get_nowait().close()


async def turns_until(claim: Callable[[], bool]) -> None:
    """A turn of the loop at a time; the time limit is that of the test."""
    while not claim():
        await asyncio.sleep(0)


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """In pieces, as a program does."""
    for at in range(0, len(data), MIB):
        writer.write(data[at : at + MIB])
        await writer.drain()
    writer.write_eof()


def content(number: int, size: int) -> bytes:
    """Bytes of which no part is like another."""
    return hashlib.shake_128(number.to_bytes(4, "big")).digest(size)


async def test_fifty_mebibytes_pass_unchanged_beside_small_answers() -> None:
    async with machines() as both:
        (reader, _), (_, far_writer) = await both.dial()
        (small_reader, small_writer), (far_small_reader, far_small_writer) = await both.dial()
        large = content(1, 50 * MIB)
        sending = asyncio.create_task(send(far_writer, large))
        hashed = hashlib.sha256()
        answers = 0
        while data := await reader.read(MIB):
            hashed.update(data)
            if not answers or answers * MIB < len(large) // 10:
                small_writer.write(b"question\n")
                far_small_writer.write(await far_small_reader.readline())
                assert await small_reader.readline() == b"question\n"
                answers += 1
        await sending
        assert hashed.digest() == hashlib.sha256(large).digest()
        assert both.broker.most_waiting_bytes <= FULL_BYTES + 3 * FRAME_BYTES


async def test_a_program_that_has_sent_all_still_gets_its_answer() -> None:
    async with machines() as both:
        (reader, writer), (far_reader, far_writer) = await both.dial()
        await send(writer, b"question")
        assert await far_reader.read() == b"question"
        await send(far_writer, b"answer")
        assert await reader.read() == b"answer"
        await turns_until(lambda: not both.here.tunnel.streams and not both.there.tunnel.streams)


async def test_a_server_that_speaks_first_is_heard() -> None:
    async with machines() as both:
        ours, theirs = await tcp_pair()
        reader, _ = await both.ends(ours)

        async def connect() -> socket.socket:
            one, other = await tcp_pair()
            _, writer = await both.ends(other)
            writer.write(b"welcome")
            return one

        subject = open_subject("there", "talkative")
        both.there.serve(subject, connect)
        await both.here.dial(subject, theirs)
        assert await reader.readexactly(7) == b"welcome"


@pytest.mark.parametrize("end", [0, 1], ids=["the dialler", "the server"])
async def test_the_reset_of_one_end_is_a_reset_at_the_other(end: int) -> None:
    async with machines() as both:
        ends = await both.dial()
        ends[end][1].write(b"the first bytes")
        await ends[1 - end][0].readexactly(15)
        sock = ends[end][1].get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
        ends[end][1].transport.abort()
        with pytest.raises(ConnectionResetError):
            await ends[1 - end][0].read()


async def test_bytes_that_are_lost_are_no_end_but_a_reset_at_both() -> None:
    async with machines() as both:
        (reader, _), (far_reader, far_writer) = await both.dial()
        far_writer.write(b"first")
        assert await reader.readexactly(5) == b"first"
        both.carriers[1].loses = 1
        await send(far_writer, b"lost")
        for each in (reader, far_reader):
            with pytest.raises(ConnectionResetError):
                await each.read()


async def test_a_stopped_reader_costs_its_window_and_the_others_go_on() -> None:
    limits = TunnelLimits(window_max=MIB)
    async with machines(limits) as both:
        (_, writer), (far_reader, _) = await both.dial()
        large = content(2, 40 * MIB)
        sending = asyncio.create_task(send(writer, large))
        await turns_until(lambda: both.broker.carried_bytes > 2 * MIB)
        for _ in range(2_000):  # enough for all of it, if nothing stopped it
            await asyncio.sleep(0)
        assert both.broker.carried_bytes < 6 * MIB, "the window, two limits of the reader, and what kernels keep"
        (small_reader, small_writer), (far_small_reader, far_small_writer) = await both.dial()
        small_writer.write(b"question\n")
        far_small_writer.write(await far_small_reader.readline())
        assert await small_reader.readline() == b"question\n"
        assert hashlib.sha256(await far_reader.read()).digest() == hashlib.sha256(large).digest()
        await sending


async def test_sixty_four_streams_at_once_do_not_mix_and_one_more_is_refused() -> None:
    async with machines() as both:
        talks = [await both.dial() for _ in range(64)]
        ours, theirs = await tcp_pair()
        with pytest.raises(StreamRefused) as refused:
            await both.here.dial(SUBJECT, theirs)
        assert refused.value.cause is ResetCause.FULL
        ours.close()

        async def exchange(number: int, talk: tuple[Ends, Ends]) -> None:
            (reader, writer), (far_reader, far_writer) = talk
            there, back = content(2 * number, 300_000), content(2 * number + 1, 200_000)
            got = await asyncio.gather(reader.read(), far_reader.read(), send(writer, there), send(far_writer, back))
            assert (got[0], got[1]) == (back, there)

        await asyncio.gather(*(exchange(number, talk) for number, talk in enumerate(talks)))
        await turns_until(lambda: not both.here.tunnel.streams and not both.there.tunnel.streams)


async def test_a_carrier_that_takes_nothing_stops_the_reading_of_sockets() -> None:
    async with machines() as both:
        talks = [await both.dial() for _ in range(20)]
        both.carriers[0].hold()
        large = content(3, MIB)
        sending = [asyncio.create_task(send(writer, large)) for (_, writer), _ in talks]
        await turns_until(lambda: both.carriers[0].is_full)
        both.carriers[0].release()
        for _, (far_reader, _) in talks:
            assert await far_reader.read() == large
        await asyncio.gather(*sending)
        assert both.broker.most_waiting_bytes <= FULL_BYTES + 21 * FRAME_BYTES


async def test_an_instance_that_nobody_serves_is_refused_and_so_is_one_that_can_not_be_reached() -> None:
    async with machines() as both:

        async def connect() -> socket.socket:
            raise ConnectionRefusedError

        subject = open_subject("there", "broken")
        both.there.serve(subject, connect)
        causes = {open_subject("there", "gone"): ResetCause.NOBODY, subject: ResetCause.REFUSED}
        for dialled, cause in causes.items():
            ours, theirs = await tcp_pair()
            reader, _ = await both.ends(ours)
            with pytest.raises(StreamRefused) as refused:
                await both.here.dial(dialled, theirs)
            assert refused.value.cause is cause
            with pytest.raises(ConnectionResetError):
                await reader.read()


async def test_a_lost_carrier_resets_both_ends_and_a_new_stream_works_when_it_is_back() -> None:
    async with machines() as both:
        (reader, _), (far_reader, far_writer) = await both.dial()
        both.carriers[0].cut()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        far_writer.write(b"to nobody")
        with pytest.raises(ConnectionResetError):
            await far_reader.read()
        both.carriers[0].heal()
        (reader, _), (_, far_writer) = await both.dial()
        far_writer.write(b"back")
        assert await reader.readexactly(4) == b"back"


async def test_a_dial_that_is_cancelled_leaves_no_stream() -> None:
    async with machines() as both:
        both.carriers[1].hold()
        ours, theirs = await tcp_pair()
        dial = asyncio.create_task(both.here.dial(SUBJECT, theirs))
        await turns_until(lambda: bool(both.there.tunnel.streams))
        dial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dial
        assert list(both.here.tunnel.streams) == []
        both.carriers[1].release()
        await turns_until(lambda: not both.there.tunnel.streams)
        ours.close()


def test_a_machine_that_falls_silent_is_given_up_after_ten_seconds() -> None:
    async def main() -> None:
        async with machines() as both:
            (reader, writer), (far_reader, _) = await both.dial()
            writer.write(b"question\n")
            await far_reader.readline()
            both.carriers[1].hold()
            loop = asyncio.get_running_loop()
            asked_s = loop.time()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            assert loop.time() - asked_s <= PING_S + ANSWER_S
            ours, theirs = await tcp_pair()
            with pytest.raises(StreamRefused):
                await both.here.dial(SUBJECT, theirs)
            assert loop.time() - asked_s <= PING_S + ANSWER_S + OPEN_S
            ours.close()
            both.carriers[1].release()

    in_virtual_time(main())


def test_an_idle_machine_has_no_timer() -> None:
    async def main() -> None:
        async with machines() as both:
            (reader, writer), (far_reader, far_writer) = await both.dial()
            writer.write_eof()
            far_writer.write_eof()
            assert await reader.read() == await far_reader.read() == b""
            await turns_until(lambda: not both.here.tunnel.streams and not both.there.tunnel.streams)
            assert both.here.tunnel.outputs.due_s == both.there.tunnel.outputs.due_s == float("inf")

    in_virtual_time(main())
