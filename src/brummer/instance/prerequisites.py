"""What a script depends on: started first, and waited for."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from brummer.core.errors import BrummerError
from brummer.instance.changes import Changes
from brummer.instance.dependencies import DependencyFailed, is_satisfied, missing, needed_by
from brummer.instance.detect import Script
from brummer.instance.run import Run
from brummer.instance.runs import Runs

LOOK_EVERY_S: Final = 1.0
"""That a grace is over is no change that anybody is told of."""

Ensure = Callable[[Script], Awaitable[object]]
Find = Callable[[str], Script]


class Prerequisites:
    """``ensure`` starts a script, ``find`` gives the one of a name and may block. ``comes_back``: a run was stopped
    only to be started again.
    """

    def __init__(
        self, runs: Runs, changes: Changes, ensure: Ensure, find: Find, comes_back: Callable[[Run], bool]
    ) -> None:
        self._runs = runs
        self._changes = changes
        self._ensure = ensure
        self._find = find
        self._comes_back = comes_back

    async def ready(self, run: Run) -> None:
        """Returns when all of them are satisfied (see `is_satisfied`). Those that run, or have, are left alone; the
        others are started. Raises DependencyFailed as soon as one of them has failed for good.
        """
        if not run.script.depends_on:
            return
        for script in await asyncio.to_thread(needed_by, run.script, self._find):
            there = self._runs.current(script.name)
            if there is None or there.state == "stopping" or missing(there, run.name):
                with contextlib.suppress(BrummerError):  # its own run tells
                    await self._ensure(script)
        while not self._satisfied(run):
            await self._changes.until(lambda: self._decided(run), LOOK_EVERY_S)

    def _satisfied(self, run: Run) -> bool:
        """As it is now: what woke us may be over. Raises DependencyFailed."""
        needed = self._needed(run)
        for other in needed:
            if (error := missing(other, run.name)) and not self._comes_back(other):
                raise error
        now_s = asyncio.get_running_loop().time()
        run.waits_for = [other.name for other in needed if not is_satisfied(other, now_s)]
        return not run.waits_for

    def _decided(self, run: Run) -> bool:
        try:
            return self._satisfied(run)
        except DependencyFailed:
            return True

    def _needed(self, run: Run) -> list[Run]:
        return [other for name in run.script.depends_on if (other := self._runs.current(name))]
