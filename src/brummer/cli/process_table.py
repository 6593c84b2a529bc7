"""What `brum ps`, `up` and `restart` show of processes. Pure: the time is passed in.

An instance of another version may tell states and members that are not known here: the former are shown as they are,
the latter are passed over.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from brummer.cli import colour as colours
from brummer.cli.colour import Paint, padded, shortened, table, width
from brummer.discovery.record import displayable
from brummer.settings.units import span

ENDED: Final = frozenset({"stopped", "exited", "failed", "crash-looping", "lost"})
"""What does not run in these. ``lost``: it ran when its instance was killed, as the black box has it."""

NOTHING: Final = "-"
ERROR_COLUMNS: Final = 100

_COLOURS: Final = {
    "ready": colours.GREEN,
    "running": colours.GREEN,
    "failed": colours.RED,
    "crash-looping": colours.RED,
    "lost": colours.RED,
    "exited": colours.DIM,
    "stopped": colours.DIM,
}
_MOVING: Final = colours.YELLOW
"""Any other state is on its way to one of these."""


class Errors(msgspec.Struct):
    """What a script has printed of errors: how many, and the first."""

    count: int
    first: str

    def __str__(self) -> str:
        return f"1 error: {self.first}" if self.count == 1 else f"{self.count} errors, the first: {self.first}"


class Process(msgspec.Struct):
    """What `scripts_status` tells of one, as far as it is shown."""

    name: str
    status: str = "unknown"
    process_id: str = ""
    pid: int | None = None
    urls: list[str] = []
    exit_code: int | None = None
    signal: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    restarts: int = 0
    next_restart_s: float | None = None
    waits_for: list[str] = []
    reason: str | None = None
    first_error: str | None = None
    errors: Errors | None = None

    @property
    def has_failed(self) -> bool:
        return self.status in {"failed", "crash-looping"}

    @property
    def has_ended_badly(self) -> bool:
        """It has run, so that its last lines may say why; and perhaps is started again by itself."""
        return self.next_restart_s is not None or (self.has_failed and (self.exit_code or self.signal) is not None)

    @property
    def runs(self) -> bool:
        return self.status not in ENDED

    @property
    def outcome(self) -> str:
        """The state, with how it ended or what it waits for where that says more."""
        if self.has_failed and self.signal:
            return f"{self.status} ({self.signal})"
        if self.next_restart_s is not None:
            return f"{self.status} (again in {self.next_restart_s:g} s)"
        if self.waits_for:
            return f"{self.status} (waits for {', '.join(self.waits_for)})"
        return f"{self.status} (exit {self.exit_code})" if self.has_failed and self.exit_code else self.status

    @property
    def problem(self) -> str:
        """Why it failed, or else which errors it printed, in one line. A crash loop is explained by its first error."""
        lines = (self.first_error or self.reason or str(self.errors or "")).strip().splitlines()
        return shortened(lines[0], ERROR_COLUMNS) if lines and lines[0] not in self.outcome else ""


def processes_of(answer: dict[str, Any]) -> list[Process]:
    """What is not understood of a process is left out, not the process."""
    return [_as_process(each) for each in answer.get("processes", [])]


def _as_process(told: dict[str, Any]) -> Process:
    try:
        return msgspec.convert(told, Process)
    except msgspec.ValidationError:
        return Process(str(told.get("name", NOTHING)), str(told.get("status", "unknown")))


def lines_of(processes: Sequence[Process], now: datetime, paint: Paint) -> Iterator[str]:
    """A title, and a line per process; a second one where there is an error to tell."""
    shows_restarts = any(process.restarts for process in processes)
    titles = ["NAME", "STATE", "PID", "SINCE", *(["RESTARTS"] if shows_restarts else []), "URLS"]
    rows = table([titles, *(_cells(process, now, shows_restarts=shows_restarts) for process in processes)])
    yield paint.styled("  ".join(rows[0]).rstrip(), colours.BOLD)
    indent = width(rows[0][0]) + 2
    for process, row in zip(processes, rows[1:], strict=True):
        yield _painted(process, row, paint).rstrip()
        if process.problem:
            yield padded("", indent) + paint.styled(process.problem, colours.RED)


def _cells(process: Process, now: datetime, *, shows_restarts: bool) -> list[str]:
    since = process.started_at if process.runs else process.ended_at or process.started_at
    return [
        shortened(process.name),
        displayable(process.outcome),
        str(process.pid or NOTHING),
        span(max(0.0, (now - since).total_seconds())) if since else NOTHING,
        *([str(process.restarts)] if shows_restarts else []),
        displayable(" ".join(process.urls)) or NOTHING,
    ]


def _painted(process: Process, row: Sequence[str], paint: Paint) -> str:
    name, state, *rest = row
    return "  ".join([paint.name(name), paint.styled(state, _COLOURS.get(process.status, _MOVING)), *rest])


def not_started(names: Iterable[str]) -> str:
    """What to say where nothing has run yet."""
    there = ", ".join(map(shortened, names))
    return f"nothing has been started yet; there is {there}" if there else "nothing that can be run was found here"
