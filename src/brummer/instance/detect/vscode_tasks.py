""".vscode/tasks.json: its shell and process tasks that need no editor."""

import shlex
from collections.abc import Iterator

import msgspec

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.decoding import Table, jsonc_table, tables
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "vscode"
_FOLDERS = ("${workspaceFolder}", "${workspaceRoot}")


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per task with a label and a command.

    Left out are tasks of other kinds, and those that need a variable other than ``${workspaceFolder}``.
    What a task depends on is not started.
    """
    try:
        directory = msgspec.json.encode(project.directory).decode().strip('"')
    except UnicodeEncodeError:  # JSON can't hold a name that is not UTF-8
        directory = "."
    for folder in _FOLDERS:
        text = text.replace(folder, directory)
    for task in tables(jsonc_table(text).get("tasks")):
        script = _script(task, source, project)
        if script and "${" not in f"{script.command}{script.directory}{script.environment}":
            yield script


def _script(task: Table, source: str, project: ProjectDirectory) -> Script | None:
    name, command, kind = task.get("label"), task.get("command"), task.get("type")
    if not isinstance(name, str) or not isinstance(command, str) or kind not in ("shell", "process"):
        return None
    arguments = _arguments(task.get("args"))
    options = task.get("options")
    options = options if isinstance(options, dict) else {}
    environment = options.get("env")
    return Script(
        name,
        [command, *arguments] if kind == "process" else " ".join([command, *map(shlex.quote, arguments)]),
        source,
        project.path(str(options.get("cwd", "."))),
        hidden=bool(task.get("hide")),
        environment={key: str(value) for key, value in environment.items()} if isinstance(environment, dict) else {},
    )


def _arguments(value: object) -> list[str]:
    """Each is a string, or a table with how it is to be quoted beside its ``value``."""
    arguments = value if isinstance(value, list) else []
    return [str(item.get("value", "") if isinstance(item, dict) else item) for item in arguments]
