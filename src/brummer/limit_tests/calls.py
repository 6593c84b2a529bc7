"""Limits on calls: as many as the limit and some more; then all are released, and as many must succeed again."""

import math
from asyncio import Future
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from brummer.instance.service import Instance
from brummer.limit_tests.answers import OK, LimitAnswer
from brummer.limit_tests.finding import Measured
from brummer.limit_tests.held_calls import FAST, HOLD, TAKE, WAITING, HeldCalls
from brummer.limit_tests.hub_process import HubProcess
from brummer.limit_tests.world import LimitTestWorld, ready
from brummer.pool.pool import QUEUED_PER_CONNECTION, Pool
from brummer.settings.limits import Limits

BUSY: Final = "busy"
EXCESS: Final = 10
PER_INSTANCE: Final = 150
"""Calls at once; an instance takes 256 connections (`brummer.wire.http.server`), and the hub needs some for itself."""
INSTANCES: Final = 3

Calls = Sequence["Future[LimitAnswer]"]
Make = Callable[[int], "Future[LimitAnswer]"]


def _held_in(
    hub: HubProcess, instance: Instance, number: int, tool: str = FAST, other: str = HOLD
) -> "Future[LimitAnswer]":
    """A call that is held; every second one takes the fast path."""
    instance_id = instance.record.instance_id
    return hub.call(tool, instance=instance_id) if number % 2 else hub.call_in(instance_id, other)


async def in_flight(world: LimitTestWorld, limit: int) -> Measured:
    """Over several instances, because they share the limit."""
    held = world.held_calls()
    async with world.linked(*[held] * INSTANCES, in_flight=limit, queued_per_instance=0) as (hub, instances):
        return await _overfilled(
            world, held, limit, lambda number: _held_in(hub, instances[number % INSTANCES], number)
        )


async def connections(world: LimitTestWorld, limit: int) -> Measured:
    """Each of several instances gets as many calls as there are connections; a call that can't queue is refused."""
    held, may_wait = world.held_calls(), limit * QUEUED_PER_CONNECTION
    for_calls = Pool(Limits(connections=limit)).for_calls
    count = 1 + math.ceil((may_wait + EXCESS) / for_calls)
    async with world.linked(*[held] * count, connections=limit) as (hub, instances):
        calls = [_held_in(hub, instances[number % count], number) for number in range(count * for_calls)]
        await world.changed.until(lambda: held.count + len(_ended(calls)) >= len(calls) - may_wait)
        most = max(held.most, (await hub.status())["limits"]["in_use"]["connections"])
        refused = _ended(calls)
        good = await _succeed_once_released(held, calls, refused)
        again = await _all_good([_held_in(hub, instances[number % count], number) for number in range(for_calls)])
    # The connections that the hub opens for itself carry calls too while they are idle: up to the limit at most.
    excess = max(len(refused), len(calls) - limit - may_wait)
    return Measured(limit, most, for_calls, excess, BUSY, _codes(refused), good and again)


async def in_flight_per_instance(world: LimitTestWorld, limit: int) -> Measured:
    """No call may queue, so the next one is refused."""
    held = world.held_calls()
    async with world.linked(held, in_flight_per_instance=limit, queued_per_instance=0) as (hub, [shop]):
        return await _overfilled(world, held, limit, partial(_held_in, hub, shop))


async def waiting_per_instance(world: LimitTestWorld, limit: int) -> Measured:
    """The same for calls that wait for an event."""
    held = world.held_calls()
    async with world.linked(held, waiting_per_instance=limit, queued_per_instance=0) as (hub, [shop]):
        return await _overfilled(
            world, held, limit, lambda number: _held_in(hub, shop, number, tool=WAITING, other=WAITING)
        )


async def _overfilled(world: LimitTestWorld, held: HeldCalls, limit: int, make: Make) -> Measured:
    """``make`` makes one call that is held; those above the limit must be refused."""
    calls = [make(number) for number in range(limit + EXCESS)]
    await world.changed.until(lambda: held.count + len(_ended(calls)) >= len(calls))
    refused, most = _ended(calls), held.most
    good = await _succeed_once_released(held, calls, refused)
    again = await _all_good([make(number) for number in range(limit)])
    return _measured(limit, most, refused, recovered=good and again)


async def queued_per_instance(world: LimitTestWorld, limit: int) -> Measured:
    """One call is admitted, the others queue behind it."""
    held = world.held_calls()
    async with world.linked(held, queued_per_instance=limit, in_flight_per_instance=1) as (hub, [shop]):
        calls = [_held_in(hub, shop, number) for number in range(1 + limit + EXCESS)]
        await world.changed.until(lambda: held.count + len(_ended(calls)) > EXCESS)
        refused = _ended(calls)
        queued = len(calls) - len(refused) - held.count
        good = await _succeed_once_released(held, calls, refused)
        again = await _all_good([_held_in(hub, shop, number) for number in range(1 + limit)])
    return _measured(limit, queued, refused, recovered=good and again)


async def parked(world: LimitTestWorld, limit: int) -> Measured:
    """An instance ends; its calls wait until it runs again."""
    held = world.held_calls()
    async with world.hub(parked=limit) as hub:
        async with world.instance("shop", held) as shop:
            await ready(hub, shop)
        instance_id = shop.record.instance_id
        while await hub.state_of(instance_id) != "gone":
            pass
        calls = [hub.call_in(instance_id, TAKE) for _ in range(limit + EXCESS)]
        await world.changed.until(lambda: len(_ended(calls)) >= EXCESS)
        refused = _ended(calls)
        waited = sum(link["parked"] for link in (await hub.status())["links"])
        async with world.instance("shop", held):
            good = await _succeed_once_released(held, calls, refused)
            again = await _all_good([hub.call_in(instance_id, TAKE) for _ in range(limit)])
    return _measured(limit, waited, refused, recovered=good and again)


def _ended(calls: Calls) -> "list[Future[LimitAnswer]]":
    return [call for call in calls if call.done()]


async def _succeed_once_released(held: HeldCalls, calls: Calls, refused: Calls) -> bool:
    held.release()
    return await _all_good([call for call in calls if call not in refused])


async def _all_good(calls: Calls) -> bool:
    return all([(await call).code == OK for call in calls])


def _codes(refused: Calls) -> Counter[str]:
    return Counter(call.result().code for call in refused)


def _measured(limit: int, reached: int, refused: Calls, *, recovered: bool) -> Measured:
    return Measured(limit, reached, limit, EXCESS, BUSY, _codes(refused), recovered)
