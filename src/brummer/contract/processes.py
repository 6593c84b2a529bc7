"""A process as programs show it to people, read from the answers of `scripts_status` and `scripts_usage`.

An instance of another version may report unknown states, which are shown unchanged, and unknown fields, which are
ignored.
"""

from datetime import datetime
from typing import Any, Final

import msgspec

ENDED: Final = frozenset({"stopped", "exited", "failed", "crash-looping", "lost"})
"""Final states. ``lost``: it ran when its instance was killed, according to the black box."""

FAILED: Final = frozenset({"failed", "crash-looping"})


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
    cpu_s: float | None = None
    memory_max_mib: float | None = None
    unfinished_line: str | None = None

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
        """Why it failed, or else the errors that it printed, in one line, which may be long. The first error explains a
        crash loop.
        """
        lines = (self.first_error or self.reason or str(self.errors or "")).strip().splitlines()
        return lines[0] if lines and lines[0] not in self.outcome else ""


def processes_of(answer: dict[str, Any]) -> list[ShownProcess]:
    """Invalid fields of a process are left out, not the process."""
    return [_as_process(each) for each in answer.get("processes", [])]


def _as_process(facts: dict[str, Any]) -> ShownProcess:
    try:
        return msgspec.convert(facts, ShownProcess)
    except msgspec.ValidationError:
        return ShownProcess(str(facts.get("name", "-")), str(facts.get("status", "unknown")))


class ShownUsage(msgspec.Struct):
    """What a process tree uses now, in `scripts_usage`; None is unknown."""

    process_id: str = ""
    cpu: float | None = None
    memory_mib: float | None = None
    processes: int = 0


NO_USAGE: Final = ShownUsage()


def usages_of(answer: dict[str, Any]) -> dict[str, ShownUsage]:
    """By process id; invalid ones are left out."""
    try:
        return {each.process_id: each for each in msgspec.convert(answer.get("scripts", []), list[ShownUsage])}
    except msgspec.ValidationError:
        return {}
