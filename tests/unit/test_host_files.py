"""Files that several processes share."""

import contextlib
import ctypes
import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.host.directories import DirectoryUnusable, private_directory
from brummer.host.files import (
    FileRefused,
    is_abandoned,
    read_bounded,
    temporary_name,
    write_atomically,
)
from brummer.host.filesystems import filesystem_has_events, filesystem_name, is_tmpfs
from brummer.host.locks import is_locked
from brummer.host.pids import own_identity
from brummer.host.real_system import REAL

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root may mount and chown")


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """A small tmpfs."""
    libc = ctypes.CDLL(None, use_errno=True)
    place.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, options.encode()) != 0:
        pytest.skip("platform: mounting is forbidden here")
    try:
        yield place
    finally:
        libc.umount2(os.fsencode(place), 2)


def make_read_only(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True, timeout=10)


def as_nobody(action: Callable[[], None]) -> int:
    """Run it in a forked child without root's privileges; the exit status is 0 if it did not raise."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_written_file_has_the_content_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert read_bounded(path, 100) == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.promise("records-are-private")
def test_readers_never_see_a_torn_file_while_it_is_replaced(tmp_path: Path) -> None:
    path, contents = tmp_path / "record.json", [letter * 200_000 for letter in (b"a", b"b")]
    write_atomically(path, contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(60):
            write_atomically(path, contents[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(read_bounded(path, 1 << 20))
    writer.join()
    assert seen <= set(contents)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, b"old")

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@needs_root
def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=16k") as place:
        path = place / "record.json"
        write_atomically(path, b"old")
        with pytest.raises(OSError, match="space") as caught:
            write_atomically(path, b"x" * 100_000)
        assert DirectoryUnusable.because_of(place, caught.value).reason == "full"
        assert path.read_bytes() == b"old"
        assert list(place.iterdir()) == [path]


@needs_root
def test_a_read_only_file_system_is_an_error_that_says_so(tmp_path: Path) -> None:
    with mounted(tmp_path / "readonly", "size=16k,mode=0700") as place:
        make_read_only(place)
        with pytest.raises(OSError, match="Read-only") as caught:
            write_atomically(place / "record.json", b"x")
        assert DirectoryUnusable.because_of(place, caught.value).reason == "read_only"


def test_what_can_not_be_a_record_is_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    (tmp_path / "directory").mkdir()
    (tmp_path / "large").write_bytes(b"x" * 101)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        refusals = {}
        for name in ("fifo", "loop", "passwd", "directory", "large", "socket"):
            with pytest.raises(FileRefused) as caught:
                read_bounded(tmp_path / name, 100)
            refusals[name] = caught.value.reason
    assert refusals == {
        "fifo": "not_regular",
        "loop": "symlink",
        "passwd": "symlink",
        "directory": "not_regular",
        "large": "too_large",
        "socket": "not_regular",
    }


@needs_root
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"{}")
    os.chown(path, 65534, 65534)
    with pytest.raises(FileRefused) as caught:
        read_bounded(path, 100)
    assert caught.value.reason == "foreign_owner"


def test_a_missing_file_is_reported_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "record.json", 100)


def test_a_private_directory_is_made_with_its_parents_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "brummer" / "instances"
    private_directory(path)
    assert [stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent)] == [0o700, 0o700]


def test_a_directory_of_ours_that_others_may_enter_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "instances"
    path.mkdir()
    path.chmod(0o777)
    private_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_what_is_not_a_directory_of_ours_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    reasons = {}
    for name in ("link", "file", "file/below", "missing"):
        with pytest.raises(DirectoryUnusable) as caught:
            private_directory(tmp_path / name, create=name == "file/below")
        reasons[name] = caught.value.reason
        assert caught.value.context["path"] == str(tmp_path / name)
    assert reasons == {
        "link": "symlink",
        "file": "not_a_directory",
        "file/below": "not_a_directory",
        "missing": "missing",
    }


@needs_root
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "instances"
    path.mkdir(mode=0o700)
    os.chown(path, 65534, 65534)
    with pytest.raises(DirectoryUnusable) as caught:
        private_directory(path)
    assert caught.value.reason == "foreign_owner"


@needs_root
def test_a_place_where_we_may_not_write_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o755)
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_mode & 0o005 != 0o005 and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o055)

    def refused() -> None:
        with pytest.raises(DirectoryUnusable) as caught:
            private_directory(closed / "instances")
        assert caught.value.reason == "forbidden"

    assert as_nobody(refused) == 0


def test_a_temporary_file_of_a_living_writer_is_not_abandoned(tmp_path: Path) -> None:
    path = tmp_path / temporary_name("record.json")
    path.touch()
    assert not is_abandoned(path)


def test_a_temporary_file_is_abandoned_when_its_writer_is_dead(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from brummer.host.files import temporary_name;"
        "path = pathlib.Path(sys.argv[1]) / temporary_name('record.json'); path.touch(); print(path);"
        "sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, stdout=subprocess.PIPE, timeout=20)
    path = Path(died.stdout.decode().strip())
    assert path.exists()
    assert is_abandoned(path)


def test_a_temporary_file_of_another_pid_namespace_is_abandoned_only_when_it_is_old(tmp_path: Path) -> None:
    own = own_identity()
    foreign = temporary_name("x").replace(f"-{own.pid_namespace}-", f"-{own.pid_namespace + 1}-")
    path = tmp_path / foreign
    path.touch()
    assert not is_abandoned(path)
    os.utime(path, (0, 0))
    assert is_abandoned(path)


def test_a_temporary_file_is_spared_while_young_if_its_writers_pid_lives_with_another_start_time(
    tmp_path: Path,
) -> None:
    """The pid may have been given away, or the writer may be in another time namespace."""
    own = own_identity()
    path = tmp_path / temporary_name("x").replace(f"-{own.start_token}-", "-1-")
    path.touch()
    assert not is_abandoned(path)
    os.utime(path, (0, 0))
    assert is_abandoned(path)


@pytest.mark.parametrize("name", [".hidden.tmp", ".x.json.a-b-c-d-e.tmp", "x.json", ".x.1-2-3-4.tmp"])
def test_a_hidden_file_that_is_not_ours_is_never_abandoned(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (0, 0))
    assert not is_abandoned(tmp_path / name)


def test_the_kind_of_file_system_is_known() -> None:
    assert filesystem_name(Path("/proc")).startswith("0x")
    assert filesystem_has_events(Path("/"))
    assert filesystem_has_events(Path("/does/not/exist"))
    assert not is_tmpfs(Path("/does/not/exist"))
    if os.path.ismount("/dev/shm"):
        assert is_tmpfs(Path("/dev/shm"))


class _NoStatus:
    """The module `os`, whose fstat fails; ``open_files`` counts descriptors."""

    def __init__(self) -> None:
        self.open_files = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, *arguments: Any) -> int:
        self.open_files += 1
        return os.open(*arguments)

    def close(self, descriptor: int) -> None:
        self.open_files -= 1
        os.close(descriptor)

    def fstat(self, _: int) -> os.stat_result:
        raise OSError(errno.EIO, "no")


def test_a_file_whose_status_can_not_be_read_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    failing: Any = _NoStatus()
    with pytest.raises(OSError, match="no"):
        read_bounded(path, 10, failing)
    assert failing.open_files == 0


def test_a_lock_whose_file_can_not_be_checked_may_be_held_or_not(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.write_bytes(b"")
    failing: Any = _NoStatus()
    assert is_locked(path, msgspec.structs.replace(REAL, files=failing)) is None
    assert failing.open_files == 0
