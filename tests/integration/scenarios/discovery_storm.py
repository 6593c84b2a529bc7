"""Hundreds of processes register, change and withdraw at the same time, under the eyes of three hubs.

python discovery_storm.py DIRECTORY PROCESSES ROUNDS paced|free KILLED_PER_ROUND

In one round every process registers, changes and withdraws once. *paced*: a third of them does each at the same time,
and the next step begins when all hubs have told all that happened; so every change must be told, exactly once. *free*:
nobody waits for anybody; a hub may then miss what was over before it looked, but must tell what it tells in order, and
end with the truth. Killed processes die at random microseconds of a write, or at the worst points of one.

Prints the counts, and what was wrong, as JSON.
"""

import asyncio
import contextlib
import json
import os
import random
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn
from unittest import mock

import msgspec

from brummer.discovery.record import LIMIT_BYTES, Record, decode, instance_id_for
from brummer.discovery.registrar import Registrar, describe_self
from brummer.discovery.registry import Registry
from brummer.host import files, locks
from brummer.host.files import FileRefused, read_bounded
from brummer.host.libc import function
from brummer.host.system import Files

HUBS: Final = 3
SETTLES_S: Final = 15.0
"""For all hubs to have told what 300 processes did at once; it takes a tenth of a second."""

PR_SET_PDEATHSIG: Final = 1
POINTS: Final = ("random", "half_written", "not_renamed", "just_renamed", "not_unlocked")
RANDOM_KILL_S: Final = 0.002
"""Twice what an operation takes here."""
PAUSE_S: Final = 0.1
"""Between operations that wait for nobody; some last long enough to be seen, and some don't."""


# A process that is an instance as far as the directory can tell.


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def arm(point: str, longest_s: float) -> None:
    """From here on this process is doomed. Half of those that die in a write are spared in their first one."""
    write, replace, spared = files._write_new, os.replace, random.randrange(2)

    def is_spared() -> bool:
        nonlocal spared
        spared -= 1
        return spared >= 0

    def half_written(path: Path, data: bytes, mode: int, system: Files, *, durable: bool) -> None:
        whole = is_spared()
        write(path, data if whole else data[: len(data) // 2], mode, system, durable=durable)
        if not whole:
            die()

    def not_renamed(source: Path, target: Path) -> None:
        if not is_spared():
            die()
        replace(source, target)

    def just_renamed(source: Path, target: Path) -> None:
        replace(source, target)
        die()

    if point == "random":
        sys.setswitchinterval(1e-6)  # or the doomed thread would finish its write first
        threading.Thread(target=die_after, args=[random.uniform(0, longest_s)], daemon=True).start()
    else:
        places: dict[str, tuple[Any, str, Any]] = {}
        places["half_written"] = (files, "_write_new", half_written)
        places["not_renamed"] = (os, "replace", not_renamed)
        places["just_renamed"] = (os, "replace", just_renamed)
        places["not_unlocked"] = (locks.FileLock, "release", lambda _: die())
        mock.patch.object(*places[point]).start()


def die_after(delay_s: float) -> None:
    time.sleep(delay_s)
    die()


class Worker:
    """Does what its commands say, and answers each one that it survives."""

    def __init__(self, directory: Path, project: Path) -> None:
        self._project = project
        self._generation = ""
        self._registrar = Registrar(directory, instance_id_for(project))
        self._runner = asyncio.Runner()

    def serve(self, commands: socket.socket) -> None:
        stream = commands.makefile("rw", buffering=1, encoding="ascii")
        for line in stream:
            command, step, point = line.split()
            if point != "-":
                arm(point, 3 * PAUSE_S if command == "cycle" else RANDOM_KILL_S)
            getattr(self, command)(int(step))
            if point != "-":
                die()
            stream.write("done\n")

    def register(self, step: int) -> None:
        self._generation = secrets.token_hex(8)
        self._runner.run(self._registrar.acquire())
        self.change(step)

    def change(self, step: int) -> None:
        url, token = f"http://127.0.0.1:{1024 + step}/mcp", secrets.token_urlsafe(32)
        record = describe_self(self._project, generation=self._generation, url=url, token=token)
        self._runner.run(self._registrar.publish(msgspec.structs.replace(record, name=f"{step:06}")))

    def withdraw(self, _: int) -> None:
        self._registrar.withdraw()

    def cycle(self, step: int) -> None:
        """A whole round without waiting for anybody."""
        for number, operation in enumerate((self.register, self.change, self.withdraw)):
            time.sleep(random.uniform(0, PAUSE_S))
            operation(step + number)


def read_for_ever(directory: Path, counts: socket.socket) -> NoReturn:
    """Whatever is read at whatever moment must be whole. Tells (read, torn) when asked to stop."""
    read = torn = 0
    counts.setblocking(False)
    while True:
        for entry in directory.glob("*.json"):
            with contextlib.suppress(FileNotFoundError, FileRefused):
                data = read_bounded(entry, LIMIT_BYTES)
                read += 1
                torn += not isinstance(decode(data, entry.name), Record)
            time.sleep(0.0005)
        with contextlib.suppress(BlockingIOError):
            counts.recv(1)
            counts.setblocking(True)
            counts.sendall(f"{read} {torn}\n".encode())
            os._exit(0)
        time.sleep(0.0005)


def forked(work: Any) -> tuple[int, socket.socket]:
    """A child that does ``work(socket)``, dies with us, and costs a millisecond: nothing has to be imported again."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        function("prctl")(PR_SET_PDEATHSIG, signal.SIGKILL)
        ours.close()
        status = 1
        try:
            work(theirs)
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    return pid, ours


# The storm.

COMMANDS: Final = ("register", "change", "withdraw")


@dataclass(eq=False)
class Process:
    """``state`` is how far it is in its round; ``point`` where it is to die, if it is."""

    number: int
    pid: int
    socket: socket.socket
    state: int = 0
    busy: bool = False
    point: str = "-"

    @property
    def id(self) -> str:
        return instance_id_for(project(self.number))


def project(number: int) -> Path:
    return Path(f"/projects/storm-{number}")


class Hub:
    """What one hub has told. An event that cannot follow those before it is wrong."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, str(Path(__file__).with_name("discovery_hub.py")), str(directory)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.listed: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        self.wrong: list[Any] = []
        self.problems: list[str] | None = None
        self._last: dict[str, int] = defaultdict(lambda: -1)
        self._history: dict[str, list[str]] = defaultdict(list)
        self._rest = b""

    def read(self) -> bool:
        """Take in what there is; False at the end."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._apply_scan(*json.loads(line))
        return bool(data)

    def _apply_scan(self, what: str, *rest: str) -> None:
        self.counts[what] += 1
        history = self._history[rest[0] if rest else ""]
        history.append(f"{what} {' '.join(rest[1:])}")
        if what in ("appeared", "changed"):
            instance_id, step = rest[0], int(rest[2])
            if (instance_id in self.listed) is (what == "appeared") or step <= self._last[instance_id]:
                self.wrong.append([rest[0], *history[-4:]])
            self.listed[instance_id] = self._last[instance_id] = step
        elif what == "gone":
            if self.listed.pop(rest[0], None) is None:
                self.wrong.append([rest[0], *history[-4:]])
        elif what == "statistics":
            self.problems = list(rest[1:])


class Storm:
    """Parent of all processes and hubs. ``truth``: which step of which instance is to stand in the directory."""

    def __init__(self, directory: Path, count: int) -> None:
        self._directory = directory
        self._selector = selectors.DefaultSelector()
        self._step = 0
        self.truth: dict[str, int] = {}
        self.operations = 0
        self.killed: Counter[str] = Counter()
        self.wrong: list[Any] = []
        self.slowest_s = 0.0
        _, self._reader = forked(lambda counts: read_for_ever(directory, counts))
        self.processes = [self._fork(number) for number in range(count)]
        self.hubs = [Hub(directory) for _ in range(HUBS)]
        for hub in self.hubs:
            self._selector.register(hub.process.stdout, selectors.EVENT_READ, hub)  # type: ignore[arg-type]
        self._until(lambda: all(hub.counts["looking"] for hub in self.hubs))

    def _fork(self, number: int) -> Process:
        pid, ours = forked(Worker(self._directory, project(number)).serve)
        process = Process(number, pid, ours)
        self._selector.register(ours, selectors.EVENT_READ, process)
        return process

    def paced(self, rounds: int, killed_per_round: int) -> None:
        for ahead in (2, 1):  # so that a third of them is at each point of its round
            self._do(len(self.processes) * ahead // 3, 0)
        for number in range(3 * rounds):
            self._do(len(self.processes), killed_per_round * (number + 1) // 3 - killed_per_round * number // 3)
        self._all_withdraw()

    def free(self, rounds: int, killed_per_round: int) -> None:
        self._step += 1
        to_do = {process.number: rounds for process in self.processes}
        doomed = Counter(random.choices(range(len(self.processes)), k=killed_per_round * rounds))

        def go_on() -> bool:
            for process in [process for process in self.processes if not process.busy and to_do[process.number]]:
                to_do[process.number] -= 1
                self._step += 3
                is_doomed = doomed[process.number] > 0
                doomed[process.number] -= is_doomed
                self._send(process, "cycle", random.choice(POINTS) if is_doomed else "-")
            return not any(process.busy for process in self.processes)

        self._until(go_on, 60)
        self._step += 2  # the last cycle used them
        self._agree()
        self._do(len(self.processes), 0)
        self._all_withdraw()

    def _all_withdraw(self) -> None:
        for process in self.processes:
            if process.state:
                process.state = 2
                self._send(process, "withdraw", "-")
        self._until(lambda: not any(process.busy for process in self.processes))
        self._agree()

    def _do(self, count: int, to_kill: int) -> None:
        """One operation of each process, all at the same time."""
        self._step += 1
        started = time.monotonic()
        doomed = set(random.sample(range(count), to_kill))
        for process in self.processes[:count]:
            point = random.choice(POINTS) if process.number in doomed else "-"
            self._send(process, COMMANDS[process.state], point)
        self._until(lambda: not any(process.busy for process in self.processes))
        self._agree()
        self.slowest_s = max(self.slowest_s, time.monotonic() - started)

    def _send(self, process: Process, command: str, point: str) -> None:
        process.busy, process.point = True, point
        self.operations += 3 if command == "cycle" else 1
        if command in ("register", "change"):
            self.truth[process.id] = self._step
        else:
            self.truth.pop(process.id, None)
        if command != "cycle":
            process.state = (process.state + 1) % 3
        process.socket.sendall(f"{command} {self._step} {point}\n".encode())

    def _agree(self) -> None:
        """Every hub lists just what is true."""
        self._until(lambda: all(hub.listed == self.truth for hub in self.hubs))

    def _until(self, condition: Any, timeout_s: float = SETTLES_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                differences = [sorted(set(hub.listed.items()) ^ set(self.truth.items()))[:5] for hub in self.hubs]
                busy = sum(process.busy for process in self.processes)
                raise SystemExit(f"not settled in step {self._step}: {differences}, {busy} busy")
            for key, _ in self._selector.select(0.05):
                if isinstance(key.data, Hub):
                    if not key.data.read():
                        self._selector.unregister(key.fileobj)
                else:
                    self._answered(key.data)

    def _answered(self, process: Process) -> None:
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = process.socket.recv(4096)
        if answer:
            process.busy = False
        else:
            self._died(process)

    def _died(self, process: Process) -> None:
        _, status = os.waitpid(process.pid, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL or process.point == "-":
            self.wrong.append(["died", process.number, status])
        self.killed[process.point] += 1
        self.truth.pop(process.id, None)
        self._selector.unregister(process.socket)
        process.socket.close()
        self.processes[process.number] = self._fork(process.number)

    def end(self) -> dict[str, Any]:
        for hub in self.hubs:
            assert hub.process.stdin is not None
            hub.process.stdin.write(b".")  # to close it would not do: the forked have it, too
            hub.process.stdin.flush()
        self._until(lambda: all(hub.problems is not None for hub in self.hubs))
        self._reader.sendall(b".")
        read, torn = map(int, self._reader.recv(100).split())
        for process in self.processes:
            os.kill(process.pid, signal.SIGKILL)
        for process in self.processes:
            os.waitpid(process.pid, 0)
        temporary = len(list(self._directory.glob(".*.tmp")))
        asyncio.run(look_once(self._directory))
        return {
            "operations": self.operations,
            "killed": dict(self.killed),
            "events": [{what: hub.counts[what] for what in ("appeared", "changed", "gone")} for hub in self.hubs],
            "wrong": [*self.wrong, *(wrong for hub in self.hubs for wrong in hub.wrong)],
            "hubs_ended": [hub.process.wait(10) for hub in self.hubs],
            "problems": [hub.problems for hub in self.hubs],
            "slowest_step_s": round(self.slowest_s, 3),
            "read": read,
            "torn": torn,
            "temporary_files": temporary,
            "left": sorted(path.name for path in self._directory.iterdir() if path.suffix in (".json", ".tmp")),
        }


async def look_once(directory: Path) -> None:
    """What any hub does when it starts: it sweeps up after the dead."""
    async with Registry(directory) as registry:
        await registry.scan()


def main(directory: Path, count: int, rounds: int, mode: str, killed_per_round: int) -> dict[str, Any]:
    storm = Storm(directory, count)
    started = time.monotonic()
    {"paced": storm.paced, "free": storm.free}[mode](rounds, killed_per_round)
    took_s = time.monotonic() - started
    return {"took_s": round(took_s, 1), **storm.end()}


if __name__ == "__main__":
    folder, processes, times, how, kills = sys.argv[1:]
    sys.stdout.write(json.dumps(main(Path(folder), int(processes), int(times), how, int(kills))) + "\n")
