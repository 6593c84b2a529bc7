""".NET: build and test of a solution or a project, and running its programs."""

import re
from collections.abc import Iterator

from brummer.instance.detect import BrokenFile, Mistake, Script
from brummer.instance.detect.decoding import xml_root
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "dotnet"
_PROJECT = re.compile(r'^Project\("[^"\n]*"\)[ ]*=[ ]*"[^"\n]*",[ ]*"([^"\n]+\.(?:cs|fs|vb)proj)"', re.MULTILINE)
"""As a solution in the old form names it."""
_MARK = "Microsoft Visual Studio Solution File"
_PROGRAMS = frozenset({"exe", "winexe"})
_SDKS = re.compile(r"Microsoft\.NET\.Sdk\.(?:Web|Worker)\b", re.IGNORECASE)


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``run`` where there is one program, else one script for each by its project's name."""
    for verb in ("build", "test"):
        yield Script(verb, ["dotnet", verb, source], source, project.directory)
    programs = []
    for name in filter(project.exists, _projects(text, source)):
        try:
            if _runs(project.included(name)):
                programs.append(name)
        except BrokenFile as error:
            yield Mistake(name, error.line, error.message)
    for name in programs:
        called = "run" if len(programs) == 1 else name.rpartition("/")[2].rpartition(".")[0]
        yield Script(called, ["dotnet", "run", "--project", name], source, project.directory)


def _projects(text: str, source: str) -> list[str]:
    """Each once, however often it is named."""
    if source.endswith(".slnx"):
        names = [str(project.get("Path")) for project in xml_root(text, "Solution").iter("Project")]
    elif source.endswith(".sln"):
        if _MARK not in text:
            raise BrokenFile(1, f"this is no solution; one begins with {_MARK!r}")
        names = _PROJECT.findall(text)
    else:
        names = [source]
    return [*dict.fromkeys(name.replace("\\", "/") for name in names)]


def _runs(text: str) -> bool:
    root = xml_root(text, "Project")
    sdks = [root.get("Sdk", ""), *(sdk.get("Name", "") for sdk in root.iter("Sdk"))]
    kinds = {str(kind.text).strip().lower() for kind in root.iter("OutputType")}
    return bool(kinds & _PROGRAMS) or (not kinds and any(map(_SDKS.match, sdks)))
