"""How a program of a Python project's environment is run: by the tool that wrote its lock file, else from ``.venv``."""

from fnmatch import fnmatchcase
from pathlib import PurePath

from brummer.instance.detect import BrokenFile
from brummer.instance.detect.decoding import Table, strings, table_at, toml_table
from brummer.instance.detect.project import Project

SOURCE = "pyproject.toml"
_RUNNER_BY_LOCK_FILE = {"uv.lock": "uv", "poetry.lock": "poetry", "pdm.lock": "pdm"}
_ENVIRONMENT = ".venv/bin"


def command_in(project: Project, runner: str | None, program: str) -> list[str]:
    """The command of a program. ``runner``: see `runner_of`."""
    if runner:
        return [runner, "run", program]
    return [f"{_ENVIRONMENT}/{program}" if project.exists(_ENVIRONMENT) else program]


def runner_of(project: Project, document: Table) -> str | None:
    """uv, poetry or pdm; None if the environment is ``.venv``, or not known. ``document``: pyproject.toml, or empty.

    A member of a uv workspace, whose lock file is above it, is run by uv.
    """
    for lock_file, runner in _RUNNER_BY_LOCK_FILE.items():
        if project.exists(lock_file):
            return runner
    return "uv" if table_at(document, ("tool", "uv")) or _is_in_uv_workspace(project) else None


def _is_in_uv_workspace(project: Project) -> bool:
    """Whether the closest uv workspace above has this directory as a member."""
    for folder in project.above():
        place = f"{folder}/{SOURCE}"
        try:
            document = toml_table(project.text(place)) if project.exists(place) else {}
        except BrokenFile:  # of a file that is not ours
            continue
        if workspace := table_at(document, ("tool", "uv", "workspace")):
            member = PurePath(project.directory).relative_to(project.path(folder)).as_posix()
            return _is_among(member, workspace.get("members")) and not _is_among(member, workspace.get("exclude"))
    return False


def _is_among(folder: str, patterns: object) -> bool:
    """A star stands for one part of a path; ``**`` is taken for one that stands for any number of them."""
    parts = folder.split("/")
    return any(
        fnmatchcase(folder, pattern) and ("**" in pattern or len(pattern.rstrip("/").split("/")) == len(parts))
        for pattern in strings(patterns)
    )
