"""Random schedules of everything that can happen to a hub, and the judgement over what its calls were told."""

import asyncio
import itertools
from collections.abc import Awaitable
from typing import Any

from .virtual_world import DEADLINE_S, DOWN, LO, VirtualInstance, World, in_virtual_time, world

HAPPENINGS = {"call": 12, "sleep": 3, "pause": 2, "die": 2, "hang": 2, "lose_loopback": 1}
"""How often each, beside the others."""

SLEEPS_S = (0.3, 20.0, 7200.0)
PAUSES_S = (1.0, 6.0, 40.0)
GAPS_S = (0.0, 0.0, 0.01, 0.5, 5.0)


class Schedule:
    """One: `play` it, then `judge` it."""

    def __init__(self, here: World) -> None:
        self.here = here
        self.rng = here.rng
        self.numbers = itertools.count(1)
        self.calls: list[tuple[int, VirtualInstance, asyncio.Task[dict[str, Any]]]] = []
        self.background: set[asyncio.Future[None]] = set()

    async def play(self) -> None:
        for _ in range(self.rng.randint(5, 25)):
            getattr(self, self.rng.choices([*HAPPENINGS], [*HAPPENINGS.values()])[0])()
            await asyncio.sleep(self.rng.choice(GAPS_S))
        await asyncio.gather(*self.background)
        await self.here.all_ready(within_s=4)

    async def judge(self) -> None:
        """Every call got one answer, and what it says is what was done."""
        for number, project, task in self.calls:
            said = await asyncio.wait_for(task, 2 * DEADLINE_S)
            ran = {each.id: each.ran[number] for each in self.here.projects if each.ran[number]}
            assert set(ran) <= {project.id}, f"call {number} ran elsewhere: {ran}"
            _judge(said, project.id, number, ran.get(project.id, 0))
            assert said["took_s"] < DEADLINE_S + 2 * self.here.paused_s + 10, said  # the hub can't speak in a pause

    # What may happen.

    def call(self) -> None:
        number, project = next(self.numbers), self._any()
        takes_s = self.rng.choice([0.0, 0.2, 3.0])
        self.calls.append((number, project, asyncio.create_task(self.here.call(project, number, takes_s))))

    def sleep(self) -> None:
        self.here.sleep(self.rng.choice(SLEEPS_S))

    def pause(self) -> None:
        self.here.pause(self.rng.choice(PAUSES_S))

    def die(self) -> None:
        self._begin(self._die_and_return(self._any()))

    def hang(self) -> None:
        self._begin(self._hang(self._any()))

    def lose_loopback(self) -> None:
        self._begin(self._lose_loopback())

    async def _die_and_return(self, project: VirtualInstance) -> None:
        if project.record is not None:
            await self.here.kill(project, noticed_after_s=self.rng.choice([0.0, 0.05, 1.0]))
            await asyncio.sleep(self.rng.uniform(0, 15))
            await self.here.start(project)

    async def _hang(self, project: VirtualInstance) -> None:
        project.answers.clear()
        await asyncio.sleep(self.rng.uniform(0, 8))
        project.answers.set()

    async def _lose_loopback(self) -> None:
        self.here.change_network(DOWN)
        await asyncio.gather(*map(self._hang, self.here.projects))
        self.here.change_network(LO)

    def _any(self) -> VirtualInstance:
        return self.rng.choice(self.here.projects)

    def _begin(self, work: Awaitable[None]) -> None:
        self.background.add(asyncio.ensure_future(work))


def _judge(said: dict[str, Any], project: str, number: int, times: int) -> None:
    if "answer" in said:
        assert (said["answer"], times) == ({"by": project, "number": number}, 1)
    elif said["outcome"] == "not_executed":
        assert times == 0, said
    else:
        assert said["outcome"] == "unknown", said
        assert times <= 1, said


def run_schedule(seed: int) -> None:
    """Play and judge one, in virtual time."""

    async def main() -> None:
        async with world(3, seed) as here:
            schedule = Schedule(here)
            await schedule.play()
            await schedule.judge()

    try:
        in_virtual_time(main())
    except BaseException as error:
        error.add_note(f"schedule {seed}")
        raise
