"""The table of processes of `brum ps`, `up` and `restart`. Pure: the time is an argument."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from brummer.cli import colour as colours
from brummer.cli.colour import Paint, shortened
from brummer.cli.table import aligned, joined, padded, width
from brummer.contract.processes import NO_USAGE, ShownProcess, ShownUsage
from brummer.discovery.record import displayable
from brummer.settings.units import span

NOTHING: Final = "-"
ERROR_COLUMNS: Final = 100
MIB_PER_GIB: Final = 1024

_COLOURS: Final = {
    "ready": colours.GREEN,
    "running": colours.GREEN,
    "failed": colours.RED,
    "crash-looping": colours.RED,
    "lost": colours.RED,
    "exited": colours.DIM,
    "stopped": colours.DIM,
}
_TRANSIENT: Final = colours.YELLOW
"""For any other state."""


def lines_of(
    processes: Sequence[ShownProcess], now: datetime, paint: Paint, usages: Mapping[str, ShownUsage] | None = None
) -> Iterator[str]:
    """A heading, and a line for each process; a second one if it has an error, or asks something. ``usages``: by
    process id; with them the table has what each uses.
    """
    columns = _columns(processes, now, usages)
    rows = aligned([list(columns), *([cell(process) for cell in columns.values()] for process in processes)])
    yield paint.styled(joined(rows[0]), colours.BOLD)
    indent = width(rows[0][0]) + 2
    for process, row in zip(processes, rows[1:], strict=True):
        yield joined(_painted(process, row, paint))
        if process.problem:
            yield padded("", indent) + paint.styled(shortened(process.problem, ERROR_COLUMNS), colours.RED)
        elif question := question_of(process):
            yield padded("", indent) + paint.styled(question, colours.YELLOW)


def question_of(process: ShownProcess) -> str:
    """That it may wait for an answer, and how to give one; empty if it has printed whole lines, or serves."""
    if not (process.runs and process.unfinished_line) or process.ready_at:
        return ""
    asks = shortened(process.unfinished_line, ERROR_COLUMNS)
    return f"may wait for input: {asks} (brum attach {shortened(process.name)} answers)"


def _columns(
    processes: Sequence[ShownProcess], now: datetime, usages: Mapping[str, ShownUsage] | None
) -> dict[str, Callable[[ShownProcess], str]]:
    """Title → what a process has there."""
    columns: dict[str, Callable[[ShownProcess], str]] = {
        "NAME": lambda process: shortened(process.name),
        "STATE": lambda process: displayable(process.outcome),
        "PID": lambda process: str(process.pid or NOTHING),
    }
    if usages is not None:
        columns |= _usage_columns(usages)
    columns["SINCE"] = lambda process: _since(process, now)
    if any(process.restarts for process in processes):
        columns["RESTARTS"] = lambda process: str(process.restarts)
    columns["URLS"] = lambda process: displayable(" ".join(process.urls) or NOTHING)
    return columns


def _usage_columns(usages: Mapping[str, ShownUsage]) -> dict[str, Callable[[ShownProcess], str]]:
    """What the process tree uses now, and then what its whole run has used."""

    def now(process: ShownProcess) -> ShownUsage:
        return usages.get(process.process_id, NO_USAGE)

    return {
        "CPU": lambda process: _percent(now(process).cpu),
        "MEMORY": lambda process: _memory(now(process).memory_mib),
        "PROCESSES": lambda process: str(now(process).processes or NOTHING),
        "CPU TIME": lambda process: NOTHING if process.cpu_s is None else span(process.cpu_s),
        "PEAK": lambda process: _memory(process.memory_max_mib),
    }


def _percent(cpu: float | None) -> str:
    return NOTHING if cpu is None else f"{100 * cpu:.0f}%"


def _memory(mib: float | None) -> str:
    if mib is None:
        return NOTHING
    return f"{mib / MIB_PER_GIB:.1f} GiB" if mib >= MIB_PER_GIB else f"{mib:.0f} MiB"


def _since(process: ShownProcess, now: datetime) -> str:
    since = process.started_at if process.runs else process.ended_at or process.started_at
    return span(max(0.0, (now - since).total_seconds())) if since else NOTHING


def _painted(process: ShownProcess, row: Sequence[str], paint: Paint) -> list[str]:
    name, state, *rest = row
    return [paint.name(name), paint.styled(state, _COLOURS.get(process.status, _TRANSIENT)), *rest]


def not_started(names: Iterable[str]) -> str:
    """The message where nothing has run yet."""
    found = ", ".join(names)
    return f"no script has been started yet; there is {found}" if found else "no scripts were found here"
