import asyncio
import threading

import pytest

from brummer.process import process_tree
from brummer.process.guard_main import Scan
from brummer.process.process_tree import Scans


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
