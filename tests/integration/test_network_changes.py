"""Interfaces, addresses and routes change under a running hub; what is no change is no verdict."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest

from tests.integration.programs import BRUM

SCENARIO: Final = Path(__file__).parent / "scenarios" / "network_changes.py"
RUNS: Final = 3
"""Side by side, each in a namespace of its own: one late verdict on a busy machine is not the hub's."""

VERDICT_S: Final = 0.3
EXPECTED: Final = {
    "carrier lost": "the default interface is down",
    "carrier found": "the default interface is up",
    "interface down": "the default route for IPv4 is gone",
    "interface up": "there is a default route for IPv4",
    "address replaced": "our IPv4 address changed from 10.9.0.2 to 10.8.0.2",
    "default route lost": "the default route for IPv4 is gone",
    "default route found": "there is a default route for IPv4",
    "loopback down": "the loopback interface is down",
    "loopback up": "the loopback interface is up",
}

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="platform: network namespaces need root on Linux"
)


async def run(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    unshare = shutil.which("unshare")
    assert unshare
    assert shutil.which("ip"), "make integration-test installs it"
    pipe = asyncio.subprocess.PIPE
    command = (unshare, "--net", sys.executable, SCENARIO, BRUM, folder)
    scenario = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(120):
            stdout, stderr = await scenario.communicate()
    finally:
        if scenario.returncode is None:
            scenario.kill()
            await scenario.wait()
    assert scenario.returncode == 0, stderr.decode()[-2000:]
    found: dict[str, Any] = json.loads(stdout)
    return found


async def test_a_change_is_noticed_soon_and_churn_is_no_change(tmp_path: Path) -> None:
    runs = await asyncio.gather(*(run(tmp_path / str(number)) for number in range(RUNS)))
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
