"""What `brum doctor` finds in a directory, and what it says about that."""

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from brummer.hub import doctor
from brummer.hub.doctor import Finding, examine

from .discovery_support import Owner, bad_path, directory_in_memory, put, record_of_this_process

OUR_PID = os.getpid()


class Machine:
    """A private directory, the coding agents that have the hub, and who listens on the instances' ports: port → (pid,
    command).
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.agents: list[str] = []
        self.listeners: dict[int, tuple[int, str]] = {}

    async def findings(self) -> dict[str, list[Finding]]:
        """By subject."""
        found: dict[str, list[Finding]] = {}
        for finding in await examine({"BRUMMER_INSTANCES_DIR": str(self.directory)}, lambda: self.agents):
            found.setdefault(finding.subject, []).append(finding)
        return found

    async def finding(self, subject: str) -> Finding:
        (finding,) = (await self.findings())[subject]
        return finding


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with directory_in_memory() as directory:
        machine = Machine(directory)
        monkeypatch.setattr(doctor, "listeners", lambda _: machine.listeners)
        monkeypatch.setattr(doctor, "filesystem_has_events", lambda _: True)
        yield machine


async def test_where_all_is_well_there_is_no_advice_but_to_configure_an_agent(machine: Machine) -> None:
    found = await machine.findings()
    assert list(found) == ["directory", "file system", "watcher", "instances", "locks", "clocks", "ports", "agents"]
    verdicts = {subject: finding.verdict for subject, (finding,) in found.items()}
    assert verdicts == dict.fromkeys(found, "ok") | {"agents": "note"}
    assert [subject for subject, (finding,) in found.items() if finding.advice] == ["agents"]


async def test_a_directory_that_is_no_path_is_the_only_finding() -> None:
    (finding,) = await examine({"BRUMMER_INSTANCES_DIR": "not/absolute"}, list)
    assert (finding.subject, finding.verdict) == ("directory", "wrong")
    assert "BRUMMER_INSTANCES_DIR" in finding.advice


async def test_a_directory_that_does_not_exist_yet_is_no_fault(machine: Machine) -> None:
    machine.directory = machine.directory / "later"
    found = await machine.findings()
    assert [finding.verdict for finding in found["directory"]] == ["note"]
    assert "later" in found["directory"][0].detail
    assert not machine.directory.exists()


@pytest.mark.parametrize("mode", [0o755, 0o701])
async def test_a_directory_that_is_open_to_others_is_wrong_and_the_advice_closes_it(
    machine: Machine, mode: int
) -> None:
    machine.directory.chmod(mode)
    found = await machine.findings()
    (finding,) = found["directory"]
    assert (finding.verdict, finding.advice) == ("wrong", f"chmod 700 {machine.directory}")
    assert not {"watcher", "instances", "locks"} & set(found), "nothing in it is looked at"
    assert {"clocks", "ports", "agents"} <= set(found)


async def test_a_file_in_place_of_the_directory_is_wrong(machine: Machine) -> None:
    machine.directory = machine.directory / "file"
    machine.directory.touch()
    finding = await machine.finding("directory")
    assert (finding.verdict, "is not a directory" in finding.detail) == ("wrong", True)


async def test_a_directory_that_can_not_be_looked_at_is_wrong_with_the_reason(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Path) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "lstat", refused)
    finding = await machine.finding("directory")
    assert (finding.verdict, finding.detail) == ("wrong", f"{machine.directory}: {os.strerror(errno.EACCES)}")


async def test_a_directory_of_another_user_is_wrong(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    another = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: another)
    finding = await machine.finding("directory")
    assert (finding.verdict, "belongs to user" in finding.detail) == ("wrong", True)


async def test_a_directory_that_can_not_be_written_to_is_wrong(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    finding = await machine.finding("directory")
    assert (finding.verdict, "can't be written to" in finding.detail) == ("wrong", True)


async def test_a_file_system_without_events_is_noted_with_advice(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "filesystem_has_events", lambda _: False)
    finding = await machine.finding("file system")
    assert finding.verdict == "note"
    assert "local directory" in finding.advice


async def test_instances_that_run_are_named_and_their_ports_are_theirs(machine: Machine) -> None:
    record = record_of_this_process()
    await asyncio.to_thread(put, machine.directory, record)
    machine.listeners = {7777: (OUR_PID, "brum")}
    found = await machine.findings()
    assert [(finding.verdict, finding.detail) for finding in found["instances"]] == [("ok", record.instance_id)]
    assert [finding.verdict for finding in found["ports"]] == ["ok"]
    assert "port" not in found


async def test_records_that_a_hub_refuses_are_reported_once_for_each_reason(machine: Machine) -> None:
    for number in range(3):
        bad_path(machine.directory, number).write_text("{")
    bad_path(machine.directory, name="new").write_text('{"version": 4000}')
    found = (await machine.findings())["record"]
    by_code = {finding.detail.split(": ")[1]: finding for finding in found}
    assert set(by_code) == {"malformed", "newer_version"}
    assert {finding.verdict for finding in found} == {"wrong"}
    assert by_code["malformed"].detail.endswith("(and 2 more like it)")
    assert (by_code["malformed"].advice != "", by_code["newer_version"].advice) == (True, "")
    assert "more like it" not in by_code["newer_version"].detail


@pytest.mark.parametrize("content", ["[]", "{}", '{"pid": null}'])
async def test_ports_of_strangers_are_noted_whatever_else_is_in_the_directory(machine: Machine, content: str) -> None:
    bad_path(machine.directory).write_text(content)
    machine.listeners = {7778: (OUR_PID, "node"), 7777: (0, ""), 7779: (0, "")}
    found = await machine.findings()
    assert {finding.verdict for finding in found["port"]} == {"note"}
    details = [finding.detail for finding in found["port"]]
    assert details == sorted(details)
    assert f"7778 is taken by node (pid {OUR_PID})" in " ".join(details)
    assert "ports" not in found


async def test_a_lock_whose_holder_is_stopped_is_wrong_and_the_advice_continues_it(machine: Machine) -> None:
    with lock_of_another(machine.directory) as owner:
        found = await machine.findings()
        assert [finding.verdict for finding in found["locks"]] == ["ok"]
        owner.process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, owner.process.pid, os.WSTOPPED)
        found = await machine.findings()
        assert "locks" not in found
        assert [(finding.verdict, finding.advice) for finding in found["lock"]] == [
            ("wrong", f"kill -CONT {owner.process.pid}")
        ]


@contextlib.contextmanager
def lock_of_another(directory: Path) -> Iterator[Owner]:
    """A process that holds a lock, and has written its number into it."""
    owner = Owner(directory, Path("/projects/frontend"))
    (path,) = directory.glob("*.lock")
    path.write_text(f"{owner.process.pid}\n")
    try:
        yield owner
    finally:
        owner.kill()


async def test_the_coding_agents_that_have_the_hub_are_named(machine: Machine) -> None:
    assert (await machine.finding("agents")).verdict == "note"
    machine.agents = ["Codex", "Zed"]
    finding = await machine.finding("agents")
    assert (finding.verdict, finding.detail, finding.advice) == ("ok", "configured: Codex, Zed", "")
