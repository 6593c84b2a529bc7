"""The simulation of the whole system: a seed is a run."""

import subprocess
import sys

import pytest

from brummer.testing.simulation.runner import run

SEEDS = (1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_gives_the_same_trace_again(seed: int) -> None:
    first, second = run(seed), run(seed)
    assert first.lines == second.lines
    assert first.calls > 0


def test_a_seed_gives_the_same_trace_in_another_process() -> None:
    code = f"from brummer.testing.simulation.runner import run; print(*(run(seed).hash for seed in {SEEDS}))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120).stdout
    assert told.split() == [run(seed).hash for seed in SEEDS]


def test_different_seeds_are_different_runs() -> None:
    assert len({run(seed).hash for seed in SEEDS}) == len(SEEDS)
