"""Room for large answers, in virtual time: who passes, in which order, and that nothing stays taken."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.core.memory import COPIES, Memory
from brummer.pool.memory_reservations import LOOKS, PASSED_S, UNKNOWN_PASSED_S, MemoryReservations

from .virtual_world import in_virtual_time

HARD = 1000
SMALL = 200 // COPIES
"""Four of these pass at once."""


class Asking:
    """Who asks for room, and what each was told, in order."""

    def __init__(self, used: int = 0) -> None:
        self.used = used
        self.reservations = MemoryReservations(Memory(HARD, HARD, lambda: self.used, lambda: None))
        self.told: list[tuple[str, int]] = []

    def ask(self, name: str, size: int = SMALL, least: int | None = None) -> Callable[[], None]:
        return self.reservations.reserve(size, lambda granted: self.told.append((name, granted)), least)


def test_those_who_fit_pass_at_once_and_the_others_in_their_order() -> None:
    async def main() -> None:
        asking = Asking()
        leave = [asking.ask(name) for name in "abcdef"]
        assert asking.told == [(name, SMALL) for name in "abcd"]
        leave[1]()
        assert len(asking.told) == 4  # its copies are still there
        await asyncio.sleep(2 * PASSED_S)
        assert asking.told[4:] == [("e", SMALL)]

    in_virtual_time(main())


def test_a_large_one_is_not_passed_by_smaller_ones() -> None:
    async def main() -> None:
        asking = Asking()
        first = asking.ask("first")
        asking.ask("large", 4 * SMALL)
        asking.ask("small")
        assert asking.told == [("first", SMALL)]
        first()
        await asyncio.sleep(2 * PASSED_S)
        assert asking.told[1:] == [("large", 4 * SMALL)]

    in_virtual_time(main())


@pytest.mark.promise("large-answers")
def test_one_that_does_not_fit_even_alone_is_refused_and_the_next_one_passes() -> None:
    async def main() -> None:
        asking = Asking()
        asking.ask("huge", HARD)
        asking.ask("small")
        assert asking.told == []
        await asyncio.sleep(LOOKS)
        assert asking.told == [("huge", 0), ("small", SMALL)]

    in_virtual_time(main())


def test_one_that_is_alone_passes_when_memory_is_given_back_late() -> None:
    async def main() -> None:
        asking = Asking(used=HARD)
        asking.ask("late")
        await asyncio.sleep(0.1)
        asking.used = 0
        await asyncio.sleep(1)
        assert asking.told == [("late", SMALL)]

    in_virtual_time(main())


def test_others_who_come_meanwhile_do_not_use_up_the_looks_of_the_first() -> None:
    async def main() -> None:
        asking = Asking(used=HARD)
        for name in "abcd":
            asking.ask(name)
        for _ in range(2 * LOOKS):
            asking.ask("gone")()
        assert asking.told == []
        asking.used = 0
        await asyncio.sleep(LOOKS)
        assert asking.told == [(name, SMALL) for name in "abcd"]

    in_virtual_time(main())


def test_one_of_unknown_size_that_is_alone_gets_what_there_is_and_others_wait_for_it() -> None:
    async def main() -> None:
        asking = Asking()
        leave = asking.ask("unknown", HARD // 3, least=1)
        asking.ask("known")
        assert asking.told == [("unknown", (HARD - 1) // COPIES)]
        leave()
        await asyncio.sleep(2 * UNKNOWN_PASSED_S)
        assert asking.told[1:] == [("known", SMALL)]

    in_virtual_time(main())


def test_one_of_unknown_size_waits_for_more_than_little_and_takes_little_if_no_more_comes() -> None:
    async def main() -> None:
        asking = Asking(used=HARD // 2)
        asking.ask("unknown", HARD, least=1)
        assert asking.told == []
        await asyncio.sleep(LOOKS)
        assert asking.told == [("unknown", (HARD - HARD // 2 - 1) // COPIES)]

    in_virtual_time(main())


def test_one_of_unknown_size_for_which_there_is_not_even_the_least_is_refused() -> None:
    async def main() -> None:
        asking = Asking(used=HARD - 10)
        asking.ask("unknown", HARD, least=2)
        await asyncio.sleep(LOOKS)
        assert asking.told == [("unknown", 0)]

    in_virtual_time(main())


sizes = st.integers(1, 2 * HARD // COPIES)
leasts = st.none() | st.integers(1, HARD // COPIES)


@given(st.lists(st.tuples(sizes, leasts, st.floats(0, 1), st.floats(0, 3)), max_size=30))
def test_whoever_leaves_when_and_how_nothing_stays_taken(passages: list[tuple[int, int | None, float, float]]) -> None:
    """Each asks after a while, and leaves a while later: before its turn, during it, or after it was refused."""

    async def passage(
        reservations: MemoryReservations, size: int, least: int | None, asks_s: float, stays_s: float
    ) -> None:
        await asyncio.sleep(asks_s)
        leave = reservations.reserve(size, lambda _: None, least)
        await asyncio.sleep(stays_s)
        leave()

    async def main() -> None:
        reservations = Asking().reservations
        await asyncio.gather(*(passage(reservations, *each) for each in passages))
        await asyncio.sleep(1 + LOOKS)
        assert (reservations.reserved_bytes, reservations.queued) == (0, 0)

    in_virtual_time(main())
