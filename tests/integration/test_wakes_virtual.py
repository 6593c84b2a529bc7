"""One wake of two hundred links, in virtual time."""

import asyncio
import math

import pytest

from tests.unit.virtual_world import World, in_virtual_time, world

LINKS = 200


@pytest.mark.promise("ready-after-a-wake")
def test_two_hundred_links_are_ready_soon_after_one_wake() -> None:
    async def ready_after_s(here: World) -> list[float]:
        began_s = here.loop.time()
        looked = [link.connections.dials for link in here.links()]
        after: dict[int, float] = {}
        while len(after) < LINKS:
            await asyncio.sleep(0.001)
            for number, link in enumerate(here.links()):
                if link.connections.dials > looked[number]:
                    after.setdefault(number, here.loop.time() - began_s)
        return sorted(after.values())

    async def main() -> None:
        async with world(LINKS, seed=1) as here:
            here.sleep(8 * 3600)
            took_s = await ready_after_s(here)
            p50, p99 = (took_s[math.ceil(LINKS * share) - 1] for share in (0.5, 0.99))
            print(f"wake -> asked: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms", end="; ")
            assert p99 < 3

    in_virtual_time(main())
