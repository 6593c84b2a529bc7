import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self
from uuid import uuid4

import psutil
import pytest

from brummer.core.supervisor import Supervisor
from brummer.process.guard import MARK, Guard

WITHIN_S = 30.0
ZOMBIE = psutil.STATUS_ZOMBIE
INSTANCE = """
import asyncio, json, sys
from brummer.instance.detect import Script
from brummer.instance.manager import Manager
from brummer.process.guard import Guard

async def main(generation, commands):
    guard = Guard(generation)
    guard.start()
    async with Manager(generation, guard) as manager:
        manager.output.follow(lambda batch: print(batch.text, flush=True))
        for number, command in enumerate(commands):
            await manager.ensure(Script(f"script{number}", command, "test", "/"))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await guard.close()

asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
"""
ESCAPEE = (
    "import os,sys,time\n"
    "if os.fork(): sys.exit()\n"
    "os.setsid()\n"
    "parent = os.getpid()\n"
    "if os.fork(): sys.exit()\n"
    "while os.getppid() == parent: time.sleep(0.001)\n"
    "print(os.getpid(), flush=True)\n"
    "os.close(1); os.close(2)\n"
    "time.sleep(600)\n"
)
IGNORES_TERM = "trap '' TERM; echo up; while :; do sleep 600; done"


class Owner:
    """A process that stands for an instance, with a manager, a guard and scripts. ``.kill`` is the kill -9."""

    def __init__(self, *commands: list[str] | str) -> None:
        self.generation = uuid4().hex
        self.process = subprocess.Popen(
            [sys.executable, "-c", INSTANCE, self.generation, json.dumps(commands)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout
        self.first_lines = [self.process.stdout.readline() for _ in commands]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=WITHIN_S)

    def started(self) -> list[psutil.Process]:
        """Everything that carries its mark, zombies aside, and its guard."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self.generation or self.generation in process.cmdline():
                    found.append(process)
        return [process for process in found if process.pid != self.process.pid]


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended. A zombie has: process 1 takes its time here."""
    return [process for process in processes if process.is_running() and process.status() != ZOMBIE]


def left_by(owner: Owner) -> list[psutil.Process]:
    """Kill the owner; what lives on after the time that the guard has."""
    started = owner.started()
    deadline = time.monotonic() + WITHIN_S
    owner.process.kill()
    while (left := living(started)) and time.monotonic() < deadline:
        time.sleep(0.005)
    return left


def test_a_killed_instance_leaves_no_process_of_a_group() -> None:
    with Owner("sh -c 'sleep 600 & echo up; wait'; :", "echo up; exec sleep 600") as owner:
        assert len(owner.started()) == 5
        assert left_by(owner) == []


def test_a_killed_instance_leaves_no_process_that_forked_twice_into_a_session_of_its_own() -> None:
    with Owner([sys.executable, "-I", "-S", "-c", ESCAPEE]) as owner:
        assert int(owner.first_lines[0]) in [process.pid for process in owner.started()]
        assert left_by(owner) == []


def test_a_killed_instance_leaves_nothing_that_ignores_sigterm() -> None:
    with Owner(IGNORES_TERM) as owner:
        assert left_by(owner) == []


def test_an_instance_that_ends_in_order_takes_its_guard_and_its_escapees_with_it() -> None:
    with Owner([sys.executable, "-I", "-S", "-c", ESCAPEE], "echo up; exec sleep 600") as owner:
        started = owner.started()
        assert owner.process.stdin
        owner.process.stdin.close()
        owner.process.stdin = None
        assert owner.process.wait(10) == 0
        assert living(started) == []


@pytest.fixture
async def guard() -> AsyncIterator[Guard]:
    guard = Guard(uuid4().hex)
    guard.start()
    supervisor = Supervisor()
    supervisor.start("guard", guard.keep)
    yield guard
    await supervisor.close()
    await guard.close()


def group_of_its_own() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "600"], start_new_session=True)


async def test_the_guard_is_neither_marked_nor_in_our_session(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "of an outer instance")
    inner = Guard(f"inner {uuid4()}")
    await asyncio.to_thread(inner.start)
    assert inner.pid
    environment = await asyncio.to_thread(psutil.Process(inner.pid).environ)
    assert MARK not in environment
    assert os.getsid(inner.pid) == inner.pid != os.getsid(0)
    await inner.close()


async def test_who_kills_all_that_looks_like_brum_does_not_find_the_guard(guard: Guard) -> None:
    assert guard.pid
    command = await asyncio.to_thread(psutil.Process(guard.pid).cmdline)
    assert "brum" not in " ".join(command)


async def test_the_guard_ignores_the_signals_of_a_terminal(guard: Guard) -> None:
    assert guard.pid
    process = psutil.Process(guard.pid)
    await asyncio.to_thread(_until_ignoring, guard.pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    assert process.is_running()
    assert process.status() != psutil.STATUS_ZOMBIE


def _until_ignoring(pid: int) -> None:
    """Its first act; start-up takes 15 ms."""
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
        if ignored & 1 << (signal.SIGTERM - 1) and ignored & 1 << (signal.SIGHUP - 1):
            return


@pytest.mark.promise("only-its-own")
async def test_groups_that_are_empty_again_and_strangers_are_left_alone(guard: Guard) -> None:
    registered, stranger = group_of_its_own(), group_of_its_own()
    guard.add(registered.pid)
    guard.add(stranger.pid)
    guard.remove(stranger.pid)
    await guard.close()
    assert await asyncio.to_thread(registered.wait, WITHIN_S) == -signal.SIGTERM
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


async def test_a_guard_that_was_killed_is_replaced_and_knows_the_groups(
    guard: Guard,
) -> None:
    registered = group_of_its_own()
    guard.add(registered.pid)
    first = guard.pid
    assert first
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(WITHIN_S):
        while guard.pid in {first, None}:
            await asyncio.sleep(0)
    await guard.close()
    assert await asyncio.to_thread(registered.wait, WITHIN_S) == -signal.SIGTERM


async def test_a_guard_that_can_not_be_replaced_at_once_is_replaced_later(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    executable = sys.executable
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert guard.pid
    os.kill(guard.pid, signal.SIGKILL)
    async with asyncio.timeout(WITHIN_S):
        while not any(
            "keep running" in record.message for record in caplog.records if "No such file" in record.message
        ):
            await asyncio.sleep(0)
        assert guard.pid is None
        monkeypatch.setattr(sys, "executable", executable)
        while guard.pid is None:
            await asyncio.sleep(0)


async def test_a_guard_is_watched_again_although_its_process_could_not_be_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_: int) -> None:
        raise OSError(24, "Too many open files")

    guard, supervisor = Guard(uuid4().hex), Supervisor()
    guard.start()
    with monkeypatch.context() as short:
        short.setattr("brummer.process.guard.identify", refused)
        supervisor.start("guard", guard.keep)
        async with asyncio.timeout(WITHIN_S):
            while not supervisor.failures():
                await asyncio.sleep(0)
    first = guard.pid
    assert first
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(WITHIN_S):
        while guard.pid in {first, None}:
            await asyncio.sleep(0)
    assert [failure.code for failure in supervisor.failures()] == ["guard_missing"]
    await supervisor.close()
    await guard.close()


async def test_a_guard_that_can_not_be_started_is_reported_and_the_list_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    guard = Guard(f"outer {uuid4()}")
    guard.start()
    guard.add(12345)
    assert (guard.pid, list(guard.groups)) == (None, [12345])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    await guard.close()
