"""Taskfile.yml: its tasks, and those of the files that it includes."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from brummer.instance.detect import BrokenFile, Mistake, Script
from brummer.instance.detect.decoding import Table, strings
from brummer.instance.detect.listing import DETECTORS
from brummer.instance.detect.project import ProjectDirectory
from brummer.instance.detect.yaml_file import YamlTable, yaml_table

PREFIX = "task"
TASKFILES_LIMIT = 100
"""Of one project. A file may be included under several names, and each include may double what follows it."""
EXCLUDES_LIMIT = 100
"""Patterns of one include, with each of which every task is compared; people write a few."""

_VERSION = re.compile(r"v?3\b")
_YES = frozenset({"true", "yes", "on", "y"})


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per task that is not ``internal`` and has no ``*`` in its name."""
    for found in _Taskfiles(project).tasks(text, (source,)):
        yield Script(found, ["task", found], source, project.directory) if isinstance(found, str) else found


@dataclass
class _Taskfiles:
    project: ProjectDirectory
    includes: int = 0

    def tasks(self, text: str, way: tuple[str, ...]) -> Iterator[str | Mistake]:
        """``way``: the file, after those that include it."""
        document = yaml_table(text)
        if document and not _VERSION.match(_text(document.get("version"))):
            raise BrokenFile(document.lines.get("version"), "its version is not 3, and Task reads no other")
        tasks = document.table("tasks")
        for name in tasks.lines:  # Task merges none
            task = tasks[name]
            if "*" not in name and not (isinstance(task, YamlTable) and _is_true(task, "internal")):
                yield name
        includes = document.table("includes")
        for namespace, include in includes.items():
            options = include if isinstance(include, YamlTable) else {"taskfile": include}
            if not _is_true(options, "internal"):
                yield from self._included(namespace, options, way, includes.lines.get(namespace))

    def _included(
        self, namespace: str, options: Table, way: tuple[str, ...], line: int | None
    ) -> Iterator[str | Mistake]:
        """The tasks of a file by their names in the one that includes it, which is the last of ``way``."""
        path = _text(options.get("taskfile"))
        excludes = strings(options.get("excludes"))
        self.includes += 1
        if len(excludes) > EXCLUDES_LIMIT:
            yield Mistake(way[-1], line, f"{path} is not read: more than {EXCLUDES_LIMIT} patterns exclude its tasks")
            return
        if not path or "{{" in path or ":" in path or self.includes > TASKFILES_LIMIT:
            yield Mistake(way[-1], line, f"{path or 'a file'}, which it includes, is not read")
            return
        path = posixpath.join(posixpath.dirname(way[-1]), path)
        path = posixpath.normpath(self.project.first(tuple(f"{path}/{name}" for name in DETECTORS["taskfile"])) or path)
        if path in way:
            yield Mistake(way[-1], line, f"{path} includes itself")
            return
        try:
            text = (
                "" if _is_true(options, "optional") and not self.project.exists(path) else self.project.included(path)
            )
            for found in self.tasks(text, (*way, path)):
                if isinstance(found, Mistake):
                    yield found
                elif not any(fnmatchcase(found, pattern) for pattern in excludes):
                    yield found if _is_true(options, "flatten") else f"{namespace}:{found}"
        except BrokenFile as error:
            yield Mistake(path, error.line, error.message)


def _is_true(options: Table, key: str) -> bool:
    return _text(options.get(key)).lower() in _YES


def _text(value: object) -> str:
    """Empty for a list or a table: the text of one that has its parts by alias may be larger than the memory."""
    return str(value) if isinstance(value, str | bool | int | float) else ""
