"""``brum ps``: a table of the project's scripts."""

import argparse
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from brummer.cli import options
from brummer.cli.colour import Paint
from brummer.cli.instance_calls import NothingRuns, Unanswered
from brummer.cli.messages import print_json, say
from brummer.cli.process_table import lines_of, not_started
from brummer.cli.project import ANEW, EXIT_NOTHING_RUNS, CallFailed, Project, with_project
from brummer.contract.processes import NO_USAGE, ShownProcess, ShownUsage, processes_of, usages_of
from brummer.host.clocks import wall
from brummer.link.errors import RemoteRefusal

DETAILS: Final = (
    "Without an instance it shows what the last run has left, and the exit status is 3. With --usage: CPU (100% is one"
    " core), memory and the number of processes of each script now, and the CPU time and the largest memory of its run."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_project(parser)
    options.add_json(parser, "print JSON, the answer of scripts_status")
    parser.add_argument("--usage", action="store_true", help="also show CPU and memory; takes half a second")


def run(chosen: argparse.Namespace) -> int:
    return with_project(chosen, lambda project: show(project, chosen))


async def show(project: Project, chosen: argparse.Namespace) -> int:
    """Print the table, or the answer as JSON; returns the exit status."""
    try:
        answer, runs = await project.call("scripts_status"), True
    except NothingRuns:
        answer, runs = await project.left_behind("scripts_status"), False
    listing = await project.call("scripts_list") if runs else {}
    processes = sorted(processes_of(answer), key=_started_at)
    usages = await _usages(project) if chosen.usage and any(process.runs for process in processes) else {}
    say_problems(listing)
    if chosen.json:
        print_json(_with_usage(answer, usages) if chosen.usage else answer)
    elif processes:
        show_processes(processes, options.paint(chosen), usages if chosen.usage else None)
    elif runs:
        say(not_started(str(script.get("name")) for script in listing.get("scripts", [])))
    return 0 if runs else EXIT_NOTHING_RUNS


async def _usages(project: Project) -> dict[str, ShownUsage]:
    """Without the samples before now. Empty if the instance is of an earlier version, or does not answer any more."""
    try:
        return usages_of(await project.call("scripts_usage", since=wall()))
    except CallFailed as error:
        if error.error_code != RemoteRefusal.code:
            raise
        say(f"the instance is of an earlier version of Brummer and measures no usage; {ANEW}")
    except (NothingRuns, Unanswered) as error:
        say(f"usage is not known: {error.message}")
    return {}


def _with_usage(answer: dict[str, Any], usages: dict[str, ShownUsage]) -> dict[str, Any]:
    """The processes of an answer with what each uses now."""

    def used(process: dict[str, Any]) -> dict[str, Any]:
        usage = usages.get(str(process.get("process_id")), NO_USAGE)
        return {"cpu": usage.cpu, "memory_mib": usage.memory_mib, "processes": usage.processes}

    return {**answer, "processes": [{**process, **used(process)} for process in answer.get("processes", [])]}


def _started_at(process: ShownProcess) -> datetime:
    """Sorted by this, a table keeps its order while scripts fail and recover."""
    return process.started_at or datetime.max.replace(tzinfo=UTC)


def say_problems(listing: dict[str, Any]) -> None:
    """Print the errors in the project's files, as `scripts_list` reports them: they explain missing scripts."""
    for problem in listing.get("problems", []):
        place = ":".join(str(part) for part in (problem.get("source"), problem.get("line")) if part is not None)
        say(f"{place}: {problem.get('message')}")


def show_processes(
    processes: Iterable[ShownProcess], paint: Paint, usages: Mapping[str, ShownUsage] | None = None
) -> None:
    """Print the table; ``usages`` as in `brummer.cli.process_table.lines_of`."""
    print("\n".join(lines_of(list(processes), datetime.now(UTC), paint, usages)))
