"""Descriptors of the kernel that can't be read any more."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from brummer.host.directory_watch import DirectoryWatch, Hint
from brummer.host.readers import read_when_ready


async def test_a_descriptor_that_stays_readable_but_can_not_be_read_is_closed_at_once() -> None:
    loop, reads, failed = asyncio.get_running_loop(), 0, asyncio.Event()
    readable, other = os.pipe()
    os.write(other, b"for ever")

    def read() -> None:
        nonlocal reads
        reads += 1
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    read_when_ready(loop, readable, read, lambda _: failed.set())
    try:
        async with asyncio.timeout(30):
            await failed.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert reads == 1
    finally:
        os.close(readable)
        os.close(other)


class Hints:
    """The events of a watch, in order."""

    def __init__(self) -> None:
        self._said: asyncio.Queue[Hint] = asyncio.Queue()

    def __call__(self, hint: Hint) -> None:
        self._said.put_nowait(hint)

    async def until(self, wanted: Hint) -> None:
        async with asyncio.timeout(30):
            while await self._said.get() != wanted:
                pass


async def test_a_directory_watch_that_can_not_be_read_once_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hints, real_read, fails = Hints(), os.read, [OSError(errno.EIO, os.strerror(errno.EIO))]

    def read(descriptor: int, size: int) -> bytes:
        if fails:
            raise fails.pop()
        return real_read(descriptor, size)

    watch = DirectoryWatch(asyncio.get_running_loop(), tmp_path, hints)
    try:
        await hints.until("watching")
        monkeypatch.setattr("brummer.host.directory_events.os.read", read)
        (tmp_path / "one").touch()
        await hints.until("watching")
        (tmp_path / "two").touch()
        await hints.until("changed")
        assert watch.kind == "inotify"
    finally:
        watch.close()


async def test_a_listener_that_raises_does_not_affect_another_of_the_same_directory(tmp_path: Path) -> None:
    loop, hints = asyncio.get_running_loop(), Hints()

    def raises(hint: Hint) -> None:
        if hint == "changed":
            raise ZeroDivisionError("a defect")

    first, second = DirectoryWatch(loop, tmp_path, raises), DirectoryWatch(loop, tmp_path, hints)
    try:
        await hints.until("watching")
        for name in ("one", "two"):
            (tmp_path / name).touch()
            await hints.until("changed")
    finally:
        first.close()
        second.close()
