"""``brum ps`` and ``brum wait``."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from brummer.cli.colour import Paint, shortened
from brummer.cli.messages import say
from brummer.cli.process_table import Process, lines_of, not_started, processes_of
from brummer.cli.project import EXIT_NOTHING_RUNS, EXIT_TIMED_OUT, Project, with_project
from brummer.core import json_text
from brummer.discovery.record import displayable


def ps(place: Path, name: str | None, paint: Paint, *, as_json: bool) -> int:
    """Print a table, or JSON; where nothing runs, what the last run has left, and still 3."""

    async def show(project: Project) -> int:
        runs = await project.find() is not None
        answer = await (project.call if runs else project.left_behind)("scripts_status")
        listing = await project.call("scripts_list") if runs else {}
        tell_problems(listing)
        if as_json:
            print(json_text.indented(answer))
        elif processes := processes_of(answer):
            show_processes(sorted(processes, key=_started), paint)
        elif runs:
            say(not_started(str(script.get("name")) for script in listing.get("scripts", [])))
        return 0 if runs else EXIT_NOTHING_RUNS

    return with_project(place, name, show)


def _started(process: Process) -> datetime:
    """A table keeps its order while things fail and recover."""
    return process.started_at or datetime.max.replace(tzinfo=UTC)


def tell_problems(listing: dict[str, Any]) -> None:
    """What could not be understood in the project's files, as `scripts_list` has it: why something may be missing."""
    for problem in listing.get("problems", []):
        place = ":".join(str(part) for part in (problem.get("source"), problem.get("line")) if part is not None)
        say(f"{place}: {problem.get('message')}")


def show_processes(processes: Iterable[Process], paint: Paint) -> None:
    """Print the table."""
    for line in lines_of(list(processes), datetime.now(UTC), paint):
        print(line)


def wait(place: Path, name: str | None, script: str, wanted: dict[str, Any], timeout_s: float) -> int:
    """``wanted``: the condition, as `wait_for` takes it."""

    async def until_true(project: Project) -> int:
        answer = await project.call("wait_for", process=script, timeout_s=timeout_s, **wanted)
        process = next(iter(processes_of({"processes": [answer["process"]]})), None) if answer.get("process") else None
        status, text = verdict(script, wanted, answer, process)
        print(text) if status == 0 else say(text)
        return status

    return with_project(place, name, until_true)


def verdict(script: str, wanted: dict[str, Any], answer: dict[str, Any], process: Process | None) -> tuple[int, str]:
    """The exit status, and what to say."""
    name, state = shortened(script), process.outcome if process else "not started"
    if not answer.get("matched"):
        if process and not process.runs:
            return 1, f"{name} has ended, so it will not come true: it is {state}"
        return EXIT_TIMED_OUT, f"{name}: it did not come true in {answer.get('waited_s')} s; it is {state}"
    if line := answer.get("line"):
        return 0, displayable(str(line.get("text", "")))
    if "port" in wanted:
        return 0, f"{wanted['port']} answers"
    if "exit" in wanted:
        return (0 if process and process.exit_code == 0 else 1), f"{name} is {state}"
    return 0, " ".join([f"{name} is {state}", *(process.urls if process else [])])
