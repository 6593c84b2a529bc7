"""Limits on calls: as many as are let in, and some more; then all are let go, and as many must get through again."""

import contextlib
import math
from asyncio import Future
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from brummer.instance.service import Instance
from brummer.limit_tests.answers import OK, Answer
from brummer.limit_tests.finding import Measured
from brummer.limit_tests.held_calls import HOLD, SHORT_WAY, TAKE, WAITING, Holding
from brummer.limit_tests.hub_process import HubProcess
from brummer.limit_tests.world import World, ready
from brummer.link.budget import QUEUED_PER_PLACE, Budget

BUSY: Final = "busy"
EXCESS: Final = 10
PER_INSTANCE: Final = 150
"""Calls at once; an instance takes 256 connections (`brummer.wire.http.server`), and the hub has some for itself."""
INSTANCES: Final = 3

Make = Callable[[], "Future[Answer]"]


def _in(hub: HubProcess, instance: Instance, number: int) -> "Future[Answer]":
    """A call that stays; every other one takes the short way."""
    instance_id = instance.record.instance_id
    return hub.call(SHORT_WAY, instance=instance_id) if number % 2 else hub.call_in(instance_id, HOLD)


def _waiting_in(hub: HubProcess, instance: Instance, number: int) -> "Future[Answer]":
    instance_id = instance.record.instance_id
    return hub.call(WAITING, instance=instance_id) if number % 2 else hub.call_in(instance_id, WAITING)


async def in_flight(world: World, limit: int) -> Measured:
    """Over several instances, because the limit is on all together."""
    holding = world.holding()
    async with contextlib.AsyncExitStack() as stack:
        instances = [
            await stack.enter_async_context(world.instance(f"shop-{number}", holding)) for number in range(INSTANCES)
        ]
        hub = await stack.enter_async_context(world.hub(in_flight=limit, queued_per_instance=0))
        await ready(hub, *instances)
        return await _overfilled(world, holding, limit, lambda number: _in(hub, instances[number % INSTANCES], number))


async def connections(world: World, limit: int) -> Measured:
    """As many calls to each of several instances as there are connections; what can't even wait for one is refused."""
    holding, for_calls, may_wait = world.holding(), Budget(limit).for_calls, limit * QUEUED_PER_PLACE
    count = 1 + math.ceil((may_wait + EXCESS) / for_calls)
    async with contextlib.AsyncExitStack() as stack:
        instances = [
            await stack.enter_async_context(world.instance(f"shop-{number}", holding)) for number in range(count)
        ]
        hub = await stack.enter_async_context(world.hub(connections=limit))
        await ready(hub, *instances)
        calls = [_in(hub, instances[number % count], number) for number in range(count * for_calls)]
        await world.changed.until(lambda: holding.inside + len(_ended(calls)) >= len(calls) - may_wait)
        most = max(holding.most, (await hub.status())["limits"]["in_use"]["connections"])
        refused = _ended(calls)
        holding.let_go()
        good = await _all_good([call for call in calls if call not in refused])
        again = await _all_good([_in(hub, instances[number % count], number) for number in range(for_calls)])
    got = Counter(call.result().code for call in refused)
    # What the hub opened for itself carries calls, too, while it is left over: up to the limit, at the most.
    excess = max(len(refused), len(calls) - limit - may_wait)
    return Measured(limit, most, for_calls, excess, BUSY, got, good and again)


async def in_flight_per_instance(world: World, limit: int) -> Measured:
    """Nobody may wait, so that the next one is refused."""
    holding = world.holding()
    async with (
        world.instance("shop", holding) as shop,
        world.hub(in_flight_per_instance=limit, queued_per_instance=0) as hub,
    ):
        await ready(hub, shop)
        return await _overfilled(world, holding, limit, partial(_in, hub, shop))


async def waiting_per_instance(world: World, limit: int) -> Measured:
    """As those in flight, for calls that wait for something to happen."""
    holding = world.holding()
    async with (
        world.instance("shop", holding) as shop,
        world.hub(waiting_per_instance=limit, queued_per_instance=0) as hub,
    ):
        await ready(hub, shop)
        return await _overfilled(world, holding, limit, partial(_waiting_in, hub, shop))


async def _overfilled(world: World, holding: Holding, limit: int, make: Callable[[int], "Future[Answer]"]) -> Measured:
    """``make`` makes one call that stays; the others of all that are made must be refused."""
    calls = [make(number) for number in range(limit + EXCESS)]
    await world.changed.until(lambda: holding.inside + len(_ended(calls)) >= len(calls))
    refused = _ended(calls)
    most = holding.most
    holding.let_go()
    good = await _all_good([call for call in calls if call not in refused])
    again = await _all_good([make(number) for number in range(limit)])
    return _measured(limit, most, refused, recovered=good and again)


async def queued_per_instance(world: World, limit: int) -> Measured:
    """One call is let in, the others wait behind it."""
    holding = world.holding()
    async with (
        world.instance("shop", holding) as shop,
        world.hub(queued_per_instance=limit, in_flight_per_instance=1) as hub,
    ):
        await ready(hub, shop)
        calls = [_in(hub, shop, number) for number in range(1 + limit + EXCESS)]
        await world.changed.until(lambda: holding.inside + len(_ended(calls)) > EXCESS)
        refused = _ended(calls)
        waited = len(calls) - len(refused) - holding.inside
        holding.let_go()
        good = await _all_good([call for call in calls if call not in refused])
        again = await _all_good([_in(hub, shop, number) for number in range(1 + limit)])
    return _measured(limit, waited, refused, recovered=good and again)


async def parked(world: World, limit: int) -> Measured:
    """An instance ends; its calls wait until it is there again."""
    holding = world.holding()
    async with world.hub(parked=limit) as hub:
        async with world.instance("shop", holding) as shop:
            await ready(hub, shop)
        instance_id = shop.record.instance_id
        while await hub.state_of(instance_id) != "gone":
            pass
        calls = [hub.call_in(instance_id, TAKE) for _ in range(limit + EXCESS)]
        await world.changed.until(lambda: len(_ended(calls)) >= EXCESS)
        refused = _ended(calls)
        waited = sum(link["parked"] for link in (await hub.status())["links"])
        async with world.instance("shop", holding):
            good = await _all_good([call for call in calls if call not in refused])
            again = await _all_good([hub.call_in(instance_id, TAKE) for _ in range(limit)])
    return _measured(limit, waited, refused, recovered=good and again)


def _ended(calls: Sequence["Future[Answer]"]) -> "list[Future[Answer]]":
    return [call for call in calls if call.done()]


async def _all_good(calls: Sequence["Future[Answer]"]) -> bool:
    return all([(await call).code == OK for call in calls])


def _measured(limit: int, reached: int, refused: Sequence["Future[Answer]"], *, recovered: bool) -> Measured:
    got = Counter(call.result().code for call in refused)
    return Measured(limit, reached, limit, EXCESS, BUSY, got, recovered)
