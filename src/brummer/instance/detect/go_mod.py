"""go.mod: build, test, and the programs at the usual places, ``main.go`` and ``cmd/*``."""

from collections.abc import Iterator

from brummer.instance.detect import Problem, Script
from brummer.instance.detect.project import Project

PREFIX = "go"


def detect(_text: str, source: str, project: Project) -> Iterator[Script | Problem]:
    """``run`` for the program at the top, one script for each under ``cmd``, ``build`` and ``test`` of everything."""
    if project.exists("main.go"):
        yield Script("run", ["go", "run", "."], source, project.directory)
    for folder in project.matching("cmd/*"):
        if any(project.matching(f"{folder}/*.go")):
            yield Script(folder.removeprefix("cmd/"), ["go", "run", f"./{folder}"], source, project.directory)
    yield Script("build", ["go", "build", "./..."], source, project.directory)
    yield Script("test", ["go", "test", "./..."], source, project.directory)
