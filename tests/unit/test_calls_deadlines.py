"""Deadlines of calls: many on one timer, each expires in its time."""

import asyncio

from brummer.calls.caller import GRACE_S, Deadlines
from brummer.link.prober import LATE_S
from brummer.testing.virtual_time import VirtualLoop


class Due:
    def __init__(self, due_s: float) -> None:
        self.due_s = due_s
        self.expired = False

    def postpone(self, due_s: float) -> None:
        self.due_s = max(self.due_s, due_s)

    def expire(self) -> None:
        self.expired = True


def test_many_deadlines_share_a_timer_and_each_expires_in_its_time() -> None:
    loop = VirtualLoop()

    async def story() -> None:
        now = loop.time()
        deadlines = Deadlines[Due](loop)
        late, early, dropped, moved = Due(now + 9), Due(now + 3), Due(now + 2), Due(now + 1)
        for one in (late, early, dropped, moved):
            deadlines.add(one, one.due_s)
        deadlines.drop(dropped)
        moved.due_s = now + 6
        await asyncio.sleep(4)
        assert [one.expired for one in (late, early, dropped, moved)] == [False, True, False, False]
        await asyncio.sleep(3)
        assert [one.expired for one in (late, moved)] == [False, True]
        await asyncio.sleep(3)
        assert late.expired
        assert len(deadlines) == 0
        deadlines.close()

    loop.run_until_complete(story())
    loop.close()


def test_the_timer_of_one_that_is_over_does_not_fire_long_before_the_next_is_due() -> None:
    loop = VirtualLoop()
    read: list[float] = []

    class Next(Due):
        @property
        def due_s(self) -> float:
            read.append(loop.time())
            return self._due_s

        @due_s.setter
        def due_s(self, due_s: float) -> None:
            self._due_s = due_s

    async def story() -> None:
        deadlines = Deadlines[Due](loop)
        first = Due(loop.time() + 25)
        deadlines.add(first, first.due_s)
        await asyncio.sleep(20)
        deadlines.drop(first)
        due_s = loop.time() + 25
        following = Next(due_s)
        deadlines.add(following, due_s)
        await asyncio.sleep(24)
        assert read == []
        await asyncio.sleep(2)
        assert following.expired
        deadlines.close()

    loop.run_until_complete(story())
    loop.close()


def test_one_that_the_end_of_another_has_ended_or_moved_on_does_not_expire() -> None:
    loop = VirtualLoop()

    async def story() -> None:
        deadlines = Deadlines[Due](loop)
        now = loop.time()
        dropped, moved = Due(now + 1), Due(now + 1)

        class First(Due):
            def expire(self) -> None:
                super().expire()
                deadlines.drop(dropped)
                moved.due_s = now + 3

        first = First(now + 1)
        for one in (first, dropped, moved):
            deadlines.add(one, one.due_s)
        await asyncio.sleep(2)
        assert [one.expired for one in (first, dropped, moved)] == [True, False, False]
        await asyncio.sleep(2)
        assert [one.expired for one in (dropped, moved)] == [False, True]
        deadlines.close()

    loop.run_until_complete(story())
    loop.close()


def test_one_that_fails_to_end_costs_the_others_nothing() -> None:
    loop = VirtualLoop()
    failures: list[object] = []
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))

    class Broken(Due):
        def expire(self) -> None:
            raise RuntimeError("a defect")

    async def story() -> None:
        deadlines = Deadlines[Due](loop)
        now = loop.time()
        others = [Due(now + 1), Due(now + 1), Due(now + 2)]
        for one in (*others, Broken(now + 1)):
            deadlines.add(one, one.due_s)
        await asyncio.sleep(3)
        assert all(one.expired for one in others)
        deadlines.close()

    loop.run_until_complete(story())
    loop.close()
    assert [str(failure) for failure in failures] == ["a defect"]


async def test_a_timer_that_fires_late_gives_the_answer_that_waits_in_our_socket_its_moment() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines[Due](loop)
    overdue = Due(loop.time() - LATE_S - 1)
    deadlines.add(overdue, overdue.due_s)
    await asyncio.sleep(0.001)
    assert not overdue.expired
    assert overdue.due_s > loop.time() + GRACE_S / 2
    deadlines.close()
