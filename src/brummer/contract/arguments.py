"""Arguments of the tools, decoded strictly: an unknown or mistyped argument is an error that names it.

``instance`` never appears here: the hub takes it out before it passes a call on.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
"""A day bounds every wait: longer than any dev server needs, short enough for every timer."""

LineLimit = Annotated[int, Meta(ge=1, le=5_000)]


Since = str | Annotated[float, Meta(ge=0)]


class NoArguments(Struct, forbid_unknown_fields=True):
    """Takes nothing."""


class RunScript(Struct, forbid_unknown_fields=True):
    """``wait`` ends at readiness or exit, or after ``timeout_s``, whichever comes first."""

    name: str
    wait: Literal["none", "ready", "exit"] = "ready"
    timeout_s: Seconds = 30.0


class PickProcess(Struct, forbid_unknown_fields=True):
    """By script name (its current run) or by ``process_id`` (that very run); at least one is needed."""

    name: str | None = None
    process_id: str | None = None


class StopProcess(PickProcess, forbid_unknown_fields=True):
    """``asked_by`` is what the command line adds, so that its stops can be told from an agent's; no schema shows it."""

    asked_by: Literal["call", "command line"] = "call"


class RestartScript(PickProcess, forbid_unknown_fields=True):
    """As `PickProcess`, and waits as `RunScript`."""

    wait: Literal["none", "ready", "exit"] = "ready"
    timeout_s: Seconds = 30.0


class ScriptsStatus(Struct, forbid_unknown_fields=True):
    """Of one script, or of all."""

    name: str | None = None


class TailLogs(Struct, forbid_unknown_fields=True):
    """Without a cursor the last ``limit`` lines; with one, up to ``limit`` lines after it.

    ``level``: of those at least as serious, stack traces included. ``since``: a time as RFC 3339, or seconds ago.
    ``limit_bytes`` bounds the lines of the answer, before JSON's escapes; one line is always given.
    """

    process: str | None = None
    limit: LineLimit = 100
    cursor: str | None = None
    level: Literal["error", "warning", "info", "debug"] | None = None
    since: Since | None = None
    limit_bytes: Annotated[int, Meta(ge=1, le=262_144)] = 32_768


class SearchLogs(TailLogs, forbid_unknown_fields=True, kw_only=True):
    """Lines that contain ``query``, or match it as a regular expression. ``around``: so many lines before and after
    each, of the same process.
    """

    query: str
    regex: bool = False
    around: Annotated[int, Meta(ge=0, le=100)] = 0


class WaitFor(Struct, forbid_unknown_fields=True):
    """The first condition that comes true ends the wait. ``log`` is a regular expression; lines from before ``since``
    do not count.
    """

    process: str | None = None
    log: str | None = None
    since: Since | None = None
    ready: bool = False
    exit: bool = False
    port: Annotated[int, Meta(ge=1, le=65_535)] | None = None
    timeout_s: Seconds = 30.0


class ChangesSince(Struct, forbid_unknown_fields=True):
    """Without a cursor, the latest changes."""

    cursor: str | None = None
    limit: LineLimit = 200
