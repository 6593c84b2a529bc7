"""Maven: build, test, and running an application, by the wrapper where there is one."""

from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "mvn"
_RUN_BY_PLUGIN = {
    "spring-boot-maven-plugin": "spring-boot:run",
    "quarkus-maven-plugin": "quarkus:dev",
    "exec-maven-plugin": "exec:java",
}


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``run`` where a plugin brings it."""
    maven = "./mvnw" if project.exists("mvnw") else "mvn"
    if goal := next((goal for plugin, goal in _RUN_BY_PLUGIN.items() if plugin in text), None):
        yield Script("run", [maven, goal], source, project.directory)
    yield Script("build", [maven, "package"], source, project.directory)
    yield Script("test", [maven, "test"], source, project.directory)
