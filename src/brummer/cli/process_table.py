"""The table of processes of `brum ps`, `up` and `restart`. Pure: the time is an argument.

An instance of another version may report unknown states, which are shown unchanged, and unknown fields, which are
ignored.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from brummer.cli import colour as colours
from brummer.cli.colour import Paint, shortened
from brummer.cli.table import aligned, joined, padded, width
from brummer.discovery.record import displayable
from brummer.settings.units import span

ENDED: Final = frozenset({"stopped", "exited", "failed", "crash-looping", "lost"})
"""Final states. ``lost``: it ran when its instance was killed, according to the black box."""

FAILED: Final = frozenset({"failed", "crash-looping"})

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
_TRANSIENT: Final = colours.YELLOW
"""For any other state."""


class ShownErrors(msgspec.Struct):
    """Errors in the output of a script: how many, and the first."""

    count: int
    first: str

    def __str__(self) -> str:
        return f"1 error: {self.first}" if self.count == 1 else f"{self.count} errors, the first: {self.first}"


class ShownProcess(msgspec.Struct):
    """The fields of a process in `scripts_status` that are shown."""

    name: str
    status: str = "unknown"
    process_id: str = ""
    pid: int | None = None
    urls: list[str] = []
    exit_code: int | None = None
    signal: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    ready_at: datetime | None = None
    restarts: int = 0
    next_restart_s: float | None = None
    waits_for: list[str] = []
    reason: str | None = None
    first_error: str | None = None
    errors: ShownErrors | None = None

    @property
    def has_failed(self) -> bool:
        return self.status in FAILED

    @property
    def has_ended_badly(self) -> bool:
        """It has run, so its last lines may explain the end; perhaps it is about to restart."""
        return self.next_restart_s is not None or (self.has_failed and (self.exit_code or self.signal) is not None)

    @property
    def runs(self) -> bool:
        return self.status not in ENDED

    def lasted_s(self, now: datetime) -> float:
        """Seconds since its start, or from its start to its end."""
        return ((self.ended_at or now) - self.started_at).total_seconds() if self.started_at else 0.0

    @property
    def outcome(self) -> str:
        """The state, with the kind of its end, or what it waits for."""
        if self.has_failed and self.signal:
            return f"{self.status} ({self.signal})"
        if self.next_restart_s is not None:
            return f"{self.status} (again in {self.next_restart_s:g} s)"
        if self.waits_for:
            return f"{self.status} (waits for {', '.join(self.waits_for)})"
        return f"{self.status} (exit {self.exit_code})" if self.has_failed and self.exit_code else self.status

    @property
    def problem(self) -> str:
        """Why it failed, or else the errors that it printed, in one line. The first error explains a crash loop."""
        lines = (self.first_error or self.reason or str(self.errors or "")).strip().splitlines()
        return shortened(lines[0], ERROR_COLUMNS) if lines and lines[0] not in self.outcome else ""


def processes_of(answer: dict[str, Any]) -> list[ShownProcess]:
    """Invalid fields of a process are left out, not the process."""
    return [_as_process(each) for each in answer.get("processes", [])]


def _as_process(facts: dict[str, Any]) -> ShownProcess:
    try:
        return msgspec.convert(facts, ShownProcess)
    except msgspec.ValidationError:
        return ShownProcess(str(facts.get("name", NOTHING)), str(facts.get("status", "unknown")))


def lines_of(processes: Sequence[ShownProcess], now: datetime, paint: Paint) -> Iterator[str]:
    """A heading, and a line for each process; a second one if it has an error."""
    shows_restarts = any(process.restarts for process in processes)
    titles = ["NAME", "STATE", "PID", "SINCE", *(["RESTARTS"] if shows_restarts else []), "URLS"]
    rows = aligned([titles, *(_cells(process, now, shows_restarts=shows_restarts) for process in processes)])
    yield paint.styled(joined(rows[0]), colours.BOLD)
    indent = width(rows[0][0]) + 2
    for process, row in zip(processes, rows[1:], strict=True):
        yield joined(_painted(process, row, paint))
        if process.problem:
            yield padded("", indent) + paint.styled(process.problem, colours.RED)


def _cells(process: ShownProcess, now: datetime, *, shows_restarts: bool) -> list[str]:
    since = process.started_at if process.runs else process.ended_at or process.started_at
    cells = [
        process.outcome,
        str(process.pid or NOTHING),
        span(max(0.0, (now - since).total_seconds())) if since else NOTHING,
        *([str(process.restarts)] if shows_restarts else []),
        " ".join(process.urls) or NOTHING,
    ]
    return [shortened(process.name), *map(displayable, cells)]


def _painted(process: ShownProcess, row: Sequence[str], paint: Paint) -> list[str]:
    name, state, *rest = row
    return [paint.name(name), paint.styled(state, _COLOURS.get(process.status, _TRANSIENT)), *rest]


def not_started(names: Iterable[str]) -> str:
    """The message where nothing has run yet."""
    found = ", ".join(names)
    return f"no script has been started yet; there is {found}" if found else "no scripts were found here"
