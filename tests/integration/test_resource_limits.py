"""``brum --test-resource-limits`` as it is typed: what it finds, also where a limit is broken, and what it leaves."""

import json
import signal
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum, Program, within

RUN_S: Final = 150.0
"""It promises 40 on a machine that has nothing else to do."""

SMALL: Final = {
    "BRUMMER_MAX_IN_FLIGHT": "20",
    "BRUMMER_MAX_REPLY": "100kB",
    "BRUMMER_MAX_REQUEST": "100kB",
    "BRUMMER_LEDGER_ENTRIES": "50",
    "BRUMMER_LEDGER_SIZE": "100kB",
    "BRUMMER_OUTPUT_SIZE": "100kB",
    "BRUMMER_JOURNAL_SIZE": "100kB",
    "BRUMMER_MAX_PARKED": "12",
}

BROKEN: Final = """\
from brummer.pool.pool import Pool

Pool.parked = property(lambda _: 0, lambda *_: None)
"""
"""Imported by every Python that is started with it: nobody counts the calls that are parked any more."""


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where temporary directories are made."""
    path = tmp_path / "t"
    path.mkdir()
    return path


def started(brum: Brum, scratch: Path, *arguments: str, **more: str) -> Program:
    return brum.start(BRUM, "--test-resource-limits", *arguments, TMPDIR=str(scratch), **more)


def found(program: Program) -> dict[str, dict[str, Any]]:
    limits = json.loads(program.stdout.rest(RUN_S))["limits"]
    return {finding["key"]: finding for finding in limits}


def nothing_is_left(brum: Brum, scratch: Path) -> bool:
    return brum.gone() and not list(scratch.iterdir())


@pytest.mark.promise("every-limit-holds")
def test_every_limit_holds_with_the_values_in_force(brum: Brum, scratch: Path) -> None:
    program = started(brum, scratch, BRUMMER_MAX_CONNECTIONS="5")
    table = program.stdout.rest(RUN_S)
    print(table)
    assert (program.wait(), program.stderr.rest()) == (0, "")
    rows = {words[0]: words[1:] for line in table.splitlines() if (words := line.split())}
    assert rows["max_connections"][0] == "5"
    assert 4 <= int(rows["max_connections"][1]) <= 5
    assert rows["max_connections"][3:5] == ["busy", "yes"]
    assert rows["max_in_flight"][:5] == ["256", "256", "10", "busy", "yes"]
    assert nothing_is_left(brum, scratch)


def test_a_limit_that_is_broken_is_named(brum: Brum, scratch: Path) -> None:
    path = brum.project("broken", {"sitecustomize.py": BROKEN})
    program = started(brum, scratch, "--json", PYTHONPATH=str(path), **SMALL)
    limits = found(program)
    assert [key for key, finding in limits.items() if finding["verdict"] == "broken"] == ["max_parked"]
    assert limits["max_parked"]["measured"]["reached"] > limits["max_parked"]["value"] == 12
    assert program.wait() == 1
    assert "max_parked" in program.stderr.rest()
    assert nothing_is_left(brum, scratch)


def test_ctrl_c_ends_it_and_leaves_nothing(brum: Brum, scratch: Path) -> None:
    program = started(brum, scratch)
    assert within(WAIT_S, lambda: len(brum.alive()) > 1)
    program.signal(signal.SIGINT)
    assert program.wait() == 130
    assert nothing_is_left(brum, scratch)
