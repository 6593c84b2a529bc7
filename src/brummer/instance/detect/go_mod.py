"""go.mod: build, test, and the programs at the usual places, the top, ``cmd`` and ``cmd/*``."""

import re
from collections.abc import Iterator

from brummer.instance.detect import BrokenFile, Mistake, Script
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "go"
_CLAUSE = re.compile(r"^package[ \t]+(\w+)", re.MULTILINE)
_IGNORED = re.compile(r"^//go:build[ \t]+ignore\b", re.MULTILINE)


def detect(_text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``run`` for the program at the top, one script for each under ``cmd``, ``build`` and ``test`` of everything."""
    if _is_program("", project):
        yield Script("run", ["go", "run", "."], source, project.directory)
    for folder in ("cmd", *project.matching("cmd/*")):
        if _is_program(f"{folder}/", project):
            yield Script(folder.removeprefix("cmd/"), ["go", "run", f"./{folder}"], source, project.directory)
    yield Script("build", ["go", "build", "./..."], source, project.directory)
    yield Script("test", ["go", "test", "./..."], source, project.directory)


def _is_program(folder: str, project: ProjectDirectory) -> bool:
    """Whether the package of this folder is ``main``; one file says so for all."""
    for file in project.matching(f"{folder}*.go"):
        try:
            text = "" if file.endswith("_test.go") else project.text(file)
        except BrokenFile:  # go says what is wrong with it
            continue
        if (clause := _CLAUSE.search(text)) and not _IGNORED.search(text, 0, clause.start()):
            return clause[1] == "main"
    return False
