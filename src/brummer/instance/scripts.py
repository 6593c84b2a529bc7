"""The scripts of a project directory, fresh when its files change.

Each read compares the stat of everything that mattered to the last one (some 40 names, 50 µs) and parses anew only on
a difference. A broken file is a `Problem` and hides nothing else. Where two sources have the same name, the first keeps
it and the later ones get a prefix, as in ``make:test``.
"""

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec

from brummer.core.errors import NotFound, shown
from brummer.instance.detect import PROBLEMS_LIMIT, SCRIPTS_LIMIT, BrokenFile, Problem, Script
from brummer.instance.detect.project import Project

if TYPE_CHECKING:
    from brummer.instance.detect.brum_toml import Declared

OWN_FILE = ".brum.toml"
DETECTORS: dict[str, tuple[str, ...]] = {
    "package_json": ("package.json",),
    "deno_json": ("deno.json", "deno.jsonc"),
    "makefile": ("GNUmakefile", "makefile", "Makefile"),
    "justfile": ("justfile", "Justfile", ".justfile"),
    "taskfile": (
        *("Taskfile.yml", "taskfile.yml", "Taskfile.yaml", "taskfile.yaml"),
        *("Taskfile.dist.yml", "taskfile.dist.yml", "Taskfile.dist.yaml", "taskfile.dist.yaml"),
    ),
    "procfile": ("Procfile",),
    "pyproject": ("pyproject.toml",),
    "cargo_toml": ("Cargo.toml",),
    "go_mod": ("go.mod",),
    "gradle": ("build.gradle.kts", "build.gradle", "settings.gradle.kts", "settings.gradle"),
    "maven": ("pom.xml",),
    "dotnet": ("*.sln", "*.slnx", "*.[cfv][sb]proj"),
    "composer_json": ("composer.json",),
    "rakefile": ("Rakefile", "rakefile", "Rakefile.rb", "rakefile.rb"),
    "gemfile": ("Gemfile",),
    "mix_exs": ("mix.exs",),
    "pubspec": ("pubspec.yaml",),
    "compose": ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"),
    "vscode_tasks": (".vscode/tasks.json",),
}
"""The modules under ``detect``, in order of precedence: what people type without a prefix comes first. Of a module's
files the first that exists is read; their order is that in which the tool itself looks.
"""
NAMES_SHOWN = 20


class Listing(msgspec.Struct, frozen=True):
    """What can be run now, by name in order of precedence, and what could not be understood.

    Every name in a script's ``depends_on`` is there, and none leads back to that script.
    """

    scripts: dict[str, Script]
    problems: tuple[Problem, ...]


class ScriptList:
    """Of an absolute directory. Reads files: call it in a thread (`asyncio.to_thread`), any number at a time."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self._last: tuple[Project, Listing] | None = None

    def read(self) -> Listing:
        last = self._last
        if last is None or not last[0].is_unchanged():
            project = Project(self.directory)
            self._last = last = project, _listing(project)
        return last[1]

    def find(self, name: str) -> Script:
        """Raises NotFound, which names what is there and what was perhaps meant."""
        listing = self.read()
        try:
            return listing.scripts[name]
        except KeyError:
            raise unknown("script", name, list(listing.scripts), listing.problems) from None


def _listing(project: Project) -> Listing:
    problems: list[Problem] = []
    own = _own(project, problems)
    scripts = dict(own.scripts) if own else {}
    for module, files in DETECTORS.items():
        if source := project.first(files):
            detector = import_module(f"brummer.instance.detect.{module}")
            for found in _detected(detector, source, project):
                if isinstance(found, Problem):
                    problems.append(found)
                else:
                    name = f"{detector.PREFIX}:{found.name}" if found.name in scripts else found.name
                    scripts.setdefault(name, msgspec.structs.replace(found, name=name))
    if own:
        own.settle(scripts)
        problems[:0] = own.problems
    return Listing(scripts, tuple(problems))


def _own(project: Project, problems: list[Problem]) -> "Declared | None":
    """What the user's own file says; it is imported, as every detector, only where there is one."""
    if not project.exists(OWN_FILE):
        return None
    from brummer.instance.detect.brum_toml import Declared  # noqa: PLC0415

    try:
        return Declared(project.text(OWN_FILE), project)
    except BrokenFile as error:
        problems.append(Problem(OWN_FILE, error.line, error.message))
        return None


def _detected(detector: ModuleType, source: str, project: Project) -> Iterator[Script | Problem]:
    try:
        yield from _bounded(detector.detect(project.text(source), source, project))
    except BrokenFile as error:
        yield Problem(source, error.line, error.message)


def _bounded(results: Iterator[Script | Problem]) -> Iterator[Script | Problem]:
    room: dict[type, int] = {Script: SCRIPTS_LIMIT, Problem: PROBLEMS_LIMIT}
    for result in results:
        if not room[type(result)]:
            raise BrokenFile(None, f"has more than is shown; put what you need under [scripts] in {OWN_FILE}")
        room[type(result)] -= 1
        yield result


def unknown(kind: str, name: str, known: list[str], problems: tuple[Problem, ...] = ()) -> NotFound:
    """The error for a name that is not there. Broken files are named too: they may be why."""
    from brummer.core.toml_file import nearest  # noqa: PLC0415 - only for this error

    name = shown(name)
    meant = nearest(name, known)
    there = (
        f"there is {', '.join(known[:NAMES_SHOWN])}{', …' if len(known) > NAMES_SHOWN else ''}"
        if known
        else "there is none"
    )
    hint = f" Did you mean {meant}?" if meant else ""
    broken = f" Not read: {', '.join(sorted({problem.source for problem in problems}))}." if problems else ""
    return NotFound(
        f"No {kind} is called {name!r}; {there}.{hint}{broken}",
        name=name,
        known=known,
        nearest=meant,
        problems=[msgspec.structs.asdict(problem) for problem in problems],
    )
