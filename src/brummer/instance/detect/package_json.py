"""package.json: its ``scripts``, run by the project's package manager, and those of its workspaces' packages."""

import re
from collections.abc import Iterator

from msgspec.structs import replace

from brummer.instance.detect import BrokenFile, Problem, Script, yaml_outline
from brummer.instance.detect.decoding import Table, as_table, json_table, strings
from brummer.instance.detect.project import Project

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
_RUN_BY_THE_MANAGER = frozenset(
    {"preinstall", "install", "postinstall", "prepublish", "prepublishOnly", "prepack", "postpack", "dependencies"}
)


def detect(text: str, source: str, project: Project) -> Iterator[Script | Problem]:
    """One script per entry; those of a workspace's package are called ``package:script`` and run in its directory.

    The manager is that of ``packageManager``, then of the lock file, then that of the workspace around it, then npm.
    What it runs by itself, before and after an installation or another script, is left out.
    """
    package = json_table(text)
    manager = _manager(package, project)
    yield from _scripts(package, manager, source, project.directory)
    labels: set[str] = set()
    for folder in _workspace_folders(package, source, project):
        if isinstance(folder, Problem):
            yield folder
            continue
        place = f"{folder}/package.json"
        if not project.exists(place):
            continue
        try:
            package = json_table(project.text(place))
            label = _label(package, folder, labels)
            for found in _scripts(package, manager, place, project.path(folder)):
                yield found if isinstance(found, Problem) else _of_package(found, label, folder)
        except BrokenFile as error:
            yield Problem(place, error.line, error.message)


def _of_package(found: Script, label: str, folder: str) -> Script:
    return replace(found, name=f"{label}:{found.name}", package=folder, task=found.name)


def _scripts(package: Table, manager: str, source: str, directory: str) -> Iterator[Script | Problem]:
    scripts = as_table(package.get("scripts", {}), "scripts")
    whens = ("pre", "post") if manager != "yarn" else ()  # from its second version on it runs none of these
    hooks = {f"{when}{name}" for name in scripts for when in whens} | _RUN_BY_THE_MANAGER
    for name, command in scripts.items():
        if not isinstance(command, str):
            yield Problem(source, None, f"script {name!r} is not a string")
        elif name not in hooks:
            yield Script(name, [manager, "run", name], source, directory)


def _manager(package: Table, project: Project) -> str:
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


def _manager_in(folder: str, package: Table, project: Project) -> str | None:
    field = package.get("packageManager")
    if isinstance(field, str) and (named := _MANAGER.match(field)):
        return named[1]
    return next((manager for file, manager in _BY_LOCK_FILE.items() if project.exists(f"{folder}{file}")), None)


def _label(package: Table, folder: str, labels: set[str]) -> str:
    """The package's name without its scope; its folder where it has none, or another has the same."""
    name = package.get("name")
    label = name.rpartition("/")[2] if isinstance(name, str) else ""
    if not label or label in labels:
        label = folder
    labels.add(label)
    return label


def _workspace_folders(package: Table, source: str, project: Project) -> Iterator[str | Problem]:
    """Each once, in the order of the patterns; those that begin with ``!`` take away."""
    patterns = _patterns(package, project)
    excluded = list(project.all_matching((pattern[1:] for pattern in patterns if pattern[0] == "!"), source))
    yield from (found for found in excluded if isinstance(found, Problem))
    seen = {"", *excluded}
    for found in project.all_matching((pattern for pattern in patterns if pattern[0] != "!"), source):
        if found not in seen:
            seen.add(found)
            yield found


def _patterns(package: Table, project: Project) -> list[str]:
    if project.exists(PNPM_WORKSPACE):
        packages = yaml_outline.entry(yaml_outline.numbered(project.text(PNPM_WORKSPACE)), "packages")
        return yaml_outline.items(packages) if packages else []
    workspaces = package.get("workspaces")
    if isinstance(workspaces, dict):
        workspaces = workspaces.get("packages")
    return [pattern for pattern in strings(workspaces) if pattern]
