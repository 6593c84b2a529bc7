"""pyproject.toml: the project's own commands, and the tasks of poe and pdm."""

import re
from collections.abc import Iterator
from typing import Any

from brummer.instance.detect import BrokenFile, Problem, Project, Script

SOURCE = "pyproject.toml"
FILES = ("pyproject.toml",)
PREFIX = "pyproject"
_RUNNER_BY_LOCK_FILE = {"uv.lock": "uv", "poetry.lock": "poetry", "pdm.lock": "pdm"}
_ENVIRONMENT = ".venv/bin"
MARKERS = (*_RUNNER_BY_LOCK_FILE, _ENVIRONMENT)
_LINE = re.compile(r"at line (\d+)")


def detect(text: str, project: Project) -> Iterator[Script | Problem]:
    """``[project.scripts]`` (and poetry's), ``[tool.poe.tasks]``, ``[tool.pdm.scripts]``.

    They run in the project's environment: through the tool that wrote the lock file, else from ``.venv``,
    else from PATH.
    """
    document = _decoded(text)
    for path, command in _TABLES.items():
        table = _table(document, path)
        if table is None:
            yield Problem(SOURCE, None, f"{'.'.join(path)} is not a table")
            continue
        for name in table:
            if not name.startswith("_"):  # poe and pdm: for use by other tasks
                yield Script(name, command(name, project), SOURCE, project.directory)


def _installed(name: str, project: Project) -> list[str]:
    for lock_file, runner in _RUNNER_BY_LOCK_FILE.items():
        if lock_file in project.markers:
            return [runner, "run", name]
    return [f"{_ENVIRONMENT}/{name}" if _ENVIRONMENT in project.markers else name]


def _poe(name: str, project: Project) -> list[str]:
    return [*_installed("poe", project), name]


def _pdm(name: str, _project: Project) -> list[str]:
    return ["pdm", "run", name]


_TABLES = {
    ("project", "scripts"): _installed,
    ("tool", "poetry", "scripts"): _installed,
    ("tool", "poe", "tasks"): _poe,
    ("tool", "pdm", "scripts"): _pdm,
}


def _table(document: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
    """Empty when it is not there, None when something else stands in its place."""
    table = document
    for key in path:
        inner = table.get(key, {})
        if not isinstance(inner, dict):
            return None
        table = inner
    return table


def _decoded(text: str) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - 4 ms, only where there is such a file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _LINE.search(str(error))  # the line is a field only from Python 3.14 on
        raise BrokenFile(int(place[1]) if place else None, str(error)) from None
