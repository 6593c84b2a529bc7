"""Taskfile.yml: its tasks, as far as `yaml_outline` sees. Included files are left out."""

from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script, yaml_outline
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "task"


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per task that is not ``internal`` and has no ``*`` in its name."""
    tasks = yaml_outline.entry(yaml_outline.numbered(text), "tasks")
    for task in yaml_outline.entries(tasks.block) if tasks else ():
        internal = yaml_outline.entry(task.block, "internal")
        if "*" not in task.key and not (internal and internal.value == "true"):
            yield Script(task.key, ["task", task.key], source, project.directory)
