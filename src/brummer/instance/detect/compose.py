"""A compose file: its services, those of the override beside it, and those of the files that these include."""

import posixpath
from collections.abc import Iterator

from brummer.instance.detect import BrokenFile, Mistake, Script
from brummer.instance.detect.decoding import strings
from brummer.instance.detect.project import ProjectDirectory
from brummer.instance.detect.yaml_file import YamlTable, yaml_tables

PREFIX = "compose"
OVERRIDES = (
    *("compose.override.yml", "compose.override.yaml"),
    *("docker-compose.override.yml", "docker-compose.override.yaml"),
)
STOP_TIMEOUT_S = 15.0
"""Docker gives containers 10 s; if its client were killed before, they would run on."""


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per service, which starts what it depends on too, and ``up`` for all where there are several.

    They stay in the foreground, so that the containers stop with them.
    """
    found = list(_services(text, source, project, {source}))
    if override := project.first(OVERRIDES):
        found += _read(override, project, set())
    yield from (each for each in found if isinstance(each, Mistake))
    services = list(dict.fromkeys(each for each in found if isinstance(each, str)))
    if not found:
        yield Mistake(source, None, "it has no services")
    if len(services) > 1:
        yield _script("up", [], source, project)
    for service in services:
        yield _script(service, [service], source, project)


def _script(name: str, services: list[str], source: str, project: ProjectDirectory) -> Script:
    command = ["docker", "compose", "up", *services]
    return Script(name, command, source, project.directory, stop_timeout_s=STOP_TIMEOUT_S)


def _read(place: str, project: ProjectDirectory, seen: set[str]) -> Iterator[str | Mistake]:
    """As `_services`, of a file that is read once."""
    if place in seen:
        return
    seen.add(place)
    try:
        yield from _services(project.included(place), place, project, seen)
    except BrokenFile as error:
        yield Mistake(place, error.line, error.message)


def _services(text: str, place: str, project: ProjectDirectory, seen: set[str]) -> Iterator[str | Mistake]:
    for document in yaml_tables(text):
        services = document.table("services")
        for name, service in services.items():
            if isinstance(service, YamlTable):
                yield name
            else:
                yield Mistake(place, services.lines.get(name), f"service {name!r} is not a table")
        for path in _included(document.get("include")):
            if "$" in path or ":" in path:
                yield Mistake(place, document.lines.get("include"), f"{path}, which it includes, is not read")
            else:
                included = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
                yield from _read(included, project, seen)


def _included(value: object) -> Iterator[str]:
    """Each is a path, or a table with one or several."""
    for item in value if isinstance(value, list) else ():
        path = item.get("path") if isinstance(item, YamlTable) else item
        yield from strings(path if isinstance(path, list) else [path])
