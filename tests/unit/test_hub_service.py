"""A whole hub in this process: with a directory of its own, and without a client."""

import asyncio
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from brummer.calls.caller import Caller
from brummer.discovery.directory import VARIABLE
from brummer.hub.service import Hub, running_hub
from brummer.telemetry.traces import TRACES_VARIABLE, TracesUnavailable

from .discovery_support import Owner, directory_in_memory

WITHIN_S = 30


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    with directory_in_memory() as directory:
        yield {
            VARIABLE: str(directory),
            "HOME": str(tmp_path),
            "XDG_CONFIG_HOME": str(tmp_path),
            "XDG_STATE_HOME": str(tmp_path),
        }


def problems_of(hub: Hub) -> list[str]:
    return [problem.code for problem in hub.problems]


async def until_listed(hub: Hub, wanted: dict[str, bool]) -> None:
    """Instance → whether it is gone."""
    async with asyncio.timeout(WITHIN_S):
        while {entry.id: entry.is_gone for entry in hub.instances} != wanted:
            await asyncio.sleep(0)


async def test_a_hub_lists_instances_from_before_and_after_its_start_and_their_end(
    environ: dict[str, str], tmp_path: Path
) -> None:
    directory = Path(environ[VARIABLE])
    first = await asyncio.to_thread(Owner, directory, Path("/projects/first"))
    await asyncio.to_thread(first.publish)
    async with running_hub(environ, tmp_path) as hub:
        await until_listed(hub, {first.record.instance_id: False})
        second = await asyncio.to_thread(Owner, directory, Path("/projects/second"))
        await asyncio.to_thread(second.publish)
        await until_listed(hub, {first.record.instance_id: False, second.record.instance_id: False})
        await asyncio.to_thread(first.kill)
        await until_listed(hub, {first.record.instance_id: True, second.record.instance_id: False})
        assert problems_of(hub) == []
    await asyncio.to_thread(second.kill)


async def test_a_hub_has_the_servers_of_the_settings_and_no_monitor_without_robust_networking(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / ".brum.toml").write_text(
        "use_robust_networking = false\n[servers.docs]\nurl = 'http://127.0.0.1:9/mcp'\n"
    )
    async with running_hub(environ, tmp_path) as hub:
        assert problems_of(hub) == []
        assert [(entry.id, entry.robust) for entry in hub.instances] == [("docs", None)]


async def test_a_directory_that_is_no_path_is_a_problem_and_the_hub_serves(
    environ: dict[str, str], tmp_path: Path
) -> None:
    async with running_hub({**environ, VARIABLE: "not/absolute"}, tmp_path) as hub:
        async with asyncio.timeout(WITHIN_S):
            await hub.instances.first_scan()
        assert list(hub.instances) == []
        assert [problem.code for problem in hub.status().problems] == ["directory_not_a_directory"]


@pytest.mark.parametrize("is_installed", [True, False])
async def test_traces_that_are_not_installed_are_a_problem_and_the_hub_serves(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_installed: bool
) -> None:
    if not is_installed:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    async with running_hub({**environ, TRACES_VARIABLE: "true"}, tmp_path) as hub:
        assert problems_of(hub) == ([] if is_installed else [TracesUnavailable.code])
        assert (hub.instances.make_caller is Caller) is not is_installed


async def test_a_working_directory_that_is_gone_is_a_problem_and_the_hub_serves(
    environ: dict[str, str], tmp_path: Path
) -> None:
    async with running_hub(environ, tmp_path / "gone") as hub:
        assert problems_of(hub) == ["working_directory_gone"]
