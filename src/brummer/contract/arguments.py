"""Arguments of the tools: their types, defaults and bounds, as `brummer.contract.tools` shows them to agents.

`brummer.wire.mcp.tool_arguments` decodes them. ``instance`` never appears here: the hub removes it before it
passes a call on.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from brummer.contract.tools import DEFAULT_WAIT_S, LONGEST_WAIT_S, PATTERN_LENGTH

Seconds = Annotated[float, Meta(ge=0, le=LONGEST_WAIT_S)]

LineLimit = Annotated[int, Meta(ge=1, le=5_000)]

Since = str | Annotated[float, Meta(ge=0)]
"""A time, or how long ago: see `brummer.logs.query.is_since`."""

Query = Annotated[str, Meta(max_length=PATTERN_LENGTH)]


class NoArguments(Struct, forbid_unknown_fields=True):
    """Takes nothing."""


class Listing(Struct, forbid_unknown_fields=True):
    """A list that may take several answers; ``cursor`` continues after an earlier one."""

    cursor: str | None = None


class RunScript(Struct, forbid_unknown_fields=True):
    """``wait`` ends at readiness or exit, or after ``timeout_s``, whichever comes first."""

    name: str
    wait: Literal["none", "ready", "exit"] = "ready"
    timeout_s: Seconds = DEFAULT_WAIT_S


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
    timeout_s: Seconds = DEFAULT_WAIT_S


class ScriptsStatus(Listing, forbid_unknown_fields=True):
    """Of one script, or of all."""

    name: str | None = None


class TailLogs(Struct, forbid_unknown_fields=True):
    """Without a cursor the last ``limit`` lines; with one, up to ``limit`` lines after it.

    ``level``: only lines at least as serious, with their stack traces. ``limit_bytes`` bounds the answer on the wire;
    it always has at least one line.
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

    query: Query
    regex: bool = False
    around: Annotated[int, Meta(ge=0, le=100)] = 0


class WaitFor(Struct, forbid_unknown_fields=True):
    """The first condition that comes true ends the wait. ``log`` is a regular expression; lines from before ``since``
    do not count. ``port`` 0 is none.
    """

    process: str | None = None
    log: Query | None = None
    since: Since | None = None
    ready: bool = False
    exit: bool = False
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    timeout_s: Seconds = DEFAULT_WAIT_S


class ChangesSince(Struct, forbid_unknown_fields=True):
    """Without a cursor, the latest changes."""

    cursor: str | None = None
    limit: LineLimit = 200


class Connect(Struct, forbid_unknown_fields=True):
    """Arguments of `instances_connect`."""

    instance: str
