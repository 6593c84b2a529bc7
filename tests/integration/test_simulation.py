"""The simulation finds each planted bug with its recorded seed, and no bug in the unchanged code."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import planting

TOOLS = Path(__file__).parents[2] / "tools"
SECONDS = 60
WITHIN_S = 600


def run_tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOLS / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)


@pytest.mark.promise("planted-bugs-are-found")
@pytest.mark.parametrize("bug", planting.bugs())
def test_each_planted_bug_is_found(bug: str) -> None:
    """By its recorded seed or, if that finds it no longer, by another one, which `make simulate RECORD=1` records."""
    ended = run_tool("planted.py", bug)
    print(ended.stdout.strip(), end="; ")
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.promise("the-connection-never-breaks")
def test_random_schedules_keep_every_promise() -> None:
    first = int(time.time()) * 1000
    ended = run_tool("simulate.py", "--first", str(first), "--seconds", str(SECONDS))
    print(ended.stdout.strip().splitlines()[-1], end="; ")
    assert ended.returncode == 0, ended.stdout + ended.stderr
