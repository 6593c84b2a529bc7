"""`make coverage` fails where a package is below its floor, and `.ci/run` runs it within its time."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import floors

ROOT = Path(floors.__file__).parent.parent
MOST_MIN = 50
"""Continuous integration ends a longer run."""


def report(tmp_path: Path, share: float) -> Path:
    """The report of a run that takes this share of the branches of each package with a floor."""
    files = {
        f"src/brummer/{package}/a.py": {"summary": {"num_branches": 1_000, "covered_branches": int(1_000 * share)}}
        for package in floors.floors()
    }
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"files": files}), "utf-8")
    return path


def status_of(path: Path) -> tuple[int, str]:
    program = [sys.executable, floors.__file__, str(path)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def test_a_run_that_takes_every_branch_passes(tmp_path: Path) -> None:
    status, table = status_of(report(tmp_path, 1.0))
    assert (status, table.count("BELOW")) == (0, 0)


def test_a_package_below_its_floor_fails(tmp_path: Path) -> None:
    path = report(tmp_path, 1.0)
    content = json.loads(path.read_text("utf-8"))
    content["files"]["src/brummer/logs/a.py"]["summary"]["covered_branches"] = 10 * floors.floors()["logs"] - 1
    path.write_text(json.dumps(content), "utf-8")
    status, table = status_of(path)
    assert (status, re.findall(r"^(\w+) .*BELOW ITS FLOOR$", table, re.MULTILINE)) == (1, ["logs"])


def test_a_floor_of_no_package_fails(tmp_path: Path) -> None:
    path = report(tmp_path, 1.0)
    content = json.loads(path.read_text("utf-8"))
    del content["files"]["src/brummer/logs/a.py"]
    path.write_text(json.dumps(content), "utf-8")
    status, table = status_of(path)
    assert (status, "logs           is no package, and has a floor" in table) == (1, True)


def test_continuous_integration_runs_everything_within_its_time() -> None:
    sections = re.findall(r"^section (\S+) (\d+)m$", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE)
    assert [name for name, _ in sections] == ["check", "coverage", "integration-test"]
    assert sum(int(limit_min) for _, limit_min in sections) <= MOST_MIN


@pytest.mark.parametrize("option", ["--ignore", "--deselect", " -k ", " -m "])
def test_the_coverage_run_leaves_no_test_out(option: str) -> None:
    [recipe] = re.findall(r"^coverage:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert "$(UNIT_TESTS) --cov " in recipe
    assert option not in recipe
