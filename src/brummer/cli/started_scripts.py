"""Start or restart scripts, wait for them, and show their processes, for `brum up` and `brum restart`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from brummer.cli import options
from brummer.cli.colour import some
from brummer.cli.commands.ps import say_problems
from brummer.cli.live_table import LiveTable
from brummer.cli.log_lines import print_last_lines
from brummer.cli.messages import print_json, say
from brummer.cli.patience import READY_S, Patience
from brummer.cli.project import EXIT_TIMED_OUT, CallFailed, Project, failure
from brummer.contract.processes import ShownProcess, processes_of
from brummer.contract.tools import COMMAND_LINE
from brummer.core.errors import TooLarge
from brummer.instance.environment import packed
from brummer.instance.listening import Listened, listens
from brummer.settings.units import span

NOTICE_S: Final = 2.0
"""After this a command without a live table says what it waits for."""
REFRESH_S: Final = 0.25
"""Between two looks while a live table is shown: its times count seconds."""
LAST_LINES: Final = 10
"""Lines that are shown of a script that failed."""


def add_waiting(parser: argparse.ArgumentParser) -> None:
    """Add how long to wait for scripts, and ``--json``."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--wait",
        action="store_true",
        help="wait until the scripts are ready; one that does not listen, now or in its last run, and has no `ready`"
        " setting, counts as ready after 10s (without --wait each script counts as started after 3s)",
    )
    how.add_argument("--no-wait", action="store_true", help="do not wait")
    parser.add_argument(
        "--timeout", type=options.duration, metavar="TIME", help="how long --wait waits, and implies it (default 30s)"
    )
    options.add_json(
        parser, "print JSON: the processes of these scripts as in scripts_status, and why others were not started"
    )


async def start_scripts(project: Project, tool: str, scripts: Iterable[str], chosen: argparse.Namespace) -> int:
    """Start them in this order, wait for all, show all. Ctrl-C ends only the waiting.

    Returns 1 when one could not be started or failed, 4 when one is not ready in time that has to be.
    """
    listing = await project.call("scripts_list")
    say_problems(listing)
    wanted = list(dict.fromkeys(scripts))
    failures: list[dict[str, str]] = []
    started = [script for script in wanted if await _is_started(project, tool, script, failures)]
    patience = await _patience_of(project, chosen, listing.get("scripts", []), started)
    paint, is_wanted = options.paint(chosen), not (chosen.json or chosen.no_wait)
    table = LiveTable(sys.stdout, paint, patience.must_be_ready, os.environ.get("TERM"), is_wanted=is_wanted)
    answer, late = await _settled(project, started, patience, table)
    processes = processes_of(answer)
    if chosen.json:
        print_json({**answer, "failures": failures})
    else:
        table.end(processes)
        for process in processes:
            if process.has_ended_badly:
                await print_last_lines(project, process.name, LAST_LINES, paint)
    if late:
        say(f"not ready within {patience.timeout_s:g} s: {_names(late)}; brum wait SCRIPT waits longer")
    if failures or any(process.has_failed for process in processes):
        return 1
    return EXIT_TIMED_OUT if late else 0


async def _is_started(project: Project, tool: str, script: str, failures: list[dict[str, str]]) -> bool:
    """In the environment of this command, if it does not run yet. Adds to ``failures`` why it could not be started."""
    environment = packed(os.environ)
    try:
        answer = await project.call(tool, name=script, wait="none", environment=environment, asked_by=COMMAND_LINE)
    except CallFailed as error:
        carried = f"; this one carries the {len(environment):,} bytes of the environment: unset what is large, or set"
        failures.append({"name": script, **failure(error)})
        say(error.message + f"{carried} max_request of the instance" * (error.error_code == TooLarge.code))
        return False
    if since := answer.get("environment_from"):
        age = span((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
        say(
            f"{script} runs in an environment from {age} ago, which is another; brum restart {script} gives it this one"
        )
    return True


async def _patience_of(
    project: Project, chosen: argparse.Namespace, listed: Sequence[dict[str, Any]], started: Sequence[str]
) -> Patience:
    must_be_ready = {str(script.get("name")) for script in listed if script.get("ready")}
    if chosen.no_wait:
        return Patience(timeout_s=0.0)
    if not chosen.wait and chosen.timeout is None:
        return Patience(must_be_ready=frozenset(must_be_ready))
    for script in started:
        if script not in must_be_ready and await _has_listened(project, script):
            must_be_ready.add(script)
    return Patience(True, READY_S if chosen.timeout is None else chosen.timeout, frozenset(must_be_ready))


async def _has_listened(project: Project, script: str) -> bool:
    """In its last run, before the one that was just asked for."""
    runs, now = processes_of(await project.call("scripts_status", name=script)), datetime.now(UTC)
    return listens(Listened(run.ready_at is not None, run.lasted_s(now)) for run in runs[1:]) is True


async def _settled(
    project: Project, started: Sequence[str], patience: Patience, table: LiveTable
) -> tuple[dict[str, Any], list[ShownProcess]]:
    """Wait until each is ready, has ended, or has run for long enough. Returns the answer of `scripts_status` for
    these, and the scripts that had to be ready and are not.
    """
    now_s = asyncio.get_running_loop().time
    until_s, notice_s = now_s() + patience.timeout_s, now_s() + NOTICE_S
    over: set[str] = set()
    while True:
        answer = await project.call("scripts_status")
        answer = {**answer, "processes": [each for each in answer.get("processes", []) if each.get("name") in started]}
        processes, now = processes_of(answer), datetime.now(UTC)
        waiting = [each for each in processes if each.name not in over and patience.left_s(each, now)]
        if not waiting or now_s() >= until_s:
            return answer, [each for each in waiting if patience.is_late(each)]
        table.show(processes)
        if not table.is_live and notice_s <= now_s() < until_s:
            notice_s = until_s
            if slow := [each for each in waiting if patience.left_s(each, now) > NOTICE_S]:
                say(f"waiting for {_names(slow)} (Ctrl-C leaves them running)")
        pause_s = REFRESH_S if table.is_live else max(0.0, notice_s - now_s())
        # One after the other, because a script that is ready stays so.
        name, left_s = waiting[0].name, patience.left_s(waiting[0], now)
        rest_s = min(left_s, until_s - now_s(), pause_s)
        waited = await project.call("wait_for", process=name, ready=True, exit=True, timeout_s=rest_s)
        if waited.get("matched"):
            over.add(name)  # also if it has restarted meanwhile


def _names(processes: Sequence[ShownProcess]) -> str:
    return some([process.name for process in processes])
