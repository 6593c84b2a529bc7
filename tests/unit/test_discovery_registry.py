"""The hub's side: looks become events, in order, once per real change."""

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.discovery import owners, roster, scan
from brummer.discovery import registry as module
from brummer.discovery.events import Appeared, Changed, DirectoryEvent, Gone
from brummer.discovery.record import LIMIT_BYTES, Record, encode, file_name
from brummer.discovery.registrar import lock_path
from brummer.discovery.registry import Registry
from brummer.discovery.scan import SETTLED_NS, STEP_S, Scan, Sighting
from brummer.host import filesystems
from brummer.host.directory_watch import DirectoryWatch
from brummer.host.files import temporary_name
from brummer.host.locks import FileLock
from brummer.host.pids import identify, own_identity
from brummer.host.real_system import REAL
from brummer.host.system import Files
from brummer.testing.virtual_time import VirtualClock
from tests.unit.discovery_support import Owner, bad_path, directory_in_memory, put, record_of_this_process
from tests.unit.test_host_files import make_read_only, mounted, needs_root

StartOwner = Callable[[str], Owner]


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield path


@pytest.fixture
async def registry(directory: Path) -> AsyncIterator[Registry]:
    async with Registry(directory) as registry:
        yield registry


@pytest.fixture
def start(directory: Path) -> Iterator[StartOwner]:
    started: list[Owner] = []

    def start_one(name: str) -> Owner:
        started.append(Owner(directory, Path("/projects") / name))
        return started[-1]

    yield start_one
    for owner in started:
        owner.kill()


async def next_event(registry: Registry) -> DirectoryEvent:
    return await asyncio.wait_for(anext(registry), 30)


async def no_more(registry: Registry) -> None:
    """After a full look there is nothing to tell."""
    await registry.scan()
    events: list[DirectoryEvent] = []
    registry.take(events.append)
    assert events == []


async def published(owner: Owner) -> Record:
    return await asyncio.to_thread(owner.publish)


def sibling(record: Record, **changes: object) -> Record:
    """The same instance, seen from another pid namespace than its own."""
    namespace = own_identity().pid_namespace + 1
    return msgspec.structs.replace(record, pid_namespace=namespace, **changes)


async def test_an_instance_appears_changes_and_is_withdrawn(registry: Registry, start: StartOwner) -> None:
    owner = await asyncio.to_thread(start, "frontend")
    first = await published(owner)
    assert await next_event(registry) == Appeared(first)
    owner.record = msgspec.structs.replace(first, name="renamed")
    second = await published(owner)
    assert await next_event(registry) == Changed(first, second)
    assert registry.snapshot() == {first.instance_id: second}
    owner.path.unlink()
    await asyncio.to_thread(owner.end)
    event = await next_event(registry)
    assert isinstance(event, Gone)
    assert event.record == second
    assert registry.snapshot() == {}
    await no_more(registry)


async def test_an_event_is_passed_on_once_and_stays_if_that_fails(directory: Path, registry: Registry) -> None:
    record = record_of_this_process()
    await asyncio.to_thread(put, directory, record)
    await registry.scan()

    def fail(_: DirectoryEvent) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        registry.take(fail)
    passed_on: list[DirectoryEvent] = []
    registry.take(passed_on.append)
    assert passed_on == [Appeared(record)]
    await no_more(registry)


async def test_a_withdrawn_instance_is_gone_though_its_process_lives(directory: Path, registry: Registry) -> None:
    record = record_of_this_process()
    lock = FileLock.try_acquire(lock_path(directory, record.instance_id))
    assert lock is not None
    path = await asyncio.to_thread(put, directory, record)
    assert await next_event(registry) == Appeared(record)
    path.unlink()
    lock.release()
    assert await next_event(registry) == Gone(record, "withdrawn")


async def test_nothing_changes_by_looking_again_or_by_touching_a_file(registry: Registry, start: StartOwner) -> None:
    owner = await asyncio.to_thread(start, "frontend")
    record = await published(owner)
    assert await next_event(registry) == Appeared(record)
    os.utime(owner.path)
    await no_more(registry)
    await published(owner)
    await no_more(registry)


async def test_a_killed_instance_is_gone_at_once_and_its_record_removed(registry: Registry, start: StartOwner) -> None:
    owner = await asyncio.to_thread(start, "frontend")
    record = await published(owner)
    assert await next_event(registry) == Appeared(record)
    owner.process.kill()  # and its body stays: a zombie is dead
    assert await next_event(registry) == Gone(record, "process died")
    assert not owner.path.exists()
    assert lock_path(owner.directory, record.instance_id).exists()
    await no_more(registry)


@pytest.mark.promise("gone-only-by-proof")
async def test_a_stopped_instance_is_alive(registry: Registry, start: StartOwner) -> None:
    owner = await asyncio.to_thread(start, "frontend")
    record = await published(owner)
    owner.process.send_signal(signal.SIGSTOP)
    assert await next_event(registry) == Appeared(record)
    await no_more(registry)
    assert owner.path.exists()


async def test_a_restart_is_a_change_of_generation(directory: Path, registry: Registry, start: StartOwner) -> None:
    owner = await asyncio.to_thread(start, "frontend")
    first = await published(owner)
    await registry.scan()
    owner.process.kill()
    owner.process.wait()
    again = await asyncio.to_thread(start, "frontend")
    second = await published(again)
    events = [await next_event(registry) for _ in range(1)]
    assert events == [Appeared(first)]
    event = await next_event(registry)
    if event == Gone(first, "process died"):
        assert await next_event(registry) == Appeared(second)
    else:
        assert event == Changed(first, second)
    assert again.path.exists()
    await no_more(registry)


async def test_the_death_of_a_new_owner_is_reported_without_a_scan(registry: Registry, start: StartOwner) -> None:
    owner = await asyncio.to_thread(start, "frontend")
    first = await published(owner)
    assert await next_event(registry) == Appeared(first)
    heir = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE)  # no lock, whose release were a hint
    try:
        identity = identify(heir.pid)
        assert identity is not None
        owner.record = msgspec.structs.replace(first, pid=identity.pid, start_token=identity.start_token)
        second = await published(owner)
        assert await next_event(registry) == Changed(first, second)
        await registry.scan()
        scans = registry.statistics().scans
    finally:
        heir.kill()
    assert await next_event(registry) == Gone(second, "process died")
    assert registry.statistics().scans == scans
    await heir.wait()


async def test_a_record_whose_owner_is_dead_is_never_listed_and_is_removed(
    directory: Path, registry: Registry, start: StartOwner
) -> None:
    owner = await asyncio.to_thread(start, "frontend")
    record = owner.record
    recycled = msgspec.structs.replace(record, start_token=record.start_token - 1)
    await asyncio.to_thread(put, directory, recycled)
    await no_more(registry)
    assert not owner.path.exists()
    rebooted = msgspec.structs.replace(record, boot_id="before-the-last-boot")
    await asyncio.to_thread(put, directory, rebooted)
    await no_more(registry)
    assert not owner.path.exists()


async def test_on_a_shared_file_system_another_boot_may_be_another_machine(
    directory: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystems, "filesystem_has_events", lambda path: False)
    path = await asyncio.to_thread(put, directory, record_of_this_process(boot_id="another-machine"))
    await no_more(registry)
    assert [problem.code for problem in registry.problems] == ["other_machine"]
    assert path.exists()
    assert registry.next_scan_s - asyncio.get_running_loop().time() <= module.RESCAN_WITHOUT_HINTS_S * module.JITTER[1]


@pytest.mark.promise("gone-only-by-proof")
async def test_a_record_that_another_program_removes_ends_nothing(
    directory: Path, registry: Registry, start: StartOwner
) -> None:
    owner = await asyncio.to_thread(start, "frontend")
    record = await published(owner)
    assert await next_event(registry) == Appeared(record)
    owner.path.unlink()
    await no_more(registry)
    await asyncio.to_thread(shutil.rmtree, directory)
    await no_more(registry)
    assert registry.snapshot() == {record.instance_id: record}
    directory.mkdir(mode=0o700)
    await published(owner)
    await no_more(registry)
    owner.process.kill()
    assert await next_event(registry) == Gone(record, "process died")


async def test_a_directory_that_is_made_removed_and_made_again_is_followed_without_a_rescan(
    directory: Path, start: StartOwner
) -> None:
    place = directory / "not" / "yet"
    async with Registry(place) as registry:
        await no_more(registry)
        assert registry.problems == []
        for name in ("first", "second"):
            place.mkdir(parents=True, mode=0o700)
            owner = await asyncio.to_thread(Owner, place, Path("/projects") / name)
            record = await published(owner)
            assert await next_event(registry) == Appeared(record)
            await asyncio.to_thread(shutil.rmtree, directory / "not")
            await asyncio.to_thread(owner.kill)
            assert await next_event(registry) == Gone(record, "process died")


async def test_in_another_pid_namespace_the_life_lock_tells(directory: Path, registry: Registry) -> None:
    record = sibling(record_of_this_process(), pid=1)
    lock_file = lock_path(directory, record.instance_id)
    lock = FileLock.try_acquire(lock_file)
    assert lock is not None
    lock_file.write_text("1\n")  # its pid there
    path = await asyncio.to_thread(put, directory, record)
    assert await next_event(registry) == Appeared(record)
    await no_more(registry)
    lock.forget()  # closed, not unlocked: as when its holder is killed
    assert await next_event(registry) == Gone(record, "life lock free")
    assert not path.exists()


async def test_a_lock_file_that_nobody_has_locked_yet_proves_nothing(
    directory: Path, registry: Registry, start: StartOwner
) -> None:
    """The directory was removed; its owner makes the file, and is stopped before it has locked it."""
    owner = await asyncio.to_thread(start, "frontend")
    record = await published(owner)
    assert await next_event(registry) == Appeared(record)
    owner.process.send_signal(signal.SIGSTOP)
    lock_file = lock_path(directory, record.instance_id)
    lock_file.unlink()
    (directory / file_name(record.instance_id)).unlink()
    lock_file.touch()
    await no_more(registry)
    assert registry.snapshot() == {record.instance_id: record}
    owner.process.send_signal(signal.SIGCONT)


async def test_in_another_pid_namespace_nothing_is_proven_without_a_lock_file(
    directory: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = sibling(record_of_this_process(), pid=1)
    path = await asyncio.to_thread(put, directory, record)
    assert await next_event(registry) == Appeared(record)
    path.unlink()
    await no_more(registry)
    monkeypatch.setattr(roster, "RECORD_RETURN_S", 0.0)
    registry.rescan_now("test")
    assert await next_event(registry) == Gone(record, "not published again")


async def test_hostile_files_are_reported_by_kind_and_stop_no_hub(
    directory: Path, registry: Registry, start: StartOwner, caplog: pytest.LogCaptureFixture
) -> None:
    owner = await asyncio.to_thread(start, "frontend")
    record = await published(owner)
    folder, future, itself = (bad_path(directory, name=name) for name in ("folder", "future", "self"))
    os.mkfifo(bad_path(directory, name="fifo"))
    bad_path(directory, name="passwd").symlink_to("/etc/passwd")
    itself.symlink_to(itself.name)
    folder.mkdir()
    bad_path(directory, name="large").write_bytes(b" " * (LIMIT_BYTES + 1))
    bad_path(directory).write_bytes(b"garbage")
    bad_path(directory, name="line\nbreak").write_bytes(b"garbage")
    bad_path(directory, name=os.fsdecode(b"\xff")).write_bytes(b"garbage")
    future.write_bytes(b'{"version": 7}')
    bad_path(directory, name=".").write_bytes(b"hidden")
    (directory / "other.txt").write_bytes(b"not ours")
    (directory / "frontend-00000000.json").write_bytes(encode(record))
    with caplog.at_level(logging.WARNING):
        await registry.scan()
        await registry.scan()
    assert registry.snapshot() == {record.instance_id: record}
    assert registry.statistics().problems == {
        "not_regular": 2,
        "symlink": 2,
        "too_large": 1,
        "malformed": 4,
        "newer_version": 1,
    }
    assert len(registry.problems) == 10
    assert len([entry for entry in caplog.records if entry.name != "asyncio"]) == 5
    assert not any("\n" in problem.path or "\udcff" in problem.path for problem in registry.problems)
    assert future.exists()
    for path in directory.glob("*.json"):
        if path != owner.path:
            path.rmdir() if path == folder else path.unlink()
    await registry.scan()
    assert registry.problems == []


@pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root may chown")
async def test_a_record_of_another_user_is_refused(directory: Path, registry: Registry) -> None:
    path = await asyncio.to_thread(put, directory, record_of_this_process())
    os.chown(path, 65534, 65534)
    await no_more(registry)
    assert [problem.code for problem in registry.problems] == ["foreign_owner"]


@pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root may chown")
async def test_a_directory_of_another_user_is_refused_until_it_is_ours(directory: Path, registry: Registry) -> None:
    record = record_of_this_process()
    await asyncio.to_thread(put, directory, record)
    os.chown(directory, 65534, 65534)
    await no_more(registry)
    assert [problem.code for problem in registry.problems] == ["directory_foreign_owner"]
    os.chown(directory, 0, 0)
    registry.rescan_now("test")
    assert await next_event(registry) == Appeared(record)
    assert registry.problems == []


async def test_a_listed_record_that_is_overwritten_by_garbage_stays_listed(
    registry: Registry, start: StartOwner
) -> None:
    owner = await asyncio.to_thread(start, "frontend")
    record = await published(owner)
    assert await next_event(registry) == Appeared(record)
    owner.path.write_bytes(b"garbage")
    await no_more(registry)
    assert registry.snapshot() == {record.instance_id: record}
    assert [problem.code for problem in registry.problems] == ["malformed"]
    await published(owner)
    await no_more(registry)
    assert registry.problems == []


@needs_root
async def test_what_can_not_be_removed_is_told_and_never_listed(directory: Path, start: StartOwner) -> None:
    with mounted(directory / "readonly", "size=64k,mode=0700") as place:
        owner = await asyncio.to_thread(Owner, place, Path("/projects/frontend"))
        await published(owner)
        await asyncio.to_thread(owner.kill)
        await asyncio.to_thread(make_read_only, place)
        async with Registry(place) as registry:
            await no_more(registry)
            await no_more(registry)
            assert [problem.code for problem in registry.problems] == ["directory_read_only", "stale"]
            assert registry.snapshot() == {}


@needs_root
@pytest.mark.parametrize("options", ["size=16k,mode=0700", "nr_inodes=5,mode=0700"])
async def test_a_directory_without_space_for_a_record_is_reported_until_there_is_some(
    directory: Path, options: str
) -> None:
    with mounted(directory / "small", options) as place:
        ballast = [place / f"ballast-{number}" for number in range(4)]
        for path in ballast:
            await asyncio.to_thread(path.write_bytes, b"x" * 4096)
        async with Registry(place) as registry:
            await no_more(registry)
            assert [problem.code for problem in registry.problems] == ["directory_full"]
            ballast[0].unlink()
            await registry.scan()
            assert registry.problems == []


async def test_a_change_within_one_tick_of_the_file_clock_is_seen(directory: Path, registry: Registry) -> None:
    """The same inode, size and times: the signature can't tell, so a young file is read again."""
    record = record_of_this_process(name="aaaa")
    path = await asyncio.to_thread(put, directory, record)
    status = path.stat()
    assert await next_event(registry) == Appeared(record)
    changed = msgspec.structs.replace(record, name="bbbb")
    with path.open("r+b") as file:
        file.write(encode(changed))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert await next_event(registry) == Changed(record, changed)


async def test_a_young_file_is_read_again_and_an_old_one_is_not(directory: Path) -> None:
    path = await asyncio.to_thread(put, directory, record_of_this_process())

    def signature() -> object:
        return [sighting.signature for step in Scan(directory, {}).steps() for sighting in step]

    assert await asyncio.to_thread(signature) == [None]
    await asyncio.sleep(SETTLED_NS / 1e9 + 0.01)
    status = path.stat()
    assert await asyncio.to_thread(signature) == [
        (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
    ]


async def test_a_listing_that_fails_on_its_way_ends_nobody(
    directory: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = record_of_this_process()
    await asyncio.to_thread(put, directory, record)
    assert await next_event(registry) == Appeared(record)

    def fail(self: Scan) -> Iterator[list[Sighting]]:
        yield []
        raise OSError(errno.EIO, "disk")

    with monkeypatch.context() as patch:
        patch.setattr(Scan, "steps", fail)
        await no_more(registry)
        assert [problem.code for problem in registry.problems] == ["directory_failed"]
    await no_more(registry)
    assert registry.problems == []


async def test_a_hint_that_comes_during_a_look_causes_another(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hint(path: Path) -> bool:
        registry.rescan_now("during")
        return True

    await registry.scan()
    loop = asyncio.get_running_loop()
    assert registry.next_scan_s > loop.time() + 1
    monkeypatch.setattr(filesystems, "filesystem_has_events", hint)
    await registry.scan()
    assert registry.next_scan_s <= loop.time()


async def test_only_changed_files_are_read_again(
    directory: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        await asyncio.to_thread(put, directory, record_of_this_process(Path(f"/projects/{number}")))
    await asyncio.sleep(0.12)
    await registry.scan()
    read: list[str] = []
    real = Scan._read_entry

    def look(self: Scan, entry: "os.DirEntry[str]") -> Iterator[Sighting]:
        for sighting in real(self, entry):
            read.append(sighting.filename)
            yield sighting

    monkeypatch.setattr(Scan, "_read_entry", look)
    await registry.scan()
    assert read == []
    changed = record_of_this_process(Path("/projects/3"), generation="another-run")
    await asyncio.to_thread(put, directory, changed)
    await registry.scan()
    assert read == [file_name(changed.instance_id)]


async def test_the_removal_of_a_dead_record_spares_a_new_one_of_that_name(
    directory: Path, start: StartOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new owner publishes just after we have made sure that the file is the dead one's."""
    owner = await asyncio.to_thread(start, "frontend")
    dead = await published(owner)
    alive = record_of_this_process(Path("/projects/frontend"))
    real, reads = owners._read, []

    def read_then_replace(path: Path, name: str, files: Files) -> Record | None:
        found = real(path, name, files)
        reads.append(path)
        if len(reads) == 1:
            owner.path.write_bytes(encode(alive))
        return found

    monkeypatch.setattr(owners, "_read", read_then_replace)
    assert await asyncio.to_thread(owners.reap, directory, dead)
    assert real(owner.path, owner.path.name, REAL.files) == alive
    assert sorted(path.suffix for path in directory.iterdir()) == [".json", ".lock"]


async def test_temporary_files_of_dead_writers_are_swept(directory: Path, registry: Registry) -> None:
    own = own_identity()
    record = file_name("shop-00000000")
    left = directory / temporary_name(record).replace(f"-{own.pid}-", f"-{2**22 + 1}-")
    ours = directory / temporary_name(record)
    left.touch()
    ours.touch()
    await registry.scan()
    assert not left.exists()
    assert ours.exists()


async def test_a_storm_of_hints_costs_few_looks(directory: Path, registry: Registry) -> None:
    await registry.scan()
    await asyncio.sleep(0.05)
    before = registry.statistics().scans
    waiting = asyncio.create_task(anext(registry))
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        (directory / f"{secrets.token_hex(4)}.txt").touch()
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert 1 <= registry.statistics().scans - before <= 21


async def test_where_no_events_come_it_looks_by_itself(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DirectoryWatch, "_add", lambda self, place: False)
    monkeypatch.setattr(module, "RESCAN_WITHOUT_HINTS_S", 0.02)
    async with Registry(directory) as registry:
        await no_more(registry)
        record = record_of_this_process()
        await asyncio.to_thread(put, directory, record)
        assert await next_event(registry) == Appeared(record)
        assert registry.statistics().watch == "polling"


async def test_a_cancelled_wait_loses_no_event(directory: Path, registry: Registry) -> None:
    record = record_of_this_process()
    await asyncio.to_thread(put, directory, record)
    for turns in range(12):
        waiting = asyncio.ensure_future(anext(registry))
        for _ in range(turns):
            await asyncio.sleep(0)
        if waiting.done():
            assert await waiting == Appeared(record)
            return
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await next_event(registry) == Appeared(record)


async def test_the_iterator_ends_when_the_registry_is_closed(directory: Path) -> None:
    registry = Registry(directory)
    waiting = asyncio.ensure_future(anext(registry, None))
    await asyncio.sleep(0)
    registry.close()
    assert await asyncio.wait_for(waiting, 30) is None
    await registry.scan()


CALL_S = 0.0002
"""The time of one system call in a `WorkSystem`."""


class WorkClock(VirtualClock):
    """Only system calls take time, so a busy machine, a tracer or a garbage collection makes no difference."""

    worked_s = 0.0

    def awake(self) -> float:
        return self.worked_s


class TakesTime:
    """A subject of the system, or an entry of a directory. Each call of it takes `CALL_S`."""

    def __init__(self, subject: Any, clock: WorkClock) -> None:
        self._subject = subject
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._subject, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            self._clock.worked_s += CALL_S
            return found(*arguments, **options)

        return call

    @contextlib.contextmanager
    def scandir(self, path: Path) -> Iterator[Iterator[Any]]:
        """The names alone take no time: the kernel gives hundreds at once."""
        with os.scandir(path) as entries:
            yield (TakesTime(entry, self._clock) for entry in entries)


@pytest.mark.promise("a-hostile-directory")
async def test_thousands_of_files_do_not_hold_up_the_loop(directory: Path) -> None:
    def fill() -> None:
        template = record_of_this_process()
        for number in range(400):
            record = msgspec.structs.replace(template, instance_id=f"project-{number:08x}")
            (directory / file_name(record.instance_id)).write_bytes(encode(record))
        for number in range(1_600):
            bad_path(directory, number).write_bytes(b"garbage")

    await asyncio.to_thread(fill)
    clock = WorkClock(asyncio.get_running_loop())
    files, locks, processes = (TakesTime(each, clock) for each in (REAL.files, REAL.locks, REAL.processes))
    system = msgspec.structs.replace(REAL, files=files, locks=locks, processes=processes, clock=clock)
    pauses_s: list[float] = []

    async def measure() -> None:
        while True:
            started_s = clock.worked_s
            await asyncio.sleep(0)
            pauses_s.append(clock.worked_s - started_s)

    async with Registry(directory, system) as registry:
        measuring = asyncio.create_task(measure())
        await asyncio.sleep(0)
        await registry.scan()
        assert len(registry.snapshot()) == 400
        assert registry.statistics().problems == {"malformed": 1_600}
        for path in directory.iterdir():
            path.unlink()
        await registry.scan()
        assert len(registry.missing()) == 400
        await asyncio.sleep(0)  # so that the last pause ends, too
        measuring.cancel()
    assert clock.worked_s > 2_000 * 4 * CALL_S, "each file is listed, opened, read and closed"
    one_file_s = 20 * CALL_S
    assert max(pauses_s) < STEP_S + one_file_s


async def test_a_record_whose_process_could_not_be_checked_is_read_again(
    directory: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(put, directory, record_of_this_process())
    await asyncio.sleep(0.12)  # its signature counts from then on
    real, failures = owners.judge, [OSError(24, "no descriptor")]

    def judge(*arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*arguments, **options)

    monkeypatch.setattr(roster, "judge", judge)
    await registry.scan()
    assert registry.snapshot() == {}
    await registry.scan()
    assert len(registry.snapshot()) == 1


async def test_a_record_that_could_not_be_read_is_read_again_soon(
    directory: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(put, directory, record_of_this_process())

    def fail(*_: object) -> None:
        raise OSError(13, "not just now")

    with monkeypatch.context() as patch:
        patch.setattr(scan, "_read", fail)
        await registry.scan()
    assert [problem.code for problem in registry.problems] == ["unreadable"]
    assert registry.next_scan_s - asyncio.get_running_loop().time() <= module.RESCAN_WITHOUT_HINTS_S * module.JITTER[1]
    await registry.scan()
    assert (len(registry.snapshot()), registry.problems) == (1, [])
