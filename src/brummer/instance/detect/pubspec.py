"""pubspec.yaml: running and testing a Flutter or a Dart package."""

from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.project import ProjectDirectory
from brummer.instance.detect.yaml_file import yaml_table

PREFIX = "dart"


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``run`` where there is something to run, ``test`` where there are tests."""
    is_flutter = "flutter" in yaml_table(text).table("dependencies")
    tool = "flutter" if is_flutter else "dart"
    if project.exists("lib/main.dart" if is_flutter else "bin"):
        yield Script("run", [tool, "run"], source, project.directory)
    if project.exists("test"):
        yield Script("test", [tool, "test"], source, project.directory)
