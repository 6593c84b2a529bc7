"""go.mod: build, test, and the programs at the usual places, the top, ``cmd`` and ``cmd/*``."""

import re
from collections.abc import Iterator

from brummer.core.errors import shown
from brummer.instance.detect import BrokenFile, Mistake, Script
from brummer.instance.detect.decoding import conflict_in
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "go"
_CLAUSE = re.compile(r"^package[ \t]+(\w+)", re.MULTILINE)
_COMMENT = re.compile(r"(//[^\n]*)|/\*.*?(?:\*/|\Z)", re.DOTALL)
_DIRECTIVES = frozenset(
    {"module", "go", "toolchain", "godebug", "require", "replace", "exclude", "retract", "tool", "ignore"}
)
_IGNORED = re.compile(r"^//go:build[ \t]+ignore\b", re.MULTILINE)


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``run`` for the program at the top, one script for each under ``cmd``, ``build`` and ``test`` of everything."""
    yield from _mistakes(text, source)
    if _is_program("", project):
        yield Script("run", ["go", "run", "."], source, project.directory)
    for folder in ("cmd", *project.matching("cmd/*")):
        if _is_program(f"{folder}/", project):
            yield Script(folder.removeprefix("cmd/"), ["go", "run", f"./{folder}"], source, project.directory)
    yield Script("build", ["go", "build", "./..."], source, project.directory)
    yield Script("test", ["go", "test", "./..."], source, project.directory)


def _mistakes(text: str, source: str) -> Iterator[Mistake]:
    """What go refuses to read."""
    yield from conflict_in(text, source)
    block: int | None = None
    has_module = False
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("//")[0].split()
        if words and block is None and not line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
            if words[0].partition("(")[0] not in _DIRECTIVES:
                yield Mistake(source, number, f"{shown(words[0])!r} is no directive that Brummer knows of")
            has_module = has_module or words[0] == "module"
            block = number if words[-1].endswith("(") else None
        elif words == [")"]:
            block = None
    if block is not None:
        yield Mistake(source, block, "a block without an end")
    if not has_module:
        yield Mistake(source, 1, "it names no module")


def _is_program(folder: str, project: ProjectDirectory) -> bool:
    """Whether the package of this folder is ``main``; one file says so for all. With a go.mod it is another module."""
    if folder and project.exists(f"{folder}go.mod"):
        return False
    for file in project.matching(f"{folder}*.go"):
        try:
            text = "" if file.endswith("_test.go") else project.text(file)
        except BrokenFile:  # go says what is wrong with it
            continue
        text = _COMMENT.sub(r"\1", text)
        if (clause := _CLAUSE.search(text)) and not _IGNORED.search(text, 0, clause.start()):
            return clause[1] == "main"
    return False
