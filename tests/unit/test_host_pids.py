"""Which process it is, and what it is doing; and to be told of its death."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from brummer.host import exits, pids
from brummer.host.descriptors import lowest_free_descriptor
from brummer.host.exits import ExitWatch, open_exit_fd, watch_exit
from brummer.host.pids import (
    ProcessIdentity,
    identify,
    is_running,
    own_identity,
    process_state,
    same_boot,
    same_namespace,
)
from tests.control_groups import VERSIONS, frozen

Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start_one() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))
        return started[-1]

    yield start_one
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def identity_of(process: subprocess.Popen[bytes]) -> ProcessIdentity:
    identity = identify(process.pid)
    assert identity is not None
    return identity


def make_zombie(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def test_a_process_keeps_its_identity_while_it_lives(start: Start) -> None:
    process = start()
    identity = identity_of(process)
    assert identity == identify(process.pid)
    assert is_running(identity)
    assert same_namespace(identity)


def test_we_are_who_we_are() -> None:
    assert identify(os.getpid()) == own_identity()


def test_a_forked_child_is_another_process() -> None:
    own = own_identity()
    child = os.fork()
    if child == 0:
        os._exit(0 if own_identity() != own and own_identity() == identify(os.getpid()) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_zombie_is_dead(start: Start) -> None:
    process = start()
    identity = identity_of(process)
    make_zombie(process)
    assert identify(process.pid) is None
    assert not is_running(identity)
    state = process_state(process.pid)
    assert state is not None
    assert state.state == "zombie"


def test_a_stopped_process_is_alive_and_is_said_to_be_stopped(start: Start) -> None:
    process = start()
    identity = identity_of(process)
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert is_running(identity)
    state = process_state(process.pid)
    assert state is not None
    assert state.state == "stopped"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_process_in_a_frozen_control_group_has_the_state_frozen(start: Start, version: str) -> None:
    process = start()
    with frozen(process.pid, version):
        state = process_state(process.pid)
        assert state is not None
        assert state.state == "frozen"
        assert is_running(identity_of(process))
    state = process_state(process.pid)
    assert state is not None
    assert state.state != "frozen"


def test_a_process_that_computes_uses_up_ticks() -> None:
    before = process_state(os.getpid())
    assert before is not None
    after = before
    while after.cpu_ticks < before.cpu_ticks + 2:
        sum(range(100_000))
        state = process_state(os.getpid())
        assert state is not None
        after = state
    assert after.state == "running"


def test_nobody_is_nobody() -> None:
    assert identify(2**22 + 1) is None
    assert process_state(2**22 + 1) is None


def test_a_process_with_a_malicious_name_is_read_right(tmp_path: Path) -> None:
    program = tmp_path / ") Z 1 (x"
    program.symlink_to("/bin/cat")
    with subprocess.Popen([str(program)], stdin=subprocess.PIPE) as process:
        identity = identity_of(process)
        assert is_running(identity)


@pytest.mark.promise("a-recycled-pid-is-nobody")
def test_another_start_time_or_boot_or_namespace_is_another_process(start: Start) -> None:
    identity = identity_of(start())
    assert not is_running(msgspec.structs.replace(identity, start_token=identity.start_token + 1))
    assert not same_namespace(msgspec.structs.replace(identity, boot_id="another"))
    assert not same_namespace(msgspec.structs.replace(identity, pid_namespace=1))
    assert not same_namespace(msgspec.structs.replace(identity, time_namespace=1))


def test_no_descriptor_is_given_for_a_dead_or_recycled_process(start: Start) -> None:
    process = start()
    identity = identity_of(process)
    assert open_exit_fd(msgspec.structs.replace(identity, start_token=1)) is None
    make_zombie(process)
    assert open_exit_fd(identity) is None


class Death:
    """Waits for the callback of an exit watch."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._event.set()

    async def wait(self) -> None:
        await asyncio.wait_for(self._event.wait(), 30)


async def watch(identity: ProcessIdentity, death: Death) -> ExitWatch:
    return watch_exit(asyncio.get_running_loop(), identity, death)


async def test_a_death_is_reported_once_though_no_process_reaps_it(start: Start) -> None:
    process, death = start(), Death()
    watching = await watch(identity_of(process), death)
    assert watching.kind in ("pidfd", "kqueue")
    process.kill()
    await death.wait()
    assert process.returncode is None
    watching.close()
    await asyncio.sleep(0)
    assert death.count == 1


async def test_the_death_of_one_that_is_dead_already_is_reported_too(start: Start) -> None:
    process, death = start(), Death()
    identity = identity_of(process)
    make_zombie(process)
    await watch(identity, death)
    assert death.count == 0
    await death.wait()
    assert death.count == 1


async def test_a_closed_watch_says_nothing(start: Start) -> None:
    process, death, second = start(), Death(), Death()
    watching = await watch(identity_of(process), death)
    other = await watch(identity_of(process), second)
    watching.close()
    watching.close()
    process.kill()
    await second.wait()
    assert death.count == 0
    other.close()


async def test_without_descriptors_a_death_is_found_by_looking(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(exits, "_open", refuse)
    monkeypatch.setattr(exits, "POLL_S", 0.01)
    process, death = start(), Death()
    watching = await watch(identity_of(process), death)
    assert watching.kind == "polling"
    await asyncio.sleep(0.03)
    assert death.count == 0
    process.kill()
    await death.wait()
    assert death.count == 1


async def test_a_hint_makes_a_polling_watch_look_at_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exits, "_descriptor_limit", lambda: 0)
    process, death = start(), Death()
    watching = await watch(identity_of(process), death)
    watching.check_now()
    assert death.count == 0
    make_zombie(process)
    watching.check_now()
    assert death.count == 1


async def test_a_stranger_of_another_namespace_can_not_be_watched(start: Start) -> None:
    identity = msgspec.structs.replace(identity_of(start()), pid_namespace=1)
    with pytest.raises(ValueError, match="namespace"):
        await watch(identity, Death())


# Looks that fail.


@pytest.fixture
def no_descriptor(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and no process can be read any more."""
    name = "stat_fields" if sys.platform == "linux" else "mac_processes"
    return lambda: monkeypatch.setattr(pids, name, _refused)


def test_a_process_that_can_not_be_looked_up_is_not_proven_dead(
    start: Start, no_descriptor: Callable[[], None]
) -> None:
    identity = identity_of(start())
    no_descriptor()
    assert is_running(identity)


def test_a_descriptor_is_not_lost_when_its_process_can_not_be_looked_up(
    start: Start, no_descriptor: Callable[[], None]
) -> None:
    identity = identity_of(start())
    lowest = lowest_free_descriptor()
    no_descriptor()
    with pytest.raises(OSError, match="Too many open files"):
        open_exit_fd(identity)
    assert lowest_free_descriptor() == lowest


def test_a_boot_id_that_could_not_be_read_once_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = pids._boot_id()
    pids._boot_id.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(pids, "open", _refused, raising=False)
        with pytest.raises(OSError, match="Too many open files"):
            pids._boot_id()
    assert pids._boot_id() == known


def _refused(*_: object, **__: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_an_unknown_boot_proves_no_other_boot() -> None:
    own = own_identity()
    hidden = msgspec.structs.replace(own, boot_id=pids.UNKNOWN_BOOT)
    assert same_boot(hidden)
    assert not same_namespace(hidden)
    assert not same_boot(msgspec.structs.replace(own, boot_id="another"))


async def test_a_death_is_reported_although_checks_had_failed_for_a_while(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a watch that has no descriptor and so polls."""
    process, death = start(), Death()
    identity = identity_of(process)
    monkeypatch.setattr(exits, "_open", _refused)
    monkeypatch.setattr(exits, "POLL_S", 0.01)
    watch = watch_exit(asyncio.get_running_loop(), identity, death)
    with monkeypatch.context() as patched:
        patched.setattr(pids, "open", _refused, raising=False)
        watch.check_now()
        await asyncio.sleep(0.05)
    assert death.count == 0
    make_zombie(process)
    await death.wait()
    assert death.count == 1
