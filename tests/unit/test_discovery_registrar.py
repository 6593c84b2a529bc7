"""The owner's side."""

import asyncio
import contextlib
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from brummer.discovery import registrar as module
from brummer.discovery.record import Record, decode
from brummer.discovery.registrar import AlreadyRunning, Registrar, StillEnding, last_port, lock_path
from brummer.host.directories import DirectoryUnusable
from brummer.host.locks import FileLock, LocksUnsupported, is_locked
from brummer.host.system import System
from tests.unit.discovery_support import Owner, directory_in_memory, record_of_this_process
from tests.unit.test_host_files import make_read_only, mounted, needs_root

PROJECT = Path("/projects/frontend")


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield path / "brummer" / "instances"


@pytest.fixture
def record() -> Record:
    return record_of_this_process(PROJECT)


def published(registrar: Registrar) -> object:
    return decode(registrar.path.read_bytes(), registrar.path.name)


async def look_after(registrar: Registrar) -> bool:
    return await asyncio.to_thread(registrar.check)


async def running(directory: Path, record: Record) -> Registrar:
    registrar = Registrar(directory, record.instance_id)
    await registrar.acquire()
    await registrar.publish(record)
    return registrar


async def test_an_instance_is_published_for_its_life(directory: Path, record: Record) -> None:
    registrar = await running(directory, record)
    assert published(registrar) == record
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(registrar.path.stat().st_mode) == 0o600
    assert is_locked(lock_path(directory, record.instance_id))
    registrar.withdraw()
    assert not registrar.path.exists()
    assert is_locked(lock_path(directory, record.instance_id)) is False
    registrar.withdraw()


async def test_the_next_run_waits_for_the_scripts_of_one_that_ends(directory: Path, record: Record) -> None:
    first = await running(directory, record)
    first.unpublish()
    assert not first.path.exists()
    assert is_locked(lock_path(directory, record.instance_id)) is False
    second = Registrar(directory, record.instance_id)
    starting = asyncio.create_task(second.acquire())
    async with asyncio.timeout(30):
        while not is_locked(lock_path(directory, record.instance_id)):
            await asyncio.sleep(0)
    assert not starting.done()
    first.withdraw()
    await starting
    second.withdraw()


async def test_scripts_that_do_not_end_are_named_by_their_instance(
    directory: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brummer.discovery.registrar.ENDING_S", 0.01)
    first = await running(directory, record)
    first.unpublish()
    second = Registrar(directory, record.instance_id)
    with pytest.raises(StillEnding) as caught:
        await second.acquire()
    assert caught.value.context["pid"] == os.getpid()
    second.withdraw()
    first.withdraw()


async def test_a_changed_record_replaces_the_first(directory: Path, record: Record) -> None:
    registrar = await running(directory, record)
    changed = msgspec.structs.replace(record, url="http://[::1]:5000/mcp")
    await registrar.publish(changed)
    assert published(registrar) == changed
    registrar.withdraw()


async def test_the_port_of_the_last_run_is_remembered(directory: Path, record: Record) -> None:
    assert last_port(directory, record.instance_id) is None
    (await running(directory, record)).withdraw()
    assert last_port(directory, record.instance_id) == 4000
    next(directory.glob(".*.port")).write_bytes(b"no number")
    assert last_port(directory, record.instance_id) is None


async def test_a_second_run_is_refused_and_told_about_the_first(directory: Path, record: Record) -> None:
    first = await running(directory, record)
    with pytest.raises(AlreadyRunning) as caught:
        await Registrar(directory, record.instance_id).acquire()
    assert (caught.value.url, caught.value.pid, caught.value.name) == (record.url, os.getpid(), record.name)
    first.withdraw()
    second = Registrar(directory, record.instance_id)
    await second.acquire()
    second.withdraw()


async def test_a_first_run_that_has_not_published_yet_is_known_by_its_pid(directory: Path, record: Record) -> None:
    first = Registrar(directory, record.instance_id)
    await first.acquire()
    with pytest.raises(AlreadyRunning) as caught:
        await Registrar(directory, record.instance_id).acquire()
    assert (caught.value.url, caught.value.pid) == (None, os.getpid())
    first.withdraw()


async def test_a_living_owner_counts_even_if_somebody_removed_its_lock_file(directory: Path) -> None:
    directory.mkdir(parents=True)
    owner = await asyncio.to_thread(Owner, directory, PROJECT)
    try:
        await asyncio.to_thread(owner.publish)
        lock_path(directory, owner.record.instance_id).unlink()
        with pytest.raises(AlreadyRunning) as caught:
            await Registrar(directory, owner.record.instance_id).acquire()
        assert caught.value.pid == owner.process.pid
    finally:
        await asyncio.to_thread(owner.kill)


async def test_what_a_crashed_run_left_behind_does_not_hinder_the_next(directory: Path, record: Record) -> None:
    directory.mkdir(parents=True)
    owner = await asyncio.to_thread(Owner, directory, PROJECT)
    await asyncio.to_thread(owner.publish)
    await asyncio.to_thread(owner.kill)
    registrar = await running(directory, record)
    assert published(registrar) == record
    registrar.withdraw()


async def test_a_removed_or_overwritten_record_is_published_again(directory: Path, record: Record) -> None:
    registrar = await running(directory, record)
    registrar.path.unlink()
    assert await look_after(registrar)
    assert published(registrar) == record
    registrar.path.write_bytes(b"garbage")
    assert await look_after(registrar)
    assert published(registrar) == record
    registrar.withdraw()


async def test_a_removed_directory_is_made_again_with_the_lock_in_it(directory: Path, record: Record) -> None:
    registrar = await running(directory, record)
    await asyncio.to_thread(shutil.rmtree, directory.parent)
    assert await look_after(registrar)
    assert published(registrar) == record
    assert is_locked(lock_path(directory, record.instance_id))
    registrar.withdraw()
    assert is_locked(lock_path(directory, record.instance_id)) is False


async def test_it_looks_after_its_record_by_itself(
    directory: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_S", (0.01, 0.01))
    registrar = await running(directory, record)
    keeping = asyncio.create_task(registrar.keep_published())
    for path in (registrar.path, lock_path(directory, record.instance_id)):
        path.unlink()
        async with asyncio.timeout(30):
            while not path.exists():
                await asyncio.sleep(0.005)
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping
    registrar.withdraw()
    assert not await look_after(registrar) or not registrar.path.exists()


def test_the_promise_of_five_seconds_is_kept_by_the_interval() -> None:
    assert module.CHECK_S[1] < 5


async def test_whoever_lost_its_place_waits_and_takes_it_again_when_it_is_free(directory: Path, record: Record) -> None:
    registrar = await running(directory, record)
    await asyncio.to_thread(shutil.rmtree, directory)
    directory.mkdir()
    usurper = FileLock.try_acquire(lock_path(directory, record.instance_id))
    assert usurper is not None
    assert not await look_after(registrar)
    assert isinstance(registrar.problem, AlreadyRunning)
    assert not registrar.path.exists()
    usurper.release()
    assert await look_after(registrar)
    assert registrar.problem is None
    assert published(registrar) == record
    registrar.withdraw()


async def test_only_our_own_record_is_withdrawn(directory: Path, record: Record) -> None:
    registrar = await running(directory, record)
    other = msgspec.structs.replace(record, generation="another-run")
    registrar.path.write_bytes(msgspec.json.encode(other))
    registrar.withdraw()
    assert published(registrar) == other


async def test_a_record_of_another_user_can_not_be_published(directory: Path, record: Record) -> None:
    registrar = await running(directory, record)
    with pytest.raises(ValueError, match="other-00000000"):
        await registrar.publish(msgspec.structs.replace(record, instance_id="other-00000000"))
    registrar.withdraw()


@needs_root
async def test_a_full_directory_says_so_once_and_is_used_when_there_is_room(
    directory: Path, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    with mounted(directory.parent.parent / "small", "size=16k,mode=0700") as place:
        registrar = await running(place, record)
        ballast = place / "ballast"
        registrar.path.unlink()
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            file.write(b"x" * 100_000)
        with caplog.at_level(logging.WARNING):
            assert not await look_after(registrar)
            assert not await look_after(registrar)
        assert isinstance(registrar.problem, DirectoryUnusable)
        assert registrar.problem.reason == "full"
        assert [entry.name for entry in caplog.records if entry.name != "asyncio"] == [module.__name__]
        ballast.unlink()
        assert await look_after(registrar)
        assert published(registrar) == record
        registrar.withdraw()


@needs_root
async def test_a_read_only_directory_is_refused_with_what_to_do(directory: Path, record: Record) -> None:
    with mounted(directory.parent.parent / "readonly", "size=16k,mode=0700") as place:
        await asyncio.to_thread(make_read_only, place)
        with pytest.raises(DirectoryUnusable) as caught:
            await Registrar(place, record.instance_id).acquire()
        assert caught.value.reason == "read_only"
        assert "BRUMMER_INSTANCES_DIR" in caught.value.message


async def test_without_locks_the_record_alone_decides(
    directory: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, system: System) -> FileLock:
        raise LocksUnsupported(path)

    monkeypatch.setattr(FileLock, "try_acquire", refuse)
    registrar = await running(directory, record)
    assert published(registrar) == record
    assert await look_after(registrar)
    registrar.withdraw()
    assert not registrar.path.exists()
