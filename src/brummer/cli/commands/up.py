"""``brum up``: make sure that the instance and scripts run, and show the result."""

import argparse
import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from brummer.cli import default_choice, options
from brummer.cli.background import NotStarted, start_in_background
from brummer.cli.colour import Paint
from brummer.cli.commands.ps import say_problems, show_processes
from brummer.cli.instance_calls import NothingRuns
from brummer.cli.log_lines import print_last_lines
from brummer.cli.messages import say
from brummer.cli.process_table import Process, processes_of
from brummer.cli.project import EXIT_NOTHING_CHOSEN, EXIT_TIMED_OUT, CallFailed, Project, with_project
from brummer.instance.restart_policy import SHORT_S

DETAILS: Final = (
    "Without SCRIPT, the first of these that exists: the scripts with autostart; all lines of Procfile.dev or Procfile;"
    " dev, else start, of the package in which you stand; dev of every package of a workspace. If there is none, the"
    " choices are listed, and the exit status is 5. The instance is started if none runs; scripts that run already are"
    " left alone."
)

READY_S: Final = 30.0
"""The default time for a script to be ready."""
NOTICE_S: Final = 2.0
"""After this the command says what it waits for."""
LAST_LINES: Final = 10
"""Lines that are shown of a script that failed."""


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_project(parser)
    options.add_scripts(parser, "scripts to start")
    add_waiting(parser)


def add_waiting(parser: argparse.ArgumentParser) -> None:
    """Add how long to wait for scripts to be ready."""
    parser.add_argument(
        "--timeout",
        type=options.duration,
        metavar="TIME",
        help="to wait until the scripts are ready (default 30s, and 10s for one that runs, does not listen and has no"
        " `ready` setting)",
    )
    parser.add_argument("--no-wait", action="store_true", help="do not wait")


def patience_s_of(chosen: argparse.Namespace) -> float | None:
    return 0.0 if chosen.no_wait else chosen.timeout


def run(chosen: argparse.Namespace) -> int:
    scripts = chosen.scripts or default_choice.made(chosen.dir.resolve(), chosen.name)
    if not scripts:
        return EXIT_NOTHING_CHOSEN

    async def use(project: Project) -> int:
        return await up(project, scripts, patience_s_of(chosen), options.paint(chosen))

    return with_project(chosen, use)


async def up(project: Project, scripts: Sequence[str], timeout_s: float | None, paint: Paint) -> int:
    """Returns 1 when a script could not be started or failed, 4 when one is not ready in time. Raises NotStarted."""
    if record := project.find():
        say(f"{record.name} runs already ({record.directory})")
    else:
        await start_in_background(project, scripts)
    try:
        patience = Patience(timeout_s, await listed_scripts(project))
        return await start_scripts(project, "scripts_run", scripts, patience, paint)
    except NothingRuns:
        raise NotStarted("the instance was ended meanwhile, by brum down or a signal") from None


async def listed_scripts(project: Project) -> list[dict[str, Any]]:
    """The project's scripts; errors in its files are printed."""
    listing = await project.call("scripts_list")
    say_problems(listing)
    scripts: list[dict[str, Any]] = listing.get("scripts", [])
    return scripts


class Patience:
    """How long to wait for a script. One without a `ready` setting that runs and does not listen, such as a worker, is
    waited for as long as by the scripts that depend on it, unless ``timeout_s`` is given.
    """

    def __init__(self, timeout_s: float | None, listed: Sequence[dict[str, Any]] = ()) -> None:
        self.timeout_s = READY_S if timeout_s is None else timeout_s
        names = (str(script.get("name")) for script in listed if not script.get("ready"))
        self._may_never_be_ready = frozenset(names if timeout_s is None else ())

    def left_s(self, process: Process, now: datetime) -> float:
        """How much longer the script may become ready; 0 if it is, or has failed, even if it starts again."""
        if process.status == "ready" or not process.runs or process.next_restart_s is not None:
            return 0.0
        if process.name not in self._may_never_be_ready:
            return self.timeout_s
        if process.status != "running" or process.started_at is None:
            return SHORT_S
        return max(0.0, SHORT_S - (now - process.started_at).total_seconds())


async def start_scripts(project: Project, tool: str, scripts: Iterable[str], patience: Patience, paint: Paint) -> int:
    """Start them in this order, wait for all, show all. Ctrl-C ends only the waiting."""
    wanted = list(dict.fromkeys(scripts))
    started = {script: process for script in wanted if (process := await _started(project, tool, script))}
    late = await _late(project, list(started.values()), patience)
    processes = [each for each in processes_of(await project.call("scripts_status")) if each.name in started]
    if processes:
        show_processes(processes, paint)
    for process in processes:
        if process.has_ended_badly:
            await print_last_lines(project, process.name, LAST_LINES, paint)
    if len(started) < len(wanted) or any(process.has_failed for process in processes):
        return 1
    return EXIT_TIMED_OUT if late else 0


async def _started(project: Project, tool: str, script: str) -> Process | None:
    """None if it could not be started."""
    try:
        [process] = processes_of({"processes": [await project.call(tool, name=script, wait="none")]})
    except CallFailed as error:
        say(error.message)
        return None
    return msgspec.structs.replace(process, name=script)


async def _late(project: Project, started: list[Process], patience: Patience) -> list[Process]:
    """Wait until each is ready or has ended; returns those that are neither in time."""
    if not patience.timeout_s:
        return []
    began_s, waiting = asyncio.get_running_loop().time(), started
    if patience.timeout_s > NOTICE_S:
        waiting = await _waited_for(project, waiting, patience, began_s + NOTICE_S)
        if waiting:
            say(f"waiting until ready: {_names(waiting)} (Ctrl-C leaves them running)")
    waiting = await _waited_for(project, waiting, patience, began_s + patience.timeout_s)
    if waiting:
        say(f"not ready within {patience.timeout_s:g} s: {_names(waiting)}; brum wait SCRIPT waits longer")
    return waiting


async def _waited_for(project: Project, waiting: list[Process], patience: Patience, until_s: float) -> list[Process]:
    """One after the other, because a script that is ready stays so; returns those that need more time."""
    rest = []
    for script in waiting:
        process, is_over = script, False
        while not is_over and (left_s := patience.left_s(process, datetime.now(UTC))):
            rest_s = max(0.0, until_s - asyncio.get_running_loop().time())
            answer = await project.call(
                "wait_for", process=process.name, ready=True, exit=True, timeout_s=min(left_s, rest_s)
            )
            process = next(iter(processes_of({"processes": filter(None, [answer.get("process")])})), process)
            if not answer.get("matched") and left_s > rest_s:
                rest.append(process)
            is_over = answer.get("matched") or left_s > rest_s
    return rest


def _names(processes: Sequence[Process]) -> str:
    return default_choice.shown([process.name for process in processes])
