""".NET: build and test of a solution or a project, and running its programs."""

import re
from collections.abc import Iterator

from brummer.instance.detect import BrokenFile, Mistake, Script
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "dotnet"
_PROJECT = re.compile(r'"([^"\n]+\.(?:cs|fs|vb)proj)"')
"""As a solution names it, in the old form and the new one."""
_RUNS = re.compile(r"<OutputType>\s*(?:Win)?Exe\b|Microsoft\.NET\.Sdk\.(?:Web|Worker)\b", re.IGNORECASE)


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``run`` where there is one program, else one script for each by its project's name."""
    for verb in ("build", "test"):
        yield Script(verb, ["dotnet", verb, source], source, project.directory)
    is_solution = source.endswith((".sln", ".slnx"))
    names = [name.replace("\\", "/") for name in _PROJECT.findall(text)] if is_solution else [source]
    programs = []
    for name in filter(project.exists, names):
        try:
            if _RUNS.search(project.text(name)):
                programs.append(name)
        except BrokenFile as error:
            yield Mistake(name, error.line, error.message)
    for name in programs:
        called = "run" if len(programs) == 1 else name.rpartition("/")[2].rpartition(".")[0]
        yield Script(called, ["dotnet", "run", "--project", name], source, project.directory)
