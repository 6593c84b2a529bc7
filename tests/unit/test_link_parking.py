"""Calls that wait for a link: released in order, failed at once where no waiting helps, and never past their time."""

import asyncio

import pytest

from brummer.core.errors import BrummerError
from brummer.link.call import Call
from brummer.link.errors import ParkedTooLong
from brummer.link.parking import Parking

from .virtual_world import in_virtual_time


def call(name: str) -> Call:
    return Call("tools/call", {"name": name}, repeatable=False, deadline_s=5.0)


def test_failing_wakes_the_calls_that_cannot_be_helped_and_leaves_the_others_waiting() -> None:
    async def story() -> None:
        parking = Parking()
        hopeless, patient = (asyncio.create_task(parking.wait(call(name), 60.0)) for name in ("hopeless", "patient"))
        await asyncio.sleep(0)

        def error_for(each: Call) -> BrummerError | None:
            return ParkedTooLong("it is gone") if each.tool == "hopeless" else None

        began_s = asyncio.get_running_loop().time()
        parking.fail(error_for)
        with pytest.raises(ParkedTooLong):
            await hopeless
        assert asyncio.get_running_loop().time() == began_s
        assert (len(parking), patient.done()) == (1, False)
        parking.release()
        assert await patient

    in_virtual_time(story())


def test_released_calls_go_on_in_the_order_in_which_they_came() -> None:
    async def story() -> None:
        parking = Parking()
        came: list[int] = []

        async def wait(number: int) -> None:
            assert await parking.wait(call("tool"), 60.0)
            came.append(number)

        waiting = [asyncio.create_task(wait(number)) for number in range(5)]
        await asyncio.sleep(0)
        parking.release()
        await asyncio.gather(*waiting)
        assert came == list(range(5))

    in_virtual_time(story())


def test_a_call_waits_for_exactly_its_time_and_leaves_no_entry() -> None:
    async def story() -> None:
        parking, loop = Parking(), asyncio.get_running_loop()
        began_s = loop.time()
        assert not await parking.wait(call("tool"), 7.0)
        assert loop.time() - began_s == pytest.approx(7.0)
        assert len(parking) == 0
        parking.release()

    in_virtual_time(story())


def test_a_cancelled_call_leaves_no_entry_and_a_call_without_a_time_waits_for_its_caller() -> None:
    async def story() -> None:
        parking = Parking()
        cancelled, patient = (asyncio.create_task(parking.wait(call("tool"), None)) for _ in range(2))
        await asyncio.sleep(86_400)
        assert not patient.done()
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert len(parking) == 1
        parking.release()
        assert await patient

    in_virtual_time(story())
