"""Makes docs/modules.md: every module, what it is for by the first sentence of its docstring, and its unit tests.

``module_index.py`` writes the page; with ``--check`` it writes nothing and fails if the page is stale.
"""

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from generated import status, update

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "src"
TESTS: Final = ROOT / "tests" / "unit"
MOST_TESTS: Final = 3
"""A module of errors or clocks is imported by fifty tests; those named after it come first."""
WORD: Final = 10
"""How much it counts, as a sign that a test is about a module, that the test is named after it: for each word."""
USER: Final = 5
"""How much it counts that the test imports a user of the module, for each user."""
MOST_WRITTEN: Final = 20
"""The test writes a name of the module: each place counts 1, up to this many."""
OF_MANY: Final = {"test_class_names.py", "test_clocks.py", "test_contract.py", "test_related_constants.py"}
"""Tests that compare something across many packages: they test only the modules that they are named after."""

HEAD: Final = """\
# Every module, and its tests

`make docs` makes this page from the docstrings and the imports; do not edit it. [How it works](architecture.md) shows
the way through the modules, and answers "where is it decided …". Up to three files of `tests/unit` are listed. Without
brackets: tests that import the module. In brackets: tests that reach it through another module, or that import its
package. The best match comes first.
"""


class Module:
    """A module with its own name, and those of its classes."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._words = tuple(name.replace(".", "_").split("_"))
        defined = {name.rpartition(".")[2]} | {
            node.name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        }
        self._written = re.compile(rf"\b({'|'.join(sorted(defined))})")

    def named_by(self, test: str) -> set[str]:
        """The words in the name of the test that begin with a word of the module's name."""
        return {word for word in words_of(test) if word.startswith(self._words)}

    def written_in(self, test: str) -> int:
        """How often the test writes one of the names."""
        return min(len(self._written.findall(text_of(TESTS / test))), MOST_WRITTEN)


def page() -> Iterator[str]:
    yield HEAD
    modules = {dotted(path): path for path in SOURCE.rglob("*.py")}
    tests = importers((path, path.name) for path in TESTS.glob("test_*.py"))
    users = importers((path, name) for name, path in modules.items())
    folder = Path()
    for name, path in sorted(modules.items(), key=lambda each: (each[1].parent.parts, each[1].name)):
        if path.parent != folder:
            folder = path.parent
            yield f"\n## {folder.relative_to(SOURCE).as_posix()}\n"
            yield "| module | what it is for | unit tests |"
            yield "|---|---|---|"
        link = f"[`{path.name}`](../{path.relative_to(ROOT).as_posix()})"
        yield f"| {link} | {first_sentence(path)} | {' '.join(its_tests(Module(name, path), tests, users[name]))} |"


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    sentence, dot, _ = " ".join(text.partition("\n\n")[0].split()).partition(". ")
    return (sentence + dot.strip()).replace("|", "\\|")


def importers(files: Iterable[tuple[Path, str]]) -> defaultdict[str, set[str]]:
    """By dotted name of what is imported, the names given to the files that import it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path, given in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
            for name in names:
                found[name].add(given)
    return found


def its_tests(module: Module, tests: defaultdict[str, set[str]], users: set[str]) -> Iterator[str]:
    """Its importers, and in brackets tests of the modules that import it; without importers, of its package, too."""
    direct = {test for test in tests[module.name] if test not in OF_MANY or module.named_by(test)}
    if direct:
        yield listed(module, dict.fromkeys(direct, 0))
    others = Counter(test for user in users for test in tests[user] if test not in OF_MANY | direct)
    if not direct:
        package = module.name.rpartition(".")[0] + "."
        of_package = set().union(*(of for name, of in tests.items() if name.startswith(package)))
        others.update(dict.fromkeys(of_package - OF_MANY, 0))
    if others and len(direct) < MOST_TESTS:
        yield f"({listed(module, others, MOST_TESTS - len(direct))})"


def listed(module: Module, tests: Mapping[str, int], most: int = MOST_TESTS) -> str:
    """The tests that seem to be most about the module; each is given with how many users of the module it imports."""

    def rank(test: str) -> tuple[int, str]:
        words, meant = words_of(test), module.named_by(test)
        return -(WORD * (len(meant) + (words == meant)) + USER * tests[test] + module.written_in(test)), test

    return ", ".join(f"`{test}`" for test in sorted(tests, key=rank)[:most])


def words_of(test: str) -> set[str]:
    return set(test.removeprefix("test_").removesuffix(".py").split("_"))


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    path = ROOT / "docs" / "modules.md"
    sys.exit(status(update(path, "\n".join(page()) + "\n", "docs/modules.md is stale")))
