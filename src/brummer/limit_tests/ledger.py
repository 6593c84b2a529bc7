"""Limits of an instance's ledger: kept results answer again, dropped ones are refused, and no call runs twice."""

import asyncio
from collections import Counter
from typing import Final

from brummer.core.metrics import Metric
from brummer.instance.metrics import ENTRIES, LEDGER_BYTES
from brummer.instance.service import Instance
from brummer.limit_tests.answers import OK
from brummer.limit_tests.direct_client import FORGOTTEN, DirectClient
from brummer.limit_tests.finding import Measured
from brummer.limit_tests.held_calls import PRODUCE, HeldCalls
from brummer.limit_tests.world import LimitTestWorld

RAN_TWICE: Final = "ran_twice"
EXCESS: Final = 10
RESULTS: Final = 32
"""So many results have as many bytes as the ledger may keep."""
LATER_S: Final = 0.1
"""A margin after the age at which a result expires."""


async def entries(world: LimitTestWorld, limit: int) -> Measured:
    """More calls than the ledger keeps."""
    held = world.held_calls()
    async with world.direct(held, ledger_entries=limit) as (shop, client):
        most = await _filled(client, shop, ENTRIES, limit + EXCESS, 0)
        return await _measured(client, held, shop, limit, most, limit, limit + EXCESS)


async def size(world: LimitTestWorld, limit: int) -> Measured:
    """More bytes of results than the ledger keeps."""
    held = world.held_calls()
    each = limit // RESULTS
    async with world.direct(held, ledger_bytes=limit) as (shop, client):
        most = await _filled(client, shop, LEDGER_BYTES, RESULTS + EXCESS, each)
        return await _measured(client, held, shop, limit, most, limit - 2 * each, RESULTS + EXCESS)


async def age(world: LimitTestWorld, limit: float) -> Measured:
    """The next call removes expired results."""
    held = world.held_calls()
    async with world.direct(held, ledger_age_s=limit) as (shop, client):
        began_s = asyncio.get_running_loop().time()
        await _filled(client, shop, ENTRIES, EXCESS, 0)
        kept = (await client.call(PRODUCE, key="0", again=True)).code == OK and held.runs == EXCESS
        await asyncio.sleep(limit + LATER_S)
        await client.call(PRODUCE, key=str(EXCESS))
        lived_s = limit if await gauge(shop, ENTRIES) == 1 else asyncio.get_running_loop().time() - began_s
        return await _measured(client, held, shop, limit, lived_s if kept else 0, limit, EXCESS + 1)


async def _filled(client: DirectClient, shop: Instance, size: Metric, calls: int, each: int) -> float:
    """Make ``calls`` calls with results of ``each`` bytes; their numbers are their keys. Returns the largest size."""
    most = 0.0
    for number in range(calls):
        await client.call(PRODUCE, key=str(number), size=each)
        most = max(most, await gauge(shop, size))
    return most


async def _measured(
    client: DirectClient, held: HeldCalls, shop: Instance, limit: float, most: float, edge: float, calls: int
) -> Measured:
    """Repeat all calls: those with a kept result answer without a run, the others are refused."""
    excess = calls - int(await gauge(shop, ENTRIES))
    got: Counter[str] = Counter()
    for number in range(calls):
        got[(await client.call(PRODUCE, key=str(number), again=True)).code] += 1
    if ran_twice := held.runs - calls:
        got[RAN_TWICE] = ran_twice
    del got[OK]
    new = await client.call(PRODUCE, key="new")
    return Measured(limit, most, edge, excess, FORGOTTEN, got, new.code == OK and held.runs == calls + 1)


async def gauge(instance: Instance, metric: Metric) -> float:
    """A metric of the instance that has no labels."""
    [family] = [family for family in await instance.families() if family.name == metric.name]
    return family.samples[0].value
