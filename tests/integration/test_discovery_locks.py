"""Who holds a lock may be stopped, be killed, or never let go: waits end, and the error names him."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brummer.discovery.events import Appeared, Gone
from brummer.discovery.record import instance_id_for
from brummer.discovery.registrar import LOCK_WAIT_S, AlreadyRunning, Registrar, lock_path
from brummer.discovery.registry import Registry
from brummer.host.locks import FileLock, LockTimeout, is_locked
from tests.integration.programs import Brum, Program, within
from tests.unit.discovery_support import directory_in_memory, record_of_this_process

# Holds the locks at these paths and never lets go; a directory is locked as such.
HOLDER = """
import fcntl, os, signal, sys
from pathlib import Path
from brummer.host.locks import FileLock

held = []
for path in map(Path, sys.argv[1:]):
    if path.is_dir():
        held.append(os.open(path, os.O_RDONLY))
        fcntl.flock(held[-1], fcntl.LOCK_EX)
    else:
        held.append(FileLock.try_acquire(path))
assert all(lock is not None for lock in held)
print("held", flush=True)
signal.pause()
"""

INSTANCE_ID = instance_id_for(Path("/projects/locked"))
START_S = 3.0
"""For a program to start on a busy machine; any wait for a lock would be over the whole of it."""
SLACK_S = 0.5
HOLDERS = pytest.mark.parametrize("behaviour", ["stopped", "never lets go"])


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield path


def holder(brum: Brum, *paths: Path) -> Program:
    program = brum.python("-c", HOLDER, *paths)
    program.stdout.until("held")
    return program


Stop = Callable[[Program], None]


@pytest.fixture
def stop(brum: Brum) -> Iterator[Stop]:
    """Stops a program; at the end all go on, or they could not be ended gently."""
    stopped: list[Program] = []

    def stop(program: Program) -> None:
        stopped.append(program)
        program.signal(signal.SIGSTOP)
        assert within(2, lambda: _state(program.pid) == "T")

    yield stop
    for program in stopped:
        program.signal(signal.SIGCONT)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.promise("locks-end")
@HOLDERS
async def test_a_wait_for_a_lock_ends_and_names_the_holder(
    brum: Brum, directory: Path, stop: Stop, behaviour: str
) -> None:
    path = directory / "some.lock"
    other = await asyncio.to_thread(holder, brum, path)
    if behaviour == "stopped":
        await asyncio.to_thread(stop, other)
    started = time.monotonic()
    with pytest.raises(LockTimeout) as raised:
        await FileLock.acquire(path, 0.3)
    assert 0.3 <= time.monotonic() - started < 0.3 + SLACK_S
    assert raised.value.holder_pid == other.pid
    assert raised.value.path == path


@HOLDERS
async def test_an_instance_whose_life_lock_is_held_is_refused_at_once_and_told_by_whom(
    brum: Brum,
    directory: Path,
    stop: Stop,
    behaviour: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = await asyncio.to_thread(holder, brum, lock_path(directory, INSTANCE_ID))
    if behaviour == "stopped":
        await asyncio.to_thread(stop, other)
    started = time.monotonic()
    with pytest.raises(AlreadyRunning) as raised:
        await Registrar(directory, INSTANCE_ID).acquire()
    took_s = time.monotonic() - started
    with capsys.disabled():
        sys.stdout.write(f"\nrefused after {took_s:.3f} s, held by {raised.value.pid}\n")
    assert took_s < LOCK_WAIT_S + SLACK_S
    assert raised.value.pid == other.pid


@pytest.mark.promise("locks-end")
async def test_a_killed_holder_frees_its_lock_for_who_waits(
    brum: Brum, directory: Path, stop: Stop, capsys: pytest.CaptureFixture[str]
) -> None:
    path = directory / "some.lock"
    took_s = []
    for stopped in (False, True):
        other = await asyncio.to_thread(holder, brum, path)
        if stopped:
            await asyncio.to_thread(stop, other)
        waiting = asyncio.create_task(FileLock.acquire(path, 10))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        other.signal(signal.SIGKILL)
        killed_at = time.monotonic()
        lock = await waiting
        took_s.append(time.monotonic() - killed_at)
        lock.release()
    with capsys.disabled():
        sys.stdout.write(f"\nthe lock was had {took_s[0] * 1000:.1f} and {took_s[1] * 1000:.1f} ms after the kill\n")
    assert max(took_s) < SLACK_S
    assert is_locked(path) is False


def test_a_second_instance_of_a_stopped_one_is_refused_and_the_first_goes_on(brum: Brum, stop: Stop) -> None:
    project = brum.project("web")
    first = brum.instance(project)
    stop(first)
    started = time.monotonic()
    refused = brum.run("--no-tui", "-d", project)
    took_s = time.monotonic() - started
    assert refused.status == 1
    assert str(first.pid) in refused.stderr
    assert first.url in refused.stderr
    assert took_s < START_S
    assert json.loads((brum.instances / f"{first.id}.json").read_text()) == first.record


def test_who_is_killed_while_stopped_leaves_his_place_to_the_next(brum: Brum, stop: Stop) -> None:
    project = brum.project("web")
    first = brum.instance(project)
    hub = brum.hub().greet()
    stop(first)
    first.signal(signal.SIGKILL)
    first.wait()
    second = brum.instance(project)
    assert second.id == first.id
    assert hub.call("scripts_list", instance=second.id)["scripts"]


def test_nobody_who_starts_waits_for_locks_of_the_directory_or_of_others(
    brum: Brum, stop: Stop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody locked the directory, every lock file in it that is not a start's own, and is stopped."""
    neighbour = brum.instance(brum.project("neighbour"))
    old_hub = brum.hub().greet()
    stop(holder(brum, brum.instances, brum.instances / ".lock", brum.instances / "stray-00000000.lock"))
    stop(neighbour)
    stop(old_hub)
    started = time.monotonic()
    instance = brum.instance(brum.project("web"))
    instance_s = time.monotonic() - started
    started = time.monotonic()
    hub = brum.hub().greet()
    states = {item["instance_id"]: item["state"] for item in hub.call("instances_list")["instances"]}
    hub_s = time.monotonic() - started
    assert states[instance.id] == "ready"
    assert states[neighbour.id] != "gone"
    assert hub.call("scripts_list", instance=instance.id)["scripts"]
    assert brum.run("ls").status == 0
    with capsys.disabled():
        sys.stdout.write(f"\ninstance up after {instance_s:.2f} s, hub has listed after {hub_s:.2f} s\n")
    assert instance_s < START_S
    assert hub_s < START_S + 2.0, "the list waits 2 s for the frozen one's first word"


@pytest.mark.promise("locks-end")
async def test_two_that_want_each_others_locks_both_get_an_answer(brum: Brum, directory: Path) -> None:
    """The shape of a deadlock: each holds what the other wants. Waits are bounded, so both fail, and neither hangs."""
    ours = FileLock.try_acquire(directory / "a.lock")
    assert ours is not None
    script = (
        "import asyncio, sys; from pathlib import Path; from brummer.host.locks import FileLock, LockTimeout\n"
        "folder = Path(sys.argv[1]); b = FileLock.try_acquire(folder / 'b.lock'); print('held', flush=True)\n"
        "try: asyncio.run(FileLock.acquire(folder / 'a.lock', 0.5))\n"
        "except LockTimeout as error: print(error.holder_pid, flush=True)\n"
        "sys.stdin.read()"
    )
    other = await asyncio.to_thread(brum.python, "-c", script, directory)
    await asyncio.to_thread(other.stdout.until, "held")
    with pytest.raises(LockTimeout) as raised:
        await FileLock.acquire(directory / "b.lock", 0.5)
    assert raised.value.holder_pid == other.pid
    assert int(await asyncio.to_thread(other.stdout.line)) == os.getpid()
    ours.release()


async def test_the_birth_of_a_lock_does_not_cost_the_look_that_finds_the_record(directory: Path) -> None:
    async with Registry(directory) as registry:
        await registry.scan()
        record = record_of_this_process()
        registrar = Registrar(directory, record.instance_id)
        await registrar.acquire()
        before = registry.statistics().hints.get("changed", 0)
        await registrar.publish(record)
        assert await asyncio.wait_for(anext(registry), 5) == Appeared(record)
        assert (before, registry.statistics().hints["changed"]) == (0, 1)
        registrar.withdraw()
        assert await asyncio.wait_for(anext(registry), 5) == Gone(record, "withdrawn")
