"""Limits on the memory of a hub, filled by the arguments of calls that stay: what is given up, what is refused."""

import asyncio
from collections import Counter
from typing import Final

from brummer.core.memory import COPIES
from brummer.instance.service import Instance
from brummer.limit_tests.answers import OK, Answer
from brummer.limit_tests.calls import BUSY, EXCESS
from brummer.limit_tests.finding import Measured
from brummer.limit_tests.held_calls import HOLD, TAKE, Holding
from brummer.limit_tests.hub_process import HubProcess
from brummer.limit_tests.signal import PATIENCE_S
from brummer.limit_tests.world import World, ready

FILLING_BYTES: Final = 2 * 1024 * 1024
"""Of one call."""
STEP_BYTES: Final = 2 * (COPIES + 1) * FILLING_BYTES
"""So far below the limit it may be refused: it needs room on its way through the hub, and for the next one."""
SPARES: Final = 3
LOOK_S: Final = 0.1
"""A hub looks at its memory no more often."""


async def hard(world: World, limit: int) -> Measured:
    """From there on calls as large as those that fill it are refused, until those are over."""
    holding = world.holding()
    async with (
        world.instance("shop", holding) as shop,
        world.hub(memory_soft_bytes=limit, memory_hard_bytes=limit) as hub,
    ):
        await ready(hub, shop)
        reached = await _filled(world, hub, shop, holding, limit)
        got = Counter([(await _large(hub, shop, TAKE)).code for _ in range(EXCESS)])
        holding.let_go()
        recovered = await _taken_again(hub, shop)
    return Measured(limit, reached, limit - STEP_BYTES, EXCESS, BUSY, got, recovered)


async def soft(world: World, limit: int) -> Measured:
    """From there on spare connections are closed, and the hub says so; calls go on."""
    spare, filling = world.holding(), world.holding()
    async with (
        world.instance("spare", spare) as spare_shop,
        world.instance("shop", filling) as shop,
        world.hub(memory_soft_bytes=limit) as hub,
    ):
        await ready(hub, spare_shop, shop)
        spare_id = spare_shop.record.instance_id
        calls = [hub.call_in(spare_id, HOLD) for _ in range(1 + SPARES)]
        await world.changed.until(lambda: spare.inside == len(calls))
        spare.let_go()
        await asyncio.gather(*calls)
        reached = await _filled(world, hub, shop, filling, limit)
        left = {link["instance_id"]: link["connections"] for link in (await hub.status())["links"]}[spare_id]
        taken = (await hub.call_in(spare_id, TAKE)).code == OK
        filling.let_go()
        recovered = await _is_below(hub, limit)
    got = {"given_up": 1 + SPARES - left}
    return Measured(limit, reached, limit - STEP_BYTES, SPARES, "given_up", got, taken and recovered)


async def _filled(world: World, hub: HubProcess, shop: Instance, holding: Holding, limit: int) -> int:
    """Make calls that stay until the hub takes as much as it may; returns the most that it took before the last."""
    reached = 0
    for _ in range(limit // FILLING_BYTES + 1):
        resident = await _resident(hub)
        if resident >= limit:
            break
        reached = max(reached, resident)
        call, before = _large(hub, shop, HOLD), holding.inside
        await world.changed.until(lambda call=call, before=before: call.done() or holding.inside > before)  # type: ignore[misc]
        if call.done():
            break
    return reached


def _large(hub: HubProcess, shop: Instance, tool: str) -> "asyncio.Future[Answer]":
    return hub.call_in(shop.record.instance_id, tool, filling="x" * FILLING_BYTES)


async def _resident(hub: HubProcess) -> int:
    """Bytes; it looks when it is asked."""
    resident: int = (await hub.status())["limits"]["in_use"]["memory_hard_bytes"]
    return resident


async def _taken_again(hub: HubProcess, shop: Instance) -> bool:
    """Whether calls are, in time."""
    for _ in range(round(PATIENCE_S / LOOK_S)):
        if (await _large(hub, shop, TAKE)).code == OK:
            return True
        await asyncio.sleep(LOOK_S)
    return False


async def _is_below(hub: HubProcess, limit: int) -> bool:
    """Whether it takes less again, in time."""
    for _ in range(round(PATIENCE_S / LOOK_S)):
        if await _resident(hub) < limit:
            return True
        await asyncio.sleep(LOOK_S)
    return False
