"""pubspec.yaml: running and testing a Flutter or a Dart package."""

from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script, yaml_outline
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "dart"


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``run`` where there is something to run, ``test`` where there are tests."""
    dependencies = yaml_outline.entry(yaml_outline.numbered(text), "dependencies")
    is_flutter = bool(dependencies and yaml_outline.entry(dependencies.block, "flutter"))
    tool = "flutter" if is_flutter else "dart"
    if project.exists("lib/main.dart" if is_flutter else "bin"):
        yield Script("run", [tool, "run"], source, project.directory)
    if project.exists("test"):
        yield Script("test", [tool, "test"], source, project.directory)
