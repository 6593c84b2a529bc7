"""The tools' definitions as literals: one table, from which the hub's frozen list and an instance's list are made.

Descriptions are read by agents on every turn, so each is two sentences and the hub's whole list stays under 12 KiB.
Schemas use only what every provider's converter accepts: one type for each property, no ``default``, no combinations.
The bounds are those of `brummer.contract.arguments`. There are no output schemas: they would be a third of the list,
and clients that validate them fail on the results of foreign servers.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

Schema = dict[str, Any]

PATTERN_LENGTH = 1_000
"""Characters of a query or an expression: longer ones are text pasted by mistake."""


DEFAULT_WAIT_S = 30.0
"""``timeout_s`` of the tools that wait, when none is given."""

LONGEST_WAIT_S = 86_400
"""A day: longer than any dev server needs, short enough for every timer."""


class ToolDefinition(msgspec.Struct, frozen=True):
    """One tool as agents see it. ``routed`` tools run in an instance and take ``instance`` at the hub."""

    name: str
    description: str
    properties: dict[str, Schema]
    required: tuple[str, ...] = ()
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = False
    routed: bool = True

    def as_instance_tool(self) -> dict[str, Any]:
        return self._as_tool(self.properties)

    def as_hub_tool(self) -> dict[str, Any]:
        return self._as_tool({"instance": INSTANCE, **self.properties} if self.routed else self.properties)

    def _as_tool(self, properties: dict[str, Schema]) -> dict[str, Any]:
        schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        if self.required:
            schema["required"] = list(self.required)
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": schema,
            "annotations": {
                "readOnlyHint": self.read_only,
                "destructiveHint": self.destructive,
                "idempotentHint": self.idempotent or self.read_only,
                "openWorldHint": False,
            },
        }


def _string(description: str, *, most: int | None = None) -> Schema:
    return {"type": "string", "description": description} | ({} if most is None else {"maxLength": most})


def _choice(description: str, *names: str) -> Schema:
    return {"type": "string", "enum": list(names), "description": description}


def _integer(description: str, least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most, "description": description}


def _boolean(description: str) -> Schema:
    return {"type": "boolean", "description": description}


INSTANCE: Schema = _string("id, name or directory; may be left out when only one fits")
NAME: Schema = _string("script, as scripts_list names it")
CURSOR: Schema = _string("next_cursor of an earlier answer; left out: from the start")
LATEST_CURSOR: Schema = _string("next_cursor of an earlier answer: what came after it; left out: the latest")
WAIT: Schema = _choice("what to wait for (default ready)", "none", "ready", "exit")
TIMEOUT: Schema = {
    "type": "number",
    "minimum": 0,
    "maximum": LONGEST_WAIT_S,
    "description": f"seconds to wait at most (default {DEFAULT_WAIT_S:g})",
}
SINCE: Schema = _string('only from then on: a time (RFC 3339, or 12:03:11 UTC), or how long ago ("5m", or seconds)')
PROCESS: Schema = _string("script, or process_id of one run; left out: all")
FILTERS: dict[str, Schema] = {
    "process": PROCESS,
    "level": _choice("lines at least so serious", "error", "warning", "info", "debug"),
    "since": SINCE,
    "limit": _integer("lines at most (default 100)", 1, 5_000),
    "limit_bytes": _integer("size of the answer (default 32768)", 1, 262_144),
    "cursor": LATEST_CURSOR,
}
PICK: dict[str, Schema] = {
    "name": _string("script: its current run"),
    "process_id": _string("that very run; name or process_id is needed"),
}

TOOLS: tuple[ToolDefinition, ...] = (
    ToolDefinition(
        "instances_list",
        "List every project that has a Brummer instance, with its state and why it is in it. Start here when you do not"
        " know what is running.",
        {"cursor": CURSOR},
        read_only=True,
        routed=False,
    ),
    ToolDefinition(
        "instances_connect",
        "Choose the instance that later calls go to when they name none. Takes an id, a name or a directory.",
        {"instance": _string("id, name or directory")},
        required=("instance",),
        idempotent=True,
        routed=False,
    ),
    ToolDefinition(
        "instances_disconnect",
        "Forget the instance chosen by instances_connect. Nothing is stopped.",
        {},
        idempotent=True,
        routed=False,
    ),
    ToolDefinition(
        "scripts_list",
        "List what can be run in a project, and where each script comes from. The list is fresh when files change.",
        {"cursor": CURSOR},
        read_only=True,
    ),
    ToolDefinition(
        "scripts_run",
        "Make sure that a script runs, and return its process with URLs and readiness; one that runs already is"
        " returned, not started twice. Use wait=exit for scripts that end, such as builds and tests.",
        {"name": NAME, "wait": WAIT, "timeout_s": TIMEOUT},
        required=("name",),
    ),
    ToolDefinition(
        "scripts_stop",
        "Stop a script's whole process tree, gently and then firmly, and return when it is gone. Only what the instance"
        " started can be stopped.",
        PICK,
        idempotent=True,
        destructive=True,
    ),
    ToolDefinition(
        "scripts_restart",
        "Stop a script if it runs and start it anew. Waits as scripts_run does.",
        {**PICK, "wait": WAIT, "timeout_s": TIMEOUT},
        destructive=True,
    ),
    ToolDefinition(
        "scripts_status",
        "Tell the state of the processes: status, pid, URLs, exit code or signal. Without a name, of all of them.",
        {
            "name": _string("script, or process_id of one run: all its runs; left out: the latest run of each"),
            "cursor": CURSOR,
        },
        read_only=True,
    ),
    ToolDefinition(
        "logs_tail",
        "Read the last lines of output, or with a cursor the lines after it. dropped counts lines that are gone.",
        FILTERS,
        read_only=True,
    ),
    ToolDefinition(
        "logs_search",
        "Find lines of output that contain a text or match a regular expression, newest last. A cursor continues"
        " after an earlier answer.",
        {
            "query": _string("text, or the regular expression", most=PATTERN_LENGTH),
            "regex": _boolean("query is a regular expression (default false)"),
            "around": _integer("lines shown before and after each (default 0)", 0, 100),
            **FILTERS,
        },
        required=("query",),
        read_only=True,
    ),
    ToolDefinition(
        "wait_for",
        "Block until a process logs a matching line, is ready, exits, or a port opens, instead of polling. instance=*"
        " waits on all instances and returns the first match.",
        {
            "process": PROCESS,
            "log": _string("a line matches this regular expression", most=PATTERN_LENGTH),
            "since": SINCE,
            "ready": _boolean("it is ready"),
            "exit": _boolean("it has ended"),
            "port": _integer(
                "TCP port of this machine takes connections; 0: none. One of log, ready, exit, port is needed",
                0,
                65_535,
            ),
            "timeout_s": TIMEOUT,
        },
        read_only=True,
    ),
    ToolDefinition(
        "changes_since",
        "Tell what happened since a cursor: starts, exits, readiness, URLs, errors and their place. Without a cursor,"
        " the latest changes.",
        {"cursor": LATEST_CURSOR, "limit": _integer("changes at most (default 200)", 1, 5_000)},
        read_only=True,
    ),
    ToolDefinition(
        "hub_status",
        "Tell how the hub and its links are: problems first, then each link with state, last error and next retry."
        " Use it when calls fail.",
        {"cursor": CURSOR},
        read_only=True,
        routed=False,
    ),
    ToolDefinition(
        "instance_tools",
        "List the tools that an instance itself offers, with their schemas. Call one with instance_call.",
        {},
        read_only=True,
    ),
    ToolDefinition(
        "instance_call",
        "Call any tool that an instance offers, by name. The result is passed on unchanged.",
        {
            "tool": _string("name, as instance_tools lists it"),
            "arguments": {"type": "object", "description": "the tool's own arguments (default none)"},
        },
        required=("tool",),
        destructive=True,
    ),
)

BY_NAME: dict[str, ToolDefinition] = {tool.name: tool for tool in TOOLS}
HUB_ONLY = frozenset({"instance_tools", "instance_call"}) | {tool.name for tool in TOOLS if not tool.routed}
READ_ONLY = frozenset(tool.name for tool in TOOLS if tool.read_only)
"""These change nothing, so an instance keeps no record of their calls."""
REPEATABLE = frozenset(tool.name for tool in TOOLS if tool.read_only or tool.idempotent)
"""Run twice, these do what they do once; a call of another is never sent a second time unless its key decides."""
WAITING = frozenset({"scripts_run", "scripts_restart", "scripts_stop", "wait_for"})
"""These may rightly be silent for as long as they were told to wait."""
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
