"""Interfaces, addresses and routes change under a running hub; what is no change is no verdict."""

import asyncio
from pathlib import Path
from statistics import median
from typing import Final

import pytest

from tests.integration.namespaces import needs_namespaces, play

RUNS: Final = 3
"""Side by side, each in a namespace of its own: one late verdict on a busy machine is not the hub's."""

VERDICT_S: Final = 0.3
EXPECTED: Final = {
    "carrier lost": "no default interface is up",
    "carrier found": "a default interface is up",
    "interface down": "the default route for IPv4 is gone",
    "interface up": "there is a default route for IPv4",
    "address replaced": "our IPv4 address changed from 10.9.0.2 to 10.8.0.2",
    "default route lost": "the default route for IPv4 is gone",
    "default route found": "there is a default route for IPv4",
    "loopback down": "the loopback interface is down",
    "loopback up": "the loopback interface is up",
}

pytestmark = needs_namespaces


@pytest.mark.promise("network-churn")
async def test_a_change_is_noticed_soon_and_churn_is_no_change(tmp_path: Path) -> None:
    runs = await asyncio.gather(
        *(play("network_changes", tmp_path / str(number), tool="ip", within_s=120) for number in range(RUNS))
    )
    for name, reason in EXPECTED.items():
        seen = [found["changes"][name] for found in runs]
        print(f"{name}: {median(each['after_s'] for each in seen) * 1000:.0f} ms", end="; ")
        for each in seen:
            assert each["kind"] == "network"
            assert any(said.startswith(reason) for said in each["reasons"]), (name, each["reasons"])
        assert median(each["after_s"] for each in seen) <= VERDICT_S, name
    ready_s = median(found["ready_after_lo_s"] for found in runs)
    print(f"ready {ready_s:.2f} s after lo was up", end="; ")
    assert ready_s <= 1.0
    for found in runs:
        assert found["before"] == 0
        assert found["verdicts_in_churn"] == 0
        assert found["states"] == ["ready", "ready"]
