"""Limits of an instance's ledger: what is kept answers again, what had to go is refused, and nothing runs twice."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from brummer.instance.metrics import ENTRIES, LEDGER_BYTES
from brummer.instance.service import Instance
from brummer.limit_tests.answers import OK
from brummer.limit_tests.direct_client import FORGOTTEN, Straight
from brummer.limit_tests.finding import Measured
from brummer.limit_tests.held_calls import PRODUCE, Holding
from brummer.limit_tests.world import World

RAN_TWICE: Final = "ran_twice"
EXCESS: Final = 10
RESULTS: Final = 32
"""Of which a ledger's bytes are made up."""
LATER_S: Final = 0.1
"""After its age a result is of no use."""


async def entries(world: World, limit: int) -> Measured:
    """More calls than are remembered."""
    holding = world.holding()
    async with world.instance("shop", holding, ledger_entries=limit) as shop, Straight.to(shop) as straight:
        most = await _filled(straight, lambda: gauge(shop, ENTRIES.name), limit + EXCESS, 0)
        return await _measured(straight, holding, shop, limit, most, limit, limit + EXCESS)


async def size(world: World, limit: int) -> Measured:
    """More results than are kept, which together weigh more."""
    holding = world.holding()
    each = limit // RESULTS
    async with world.instance("shop", holding, ledger_bytes=limit) as shop, Straight.to(shop) as straight:
        most = await _filled(straight, lambda: gauge(shop, LEDGER_BYTES.name), RESULTS + EXCESS, each)
        return await _measured(straight, holding, shop, limit, most, limit - 2 * each, RESULTS + EXCESS)


async def age(world: World, limit: float) -> Measured:
    """Results that have become old are forgotten with the next one that comes."""
    holding = world.holding()
    async with world.instance("shop", holding, ledger_age_s=limit) as shop, Straight.to(shop) as straight:
        began_s = asyncio.get_running_loop().time()
        await _filled(straight, lambda: 0, EXCESS, 0)
        kept = (await straight.call(PRODUCE, key="0", again=True)).code == OK and holding.runs == EXCESS
        await asyncio.sleep(limit + LATER_S)
        await straight.call(PRODUCE, key=str(EXCESS))
        lived_s = limit if gauge(shop, ENTRIES.name) == 1 else asyncio.get_running_loop().time() - began_s
        return await _measured(straight, holding, shop, limit, lived_s if kept else 0, limit, EXCESS + 1)


async def _filled(straight: Straight, size_now: Callable[[], float], calls: int, each: int) -> float:
    """Make so many calls with results of this size, keyed by their number; returns the most that was kept."""
    most = 0.0
    for number in range(calls):
        await straight.call(PRODUCE, key=str(number), size=each)
        most = max(most, size_now())
    return most


async def _measured(
    straight: Straight, holding: Holding, shop: Instance, limit: float, most: float, edge: float, calls: int
) -> Measured:
    """Ask for all of them again: those that are kept answer without a run, those that are not say so."""
    excess = calls - int(gauge(shop, ENTRIES.name))
    got: Counter[str] = Counter()
    for number in range(calls):
        got[(await straight.call(PRODUCE, key=str(number), again=True)).code] += 1
    if ran_twice := holding.runs - calls:
        got[RAN_TWICE] = ran_twice
    del got[OK]
    new = await straight.call(PRODUCE, key="new")
    return Measured(limit, most, edge, excess, FORGOTTEN, got, new.code == OK and holding.runs == calls + 1)


def gauge(instance: Instance, name: str) -> float:
    """A metric of it that has no labels."""
    [family] = [family for family in instance.families() if family.name == name]
    return family.samples[0].value
