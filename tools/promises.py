"""What Brummer promises, and which tests hold each promise: checks docs/promises.toml against the tests' markers, and
makes docs/proof.md of both.

``promises.py`` writes the page; ``promises.py --check`` writes nothing. Prints one line per fault: a promise without a
test, a test with an unknown promise, a stale page. The exit status is 1 if there is any. Tests are read, not imported.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from generated import status, update

ROOT: Final = Path(__file__).resolve().parent.parent
MARKER: Final = "promise"
HEAD: Final = """\
# Proof: what Brummer promises, and which tests hold it

`make docs` makes this page from [promises.toml](promises.toml) and the tests; do not edit it. `make test` runs what is
in `tests/unit`, `make integration-test` what is in `tests/integration`.
"""


@dataclass
class Promise:
    id: str
    text: str
    further: str
    tests: list[tuple[str, str]] = field(default_factory=list)
    """Path and name of each."""


def main() -> int:
    manifest = tomllib.loads((ROOT / "docs" / "promises.toml").read_text(encoding="utf-8"))
    sections, faults = read(manifest)
    faults += assign({promise.id: promise for _, promises in sections for promise in promises}, marked(ROOT / "tests"))
    is_stale = update(ROOT / "docs" / "proof.md", "\n".join(page_of(sections)), "docs/proof.md is stale")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else status(is_stale)


def read(manifest: dict[str, list[dict[str, object]]]) -> tuple[list[tuple[str, list[Promise]]], list[str]]:
    """The titles of the sections with their promises, and what is wrong with the manifest."""
    sections: list[tuple[str, list[Promise]]] = []
    faults: list[str] = []
    known: set[str] = set()
    for section in manifest["section"]:
        texts, further = section["promises"], section.get("further", {})
        assert isinstance(texts, dict)
        assert isinstance(further, dict)
        faults += [f"docs/promises.toml: there are two promises {name}" for name in known & texts.keys()]
        faults += [f"docs/promises.toml: further proof of no promise: {name}" for name in further.keys() - texts.keys()]
        known |= texts.keys()
        sections.append(
            (str(section["title"]), [Promise(name, text, further.get(name, "")) for name, text in texts.items()])
        )
    return sections, faults


def marked(tests: Path) -> Iterator[tuple[str, str, str]]:
    """Path, name and promise of each marker in these tests. The promise is empty where it is no literal string."""
    for path in sorted(tests.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if f"mark.{MARKER}" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            for decorator in getattr(node, "decorator_list", ()):
                if isinstance(decorator, ast.Call) and getattr(decorator.func, "attr", "") == MARKER:
                    name = str(getattr(node, "name", ""))
                    for argument in decorator.args:
                        literal = argument.value if isinstance(argument, ast.Constant) else ""
                        yield path.relative_to(tests.parent).as_posix(), name, str(literal)


def assign(promises: dict[str, Promise], marks: Iterator[tuple[str, str, str]]) -> list[str]:
    """Give each promise its tests. Returns what is wrong with the markers, and which promises have no test."""
    faults = []
    for path, name, promise_id in marks:
        if promise_id not in promises:
            faults.append(f"{path}: {name} names the promise {promise_id!r}, which docs/promises.toml does not have")
        elif not name.startswith("test_"):
            faults.append(f"{path}: {name} has a promise and is no test")
        else:
            promises[promise_id].tests.append((path, name))
    return faults + [f"docs/promises.toml: no test holds {each.id}" for each in promises.values() if not each.tests]


def page_of(sections: list[tuple[str, list[Promise]]]) -> Iterator[str]:
    yield HEAD
    for title, promises in sections:
        yield f"## {title}\n"
        yield "| promise | held by |"
        yield "|---|---|"
        for promise in promises:
            tests = [f"[{sentence(name)}](../{path})" for path, name in promise.tests]
            yield f"| {promise.text} | {'<br>'.join([*tests, *commands(promise.further)])} |"
        yield ""


def sentence(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def commands(further: str) -> list[str]:
    return [", ".join(f"`{each.strip()}`" for each in further.split(","))] if further else []


if __name__ == "__main__":
    sys.exit(main())
