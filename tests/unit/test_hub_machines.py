"""A hub with another machine, whose `ssh` is a stand-in: what it lists, what it says of the machine, what it leaves."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import psutil
import pytest

from brummer.contract import texts
from brummer.contract.whole_lists import whole_list
from brummer.discovery.directory import VARIABLE
from brummer.discovery.record import Record
from brummer.fleet import bridge_lines
from brummer.health.catalog import Observed, explain
from brummer.health.observe import of_machines
from brummer.health.status import machine_status
from brummer.hub.direct_calls import tool_result
from brummer.hub.service import Hub, running_hub
from brummer.network.wake import ClockSet, Paused

from .discovery_support import directory_in_memory, record_of_this_process

WITHIN_S: Final = 30

SSH: Final = """\
#!/bin/sh
case "$*" in *-O*) exit 0 ;; esac
[ -e lost ] && { echo 'No route to host' >&2; exit 255; }
cat roster
echo $$ >pid
exec cat
"""
"""It forwards nothing, and repeats each question, as a bridge does. Its directory is that of the hub."""


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield path


@pytest.fixture
def environ(directory: Path, tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".brum.toml").write_text("[servers.box]\nurl = 'ssh://me@devbox'\n")
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    state = {"XDG_STATE_HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return {VARIABLE: str(directory), "HOME": str(tmp_path), **state}


def put_roster(directory: Path, *records: Record) -> None:
    greeting = bridge_lines.greeting("0.2.0", "machine")
    (directory / "roster").write_bytes(b"%b\n%b\n" % (greeting, bridge_lines.roster(records, {})))


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not holds():
            await asyncio.sleep(0.01)


async def listed(hub: Hub) -> dict[str, Any]:
    result = await whole_list(partial(tool_result, hub, "instances_list"))
    content: dict[str, Any] = result["structuredContent"]
    return content


async def test_a_hub_lists_the_instances_of_a_machine_and_says_when_it_is_lost(
    environ: dict[str, str], directory: Path, tmp_path: Path
) -> None:
    record = record_of_this_process(Path("/projects/app"))
    put_roster(directory, record)
    async with running_hub(environ, tmp_path) as hub:
        await until(lambda: [each.state for each in hub.instances.machines] == ["ready"])
        (entry,) = hub.instances
        assert (entry.id, entry.host) == (f"{record.instance_id}@box", "box")
        await until(lambda: hub.instances.machines[0].rtt_s is not None)
        status = hub.status()
        (machine,) = status.machines or []
        assert (machine.host, machine.carrier, machine.instances) == ("box", "ssh", 1)
        (directory / "lost").touch()
        psutil.Process(int((directory / "pid").read_text())).kill()
        await until(lambda: hub.instances.machines[0].state == "unreachable")
        found = await listed(hub)
        assert [each["instance_id"] for each in found["instances"]] == [entry.id]
        assert [each["state"] for each in found["machines"]] == ["unreachable"]
        assert "box (over ssh): unreachable" in texts.rendered("instances_list", found)
        hub.on_event(ClockSet(5.0))
        hub.on_event(Paused(60.0))
        await until(lambda: "No route to host" in hub.instances.machines[0].detail)
    assert not psutil.Process().children(recursive=True)


async def test_a_machine_that_was_never_reached_is_a_problem_and_does_not_hide_local_ones(
    environ: dict[str, str], directory: Path, tmp_path: Path
) -> None:
    (directory / "lost").touch()
    async with running_hub(environ, tmp_path) as hub:
        async with asyncio.timeout(WITHIN_S):
            await hub.instances.first_machines()
        (problem,) = hub.status().problems
        assert (problem.code, problem.instance) == ("machine_failed", "box")
        assert "No route to host" in problem.detail
        assert list(hub.instances) == []


async def test_a_command_may_leave_machines_out(environ: dict[str, str], tmp_path: Path) -> None:
    async with running_hub(environ, tmp_path, concerns=lambda each: isinstance(each, Record) or not each.is_box) as hub:
        assert hub.instances.machines == []
        assert b"machines" not in msgspec.json.encode(hub.status())


def machine(state: str, instances: int = 1) -> Any:
    facts = {"name": "box", "carrier": "ssh", "since_s": 12.0, "rtt_s": 0.0034, "detail": "cut"}
    return SimpleNamespace(state=state, instances=instances, **facts)


class Known(list[Any]):
    """Stands where `Instances` stands."""

    machines: list[Any]


def known(state: str, *entries: Any) -> Any:
    found = Known(entries)
    found.machines = [machine(state)]
    return found


def test_an_unreachable_machine_explains_its_own_links_and_no_other() -> None:
    there = SimpleNamespace(id="a@box", host="box", is_gone=False)
    here = SimpleNamespace(id="a", host="", is_gone=False)
    (found,) = of_machines(known("unreachable", there, here))
    assert (found.code, found.instances, found.since_s) == ("machine_unreachable", ("a@box",), 12.0)
    for code in ("remote_unreachable", "link_suspect", "link_retrying", "link_cut", "link_impostor"):
        links = [Observed(code, "", 5.0, (each.id,)) for each in (there, here)]
        assert [each.code for each in explain([found, *links])] == ["machine_unreachable", code]
    (alone,) = of_machines(known("unreachable", here))
    assert alone.instances == ("box",)
    assert list(of_machines(known("ready", there))) == list(of_machines(known("connecting", there))) == []


async def test_a_machine_that_is_told_of_in_several_answers_is_one_in_the_whole_list() -> None:
    pages = [
        {"instances": [{"instance_id": "a"}], "machines": [{"host": "box", "state": "connecting"}], "next_cursor": "c"},
        {"instances": [{"instance_id": "b"}], "machines": [{"host": "box", "state": "failed"}], "next_cursor": "d"},
        {"instances": [], "machines": [{"host": "second", "state": "failed"}]},
    ]

    async def ask(_: bytes) -> dict[str, Any]:
        return {"structuredContent": pages.pop(0)}

    whole = await whole_list(ask)
    assert whole["structuredContent"] == {
        "instances": [{"instance_id": "a"}, {"instance_id": "b"}],
        "machines": [{"host": "box", "state": "failed"}, {"host": "second", "state": "failed"}],
    }


def test_the_status_of_a_machine_has_its_round_trip_in_milliseconds() -> None:
    status = machine_status(machine("ready"))
    assert (status.host, status.rtt_ms, status.since_s) == ("box", 3.4, 12.0)


def test_without_another_machine_nothing_of_the_fleet_is_imported() -> None:
    program = (
        "import sys, brummer.hub.service, brummer.instance.service, brummer.cli.commands.hub;"
        "sys.exit(any(name.startswith('brummer.fleet') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
