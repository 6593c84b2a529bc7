"""Finds the instance of a call: the named one, else the one where its client works, else the only one."""

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from brummer.core.errors import BrummerError, NotFound, shown
from brummer.discovery.record import Record
from brummer.host.directories import real_path
from brummer.host.threads import in_thread
from brummer.peers.instance_entry import InstanceEntry

PLACES_LIMIT: Final = 1_000
"""Roots that clients have named, whose real paths are remembered."""


class Ambiguous(BrummerError):
    """Several instances could be meant; ``context`` lists them."""

    code = "ambiguous_instance"


class NoInstances(BrummerError):
    """No instance runs. Asking again changes nothing: somebody must start one."""

    code = "no_instances"


class Resolver:
    """Over the ``entries`` by id, which others write. ``here``: the hub's own working directory, a real path.

    ``was_scanned``: whether the directory was read yet. Instances of other machines have to be named: their directories
    mean nothing here, and no call without a name goes to them.
    """

    def __init__(self, entries: Mapping[str, InstanceEntry], here: str, was_scanned: Callable[[], bool]) -> None:
        self._entries = entries
        self._here = here
        self._was_scanned = was_scanned
        self.rescan: Callable[[], Awaitable[None]] = _do_nothing
        """Scans the directory now. An instance is reported as missing only after a scan."""
        self._places: dict[str, str] = {}
        self._defaults: dict[tuple[str, ...], InstanceEntry] = {}  # until anything changes

    def changed(self) -> None:
        """An instance appeared, changed, or is gone."""
        self._defaults.clear()

    def forget_places(self) -> None:
        """Real paths can be found again."""
        self._places.clear()

    def now(self, name: str | None, roots: tuple[str, ...]) -> InstanceEntry | None:
        """The instance, if it is known without a scan: by id, or as `default` has found it before."""
        if name is not None:
            return self._entries.get(name) if self._was_scanned() else None
        entry = self._defaults.get(roots)
        return None if entry is None or entry.is_gone else entry

    async def named(self, name: str) -> InstanceEntry:
        """By id, name or directory; of another machine also by ``ID@HOST`` or ``NAME@HOST``. An id of this machine is
        exact; otherwise no machine comes before another. Raises `NotFound` or `Ambiguous`, both listing the choices.
        """
        found = await self._called(name)
        if not found:
            await self.rescan()
            found = await self._called(name)
        if not found:
            what = f"no instance is called {shown(name)!r}; instances_list shows all"
            if os.sep in name:
                what = (
                    f"no instance runs in {shown(name)}; scripts_run with this directory as `instance` starts one, or a"
                    f" person does: brum up -d {shown(name)}"
                )
            raise NotFound(
                what,
                instances=[entry.choice() for entry in self._all],
            )
        return self._only(found, f"several instances are called {shown(name)!r}; use the id")

    async def _called(self, name: str) -> list[InstanceEntry]:
        if name in self._entries:
            return [self._entries[name]]
        found = [entry for entry in self._entries.values() if name in _names_of(entry)]
        if not found and (os.sep in name or name.startswith(("~", "."))):
            found = self._holding([await real(name)])
        return found

    def needs_roots(self) -> bool:
        """The client's roots could decide: several instances are known here, and none holds our own directory."""
        known = self._entries
        return len(known) > 1 and not self._holding([self._here]) and sum(not each.host for each in known.values()) > 1

    async def default(self, roots: tuple[str, ...]) -> InstanceEntry:
        """Where the hub was started, else where one of the client's ``roots`` lies, else the only one."""
        entry = self._defaults.get(roots)
        if entry is None or entry.is_gone:
            entry = await self._find_default(roots)
            if len(self._defaults) >= PLACES_LIMIT:
                self._defaults.clear()
            self._defaults[roots] = entry
        return entry

    async def _find_default(self, roots: tuple[str, ...]) -> InstanceEntry:
        places = [self._here] + [await self._place_of(root) for root in roots]
        found = self._fitting(places)
        if not found or found[0].is_gone:
            await self.rescan()
            found = self._fitting(places)
        if not found:
            raise _no_instances([entry.choice() for entry in self._living])
        return self._only(found, "several instances run; pass `instance`")

    async def everyone(self) -> list[InstanceEntry]:
        """All instances that are there, on all machines. Raises `NoInstances`."""
        if not self._living:
            await self.rescan()
        if not self._living:
            raise _no_instances()
        return self._living

    @property
    def _living(self) -> list[InstanceEntry]:
        return [entry for entry in self._all if not entry.is_gone and isinstance(entry.record, Record)]

    def _fitting(self, places: list[str]) -> list[InstanceEntry]:
        ours = [entry for entry in self._all if isinstance(entry.record, Record) and not entry.host]
        return self._holding(places) or [entry for entry in ours if not entry.is_gone] or ours

    def _holding(self, places: Iterable[str]) -> list[InstanceEntry]:
        """The instance whose directory holds a place most closely; places and directories are real paths.

        Of several in one directory it is the one without a name: all others were named to be asked for by name.
        """
        for place in places:
            known = self._entries.values()
            holding = [entry for entry in known if _holds(entry.directory, place) and not entry.host]
            if holding:
                depth = max(len(entry.directory) for entry in holding)
                nearest = [entry for entry in holding if len(entry.directory) == depth]
                return [entry for entry in nearest if not entry.is_further] or nearest
        return []

    async def _place_of(self, root_uri: str) -> str:
        """The real path of a ``file:`` URI; remembered, because every call of a client asks for the same few."""
        if root_uri not in self._places:
            if len(self._places) >= PLACES_LIMIT:
                self._places.clear()
            path = _path_in(root_uri)
            self._places[root_uri] = await real(path) if path else ""
        return self._places[root_uri]

    def _only(self, found: list[InstanceEntry], otherwise: str) -> InstanceEntry:
        if len(found) > 1:
            raise Ambiguous(otherwise, instances=[entry.choice() for entry in found])
        return found[0]

    @property
    def _all(self) -> list[InstanceEntry]:
        """Instances that are not gone first."""
        return sorted(self._entries.values(), key=lambda entry: (entry.is_gone, entry.id))


async def _do_nothing() -> None:
    """Before the directory is known."""


def _no_instances(remote: Sequence[dict[str, str]] = ()) -> NoInstances:
    """``remote``: the choices on other machines."""
    start = "scripts_run with a project's directory as `instance` starts one, or a person does: brum up -d DIRECTORY"
    if not remote:
        return NoInstances(f"no instance is running; {start}")
    what = "no instance is running on this machine, and those on others are used only if they are named"
    return NoInstances(f"{what}: pass `instance`; to have one here, {start}", instances=list(remote))


def _names_of(entry: InstanceEntry) -> tuple[str, ...]:
    """What it is called, beside its id."""
    name = entry.record.name
    return (name, f"{name}@{entry.host}", entry.id.removesuffix(f"@{entry.host}")) if entry.host else (name,)


def _path_in(root_uri: str) -> str:
    """Empty if it names no file of this machine."""
    try:
        url = urlsplit(root_uri)
    except ValueError:  # an address in brackets that is none
        return ""
    return unquote(url.path) if url.scheme == "file" else ""


async def real(path: str) -> str:
    """In a thread: a path may lead to a file server that does not answer. Empty for what can be no path."""
    return await in_thread(_resolved, path)


def _resolved(path: str) -> str:
    try:
        return real_path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises for an unknown user
    except ValueError:
        return ""


def _holds(directory: str, place: str) -> bool:
    return bool(directory) and (place == directory or place.startswith(directory.rstrip(os.sep) + os.sep))
