"""deno.json and deno.jsonc: their ``tasks``, and those of the members of a workspace."""

from collections.abc import Iterator

from brummer.instance.detect import BrokenFile, Mistake, Script, line_with, operand
from brummer.instance.detect.decoding import Table, as_table, jsonc_table, strings
from brummer.instance.detect.packages import folders_of, scripts_of_packages
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "deno"


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per task; those of a member are called ``member:task`` and run in its directory."""
    document = jsonc_table(text)
    yield from _scripts(document, project, source, project.directory)
    workspace = document.get("workspace")
    members = workspace.get("members") if isinstance(workspace, dict) else workspace
    yield from scripts_of_packages(
        folders_of(strings(members), (), source, project),
        "deno.json",
        project,
        _read,
        lambda member, *where: _scripts(member, project, *where),
    )


def _read(text: str) -> tuple[Table, object]:
    document = jsonc_table(text)
    return document, document.get("name")


def _scripts(document: Table, project: ProjectDirectory, source: str, directory: str) -> Iterator[Script]:
    for name, task in as_table(document.get("tasks", {}), "tasks", project.text(source)).items():
        if not isinstance(task, str | dict):  # deno refuses the whole file then
            line = line_with(f'"{name}"', project.text(source))
            raise BrokenFile(line, f"task {name!r} is neither a command nor a table")
        yield Script(name, ["deno", "task", *operand(name)], source, directory)
