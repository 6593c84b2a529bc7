"""The loopback is cut for half a minute with a mutating call in flight on each of three instances.

The scenario runs in a network namespace of its own, so that it can do what it likes to its network.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from brummer.contract.tools import CALL_ANSWER_S
from tests.integration.namespaces import needs_namespaces, play

CUT_S: Final = 30

RULES: Final = {
    "requests dropped": "-p tcp --dport 7777:7999 -j DROP",
    "requests rejected": "-p tcp --dport 7777:7999 -j REJECT",
    "answers dropped": "-p tcp --sport 7777:7999 -j DROP",
}

pytestmark = needs_namespaces


async def cut(folder: Path, rule: str, **settings: str) -> dict[str, Any]:
    arguments = (CUT_S, *rule.split())
    found: dict[str, Any] = await play(
        "network_cut", folder, *arguments, tool="iptables", within_s=CUT_S + 90, **settings
    )
    return found


def shown(name: str, found: dict[str, Any]) -> str:
    """A line for who reads the test's output."""
    calls = [f"{call['took_s']:.1f} s {call['error'] or 'answered'}" for call in (found["during"][0], found["late"][0])]
    ends = [result.get("status") or result["error"]["outcome"] for result in found["results"]]
    return f"{name}: ready {found['ready_after_s']:.3f} s after it; in flight {ends}; calls in the cut {calls}"


@pytest.mark.promise("half-open-is-noticed")
async def test_calls_survive_a_cut_path_and_links_are_ready_a_second_after_it(tmp_path: Path) -> None:
    runs = [asyncio.create_task(cut(tmp_path / name.replace(" ", "-"), rule)) for name, rule in RULES.items()]
    basic = {"BRUMMER_USE_ROBUST_NETWORKING": "false"}
    runs.append(asyncio.create_task(cut(tmp_path / "basic", RULES["requests dropped"], **basic)))
    await asyncio.wait(runs)
    *robust, without = [task.result() for task in runs]
    for name, found in zip(RULES, robust, strict=True):
        print(shown(name, found))
        assert found["cut_s"] >= CUT_S
        assert set(found["states_in_the_cut"]) <= {"suspect", "retrying", "connecting"}, name
        assert found["lines"] == [1, 1, 1], name
        assert [(result["status"], result["exit_code"]) for result in found["results"]] == [("exited", 0)] * 3
        assert [result["last_lines"] for result in found["results"]] == [["done"]] * 3
        assert found["ready_after_s"] <= 1.0, name
        for call in (*found["during"], *found["late"]):
            assert call["took_s"] <= CALL_ANSWER_S + 1
            assert call["error"] in (None, "instance_unavailable", "deadline_exceeded", "breaker_open")
        assert [call["error"] for call in found["late"]] == [None] * 3, name  # parked for nine seconds
    print(shown("the basic link, requests dropped", without))
    assert without["lines"] == [1, 1, 1]  # it loses answers, but it repeats nothing either
