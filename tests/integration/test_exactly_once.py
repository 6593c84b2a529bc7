"""A thousand calls through two hubs while their instances are cut off, stopped, frozen, killed, and short of memory."""

import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.scenarios.exactly_once import Asked, Event, Project, broken, exactly_once

CALLS: Final = 1_000
SEED: Final = int(os.environ.get("SEED", str(int(time.time()))))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: control groups, and one clock for processes")


@pytest.mark.promise("exactly-once")
async def test_the_answers_of_a_thousand_calls_match_what_their_instances_did(tmp_path: Path) -> None:
    run = await exactly_once(tmp_path, CALLS, SEED)
    print(f"seed {SEED}: {CALLS} calls in {run.took_s:.1f} s")
    for row in run.rows():
        print(*row, sep="; ")
    assert run.problems == []
    events = Counter(event.kind for project in run.projects for event in project.events)
    assert min(events["stopped"], events["killed"]) > 0
    connections = sum((proxy.counts for project in run.projects for proxy in project.proxies), Counter[str]())
    assert min(connections["cuts"], connections["stalls"], connections["repeats"]) > 0
    assert sum(len(project.asked) for project in run.projects) == CALLS


UNKNOWN: Final = {"code": "outcome_unknown", "retryable": False, "outcome": "unknown"}


@pytest.mark.parametrize(
    ("outcome", "error", "begun", "problem"),
    [
        ("ok", {}, [], "was ok and ran 0 times"),
        ("ok", {}, [1.5, 1.6], "was ok and ran 2 times"),
        ("not_executed", {"code": "busy", "retryable": True}, [1.5], "was not_executed and ran 1 times"),
        ("unknown", UNKNOWN | {"retryable": True}, [], "may have run and is called retryable"),
        ("unknown", UNKNOWN, [1.5, 1.6], "was unknown and ran 2 times"),
        ("unknown", UNKNOWN, [2.5], "began after its answer"),
        ("unknown", UNKNOWN | {"code": "call_forgotten"}, [1.5], "is unknown for no reason"),
        ("cancelled", {}, [4.5], "was cancelled while its instance did not run, and began afterwards"),
        ("cancelled", {}, [1.5, 1.6], "was cancelled and ran 2 times"),
        ("failed", {"code": "internal"}, [1.5], "has the outcome 'failed'"),
    ],
)
def test_the_judgement_sees_each_broken_promise(
    tmp_path: Path, outcome: str, error: dict[str, Any], begun: list[float], problem: str
) -> None:
    stopped = Event("stopped", 1.2, 4.0 if outcome == "cancelled" else 1.3)
    if problem != "is unknown for no reason":
        events = [stopped, Event("killed", 1.9)] if outcome == "unknown" else [stopped]
    else:
        events = []
    project = Project(tmp_path, "p", events=events)
    asked = Asked(1, 0, 0.0, 1.0, 2.0, outcome, error)
    assert problem in list(broken(project, asked, begun))


def test_the_judgement_accepts_what_is_true(tmp_path: Path) -> None:
    project = Project(tmp_path, "p", events=[Event("killed", 1.9, 3.0)])
    refused = {"code": "busy", "retryable": True}
    assert not list(broken(project, Asked(1, 0, 0.0, 1.0, 2.0, "ok"), [1.5]))
    assert not list(broken(project, Asked(1, 0, 0.0, 1.0, 2.0, "not_executed", refused), []))
    assert not list(broken(project, Asked(1, 0, 0.0, 1.0, 2.0, "unknown", UNKNOWN), [1.5]))
    assert not list(broken(project, Asked(1, 0, 0.0, 1.0, 2.0, "cancelled"), [1.5]))
