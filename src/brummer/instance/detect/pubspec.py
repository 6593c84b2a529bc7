"""pubspec.yaml: running and testing a Flutter or a Dart package."""

from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.project import ProjectDirectory
from brummer.instance.detect.yaml_file import yaml_table

PREFIX = "dart"


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``run`` for the only program or that of the package's name, the others by theirs; ``test`` if there are tests."""
    document = yaml_table(text)
    package = document.get("name")
    if document and not isinstance(package, str):
        yield Mistake(source, document.lines.get("name", 1), "it has no name, and pub asks for one")
    is_flutter = "flutter" in document.table("dependencies")
    tool = "flutter" if is_flutter else "dart"
    if is_flutter and project.exists("lib/main.dart"):
        yield Script("run", [tool, "run"], source, project.directory)
    programs = [] if is_flutter else [path for path in project.matching("bin/*.dart") if project.exists(path)]
    for path in programs:
        name = path.removeprefix("bin/").removesuffix(".dart")
        is_usual = name == package
        called = "run" if is_usual or len(programs) == 1 else name
        yield Script(called, [tool, "run", *([] if is_usual else [path])], source, project.directory)
    if project.exists("test"):
        yield Script("test", [tool, "test"], source, project.directory)
