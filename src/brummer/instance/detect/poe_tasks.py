"""Tasks of poe: those of a table in pyproject.toml or in a file of its own, in groups or not, and of included files."""

import posixpath
from collections.abc import Iterator

from brummer.instance.detect import BrokenFile, Mistake, Script, line_with
from brummer.instance.detect.decoding import Table, as_table, json_table, table_at, toml_table
from brummer.instance.detect.project import ProjectDirectory
from brummer.instance.detect.python_environment import SOURCE, command_in, document_in, runner_of

PREFIX = "poe"
TABLE = ("tool", "poe")


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per task, if no `[tool.poe]` of pyproject.toml is in its place."""
    document = document_in(project, ".")
    if table_at(document, TABLE):
        return
    poe = command_in(project, runner_of(project, document), "poe")
    for found in tasks_of(_table(text, source), source, project):
        yield found if isinstance(found, Mistake) else Script(found, [*poe, found], source, project.directory)


def tasks_of(table: Table, place: str, project: ProjectDirectory) -> Iterator[str | Mistake]:
    """The names of the tasks that `poe` lists, for its table in this file."""
    if "include_script" in table:
        line = line_with("include_script", project.text(place))
        yield Mistake(place, line, "the tasks that include_script makes are not listed")
    names: set[str] = set()
    try:
        for found in _tasks(table, place, project, {place}):
            if isinstance(found, Mistake):
                yield found
            elif not found.startswith("_") and found not in names:  # the former are for other tasks to use
                names.add(found)
                yield found
    except BrokenFile as error:
        yield Mistake(place, line_with("poe", project.text(place)), f"poe: {error.message}")


def _tasks(table: Table, place: str, project: ProjectDirectory, seen: set[str]) -> Iterator[str | Mistake]:
    groups = as_table(table.get("groups", {}), "groups")
    for name, holder in {"": table, **groups}.items():
        yield from as_table(as_table(holder, f"the group {name}").get("tasks", {}), "tasks")
    includes = table.get("include", [])
    for include in includes if isinstance(includes, list) else [includes]:
        options = include if isinstance(include, dict) else {"path": include}
        written = path if isinstance(path := options.get("path"), str) else ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(place), written))
        if not written or "$" in written or not project.exists(path):
            line = project.line_with(written or "include", place)
            yield Mistake(
                place, line, f"{written or 'a file'}, which it includes, is not there or has a variable in its path"
            )
        elif path not in seen:
            seen.add(path)
            try:
                included = _table(project.included(path), path)
                if options.get("recursive") in (False, "false"):
                    included = {**included, "include": []}
                yield from _tasks(included, path, project, seen)
            except BrokenFile as error:
                yield Mistake(path, error.line, error.message)


def _table(text: str, path: str) -> Table:
    """That of poe in a file, which is the whole file unless it has a `[tool.poe]`."""
    if path.endswith((".yaml", ".yml")):
        from brummer.instance.detect.yaml_file import yaml_table  # noqa: PLC0415 - few have such a file

        document: Table = yaml_table(text)
    else:
        document = json_table(text) if path.endswith(".json") else toml_table(text)
    table = table_at(document, TABLE) or document.get("tool.poe")
    return table or ({} if posixpath.basename(path) == SOURCE else document)
