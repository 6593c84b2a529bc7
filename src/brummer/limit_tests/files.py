"""The limit on open files: more calls at once than a hub may have connections for."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Final

from brummer.limit_tests.answers import OK
from brummer.limit_tests.calls import EXCESS
from brummer.limit_tests.finding import Measured
from brummer.limit_tests.held_calls import HOLD
from brummer.limit_tests.world import World, ready

FEW: Final = 64
"""What the hub is started with, so that it is the setting that makes it more."""
OTHERS: Final = 24
"""Of the hub's own: its pipes, watches, timers, the connection that asks; and what is about to be closed."""
LOOK_S: Final = 0.05


async def open_files(world: World, limit: int) -> Measured:
    """What finds no descriptor waits, and gets through when others are over."""
    holding = world.holding()
    async with (
        world.instance("shop", holding) as shop,
        world.hub(FEW, open_files=limit) as hub,
    ):
        await ready(hub, shop)
        instance_id = shop.record.instance_id
        calls = [hub.call_in(instance_id, HOLD) for _ in range(limit + EXCESS)]
        most = 0
        while most < limit - OTHERS or len(calls) == holding.inside:
            most = max(most, await asyncio.to_thread(_below, limit, hub.pid))
            await asyncio.sleep(LOOK_S)
        inside = holding.inside
        holding.let_go()
        got = Counter(answer.code for answer in await asyncio.gather(*calls))
        got[OK] -= inside
        again = await asyncio.gather(*(hub.call_in(instance_id, HOLD) for _ in range(EXCESS)))
    recovered = all(answer.code == OK for answer in again)
    return Measured(limit, most, limit - OTHERS, len(calls) - inside, OK, got, recovered)


def _below(limit: int, pid: int) -> int:
    """How many it has, by the system's count; what had a higher number before the limit was set keeps it."""
    return sum(int(each.name) < limit for each in Path(f"/proc/{pid}/fd").iterdir())
