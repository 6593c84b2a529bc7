"""Limits on the memory of a hub, filled by the arguments of held calls: what it sheds, and what it refuses."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from brummer.core.memory import COPIES
from brummer.instance.service import Instance
from brummer.limit_tests.answers import OK, LimitAnswer
from brummer.limit_tests.calls import BUSY, EXCESS
from brummer.limit_tests.finding import Measured
from brummer.limit_tests.held_calls import HOLD, TAKE, HeldCalls
from brummer.limit_tests.hub_process import HubProcess
from brummer.limit_tests.signal import PATIENCE_S
from brummer.limit_tests.world import LimitTestWorld

FILLING_BYTES: Final = 2 * 1024 * 1024
"""Arguments of one call."""
STEP_BYTES: Final = 2 * (COPIES + 1) * FILLING_BYTES
"""A call may be refused so far below the limit: the hub needs memory for its copies, and for the next call."""
SPARES: Final = 3
SAMPLE_S: Final = 0.1
"""A hub samples its memory no more often."""


async def hard(world: LimitTestWorld, limit: int) -> Measured:
    """At the limit, calls of the same size are refused, until the held ones have ended."""
    held = world.held_calls()
    async with world.linked(held, memory_soft_bytes=limit, memory_hard_bytes=limit) as (hub, [shop]):
        reached = await _filled(world, hub, shop, held, limit)
        got = Counter([(await _large(hub, shop, TAKE)).code for _ in range(EXCESS)])
        held.release()

        async def accepts_again() -> bool:
            return (await _large(hub, shop, TAKE)).code == OK

        recovered = await _comes_true(accepts_again)
    return Measured(limit, reached, limit - STEP_BYTES, EXCESS, BUSY, got, recovered)


async def soft(world: LimitTestWorld, limit: int) -> Measured:
    """At the limit, the hub closes spare connections and reports them; calls still succeed."""
    spare, filling = world.held_calls(), world.held_calls()
    async with world.linked(spare, filling, memory_soft_bytes=limit) as (hub, [spare_shop, shop]):
        spare_id = spare_shop.record.instance_id
        calls = [hub.call_in(spare_id, HOLD) for _ in range(1 + SPARES)]
        await world.changed.until(lambda: spare.count == len(calls))
        spare.release()
        await asyncio.gather(*calls)
        reached = await _filled(world, hub, shop, filling, limit)
        left = {link["instance_id"]: link["connections"] for link in (await hub.status())["links"]}[spare_id]
        taken = (await hub.call_in(spare_id, TAKE)).code == OK
        filling.release()

        async def is_below() -> bool:
            return await _resident(hub) < limit

        recovered = await _comes_true(is_below)
    got = {"given_up": 1 + SPARES - left}
    return Measured(limit, reached, limit - STEP_BYTES, SPARES, "given_up", got, taken and recovered)


async def _filled(world: LimitTestWorld, hub: HubProcess, shop: Instance, held: HeldCalls, limit: int) -> int:
    """Make held calls until the hub reaches the limit; returns the most memory before the last call."""
    reached = 0
    for _ in range(limit // FILLING_BYTES + 1):
        resident = await _resident(hub)
        if resident >= limit:
            break
        reached = max(reached, resident)
        call, before = _large(hub, shop, HOLD), held.count
        await world.changed.until(lambda call=call, before=before: call.done() or held.count > before)  # type: ignore[misc]
        if call.done():
            break
    return reached


def _large(hub: HubProcess, shop: Instance, tool: str) -> "asyncio.Future[LimitAnswer]":
    return hub.call_in(shop.record.instance_id, tool, filling="x" * FILLING_BYTES)


async def _resident(hub: HubProcess) -> int:
    """Bytes; the hub samples them for each answer."""
    resident: int = (await hub.status())["limits"]["in_use"]["memory_hard_bytes"]
    return resident


async def _comes_true(check: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it does in time."""
    for _ in range(round(PATIENCE_S / SAMPLE_S)):
        if await check():
            return True
        await asyncio.sleep(SAMPLE_S)
    return False
