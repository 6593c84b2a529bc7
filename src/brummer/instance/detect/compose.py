"""A compose file: its services, as far as `yaml_outline` sees. Included files and overrides are left to docker."""

from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script, yaml_outline
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "compose"
STOP_TIMEOUT_S = 15.0
"""Docker gives containers 10 s; if its client were killed before, they would run on."""


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per service, which starts what it depends on too, and ``up`` for all where there are several.

    They stay in the foreground, so that the containers stop with them.
    """
    found = yaml_outline.entry(yaml_outline.numbered(text), "services")
    services = [service.key for service in yaml_outline.entries(found.block)] if found else []
    if len(services) > 1:
        yield _script("up", [], source, project)
    for service in services:
        yield _script(service, [service], source, project)


def _script(name: str, services: list[str], source: str, project: ProjectDirectory) -> Script:
    command = ["docker", "compose", "up", *services]
    return Script(name, command, source, project.directory, stop_timeout_s=STOP_TIMEOUT_S)
