"""A FastAPI app where the command `fastapi` looks for it: its development server, if that command is installed."""

import posixpath
import re
from collections.abc import Iterator

from brummer.instance.detect import BrokenFile, Mistake, Script
from brummer.instance.detect.project import ProjectDirectory
from brummer.instance.detect.python_environment import LOCK_FILES, command_in, runner_here

PREFIX = "fastapi"
TAKES_ANY_BYTES = True
PROGRAM = "fastapi"
_IMPORT = re.compile(r"^(?:from|import)[ \t]+fastapi\b", re.MULTILINE)
_APP = re.compile(
    r"\bFastAPI[ ]*\(|^(?:app|api)[ ]*(?::[^=\n]*)?=|^from[ ](?>[^\n]*?\bimport\b)[^\n#]*(?:\b(?:app|api)\b|[*(])",
    re.MULTILINE,
)
"""What the command can find: an app that is made here, or one of its usual names. Of a line only the first ``import``
is tried: each would search the rest of the line again.
"""
_LOCKED = re.compile(r"""^name = ["']fastapi-cli["']$""", re.MULTILINE)
"""The package that has the command, in a lock file of uv, poetry or pdm."""


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``fastapi``, the development server that starts anew when a file changes."""
    runner = runner_here(project)
    if not _IMPORT.search(text) or not _APP.search(text):
        return
    problems: list[Mistake] = []
    if _is_installed(project, runner, problems):
        command = [*command_in(project, runner, PROGRAM), "dev", source]
        yield Script(PROGRAM, command, source, project.directory)
    else:
        yield from problems


def _is_installed(project: ProjectDirectory, runner: str | None, problems: list[Mistake]) -> bool:
    """In the project's environment, or in what its tool makes of the lock file; without any, where the shell looks.

    ``problems`` gets the lock files that can't be read.
    """
    [program] = command_in(project, None, PROGRAM)
    if program != PROGRAM and project.exists(program):
        return True
    if runner is None:
        return program == PROGRAM and project.has_program(PROGRAM)
    folders = (".", *(project.above() if runner == "uv" else ()))
    lock_files = (posixpath.normpath(f"{folder}/{lock_file}") for folder in folders for lock_file in LOCK_FILES)
    return any(_names_it(lock_file, project, problems) for lock_file in lock_files)


def _names_it(lock_file: str, project: ProjectDirectory, problems: list[Mistake]) -> bool:
    try:
        return project.exists(lock_file) and bool(_LOCKED.search(project.text(lock_file)))
    except BrokenFile as error:
        message = f"{error.message}, so Brummer does not know whether it has fastapi-cli"
        problems.append(Mistake(lock_file, error.line, message))
        return False
