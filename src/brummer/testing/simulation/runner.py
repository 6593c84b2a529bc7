"""Plays seeds: one with its trace, or many, with a process for each core."""

import asyncio
import contextlib
import gc
import logging
import random
from collections import Counter
from dataclasses import dataclass

from brummer.testing.simulated_loop import START_S, SimulatedLoop
from brummer.testing.simulation.judge import judge, judge_end
from brummer.testing.simulation.schedule import Schedule
from brummer.testing.simulation.world import World


@dataclass
class Result:
    """The result of one seed. ``found``: what is wrong; ``lines``: the trace; ``happened``: how often which fault."""

    seed: int
    hash: str
    calls: int
    found: list[str]
    lines: list[str]
    happened: Counter[str]
    virtual_s: float = 0.0
    steps: int = 0


def run(seed: int) -> Result:
    """Play and judge one schedule."""
    random.seed(seed)
    loop = SimulatedLoop()
    world = World(loop, seed)
    schedule = Schedule(world)
    logging.disable(logging.CRITICAL)
    was_enabled = gc.isenabled()
    gc.disable()
    found: list[str] = []
    try:
        asyncio.set_event_loop(loop)
        found = loop.run_until_complete(_play(world, schedule))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        import traceback  # noqa: PLC0415

        found = [f"the schedule failed: {error!r}", *traceback.format_exception(error)[-6:]]
        with contextlib.suppress(Exception):  # otherwise garbage collection ends its tasks at any time
            loop.steps = 0
            loop.run_until_complete(_kill_all(world))
    finally:
        logging.disable(logging.NOTSET)
        asyncio.set_event_loop(None)
        loop.close()
        if was_enabled:
            gc.enable()
    asked = [each for client in world.clients for each in client.asked]
    happened = world.happened + Counter(f"answer: {each.code}" for each in asked if each.code)
    happened["cancellation"] = sum(each.cancelled for each in asked)
    return Result(
        seed, world.trace.hash, len(asked), found, world.trace.lines, happened, loop.now_s - START_S, loop.steps
    )


async def _play(world: World, schedule: Schedule) -> list[str]:
    await schedule.play()
    found = judge(schedule)
    for client in world.clients:
        client.close_hub()
    for instance in world.instances:
        instance.end()
    await asyncio.sleep(30)
    found += await judge_end(world)
    await _kill_all(world)
    return found


async def _kill_all(world: World) -> None:
    """What programs do while they are killed belongs to no trace."""
    world.trace.is_over = True
    for task in world.loop.own_tasks:
        if task is not asyncio.current_task():
            task.cancel()
    for process in list(world.machine.processes.values()):
        await process.kill()
