"""All that one script has started: the members of its process group, and what has left that.

What has left it (setsid, double fork) is known by the environment that it inherited, and by its parents as they were
when the end was asked for. A look reads two small files for every process of the machine, and an end needs four looks;
scripts that end at the same time share theirs.
"""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeVar

from brummer.core.errors import SHORTAGES
from brummer.host.exits import watch_exit
from brummer.host.pids import ProcessIdentity, identify
from brummer.process.guard_main import Identity, Look, end_all, find, look, send

LOOK_AGAIN_S: Final = 0.2
"""When one of these has kept us from looking."""

T = TypeVar("T")


class Looks:
    """Looks at all processes, one after the other. Whoever asks before one has begun shares it."""

    def __init__(self) -> None:
        self._next: asyncio.Task[Look] | None = None
        self._under_way: set[asyncio.Task[Look]] = set()
        self._one_at_a_time = asyncio.Lock()

    async def look(self) -> Look:
        """What lived at some moment since this was called. Raises OSError where no descriptor is left to look with."""
        if self._next is None:
            self._next = asyncio.create_task(self._look())
            self._under_way.add(self._next)
            self._next.add_done_callback(self._under_way.discard)
        return await asyncio.shield(self._next)

    async def end(self) -> None:
        """Wait for those that nobody waits for any more: some milliseconds."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _look(self) -> Look:
        async with self._one_at_a_time:
            self._next = None
            return await asyncio.to_thread(look)


class Family:
    """``group`` is the process group, ``mark`` the variable of the environment (``NAME=value``) that all inherit."""

    def __init__(self, group: int, mark: str, looks: Looks) -> None:
        self.group = group
        self._mark = mark.encode()
        self._looks = looks
        self._remembered: set[Identity] = set()

    def __repr__(self) -> str:
        return f"<Family {self.group}>"

    async def members(self) -> list[ProcessIdentity]:
        """The living ones of the group; as soon as there are descriptors to look with."""
        return await _as_soon_as_possible(self._look_for_members)

    async def _look_for_members(self) -> list[ProcessIdentity]:
        living, _ = await self._looks.look()
        pids = [pid for pid, (group, *_) in living.items() if group == self.group]
        return [identity for pid in pids if (identity := identify(pid))]

    async def remember(self) -> None:
        """Who belongs to it now: in a moment its parents are dead, and nobody knows whose the orphans are."""
        with contextlib.suppress(OSError):  # no descriptor is left, and no stop waits for one
            belonging, _ = find({self.group}, self._mark, set(), await self._looks.look())
            self._remembered = set(belonging)

    async def end_escapees(self, grace_s: float) -> bool:
        """End those who have left the group: at once, or when they have had that time to do it themselves. Whether
        there were any.
        """
        escapees = await _as_soon_as_possible(self._look_for_escapees)
        if not escapees:
            return False
        if grace_s > 0:
            asked = [identity for pid, started in escapees if (identity := _same(pid, started))]
            for escapee in escapees:
                send(escapee, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await all_died(asked)
        await _as_soon_as_possible(lambda: asyncio.to_thread(end_all, set(), self._mark, self._remembered))
        return True

    async def _look_for_escapees(self) -> list[Identity]:
        return find(set(), self._mark, self._remembered, await self._looks.look())[0]


async def all_died(processes: Collection[ProcessIdentity]) -> None:
    """Wait until the last of them has ended."""
    if not processes:
        return
    loop = asyncio.get_running_loop()
    died = asyncio.Event()
    alive = len(processes)

    def one_died() -> None:
        nonlocal alive
        alive -= 1
        if not alive:
            died.set()

    watches = [watch_exit(loop, process, one_died) for process in processes]
    try:
        await died.wait()
    finally:
        for watch in watches:
            watch.close()


def _same(pid: int, started: int) -> ProcessIdentity | None:
    """None also if no descriptor is left: then nothing waits for that process, and `end_all` ends it."""
    with contextlib.suppress(OSError):
        identity = identify(pid)
        return identity if identity and identity.start_token == started else None
    return None


async def _as_soon_as_possible(look_at: Callable[[], Awaitable[T]]) -> T:
    """As soon as there are descriptors for it."""
    while True:
        try:
            return await look_at()
        except OSError as error:
            if error.errno not in SHORTAGES:
                raise
            await asyncio.sleep(LOOK_AGAIN_S)
