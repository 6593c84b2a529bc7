"""``brum up`` and ``brum restart``: see that scripts run, and show how it went."""

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from brummer.cli.background import Background
from brummer.cli.colour import Paint, shortened
from brummer.cli.logs import print_last_lines
from brummer.cli.messages import say
from brummer.cli.process_table import Process, not_started, processes_of
from brummer.cli.processes import show_processes, tell_problems
from brummer.cli.project import EXIT_TIMED_OUT, CallFailed, NothingRuns, Project, up_to_the_repository, with_project
from brummer.core.errors import BrummerError
from brummer.discovery.directory import instances_directory
from brummer.discovery.record import Record, instance_id_for
from brummer.discovery.registrar import ENDING_S, lock_path
from brummer.host.locks import is_locked
from brummer.instance.dependencies import GRACE_S
from brummer.instance.scripts import NAMES_SHOWN, ScriptList

CONVENTIONAL: Final = ("dev", "start")
"""What people call the script that they work with, the more common one first."""

PUBLISHED_S: Final = ENDING_S + 15.0
"""An instance has its record out within half a second; on a machine that swaps it takes some. Before that it waits for
the scripts of the run before.
"""
LOOK_S: Final = 0.02
PAUSES_S: Final = (0.01, 0.02, 0.05)
"""Between two questions how the scripts are; the last for ever. One costs a tenth of a millisecond."""

WAIT_S: Final = 30.0
"""For a script to be ready, where nobody says how long."""
PATIENCE_S: Final = 2.0
"""After this a person wants to know what is being waited for."""
LAST_LINES: Final = 10
"""Of a script that failed."""


class NotStarted(BrummerError):
    """The instance could not be started; the message has its last words."""

    code = "not_started"


class NothingToRun(BrummerError):
    """No project file here says what to run."""

    code = "nothing_to_run"


def up(place: Path, name: str | None, scripts: Sequence[str], timeout_s: float | None, paint: Paint) -> int:
    """Returns 1 when a script could not be started or failed, 4 when one is not ready in time. ``timeout_s`` None: see
    `Patience`.
    """

    async def see_to_it(project: Project) -> int:
        if await project.find() is None:
            await _start(project, scripts)
        else:
            known = await project.instance()
            say(f"{known.record.name} runs already ({known.directory})")
        try:
            return await run(project)
        except NothingRuns:
            raise NotStarted("the instance was ended meanwhile, by brum down or a signal") from None

    async def run(project: Project) -> int:
        listed = await _listed(project)
        wanted = list(scripts) or chosen(listed)
        if not wanted:
            say(not_started(str(script.get("name")) for script in listed))
            return 0 if listed else 1
        return await _run(project, "scripts_run", wanted, Patience(timeout_s, listed), paint)

    return with_project(place, name, see_to_it)


def restart(place: Path, name: str | None, scripts: Sequence[str], timeout_s: float | None, paint: Paint) -> int:
    """Without ``scripts`` all that run. Returns 1 or 4 as `up` does."""

    async def see_to_it(project: Project) -> int:
        running = [each.name for each in processes_of(await project.call("scripts_status")) if each.runs]
        if not scripts and not running:
            raise NothingRuns("no script runs here; brum up starts some")
        patience = Patience(timeout_s, await _listed(project))
        return await _run(project, "scripts_restart", list(scripts) or running, patience, paint)

    return with_project(place, name, see_to_it)


def chosen(listed: Sequence[dict[str, Any]]) -> list[str]:
    """What runs when nobody says what: the scripts with autostart, else the conventional one, else nothing."""
    names = [str(script.get("name")) for script in listed]
    with_autostart = [name for name, script in zip(names, listed, strict=True) if script.get("autostart")]
    return with_autostart or [name for name in names if name == next(filter(names.__contains__, CONVENTIONAL), None)]


def project_directory(place: Path) -> Path:
    """The closest directory, from here up to the repository's root, that says what can be run. Raises NothingToRun.

    A file that can't be understood counts: what is wrong in it is told then. A `.brum.toml` with settings only is none.
    What somebody else has put above, as into /tmp, is not run.
    """
    owner = place.stat().st_uid
    for directory in up_to_the_repository(place):
        if directory.stat().st_uid != owner:
            break
        listing = ScriptList(directory).read()
        if listing.scripts or listing.problems:
            return directory
        if directory == Path.home():
            break
    raise NothingToRun(f"nothing that can be run was found in {place}: no package.json, Makefile, Procfile or the like")


async def _start(project: Project, scripts: Sequence[str]) -> None:
    """Wait until it is published. Raises NotStarted, and what is wrong with a script's name before anything starts."""

    def start() -> tuple[Path, Background]:
        directory = project_directory(project.place)
        for script in scripts:
            ScriptList(directory).find(script)
        return directory, Background(directory, project.name)

    directory, started = await asyncio.to_thread(start)
    lock = lock_path(instances_directory(os.environ), instance_id_for(directory, project.name))
    telling = asyncio.get_running_loop().call_later(PATIENCE_S, lambda: say(_awaited(started)))
    try:
        async with asyncio.timeout(PUBLISHED_S):
            while (known := await project.find()) is None and (not started.has_ended or is_locked(lock)):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)  # a file, a death, or a lock
    except TimeoutError:
        raise NotStarted(f"the instance does not come up; its log is {started.log}") from None
    finally:
        telling.cancel()
    if known is None and (known := await project.find()) is None:  # it may have found that another was faster
        words = await asyncio.to_thread(started.last_words)
        raise NotStarted(f"the instance ended at once: {words or 'it said nothing'} (log: {started.log})")
    if isinstance(known.record, Record) and known.record.pid != started.pid:
        await asyncio.to_thread(started.end)
    say(f"{known.record.name} runs in the background ({directory}); brum down ends it, its log is {started.log}")


def _awaited(started: Background) -> str:
    """Its last words, if it lives; else another was faster, and has the lock."""
    if started.has_ended:
        return "waiting for the instance that somebody else has just started"
    return started.last_words() or "waiting for the instance"


async def _listed(project: Project) -> list[dict[str, Any]]:
    """What can be run here; what could not be understood is told."""
    listing = await project.call("scripts_list")
    tell_problems(listing)
    scripts: list[dict[str, Any]] = listing.get("scripts", [])
    return scripts


async def _run(project: Project, tool: str, scripts: Sequence[str], patience: "Patience", paint: Paint) -> int:
    """Start them in this order, wait for all at once, show them all. Ctrl-C ends the waiting only: they run on."""
    wanted = list(dict.fromkeys(scripts))
    started = [script for script in wanted if await _started(project, tool, script)]
    processes, late = await _settled(project, started, patience)
    if processes:
        show_processes(processes, paint)
    for process in processes:
        if process.has_ended_badly:
            await print_last_lines(project, process.name, LAST_LINES, paint)
    if len(started) < len(wanted) or any(process.has_failed for process in processes):
        return 1
    return EXIT_TIMED_OUT if late else 0


async def _started(project: Project, tool: str, script: str) -> bool:
    try:
        await project.call(tool, name=script, wait="none")
    except CallFailed as error:
        say(error.message)
        return False
    return True


class Patience:
    """How long a script is waited for. One that runs, does not listen and names no proof of being ready, such as a
    worker, is waited for as long as by those that depend on it, unless ``timeout_s`` was asked for.
    """

    def __init__(self, timeout_s: float | None, listed: Sequence[dict[str, Any]] = ()) -> None:
        self.timeout_s = WAIT_S if timeout_s is None else timeout_s
        names = (str(script.get("name")) for script in listed if not script.get("ready"))
        self._may_never_be_ready = frozenset(names if timeout_s is None else ())

    def is_needed_for(self, process: Process, now: datetime) -> bool:
        """Whether something may still become of it. One that has failed, and is started again by itself, has failed."""
        if process.status == "ready" or not process.runs or process.next_restart_s is not None:
            return False
        may_be_enough = process.status == "running" and process.name in self._may_never_be_ready
        return not (may_be_enough and process.started_at and (now - process.started_at).total_seconds() >= GRACE_S)


async def _settled(project: Project, scripts: Sequence[str], patience: Patience) -> tuple[list[Process], list[str]]:
    """How they are once each is ready, or has ended; and the names of those that are neither in time.

    They are asked for again and again, as by `brum logs -f`: to wait for each would be a call for each, and an instance
    takes sixteen at a time.
    """
    loop = asyncio.get_running_loop()
    began_s, has_told, pauses = loop.time(), False, iter(PAUSES_S)
    while True:
        everything = processes_of(await project.call("scripts_status"))
        processes = [process for process in everything if process.name in scripts]
        waiting = [process.name for process in processes if patience.is_needed_for(process, datetime.now(UTC))]
        waited_s = loop.time() - began_s
        if not waiting or not patience.timeout_s:
            return processes, []
        if waited_s >= patience.timeout_s:
            say(f"not ready within {patience.timeout_s:g} s: {_some(waiting)}; brum wait SCRIPT waits on")
            return processes, waiting
        if not has_told and waited_s >= PATIENCE_S:
            say(f"waiting until ready: {_some(waiting)} (Ctrl-C leaves them running)")
            has_told = True
        await asyncio.sleep(next(pauses, PAUSES_S[-1]))


def _some(names: Sequence[str]) -> str:
    """Not more than fit on a screen."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(map(shortened, names[:NAMES_SHOWN])) + more
