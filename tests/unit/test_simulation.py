"""The simulation of the whole system: a seed is a run, and every call gets one true answer."""

import subprocess
import sys

import pytest

from brummer.testing.simulation.runner import run

SEEDS = range(20)
"""`make integration-test` runs as many as fit into a minute."""


@pytest.mark.promise("the-connection-never-breaks")
@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_is_kept_in_every_random_schedule(seed: int) -> None:
    result = run(seed)
    assert result.calls > 0
    assert result.found == [], f"make replay SEED={seed}"


@pytest.mark.promise("planted-bugs-are-found")
def test_a_seed_gives_the_same_trace_again() -> None:
    assert run(1).lines == run(1).lines


def test_a_seed_gives_the_same_trace_in_another_process() -> None:
    code = "from brummer.testing.simulation.runner import run; print(*(run(seed).hash for seed in (2, 1)))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120).stdout
    assert told.split() == [run(2).hash, run(1).hash]
