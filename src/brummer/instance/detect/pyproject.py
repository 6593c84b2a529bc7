"""pyproject.toml: the project's own commands, the tasks of poe, pdm and hatch, and pytest."""

from collections.abc import Iterator

from brummer.instance.detect import Problem, Script
from brummer.instance.detect.decoding import Table, toml_table
from brummer.instance.detect.project import Project

PREFIX = "pyproject"
_RUNNER_BY_LOCK_FILE = {"uv.lock": "uv", "poetry.lock": "poetry", "pdm.lock": "pdm"}
_ENVIRONMENT = ".venv/bin"
_INSTALLED = (("project", "scripts"), ("tool", "poetry", "scripts"))
_POE = ("tool", "poe", "tasks")
_PDM = ("tool", "pdm", "scripts")
_HATCH = ("tool", "hatch", "envs")
_PYTEST = ("tool", "pytest")


def detect(text: str, source: str, project: Project) -> Iterator[Script | Problem]:
    """``[project.scripts]`` (and poetry's), ``[tool.poe.tasks]``, ``[tool.pdm.scripts]``,
    ``[tool.hatch.envs.ENV.scripts]``, and ``test`` where pytest is set up and nothing else is called so.

    They run in the project's environment: through the tool that wrote the lock file, or uv where there is
    ``[tool.uv]``, else from ``.venv``, else from PATH.
    """
    document = toml_table(text)
    for path in (*_INSTALLED, _POE, _PDM, _HATCH, _PYTEST):
        if _table(document, path) is None:
            yield Problem(source, None, f"{'.'.join(path)} is not a table")
    names = set()
    for name, command in _commands(document, project):
        names.add(name)
        yield Script(name, command, source, project.directory)
    if _table(document, _PYTEST) and "test" not in names:
        yield Script("test", _installed(document, project, "pytest"), source, project.directory)


def _commands(document: Table, project: Project) -> Iterator[tuple[str, list[str]]]:
    for path in _INSTALLED:
        for name in _table(document, path) or ():
            yield name, _installed(document, project, name)
    for name in _public(_table(document, _POE)):
        yield name, [*_installed(document, project, "poe"), name]
    for name in _public(_table(document, _PDM)):
        yield name, ["pdm", "run", name]
    for environment in _table(document, _HATCH) or ():
        for name in _table(document, (*_HATCH, environment, "scripts")) or ():
            called = name if environment == "default" else f"{environment}:{name}"
            yield called, ["hatch", "run", called]


def _public(table: Table | None) -> list[str]:
    """Poe's and pdm's convention: an underscore in front is for other tasks to use."""
    return [name for name in table or () if not name.startswith("_")]


def _installed(document: Table, project: Project, name: str) -> list[str]:
    for lock_file, runner in _RUNNER_BY_LOCK_FILE.items():
        if project.exists(lock_file):
            return [runner, "run", name]
    if _table(document, ("tool", "uv")):
        return ["uv", "run", name]
    return [f"{_ENVIRONMENT}/{name}" if project.exists(_ENVIRONMENT) else name]


def _table(document: Table, path: tuple[str, ...]) -> Table | None:
    """Empty when it is not there, None when something else stands in its place."""
    table = document
    for key in path:
        inner = table.get(key, {})
        if not isinstance(inner, dict):
            return None
        table = inner
    return table
