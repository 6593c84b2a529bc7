"""Calls that wait for a link or for a place: they are released in order, fail at once if waiting can't help, and never
wait past their time.
"""

import asyncio

import pytest

from brummer.core.errors import BrummerError
from brummer.link.admission import Gate
from brummer.link.call import Call
from brummer.link.errors import ParkedTooLong
from brummer.link.parking import Parking

from .virtual_world import in_virtual_time


def call(name: str) -> Call:
    return Call("tools/call", {"name": name}, repeatable=False, deadline_s=5.0)


def test_failing_wakes_the_calls_that_get_an_error_and_leaves_the_others_waiting() -> None:
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


def test_released_calls_continue_in_the_order_of_their_arrival() -> None:
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


async def test_a_place_whose_waiter_was_cancelled_in_the_same_turn_goes_to_the_next() -> None:
    lane = Gate().lane("web", limit=1)
    await lane.enter("a session")
    cancelled, patient = (asyncio.create_task(lane.enter(flow)) for flow in ("a session", "another"))
    await asyncio.sleep(0)
    cancelled.cancel()
    lane.leave()
    async with asyncio.timeout(30):
        await patient
    assert cancelled.cancelled()
    assert (lane.slots.taken, lane.slots.queued) == (1, 0)


async def test_a_waiter_that_is_cancelled_gives_back_the_place_that_it_has_and_no_other() -> None:
    lane = Gate().lane("web", limit=1)
    await lane.enter("a session")
    queued = asyncio.create_task(lane.enter("another"))
    await asyncio.sleep(0)
    queued.cancel()
    await asyncio.wait([queued])
    assert (lane.slots.taken, lane.slots.queued) == (1, 0)
    admitted = asyncio.create_task(lane.enter("another"))
    await asyncio.sleep(0)
    lane.leave()
    admitted.cancel()  # it is admitted, but does not know it yet
    await asyncio.wait([admitted])
    assert (lane.slots.taken, lane.slots.queued) == (0, 0)
