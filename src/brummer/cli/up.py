"""``brum up`` and ``brum restart``: see that scripts run, and show how it went."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from brummer.cli.background import Background
from brummer.cli.logs import print_last_lines
from brummer.cli.paint import Paint, shortened
from brummer.cli.process_table import not_started, processes_of
from brummer.cli.processes import show_processes
from brummer.cli.project import NothingRuns, Project, say, with_project
from brummer.core.errors import BrummerError
from brummer.core.settings import FILE_NAME
from brummer.discovery.record import displayable
from brummer.instance.scripts import ScriptList

CONVENTIONAL: Final = ("dev", "start")
"""What people call the script that they work with, the more common one first."""

PUBLISHED_S: Final = 15.0
"""An instance has its record out within half a second; on a machine that swaps it takes some."""
LOOK_S: Final = 0.02

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


def up(place: Path, name: str | None, scripts: Sequence[str], timeout_s: float, paint: Paint) -> int:
    """Returns 1 when a script could not be started or failed."""

    async def see_to_it(project: Project) -> int:
        if await project.find() is None:
            await _start(project, scripts)
        else:
            known = await project.instance()
            say(f"{known.record.name} runs already ({known.directory})")
        listed = (await project.call("scripts_list")).get("scripts", [])
        wanted = list(scripts) or chosen(listed)
        if not wanted:
            say(not_started(str(script.get("name")) for script in listed))
            return 0
        return await _run(project, "scripts_run", wanted, timeout_s, paint)

    return with_project(place, name, see_to_it)


def restart(place: Path, name: str | None, scripts: Sequence[str], timeout_s: float, paint: Paint) -> int:
    """Without ``scripts`` all that run. Returns 1 when one could not be started or failed."""

    async def see_to_it(project: Project) -> int:
        running = [each.name for each in processes_of(await project.call("scripts_status")) if each.runs]
        if not scripts and not running:
            raise NothingRuns("no script runs here; brum up starts some")
        return await _run(project, "scripts_restart", list(scripts) or running, timeout_s, paint)

    return with_project(place, name, see_to_it)


def chosen(listed: Sequence[dict[str, Any]]) -> list[str]:
    """What runs when nobody says what: the scripts with autostart, else the conventional one, else nothing."""
    names = [str(script.get("name")) for script in listed]
    with_autostart = [name for name, script in zip(names, listed, strict=True) if script.get("autostart")]
    return with_autostart or [name for name in names if name == next(filter(names.__contains__, CONVENTIONAL), None)]


def project_directory(place: Path) -> Path:
    """The closest directory, from here up to the repository's root, that says what can be run. Raises NothingToRun."""
    for directory in (place, *place.parents):
        if (directory / FILE_NAME).is_file() or ScriptList(directory).read().scripts:
            return directory
        if (directory / ".git").exists() or directory == Path.home():
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
    try:
        async with asyncio.timeout(PUBLISHED_S):
            while (known := await project.find()) is None and not started.has_ended:  # noqa: ASYNC110 - a file, a death
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise NotStarted(f"the instance does not come up; its log is {started.log}") from None
    if known is None and (known := await project.find()) is None:  # it may have found that another was faster
        words = displayable(await asyncio.to_thread(started.last_words))
        raise NotStarted(f"the instance ended at once: {words or 'it said nothing'} (log: {started.log})")
    say(f"{known.record.name} runs in the background ({directory}); brum down ends it, its log is {started.log}")


async def _run(project: Project, tool: str, scripts: Sequence[str], timeout_s: float, paint: Paint) -> int:
    """Start them in this order, wait for all at once, show them all. Ctrl-C ends the waiting only: they run on."""
    started = [script for script in dict.fromkeys(scripts) if await _started(project, tool, script)]
    if timeout_s:
        await _wait_for_all(project, started, timeout_s)
    everything = processes_of(await project.call("scripts_status"))
    processes = [process for process in everything if process.name in started]
    if processes:
        show_processes(processes, paint)
    for process in processes:
        if process.has_failed:
            await print_last_lines(project, process.name, LAST_LINES, paint)
    return 1 if len(started) < len(scripts) or any(process.has_failed for process in processes) else 0


async def _started(project: Project, tool: str, script: str) -> bool:
    try:
        await project.call(tool, name=script, wait="none")
    except BrummerError as error:
        say(error.message)
        return False
    return True


async def _wait_for_all(project: Project, scripts: Sequence[str], timeout_s: float) -> None:
    """Each is ready, or has ended, or is neither in time; which of them, its state tells."""
    waiting = set(scripts)

    async def settle(script: str) -> None:
        await project.call("wait_for", process=script, ready=True, exit=True, timeout_s=timeout_s)
        waiting.discard(script)

    def tell() -> None:
        say(f"waiting until ready: {', '.join(map(shortened, sorted(waiting)))} (Ctrl-C leaves them running)")

    telling = asyncio.get_running_loop().call_later(PATIENCE_S, tell)
    try:
        await asyncio.gather(*map(settle, scripts))
    finally:
        telling.cancel()
