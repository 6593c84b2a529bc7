"""A reader who searches for the name of a class, or of a constant, finds one thing."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import brummer

SOURCES = Path(brummer.__file__).parent

SAME_THING = {"Sockets": "the HTTP client declares what it uses of the system's sockets; it is on their layer"}
"""Names that two files give to one thing, each with its reason."""
OTHER_ALIASES = {
    "Kind": "each file has the kinds of its own thing, and names no other",
    "Identity": "the program of the guard imports nothing of ours, and its file has names of its own",
    "Scan": "as Identity",
    "Status": "as Identity",
}
"""Names of classes that are also those of type aliases elsewhere, each with its reason."""


def modules() -> Iterator[tuple[Path, list[ast.stmt]]]:
    """Their statements, without those in functions and classes."""
    for path in sorted(SOURCES.rglob("*.py")):
        yield path.relative_to(SOURCES), ast.parse(path.read_text("utf-8")).body


def assignments(statements: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in statements:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and node.value:
            yield target.id, node.value


def classes() -> dict[str, list[str]]:
    places: dict[str, list[str]] = defaultdict(list)
    for path, statements in modules():
        for node in statements:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path))
    assert len(places) >= 400, "the modules were read"
    return places


def number(expression: ast.expr) -> float | None:
    """What an expression of literal numbers says."""
    if any(not isinstance(node, ast.Constant | ast.BinOp | ast.operator) for node in ast.walk(expression)):
        return None
    value = eval(ast.unparse(expression))
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def test_no_two_classes_have_the_same_name() -> None:
    places = classes()
    assert {name: at for name, at in places.items() if len(at) > 1 and name not in SAME_THING} == {}
    assert {name for name in SAME_THING if len(places[name]) < 2} == set(), "no reason is needed any more"


def test_no_type_alias_has_the_name_of_a_class() -> None:
    places = classes()
    found: dict[str, list[str]] = defaultdict(list)
    for path, statements in modules():
        for name, _ in assignments(statements):
            if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name) and name in places:
                found[name].append(str(path))
    assert {name: at for name, at in found.items() if name not in OTHER_ALIASES} == {}
    assert set(OTHER_ALIASES) - set(found) == set(), "no reason is needed any more"


def test_no_two_numbers_of_a_directory_have_the_same_name() -> None:
    values: dict[tuple[str, str], dict[float, str]] = defaultdict(dict)
    for path, statements in modules():
        for name, expression in assignments(statements):
            if name.isupper() and (value := number(expression)) is not None:
                values[str(path.parent), name][value] = path.name
    assert len(values) >= 500, "the constants were read"
    assert {name: at for name, at in values.items() if len(at) > 1} == {}
