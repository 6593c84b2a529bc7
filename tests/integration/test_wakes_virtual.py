"""A thousand schedules in virtual time, and one wake of two hundred links; the unit tests run fewer of the same."""

import asyncio
import math

from tests.unit.virtual_schedules import run_schedule
from tests.unit.virtual_world import World, in_virtual_time, world

SCHEDULES = 1000
LINKS = 200


def test_a_thousand_schedules_of_sleep_wake_network_loss_and_death_keep_every_promise() -> None:
    for seed in range(SCHEDULES):
        run_schedule(seed)
    print(f"{SCHEDULES} schedules, every call got one true answer", end="; ")


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
