"""One wait on many instances: one deadline, for any number of places."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from brummer.hub.fan_out import GRACE_S, TURN_S, FanOut
from brummer.testing.virtual_time import VirtualLoop


class Watched:
    """An instance where it comes true ``after_s``; None: never. ``answers``: whether it does that at all."""

    def __init__(self, id_: str, after_s: float | None = None, *, answers: bool = True) -> None:
        self.id = id_
        self.after_s = after_s
        self.answers = answers
        self.asked: list[tuple[float, float, str | None]] = []

    async def wait(self, wait_s: float, since: str | None) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self.asked.append((began_s, wait_s, since))
        if not self.answers:
            await loop.create_future()
        left_s = wait_s if self.after_s is None else max(0.0, self.after_s - began_s)
        await asyncio.sleep(min(wait_s, left_s))
        matched = self.after_s is not None and loop.time() >= self.after_s
        return {"matched": matched, "what": "log" if matched else None, "waited_s": loop.time() - began_s}


def virtually(test: Callable[[], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(test())  # type: ignore[arg-type]


async def ask(instance: Watched, wait_s: float, since: str | None) -> dict[str, Any]:
    return await instance.wait(wait_s, since)


def many(count: int) -> list[Watched]:
    return [Watched(f"instance-{number}") for number in range(count)]


async def timed(everyone: list[Watched], places: int, timeout_s: float) -> tuple[dict[str, Any], float]:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    answer = await FanOut(everyone, places, timeout_s, ask).result()
    return answer, loop.time() - began_s


def test_where_places_suffice_each_is_asked_once_for_the_whole_time() -> None:
    async def test() -> None:
        everyone = many(5)
        answer, took_s = await timed(everyone, 5, 30.0)
        assert (answer["matched"], answer["incomplete"], took_s) == (False, [], 30.0)
        assert all([(wait_s, since) for _, wait_s, since in each.asked] == [(30.0, None)] for each in everyone)

    virtually(test)


@pytest.mark.promise("fan-out")
def test_150_instances_and_32_places_are_answered_within_the_one_deadline() -> None:
    async def test() -> None:
        everyone = many(150)
        answer, took_s = await timed(everyone, 32, 2.0)
        assert (answer["matched"], answer["incomplete"]) == (False, [])
        assert 2.0 <= took_s <= 2.0 + GRACE_S
        for each in everyone:  # asked when the wait began, and once more when it ended
            assert each.asked[0][1:] == (0.0, None)
            assert sum(wait_s for _, wait_s, _ in each.asked[1:]) <= TURN_S + 1e-6
            assert each.asked[-1][2] is not None

    virtually(test)


def test_what_comes_true_between_two_turns_is_found() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        for after_s in (0.0, 0.5, 3.0, 9.9):
            everyone = many(150)
            everyone[149].after_s = loop.time() + after_s
            answer, took_s = await timed(everyone, 32, 10.0)
            assert (answer["matched"], answer["instance"]) == (True, "instance-149")
            assert after_s - 1e-6 <= took_s <= min(10.0 + GRACE_S, after_s + 5 * TURN_S)

    virtually(test)


def test_who_could_not_be_asked_is_named() -> None:
    async def test() -> None:
        everyone = [Watched(f"silent-{number}", answers=False) for number in range(4)] + many(3)
        answer, took_s = await timed(everyone, 4, 2.0)
        assert took_s == 2.0 + GRACE_S
        assert {each["instance"] for each in answer["incomplete"]} == {each.id for each in everyone}
        assert {each["why"]["code"] for each in answer["incomplete"]} == {"not_answered"}

    virtually(test)


def test_who_failed_is_named_with_its_error_and_asked_no_more() -> None:
    async def test() -> None:
        everyone = many(6)
        calls = itertools.count()

        async def failing(instance: Watched, wait_s: float, since: str | None) -> dict[str, Any]:
            if instance is everyone[0]:
                next(calls)
                return {"error": {"code": "busy", "message": "no"}}
            return await ask(instance, wait_s, since)

        answer = await FanOut(everyone, 2, 5.0, failing).result()
        assert answer["incomplete"] == [{"instance": "instance-0", "why": {"code": "busy", "message": "no"}}]
        assert next(calls) == 1

    virtually(test)


def test_an_instance_where_it_can_not_come_true_any_more_is_not_asked_again_and_again() -> None:
    async def test() -> None:
        everyone = many(6)

        async def ended(instance: Watched, wait_s: float, since: str | None) -> dict[str, Any]:
            if instance is not everyone[0]:
                return await ask(instance, wait_s, since)
            instance.asked.append((0.0, wait_s, since))
            return {"matched": False, "waited_s": 0.0}

        await FanOut(everyone, 2, 60.0, ended).result()
        assert len(everyone[0].asked) == 2

    virtually(test)


def test_a_match_ends_the_waits_of_all_others() -> None:
    async def test() -> None:
        everyone = many(40)
        everyone[3].after_s = asyncio.get_running_loop().time() + 1.0
        answer, took_s = await timed(everyone, 50, 3600.0)
        assert (answer["matched"], took_s) == (True, 1.0)
        assert len(asyncio.all_tasks()) == 1

    virtually(test)


def test_a_defect_is_raised_and_not_taken_for_silence() -> None:
    async def test() -> None:
        async def broken(*_: object) -> dict[str, Any]:
            raise ZeroDivisionError

        try:
            await FanOut(many(3), 2, 1.0, broken).result()
        except ZeroDivisionError:
            return
        raise AssertionError

    virtually(test)
