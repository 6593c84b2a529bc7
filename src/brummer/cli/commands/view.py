"""``brum`` alone on a terminal: make sure that this project's instance runs, and open the terminal view on it.

The toolkit of the view takes longer to import than all the rest; a thread does it while the hub connects. What the
first picture does not need is imported where it is used.
"""

import argparse
import asyncio
import contextlib
import gc
import importlib
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from brummer.cli.background import started_in_background
from brummer.cli.project import Project
from brummer.cli.project_place import NothingToRun, project_directory
from brummer.cli.running_hubs import RunningHubs
from brummer.core.errors import BrummerError, NotFound
from brummer.discovery.directory import black_box_directory, view_file
from brummer.discovery.owners import living_record
from brummer.discovery.record import instance_id_for
from brummer.host import loop
from brummer.hub.service import Hub, running_hub
from brummer.instance.environment import packed
from brummer.settings.table import Flags, Settings
from brummer.views.model import ENDED, NOT_STARTED, Answer, Plan, ViewedInstanceFacts, ViewModel
from brummer.views.remembered import recall, remember
from brummer.views.source import HubBackend, Source

if TYPE_CHECKING:
    from brummer.views.terminal.app import Left, TerminalView
    from brummer.views.web.server import ServedPage

END_S: Final = 20.0
"""For an instance to end, as `brum down` waits."""
CONNECTIONS: Final = 400
"""Of the view's own hub: nobody runs 200 projects at once, and an unused one costs nothing."""
OF_SIGNAL: Final = 128
"""What shells add to the number of the signal that has ended a program."""
CONNECTING: Final = "connecting"


class ViewUnavailable(BrummerError):
    """The toolkit of the view can't be imported. Nothing has been started."""

    code = "view_unavailable"


class OwnProject(NamedTuple):
    """The project in which the user stands. If no instance of it runs: ``listed`` has its scripts, as `scripts_list`
    would, and ``first`` those that are started now; empty if nothing says which.
    """

    facts: ViewedInstanceFacts
    listed: Answer | None = None
    first: tuple[str, ...] = ()


def run(chosen: argparse.Namespace, settings: Settings, flags: Flags) -> int:
    """Returns the exit status. Raises ViewUnavailable."""
    logging.disable()  # the screen is the view's, and problems are in its status line
    try:
        return loop.run(_shown(chosen, chosen.dir.resolve(), settings, flags))
    finally:
        logging.disable(logging.NOTSET)


async def _shown(chosen: argparse.Namespace, place: Path, settings: Settings, flags: Flags) -> int:
    importing = asyncio.create_task(asyncio.to_thread(_imported))
    environ = dict(os.environ)
    own = await asyncio.to_thread(own_project, place, chosen.name)
    async with (
        running_hub(environ, place, flags=_with_connections(flags)) as hub,
        contextlib.aclosing(CommandLine(place, environ, hub)) as outside,
    ):
        source = Source(
            HubBackend(hub),
            ViewModel(own.facts.instance_id if own else None, settings.glyphs),
            outside,
            packed(environ),
        )
        if own and own.listed:
            source.model.take_instances([own.facts], source.now())
            source.model.take_scripts(own.facts.instance_id, own.listed)
        source.start()
        try:
            module = await importing
            source.supervise(partial(_show_left_behind, source))
            if chosen.no_color:
                os.environ["NO_COLOR"] = "1"  # for the toolkit: scripts get the environment from before
            left = await _until_left(module, source, own, settings)
            await source.finish()
        finally:
            source.close()
    if left.line:
        print(left.line)
    return left.status


def _with_connections(flags: Flags) -> Flags:
    """Each instance is waited on all the time, and half of the connections are for waits."""
    return Flags({"max_connections": CONNECTIONS, **flags.values}, flags.servers)


def _imported() -> Any:
    """The module of the view. Nearly all that an import makes stays, so no collection visits it, now or later.

    Raises ViewUnavailable.
    """
    gc.disable()
    try:
        return importlib.import_module("brummer.views.terminal.app")
    except ImportError as error:
        raise ViewUnavailable(f"the terminal view needs textual, which can't be imported: {error}") from None
    finally:
        gc.freeze()
        gc.enable()


async def _until_left(module: Any, source: Source, own: OwnProject | None, settings: Settings) -> "Left":
    file = view_file(os.environ)
    remembered = await asyncio.to_thread(recall, file)
    at_first = Plan("start", own.facts.instance_id, own.first) if own and own.first else None
    view: TerminalView = module.TerminalView(
        source, remembered, module.ViewOptions(settings.glyphs, settings.notify), at_first
    )
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        running.add_signal_handler(number, view.leave, OF_SIGNAL + number)
    left = await view.run_async()
    if left is None:  # it has failed, and has said how
        failed: Left = module.Left("", remembered, view.return_code or 1)
        return failed
    await asyncio.to_thread(remember, file, left.remembered)
    return left


async def _show_left_behind(source: Source) -> None:
    """What other projects have left, if they are still there."""
    source.show_ended(await asyncio.to_thread(left_behind, os.environ))


def own_project(place: Path, name: str | None) -> OwnProject | None:
    """None if there is no project here. Blocks."""
    if record := Project(place, name).find():
        facts = ViewedInstanceFacts(record.instance_id, record.name, record.directory, CONNECTING)
        return OwnProject(facts)
    try:
        directory = project_directory(place)
    except NothingToRun:
        return None
    from brummer.instance.default_scripts import choice_of
    from brummer.instance.scripts import ScriptList

    listing = ScriptList(directory).read()
    choice = choice_of(listing.scripts.values(), directory, place)
    facts = ViewedInstanceFacts(instance_id_for(directory, name), name or directory.name, str(directory), NOT_STARTED)
    listed = {
        "scripts": [{"name": name} for name in listing.listed],
        "problems": [msgspec.to_builtins(each) for each in listing.problems],
    }
    return OwnProject(facts, listed, first=choice.names if choice else ())


def _project_of(whose: ViewedInstanceFacts) -> Project:
    """A further instance of a directory has a name; the usual one has that of the directory. Blocks."""
    directory = Path(whose.directory)
    return Project(directory, None if instance_id_for(directory) == whose.instance_id else whose.name)


def left_behind(environ: Mapping[str, str]) -> list[ViewedInstanceFacts]:
    """All projects with a black box whose directory still exists. Blocks."""
    from brummer.logs.journal.reader import projects

    try:
        known = projects(black_box_directory(environ))
    except (BrummerError, OSError):
        return []
    return [
        ViewedInstanceFacts(each.instance_id, each.name, each.directory, ENDED)
        for each in known
        if os.path.isdir(each.directory)  # noqa: PTH112 — pathlib raises for a directory that we may not enter
    ]


class CommandLine:
    """The `OutsideHelp` of a view. ``place``: where the user stands. ``environ``: for instances that it starts.
    ``hub``: the view's own.
    """

    def __init__(self, place: Path, environ: Mapping[str, str], hub: Hub) -> None:
        self._place = place
        self._environ = environ
        self._hub = hub
        self._hubs = RunningHubs(hub.registry.directory)
        self._stack = contextlib.AsyncExitStack()
        self._page: ServedPage | None = None

    async def aclose(self) -> None:
        await self._stack.aclose()
        await self._hubs.aclose()

    async def scripts_to_start(self, whose: ViewedInstanceFacts) -> Sequence[str]:
        return await asyncio.to_thread(self._scripts_to_start, Path(whose.directory))

    def _scripts_to_start(self, directory: Path) -> Sequence[str]:
        from brummer.instance.default_scripts import choice_of
        from brummer.instance.scripts import ScriptList

        place = self._place if self._place.is_relative_to(directory) else directory
        choice = choice_of(ScriptList(directory).read().scripts.values(), directory, place)
        return choice.names if choice else ()

    async def start(self, whose: ViewedInstanceFacts, scripts: Sequence[str]) -> None:
        project = await asyncio.to_thread(_project_of, whose)
        await started_in_background(project, scripts, environment=self._environ)

    async def end(self, instance: str) -> None:
        from brummer.cli.commands.down import end_instance

        record = await asyncio.to_thread(living_record, self._hub.registry.directory, instance)
        if record is None:
            raise NotFound("its instance does not run any more")
        await end_instance(record, END_S, kill=False)

    async def hubs(self) -> list[Answer]:
        return await self._hubs.ask()

    async def page_address(self) -> str:
        """The page is served as long as the view is open, unless another process serves it already."""
        from brummer.views.web.server import serving_page

        if self._page is None:
            self._page = await self._stack.enter_async_context(serving_page(self._hub))
        return await self._page.new_address()
