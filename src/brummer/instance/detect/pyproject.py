"""pyproject.toml: the project's own commands, the tasks of poe, pdm and hatch, and pytest."""

from collections.abc import Iterator

from brummer.instance.detect import Problem, Script
from brummer.instance.detect.decoding import Table, table_at, toml_table
from brummer.instance.detect.project import Project
from brummer.instance.detect.python_environment import command_in, runner_of

PREFIX = "pyproject"
_INSTALLED = (("project", "scripts"), ("tool", "poetry", "scripts"))
_POE = ("tool", "poe", "tasks")
_PDM = ("tool", "pdm", "scripts")
_HATCH = ("tool", "hatch", "envs")
_PYTEST = ("tool", "pytest")


def detect(text: str, source: str, project: Project) -> Iterator[Script | Problem]:
    """``[project.scripts]`` (and poetry's), ``[tool.poe.tasks]``, ``[tool.pdm.scripts]``,
    ``[tool.hatch.envs.ENV.scripts]``, and ``test`` where pytest is set up and nothing else is called so.

    They run in the project's environment: through the tool that wrote the lock file, or uv where there is
    ``[tool.uv]`` or in a workspace of uv, else from ``.venv``, else from PATH.
    """
    document = toml_table(text)
    for path in (*_INSTALLED, _POE, _PDM, _HATCH, _PYTEST):
        if table_at(document, path) is None:
            yield Problem(source, None, f"{'.'.join(path)} is not a table")
    runner = runner_of(project, document)
    names = set()
    for name, command in _commands(document, runner, project):
        names.add(name)
        yield Script(name, command, source, project.directory)
    if table_at(document, _PYTEST) and "test" not in names:
        yield Script("test", command_in(project, runner, "pytest"), source, project.directory)


def _commands(document: Table, runner: str | None, project: Project) -> Iterator[tuple[str, list[str]]]:
    for path in _INSTALLED:
        for name in table_at(document, path) or ():
            yield name, command_in(project, runner, name)
    for name in _public(table_at(document, _POE)):
        yield name, [*command_in(project, runner, "poe"), name]
    for name in _public(table_at(document, _PDM)):
        yield name, ["pdm", "run", name]
    for environment in table_at(document, _HATCH) or ():
        for name in table_at(document, (*_HATCH, environment, "scripts")) or ():
            called = name if environment == "default" else f"{environment}:{name}"
            yield called, ["hatch", "run", called]


def _public(table: Table | None) -> list[str]:
    """Poe's and pdm's convention: an underscore in front is for other tasks to use."""
    return [name for name in table or () if not name.startswith("_")]
