"""A FastAPI app where the command `fastapi` looks for it: its development server, if that command is installed."""

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
    r"\bFastAPI[ ]*\(|^(?:app|api)[ ]*(?::[^=\n]*)?=|^from[ ][^\n]*\bimport\b[^\n#]*(?:\b(?:app|api)\b|[*(])",
    re.MULTILINE,
)
"""What the command can find: an app that is made here, or one of its usual names."""
_LOCKED = re.compile(r"""^name = ["']fastapi-cli["']$""", re.MULTILINE)
"""The package that has the command, in a lock file of uv, poetry or pdm."""


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``fastapi``, the development server that starts anew when a file changes."""
    runner = runner_here(project)
    if _IMPORT.search(text) and _APP.search(text) and _is_installed(project, runner):
        command = [*command_in(project, runner, PROGRAM), "dev", source]
        yield Script(PROGRAM, command, source, project.directory)


def _is_installed(project: ProjectDirectory, runner: str | None) -> bool:
    """In the project's environment, or in what its tool makes of the lock file; without any, where the shell looks."""
    [program] = command_in(project, None, PROGRAM)
    if program != PROGRAM and project.exists(program):
        return True
    if runner is None:
        return program == PROGRAM and project.has_program(PROGRAM)
    folders = (".", *(project.above() if runner == "uv" else ()))
    return any(_names_it(f"{folder}/{lock_file}", project) for folder in folders for lock_file in LOCK_FILES)


def _names_it(lock_file: str, project: ProjectDirectory) -> bool:
    try:
        return project.exists(lock_file) and bool(_LOCKED.search(project.text(lock_file)))
    except BrokenFile:  # its own tool says what is wrong with it
        return False
