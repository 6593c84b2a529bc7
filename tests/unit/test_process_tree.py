import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import uuid4

import pytest

from brummer.host.pids import ProcessIdentity, identify
from brummer.process import process_tree
from brummer.process.guard_main import Scan
from brummer.process.process_tree import ProcessTree, Scans, TreeUsage

WITHIN_S = 30


class Counted:
    """A look that can be held up, and says which one it was."""

    def __init__(self) -> None:
        self.count = 0
        self.go = threading.Semaphore(0)
        self.fails = False

    def __call__(self) -> Scan:
        self.count += 1
        number = self.count
        assert self.go.acquire(timeout=10)
        if self.fails:
            raise OSError
        return {number: (0, 0, 0, 0)}, {}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    looking = Counted()
    monkeypatch.setattr(process_tree, "scan", looking)
    return looking


async def test_who_asks_at_the_same_time_shares_a_look_and_who_asks_during_one_gets_the_next(counted: Counted) -> None:
    scans = Scans()
    first = [asyncio.create_task(scans.scan()) for _ in range(20)]
    while not counted.count:
        await asyncio.sleep(0)
    late = [asyncio.create_task(scans.scan()) for _ in range(20)]
    await asyncio.sleep(0)
    counted.go.release(2)
    assert {tuple(living) for living, _ in await asyncio.gather(*first)} == {(1,)}
    assert {tuple(living) for living, _ in await asyncio.gather(*late)} == {(2,)}
    assert counted.count == 2


async def test_who_gives_up_costs_the_others_nothing(counted: Counted) -> None:
    scans = Scans()
    gives_up, waits = (asyncio.create_task(scans.scan()) for _ in range(2))
    await asyncio.sleep(0)
    gives_up.cancel()
    counted.go.release()
    assert (await waits)[0] == {1: (0, 0, 0, 0)}
    assert gives_up.cancelled()


async def test_a_look_that_fails_fails_for_all_who_shared_it_and_not_for_later_ones(counted: Counted) -> None:
    scans = Scans()
    counted.fails = True
    counted.go.release(2)
    failed = await asyncio.gather(scans.scan(), scans.scan(), return_exceptions=True)
    assert [type(each) for each in failed] == [OSError, OSError]
    counted.fails = False
    assert (await scans.scan())[0] == {2: (0, 0, 0, 0)}


async def test_members_are_not_guessed_where_processes_can_not_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> Scan:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(process_tree, "scan", refused)
    with pytest.raises(PermissionError):
        await ProcessTree(700, "BRUMMER_RUN=x", Scans()).members()


class Escapee(NamedTuple):
    """A process that has left its group, and the environment variable by which its run is known."""

    process: "subprocess.Popen[bytes]"
    mark: str


@pytest.fixture
def escapees() -> Iterator[list[Escapee]]:
    """Of two runs."""
    started = []
    for _ in range(2):
        run = uuid4().hex
        environment = {**os.environ, "BRUMMER_RUN": run}
        process = subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True)
        started.append(Escapee(process, f"BRUMMER_RUN={run}"))
    yield started
    for process, _ in started:
        process.kill()
        process.wait(WITHIN_S)


def short(_: int) -> ProcessIdentity | None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.skipif(sys.platform != "linux", reason="platform: macOS hides the environment of its own programs")
@pytest.mark.promise("only-its-own")
@pytest.mark.parametrize("look_up", [identify, short], ids=["a descriptor is left", "none is left to watch it"])
@pytest.mark.parametrize("grace_s", [0.0, 600.0])
async def test_what_left_the_group_of_a_run_ends_and_what_belongs_to_another_run_does_not(
    escapees: list[Escapee],
    monkeypatch: pytest.MonkeyPatch,
    look_up: Callable[[int], ProcessIdentity | None],
    grace_s: float,
) -> None:
    monkeypatch.setattr(process_tree, "identify", look_up)
    (escapee, mark), (of_another, _) = escapees
    tree = ProcessTree(escapee.pid + 1, mark, Scans())
    async with asyncio.timeout(WITHIN_S):
        assert await tree.end_escapees(grace_s)
        assert not await tree.end_escapees(grace_s)
    assert await asyncio.to_thread(escapee.wait, WITHIN_S) == -signal.SIGTERM
    assert of_another.poll() is None


def test_usage_grows_with_what_is_seen_and_knows_nothing_before() -> None:
    usage = TreeUsage()
    assert (usage.cpu_s, usage.peak_bytes) == (None, None)
    usage.see(2.0, 100)
    usage.see(None, None)
    usage.see(1.0, 300)
    assert (usage.cpu_s, usage.peak_bytes) == (2.0, 300)


def test_at_the_end_the_kernels_account_is_joined_by_those_that_outlived_the_leader() -> None:
    usage = TreeUsage()
    usage.see(1.0, 100)
    usage.leader_died()
    usage.see_left(4.0)
    usage.see_left(3.0)
    usage.reaped(2.0, None)
    assert (usage.cpu_s, usage.peak_bytes) == (6.0, 100)


def test_at_the_end_what_was_seen_before_counts_if_it_is_more() -> None:
    usage = TreeUsage()
    usage.see(9.0, 100)
    usage.leader_died()
    usage.reaped(2.0, 300)
    assert (usage.cpu_s, usage.peak_bytes) == (9.0, 300)


def test_a_daemon_that_lives_on_adds_nothing_to_the_run_that_has_ended() -> None:
    usage = TreeUsage()
    usage.leader_died()
    usage.reaped(2.0, 300)
    usage.see(50.0, 5000)
    assert (usage.cpu_s, usage.peak_bytes) == (2.0, 300)


async def test_the_dead_leader_is_not_counted_among_those_that_it_left(
    monkeypatch: pytest.MonkeyPatch, escapees: list[Escapee]
) -> None:
    """A scan that began before its death may still name it."""
    leader, left = (escapee.process.pid for escapee in escapees)
    named = [leader, left]
    monkeypatch.setattr(process_tree, "scan", lambda: (dict.fromkeys(named, (leader, 0, 0, 0)), {}))
    both, alone = (ProcessTree(leader, "BRUMMER_RUN=x", Scans()) for _ in range(2))
    both.usage.leader_died()
    assert await both.pids() == [leader, left]
    named.remove(left)
    alone.usage.leader_died()
    assert await alone.pids() == [leader]
    assert (both.usage.peak_bytes is None, alone.usage.peak_bytes) == (False, None)
