"""Finds the instance that an agent names; for a directory in which none runs, it may start one there."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from brummer.contract.texts import IDLE_MIN
from brummer.core.errors import NotFound
from brummer.host.threads import in_thread
from brummer.hub.black_box import BlackBoxes
from brummer.peers.instance_entry import InstanceEntry
from brummer.peers.instances import Instances
from brummer.peers.resolver import real

STARTS: Final = frozenset({"scripts_run", "scripts_list"})
"""The tools of an instance for which one is started: no instance that was not there has a state or output to tell."""

Mode = Literal["known", "home", "never"]


class Started(NamedTuple):
    """An instance that was started for an agent. ``environment``: where its variables are from, in words."""

    instance_id: str
    directory: str
    environment: str

    def note(self) -> dict[str, Any]:
        """The member of the answer that says so."""
        return {"started_instance": self._asdict()}

    def in_words(self) -> str:
        return (
            f"[an instance was started in the background, in {self.directory}, without scripts that have autostart;"
            f" its environment is that {self.environment}; it ends after {IDLE_MIN} minutes without a script or a call]"
        )


Start = Callable[[Path, str], Awaitable[Started]]
"""Starts an instance for this directory in the background, for an agent of this name; returns when it is published."""


class Finder:
    """``start``: None if this hub can't start any. ``here``: where the hub was started, a real path."""

    def __init__(
        self,
        instances: Instances,
        black_boxes: BlackBoxes | None = None,
        start: Start | None = None,
        mode: Mode = "never",
        here: Path = Path("/"),
    ) -> None:
        self._instances = instances
        self.black_boxes = black_boxes
        self._start = start
        self._mode = mode
        self._here = here
        self._starting: dict[str, asyncio.Task[Started]] = {}

    async def named(self, name: str, client: str = "") -> tuple[InstanceEntry, Started | None]:
        """By id, name or directory; started if no instance runs in that directory. Raises NotFound, Ambiguous,
        NotAllowed, and what the start raises. ``client``: the name of the agent.

        A cancelled call does not end the start: the next call finds the instance.
        """
        try:
            entry = await self._instances.resolver.named(name)
        except NotFound:
            if self._start is None or not _is_path(name) or not await in_thread(os.path.isdir, await real(name)):
                raise
        else:
            if not entry.is_gone or self._start is None or not _is_path(name):
                return entry, None
        started = await asyncio.shield(self._started(await real(name), client, self._start))
        await self._instances.resolver.rescan()
        return await self._instances.resolver.named(started.instance_id), started

    def _started(self, place: str, client: str, start: Start) -> "asyncio.Task[Started]":
        """All calls for one place wait for the same start."""
        if place not in self._starting:
            task = asyncio.get_running_loop().create_task(
                self._allowed_start(Path(place), client, start), name=f"start {place}"
            )
            self._starting[place] = task
            task.add_done_callback(lambda _: self._starting.pop(place, None))
        return self._starting[place]

    async def _allowed_start(self, place: Path, client: str, start: Start) -> Started:
        from brummer.hub.permission import check  # noqa: PLC0415 - no start of a hub needs it

        ran_before = self.black_boxes is not None and await self.black_boxes.named(str(place)) is not None
        is_listed = any(entry.directory == str(place) and not entry.host for entry in self._instances)
        await asyncio.to_thread(check, place, self._mode, self._here, has_run=ran_before or is_listed)
        return await start(place, client)

    async def close(self) -> None:
        """The instances stay; only the waits for them end."""
        tasks = list(self._starting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_path(name: str) -> bool:
    return os.sep in name or name.startswith(("~", "."))


def with_note(result: bytes, started: Started) -> bytes:
    """A tool's encoded result, which also says that the instance was started for it."""
    decoded = msgspec.json.decode(result)
    note = started.note()
    decoded["content"].append({"type": "text", "text": started.in_words()})
    decoded["structuredContent"] = {**decoded.get("structuredContent", {}), **note}
    return msgspec.json.encode(decoded)
