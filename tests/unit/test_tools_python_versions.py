"""The oldest Python that is supported is written in many files, for people and for tools; all say the same."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OLDEST = PROJECT["project"]["requires-python"].removeprefix(">=")


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("README.md", r"Python (?:≥ )?(3\.\d+)"),
        ("CONTRIBUTING.md", r"Python (3\.\d+) or newer"),
        ("docs/start.md", r"Python (3\.\d+) or newer"),
        ("docs/contributing.md", r"Python ≥ (3\.\d+)"),
        ("Makefile", r"Python ≥ (3\.\d+)"),
        ("tools/setup.sh", r"Python (3\.\d+) or newer"),
        ("tools/lock.sh", r"Python (3\.\d+) or newer"),
        (".github/workflows/ci.yml", r'python: \["(3\.\d+)"'),
        (".github/workflows/release.yml", r'python: \["(3\.\d+)"'),
    ],
)
def test_every_place_that_names_the_oldest_python_names_the_same(file: str, pattern: str) -> None:
    named = re.findall(pattern, (ROOT / file).read_text())
    assert named
    assert set(named) == {OLDEST}


def test_the_package_is_checked_and_classified_for_the_oldest_python() -> None:
    assert PROJECT["tool"]["mypy"]["python_version"] == OLDEST
    versions = [
        found[1]
        for each in PROJECT["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each))
    ]
    assert versions[0] == OLDEST


def test_the_setup_refuses_what_is_older_than_the_oldest_python() -> None:
    major, minor = OLDEST.split(".")
    assert f"sys.version_info < ({major}, {minor})" in (ROOT / "tools/setup.sh").read_text()
