"""The tools: one row each, with the type of its arguments. From these the lists of the hub and of an instance are made.

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

NEWS_WAIT_S: Final = 20.0
"""The longest ``wait_s``: clients and proxies between end a silent request after 30 s or more."""

LARGEST_NUMBER: Final = 2**53 - 1
"""The largest that every reader of JSON keeps exact."""

INPUT_BYTES: Final = 4096
"""Typed in one call. A terminal drops what is longer in one line (N_TTY_BUF_SIZE of Linux), and a pipe takes no more
than this at once (PIPE_BUF).
"""

VIEW_URI: Final = "ui://brummer/view"
"""The one resource of a hub: the page, as an MCP App."""

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
NewsWait = Annotated[float, Meta(ge=0, le=NEWS_WAIT_S)]
Before = Annotated[
    Annotated[int, Meta(ge=1, le=LARGEST_NUMBER)] | None, Meta(description="n of a line: the last lines before it")
]
LineLimit = Annotated[int, Meta(ge=1, le=5_000)]
PatternText = Annotated[str, Meta(max_length=PATTERN_LENGTH)]

COMMAND_LINE: Final = "command line"
AskedBy = Literal["call", "command line", "view", "page"]
"""Who asks for a change: what people use says it itself, and a ``call`` is of the agent that the call names. Without a
description, so no schema has it.
"""
InputText = Annotated[str, Meta(max_length=INPUT_BYTES)]


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
    asked_by: AskedBy = "call"


class PickProcess(Struct, forbid_unknown_fields=True):
    """By script name (its current run) or by ``process_id`` (that very run); at least one is needed."""

    name: Annotated[str | None, Meta(description="script: its current run")] = None
    process_id: Annotated[str | None, Meta(description="that very run; name or process_id is needed")] = None


class StopProcess(PickProcess, forbid_unknown_fields=True):
    """As `PickProcess`."""

    asked_by: AskedBy = "call"


class RestartScript(PickProcess, forbid_unknown_fields=True):
    """As `PickProcess`, and waits as `RunScript`."""

    wait: Wait = "ready"
    timeout_s: Timeout = DEFAULT_WAIT_S
    environment: bytes | None = None
    """As in `RunScript`."""
    asked_by: AskedBy = "call"


class TypeIn(PickProcess, forbid_unknown_fields=True):
    """``text``, then Enter unless ``enter`` is false, then ``keys``. Without text and keys, Enter alone."""

    text: Annotated[InputText | None, Meta(description="what to type; without text and keys: Enter alone")] = None
    enter: Annotated[bool, Meta(description="Enter after the text (default true)")] = True
    keys: Annotated[
        InputText | None,
        Meta(description="keys to press after that, with spaces between, such as up down tab esc ctrl-c ctrl-d"),
    ] = None


class ScriptsStatus(Struct, forbid_unknown_fields=True):
    """Of one script, or of all."""

    name: Annotated[
        str | None,
        Meta(description="script, or process_id of one run: all its runs; left out: the latest run of each"),
    ] = None
    cursor: Cursor = None


class ReadLogs(Struct, forbid_unknown_fields=True, kw_only=True):
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
    before: Before = None
    wait_s: NewsWait = 0.0
    """Without a description, as ``asked_by``: to wait for a text agents have `wait_for`."""
    colours: bool = False
    """As above: for a terminal."""


class TailLogs(ReadLogs, forbid_unknown_fields=True, kw_only=True):
    """The last lines, or those after a cursor."""

    wait_s: Annotated[NewsWait, Meta(description="seconds to wait for a line if there is none (default 0)")] = 0.0


class SearchLogs(ReadLogs, forbid_unknown_fields=True):
    """Lines that contain ``query``, or match it as a regular expression. ``around``: so many lines before and after
    each, of the same process.
    """

    query: Annotated[PatternText, Meta(description="text, or the regular expression")]
    regex: Annotated[bool, Meta(description="query is a regular expression (default false)")] = False
    around: Annotated[int, Meta(ge=0, le=100, description="lines shown before and after each (default 0)")] = 0


class WaitFor(Struct, forbid_unknown_fields=True):
    """The first condition that comes true ends the wait. ``log`` is a regular expression; without ``cursor`` and
    ``since`` only lines from now on count, otherwise those after both. ``port`` 0 is none.
    """

    process: ProcessName = None
    log: Annotated[PatternText | None, Meta(description="a line matches this regular expression")] = None
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
    wait_s: Annotated[NewsWait, Meta(description="seconds to wait for a change if there is none (default 0)")] = 0.0


class ScriptsUsage(Struct, forbid_unknown_fields=True):
    """Of one script, or of all. ``since``: the time of the last sample that the caller has."""

    name: Annotated[str | None, Meta(description="script; left out: all")] = None
    since: Annotated[
        float, Meta(ge=0, le=10**11, description="only samples after this time, in seconds since 1970; 0: all")
    ] = 0.0


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
    """One tool. ``routed`` tools take ``instance`` at the hub. ``waits``: it may be silent for its ``timeout_s``.
    ``resource``: the URI of the page that a host of MCP Apps shows beside its answer.
    """

    name: str
    description: str
    arguments: type[Struct]
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = False
    routed: bool = True
    waits: bool = False
    resource: str | None = None

    def as_instance_tool(self) -> dict[str, Any]:
        return self._as_tool({})

    def as_hub_tool(self, *, with_resources: bool = True) -> dict[str, Any]:
        tool = self._as_tool({"instance": {"type": "string", "description": INSTANCE}} if self.routed else {})
        if self.resource is not None and with_resources:
            tool["_meta"] = {"ui": {"resourceUri": self.resource}}
        return tool

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
    ToolDefinition(
        "view_open",
        "Show the user a live view of all projects: what runs, what has failed, its output, and who did what. Returns"
        " the same as text, and an address that opens the view once, in a browser on this machine.",
        NoArguments,
        read_only=True,
        routed=False,
        resource=VIEW_URI,
    ),
)

INSTANCE_ONLY: tuple[ToolDefinition, ...] = (
    ToolDefinition(
        "scripts_usage",
        "Tell the CPU (1.0 is one core) and memory of each script's process tree, now and up to half an hour back."
        " Samples are taken only while somebody asks: a call buys ten seconds of them, one each two seconds.",
        ScriptsUsage,
        read_only=True,
    ),
    ToolDefinition(
        "scripts_input",
        "Type to a script that waits for input: text and Enter, or keys. Then wait_for or logs_tail with the cursor of"
        " the answer shows what it says.",
        TypeIn,
    ),
)
"""Tools that only an instance lists, and that a hub reaches by `instance_call`: an agent sees them when it asks, and
not at every start. The people's views and commands use them.
"""

BY_NAME: dict[str, ToolDefinition] = {tool.name: tool for tool in TOOLS}
"""The hub's."""
HUB_ONLY = frozenset({"instance_tools", "instance_call"}) | {tool.name for tool in TOOLS if not tool.routed}
READ_ONLY = frozenset(tool.name for tool in (*TOOLS, *INSTANCE_ONLY) if tool.read_only)
"""These change nothing, so an instance keeps no record of their calls."""
CHANGING = frozenset(tool.name for tool in (*TOOLS, *INSTANCE_ONLY) if tool.routed and not tool.read_only) - {
    "instance_call"
}
"""Whoever asks for these is named in `changes_since`."""
REPEATABLE = frozenset(tool.name for tool in (*TOOLS, *INSTANCE_ONLY) if tool.read_only or tool.idempotent)
"""Run twice, these do the same as run once. A call of another tool is sent again only if its key decides."""
WAITING = frozenset(tool.name for tool in (*TOOLS, *INSTANCE_ONLY) if tool.waits)
AWAIT_NEWS = frozenset(tool.name for tool in TOOLS if "wait_s" in tool.arguments.__struct_fields__)
"""These wait if they are given ``wait_s``."""
ROUTED_TOOLS: tuple[ToolDefinition, ...] = tuple(tool for tool in TOOLS if tool.name not in HUB_ONLY)
"""The hub passes calls of these on under their own names."""
INSTANCE_TOOLS: tuple[ToolDefinition, ...] = (*ROUTED_TOOLS, *INSTANCE_ONLY)
"""All tools of an instance, in the order of its list."""


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
