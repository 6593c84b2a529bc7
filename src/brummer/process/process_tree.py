"""All processes that one script has started: its process group, and those that have left the group.

Those that have left it (setsid, double fork) are known by the environment that they inherited, and by their parents at
the time at which the end was requested. A scan reads two small files for every process of the machine, and an end needs
four scans; scripts that end at the same time share theirs.
"""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final, TypeVar

from brummer.core.errors import SHORTAGES
from brummer.host.exits import watch_exit
from brummer.host.pids import ProcessIdentity, identify
from brummer.process.guard_main import Identity, Scan, end_all, find, scan, send

RETRY_S: Final = 0.2
"""The pause after a shortage, such as of descriptors."""

T = TypeVar("T")


class Scans:
    """Scans all processes, one scan after the other. Everyone who asks before a scan begins gets the same one."""

    def __init__(self) -> None:
        self._next: asyncio.Task[Scan] | None = None
        self._running: set[asyncio.Task[Scan]] = set()
        self._one_at_a_time = asyncio.Lock()

    async def scan(self) -> Scan:
        """What lived at some moment since this was called. Raises OSError if no descriptor is left for it."""
        if self._next is None:
            self._next = asyncio.create_task(self._scan())
            self._running.add(self._next)
            self._next.add_done_callback(self._running.discard)
        return await asyncio.shield(self._next)

    async def end(self) -> None:
        """Wait for scans whose result is no longer needed: some milliseconds."""
        if self._running:
            await asyncio.wait(self._running)

    async def _scan(self) -> Scan:
        async with self._one_at_a_time:
            self._next = None
            return await asyncio.to_thread(scan)


class TreeUsage:
    """What the processes of a run have used, as far as it was seen: at least this much. It grows until the leader is
    reaped: a daemon that lives longer does not count.

    ``cpu_s``: CPU time of all of them. ``peak_bytes``: resident memory of all that lived at one moment, or, by the
    kernel's account, of the largest one alone. Both are None until something was seen.
    """

    def __init__(self) -> None:
        self.cpu_s: float | None = None
        self.peak_bytes: int | None = None
        self._left_s: float | None = None
        """CPU time of those that outlived the leader, which can't have waited for them; None while it lives."""
        self.is_final = False

    def __repr__(self) -> str:
        return f"<TreeUsage {self.cpu_s} s, {self.peak_bytes} bytes>"

    def see(self, cpu_s: float | None, resident_bytes: int | None) -> None:
        """Of all living processes, or some."""
        if cpu_s is not None and not self.is_final:
            self.cpu_s = max(cpu_s, self.cpu_s or 0.0)
        if resident_bytes is not None and not self.is_final:
            self.peak_bytes = max(resident_bytes, self.peak_bytes or 0)

    def leader_died(self) -> None:
        self._left_s = 0.0

    @property
    def leader_is_dead(self) -> bool:
        return self._left_s is not None

    def see_left(self, cpu_s: float | None) -> None:
        """Of living processes that are not the leader, which is dead."""
        self._left_s = max(cpu_s or 0.0, self._left_s or 0.0)

    def reaped(self, cpu_s: float, peak_bytes: int | None) -> None:
        """Of the leader, and of the processes that were waited for. The others either outlived it, or were seen before
        a stop, or are not counted.
        """
        self.see(cpu_s + (self._left_s or 0.0), peak_bytes)
        self.is_final = True


class ProcessTree:
    """``group`` is the process group, ``mark`` the variable of the environment (``NAME=value``) that all inherit."""

    def __init__(self, group: int, mark: str, scans: Scans) -> None:
        self.group = group
        self.usage = TreeUsage()
        self.mark = mark.encode()
        self._scans = scans
        self._remembered: set[Identity] = set()

    def __repr__(self) -> str:
        return f"<ProcessTree {self.group}>"

    async def members(self) -> list[ProcessIdentity]:
        """The living members of the group; waits while no descriptor is left to find them."""

        async def scan_for_members() -> list[ProcessIdentity]:
            return [identity for pid in await self.pids() if (identity := identify(pid))]

        return await retry_when_short(scan_for_members)

    async def pids(self) -> list[int]:
        """The members of the group at some moment since this was called. Raises OSError as `Scans.scan`."""
        living, _ = await self._scans.scan()
        pids = [pid for pid, (group, *_) in living.items() if group == self.group]
        self._measure(pids)
        return pids

    async def remember(self) -> None:
        """Note who belongs to it now: once the parents are dead, the origin of their children is unknown."""
        with contextlib.suppress(OSError):  # no descriptor is left, and a stop does not wait for one
            belonging, _ = find({self.group}, self.mark, set(), await self._scans.scan())
            self._remembered = set(belonging)
            self._measure([pid for pid, _ in belonging])

    async def end_escapees(self, grace_s: float) -> bool:
        """End those that have left the group; they have ``grace_s`` to end themselves. True if there were any."""
        escapees = await retry_when_short(self._scan_for_escapees)
        if not escapees:
            return False
        if grace_s > 0:
            asked = [identity for pid, started in escapees if (identity := _same(pid, started))]
            for escapee in escapees:
                send(escapee, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await all_died(asked)
        await retry_when_short(lambda: asyncio.to_thread(end_all, set(), self.mark, self._remembered))
        return True

    async def has_escapees(self) -> bool:
        """Whether processes live that have left the group."""
        return bool(await retry_when_short(self._scan_for_escapees))

    def _measure(self, pids: Iterable[int]) -> None:
        """Note what these use: they were found anyway, and each costs 10 µs."""
        from brummer.host.process_usage import total_of, usage_of  # noqa: PLC0415 - no start needs it

        is_dead = self.usage.leader_is_dead
        with contextlib.suppress(OSError):  # no descriptor is left
            usages = (usage_of(pid) for pid in pids if not (is_dead and pid == self.group))
            cpu_s, resident_bytes = total_of(each for each in usages if each is not None)
            self.usage.see(cpu_s, resident_bytes)
            if is_dead:
                self.usage.see_left(cpu_s)

    async def _scan_for_escapees(self) -> list[Identity]:
        escapees, _ = find(set(), self.mark, self._remembered, await self._scans.scan())
        self._measure([pid for pid, _ in escapees])
        return escapees


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


async def retry_when_short(work: Callable[[], Awaitable[T]]) -> T:
    """The result of ``work()``, which is repeated while the system is short of descriptors or memory."""
    while True:
        try:
            return await work()
        except OSError as error:
            if error.errno not in SHORTAGES:
                raise
            await asyncio.sleep(RETRY_S)
