"""The tools: one row each, with the type of its arguments. The hub's frozen list and an instance's list are made of it.

Agents read the descriptions on every turn, so each has at most two sentences, and the hub's whole list stays under 12
KiB. The types of the arguments make the schemas, which use only what the converter of every provider accepts: one type
for each property, no ``default``, no combinations. There are no output schemas: they would be a third of the list, and
clients that validate them fail on the results of foreign servers.

`brummer.wire.mcp.tool_arguments` decodes the arguments. ``instance`` is in no type here: the hub removes it before it
passes a call on.
"""

from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from msgspec import Meta, Raw, Struct

Schema = dict[str, Any]

PATTERN_LENGTH: Final = 1_000
"""Characters of a query or an expression: longer ones are text pasted by mistake."""

DEFAULT_WAIT_S: Final = 30.0
"""``timeout_s`` of the tools that wait, when none is given."""

CALL_ANSWER_S: Final = 30.0
"""How long an instance may take to answer a call, beside the wait that its arguments allow. All but stops take
milliseconds; a stop takes up to the script's ``stop_timeout_s``, which is 5 s by default.
"""

UNTIL_BLACK_BOX_S: Final = 5.0
"""How long an instance that may still live has to answer before its black box is read. A live one is rarely so slow,
and agents wait far longer. Without a black box `CALL_ANSWER_S` holds.
"""

LONGEST_WAIT_S: Final = 86_400
"""A day: longer than any dev server needs, short enough for every timer."""

INSTANCE: Final = "id, name or directory; may be left out when only one fits"


# Types of arguments. ``X | None`` has the schema of X; a description is outermost.

ScriptName = Annotated[str, Meta(description="script, as scripts_list names it")]
ProcessName = Annotated[str | None, Meta(description="script, or process_id of one run; left out: all")]
Cursor = Annotated[str | None, Meta(description="next_cursor of an earlier answer; left out: from the start")]
LatestCursor = Annotated[
    str | None, Meta(description="cursor of any earlier answer: what came after it; left out: the latest")
]
WaitCursor = Annotated[
    str | None, Meta(description="cursor of any earlier answer: lines after it count; left out: lines from now on")
]
Wait = Annotated[Literal["none", "ready", "exit"], Meta(description="what to wait for (default ready)")]
Timeout = Annotated[
    float, Meta(ge=0, le=LONGEST_WAIT_S, description=f"seconds to wait at most (default {DEFAULT_WAIT_S:g})")
]
Since = Annotated[
    str | Annotated[float, Meta(ge=0)] | None,
    Meta(description='only from then on: a time (RFC 3339, or 12:03:11 UTC), or how long ago ("5m", or seconds)'),
]
"""See `brummer.logs.query.is_since`."""
LineLimit = Annotated[int, Meta(ge=1, le=5_000)]
Pattern = Annotated[str, Meta(max_length=PATTERN_LENGTH)]


class NoArguments(Struct, forbid_unknown_fields=True):
    """Takes nothing."""


class PagedList(Struct, forbid_unknown_fields=True):
    """A list that may take several answers; ``cursor`` continues after an earlier one."""

    cursor: Cursor = None


class Connect(Struct, forbid_unknown_fields=True):
    """Arguments of `instances_connect`."""

    instance: Annotated[str, Meta(description="id, name or directory")]


class RunScript(Struct, forbid_unknown_fields=True):
    """``wait`` ends at readiness or exit, or after ``timeout_s``, whichever comes first. ``environment``: that of the
    command that calls, as `brummer.instance.environment` packs it.
    """

    name: ScriptName
    wait: Wait = "ready"
    timeout_s: Timeout = DEFAULT_WAIT_S
    environment: bytes | None = None
    """Without a description, as ``asked_by``: an agent's own would be the wrong one."""


class PickProcess(Struct, forbid_unknown_fields=True):
    """By script name (its current run) or by ``process_id`` (that very run); at least one is needed."""

    name: Annotated[str | None, Meta(description="script: its current run")] = None
    process_id: Annotated[str | None, Meta(description="that very run; name or process_id is needed")] = None


class StopProcess(PickProcess, forbid_unknown_fields=True):
    """``asked_by`` comes from the command line, to distinguish its stops from those of agents."""

    asked_by: Literal["call", "command line"] = "call"
    """Without a description: no schema has it."""


class RestartScript(PickProcess, forbid_unknown_fields=True):
    """As `PickProcess`, and waits as `RunScript`."""

    wait: Wait = "ready"
    timeout_s: Timeout = DEFAULT_WAIT_S
    environment: bytes | None = None
    """As in `RunScript`."""


class ScriptsStatus(Struct, forbid_unknown_fields=True):
    """Of one script, or of all."""

    name: Annotated[
        str | None,
        Meta(description="script, or process_id of one run: all its runs; left out: the latest run of each"),
    ] = None
    cursor: Cursor = None


class TailLogs(Struct, forbid_unknown_fields=True, kw_only=True):
    """Without a cursor the last ``limit`` lines; with one, up to ``limit`` lines after it.

    ``level``: only lines at least as serious, with their stack traces. ``limit_bytes`` bounds the answer on the wire;
    it always has at least one line.
    """

    process: ProcessName = None
    level: Annotated[
        Literal["error", "warning", "info", "debug"] | None, Meta(description="lines at least so serious")
    ] = None
    since: Since = None
    limit: Annotated[LineLimit, Meta(description="lines at most (default 100)")] = 100
    limit_bytes: Annotated[int, Meta(ge=1, le=262_144, description="size of the answer (default 32768)")] = 32_768
    cursor: LatestCursor = None
    colours: bool = False
    """Without a description, as ``asked_by``: for a terminal."""


class SearchLogs(TailLogs, forbid_unknown_fields=True):
    """Lines that contain ``query``, or match it as a regular expression. ``around``: so many lines before and after
    each, of the same process.
    """

    query: Annotated[Pattern, Meta(description="text, or the regular expression")]
    regex: Annotated[bool, Meta(description="query is a regular expression (default false)")] = False
    around: Annotated[int, Meta(ge=0, le=100, description="lines shown before and after each (default 0)")] = 0


class WaitFor(Struct, forbid_unknown_fields=True):
    """The first condition that comes true ends the wait. ``log`` is a regular expression; without ``cursor`` and
    ``since`` only lines from now on count, otherwise those after both. ``port`` 0 is none.
    """

    process: ProcessName = None
    log: Annotated[Pattern | None, Meta(description="a line matches this regular expression")] = None
    cursor: WaitCursor = None
    since: Since = None
    ready: Annotated[bool, Meta(description="it is ready")] = False
    exit: Annotated[bool, Meta(description="it has ended")] = False
    port: Annotated[
        int,
        Meta(
            ge=0,
            le=65_535,
            description="TCP port of this machine takes connections; 0: none. One of log, ready, exit, port is needed",
        ),
    ] = 0
    timeout_s: Timeout = DEFAULT_WAIT_S


class ChangesSince(Struct, forbid_unknown_fields=True):
    """Without a cursor, the latest changes."""

    cursor: LatestCursor = None
    limit: Annotated[LineLimit, Meta(description="changes at most (default 200)")] = 200


class InstanceCall(Struct, forbid_unknown_fields=True):
    """``arguments``: an object, or a text that holds one: some models write arguments like that."""

    tool: Annotated[str, Meta(description="name, as instance_tools lists it")]
    arguments: Annotated[Raw, Meta(description="the tool's own arguments (default none)")] = Raw(b"{}")


# Schemas.

_UNIONS: Final = (UnionType, Union)
_TYPES: Final = {str: "string", int: "integer", float: "number", bool: "boolean", Raw: "object", bytes: "string"}
_KEYWORDS: Final = (("minimum", "ge"), ("maximum", "le"), ("description", "description"), ("maxLength", "max_length"))


def _schemas_of(arguments: type[Struct]) -> dict[str, Schema]:
    """The schemas of the described fields, without `msgspec.structs.fields`: that takes ten times as long."""
    kinds: dict[str, Any] = {}
    for each in reversed(arguments.__mro__):
        kinds.update(getattr(each, "__annotations__", {}))
    schemas = {name: _schema_of(kinds[name]) for name in arguments.__struct_fields__}
    return {name: schema for name, schema in schemas.items() if "description" in schema}


def _schema_of(kind: Any) -> Schema:
    metas = getattr(kind, "__metadata__", ())
    base = kind.__origin__ if metas else kind
    if get_origin(base) in _UNIONS:
        schema = _schema_of(get_args(base)[0])
    elif get_origin(base) is Literal:
        schema = {"type": "string", "enum": list(get_args(base))}
    else:
        schema = {"type": _TYPES[base]}
    for keyword, name in _KEYWORDS if metas else ():
        for value in (schema.pop(keyword, None), *(getattr(meta, name) for meta in metas)):
            if value is not None:
                schema[keyword] = value
    return schema


class ToolDefinition(Struct, frozen=True):
    """One tool. ``routed`` tools take ``instance`` at the hub. ``waits``: it may be silent for its ``timeout_s``."""

    name: str
    description: str
    arguments: type[Struct]
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = False
    routed: bool = True
    waits: bool = False

    def as_instance_tool(self) -> dict[str, Any]:
        return self._as_tool({})

    def as_hub_tool(self) -> dict[str, Any]:
        return self._as_tool({"instance": {"type": "string", "description": INSTANCE}} if self.routed else {})

    def _as_tool(self, more: dict[str, Schema]) -> dict[str, Any]:
        fields, defaults = self.arguments.__struct_fields__, self.arguments.__struct_defaults__
        required = fields[: len(fields) - len(defaults)]
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": {
                "type": "object",
                "properties": {**more, **_schemas_of(self.arguments)},
                "additionalProperties": False,
                **({"required": list(required)} if required else {}),
            },
            "annotations": {
                "readOnlyHint": self.read_only,
                "destructiveHint": self.destructive,
                "idempotentHint": self.idempotent or self.read_only,
                "openWorldHint": False,
            },
        }


TOOLS: tuple[ToolDefinition, ...] = (
    ToolDefinition(
        "instances_list",
        "List every project that has a Brummer instance, with its state and why it is in it. Start here when you do not"
        " know what is running.",
        PagedList,
        read_only=True,
        routed=False,
    ),
    ToolDefinition(
        "instances_connect",
        "Choose the instance that later calls go to when they name none. Takes an id, a name or a directory.",
        Connect,
        idempotent=True,
        routed=False,
    ),
    ToolDefinition(
        "instances_disconnect",
        "Forget the instance chosen by instances_connect. Nothing is stopped.",
        NoArguments,
        idempotent=True,
        routed=False,
    ),
    ToolDefinition(
        "scripts_list",
        "List what can be run in a project, and where each script comes from. The list is fresh when files change.",
        PagedList,
        read_only=True,
    ),
    ToolDefinition(
        "scripts_run",
        "Make sure that a script runs, and return its process with URLs and readiness; one that runs already is"
        " returned, not started twice. Use wait=exit for scripts that end, and instance=DIRECTORY for a project"
        " where no instance runs yet.",
        RunScript,
        waits=True,
    ),
    ToolDefinition(
        "scripts_stop",
        "Stop a script's whole process tree, gently and then firmly, and return when it is gone. Only what the instance"
        " started can be stopped.",
        StopProcess,
        idempotent=True,
        destructive=True,
        waits=True,
    ),
    ToolDefinition(
        "scripts_restart",
        "Stop a script if it runs and start it anew. Waits as scripts_run does.",
        RestartScript,
        destructive=True,
        waits=True,
    ),
    ToolDefinition(
        "scripts_status",
        "Tell the state of the processes: status, pid, URLs, exit code or signal. Without a name, of all of them;"
        " instance=* of all instances.",
        ScriptsStatus,
        read_only=True,
    ),
    ToolDefinition(
        "logs_tail",
        "Read the last lines of output, or with a cursor the lines after it. dropped counts lines that are gone.",
        TailLogs,
        read_only=True,
    ),
    ToolDefinition(
        "logs_search",
        "Find lines of output that contain a text or match a regular expression, newest last. A cursor continues"
        " after an earlier answer.",
        SearchLogs,
        read_only=True,
    ),
    ToolDefinition(
        "wait_for",
        "Block until a process logs a matching line, is ready, exits, or a port opens, instead of polling. instance=*"
        " waits on all instances and returns the first match.",
        WaitFor,
        read_only=True,
        waits=True,
    ),
    ToolDefinition(
        "changes_since",
        "Tell what happened since a cursor: starts, exits, readiness, URLs, errors and their place. Without a cursor,"
        " the latest changes; instance=* of all instances.",
        ChangesSince,
        read_only=True,
    ),
    ToolDefinition(
        "hub_status",
        "Tell how the hub and its links are: problems first, then each link with state, last error and next retry."
        " Use it when calls fail.",
        PagedList,
        read_only=True,
        routed=False,
    ),
    ToolDefinition(
        "instance_tools",
        "List the tools that an instance itself offers, with their schemas. Call one with instance_call.",
        NoArguments,
        read_only=True,
    ),
    ToolDefinition(
        "instance_call",
        "Call any tool that an instance offers, by name. The result is passed on unchanged.",
        InstanceCall,
        destructive=True,
    ),
)

BY_NAME: dict[str, ToolDefinition] = {tool.name: tool for tool in TOOLS}
HUB_ONLY = frozenset({"instance_tools", "instance_call"}) | {tool.name for tool in TOOLS if not tool.routed}
READ_ONLY = frozenset(tool.name for tool in TOOLS if tool.read_only)
"""These change nothing, so an instance keeps no record of their calls."""
REPEATABLE = frozenset(tool.name for tool in TOOLS if tool.read_only or tool.idempotent)
"""Run twice, these do the same as run once. A call of another tool is sent again only if its key decides."""
WAITING = frozenset(tool.name for tool in TOOLS if tool.waits)
INSTANCE_TOOLS: tuple[ToolDefinition, ...] = tuple(tool for tool in TOOLS if tool.name not in HUB_ONLY)


def renderer(tool: str) -> Callable[[dict[str, Any]], str]:
    """The function that writes the text of the tool's answers; see `brummer.contract.texts`."""

    def render(answer: dict[str, Any]) -> str:
        text: str = _texts().rendered(tool, answer)
        return text

    return render


@cache
def _texts() -> Any:
    from brummer.contract import texts  # noqa: PLC0415 - no start needs it

    return texts
