"""Hints that a directory has changed."""

import asyncio
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.host import directory_events
from brummer.host.directory_watch import DirectoryWatch, Hint
from brummer.host.real_system import REAL
from brummer.host.system import System
from tests.unit.discovery_support import bad_path, directory_in_memory


class Watched:
    """A directory watch and the hints it gave, to be awaited."""

    def __init__(self, path: Path, system: System = REAL) -> None:
        self.path = path
        self.hints: list[Hint] = []
        self._arrived = asyncio.Event()
        self.watch = DirectoryWatch(asyncio.get_running_loop(), path, self._note, system)

    def _note(self, hint: Hint) -> None:
        self.hints.append(hint)
        self._arrived.set()

    async def next(self, hint: Hint) -> None:
        """Wait until this hint has come, and forget all so far."""
        async with asyncio.timeout(30):
            while hint not in self.hints:
                self._arrived.clear()
                await self._arrived.wait()
        self.hints.clear()

    async def quiet(self) -> list[Hint]:
        """What has come by now; the kernel has queued everything before we ask."""
        await asyncio.sleep(0.02)
        hints, self.hints = self.hints, []
        return hints


def replace(path: Path) -> None:
    """As an owner does with its record."""
    hidden = path.with_name(f".{path.name}.tmp")
    hidden.touch()
    hidden.replace(path)


@pytest.fixture(autouse=True)
def no_source_is_left() -> Iterator[None]:
    yield
    left = dict(directory_events.open_sources)
    directory_events.open_sources.clear()
    assert not left


async def test_a_watched_directory_tells_of_files_that_come_change_and_go(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    await watched.next("watching")
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    replace(first)
    await watched.next("changed")
    replace(first)
    await watched.next("changed")
    first.rename(second)
    await watched.next("changed")
    second.unlink()
    await watched.next("changed")
    watched.watch.close()


async def test_hidden_names_do_not_count(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    await watched.next("watching")
    (tmp_path / ".x.tmp").touch()
    (tmp_path / ".x.tmp").unlink()
    assert await watched.quiet() == []
    watched.watch.close()


async def test_a_directory_that_is_not_there_yet_is_found_when_it_is_made(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "a" / "b" / "instances")
    assert not watched.watch.is_watching
    assert watched.watch.kind != "polling"
    (tmp_path / "unrelated").mkdir()
    assert await watched.quiet() == []
    (tmp_path / "a" / "b" / "instances").mkdir(parents=True)
    await watched.next("watching")
    bad_path(tmp_path / "a" / "b" / "instances").touch()
    await watched.next("changed")
    watched.watch.close()


async def test_a_directory_that_is_made_while_we_turn_to_its_parent_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a" / "instances"

    def make_it_first(loop: asyncio.AbstractEventLoop) -> directory_events.EventSource:
        path.mkdir(parents=True, exist_ok=True)
        return directory_events.source_for(loop)

    watched = Watched(path, msgspec.structs.replace(REAL, directory_events=make_it_first))
    assert watched.watch.is_watching
    assert watched.hints == ["watching"]
    watched.watch.close()


async def test_a_directory_that_is_removed_and_made_again_is_watched_again(tmp_path: Path) -> None:
    path = tmp_path / "a" / "instances"
    path.mkdir(parents=True)
    watched = Watched(path)
    await watched.next("watching")
    for _ in range(3):
        shutil.rmtree(tmp_path / "a")
        await watched.next("lost")
        path.mkdir(parents=True)
        await watched.next("watching")
        (path / "x.json").touch()
        await watched.next("changed")
    watched.watch.close()


async def test_a_directory_that_is_moved_away_is_no_longer_the_one_we_watch(tmp_path: Path) -> None:
    path = tmp_path / "instances"
    path.mkdir()
    watched = Watched(path)
    await watched.next("watching")
    path.rename(tmp_path / "away")
    await watched.next("lost")
    (tmp_path / "away" / "x.json").touch()
    assert await watched.quiet() == []
    path.mkdir()
    await watched.next("watching")
    watched.watch.close()


async def test_a_moved_parent_is_noticed_when_somebody_verifies(tmp_path: Path) -> None:
    path = tmp_path / "parent" / "instances"
    path.mkdir(parents=True)
    watched = Watched(path)
    await watched.next("watching")
    (tmp_path / "parent").rename(tmp_path / "elsewhere")
    path.mkdir(parents=True)
    assert await watched.quiet() == []
    watched.watch.verify()
    await watched.next("watching")
    (path / "x.json").touch()
    await watched.next("changed")
    watched.watch.verify()
    assert await watched.quiet() == []
    watched.watch.close()


async def test_an_overflow_is_a_hint_too() -> None:
    with directory_in_memory() as directory:
        await overflow(directory)


async def overflow(directory: Path) -> None:
    watched = Watched(directory)
    await watched.next("watching")
    events = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if events > 50_000:
        pytest.skip("platform: the queue is too long to fill here")
    places = directory / "a", directory / "b"
    for number in range(events // 2 + 10):  # two events each, that can't be merged
        places[number % 2].mkdir()
        places[number % 2].rmdir()
    await watched.next("overflow")
    watched.watch.close()


async def test_where_no_watch_is_to_be_had_it_says_polling_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(loop: asyncio.AbstractEventLoop) -> directory_events.EventSource:
        raise OSError(errno.EMFILE, "too many")

    with monkeypatch.context() as patch:
        patch.setattr(directory_events, "_open_source", refuse)
        watched = Watched(tmp_path)
        assert watched.watch.kind == "polling"
    watched.watch.verify()
    await watched.next("watching")
    assert watched.watch.kind != "polling"
    watched.watch.close()


class UnreadableFiles:
    """The real files; ``stat`` fails while ``is_failing``."""

    is_failing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def stat(self, path: Path) -> os.stat_result:
        if self.is_failing:
            raise OSError(errno.ENOMEM, "out of memory")
        return path.stat()


@pytest.mark.parametrize("exists", [True, False])
async def test_a_watch_that_is_lost_to_an_error_says_so_at_once(tmp_path: Path, *, exists: bool) -> None:
    files = UnreadableFiles()
    path = tmp_path / "instances"
    if exists:
        path.mkdir()
    watched = Watched(path, msgspec.structs.replace(REAL, files=files))
    if exists:
        await watched.next("watching")
    files.is_failing = True
    if exists:
        path.rmdir()
    else:
        path.mkdir()
    await watched.next("lost")
    assert watched.watch.kind == "polling"
    files.is_failing = False
    path.mkdir(exist_ok=True)
    watched.watch.verify()
    await watched.next("watching")
    watched.watch.close()


async def test_two_watches_share_one_source_and_end_apart(tmp_path: Path) -> None:
    first, second = Watched(tmp_path), Watched(tmp_path)
    assert len(directory_events.open_sources) == 1
    (tmp_path / "x").touch()
    await first.next("changed")
    await second.next("changed")
    first.watch.close()
    (tmp_path / "y").touch()
    await second.next("changed")
    assert first.hints == []
    second.watch.close()
