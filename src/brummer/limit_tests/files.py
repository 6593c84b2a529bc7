"""The limit on open files: more calls at once than a hub has descriptors for."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Final

from brummer.limit_tests.answers import OK
from brummer.limit_tests.calls import EXCESS
from brummer.limit_tests.finding import Measured
from brummer.limit_tests.held_calls import HOLD
from brummer.limit_tests.world import LimitTestWorld

FEW: Final = 64
"""The hub starts with so few, so that only the setting can raise the limit."""
OTHERS: Final = 24
"""Descriptors of the hub itself: pipes, watches, timers, probes, and connections that are being closed."""
LOOK_EVERY_S: Final = 0.05


async def open_files(world: LimitTestWorld, limit: int) -> Measured:
    """A call without a descriptor waits, and succeeds after others have ended."""
    held = world.held_calls()
    async with world.linked(held, descriptors=FEW, open_files=limit) as (hub, [shop]):
        instance_id = shop.record.instance_id
        calls = [hub.call_in(instance_id, HOLD) for _ in range(limit + EXCESS)]
        most = 0
        while most < limit - OTHERS or len(calls) == held.count:
            most = max(most, await asyncio.to_thread(_below, limit, hub.pid))
            await asyncio.sleep(LOOK_EVERY_S)
        at_limit = held.count
        held.release()
        got = Counter(answer.code for answer in await asyncio.gather(*calls))
        got[OK] -= at_limit
        again = await asyncio.gather(*(hub.call_in(instance_id, HOLD) for _ in range(EXCESS)))
    recovered = all(answer.code == OK for answer in again)
    return Measured(limit, most, limit - OTHERS, len(calls) - at_limit, OK, got, recovered)


def _below(limit: int, pid: int) -> int:
    """How many descriptors below the limit the process has open; one opened before the limit was set may be above."""
    return sum(int(each.name) < limit for each in Path(f"/proc/{pid}/fd").iterdir())
