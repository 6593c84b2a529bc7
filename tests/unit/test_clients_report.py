"""The faults that `make clients-test` finds in the report of a client."""

from typing import Any

import pytest

from brummer.contract.tools import TOOLS
from tests.clients.run import faults, row
from tests.clients.story import calls

GOOD = {"ok": True, "said": "ready"}
BAD = {"ok": False, "said": "timed out"}


def report(**changed: Any) -> dict[str, Any]:
    """The report of a client without a fault, with these changes."""
    names = [tool.name for tool in TOOLS]
    good = {"tools": names, "calls": dict.fromkeys(names, GOOD), "slow": [BAD, GOOD], "starts": 1}
    return {**good, "ended_early": {}, "before": GOOD, "same": GOOD, "next": GOOD, **changed}


def test_the_story_calls_each_tool_once() -> None:
    assert sorted(tool for tool, _, _ in calls("shop")) == sorted(tool.name for tool in TOOLS)


@pytest.mark.parametrize("kind", ["stdio", "http"])
def test_a_client_that_did_everything_has_no_fault(kind: str) -> None:
    assert list(faults(report(), kind)) == []
    assert row(report()) == ("16 of 16", "16 of 16", "ready at try 2", "yes", "yes")


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"crashed": "ImportError"}, "the driver"),
        ({"ended_early": {"first": "ConnectionError"}}, "the first session"),
        ({"tools": [tool.name for tool in TOOLS if tool.name != "wait_for"]}, "tools missing from the list"),
        ({"calls": {"wait_for": BAD}}, "wait_for"),
        ({"slow": [BAD] * 6}, "the server that needs 12 s"),
        ({"slow": []}, "the server that needs 12 s"),
        ({"starts": 2}, "the server that needs 12 s"),
    ],
)
def test_a_failed_step_of_a_client_is_a_fault_on_either_front(changed: dict[str, Any], what: str) -> None:
    for kind in ("stdio", "http"):
        assert [fault for fault, _ in faults(report(**changed), kind)] == [what]


def test_after_a_restart_of_the_hub_the_same_session_counts_over_http_and_the_next_one_over_stdio() -> None:
    lost = report(same=BAD)
    assert list(faults(lost, "stdio")) == []
    assert [what for what, _ in faults(lost, "http")] == ["the same session after a restart of the hub"]
    gone = report(next=None, ended_early={"next": "ConnectionError"})
    assert [what for what, _ in faults(gone, "stdio")] == ["the next session after a restart of the hub"]
