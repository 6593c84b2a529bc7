import asyncio
import threading

import pytest

from brummer.host.threads import WORKERS, start_all_threads


def no_more(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


async def test_all_threads_are_there_when_no_more_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await start_all_threads()
    monkeypatch.setattr(threading.Thread, "start", no_more)
    together = threading.Barrier(WORKERS)
    assert sorted(await asyncio.gather(*(asyncio.to_thread(together.wait, 5) for _ in range(WORKERS)))) == [
        *range(WORKERS)
    ]
    monkeypatch.undo()


async def test_where_threads_can_not_be_started_that_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brummer.host.threads.START_S", 0.01)
    monkeypatch.setattr(threading.Thread, "start", no_more)
    assert not await start_all_threads()
    monkeypatch.undo()
    assert await asyncio.to_thread(lambda: 1) == 1
