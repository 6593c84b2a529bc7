"""Simulated processes: reused pids, stops, kills, descriptors, threads, and the system that each process sees.

All code that is started in a process's context (`SimulatedLoop`) belongs to it. A kill takes effect at once: its
descriptors are closed as a kernel closes them, and its code has no effect any more. So its tasks can be cancelled, and
their clean-up is not visible.
"""

import asyncio
import contextvars
import errno
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any, Final

from brummer.host import pids
from brummer.host.pids import ProcessIdentity, ProcessState
from brummer.host.system import System
from brummer.testing.memory_files import Disk, MemoryFiles, MemoryHints
from brummer.testing.memory_sockets import MemoryListener, MemorySocket, Network, failure
from brummer.testing.simulated_loop import KERNEL, PROCESS, Pollable, SimulatedLoop
from brummer.testing.virtual_time import VirtualClock

BOOT: Final = "b00t"
NAMESPACE: Final = 4_026_531_836
FIRST_PID: Final = 300
DESCRIPTORS: Final = 256
TICKS_A_SECOND: Final = 100
TURNS_TO_DIE: Final = 1000

Fault = Callable[["Process", str], None]
"""May raise OSError before a system call of the process, or RuntimeError for a thread."""


class Machine:
    """Processes, files and addresses of one simulated machine."""

    def __init__(self, loop: SimulatedLoop, rng: Random) -> None:
        self.loop = loop
        self.rng = rng
        self.clock = VirtualClock(loop)
        self.clock.set_forth_s = 1.8e9  # some day in 2027
        self.disk = Disk(loop, self.clock.wall)
        self.network = Network(loop, rng)
        self.processes: dict[int, Process] = {}
        self.next_pid = FIRST_PID
        self._last_fd = 10
        self._started = FIRST_PID
        self.fault: Fault = lambda _, __: None

    def spawn(self, name: str) -> "Process":
        """A new process, with the next free pid."""
        while self.next_pid in self.processes:
            self.next_pid += 1
        pid, self.next_pid = self.next_pid, self.next_pid + 1
        process = self.processes[pid] = Process(self, name, pid)
        return process

    def next_start(self) -> int:
        self._started += 1
        return self._started

    def next_fd(self) -> int:
        self._last_fd += 1
        return self._last_fd


class Process:
    """A process of a `Machine`. ``system`` is the system that it sees."""

    def __init__(self, machine: Machine, name: str, pid: int) -> None:
        self.machine = machine
        self.loop = machine.loop
        self.name = name
        self.pid = pid
        start = int(machine.clock.elapsed() * TICKS_A_SECOND) + machine.next_start()  # no pid comes round in one tick
        self.identity = ProcessIdentity(BOOT, NAMESPACE, pid, start)
        self.is_running = True
        self.is_dead = False
        self.cpu_ticks = 0
        self.resident_bytes = 50 << 20
        self.descriptors: dict[int, Any] = {}
        self.limit = DESCRIPTORS
        self.slow_s = 0.0
        self._tasks: list[asyncio.Task[Any]] = []
        self._prune_at = 64
        self._deferred: list[asyncio.Handle] = []
        self._watches: list[tuple[Callable[[], None], contextvars.Context]] = []
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)
        files = MemoryFiles(machine.disk, self, self._file_fault)
        self.files = files
        self.system = System(
            files=files,
            locks=files,
            filesystems=files,
            processes=MemoryProcesses(self),
            sockets=MemorySockets(self),
            descriptors=_Limits(self),
            memory=_Memory(self),
            clock=machine.clock,
            random=machine.rng,
            directory_events=lambda _: MemoryHints(machine.disk, self._file_fault),
        )

    def __repr__(self) -> str:
        return f"<Process {self.name} {self.pid}>"

    # Its life.

    def start(self, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run this as a task of its own, in its context."""
        task: asyncio.Task[Any] = self.context.run(self.loop.create_task, main)
        return task

    def stop(self) -> None:
        """SIGSTOP; without effect on a process that is being killed."""
        if not self.is_dead:
            self.is_running = False

    def go_on(self) -> None:
        """SIGCONT: deferred events are handled first, then the timers, as a loop does after one long wait."""
        if not self.is_running and not self.is_dead:
            self.is_running = True
            deferred, self._deferred = self._deferred, []
            deferred.sort(key=lambda handle: isinstance(handle, asyncio.TimerHandle))
            self.loop.requeue(deferred)

    async def kill(self) -> None:
        """SIGKILL. Returns when none of its callbacks is left in the loop."""
        if self.is_dead:
            return
        self.is_dead = True
        del self.machine.processes[self.pid]
        for watch in self._watches:
            self.loop.run_later(50e-6, self._tell_exit, *watch)
        for held in list(self.descriptors.values()):
            if isinstance(held, MemorySocket | MemoryListener | Pipe):
                held.close()
            else:
                self.files.close(held.fd)
        self.is_running = True
        self.loop.requeue(self._deferred)  # otherwise a task among them could never end
        self._deferred = []
        await self._end_tasks()
        self.is_running = False

    async def _end_tasks(self) -> None:
        left: list[asyncio.Task[Any]] = []
        for _ in range(TURNS_TO_DIE):
            left = [task for task in self._tasks if not task.done() and task is not asyncio.current_task()]
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.sleep(0)
        raise RuntimeError(f"{self} has tasks that can't be cancelled: {left}")

    def exit(self) -> list[str]:
        """Its main task returns now. Returns the leaks."""
        found = self.left_behind()
        KERNEL.run(self.loop.create_task, self.kill())
        return found

    def left_behind(self) -> list[str]:
        """Tasks, timers and descriptors that the process should have ended before an orderly end."""
        own = asyncio.current_task()
        tasks = [f"task {task.get_name()}" for task in self._tasks if not task.done() and task is not own]
        timers = [f"timer {callback}" for callback in self.loop.timers_of(self)]
        return tasks + timers + [f"descriptor {held!r}" for held in self.descriptors.values()]

    def _tell_exit(self, on_exit: Callable[[], None], context: contextvars.Context) -> None:
        self.loop.call_soon(on_exit, context=context)

    def watch_exit(self, on_exit: Callable[[], None]) -> Callable[[], None]:
        entry = on_exit, contextvars.copy_context()
        self._watches.append(entry)

        def close() -> None:
            if entry in self._watches:
                self._watches.remove(entry)

        return close

    # As the loop sees it.

    def defer(self, handle: asyncio.Handle) -> None:
        if not self.is_dead:
            self._deferred.append(handle)

    def add_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.append(task)
        if len(self._tasks) > self._prune_at:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._prune_at = 2 * len(self._tasks) + 64

    def start_thread(self) -> float:
        self.check("thread")
        return self.machine.rng.uniform(50e-6, 2e-3)

    # As the kernel sees it.

    def check(self, call: str) -> None:
        """Raises the injected error of this system call, if there is one."""
        if self.is_dead:
            raise failure(errno.EIO)
        self.machine.fault(self, call)

    def _file_fault(self, call: str, _: Path | None) -> None:
        self.check(call)

    def take_descriptor(self, what: Any, call: str) -> int:
        self.check(call)
        if len(self.descriptors) >= self.limit:
            raise failure(errno.EMFILE)
        fd = self.machine.next_fd()
        self.descriptors[fd] = what
        if isinstance(what, Pollable):
            self.loop.pollables[fd] = what
        return fd

    def free_descriptor(self, fd: int) -> None:
        self.descriptors.pop(fd, None)
        self.loop.pollables.pop(fd, None)


class MemoryProcesses:
    """The `Processes` that one process sees."""

    def __init__(self, own: Process) -> None:
        self._own = own
        self._table = own.machine.processes

    def own_identity(self) -> ProcessIdentity:
        return self._own.identity

    def same_boot(self, identity: ProcessIdentity) -> bool:
        return identity.boot_id == BOOT

    def same_namespace(self, identity: ProcessIdentity) -> bool:
        return (identity.boot_id, identity.pid_namespace) == (BOOT, NAMESPACE)

    def network_namespace(self) -> int:
        return NAMESPACE

    def is_running(self, identity: ProcessIdentity) -> bool:
        return pids.is_running(identity, self.identify)

    def identify(self, pid: int) -> ProcessIdentity | None:
        self._own.check("proc")
        found = self._table.get(pid)
        return None if found is None else found.identity

    def process_state(self, pid: int) -> ProcessState | None:
        self._own.check("proc")
        found = self._table.get(pid)
        if found is None:
            return None
        return ProcessState("sleeping" if found.is_running else "stopped", found.cpu_ticks)

    def subscribe_exit(
        self,
        _: asyncio.AbstractEventLoop,
        identity: ProcessIdentity,
        on_exit: Callable[[], None],
    ) -> Callable[[], None] | None:
        self._own.check("pidfd")
        found = self._table.get(identity.pid)
        if found is None or found.identity != identity:
            return None
        return found.watch_exit(on_exit)


class MemorySockets:
    """The `Sockets` of one process."""

    def __init__(self, own: Process) -> None:
        self._own = own

    async def addresses(self, host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
        self._own.check("addresses")
        return [(2, (host, port))]

    async def connect(self, family: int, address: tuple[str, int], descriptors: int) -> MemorySocket:  # noqa: ARG002
        if len(self._own.descriptors) >= descriptors:
            raise failure(errno.EMFILE)
        return await self._own.machine.network.connect(self._own, address)


class _Limits:
    def __init__(self, own: Process) -> None:
        self._own = own

    def set_descriptor_limit(self, wanted: int) -> None:
        pass

    def descriptor_limit(self) -> int:
        return self._own.limit

    def lowest_free_descriptor(self) -> int:
        return len(self._own.descriptors)


class _Memory:
    def __init__(self, own: Process) -> None:
        self._own = own

    def resident_bytes(self) -> int | None:
        return self._own.resident_bytes

    def give_back(self) -> None:
        pass


class Pipe(Pollable):
    """One end of a pipe(7); bytes written at one end are read at the other."""

    CAPACITY_BYTES: Final = 65_536

    def __init__(self, holder: Process, content: bytearray) -> None:
        super().__init__(holder.loop, 0)
        self._holder = holder
        self.content = content
        self.other: Pipe | None = None
        self.closed = False
        self.fd = holder.take_descriptor(self, "pipe")

    def can_read(self) -> bool:
        return bool(self.content) or self.other is None or self.other.closed

    def can_write(self) -> bool:
        return len(self.content) < self.CAPACITY_BYTES or self.other is None or self.other.closed

    def read(self, length: int) -> bytes:
        if not self.can_read():
            raise failure(errno.EAGAIN)
        data = bytes(self.content[:length])
        del self.content[:length]
        if data and self.other is not None:
            self.other.poll()
        return data

    def write(self, data: bytes | memoryview) -> int:
        if self.closed:
            raise failure(errno.EBADF)
        if self.other is None or self.other.closed:
            raise failure(errno.EPIPE)
        free_bytes = self.CAPACITY_BYTES - len(self.content)
        if free_bytes <= 0:
            raise failure(errno.EAGAIN)
        self.content += data[:free_bytes]
        self.other.poll()
        return min(free_bytes, len(data))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.reader = self.writer = None
            self._holder.free_descriptor(self.fd)
            if self.other is not None:
                self.other.poll()


def pipe(reader: Process, writer: Process) -> tuple[Pipe, Pipe]:
    """(the end to read from, the end to write to)."""
    content = bytearray()
    ends = Pipe(reader, content), Pipe(writer, content)
    ends[0].other, ends[1].other = ends[1], ends[0]
    return ends


class MemoryDescriptors:
    """The `brummer.wire.mcp.pipes.DescriptorCalls` of one process."""

    def __init__(self, own: Process) -> None:
        self._own = own

    def read(self, fd: int, length: int) -> bytes:
        found: Pipe = self._own.descriptors[fd]
        return found.read(length)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        found = self._own.descriptors.get(fd)
        if found is None:
            raise failure(errno.EBADF)
        count: int = found.write(data)
        return count

    def fstat(self, fd: int) -> Any:  # noqa: ARG002 — all are pipes
        import os  # noqa: PLC0415
        import stat  # noqa: PLC0415

        return os.stat_result((stat.S_IFIFO | 0o600, 1, 1, 1, 0, 0, 0, 0, 0, 0))

    def set_blocking(self, fd: int, blocking: bool) -> None:  # noqa: FBT001
        pass
