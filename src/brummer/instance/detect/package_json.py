"""package.json: its ``scripts``, run by the project's package manager."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from brummer.instance.detect import BrokenFile, Problem, Project, Script

SOURCE = "package.json"
FILES = ("package.json",)
PREFIX = "npm"
_BY_LOCK_FILE = {
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "package-lock.json": "npm",
}
MARKERS = tuple(_BY_LOCK_FILE)
_MANAGER = re.compile(r"(npm|yarn|pnpm|bun)(?:@|$)")


def detect(text: str, project: Project) -> Iterator[Script | Problem]:
    """One script per entry. The manager is that of ``packageManager``, then of the lock file, then npm."""
    package = _decoded(text)
    scripts = package.get("scripts", {}) if isinstance(package, dict) else None
    if not isinstance(scripts, dict):
        raise BrokenFile(None, "scripts is not an object" if isinstance(package, dict) else "not an object")
    manager = _manager(package.get("packageManager"), project)
    for name, command in scripts.items():
        if isinstance(command, str):
            yield Script(name, [manager, "run", name], SOURCE, project.directory)
        else:
            yield Problem(SOURCE, None, f"script {name!r} is not a string")


def _manager(field: object, project: Project) -> str:
    if isinstance(field, str) and (named := _MANAGER.match(field)):
        return named[1]
    return next((manager for file, manager in _BY_LOCK_FILE.items() if file in project.markers), "npm")


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return _decoded_slowly(text)


def _decoded_slowly(text: str) -> Any:
    """The standard library knows the line of an error, and is imported only for that."""
    import json  # noqa: PLC0415

    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BrokenFile(error.lineno, f"{error.msg} (column {error.colno})") from None
    except RecursionError:
        raise BrokenFile(None, "nested too deeply") from None
