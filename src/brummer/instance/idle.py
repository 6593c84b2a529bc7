"""Notices that an instance is not needed any more: no script runs, and nobody calls.

An instance that was started for an agent has no person who would end it, and its agent ends without saying so.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

LOOKS: Final = 30
"""Looks within the idle time, so the end of a script or a call is noticed at most a thirtieth of it late; half an hour
is one look a minute. Daemons are looked for only at the end of the idle time.
"""


class Signs(NamedTuple):
    """What shows that an instance is needed. ``calls``: how many have ended since its start. ``has_daemons`` scans all
    processes, so it is asked last.
    """

    is_busy: Callable[[], bool]
    calls: Callable[[], int]
    has_daemons: Callable[[], Awaitable[bool]]


async def until_idle(idle_s: float, signs: Signs) -> None:
    """Return after ``idle_s`` in which no script ran and no call came, if no daemon runs then.

    If one does, the time begins anew. The machine's sleep does not count.
    """
    loop = asyncio.get_running_loop()
    while True:
        since_s, calls = loop.time(), signs.calls()
        while loop.time() - since_s < idle_s:
            await asyncio.sleep(idle_s / LOOKS)
            if signs.is_busy() or signs.calls() != calls:
                since_s, calls = loop.time(), signs.calls()
        if not (await signs.has_daemons() or signs.is_busy() or signs.calls() != calls):
            return
