"""As process 1 of a container we are given every orphan, and nobody else reaps it: zombies would pile up until nothing
can be started any more.

Our own children are left to those who wait for them: until a script's leader is reaped its number is ours, see
`brummer.host.process_groups`.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection
from typing import Final

from brummer.host.process_groups import zombies_of

EVERY_S: Final = 10.0
"""A zombie takes nothing but its number, and a container may have some hundreds of those at the least."""


async def reap_orphans(own: Callable[[], Collection[int]], every_s: float = EVERY_S) -> None:
    """Runs until cancelled. ``own()`` are the children that somebody else waits for."""
    while True:
        await asyncio.sleep(every_s)
        with contextlib.suppress(OSError):  # no descriptor is left for a look, or another was faster
            for pid in (await asyncio.to_thread(zombies_of, os.getpid())).difference(own()):
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - does not wait
