"""The project's instance as a command sees it: found by where one stands, called as anybody else calls it."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.cli.client import tool_result, whole_list
from brummer.cli.messages import say
from brummer.core.errors import BrummerError, InvalidArguments
from brummer.discovery.directory import instances_directory
from brummer.discovery.record import Record, displayable, instance_id_for
from brummer.discovery.registrar import lock_path, scripts_lock_path
from brummer.host import loop
from brummer.host.locks import is_locked
from brummer.hub.service import Hub, running_hub
from brummer.link.state import State
from brummer.peers.instance_entry import InstanceEntry
from brummer.settings.servers import Server

EXIT_WRONG: Final = 2
EXIT_NOTHING_RUNS: Final = 3
EXIT_TIMED_OUT: Final = 4

LISTS: Final = frozenset({"scripts_list", "scripts_status"})
"""The tools whose answers may be parts of a list."""

SETTLE_S: Final = 2.0
"""An instance proves who it is within milliseconds; after this a person wants to know what is being waited for."""


class NothingRuns(BrummerError):
    """No instance of this project is there."""

    code = "nothing_runs"


class InstanceStopped(BrummerError):
    """Its process is stopped (SIGSTOP), so that to wait for an answer is vain."""

    code = "instance_stopped"


class CallFailed(BrummerError):
    """The instance, or the way to it, answered with an error; ``error_code`` is what that calls itself."""

    code = "call_failed"

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "the call failed")))
        self.error_code = str(error.get("code", ""))


class Project:
    """``place``: where one stands, a directory of the project or below it. ``name``: that of a further instance."""

    def __init__(self, hub: Hub, place: Path, name: str | None, ids: list[str]) -> None:
        self._hub = hub
        self.place = place
        self.name = name
        self._ids = ids
        self._told = ""

    async def find(self) -> InstanceEntry | None:
        """The instance whose directory holds the place most closely."""
        await self._hub.instances.looked_at()
        known = {each.id: each for each in self._hub.instances if not each.is_gone and isinstance(each.record, Record)}
        return next((known[instance_id] for instance_id in self._ids if instance_id in known), None)

    def ending(self) -> Path | None:
        """The lock of an instance that is not published: one that was asked to end, or one that starts."""
        directory = instances_directory(os.environ)
        locks = (path(directory, instance_id) for instance_id in self._ids for path in (scripts_lock_path, lock_path))
        return next(filter(is_locked, locks), None)

    async def instance(self) -> InstanceEntry:
        """Raises NothingRuns."""
        if known := await self.find():
            return known
        raise self._nothing_runs()

    def _nothing_runs(self) -> NothingRuns:
        what = f"no instance called {self.name}" if self.name else "nothing"
        return NothingRuns(f"{what} runs for {self.place}; brum up starts it, brum ls shows what runs elsewhere")

    async def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """The structured result. Raises NothingRuns, InstanceStopped, CallFailed; waits 20 s for one that is away."""
        known = await self.instance()
        await _expect_answers(known)
        content = await self._ask(known.id, tool, arguments)
        if content.get("from"):
            self._tell(f"{known.record.name} does not answer; {_as_of(content)}")
        return content

    async def left_behind(self, tool: str, **arguments: object) -> dict[str, Any]:
        """What the black box of the last run answers. Raises NothingRuns when it has left nothing."""
        for instance_id in self._ids:
            with contextlib.suppress(CallFailed):
                content = await self._ask(instance_id, tool, arguments)
                self._tell(f"nothing runs for {self.place} (brum up starts it); {_as_of(content)}")
                return content
        raise self._nothing_runs()

    async def _ask(self, instance_id: str, tool: str, arguments: dict[str, object]) -> dict[str, Any]:
        asked = {"instance": instance_id, **{key: value for key, value in arguments.items() if value is not None}}
        ask = partial(tool_result, self._hub, tool)
        result = await (whole_list(ask, **asked) if tool in LISTS else ask(msgspec.json.encode(asked)))
        content: dict[str, Any] = result.get("structuredContent", {})
        if result.get("isError"):
            error = content.get("error")
            raise CallFailed(error if isinstance(error, dict) else {})
        return content

    def _tell(self, text: str) -> None:
        """Once, however often it is asked."""
        if text != self._told:
            self._told = text
            say(text)


def _as_of(content: dict[str, Any]) -> str:
    """Where an answer comes from that no instance gave."""
    return displayable(f"this is from its {content.get('from')}, written at {content.get('written_at')}")


async def _expect_answers(known: InstanceEntry) -> None:
    """Say why it may take a while, or that it never will."""
    name, record = known.record.name, known.record
    if known.link.target.condition() == "stopped" and isinstance(record, Record):
        raise InstanceStopped(
            f"{name} is stopped, and answers nobody: kill -CONT {record.pid} lets it go on, brum down ends it"
        )
    if known.link.target.condition() == "frozen" and isinstance(record, Record):
        raise InstanceStopped(
            f"{name} is frozen by its control group, and does not answer: thaw it (process {record.pid})"
        )
    if known.link.state is State.READY:
        return
    try:
        async with asyncio.timeout(SETTLE_S):
            await known.link.settled()
    except TimeoutError:
        say(f"{name} does not answer yet; waiting for it")


def up_to_the_repository(place: Path) -> Iterator[Path]:
    """The directory and those above it, to the root of the repository that they belong to, if there is one."""
    for directory in (place, *place.parents):
        yield directory
        if os.path.lexists(directory / ".git"):
            break


def ids_at(place: Path, name: str | None) -> list[str]:
    """What an instance of this project is called, here or in a directory above: the closest first. A repository within
    another, such as a submodule or a worktree, is a project of its own.
    """
    return [instance_id_for(directory, name) for directory in up_to_the_repository(place)]


def with_project(place: Path, name: str | None, use: Callable[[Project], Awaitable[int]]) -> int:
    """Run a command to its exit status; see `EXIT_NOTHING_RUNS`."""
    place = place.resolve()
    ids = ids_at(place, name)

    def is_meant(record: Record | Server) -> bool:
        return isinstance(record, Record) and record.instance_id in ids

    async def main() -> int:
        async with running_hub(os.environ, place, concerns=is_meant) as hub:
            return await use(Project(hub, place, name, ids))

    try:
        return loop.run(main())
    except NothingRuns as error:
        say(error.message)
        return EXIT_NOTHING_RUNS
    except CallFailed as error:
        say(error.message)
        return EXIT_WRONG if error.error_code == InvalidArguments.code else 1
