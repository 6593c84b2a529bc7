"""Hundreds of processes in one directory at the same time: nothing torn, nothing lost, nothing told twice."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.discovery_support import directory_in_memory

SCENARIO = Path(__file__).parent / "scenarios" / "discovery_storm.py"
PROCESSES = 300
ROUNDS = 20
ROUNDS_WITHOUT_PACE = 5
KILLED_PER_ROUND = PROCESSES // 10

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux", reason="platform: forks hundreds of processes that die with their parent"
    ),
]


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield path


def storm(directory: Path, rounds: int, pace: str, killed_per_round: int, capsys: pytest.CaptureFixture[str]) -> Any:
    """What the scenario counted, once what no storm may show has been ruled out."""
    arguments = [str(directory), str(PROCESSES), str(rounds), pace, str(killed_per_round)]
    done = subprocess.run([sys.executable, str(SCENARIO), *arguments], check=False, capture_output=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()[-4000:]
    counts = json.loads(done.stdout)
    with capsys.disabled():
        sys.stdout.write(f"\n{PROCESSES} processes, {rounds} rounds, {pace}: {done.stdout.decode()}")
    assert counts["wrong"] == []
    assert counts["torn"] == 0
    assert counts["read"] > 100
    assert counts["problems"] == [[], [], []]
    assert counts["hubs_ended"] == [0, 0, 0]
    assert counts["left"] == []
    return counts


@pytest.mark.promise("every-change-once")
def test_three_hubs_tell_every_change_of_300_processes_once_and_in_order(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = storm(directory, ROUNDS, "paced", 0, capsys)
    ahead = PROCESSES * 2 // 3 + PROCESSES // 3  # operations before all are spread over the points of their round
    told = [sum(events.values()) for events in counts["events"]]
    assert told == [counts["operations"]] * 3
    assert counts["operations"] == 3 * PROCESSES * ROUNDS + ahead + PROCESSES * 2 // 3
    assert [events["appeared"] == events["gone"] for events in counts["events"]] == [True] * 3


@pytest.mark.promise("every-change-once")
def test_a_tenth_killed_inside_their_writes_takes_nothing_from_the_others(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = storm(directory, ROUNDS, "paced", KILLED_PER_ROUND, capsys)
    assert sum(counts["killed"].values()) == KILLED_PER_ROUND * ROUNDS
    assert len(counts["killed"]) == 5, "every point of a write was somebody's last"
    for events in counts["events"]:
        assert events["appeared"] == events["gone"]
        assert sum(events.values()) <= counts["operations"] + sum(counts["killed"].values())


@pytest.mark.parametrize("killed_per_round", [0, KILLED_PER_ROUND], ids=["all live", "a tenth is killed"])
def test_without_pace_the_hubs_tell_nothing_false_and_end_with_the_truth(
    directory: Path, killed_per_round: int, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = storm(directory, ROUNDS_WITHOUT_PACE, "free", killed_per_round, capsys)
    assert sum(counts["killed"].values()) == killed_per_round * ROUNDS_WITHOUT_PACE
    for events in counts["events"]:
        assert PROCESSES <= events["appeared"] == events["gone"]
