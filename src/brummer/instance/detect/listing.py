"""One reading of a project: every detector that has a file here, names without clashes, the user's own file over all.

A broken file is a `Mistake` and hides nothing else. Where two sources have the same name, the first keeps it and the
later ones get a prefix, as in ``make:test``.
"""

import logging
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec

from brummer.instance.detect import PROBLEMS_LIMIT, SCRIPTS_LIMIT, BrokenFile, Mistake, Script
from brummer.instance.detect.project import ProjectDirectory
from brummer.settings.table import FILE_NAME

if TYPE_CHECKING:
    from brummer.instance.detect.brum_toml import Declared

_log = logging.getLogger(__name__)

NAME_LIMIT = 1_000
"""Characters of a name; people type it. A small file can make many long ones, by a namespace before each."""
KEPT_LIMIT = 50_000
"""Scripts of one project, listed or not: some 30 MB. Files that include one another many times can make any number."""

DETECTORS: dict[str, tuple[str, ...]] = {
    "package_json": ("package.json",),
    "deno_json": ("deno.json", "deno.jsonc"),
    "makefile": ("GNUmakefile", "makefile", "Makefile"),
    "justfile": ("justfile", "Justfile", ".justfile"),
    "taskfile": (
        *("Taskfile.yml", "taskfile.yml", "Taskfile.yaml", "taskfile.yaml"),
        *("Taskfile.dist.yml", "taskfile.dist.yml", "Taskfile.dist.yaml", "taskfile.dist.yaml"),
    ),
    "procfile": ("Procfile.dev", "Procfile"),
    "pyproject": ("pyproject.toml",),
    "poe_tasks": ("poe_tasks.toml", "poe_tasks.yaml", "poe_tasks.yml", "poe_tasks.json"),
    "django": ("manage.py",),
    "fastapi": ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py"),
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


class ScriptListing(msgspec.Struct, frozen=True):
    """What can be run now, by name in order of precedence, and what could not be understood.

    Every name in a script's ``depends_on`` is there, and none leads back to that script.
    """

    scripts: dict[str, Script]
    problems: tuple[Mistake, ...]

    @property
    def listed(self) -> dict[str, Script]:
        """Without those that are `hidden <Script>`."""
        return {name: script for name, script in self.scripts.items() if not script.hidden}


def listing_of(project: ProjectDirectory) -> ScriptListing:
    """Read everything there is to know about it; it remembers what that was."""
    problems: list[Mistake] = []
    own = _own(project, problems)
    scripts = dict(own.scripts) if own else {}
    for module, files in DETECTORS.items():
        if source := project.first(files):
            detector = import_module(f"brummer.instance.detect.{module}")
            for found in _bounded(_detected(detector, source, project), source, KEPT_LIMIT - len(scripts)):
                if isinstance(found, Mistake):
                    problems.append(found)
                else:
                    script = _prefixed(found, detector.PREFIX) if found.name in scripts else found
                    scripts.setdefault(script.name, script)
    if own:
        own.settle(scripts)
        problems[:0] = own.problems
    return ScriptListing(scripts, tuple(problems))


def _prefixed(script: Script, prefix: str) -> Script:
    return msgspec.structs.replace(script, name=f"{prefix}:{script.name}", task=script.short_name)


def _own(project: ProjectDirectory, problems: list[Mistake]) -> "Declared | None":
    """What the user's own file says; it is imported, as every detector, only where there is one."""
    if not project.exists(FILE_NAME):
        return None
    from brummer.instance.detect.brum_toml import Declared  # noqa: PLC0415

    try:
        return Declared(project.text(FILE_NAME), project)
    except BrokenFile as error:
        problems.append(Mistake(FILE_NAME, error.line, error.message))
        return None


def _detected(detector: ModuleType, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    try:
        text = project.text(source, lenient=getattr(detector, "TAKES_ANY_BYTES", False))
        yield from detector.detect(text, source, project)
    except BrokenFile as error:
        yield Mistake(source, error.line, error.message)
    except Exception as error:  # noqa: BLE001 — the barrier: one unreadable file hides no scripts of other files
        _log.exception("%s can't be read", source)
        yield Mistake(source, None, f"it can't be read: {type(error).__name__}: {error}")


def _bounded(results: Iterator[Script | Mistake], source: str, room: int) -> Iterator[Script | Mistake]:
    """As many scripts as there is room for, of which so many are listed, and so many problems."""
    scripts = problems = kept = too_long = too_many = 0
    for result in results:
        if isinstance(result, Script):
            if len(result.name) > NAME_LIMIT:
                too_long += 1
                continue
            if kept >= room:
                too_many += 1
                continue
            kept += 1
            scripts += not result.hidden
            yield result if scripts <= SCRIPTS_LIMIT else msgspec.structs.replace(result, hidden=True)
        else:
            problems += 1
            if problems <= PROBLEMS_LIMIT:
                yield result
    if scripts > SCRIPTS_LIMIT:
        yield Mistake(source, None, f"{scripts} scripts; all can be run by name, and {SCRIPTS_LIMIT} are listed")
    if too_long:
        yield Mistake(
            source, None, f"{too_long} scripts have names of more than {NAME_LIMIT} characters; none can be run"
        )
    if too_many:
        yield Mistake(source, None, f"{too_many} more can't be run: a project has at most {KEPT_LIMIT} scripts")
    if problems > PROBLEMS_LIMIT:
        yield Mistake(source, None, f"and {problems - PROBLEMS_LIMIT} more problems")
