"""pyproject.toml: the project's own commands, the tasks of poe, pdm and hatch, and pytest."""

from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script, poe_tasks
from brummer.instance.detect.decoding import Table, strings, table_at, toml_line, toml_table
from brummer.instance.detect.packages import folders_of, scripts_of_packages
from brummer.instance.detect.project import ProjectDirectory
from brummer.instance.detect.python_environment import SOURCE, command_in, runner_of

PREFIX = "pyproject"
_INSTALLED = (("project", "scripts"), ("tool", "poetry", "scripts"))
_PDM = ("tool", "pdm", "scripts")
_HATCH = ("tool", "hatch", "envs")
_PYTEST = ("tool", "pytest")


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``[project.scripts]`` (and poetry's), ``[tool.poe]``, ``[tool.pdm.scripts]``,
    ``[tool.hatch.envs.ENV.scripts]``, and ``test`` where pytest is set up and nothing else is called so.

    They run in the project's environment: through the tool that wrote the lock file, or uv where there is
    ``[tool.uv]`` or in a workspace of uv, else from ``.venv``, else from PATH. Those of the members of a uv workspace
    are called ``package:script``.
    """
    document = toml_table(text)
    runner = runner_of(project, document)
    yield from _scripts(document, runner, project, source, project.directory)
    workspace = table_at(document, ("tool", "uv", "workspace")) or {}
    folders = folders_of(strings(workspace.get("members")), strings(workspace.get("exclude")), source, project)
    yield from scripts_of_packages(
        folders, SOURCE, project, _read, lambda member, *where: _scripts(member, runner, project, *where)
    )


def _read(text: str) -> tuple[Table, object]:
    document = toml_table(text)
    return document, (table_at(document, ("project",)) or {}).get("name")


def _scripts(
    document: Table, runner: str | None, project: ProjectDirectory, source: str, directory: str
) -> Iterator[Script | Mistake]:
    for path in (*_INSTALLED, poe_tasks.TABLE, _PDM, _HATCH, _PYTEST):
        if table_at(document, path) is None:
            line = toml_line(project.text(source), *path)
            yield Mistake(source, line, f"{'.'.join(path)} is not a table")
    names = set()
    for found in _commands(document, runner, source, project):
        if isinstance(found, Mistake):
            yield found
        else:
            name, command = found
            names.add(name)
            yield Script(name, command, source, directory)
    if table_at(document, _PYTEST) and "test" not in names:
        yield Script("test", command_in(project, runner, "pytest"), source, directory)


def _commands(
    document: Table, runner: str | None, source: str, project: ProjectDirectory
) -> Iterator[tuple[str, list[str]] | Mistake]:
    for path in _INSTALLED:
        for name in table_at(document, path) or ():
            yield name, command_in(project, runner, name)
    for found in poe_tasks.tasks_of(table_at(document, poe_tasks.TABLE) or {}, source, project):
        yield found if isinstance(found, Mistake) else (found, [*command_in(project, runner, "poe"), found])
    for name in table_at(document, _PDM) or ():
        if not name.startswith("_"):  # such a script is for others to use
            yield name, ["pdm", "run", name]
    for environment in table_at(document, _HATCH) or ():
        for name in table_at(document, (*_HATCH, environment, "scripts")) or ():
            called = name if environment == "default" else f"{environment}:{name}"
            yield called, ["hatch", "run", called]
