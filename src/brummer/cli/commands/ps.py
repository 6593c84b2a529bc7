"""``brum ps``: a table of the project's scripts."""

import argparse
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from brummer.cli import options
from brummer.cli.colour import Paint
from brummer.cli.instance_calls import NothingRuns
from brummer.cli.messages import print_json, say
from brummer.cli.process_table import ShownProcess, lines_of, not_started, processes_of
from brummer.cli.project import EXIT_NOTHING_RUNS, Project, with_project

DETAILS: Final = "Without an instance it shows what the last run has left, and the exit status is 3."


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_project(parser)
    options.add_json(parser, "print JSON, the answer of scripts_status")


def run(chosen: argparse.Namespace) -> int:
    async def show(project: Project) -> int:
        try:
            answer, runs = await project.call("scripts_status"), True
        except NothingRuns:
            answer, runs = await project.left_behind("scripts_status"), False
        listing = await project.call("scripts_list") if runs else {}
        say_problems(listing)
        if chosen.json:
            print_json(answer)
        elif processes := processes_of(answer):
            show_processes(sorted(processes, key=_started_at), options.paint(chosen))
        elif runs:
            say(not_started(str(script.get("name")) for script in listing.get("scripts", [])))
        return 0 if runs else EXIT_NOTHING_RUNS

    return with_project(chosen, show)


def _started_at(process: ShownProcess) -> datetime:
    """Sorted by this, a table keeps its order while scripts fail and recover."""
    return process.started_at or datetime.max.replace(tzinfo=UTC)


def say_problems(listing: dict[str, Any]) -> None:
    """Print the errors in the project's files, as `scripts_list` reports them: they explain missing scripts."""
    for problem in listing.get("problems", []):
        place = ":".join(str(part) for part in (problem.get("source"), problem.get("line")) if part is not None)
        say(f"{place}: {problem.get('message')}")


def show_processes(processes: Iterable[ShownProcess], paint: Paint) -> None:
    """Print the table."""
    print("\n".join(lines_of(list(processes), datetime.now(UTC), paint)))
