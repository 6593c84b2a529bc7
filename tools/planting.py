"""Bugs that are planted on purpose: small replacements in the source, made while a module is imported.

`tests/planted/bugs.toml` has them. The source files do not change, and no bytecode is kept.
"""

import re
import sys
import tomllib
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

BUGS = Path(__file__).parents[1] / "tests" / "planted" / "bugs.toml"


class Stale(Exception):
    """The source no longer has the text that a bug replaces: the change that moved the code has to move the bug."""


def bugs() -> dict[str, dict[str, Any]]:
    """By name: ``what`` it is, the ``seed`` that found it, and its ``edits`` (``file``, ``old``, ``new``)."""
    return tomllib.loads(BUGS.read_text("utf-8"))


def record(name: str, seed: int) -> None:
    """Record the seed that finds it."""
    text = BUGS.read_text("utf-8")
    start = text.index(f"[{name}]\n")
    BUGS.write_text(text[:start] + re.sub(r"seed = -?\d+", f"seed = {seed}", text[start:], count=1), "utf-8")


def plant(name: str) -> None:
    """From now on `brummer` is imported with this bug. Raises `Stale`; must come before the first import."""
    if loaded := [module for module in sys.modules if module.startswith("brummer")]:
        raise RuntimeError(f"imported already: {loaded[0]}")
    edits: dict[str, list[tuple[str, str]]] = {}
    for edit in bugs()[name]["edits"]:
        module = "brummer." + edit["file"].removesuffix(".py").replace("/", ".")
        edits.setdefault(module, []).append((edit["old"], edit["new"]))
    sys.meta_path.insert(0, _Planter(name, edits))


class _Planter(MetaPathFinder):
    def __init__(self, name: str, edits: dict[str, list[tuple[str, str]]]) -> None:
        self._name = name
        self._edits = edits

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname not in self._edits:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin, self._name, self._edits[fullname])
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, name: str, edits: list[tuple[str, str]]) -> None:
        super().__init__(fullname, path)
        self._name = name
        self._edits = edits

    def path_stats(self, path: str) -> Any:
        """Without a cached path, bytecode is neither read nor written."""
        raise OSError(path)

    def get_data(self, path: str) -> bytes:
        text = super().get_data(path).decode()
        for old, new in self._edits:
            if text.count(old) != 1:
                raise Stale(f"{self._name}: {text.count(old)} places in {path} read {old!r}")
            text = text.replace(old, new)
        return text.encode()
