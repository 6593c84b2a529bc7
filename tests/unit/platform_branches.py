"""Which lines of Brummer belong to macOS alone: those in branches of `sys.platform`."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import brummer

BRUMMER: Final = Path(brummer.__file__).parent


def lines_for_macos() -> dict[str, set[int]]:
    """By file: the first line of each statement in such a branch; of an expression that asks, its own line."""
    found = {}
    for path in sorted(BRUMMER.rglob("*.py")):
        source = path.read_text()
        if "sys.platform" in source:
            found[str(path.relative_to(BRUMMER))] = set(_lines(ast.parse(source)))
    return {name: lines for name, lines in found.items() if lines}


def _lines(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and _asks(node.test):
            for_linux = '"linux"' in ast.unparse(node.test).replace("'", '"')
            is_negated = "!=" in ast.unparse(node.test)
            branch = node.orelse if for_linux != is_negated else node.body
            yield from (line for statement in branch for line in _statements(statement))
            yield node.test.lineno
        elif isinstance(node, ast.stmt) and not isinstance(node, ast.If) and _asks_by_itself(node):
            yield node.lineno


def _statements(statement: ast.stmt) -> Iterator[int]:
    """The lines that run; docstrings do not."""
    for node in ast.walk(statement):
        if isinstance(node, ast.stmt) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield node.lineno


def _asks(node: ast.AST) -> bool:
    return any(isinstance(each, ast.Attribute) and ast.unparse(each) == "sys.platform" for each in ast.walk(node))


def _asks_by_itself(statement: ast.stmt) -> bool:
    """Not through a statement within it."""
    parts = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.expr)]
    return any(map(_asks, parts))
