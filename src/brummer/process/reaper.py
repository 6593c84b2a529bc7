"""Process 1 of a container becomes the parent of every orphan. It must reap them: zombies would use up all process
numbers.

Our own children are left to the tasks that wait for them: until a script's leader is reaped its number is ours, see
`brummer.host.process_groups`.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection
from typing import Final

from brummer.host.process_groups import zombies_of

EVERY_S: Final = 10.0
"""A zombie takes nothing but its number, and a container has at least some hundreds of those."""


async def reap_orphans(own: Callable[[], Collection[int]], every_s: float = EVERY_S) -> None:
    """Runs until cancelled. ``own()``: the children that are reaped elsewhere."""
    while True:
        await asyncio.sleep(every_s)
        with contextlib.suppress(OSError):  # no descriptor is left for a scan, or it was reaped elsewhere
            for pid in (await asyncio.to_thread(zombies_of, os.getpid())).difference(own()):
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - does not wait
