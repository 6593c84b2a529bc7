"""macOS' own code, with its system calls faked: `fake_mac` says how far the fakes go."""

import asyncio
import ctypes
import errno
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from brummer.host.macos import process_table
from brummer.host.macos.files import F_FULLFSYNC, F_GETPATH, real_path, short_address, support_directory, sync
from brummer.host.macos.kqueue import DirectoryEvents, exit_descriptor
from brummer.host.macos.library import Library
from brummer.host.macos.notifications import watch_notifications
from brummer.host.macos.process_table import ProcessTable, split_arguments
from brummer.host.macos.processes import MacProcesses, listening_port
from brummer.host.macos.routes import watch_routes
from tests.unit import fake_mac
from tests.unit.fake_mac import SSTOP, SZOMB, FakeKernel, FakeLibrary, Process

PID = 4_000_001
"""Beyond what Linux gives."""


def mac_with(*processes: Process, answers: Callable[[int], bool] = lambda _: False) -> tuple[FakeLibrary, MacProcesses]:
    fake = FakeLibrary(lambda: processes)
    return fake, MacProcesses(ProcessTable(fake, lambda _: 0), Library(fake, "arm64"), answers)


@pytest.mark.parametrize("structure", fake_mac.SIZES)
def test_the_fakes_structures_have_the_sizes_of_a_mac(structure: type[ctypes.Structure]) -> None:
    assert ctypes.sizeof(structure) == fake_mac.SIZES[structure]


# The table of processes.


def test_a_process_is_read_as_the_kernel_writes_it() -> None:
    written = Process(PID, parent=7, group=9, user=501, started_us=1_700_000_000_000_123, name="postgres", state=SSTOP)
    table = ProcessTable(FakeLibrary(lambda: [written]), lambda _: 0)
    assert table.entry(PID) == (PID, 7, 9, 501, SSTOP, 1_700_000_000_000_123, "postgres")
    assert table.entries() == [table.entry(PID)]
    assert table.entry(PID + 1) is None


def test_processes_that_start_between_size_and_answer_are_listed_too() -> None:
    some = [Process(PID)]

    def processes() -> list[Process]:
        some.extend(Process(PID + len(some)) for _ in range(5 if len(some) < 20 else 0))
        return some

    assert len(ProcessTable(FakeLibrary(processes), lambda _: 0).entries()) == len(some)


def test_a_table_that_grows_for_ever_is_an_error_and_no_endless_loop() -> None:
    some = [Process(PID)]

    def processes() -> list[Process]:
        some.extend([Process(PID)] * 2 * len(some))
        return some

    with pytest.raises(OSError, match="KERN_PROC_ALL") as caught:
        ProcessTable(FakeLibrary(processes), lambda _: 0).entries()
    assert caught.value.errno == errno.ENOMEM


def test_arguments_and_environment_are_distinguished_and_what_the_kernel_adds_is_left_out() -> None:
    process = Process(PID, arguments=["node", "", "BRUMMER_RUN=no"], environment=["A=1", "BRUMMER_RUN=g/web-1"])
    assert split_arguments(process.procargs()) == (
        [b"node", b"", b"BRUMMER_RUN=no"],
        [b"A=1", b"BRUMMER_RUN=g/web-1"],
    )
    assert split_arguments(b"\1\0\0\0/bin/sleep\0\0sleep\0") == ([b"sleep"], [])


def test_the_arguments_of_another_user_are_hidden() -> None:
    table = ProcessTable(FakeLibrary(lambda: [Process(PID, user=os.geteuid() + 1)]), lambda _: 0)
    assert table.arguments(PID) is None


def test_a_scan_knows_all_that_live_and_the_marks_of_our_own() -> None:
    ours = Process(PID, parent=5, group=6, environment=["BRUMMER_PROCESS=g"])
    unmarked = Process(PID + 1, arguments=["BRUMMER_PROCESS=g"])
    foreign = Process(PID + 2, user=os.geteuid() + 1, environment=["BRUMMER_PROCESS=g"])
    dead, this = Process(PID + 3, state=SZOMB), Process(os.getpid())
    sessions = {PID: 6, PID + 1: 8, PID + 2: 9}
    living, environments = ProcessTable(
        FakeLibrary(lambda: [ours, unmarked, foreign, dead, this]), sessions.__getitem__
    ).scan()
    assert living == {
        PID: (6, 5, ours.started_us, 6),
        PID + 1: (0, 1, unmarked.started_us, 8),
        PID + 2: (0, 1, foreign.started_us, 9),
    }
    assert environments == {PID: b"\0BRUMMER_PROCESS=g\0"}


def test_a_process_that_ends_during_a_scan_has_no_session() -> None:
    def session_of(_: int) -> int:
        raise ProcessLookupError

    living, _ = ProcessTable(FakeLibrary(lambda: [Process(PID)]), session_of).scan()
    assert living[PID][3] == 0


@pytest.mark.parametrize(
    ("started_us", "state", "signals"),
    [
        (Process(PID).started_us, fake_mac.SRUN, [signal.SIGTERM, signal.SIGCONT]),
        (Process(PID).started_us, SZOMB, []),
        (Process(PID).started_us + 1, fake_mac.SRUN, []),
    ],
)
def test_only_that_very_process_is_signalled_and_continued(
    started_us: int, state: int, signals: list[signal.Signals]
) -> None:
    sent: list[tuple[int, int]] = []
    table = ProcessTable(FakeLibrary(lambda: [Process(PID, started_us=started_us, state=state)]), lambda _: 0)
    table.send((PID, Process(PID).started_us), signal.SIGTERM, lambda *each: sent.append(each))
    assert sent == [(PID, number) for number in signals]
    table.send((PID + 1, 0), signal.SIGKILL)


def test_the_guard_can_load_the_table_without_the_package() -> None:
    program = "import runpy, sys; print(runpy.run_path(sys.argv[1])['ProcessTable'].__name__)"
    with Path(process_table.__file__).open("rb") as file:
        ran = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program, f"/dev/fd/{file.fileno()}"],
            pass_fds=[file.fileno()],
            capture_output=True,
            check=True,
        )
    assert ran.stdout == b"ProcessTable\n"


# libproc and its neighbours.


@pytest.mark.parametrize(
    ("process", "state"),
    [
        (Process(PID, state=SSTOP), "stopped"),
        (Process(PID, state=SZOMB), "zombie"),
        (Process(PID, running_threads=1), "running"),
        (Process(PID), "sleeping"),
        (Process(PID, user=os.geteuid() + 1), "sleeping"),
    ],
)
def test_a_process_that_waits_is_not_busy(process: Process, state: str) -> None:
    _, mac = mac_with(process)
    status = mac.status(PID)
    assert status is not None
    assert status[0] == state
    assert status[2] == process.started_us


def test_cpu_time_is_counted_in_ticks_of_ten_milliseconds_on_every_processor() -> None:
    fake, mac = mac_with(Process(PID, cpu_ticks=24_000_000))
    assert mac.status(PID) == ("sleeping", 100, Process(PID).started_us)  # one second of Apple's own
    fake.timebase = (1, 1)
    assert mac.status(PID) == ("sleeping", 2, Process(PID).started_us)
    assert mac.status(PID + 1) is None


def test_memory_is_reported_if_the_system_reports_it() -> None:
    _, mac = mac_with(Process(PID, resident_bytes=12_345_678))
    assert mac.resident_bytes(PID) == 12_345_678
    assert mac.resident_bytes(PID + 1) is None


def test_the_usage_of_a_process_comes_with_its_relatives() -> None:
    process = Process(PID, parent=7, group=8, cpu_ticks=24_000_000, resident_bytes=12_345_678)
    fake = FakeLibrary(lambda: [process])
    mac = MacProcesses(ProcessTable(fake, lambda pid: pid + 1), Library(fake, "arm64"), lambda _: False)
    assert mac.usage(PID) == (7, 8, PID + 1, process.started_us, False, 100, 0, 12_345_678)
    assert mac.usage(PID + 1) is None
    assert mac.start_times() == {PID: process.started_us}
    process.state = SZOMB
    assert mac.usage(PID) == (7, 8, PID + 1, process.started_us, True, 100, 0, 12_345_678)


def test_the_usage_of_another_users_process_is_hidden_but_its_relatives_are_not() -> None:
    process = Process(PID, parent=7, group=8, user=os.geteuid() + 1)
    _, mac = mac_with(process)
    assert mac.usage(PID) == (7, 8, 0, process.started_us, False, None, 0, None)


def test_listening_ports_are_those_of_listening_tcp_sockets() -> None:
    assert listening_port(fake_mac.listening(8080)) == 8080
    assert listening_port(fake_mac.listening(8080, state=4)) is None
    assert listening_port(fake_mac.listening(8080, kind=3)) is None
    assert listening_port(b"") is None


def test_ports_are_found_among_more_descriptors_than_were_asked_for_first() -> None:
    _, mac = mac_with(Process(PID, opened=[(1, number) for number in range(500)], listens=[3000, 9229]))
    assert mac.listening_ports([PID, PID + 1]) == {3000, 9229}


def test_the_owner_of_a_port_is_named_and_one_of_another_user_is_said_to_be_hidden() -> None:
    parent, child = Process(PID, name="node", listens=[5000]), Process(PID + 1, name="worker", listens=[5000, 9])
    dead, hidden = Process(PID + 2, state=SZOMB), Process(PID + 3, user=os.geteuid() + 1, listens=[7000])
    _, mac = mac_with(child, parent, dead, hidden, answers=lambda port: port == 7000)
    assert mac.listeners([5000, 7000, 8000]) == {5000: (PID, "node"), 7000: (0, "")}


def test_a_file_is_known_by_device_and_inode() -> None:
    _, mac = mac_with(Process(PID, opened=[(0x1000004, 7), (0x1000004, 8)], listens=[1]))
    assert mac.has_open(PID, 0x1000004, 8)
    assert not mac.has_open(PID, 0x1000004, 9)
    assert not mac.has_open(PID, 0x1000005, 8)


@pytest.mark.parametrize(("how", "status"), [((1, 3), 3), ((2, 9), -9), ((3, 6), -6)])
def test_the_exit_of_a_child_is_read_once_it_can_be_waited_for(how: tuple[int, int], status: int) -> None:
    fake = FakeLibrary(lambda: [Process(PID)])
    library = Library(fake, "arm64")
    assert library.peek_exit(PID) is None
    fake.exits[PID] = how
    assert library.peek_exit(PID) == status
    with pytest.raises(ChildProcessError):
        library.peek_exit(PID + 1)


@pytest.mark.parametrize("machine", ["arm64", "x86_64"])
def test_the_name_of_a_file_system_is_reported(tmp_path: Path, machine: str) -> None:
    fake = FakeLibrary()
    fake.filesystem = "AppleVirtIOFS"
    assert Library(fake, machine).filesystem_name(tmp_path) == "AppleVirtIOFS"
    with pytest.raises(FileNotFoundError):
        Library(fake, machine).filesystem_name(tmp_path / "none")


def test_a_boot_is_known_by_its_session() -> None:
    fake = FakeLibrary()
    assert Library(fake, "arm64").boot_session() == fake.boot
    fake.boot = ""
    assert Library(fake, "arm64").boot_session() is None


def test_a_buffer_whose_type_is_not_declared_is_refused_as_on_a_mac() -> None:
    """An address passed as an int is cut to 32 bits: the fault that hid all members of a process group."""
    library = FakeLibrary(lambda: [Process(PID)])
    buffer = ctypes.create_string_buffer(96)
    assert library.proc_pidinfo(PID, 4, 0, ctypes.addressof(buffer), len(buffer)) == 0
    assert Library(library, "arm64").process_info(PID, 4, 96) == Process(PID).taskinfo()


# kqueue.


async def told(event: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        await event.wait()
    event.clear()


async def test_a_death_makes_the_descriptor_readable() -> None:
    process = await asyncio.create_subprocess_exec("sleep", "600")
    loop, died = asyncio.get_running_loop(), asyncio.Event()
    kernel = FakeKernel()
    descriptor = exit_descriptor(process.pid, kernel)
    loop.add_reader(descriptor, died.set)
    try:
        process.kill()
        await told(died)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    await process.wait()
    with pytest.raises(ProcessLookupError):
        exit_descriptor(process.pid, kernel)


class Heard:
    """A listener to a directory."""

    def __init__(self) -> None:
        self.happenings: list[str] = []
        self.news = asyncio.Event()

    def __call__(self, happening: str, name: str | None) -> None:
        assert name is None
        self.happenings.append(happening)
        self.news.set()


async def test_changes_and_the_end_of_a_directory_are_reported(tmp_path: Path) -> None:
    place = tmp_path / "instances"
    place.mkdir()
    idle, heard = asyncio.Event(), Heard()
    events = DirectoryEvents(asyncio.get_running_loop(), FakeKernel(), idle.set)
    events.add(place, heard)
    (place / "api.json").touch()
    await told(heard.news)
    assert set(heard.happenings) == {"changed"}
    place.rename(tmp_path / "elsewhere")
    async with asyncio.timeout(10):
        await idle.wait()
    assert heard.happenings[-1] == "lost"
    assert heard.happenings.count("lost") == 1


async def test_a_listener_that_fails_keeps_no_news_from_the_others(tmp_path: Path) -> None:
    def failing(happening: str, name: str | None) -> None:
        raise ValueError

    heard = Heard()
    events = DirectoryEvents(asyncio.get_running_loop(), FakeKernel(), lambda: None)
    watches = [events.add(tmp_path, failing), events.add(tmp_path, heard)]
    (tmp_path / "x").touch()
    await told(heard.news)
    events.remove(watches[0], failing)
    events.remove(watches[1], heard)


async def test_a_queue_closes_with_its_last_watch_and_leaves_no_descriptor(tmp_path: Path) -> None:
    idle, opened = asyncio.Event(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    kernel = FakeKernel()
    events = DirectoryEvents(asyncio.get_running_loop(), kernel, idle.set)
    first, second = Heard(), Heard()
    watches = [events.add(tmp_path, first), events.add(tmp_path, second)]
    events.remove(watches[0], first)
    assert not idle.is_set()
    events.remove(watches[0], first)  # known no more
    assert not idle.is_set()
    events.remove(watches[1], second)
    assert idle.is_set()
    assert len(os.listdir("/proc/self/fd")) == opened  # noqa: PTH208


@pytest.mark.parametrize("at", ["open", "queue"])
async def test_a_directory_that_cannot_be_watched_leaves_nothing_open(tmp_path: Path, at: str) -> None:
    idle, opened = asyncio.Event(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    kernel = FakeKernel()
    events = DirectoryEvents(asyncio.get_running_loop(), kernel, idle.set)
    if at == "queue":
        kernel.queues[0].fails = OSError(errno.ENOMEM, "no memory")
    with pytest.raises(OSError):  # noqa: PT011 — the system's own
        events.add(tmp_path if at == "queue" else tmp_path / "none", Heard())
    assert idle.is_set()
    assert len(os.listdir("/proc/self/fd")) == opened  # noqa: PTH208


async def test_a_queue_that_cannot_be_read_any_more_loses_all_its_watches(tmp_path: Path) -> None:
    kernel, heard = FakeKernel(), Heard()
    idle: list[None] = []
    events = DirectoryEvents(asyncio.get_running_loop(), kernel, lambda: idle.append(None))
    events.add(tmp_path, heard)
    kernel.queues[0].fails = OSError(errno.EBADF, "gone")
    (tmp_path / "x").touch()
    await told(heard.news)
    assert heard.happenings == ["lost"]
    assert idle


async def test_a_loop_that_cannot_watch_the_queue_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, kernel = asyncio.get_running_loop(), FakeKernel()

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(loop, "add_reader", refuse)
    opened = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(PermissionError):
        DirectoryEvents(loop, kernel, lambda: None)
    assert len(os.listdir("/proc/self/fd")) == opened  # noqa: PTH208


async def test_a_watch_is_removed_by_a_listener_that_equals_its_own(tmp_path: Path) -> None:
    """Each mention of a method makes another object of it."""
    idle = asyncio.Event()
    heard = Heard()
    events = DirectoryEvents(asyncio.get_running_loop(), FakeKernel(), idle.set)
    events.remove(events.add(tmp_path, heard.__call__), heard.__call__)
    assert idle.is_set()


# Hints.


async def test_a_notification_is_told_and_ends_with_its_watch() -> None:
    fake, posted = FakeLibrary(), asyncio.Event()
    fake.refused_notifications = {b"refused"}
    stop = watch_notifications(asyncio.get_running_loop(), [b"wake", b"refused"], posted.set, Library(fake, "arm64"))
    os.write(fake.notifications[b"wake"], struct.pack(">i", 0))
    await told(posted)
    stop()
    assert fake.cancelled == [0]


@pytest.fixture
def routes() -> Iterator[tuple[socket.socket, socket.socket]]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    yield pair
    for each in pair:
        each.close()


def message(kind: int) -> bytes:
    """The head of a struct rt_msghdr: length, version, type."""
    return struct.pack("<HBB", 92, 5, kind).ljust(92, b"\0")


async def test_only_messages_that_tell_of_a_change_are_hints(routes: tuple[socket.socket, socket.socket]) -> None:
    ours, kernels = routes
    fake, hinted = FakeLibrary(), asyncio.Event()
    stop = watch_routes(asyncio.get_running_loop(), hinted.set, lambda _: None, Library(fake, "arm64"), lambda: ours)
    for silent in (0x7, 0xF, 0x10):
        kernels.send(message(silent))
    await asyncio.sleep(0.01)
    assert not hinted.is_set()
    kernels.send(message(0x1))  # RTM_ADD
    await told(hinted)
    os.write(next(iter(fake.notifications.values())), b"1234")
    await told(hinted)
    stop()
    assert ours.fileno() == -1


class Failing:
    """A routing socket that fails once it is readable."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self._sock, self._number = sock, number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, _: int) -> bytes:
        self._sock.recv(92)
        raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENETDOWN])
async def test_lost_messages_are_a_hint_and_any_other_error_ends_the_hints(
    routes: tuple[socket.socket, socket.socket], number: int
) -> None:
    ours, kernels = routes
    hinted, failed = asyncio.Event(), asyncio.Event()
    failing = cast("socket.socket", Failing(ours, number))
    stop = watch_routes(
        asyncio.get_running_loop(),
        hinted.set,
        lambda _: failed.set(),
        Library(FakeLibrary(), "arm64"),
        lambda: failing,
    )
    kernels.send(message(0x1))
    await told(hinted if number == errno.ENOBUFS else failed)
    assert not (hinted if number != errno.ENOBUFS else failed).is_set()
    stop()


async def test_a_routing_socket_closes_if_the_notification_fails(routes: tuple[socket.socket, socket.socket]) -> None:
    class Broken:
        def register_notification(self, name: bytes) -> tuple[int, int] | None:
            raise OSError(errno.ENOSYS, "none")

        def cancel_notification(self, token: int) -> None:
            raise AssertionError

    with pytest.raises(OSError, match="none"):
        watch_routes(asyncio.get_running_loop(), lambda: None, lambda _: None, Broken(), lambda: routes[0])
    assert routes[0].fileno() == -1


# Files.


def test_a_path_is_what_the_file_system_says_it_is(tmp_path: Path) -> None:
    typed = tmp_path / "APP"
    typed.mkdir()

    def control(descriptor: int, command: int, room: bytes) -> bytes:
        assert command == F_GETPATH
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        return os.fsencode(path.with_name("App")).ljust(len(room), b"\0")

    (tmp_path / "link").symlink_to(typed)
    assert real_path(typed, control) == real_path(tmp_path / "link", control) == str(tmp_path / "App")
    assert real_path(tmp_path / "none", control) == str(tmp_path / "none")


def test_where_the_file_system_does_not_tell_the_path_is_taken_as_it_is(tmp_path: Path) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.ENOTSUP, "no")

    assert real_path(tmp_path, refuse) == str(tmp_path)


def test_a_write_reaches_the_disk_where_the_file_system_can_do_that() -> None:
    calls: list[tuple[str, int]] = []

    def control(descriptor: int, command: int) -> int:
        assert command == F_FULLFSYNC
        calls.append(("full", descriptor))
        if descriptor == 4:
            raise OSError(errno.ENOTSUP, "no")
        return 0

    for descriptor in (3, 4):
        sync(descriptor, lambda fd: calls.append(("fsync", fd)), control)
    assert calls == [("full", 3), ("full", 4), ("fsync", 4)]


def test_a_socket_with_a_long_path_is_bound_and_found_by_a_short_one(tmp_path: Path) -> None:
    place = tmp_path / ("Application Support " * 5)
    place.mkdir()
    path = place / f"hub-{'1' * 40}.sock"
    assert len(os.fsencode(path)) > 107
    listener, client = (socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2))
    with listener, client:
        with short_address(path, 103) as address:
            listener.bind(address)
        listener.listen()
        with short_address(path, 103) as address:
            client.connect(address)
            left = Path(address).parent.parent
        assert path.is_socket()
    assert not left.exists()


def test_a_name_that_fits_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"), short_address(tmp_path / ("x" * 120), 103):
        pass


def test_the_place_of_all_that_is_ours_comes_from_the_user_database() -> None:
    class Entry:
        pw_dir = "/Users/jane"

    users: list[int] = []

    def entry_of(user: int) -> Any:
        users.append(user)
        return Entry

    assert support_directory(entry_of) == Path("/Users/jane/Library/Application Support/brummer")
    assert users == [os.geteuid()]
