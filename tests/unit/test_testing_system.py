"""The in-memory system behaves like the real one, as far as programs can observe it."""

import asyncio
import errno
import fcntl
import os
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from brummer.core.errors import ConnectionClosed, ConnectionReset, TimedOut, TransportError
from brummer.discovery.owners import judge
from brummer.host.directory_watch import DirectoryWatch
from brummer.host.exits import watch_exit
from brummer.host.files import read_bounded, write_atomically
from brummer.host.locks import FileLock, is_locked
from brummer.testing.memory_sockets import GIVES_UP_S, Faults
from brummer.testing.process_table import Machine, Process, pipe
from brummer.testing.simulated_loop import SimulatedLoop
from brummer.testing.virtual_time import Stuck
from brummer.wire.http.connection import HttpConnection
from brummer.wire.http.server import Exchange, HttpServer

PLACE = Path("/run/x")
PORT = 5000


def on_a_machine(work: Any) -> None:
    """Run ``work(machine)`` in virtual time."""
    loop = SimulatedLoop()
    machine = Machine(loop, random.Random(1))
    try:
        loop.run_until_complete(work(machine))
        assert loop.failures == []
    finally:
        loop.close()


def a_directory(process: Process) -> None:
    process.files.mkdir(PLACE.parent)
    process.files.mkdir(PLACE, 0o700)


async def serve(process: Process, answer: bytes = b"{}") -> HttpServer:
    async def handle(exchange: Exchange) -> None:
        exchange.respond(200, answer)

    server = HttpServer(handle, body_limit_bytes=1000)
    listener: Any = process.machine.network.listen(process, "127.0.0.1", PORT)
    await process.start(server.start([listener]))
    return server


async def ask(process: Process) -> bytes:
    async def get() -> bytes:
        connection = await HttpConnection.open(
            "127.0.0.1",
            PORT,
            timeout_s=1,
            limit_bytes=10_000,
            on_close=lambda _: None,
            sockets=process.system.sockets,
        )
        try:
            return (await connection.exchange(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")).body
        finally:
            connection.close()

    answer: bytes = await process.start(get())
    return answer


def test_a_file_is_replaced_whole() -> None:
    async def work(machine: Machine) -> None:
        process = machine.spawn("writer")
        a_directory(process)
        write_atomically(PLACE / "a", b"old", system=process.system)
        write_atomically(PLACE / "a", b"new", system=process.system)
        assert read_bounded(PLACE / "a", 10, process.files) == b"new"
        assert [*machine.disk.find(PLACE).names] == ["a"]

    on_a_machine(work)


@pytest.mark.parametrize("call", ["open", "write", "rename"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(call: str) -> None:
    async def work(machine: Machine) -> None:
        process = machine.spawn("writer")
        a_directory(process)
        write_atomically(PLACE / "a", b"old", system=process.system)

        def fail(_: Process, what: str) -> None:
            if what == call:
                raise OSError(errno.EIO, "no")

        machine.fault = fail
        with pytest.raises(OSError, match="no"):
            write_atomically(PLACE / "a", b"new", system=process.system)
        machine.fault = lambda _, __: None
        assert read_bounded(PLACE / "a", 10, process.files) == b"old"
        assert [*machine.disk.find(PLACE).names] == ["a"]

    on_a_machine(work)


def test_a_watch_that_can_t_see_its_directory_says_so_and_finds_it_later() -> None:
    async def work(machine: Machine) -> None:
        process = machine.spawn("hub")
        a_directory(process)
        hints: list[str] = []
        watch = DirectoryWatch(machine.loop, PLACE, hints.append, process.system)

        def fail(_: Process, what: str) -> None:
            if what == "stat":
                raise OSError(errno.EIO, "no")

        machine.fault = fail
        machine.disk.remove_tree(PLACE)
        await asyncio.sleep(1)
        assert (watch.kind, hints) == ("polling", ["watching", "lost"])
        machine.fault = lambda _, __: None
        watch.verify()
        process.files.mkdir(PLACE, 0o700)
        await asyncio.sleep(1)
        assert (watch.is_watching, hints[-1]) == (True, "watching")
        watch.close()

    on_a_machine(work)


def test_a_power_cut_leaves_what_was_synced() -> None:
    async def work(machine: Machine) -> None:
        process = machine.spawn("writer")
        files = process.files
        for directory in (PLACE.parent, PLACE):
            files.mkdir(directory)
            files.fsync(files.open(directory.parent, os.O_RDONLY))
        for name, synced in (("kept", True), ("lost", False)):
            descriptor = files.open(PLACE / name, os.O_WRONLY | os.O_CREAT)
            files.write(descriptor, b"before")
            if synced:
                files.fsync(descriptor)
                files.fsync(files.open(PLACE, os.O_RDONLY))
            files.write(descriptor, b" and after")
        machine.disk.lose_power()
        assert {name: bytes(inode.content) for name, inode in machine.disk.find(PLACE).names.items()} == {
            "kept": b"before"
        }

    on_a_machine(work)


def test_other_processes_see_a_lock_and_it_ends_with_its_process() -> None:
    async def work(machine: Machine) -> None:
        holder, other = machine.spawn("holder"), machine.spawn("other")
        a_directory(holder)
        lock = FileLock.try_acquire(PLACE / "l", holder.system)
        assert lock is not None
        assert FileLock.try_acquire(PLACE / "l", other.system) is None
        assert is_locked(PLACE / "l", other.system) is True
        await holder.kill()
        assert is_locked(PLACE / "l", other.system) is False
        assert (fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_NB, fcntl.LOCK_UN) == (1, 2, 4, 8)

    on_a_machine(work)


def test_a_reused_pid_is_another_process() -> None:
    async def work(machine: Machine) -> None:
        hub, old = machine.spawn("hub"), machine.spawn("instance")
        told: list[str] = []
        watch_exit(machine.loop, old.identity, lambda: told.append("died"), hub.system.processes)
        await old.kill()
        await asyncio.sleep(0.01)
        machine.next_pid = old.pid
        new = machine.spawn("stranger")
        assert (new.pid, told) == (old.pid, ["died"])
        assert not hub.system.processes.is_running(old.identity)
        assert hub.system.processes.is_running(new.identity)

    on_a_machine(work)


def test_a_stopped_process_accepts_but_does_not_answer_until_it_continues() -> None:
    async def work(machine: Machine) -> None:
        server, client = machine.spawn("server"), machine.spawn("client")
        await serve(server)
        server.stop()
        answer = asyncio.ensure_future(ask(client))
        await asyncio.sleep(5)
        assert not answer.done()
        server.go_on()
        assert await answer == b"{}"

    on_a_machine(work)


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        (Faults(cut_answers_at=5), ConnectionClosed),
        (Faults(cut_answers_at=5, resets=True), ConnectionReset),
        (Faults(cut_requests_at=5, resets=True), ConnectionReset),
        (Faults(silent_at=5), TimedOut),
    ],
)
def test_a_connection_ends_at_the_byte_where_it_is_cut(faults: Faults, error: type[TransportError]) -> None:
    async def work(machine: Machine) -> None:
        server, client = machine.spawn("server"), machine.spawn("client")
        await serve(server)
        machine.network.plan = lambda _, __: faults
        began_s = machine.loop.time()
        with pytest.raises(error) as raised:
            await ask(client)
        assert raised.value.sent
        took_s = machine.loop.time() - began_s
        assert (took_s >= GIVES_UP_S) == (faults.silent_at is not None)

    on_a_machine(work)


def test_a_stall_holds_up_the_bytes_behind_it() -> None:
    async def work(machine: Machine) -> None:
        server, client = machine.spawn("server"), machine.spawn("client")
        await serve(server)
        machine.network.plan = lambda _, __: Faults(stalls_at=5, stall_s=1.5)
        began_s = machine.loop.time()
        assert await ask(client) == b"{}"
        assert machine.loop.time() - began_s >= 1.5

    on_a_machine(work)


def test_a_process_that_is_being_killed_can_not_be_stopped() -> None:
    async def work(machine: Machine) -> None:
        process = machine.spawn("server")

        async def serve_for_ever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                process.stop()
                await asyncio.sleep(0)

        serving = process.start(serve_for_ever())
        await asyncio.sleep(0)
        await process.kill()
        assert serving.done()

    on_a_machine(work)


def test_a_killed_server_ends_its_connections() -> None:
    async def work(machine: Machine) -> None:
        server, client = machine.spawn("server"), machine.spawn("client")
        await serve(server)
        server.stop()
        answer = asyncio.ensure_future(ask(client))
        await asyncio.sleep(1)
        await server.kill()
        with pytest.raises(TransportError):
            await answer
        with pytest.raises(TransportError):
            await ask(client)
        assert server.left_behind() == []

    on_a_machine(work)


def test_a_pipe_without_a_reader_accepts_a_bounded_number_of_bytes() -> None:
    async def work(machine: Machine) -> None:
        reader, writer = machine.spawn("reader"), machine.spawn("writer")
        from_there, to_there = pipe(reader, writer)
        assert to_there.write(b"x" * 100_000) == to_there.CAPACITY_BYTES
        with pytest.raises(OSError, match="temporarily"):
            to_there.write(b"x")
        assert len(from_there.read(100_000)) == to_there.CAPACITY_BYTES
        from_there.close()
        with pytest.raises(OSError, match="pipe"):
            to_there.write(b"x")

    on_a_machine(work)


def test_descriptors_are_limited_for_each_process() -> None:
    async def work(machine: Machine) -> None:
        server, client = machine.spawn("server"), machine.spawn("client")
        await serve(server)
        client.limit = 0
        with pytest.raises(TransportError) as raised:
            await ask(client)
        assert raised.value.code == "no_descriptor_left"

    on_a_machine(work)


def test_the_real_code_judges_records() -> None:
    from brummer.testing.simulation.parts import _record  # noqa: PLC0415

    async def work(machine: Machine) -> None:
        hub, instance = machine.spawn("hub"), machine.spawn("instance")
        a_directory(hub)
        record = _record("project-00000000", "generation", 1, instance)
        assert judge(PLACE, record, is_shared=False, system=hub.system) == "alive"
        await instance.kill()
        assert judge(PLACE, record, is_shared=False, system=hub.system) == "dead"

    on_a_machine(work)


def test_a_loop_in_which_nothing_can_happen_says_so() -> None:
    loop = SimulatedLoop()

    async def wait() -> None:
        await loop.create_future()

    work: Coroutine[Any, Any, None] = wait()
    with pytest.raises(Stuck):
        loop.run_until_complete(work)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
