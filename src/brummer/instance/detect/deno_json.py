"""deno.json and deno.jsonc: their ``tasks``."""

from collections.abc import Iterator

from brummer.instance.detect import BrokenFile, Mistake, Script, line_with, operand
from brummer.instance.detect.decoding import as_table, jsonc_table
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "deno"


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per task."""
    for name, task in as_table(jsonc_table(text).get("tasks", {}), "tasks", text).items():
        if not isinstance(task, str | dict):  # deno refuses the whole file then
            raise BrokenFile(line_with(f'"{name}"', text), f"task {name!r} is neither a command nor a table")
        yield Script(name, ["deno", "task", *operand(name)], source, project.directory)
