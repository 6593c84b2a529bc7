"""A reader who searches for the name of a class finds one class."""

import ast
from collections import defaultdict
from pathlib import Path

import brummer

SOURCES = Path(brummer.__file__).parent

SAME_THING = {"Sockets": "the HTTP client declares what it uses of the system's sockets; it is on their layer"}
"""Names that two files give to one thing, each with its reason."""


def classes(path: Path) -> list[str]:
    """The classes of a module, without those in functions and other classes."""
    return [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]


def test_no_two_classes_have_the_same_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(SOURCES.rglob("*.py")):
        for name in classes(path):
            places[name].append(str(path.relative_to(SOURCES)))
    assert len(places) >= 400, "the modules were read"
    assert {name: at for name, at in places.items() if len(at) > 1 and name not in SAME_THING} == {}
    assert {name for name in SAME_THING if len(places[name]) < 2} == set(), "no reason is needed any more"
