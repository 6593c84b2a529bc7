"""Every instance the hub knows, each with its link."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from brummer.core.events import Hook
from brummer.core.memory import Memory
from brummer.core.supervisor import Supervisor
from brummer.discovery.record import Record
from brummer.foreign.peer import ForeignTarget
from brummer.host.real_system import REAL
from brummer.host.system import System
from brummer.link.admission import Gate
from brummer.link.basic import BasicLink
from brummer.link.caller import Caller
from brummer.link.link import Link, Transition
from brummer.link.outcome import CallEnded
from brummer.link.peer import Peer
from brummer.peers.instance_client import target_of
from brummer.peers.instance_entry import Known
from brummer.peers.resolver import Addressing
from brummer.pool.memory_reservations import Room
from brummer.settings.limits import DEFAULTS, Limits
from brummer.settings.servers import Server

REMEMBER_GONE_S: Final = 600.0
"""How long an instance that went away stays listed: an agent asks about a crash minutes later, not hours."""


SETTLE_S: Final = 2.0
"""The first look at the directory and the first probes take milliseconds; a frozen instance must not hold up a list."""


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
        self._known: dict[str, Known] = {}
        self._looked = asyncio.Event()
        self.addressing = Addressing(self._known, str(working_directory), self._looked.is_set)
        self.gate = Gate(limits)
        self.memory = Memory(
            limits.memory_soft_bytes, limits.memory_hard_bytes, system.memory.resident_bytes, self._shed
        )
        self._room = Room(self.memory)
        self.transitions: Hook[Transition] = Hook()
        self.calls_ended: Hook[CallEnded] = Hook()
        self.make_caller: Callable[[Link, Gate, Callable[[], bool], Hook[CallEnded]], Caller] = Caller
        self._ending: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Known]:
        return iter(sorted(self._known.values(), key=lambda known: (known.is_gone, known.id)))

    def are_cut_off(self) -> bool:
        """Whether all of several links fail though nothing is seen of their instances that explains it.

        Then the cause is rather here (the network, a firewall, our own lateness) than in all of them.
        """
        left = [known.link for known in self._known.values() if not known.is_gone]
        if len(left) < 2 or not all(link.is_failing for link in left):  # noqa: PLR2004 — several
            return False
        now_s = self._loop.time()
        if now_s >= self._explained_until_s:
            self._explained_until_s = now_s + EXPLAINED_S
            self._is_explained = any(link.target.condition() in _EXPLAINED for link in left)
        return not self._is_explained

    # What discovery tells.

    def appeared(self, record: Record) -> None:
        """A new instance, a new run of one that we know, or a change of its record."""
        if not self._concerns(record):
            return
        self.addressing.changed()
        self._forget_long_gone()
        target = target_of(record, self._system)
        known = self._known.get(record.instance_id)
        if known is None:
            self._known[record.instance_id] = self._new(record, target)
            return
        if isinstance(known.record, Server):
            return  # the user gave this name to something else
        if target != target_of(known.record, self._system) or known.is_gone:
            known.link.retarget(target, "a new record")
        known.record, known.is_gone = record, False

    def add_server(self, server: Server) -> None:
        """A server that the user named; it is linked to for as long as the hub lives."""
        if not self._concerns(server):
            return
        self.addressing.changed()
        target = ForeignTarget(server.name, server.url, server.headers, server.connect_timeout_s)
        self._known[server.name] = self._new(server, target)

    def _new(self, record: Record | Server, target: Peer) -> Known:
        link: Link | BasicLink
        caller: Caller | BasicLink
        if self.are_robust:
            link = Link(
                target,
                limits=self.gate.limits,
                transitions=self.transitions,
                budget=self.gate.budget,
                room=self._room,
                system=self._system,
            )
            caller = self.make_caller(link, self.gate, self.are_cut_off, self.calls_ended)
        else:
            link = caller = BasicLink(target, self.gate.limits, self._system)
        task = self._supervisor.start(f"link {target.instance_id}", link.run)
        return Known(record, link, caller, task)

    def gone(self, record: Record, reason: str) -> None:
        self.addressing.changed()
        known = self._known.get(record.instance_id)
        if known is not None and isinstance(known.record, Record) and known.record.generation == record.generation:
            known.link.owner_gone(reason)
            known.is_gone = True

    def keep_only(self, records: Mapping[str, Record]) -> None:
        """Treat instances without a record as gone: the event of their end may have been lost."""
        for known in self._known.values():
            if isinstance(known.record, Record) and not known.is_gone and known.id not in records:
                self.gone(known.record, "not there any more")

    def looked(self) -> None:
        """The directory has been read once: who is not known now is not there."""
        self._looked.set()

    async def looked_at(self) -> None:
        """Wait, for `SETTLE_S` at the most, until the directory was read for the first time."""
        if not self._looked.is_set():
            try:
                async with asyncio.timeout(SETTLE_S):
                    await self._looked.wait()
            except TimeoutError:
                pass

    async def settled(self) -> None:
        """Wait, for `SETTLE_S` at the most, until the directory was read and every link has something to say."""
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._looked.wait()
                for known in list(self._known.values()):
                    await known.link.settled()
        except TimeoutError:
            pass

    def _forget_long_gone(self) -> None:
        now = asyncio.get_running_loop().time()
        for instance_id, known in list(self._known.items()):
            if known.is_gone and now - known.link.since_s > REMEMBER_GONE_S and not known.is_waited_for:
                del self._known[instance_id]
                ending = asyncio.get_running_loop().create_task(_end(known))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)

    def _shed(self) -> None:
        """What can be had again."""
        self.addressing.forget_places()
        for known in self._known.values():
            if isinstance(known.link, Link):
                known.link.connections.drop_spares()
        self._system.memory.give_back()

    async def close(self) -> None:
        await asyncio.gather(*(_end(known) for known in self._known.values()), *self._ending)


async def _end(known: Known) -> None:
    known.task.cancel()
    await asyncio.gather(known.task, return_exceptions=True)
    await known.caller.close()
