"""Control groups of the test's own, of either version, in which processes can be frozen."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

VERSIONS: Final = ("1", "2")


@contextmanager
def frozen(pid: int, version: str) -> Iterator[None]:
    """Freeze the process while the block runs; its group is removed afterwards."""
    group = _made(version)
    before = _path_of(pid, version)
    file, freeze, thaw = ("freezer.state", "FROZEN", "THAWED") if version == "1" else ("cgroup.freeze", "1", "0")
    try:
        (group / "cgroup.procs").write_text(str(pid))
        (group / file).write_text(freeze)
        _until_frozen(group)
        yield
    finally:
        (group / file).write_text(thaw)
        (before / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def _root(version: str) -> Path:
    if version == "1":
        return Path("/sys/fs/cgroup/freezer")
    places = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
    return next((place for place in places if (place / "cgroup.controllers").exists()), places[0])


def _made(version: str) -> Path:
    group = _root(version) / f"brummer-{uuid.uuid4().hex}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip(f"platform: no control groups of version {version} to be had here")
    return group


def _path_of(pid: int, version: str) -> Path:
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if (version == "1" and "freezer" in controllers.split(",")) or (version == "2" and not controllers):
            return _root(version) / path.lstrip("/")
    raise LookupError(version)


def _until_frozen(group: Path) -> None:
    files = [group / "freezer.state", group / "cgroup.events"]
    deadline = time.monotonic() + 10
    while not any("FROZEN" in (text := file.read_text()) or "frozen 1" in text for file in files if file.exists()):
        assert time.monotonic() < deadline, list(group.iterdir())
        time.sleep(0.001)


@contextmanager
def no_process_more_for(pid: int) -> Iterator[None]:
    """It can start no process and no thread while the block runs. Version 1; its group is removed afterwards."""
    root = Path("/sys/fs/cgroup/pids")
    group = _group_for_pids()
    before = next(
        root / line.split(":", 2)[2].lstrip("/")
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        if "pids" in line.split(":", 2)[1].split(",")
    )
    try:
        (group / "cgroup.procs").write_text(str(pid))
        (group / "pids.max").write_text((group / "pids.current").read_text())
        yield
    finally:
        (before / "cgroup.procs").write_text(str(pid))
        group.rmdir()


@contextmanager
def of_one_process() -> Iterator[Path]:
    """A file of a new group: who writes its number there can start neither a process nor a thread. All in it must have
    ended before the block does.
    """
    group = _group_for_pids()
    try:
        (group / "pids.max").write_text("1")
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


def _group_for_pids() -> Path:
    group = Path("/sys/fs/cgroup/pids") / f"brummer-{uuid.uuid4().hex}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("platform: no control group of version 1 for pids to be had here")
    return group
