"""Clients in other environments and other languages: a script each, which is told the way and prints a report."""

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from brummer.contract.texts import lines_of
from brummer.contract.tools import INSTANCE_TOOLS, TOOLS
from tests.integration.programs import BRUM, Brum, Instance

LIMIT_S = 60

FRONTS = ["stdio", "http", "instance"]


def way_to(front: str, brum: Brum, instance: Instance, mode: str) -> dict[str, Any]:
    """The scripts' one argument: a URL with headers, or else a command with its surroundings."""
    project = instance.record["directory"]
    if front == "http":
        url = brum.hub_over_http(cwd=Path(project)).url
        return {"mode": mode, "url": url, "headers": brum.authorization}
    if front == "instance":
        return {"mode": mode, "url": instance.url, "headers": {"Authorization": f"Bearer {instance.token}"}}
    surroundings = {"env": brum.environment, "cwd": project}
    return {"mode": mode, "url": None, "command": str(BRUM), "args": ["--mcp"], **surroundings}


def report_of(command: Sequence[str | Path], way: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run([*command, json.dumps(way)], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def check_every_front(command: Sequence[str | Path], brum: Brum, mode: str, protocol: str) -> None:
    """All fronts at the same time, because each client waits some seconds for progress; an instance for each."""
    ways = {front: way_to(front, brum, brum.instance(brum.project(front)), mode) for front in FRONTS}
    with ThreadPoolExecutor() as pool:
        reports = pool.map(lambda way: report_of(command, way), ways.values())
        for front, report in zip(ways, reports, strict=True):
            check(report, front, protocol)


def check(report: dict[str, Any], front: str, protocol: str) -> None:
    """The same for every client: it has seen the tools, a success, a failure with its fields, and progress."""
    expected = INSTANCE_TOOLS if front == "instance" else TOOLS
    assert report["protocol"] == protocol
    assert report["tools"] == [tool.name for tool in expected]
    for name in ("scripts", "ended", "found", "running", "waited"):
        assert report[name]["is_error"] is False, report[name]
    scripts = report["scripts"]["content"]["scripts"]
    assert [script["name"] for script in scripts] == ["dev", "hello", "fail", "quiet"]
    ended = report["ended"]["content"]
    assert (ended["status"], ended["exit_code"]) == ("exited", 0)
    assert [line["process"] for line in lines_of(report["found"]["content"])] == ["hello"]
    assert report["running"]["content"]["status"] == "ready"
    assert report["failed"]["is_error"] is True
    assert report["failed"]["content"]["error"]["code"] == "not_found"
    assert report["unknown_tool"] == -32602
    assert report["waited"]["content"]["matched"] is False
    assert report["progress"] == [[pytest.approx(3.0, abs=0.5), 3.5]]
