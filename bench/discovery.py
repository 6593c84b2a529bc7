"""How soon a hub knows: of a registration and of a death, with few and many instances; and what it costs to know.

A process with a registry is told by another, over a pipe, when that one began (CLOCK_MONOTONIC is the same for both).
Owners are real processes that hold their life locks; they are forked, so that a thousand of them fit in here. The idle
hub is the real one; its instances are stand-ins that prove their identity, all in one process of their own.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from processes import hub
from tables import Report, median, percentile

from brummer.discovery.events import Appeared, Gone
from brummer.discovery.record import Record, encode, file_name
from brummer.discovery.registrar import Registrar, describe_self
from brummer.discovery.registry import Registry
from brummer.host.files import write_atomically
from brummer.wire.http.server import HttpRequest, HttpServer
from brummer.wire.mcp import identity
from brummer.wire.mcp.server import McpServer
from brummer.wire.mcp.streamable_http import StreamableHttp
from brummer.wire.mcp.tools import ToolTable

TRIES = 200
LIVE = (1, 100, 1000)
PAUSE_S = (0.02, 0.06)
"""Between tries, so that each meets a hub at rest."""
IDLE_S = 90.0
"""One wave of probes falls into it (`brummer.link.prober.WAVE_S`)."""

SETTLE_S = 5.0
IDLE_LINKS = (0, 20, 100)
AT_ONCE, ROUNDS = 200, 5
FILELOCK_POLL_S = 0.05
"""What filelock's ``acquire`` sleeps between tries."""
PR_SET_PDEATHSIG = 1

T = TypeVar("T")


def forked(work: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
    """A child that does ``work`` at the other end of the returned socket, and dies with us."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        ours.close()
        try:
            work(theirs)
        finally:
            os._exit(0)
    theirs.close()
    return pid, ours


def record_of(number: int, port: int = 4000) -> Record:
    return describe_self(
        Path(f"/projects/bench-{number}"),
        generation=secrets.token_hex(8),
        url=f"http://127.0.0.1:{port}/mcp",
        token=secrets.token_urlsafe(32),
        protocols=("2025-11-25",),
    )


async def register(directory: Path, record: Record) -> Registrar:
    registrar = Registrar(directory, record.instance_id)
    await registrar.acquire()
    await registrar.publish(record)
    return registrar


# A registration, and a death.


def live_until_killed(directory: Path, number: int, told: socket.socket) -> None:
    """One owner: tells when it began to register."""
    record = record_of(number)
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))
        began_ns = time.monotonic_ns()
        registrar = runner.run(register(directory, record))
        told.sendall(b"%d %d" % (began_ns, time.monotonic_ns()))
        signal.pause()
        registrar.withdraw()


@contextlib.contextmanager
def population(directory: Path, count: int) -> Iterator[None]:
    """So many other instances, alive and asleep."""

    def live(number: int) -> Callable[[socket.socket], None]:
        return lambda told: live_until_killed(directory, number, told)

    children = [forked(live(number)) for number in range(count)]
    for _, told in children:
        told.recv(100)
    try:
        yield
    finally:
        for pid, told in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            told.close()


def serve_tries(directory: Path, commands: socket.socket) -> None:
    """The other side of a measurement: at each byte an owner is born, or killed; answers when that began and ended."""
    number = 1_000_000
    while commands.recv(1):
        number += 1
        pid, told = forked(lambda told: live_until_killed(directory, number, told))  # noqa: B023 - used at once
        commands.sendall(told.recv(100))
        commands.recv(1)
        began_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        commands.sendall(b"%d %d" % (began_ns, time.monotonic_ns()))
        told.close()


class Latencies:
    """In ms: until the event, and until whoever caused it was done himself; that much is not the hub's."""

    def __init__(self) -> None:
        self.event: list[float] = []
        self.own: list[float] = []

    def cells(self) -> tuple[float, float, float]:
        return median(self.own), median(self.event), percentile(self.event, 99)


async def latencies(directory: Path, commands: socket.socket, others: int) -> tuple[Latencies, Latencies]:
    """Of registrations and of deaths, in turns."""
    both = Latencies(), Latencies()
    commands.setblocking(False)
    loop = asyncio.get_running_loop()
    async with Registry(directory) as registry:
        await registry.scan()
        for _ in range(others):
            await anext(registry)
        for number in range(2 * TRIES):
            following = asyncio.ensure_future(anext(registry))
            await asyncio.sleep(random.uniform(*PAUSE_S))
            await loop.sock_sendall(commands, b".")
            event = await asyncio.wait_for(following, 30)
            now_ns = time.monotonic_ns()
            began_ns, ended_ns = map(int, (await loop.sock_recv(commands, 100)).split())
            assert isinstance(event, Appeared if number % 2 == 0 else Gone), event
            both[number % 2].event.append((now_ns - began_ns) / 1e6)
            both[number % 2].own.append((ended_ns - began_ns) / 1e6)
    return both


def latency_row(where: str, parent: Path, others: int) -> tuple[object, ...]:
    with tempfile.TemporaryDirectory(prefix="brummer-bench-", dir=parent) as folder:
        directory = Path(folder)
        with population(directory, others):
            pid, commands = forked(lambda commands: serve_tries(directory, commands))
            born, died = run(latencies(directory, commands, others))
            commands.close()
            os.waitpid(pid, 0)
    return where, others, *born.cells(), *died.cells()


def run(main: Coroutine[Any, Any, T]) -> T:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


# A hub that has nothing to do.


async def stand_in(directory: Path, number: int) -> None:
    """What a hub sees of an instance: a record, a life lock, and somebody who can prove that he wrote it."""
    listener = socket.create_server(("127.0.0.1", 0))
    record = record_of(number, listener.getsockname()[1])

    def prove(request: HttpRequest) -> tuple[int, bytes]:
        return identity.answer(record.token, record.instance_id, record.generation, request.target)

    tools = McpServer(ToolTable([]), name="stand-in", version="0", instructions="")
    handler = StreamableHttp(tools, token=record.token, routes={identity.PATH: prove})
    server = HttpServer(handler, body_limit_bytes=1 << 20, admit=handler.admit)
    await server.start([listener])
    kept.append((await register(directory, record), server))


kept: list[object] = []


async def stand_ins(directory: Path, count: int) -> None:
    for number in range(count):
        await stand_in(directory, number)
    sys.stdout.write("up\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def many_instances(directory: Path, count: int) -> AsyncIterator[None]:
    command = [sys.executable, __file__, "stand-ins", str(directory), str(count)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout
    try:
        await process.stdout.readline()
        yield
    finally:
        process.kill()
        await process.wait()


def consumption(pid: int) -> tuple[int, float]:
    """(times it went to sleep of its own accord, CPU seconds) of all threads."""
    wakeups, cpu_ns = 0, 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        status = (task / "status").read_text()
        wakeups += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        cpu_ns += int((task / "schedstat").read_text().split()[0])
    return wakeups, cpu_ns / 1e9


async def listed_by(client: Any) -> list[dict[str, Any]]:
    """Every instance, collected over all answers."""
    found: list[dict[str, Any]] = []
    arguments: dict[str, str] = {}
    while True:
        content = json.loads(await client.call("instances_list", arguments))["result"]["structuredContent"]
        found += content["instances"]
        if "next_cursor" not in content:
            return found
        arguments = {"cursor": content["next_cursor"]}


async def idle_row(parent: Path, count: int) -> tuple[object, ...]:
    with tempfile.TemporaryDirectory(prefix="brummer-bench-", dir=parent) as folder:
        async with many_instances(Path(folder) / "instances", count), hub(Path(folder)) as client:
            states = Counter(item["state"] for item in await listed_by(client))
            assert states["ready"] == count, states
            await asyncio.sleep(SETTLE_S)
            wakeups, cpu_s = consumption(client.pid)
            await asyncio.sleep(IDLE_S)
            wakeups_after, cpu_s_after = consumption(client.pid)
    return count, (wakeups_after - wakeups) / IDLE_S, (cpu_s_after - cpu_s) / IDLE_S * 100


async def idle_rows(parent: Path) -> list[tuple[object, ...]]:
    return await asyncio.gather(*(idle_row(parent, count) for count in IDLE_LINKS))


# Everybody at once.


def with_brummer(directory: Path, number: int) -> Callable[[], object]:
    runner, record = asyncio.Runner(), record_of(number)
    runner.run(asyncio.sleep(0))
    return lambda: runner.run(register(directory, record))


def with_one_lock(directory: Path, number: int) -> Callable[[], object]:
    """The same file, written under one lock for all, waited for as filelock does it."""
    record = record_of(number)

    def locked() -> None:
        descriptor = os.open(directory / "global.lock", os.O_RDWR | os.O_CREAT, 0o600)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(FILELOCK_POLL_S)
        write_atomically(directory / file_name(record.instance_id), encode(record))
        os.close(descriptor)

    return locked


def all_at_once_ms(parent: Path, way: Callable[[Path, int], Callable[[], object]]) -> tuple[list[float], list[float]]:
    """(how long each took, from when all were let go until each was done)."""
    with tempfile.TemporaryDirectory(prefix="brummer-bench-", dir=parent) as folder:
        gate, opener = os.pipe()

        def work(number: int) -> Callable[[socket.socket], None]:
            def take_part(told: socket.socket) -> None:
                os.close(opener)
                register = way(Path(folder), number)
                told.sendall(b".")
                os.read(gate, 1)
                began_ns = time.monotonic_ns()
                register()
                told.sendall(b"%d %d" % (began_ns, time.monotonic_ns()))
                signal.pause()

            return take_part

        children = [forked(work(number)) for number in range(AT_ONCE)]
        for _, told in children:
            told.recv(1)
        opened_ns = time.monotonic_ns()
        os.close(opener)
        times = [tuple(map(int, told.recv(100).split())) for _, told in children]
        assert len(list(Path(folder).glob("*.json"))) == AT_ONCE
        os.close(gate)
        for pid, told in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            told.close()
    return [(ended - began) / 1e6 for began, ended in times], [(ended - opened_ns) / 1e6 for _, ended in times]


def at_once_rows(parent: Path) -> list[tuple[object, ...]]:
    ways = {"brummer": with_brummer, "one global lock, 50 ms polling": with_one_lock}
    own: dict[str, list[float]] = {name: [] for name in ways}
    last: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            took, done = all_at_once_ms(parent, way)
            own[name] += took
            last[name].append(max(done))
    rows: list[tuple[object, ...]] = [
        (name, median(own[name]), percentile(own[name], 99), max(own[name]), median(last[name])) for name in ways
    ]
    first, second = (median(last[name]) for name in ways)
    rows.append(("ratio", "", "", "", second / first))
    return rows


def measure(report: Report, folder: Path) -> None:
    shm = Path("/dev/shm")
    memory = shm if shm.is_dir() else folder
    rows = [latency_row("tmpfs", memory, others) for others in LIVE]
    rows.append(latency_row("disk", folder, 100))
    columns = ("owner is done, p50", "hub knows, p50", "p99", "kill -9: reaped, p50", "hub knows, p50", "p99")
    report.table(f"A registration, and a death ({TRIES} tries), ms", ("directory on", "others", *columns), rows)
    ways = ("way", "each, p50", "p99", "worst", f"all {AT_ONCE} done")
    report.table(f"{AT_ONCE} register at once ({ROUNDS} rounds), ms", ways, at_once_rows(memory))
    idle = ("links", "wakeups/s", "CPU, %")
    report.table(f"An idle hub over {IDLE_S:g} s", idle, run(idle_rows(memory)))


if __name__ == "__main__":
    asyncio.run(stand_ins(Path(sys.argv[2]), int(sys.argv[3])))
