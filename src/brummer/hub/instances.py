"""Every instance the hub knows, with its link; and which one a call means."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from brummer.core.errors import BrummerError, NotFound, shown
from brummer.core.events import Hook
from brummer.core.limits import DEFAULTS, Limits
from brummer.core.memory import Memory
from brummer.core.servers import Server
from brummer.discovery.record import Record
from brummer.host.memory import give_back, resident_bytes
from brummer.hub.conditions import condition_of
from brummer.hub.room import Room
from brummer.link.admission import Gate
from brummer.link.basic import BasicLink
from brummer.link.caller import Caller
from brummer.link.foreign import ForeignTarget
from brummer.link.link import Link, Transition
from brummer.link.outcome import CallEnded
from brummer.link.peer import Peer
from brummer.link.target import Target
from brummer.wire import eras

REMEMBER_GONE_S: Final = 600.0
"""How long an instance that went away stays listed: an agent asks about a crash minutes later, not hours."""


SETTLE_S: Final = 2.0
"""The first look at the directory and the first probes take milliseconds; a frozen instance must not hold up a list."""


PLACES_LIMIT: Final = 1_000


Concerns = Callable[[Record | Server], bool]


class Ambiguous(BrummerError):
    """Several instances could be meant; ``context`` lists them."""

    code = "ambiguous_instance"


class NoInstances(BrummerError):
    """Nothing runs that a call could go to."""

    code = "no_instances"
    retryable = True


@dataclass(slots=True, eq=False)
class Known:
    """One instance or server: its facts, the link with the task that runs it, and the way of calls over it."""

    record: Record | Server
    link: Link | BasicLink
    caller: Caller | BasicLink
    task: asyncio.Task[None]
    is_gone: bool = False
    """As discovery says; its link hears of it a moment later. A foreign server never is."""
    repeatable: frozenset[str] | None = None
    """The tools of a foreign server that may be sent twice, by its own hints; None until it was asked."""

    def forget_hints(self) -> None:
        self.repeatable = None

    @property
    def id(self) -> str:
        return self.record.name if isinstance(self.record, Server) else self.record.instance_id

    @property
    def directory(self) -> str:
        """Empty for a server that is not ours: it holds no directory."""
        return "" if isinstance(self.record, Server) else self.record.directory

    @property
    def is_further(self) -> bool:
        """See `Record.is_further`."""
        return isinstance(self.record, Record) and self.record.is_further

    def summary(self) -> dict[str, Any]:
        """An item of ``instances_list``."""
        status = self.link.status()
        return {
            "instance_id": self.id,
            "name": self.record.name,
            "directory": self.directory,
            "url": self.record.shown_url if isinstance(self.record, Server) else self.record.url,
            "pid": None if isinstance(self.record, Server) else self.record.pid,
            **{key: status[key] for key in ("state", "since_s", "reason", "last_error", "next_retry_s")},
        }


_EXPLAINED: Final = frozenset({"stopped", "gone"})


class Instances:
    """Follows the registry's events; answers who is there and who is meant. ``working_directory`` is a real path.
    Whom it ``concerns`` it links to; of others it knows nothing.
    """

    def __init__(
        self,
        working_directory: Path,
        *,
        use_robust_networking: bool = True,
        limits: Limits = DEFAULTS,
        concerns: Concerns = lambda _: True,
    ) -> None:
        self._concerns = concerns
        self._use_robust_networking = use_robust_networking
        self._known: dict[str, Known] = {}
        self._working_directory = str(working_directory)
        self._places: dict[str, str] = {}
        self._defaults: dict[tuple[str, ...], Known] = {}  # until anything changes
        self._looked = asyncio.Event()
        self.look_again: Callable[[], Awaitable[None]] = _do_nothing
        """Reads the directory now. Nobody is told that an instance is not there before it was looked for."""
        self.gate = Gate(limits)
        self.memory = Memory(limits.memory_soft_bytes, limits.memory_hard_bytes, resident_bytes, self._shed)
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
        return len(left) > 1 and all(link.is_failing and link.target.look() not in _EXPLAINED for link in left)

    # What discovery tells.

    def appeared(self, record: Record) -> None:
        """A new instance, a new run of one that we know, or a change of its record."""
        if not self._concerns(record):
            return
        self._defaults.clear()
        self._forget_long_gone()
        target = target_of(record)
        known = self._known.get(record.instance_id)
        if known is None:
            self._known[record.instance_id] = self._new(record, target)
            return
        if isinstance(known.record, Server):
            return  # the user gave this name to something else
        if target != target_of(known.record) or known.is_gone:
            known.link.retarget(target, "a new record")
        known.record, known.is_gone = record, False

    def add_server(self, server: Server) -> None:
        """A server that the user named; it is linked to for as long as the hub lives."""
        if not self._concerns(server):
            return
        self._defaults.clear()
        self._known[server.name] = self._new(server, ForeignTarget(server.name, server.url, server.headers))

    def _new(self, record: Record | Server, target: Peer) -> Known:
        link: Link | BasicLink
        caller: Caller | BasicLink
        if self._use_robust_networking:
            link = Link(
                target,
                limits=self.gate.limits,
                transitions=self.transitions,
                budget=self.gate.budget,
                room=self._room,
            )
            caller = self.make_caller(link, self.gate, self.are_cut_off, self.calls_ended)
        else:
            link = caller = BasicLink(target, self.gate.limits)
        task = asyncio.get_running_loop().create_task(link.run(), name=f"link {target.instance_id}")
        return Known(record, link, caller, task)

    def gone(self, record: Record, reason: str) -> None:
        self._defaults.clear()
        known = self._known.get(record.instance_id)
        if known is not None and isinstance(known.record, Record) and known.record.generation == record.generation:
            known.link.owner_gone(reason)
            known.is_gone = True

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
            if known.is_gone and now - known.link.since_s > REMEMBER_GONE_S:
                del self._known[instance_id]
                ending = asyncio.get_running_loop().create_task(_end(known))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)

    def _shed(self) -> None:
        """What can be had again."""
        self._places.clear()
        for known in self._known.values():
            if isinstance(known.link, Link):
                known.link.connections.drop_spares()
        give_back()

    async def close(self) -> None:
        await asyncio.gather(*(_end(known) for known in self._known.values()), *self._ending)

    # Who is meant.

    def known_now(self, name: str | None, roots: tuple[str, ...]) -> Known | None:
        """Who is meant, where that is known without looking: by id, or by what `default` has found before."""
        if name is not None:
            return self._known.get(name) if self._looked.is_set() else None
        known = self._defaults.get(roots)
        return None if known is None or known.is_gone else known

    async def named(self, name: str) -> Known:
        """By id, name or directory. Raises `NotFound` or `Ambiguous`, both listing the choices."""
        found = await self._called(name)
        if not found:
            await self.look_again()
            found = await self._called(name)
        if not found:
            raise NotFound(
                f"no instance is called {shown(name)!r}; instances_list shows all", instances=self._choices()
            )
        return self._only(found, f"several instances are called {shown(name)!r}; use the id")

    async def _called(self, name: str) -> list[Known]:
        if name in self._known:
            return [self._known[name]]
        found = [known for known in self._known.values() if known.record.name == name]
        if not found and (os.sep in name or name.startswith(("~", "."))):
            found = self._holding([await _real(name)])
        return found

    async def default(self, roots: tuple[str, ...]) -> Known:
        """Where the hub was started, else where one of the client's ``roots`` lies, else the only one."""
        known = self._defaults.get(roots)
        if known is None or known.is_gone:
            known = await self._find_default(roots)
            if len(self._defaults) >= PLACES_LIMIT:
                self._defaults.clear()
            self._defaults[roots] = known
        return known

    async def _find_default(self, roots: tuple[str, ...]) -> Known:
        places = [self._working_directory] + [await self._place_of(root) for root in roots]
        found = self._fitting(places)
        if not found or found[0].is_gone:
            await self.look_again()
            found = self._fitting(places)
        if not found:
            raise _no_instances()
        return self._only(found, "several instances run; pass `instance`, or choose one with instances_connect")

    async def living(self) -> list[Known]:
        """All instances that are there. Raises `NoInstances`."""
        if not self._living:
            await self.look_again()
        if not self._living:
            raise _no_instances()
        return self._living

    @property
    def _living(self) -> list[Known]:
        return [known for known in self if not known.is_gone and isinstance(known.record, Record)]

    def _fitting(self, places: list[str]) -> list[Known]:
        return self._holding(places) or self._living or [known for known in self if isinstance(known.record, Record)]

    def _holding(self, places: Iterable[str]) -> list[Known]:
        """The instance whose directory holds a place most closely; places and directories are real paths.

        Of several in one directory it is the one without a name: all others were named to be asked for by name.
        """
        for place in places:
            holding = [known for known in self._known.values() if _holds(known.directory, place)]
            if holding:
                depth = max(len(known.directory) for known in holding)
                nearest = [known for known in holding if len(known.directory) == depth]
                return [known for known in nearest if not known.is_further] or nearest
        return []

    async def _place_of(self, root_uri: str) -> str:
        """The real path of a ``file:`` URI; remembered, because every call of a client asks for the same few."""
        if root_uri not in self._places:
            if len(self._places) >= PLACES_LIMIT:
                self._places.clear()
            path = _path_in(root_uri)
            self._places[root_uri] = await _real(path) if path else ""
        return self._places[root_uri]

    def _only(self, found: list[Known], otherwise: str) -> Known:
        if len(found) > 1:
            raise Ambiguous(otherwise, instances=[_choice(known) for known in found])
        return found[0]

    def _choices(self) -> list[dict[str, str]]:
        return [_choice(known) for known in self]


def _no_instances() -> NoInstances:
    return NoInstances("no instance is running; start one with `brum` in a project directory", retry_after_s=2.0)


async def _do_nothing() -> None:
    """Before there is a directory to look at."""


async def _end(known: Known) -> None:
    known.task.cancel()
    await asyncio.gather(known.task, return_exceptions=True)
    await known.caller.close()


def _choice(known: Known) -> dict[str, str]:
    return {
        "instance_id": known.id,
        "name": known.record.name,
        "directory": known.directory,
    }


def target_of(record: Record) -> Target:
    """What a link needs to know of a record."""
    url = urlsplit(record.url)
    return Target(
        record.instance_id,
        record.generation,
        url.hostname or "127.0.0.1",
        url.port or 80,
        record.token,
        record.protocols or (eras.LEGACY_LATEST,),
        condition_of(record),
    )


def _path_in(root_uri: str) -> str:
    """Empty for what names no file here."""
    try:
        url = urlsplit(root_uri)
    except ValueError:  # an address in brackets that is none
        return ""
    return unquote(url.path) if url.scheme == "file" else ""


async def _real(path: str) -> str:
    """In a thread: a path may lead to a file server that does not answer. Empty for what can be no path."""
    return await asyncio.to_thread(_resolved, path)


def _resolved(path: str) -> str:
    try:
        return os.path.realpath(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises for an unknown user
    except ValueError:
        return ""


def _holds(directory: str, place: str) -> bool:
    return bool(directory) and (place == directory or place.startswith(directory.rstrip(os.sep) + os.sep))
