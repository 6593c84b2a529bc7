"""package.json: its ``scripts``, run by the project's package manager, and those of its workspaces' packages."""

import re
from collections.abc import Iterator

from brummer.instance.detect import BrokenFile, Mistake, Script, line_with, operand
from brummer.instance.detect.decoding import Table, json_table, strings, table_at
from brummer.instance.detect.packages import folders_of, scripts_of_packages
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "npm"
SOURCE = "package.json"
PNPM_WORKSPACE = "pnpm-workspace.yaml"
_BY_LOCK_FILE = {
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "pnpm-lock.yaml": "pnpm",
    PNPM_WORKSPACE: "pnpm",
    "yarn.lock": "yarn",
    "package-lock.json": "npm",
}
_MANAGER = re.compile(r"(npm|yarn|pnpm|bun)(?:@|$)")
_CHOICES = re.compile(r"\{([^{}()|]*,[^{}()|]*)\}|@\(([^{}(),]*)\)")
CHOICES_LIMIT = 100
"""Patterns for which one with braces may stand; each pair may double them."""
_RUN_BY_THE_MANAGER = frozenset(
    {"preinstall", "install", "postinstall", "prepublish", "prepublishOnly", "prepack", "postpack", "dependencies"}
)


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per entry; those of a workspace's package are called ``package:script`` and run in its directory.

    The manager is that of ``packageManager``, then of the lock file, then that of the workspace around it, then npm.
    What it runs by itself, before and after an installation or another script, is hidden.
    """
    package = json_table(text)
    manager = _manager(package, project)
    yield from _scripts(package, manager, project, source, project.directory)
    place = PNPM_WORKSPACE if project.exists(PNPM_WORKSPACE) else source
    try:
        written = _patterns(package, place, project)
    except BrokenFile as error:
        yield Mistake(place, error.line, error.message)
        return
    patterns: list[str] = []
    for pattern in written:
        if (expanded := _expanded(pattern)) is None:
            yield Mistake(place, project.line_with(pattern, place), f"{pattern}: it is not understood")
        patterns += expanded or ()
    folders = folders_of(
        (pattern for pattern in patterns if pattern[0] != "!"),
        (pattern[1:] for pattern in patterns if pattern[0] == "!"),
        place,
        project,
    )
    yield from scripts_of_packages(
        folders, SOURCE, project, _read, lambda package, *where: _scripts(package, manager, project, *where)
    )


def _read(text: str) -> tuple[Table, object]:
    package = json_table(text)
    return package, package.get("name")


def _scripts(
    package: Table, manager: str, project: ProjectDirectory, source: str, directory: str
) -> Iterator[Script | Mistake]:
    scripts = package.get("scripts", {})
    if not isinstance(scripts, dict):
        raise BrokenFile(line_with('"scripts"', project.text(source)), "scripts is not a table")
    whens = ("pre", "post") if manager != "yarn" else ()  # from its second version on it runs none of these
    hooks = {f"{when}{name}" for name in scripts for when in whens} | _RUN_BY_THE_MANAGER
    for name, command in scripts.items():
        if not isinstance(command, str):
            line = project.line_with(f'"{name}"', source)
            yield Mistake(source, line, f"script {name!r} is not a string")
        else:
            yield Script(name, [manager, "run", *operand(name)], source, directory, hidden=name in hooks)


def _manager(package: Table, project: ProjectDirectory) -> str:
    if here := _manager_in("", package, project):
        return here
    for folder in project.above():
        place = f"{folder}/{SOURCE}"
        try:
            package = json_table(project.text(place)) if project.exists(place) else {}
        except BrokenFile:  # of a file that is not ours
            continue
        if "workspaces" in package or project.exists(f"{folder}/{PNPM_WORKSPACE}"):
            return _manager_in(f"{folder}/", package, project) or "npm"
    return "npm"


def _manager_in(folder: str, package: Table, project: ProjectDirectory) -> str | None:
    field = package.get("packageManager") or (table_at(package, ("devEngines", "packageManager")) or {}).get("name")
    if isinstance(field, str) and (named := _MANAGER.match(field)):
        return named[1]
    return next((manager for file, manager in _BY_LOCK_FILE.items() if project.exists(f"{folder}{file}")), None)


def _patterns(package: Table, place: str, project: ProjectDirectory) -> list[str]:
    workspaces = package.get("workspaces")
    if place == PNPM_WORKSPACE:
        from brummer.instance.detect.yaml_file import yaml_table  # noqa: PLC0415 - most projects have no such file

        workspaces = yaml_table(project.text(place)).get("packages")
    elif isinstance(workspaces, dict):
        workspaces = workspaces.get("packages")
    if not isinstance(workspaces, list | None):
        raise BrokenFile(None, "what names the packages of the workspace is not a list")
    return [pattern for pattern in strings(workspaces) if pattern]


def _expanded(pattern: str) -> list[str] | None:
    """Without braces: ``{a,b}/*`` is two patterns. None for a pattern that is not understood."""
    patterns: list[str] = []
    waiting = [pattern]
    while waiting and len(waiting) + len(patterns) < CHOICES_LIMIT:
        pattern = waiting.pop()
        if found := _CHOICES.search(pattern):
            choices = re.split("[,|]", found[1] or found[2])
            waiting += [f"{pattern[: found.start()]}{each}{pattern[found.end() :]}" for each in reversed(choices)]
        else:
            patterns.append(pattern)
    return None if waiting or any({*"{(|"} & {*each} for each in patterns) else patterns
