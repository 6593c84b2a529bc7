import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from brummer.host.threads import WORKERS, NoThread, in_thread, in_thread_if_possible, start_all_threads


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


async def test_work_without_a_free_thread_raises_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    with pytest.raises(NoThread) as raised:
        await in_thread(int, "1")
    assert (raised.value.retryable, raised.value.outcome) == (True, "not_executed")
    assert await in_thread_if_possible(int, "1") == 1


async def test_an_error_of_the_work_itself_is_left_as_it_is() -> None:
    def fail() -> None:
        raise RuntimeError("its own")

    with pytest.raises(RuntimeError, match="its own"):
        await in_thread(fail)
