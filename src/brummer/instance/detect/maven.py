"""Maven: build, test, and running an application, by the wrapper where there is one."""

from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.decoding import xml_root
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "mvn"
TAKES_ANY_BYTES = True
"""Old ones are in Latin-1, and say so."""
_RUN_BY_PLUGIN = {
    "spring-boot-maven-plugin": "spring-boot:run",
    "quarkus-maven-plugin": "quarkus:dev",
    "exec-maven-plugin": "exec:java",
}
_PLUGINS = "build/plugins/plugin"
"""Not those of a profile or of ``pluginManagement``: they are there only for who asks for them."""


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``run`` where a plugin brings it; that of exec only where it knows the class."""
    maven = "./mvnw" if project.exists("mvnw") else "mvn"
    plugins = {
        str(plugin.findtext("artifactId")).strip(): plugin for plugin in xml_root(text, "project").iterfind(_PLUGINS)
    }
    if "exec-maven-plugin" in plugins and not plugins["exec-maven-plugin"].findtext("configuration/mainClass"):
        del plugins["exec-maven-plugin"]
    if goal := next((goal for plugin, goal in _RUN_BY_PLUGIN.items() if plugin in plugins), None):
        yield Script("run", [maven, goal], source, project.directory)
    yield Script("build", [maven, "package"], source, project.directory)
    yield Script("test", [maven, "test"], source, project.directory)
