"""deno.json and deno.jsonc: their ``tasks``."""

from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script, operand
from brummer.instance.detect.decoding import as_table, jsonc_table
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "deno"


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per task."""
    for name in as_table(jsonc_table(text).get("tasks", {}), "tasks", text):
        yield Script(name, ["deno", "task", *operand(name)], source, project.directory)
