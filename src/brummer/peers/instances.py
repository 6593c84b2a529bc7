"""Every instance the hub knows, each with its link."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from brummer.calls.basic import BasicLink
from brummer.calls.caller import CallEnded, Caller
from brummer.core.events import Hook
from brummer.core.memory import Memory
from brummer.core.supervisor import Supervisor
from brummer.discovery.record import Record
from brummer.host.real_system import REAL
from brummer.host.system import System
from brummer.link.link import Link
from brummer.link.peer import Peer
from brummer.link.state import Transition
from brummer.peers.instance_client import target_of
from brummer.peers.instance_entry import InstanceEntry
from brummer.peers.machine import OtherMachine
from brummer.peers.resolver import Resolver
from brummer.pool.memory_reservations import MemoryReservations
from brummer.pool.pool import Pool
from brummer.settings.limits import DEFAULTS, Limits
from brummer.settings.servers import Server

REMEMBER_GONE_S: Final = 600.0
"""How long an instance that is gone stays listed: agents ask about a crash within minutes, not hours."""


FIRST_SCAN_S: Final = 10.0
"""A scan takes milliseconds. The hub of a machine with a load of 30 needs seconds until it gets to it, and a list
without it would be wrong.
"""
FIRST_MACHINES_S: Final = 10.0
"""A login over SSH takes a second, and ten with slow name servers. Only what is not found here waits for it."""
FIRST_RESULTS_S: Final = 2.0
"""The first scan and the first probes take milliseconds. A frozen instance must not delay a list."""


Concerns = Callable[[Record | Server], bool]


_EXPLAINED: Final = frozenset({"stopped", "frozen", "gone"})
EXPLAINED_S: Final = 0.1
"""How long a check of all processes is valid: when many links fail, many calls fail, and each one asks."""


class Instances:
    """Follows the registry's events, and knows the instances. ``working_directory`` is a real path.
    ``concerns(record)`` filters which instances get a link; others are ignored. ``supervisor`` runs the links.
    """

    def __init__(
        self,
        working_directory: Path,
        *,
        supervisor: Supervisor | None = None,
        use_robust_networking: bool = True,
        limits: Limits = DEFAULTS,
        concerns: Concerns = lambda _: True,
        system: System = REAL,
    ) -> None:
        self._system = system
        self._supervisor = supervisor or Supervisor()
        self._concerns = concerns
        self.are_robust = use_robust_networking
        self._loop = asyncio.get_running_loop()
        self._explained_until_s = float("-inf")
        self._is_explained = False
        self._entries: dict[str, InstanceEntry] = {}
        self.machines: list[OtherMachine] = []
        """The other machines of the user's settings."""
        self._scanned = asyncio.Event()
        self.resolver = Resolver(self._entries, str(working_directory), self._scanned.is_set)
        self.pool = Pool(limits)
        self.memory = Memory(
            limits.memory_soft_bytes, limits.memory_hard_bytes, system.memory.resident_bytes, self._shed
        )
        self.reservations = MemoryReservations(self.memory)
        self.transitions: Hook[Transition] = Hook()
        self.calls_ended: Hook[CallEnded] = Hook()
        self.make_caller: Callable[[Link, Callable[[], bool], Hook[CallEnded]], Caller] = Caller
        self._ending: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[InstanceEntry]:
        return iter(sorted(self._entries.values(), key=lambda entry: (entry.is_gone, entry.id)))

    def are_cut_off(self) -> bool:
        """Whether all of several links fail, and the processes of their instances do not explain it.

        The cause is then probably on this side: the network, a firewall, or a delay of this process. Those of one other
        machine all fail if only the way there is cut, so they prove nothing by themselves.
        """
        known = [entry for entry in self._entries.values() if not entry.is_gone]
        left = [entry.link for entry in known]
        several = sum(not entry.host for entry in known) >= 2  # noqa: PLR2004
        if not several or not all(link.is_failing for link in left):
            return False
        now_s = self._loop.time()
        if now_s >= self._explained_until_s:
            self._explained_until_s = now_s + EXPLAINED_S
            self._is_explained = any(
                link.target.in_other_network or link.target.condition() in _EXPLAINED for link in left
            )
        return not self._is_explained

    # Events of discovery.

    def appeared(self, record: Record) -> None:
        """A new instance, a new run of one that we know, or a change of its record."""
        if not self._concerns(record):
            return
        self.resolver.changed()
        self._forget_long_gone()
        target = target_of(record, self._system)
        entry = self._entries.get(record.key)
        if entry is None:
            self._entries[record.key] = self._new(record, target)
            return
        if isinstance(entry.record, Server):
            return  # the user gave this name to something else
        if target != target_of(entry.record, self._system) or entry.is_gone:
            entry.link.retarget(target, "a new record")
        entry.record, entry.is_gone = record, False

    def add_server(self, server: Server) -> None:
        """A server of the user's settings; it has a link as long as the hub runs."""
        if not self._concerns(server):
            return
        self.resolver.changed()
        from brummer.foreign.peer import ForeignTarget  # noqa: PLC0415 - few hubs have a foreign server

        target = ForeignTarget(server.name, server.url, server.headers, server.connect_timeout_s)
        self._entries[server.name] = self._new(server, target)

    def _new(self, record: Record | Server, target: Peer) -> InstanceEntry:
        link: Link | BasicLink
        caller: Caller | BasicLink
        robust: Link | None = None
        if self.are_robust:
            link = robust = Link(
                target,
                transitions=self.transitions,
                pool=self.pool,
                reservations=self.reservations,
                system=self._system,
            )
            caller = self.make_caller(robust, self.are_cut_off, self.calls_ended)
        else:
            link = caller = BasicLink(target, self.pool.limits, self._system)
        task = self._supervisor.start(f"link {target.instance_id}", link.run)
        return InstanceEntry(record, link, caller, task, robust)

    def gone(self, record: Record, reason: str, *, withdrew: bool = False) -> None:
        """The end of this run is proven; that says nothing of another run. ``withdrew``: it ended in good order."""
        self.resolver.changed()
        entry = self._entries.get(record.key)
        if entry is not None and isinstance(entry.record, Record) and entry.record.generation == record.generation:
            entry.link.owner_gone(reason, withdrew=withdrew)
            entry.is_gone = True

    def keep_only(self, records: Mapping[str, Record], host: str = "") -> None:
        """Treat instances without a record as gone: the event of their end may have been lost.

        ``records``, by id, are all those of one machine: this one, or ``host``.
        """
        for entry in self._entries.values():
            record = entry.record
            if entry.is_gone or entry.host != host or not isinstance(record, Record):
                continue
            if record.instance_id not in records:
                self.gone(record, "not there any more")

    def scanned(self) -> None:
        """The directory was scanned once: an instance without an entry does not exist."""
        self._scanned.set()

    async def first_scan(self) -> None:
        """Wait, for `FIRST_SCAN_S` at the most, for the first scan."""
        try:
            async with asyncio.timeout(FIRST_SCAN_S):
                await self._scanned.wait()
        except TimeoutError:
            pass

    async def first_machines(self) -> None:
        """Wait, for `FIRST_MACHINES_S` at the most, until the first attempt to reach each machine has a result."""
        try:
            async with asyncio.timeout(FIRST_MACHINES_S):
                for machine in self.machines:
                    await machine.settled()
        except TimeoutError:
            pass

    async def settled(self) -> None:
        """Wait, for `FIRST_RESULTS_S` at the most, until the directory was scanned and every machine and link has a
        result.
        """
        try:
            async with asyncio.timeout(FIRST_RESULTS_S):
                await self._scanned.wait()
                for machine in self.machines:
                    await machine.settled()
                for entry in list(self._entries.values()):
                    await entry.link.settled()
        except TimeoutError:
            pass

    def _forget_long_gone(self) -> None:
        now = asyncio.get_running_loop().time()
        for key, entry in list(self._entries.items()):
            if entry.is_gone and now - entry.link.since_s > REMEMBER_GONE_S and not entry.is_waited_for:
                del self._entries[key]
                ending = asyncio.get_running_loop().create_task(_end(entry))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)

    def _shed(self) -> None:
        """Drop caches."""
        self.resolver.forget_places()
        for entry in self._entries.values():
            if entry.robust is not None:
                entry.robust.connections.drop_idle(keep=1)
        self._system.memory.give_back()

    async def close(self) -> None:
        await asyncio.gather(*(_end(entry) for entry in self._entries.values()), *self._ending)


async def _end(entry: InstanceEntry) -> None:
    entry.task.cancel()
    await asyncio.gather(entry.task, return_exceptions=True)
    await entry.caller.close()
