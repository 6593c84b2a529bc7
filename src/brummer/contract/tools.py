"""The tools' definitions as literals: one table, from which the hub's frozen list and an instance's list are made.

Descriptions are read by agents on every turn, so each is two sentences and the hub's whole list stays under 12 KiB.
Output schemas name no required field, because a failed call answers ``{"error": …}`` through the same schema and some
clients validate that too.
"""

from typing import Any

import msgspec

Schema = dict[str, Any]


class ToolDefinition(msgspec.Struct, frozen=True):
    """One tool as agents see it. ``routed`` tools run in an instance and take ``instance`` at the hub."""

    name: str
    description: str
    properties: dict[str, Schema]
    output: dict[str, Schema]
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
            "outputSchema": {"type": "object", "properties": self.output},
            "annotations": {
                "readOnlyHint": self.read_only,
                "destructiveHint": self.destructive,
                "idempotentHint": self.idempotent or self.read_only,
                "openWorldHint": False,
            },
        }


STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
STRINGS: Schema = {"type": "array", "items": STRING}
OBJECTS: Schema = {"type": "array", "items": OBJECT}
NULLABLE_STRING: Schema = {"type": ["string", "null"]}
NULLABLE_INTEGER: Schema = {"type": ["integer", "null"]}
INSTANCE: Schema = {
    "type": "string",
    "description": "id, name or directory; may be left out when only one fits",
}
CURSOR: Schema = {"type": "string", "description": "next_cursor of an earlier answer"}
WAIT: Schema = {"type": "string", "enum": ["none", "ready", "exit"], "default": "ready"}
TIMEOUT: Schema = {"type": "number", "default": 30}
LIMIT: Schema = {"type": "integer", "default": 100}
SINCE: Schema = {"type": ["string", "number"], "description": "time or seconds ago"}
FILTERS: dict[str, Schema] = {
    "process": STRING,
    "level": {"type": "string", "enum": ["error", "warning", "info", "debug"]},
    "since": SINCE,
    "limit": LIMIT,
    "limit_bytes": {"type": "integer", "default": 32768},
    "cursor": CURSOR,
}
PICK: dict[str, Schema] = {"name": STRING, "process_id": STRING}

PROCESS: dict[str, Schema] = {
    "process_id": STRING,
    "name": STRING,
    "status": {
        "type": "string",
        "enum": [
            "pending",
            "starting",
            "running",
            "ready",
            "stopping",
            "stopped",
            "exited",
            "failed",
            "crash-looping",
        ],
    },
    "pid": NULLABLE_INTEGER,
    "urls": STRINGS,
    "exit_code": NULLABLE_INTEGER,
    "signal": NULLABLE_STRING,
}
LINES: dict[str, Schema] = {
    "lines": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"n": INTEGER, "process": STRING, "stream": STRING, "at": STRING, "text": STRING},
        },
    },
    "next_cursor": STRING,
    "dropped": INTEGER,
}

TOOLS: tuple[ToolDefinition, ...] = (
    ToolDefinition(
        "instances_list",
        "List every project that has a Brummer instance, with its state and why it is in it. Start here when you do not"
        " know what is running.",
        {},
        {"instances": OBJECTS},
        read_only=True,
        routed=False,
    ),
    ToolDefinition(
        "instances_connect",
        "Choose the instance that later calls go to when they name none. Takes an id, a name or a directory.",
        {"instance": STRING},
        {"instance": OBJECT, "remembered": BOOLEAN},
        required=("instance",),
        idempotent=True,
        routed=False,
    ),
    ToolDefinition(
        "instances_disconnect",
        "Forget the instance chosen by instances_connect. Nothing is stopped.",
        {},
        {"disconnected": NULLABLE_STRING},
        idempotent=True,
        routed=False,
    ),
    ToolDefinition(
        "scripts_list",
        "List what can be run in a project, and where each script comes from. The list is fresh when files change.",
        {},
        {"scripts": OBJECTS, "problems": OBJECTS},
        read_only=True,
    ),
    ToolDefinition(
        "scripts_run",
        "Make sure that a script runs, and return its process with URLs and readiness; one that runs already is"
        " returned, not started twice. Use wait=exit for scripts that end, such as builds and tests.",
        {"name": STRING, "wait": WAIT, "timeout_s": TIMEOUT},
        {**PROCESS, "already_running": BOOLEAN, "last_lines": STRINGS},
        required=("name",),
    ),
    ToolDefinition(
        "scripts_stop",
        "Stop a script's whole process tree, gently and then firmly, and return when it is gone. Only what the instance"
        " started can be stopped.",
        PICK,
        {**PROCESS, "already_stopped": BOOLEAN},
        idempotent=True,
        destructive=True,
    ),
    ToolDefinition(
        "scripts_restart",
        "Stop a script if it runs and start it anew. Waits as scripts_run does.",
        {**PICK, "wait": WAIT, "timeout_s": TIMEOUT},
        {**PROCESS, "last_lines": STRINGS},
        destructive=True,
    ),
    ToolDefinition(
        "scripts_status",
        "Tell the state of the processes: status, pid, URLs, exit code or signal. Without a name, of all of them.",
        {"name": STRING},
        {"processes": OBJECTS},
        read_only=True,
    ),
    ToolDefinition(
        "logs_tail",
        "Read the last lines of output, or with a cursor the lines after it. dropped counts lines that are gone.",
        FILTERS,
        LINES,
        read_only=True,
    ),
    ToolDefinition(
        "logs_search",
        "Find lines of output that contain a text or match a regular expression, newest last. A cursor continues"
        " after an earlier answer.",
        {"query": STRING, "regex": BOOLEAN, "around": INTEGER, **FILTERS},
        LINES,
        required=("query",),
        read_only=True,
    ),
    ToolDefinition(
        "wait_for",
        "Block until a process logs a matching line, is ready, exits, or a port opens, instead of polling. instance=*"
        " waits on all instances and returns the first match.",
        {
            "process": STRING,
            "log": {"type": "string", "description": "regular expression"},
            "since": SINCE,
            "ready": BOOLEAN,
            "exit": BOOLEAN,
            "port": INTEGER,
            "timeout_s": TIMEOUT,
        },
        {
            "matched": BOOLEAN,
            "what": NULLABLE_STRING,
            "line": {"type": ["object", "null"]},
            "process": {"type": ["object", "null"]},
            "waited_s": NUMBER,
        },
        read_only=True,
    ),
    ToolDefinition(
        "changes_since",
        "Tell what happened since a cursor: starts, exits, readiness, URLs, errors and their place. Without a cursor,"
        " the latest changes.",
        {"cursor": CURSOR, "limit": {"type": "integer", "default": 200}},
        {"changes": OBJECTS, "next_cursor": STRING, "dropped": INTEGER},
        read_only=True,
    ),
    ToolDefinition(
        "hub_status",
        "Tell how the hub and its links are: problems first, then each link with state, last error and next retry."
        " Use it when calls fail.",
        {},
        {"hub": OBJECT, "links": OBJECTS, "problems": OBJECTS, "timeline": OBJECTS, "limits": OBJECT},
        read_only=True,
        routed=False,
    ),
    ToolDefinition(
        "instance_tools",
        "List the tools that an instance itself offers, with their schemas. Call one with instance_call.",
        {},
        {"tools": OBJECTS},
        read_only=True,
    ),
    ToolDefinition(
        "instance_call",
        "Call any tool that an instance offers, by name. The result is passed on unchanged.",
        {"tool": STRING, "arguments": OBJECT},
        {},
        required=("tool",),
        destructive=True,
    ),
)

BY_NAME: dict[str, ToolDefinition] = {tool.name: tool for tool in TOOLS}
HUB_ONLY = frozenset({"instance_tools", "instance_call"}) | {tool.name for tool in TOOLS if not tool.routed}
REPEATABLE = frozenset(tool.name for tool in TOOLS if tool.read_only or tool.idempotent)
"""Run twice, these do what they do once; a call of another is never sent a second time unless its key decides."""
WAITING = frozenset({"scripts_run", "scripts_restart", "scripts_stop", "wait_for"})
"""These may rightly be silent for as long as they were told to wait."""
INSTANCE_TOOLS: tuple[ToolDefinition, ...] = tuple(tool for tool in TOOLS if tool.name not in HUB_ONLY)
