"""How a program of a Python project's environment is run: by the tool that wrote the lock file, else from ``.venv``."""

from pathlib import PurePath

from brummer.instance.detect import BrokenFile
from brummer.instance.detect.decoding import Table, strings, table_at, toml_table
from brummer.instance.detect.project import ProjectDirectory, is_named_by

SOURCE = "pyproject.toml"
LOCK_FILES = {"uv.lock": "uv", "poetry.lock": "poetry", "pdm.lock": "pdm"}
"""Each with the tool that wrote it."""
_ENVIRONMENTS = (".venv/bin", "venv/bin")


def command_in(project: ProjectDirectory, runner: str | None, program: str) -> list[str]:
    """The command of a program. ``runner``: see `runner_of`."""
    if runner:
        return [runner, "run", program]
    return next(([f"{folder}/{program}"] for folder in _ENVIRONMENTS if project.exists(folder)), [program])


def runner_of(project: ProjectDirectory, document: Table) -> str | None:
    """uv, poetry or pdm; None if the environment is ``.venv`` or ``venv``, or not known. ``document``: pyproject.toml,
    or empty.

    A member of a uv workspace, whose lock file is above it, is run by uv.
    """
    for lock_file, runner in LOCK_FILES.items():
        if project.exists(lock_file):
            return runner
    return "uv" if table_at(document, ("tool", "uv")) or _is_in_uv_workspace(project) else None


def runner_here(project: ProjectDirectory) -> str | None:
    """As `runner_of`, for who has not read pyproject.toml."""
    return runner_of(project, document_in(project, "."))


def document_in(project: ProjectDirectory, folder: str) -> Table:
    """pyproject.toml of this folder; empty if there is none, or it is broken, which its own detector says."""
    place = f"{folder}/{SOURCE}"
    try:
        return toml_table(project.text(place)) if project.exists(place) else {}
    except BrokenFile:
        return {}


def _is_in_uv_workspace(project: ProjectDirectory) -> bool:
    """Whether the closest uv workspace above has this directory as a member."""
    for folder in project.above():
        if workspace := table_at(document_in(project, folder), ("tool", "uv", "workspace")):
            member = PurePath(project.directory).relative_to(project.path(folder)).as_posix()
            return _is_among(member, workspace.get("members")) and not _is_among(member, workspace.get("exclude"))
    return False


def _is_among(folder: str, patterns: object) -> bool:
    return any(is_named_by(pattern, folder) for pattern in strings(patterns))
