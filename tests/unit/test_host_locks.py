"""One process at a time."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from brummer.host.files import FileRefused
from brummer.host.locks import FileLock, LockTimeout, is_locked, was_released

HOLDER = """
import sys, time, pathlib
from brummer.host.locks import FileLock
lock = FileLock.try_acquire(pathlib.Path(sys.argv[1]))
print("held" if lock else "busy", flush=True)
sys.stdin.read()
"""


def start_holder(path: Path) -> subprocess.Popen[bytes]:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


def end(holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.communicate(timeout=10)


def test_a_lock_excludes_a_second_holder_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    lock = FileLock.try_acquire(path)
    assert lock is not None
    assert FileLock.try_acquire(path) is None
    lock.release()
    again = FileLock.try_acquire(path)
    assert again is not None
    again.release()
    assert path.exists()


def test_a_probe_tells_held_from_free_and_disturbs_neither(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert is_locked(path) is None
    lock = FileLock.try_acquire(path)
    assert lock is not None
    assert is_locked(path) is True
    assert lock.is_in_place()
    lock.release()
    assert is_locked(path) is False


def test_only_a_lock_that_names_its_last_holder_was_released_by_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert not was_released(path, os.getpid())
    path.touch()  # as a process has made it that has not locked it yet
    assert not was_released(path, os.getpid())
    lock = FileLock.try_acquire(path)
    assert lock is not None
    assert not was_released(path, os.getpid())
    lock.release()
    assert was_released(path, os.getpid())
    assert not was_released(path, os.getpid() + 1)


def test_a_lock_is_not_in_place_when_its_file_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    lock = FileLock.try_acquire(path)
    assert lock is not None
    path.unlink()
    assert not lock.is_in_place()
    path.touch()
    assert not lock.is_in_place()
    lock.release()


def test_a_lock_on_a_file_that_was_replaced_meanwhile_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, turns = tmp_path / "x.lock", fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        turns.append(descriptor)
        if len(turns) == 1:
            path.unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = FileLock.try_acquire(path)
    assert lock is not None
    assert lock.is_in_place()
    assert len(turns) == 2
    lock.release()


def test_what_is_not_a_file_is_no_lock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.lock")
    (tmp_path / "link.lock").symlink_to("elsewhere")
    with pytest.raises(FileRefused):
        FileLock.try_acquire(tmp_path / "fifo.lock")
    with pytest.raises(OSError, match="link"):
        FileLock.try_acquire(tmp_path / "link.lock")
    assert is_locked(tmp_path / "fifo.lock") is None
    assert not (tmp_path / "elsewhere").exists()


async def test_a_wait_for_a_stopped_holder_ends_in_time_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    holder = await asyncio.to_thread(start_holder, path)
    try:
        holder.send_signal(signal.SIGSTOP)
        with pytest.raises(LockTimeout) as caught:
            async with asyncio.timeout(30):
                await FileLock.acquire(path, 0.1)
        assert caught.value.holder_pid == holder.pid
        assert caught.value.context["holder_pid"] == holder.pid
        assert caught.value.retryable
    finally:
        await asyncio.to_thread(end, holder)


async def test_the_lock_of_a_killed_holder_is_had_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    holder = await asyncio.to_thread(start_holder, path)
    waiter = asyncio.create_task(FileLock.acquire(path, 5))
    await asyncio.sleep(0)
    await asyncio.to_thread(end, holder)
    lock = await waiter
    lock.release()


def test_a_forked_child_does_not_keep_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    lock = FileLock.try_acquire(path)
    assert lock is not None
    ready, started = os.pipe()
    waiting, ended = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ended)
        os.write(started, b"x")
        os.read(waiting, 1)
        os._exit(0)
    os.read(ready, 1)
    lock.forget()  # closes without unlocking, as the parent's death would
    try:
        assert is_locked(path) is False
    finally:
        for descriptor in (ended, waiting, ready, started):
            os.close(descriptor)
        os.waitpid(child, 0)


def test_a_started_program_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    lock = FileLock.try_acquire(path)
    assert lock is not None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        lock.forget()
        assert is_locked(path) is False
