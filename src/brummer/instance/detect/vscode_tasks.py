""".vscode/tasks.json: its shell and process tasks that need no editor."""

import shlex
import sys
from collections.abc import Iterator

import msgspec

from brummer.instance.detect import BrokenFile, Mistake, Script, line_with
from brummer.instance.detect.decoding import Table, as_table, jsonc_table, tables
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "vscode"
_SYSTEM = "osx" if sys.platform == "darwin" else "linux"
"""What VS Code calls it: values for it go before those for all."""
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
    tasks = jsonc_table(text).get("tasks", [])
    if not isinstance(tasks, list):
        raise BrokenFile(line_with('"tasks"', text), "tasks is not a list")
    for task in tables(tasks):
        script = _script({**task, **as_table(task.get(_SYSTEM, {}), _SYSTEM, text)}, source, project)
        if script and "${" not in f"{script.command}{script.directory}{script.environment}":
            yield script


def _script(task: Table, source: str, project: ProjectDirectory) -> Script | None:
    name, command, kind = task.get("label"), task.get("command"), task.get("type", "process")
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
