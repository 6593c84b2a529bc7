"""What may happen to the directory under running programs; afterwards all is as before, and nobody was restarted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brummer.host.locks import is_locked
from tests.integration.programs import Brum, Hub, Instance, Program, within

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="platform: needs root to give directories away")
MOUNTS = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="platform: needs root and unshare for private mounts"
)

BACK_S = 5.0
"""The issue's own number; owners look every two to four seconds."""
NOISE_S = 1.0
ROOT = Path(__file__).parent.parent.parent


class World:
    """Two instances and a hub that knows both."""

    def __init__(self, brum: Brum) -> None:
        self.brum = brum
        self.directory = brum.instances = brum.home / "run" / "brummer" / "instances"
        self.instances: list[Instance] = [brum.instance(brum.project(name)) for name in ("web", "api")]
        self.hub: Hub = brum.hub().greet()
        assert self.all_ready()
        self.connections = self.all_connections()

    def states(self) -> dict[str, str]:
        return {item["instance_id"]: item["state"] for item in self.hub.call("instances_list")["instances"]}

    def all_ready(self) -> bool:
        return self.states() == {instance.id: "ready" for instance in self.instances}

    def all_connections(self) -> dict[str, int]:
        """Each link's oldest one, by our own port."""
        return {link["instance_id"]: link["local_port"] for link in self.hub.call("hub_status")["links"]}

    def published(self, instance: Instance) -> bool:
        """Its record is whole, and its life lock is there."""
        try:
            record = json.loads((self.directory / f"{instance.id}.json").read_bytes())
        except (OSError, ValueError):
            return False
        return record == instance.record and (self.directory / f"{instance.id}.lock").exists()

    def back_after_s(self) -> float:
        """Until every record is back, with all instances on the hub's list all the time; the list is not its memory."""
        started = time.monotonic()
        while not all(map(self.published, self.instances)):
            assert self.all_ready(), self.states()
            assert time.monotonic() - started < BACK_S + NOISE_S, sorted(self.directory.iterdir())
            time.sleep(0.05)
        took_s = time.monotonic() - started
        assert self.all_ready()
        assert self.seen_by_a_new_hub() == {instance.id for instance in self.instances}
        return took_s

    def seen_by_a_new_hub(self) -> set[str]:
        done = self.brum.run("ls", "--json")
        assert done.status == 0
        return {item["instance_id"] for item in json.loads(done.stdout)["instances"]}

    def works(self) -> None:
        """Nobody was dialled again, the old hub still follows the directory, and every call arrives."""
        assert self.all_connections() == self.connections
        late = self.brum.instance(self.brum.project(f"late-{time.monotonic_ns()}"))
        assert within(BACK_S, lambda: self.states().get(late.id) == "ready")
        late.signal(signal.SIGKILL)
        assert within(BACK_S, lambda: self.states().get(late.id) == "gone")
        for instance in self.instances:
            assert self.hub.call("scripts_list", instance=instance.id)["scripts"]

    def problems(self) -> dict[str, str]:
        return {each["code"]: each["detail"] for each in self.hub.call("hub_status")["problems"] if "path" in each}


@pytest.fixture
def world(brum: Brum) -> World:
    return World(brum)


def say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{text}\n")


@pytest.mark.promise("the-directory-comes-back")
@pytest.mark.parametrize("levels", [0, 2], ids=["itself", "with its parents"])
def test_removing_the_directory_twice_costs_five_seconds_and_no_restart(
    world: World, levels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    removed = [world.directory, *world.directory.parents][levels]
    took_s = []
    for _ in range(2):
        shutil.rmtree(removed)
        took_s.append(world.back_after_s())
    world.works()
    assert world.directory.stat().st_mode & 0o777 == 0o700
    say(capsys, f"{removed.name} removed twice: all back after {took_s[0]:.1f} and {took_s[1]:.1f} s")


def test_a_directory_that_is_moved_away_and_back(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    aside = world.brum.home / "aside"
    world.directory.rename(aside)
    time.sleep(0.2)
    aside.rename(world.directory)
    assert world.all_ready()
    world.back_after_s()

    world.directory.rename(aside)
    took_s = world.back_after_s()
    shutil.rmtree(world.directory)
    aside.rename(world.directory)  # with the old lock files, which nobody holds any more
    again_s = world.back_after_s()
    assert within(BACK_S, lambda: _all_locked(world))
    world.works()
    say(capsys, f"moved away: all back after {took_s:.1f} s; the old one put back: after {again_s:.1f} s")


def _all_locked(world: World) -> bool:
    return all(is_locked(world.directory / f"{instance.id}.lock") for instance in world.instances)


def test_a_directory_that_was_made_again_for_all_to_write_in_is_closed_to_others(world: World) -> None:
    shutil.rmtree(world.directory)
    world.directory.mkdir()
    world.directory.chmod(0o777)
    world.back_after_s()
    assert world.directory.stat().st_mode & 0o777 == 0o700
    world.works()


@AS_ROOT
def test_a_directory_of_another_user_is_refused_with_advice_and_used_again_once_it_is_ours(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(world.directory)
    world.directory.mkdir(mode=0o700)
    os.chown(world.directory, 54321, 54321)
    for instance in world.instances:
        assert "chown" in instance.stderr.until("is not published", BACK_S + NOISE_S)
    assert list(world.directory.iterdir()) == []
    assert world.all_ready(), "that the directory is bad says nothing of the instances"
    assert "chown" in world.problems()["directory_foreign_owner"]
    refused = world.brum.run("--no-tui", "-d", world.brum.project("third"))
    assert (refused.status, "chown" in refused.stderr) == (1, True)

    os.chown(world.directory, os.geteuid(), os.getegid())
    took_s = world.back_after_s()
    assert within(BACK_S, lambda: world.problems() == {})
    world.works()
    say(capsys, f"given back: all back after {took_s:.1f} s")


def _delete_record(world: World, instance: Instance) -> None:
    (world.directory / f"{instance.id}.json").unlink()


def _delete_lock(world: World, instance: Instance) -> None:
    (world.directory / f"{instance.id}.lock").unlink()


def _delete_all(world: World, instance: Instance) -> None:
    for path in world.directory.glob(f"*{instance.id}*"):
        path.unlink()


def _overwrite(world: World, instance: Instance) -> None:
    (world.directory / f"{instance.id}.json").write_text("{}")


def _put_a_link(world: World, instance: Instance) -> None:
    path = world.directory / f"{instance.id}.json"
    path.unlink()
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("harm", [_delete_record, _delete_lock, _delete_all, _overwrite, _put_a_link])
def test_what_is_removed_or_spoilt_by_hand_is_published_again_within_five_seconds(
    world: World, harm: Callable[[World, Instance], None], capsys: pytest.CaptureFixture[str]
) -> None:
    harm(world, world.instances[0])
    took_s = world.back_after_s()
    assert within(BACK_S, lambda: _all_locked(world))
    assert within(BACK_S, lambda: world.problems() == {})
    world.works()
    say(capsys, f"{harm.__name__.strip('_')}: back after {took_s:.1f} s")


def test_a_hub_that_starts_before_there_is_a_directory_sees_it_come(brum: Brum) -> None:
    brum.instances = brum.home / "run" / "brummer" / "instances"
    hub = brum.hub().greet()
    assert hub.call("instances_list") == {"instances": []}
    assert not brum.instances.parent.exists(), "a hub makes no directory"
    instance = brum.instance(brum.project("web"))
    assert within(BACK_S, lambda: [item["state"] for item in hub.call("instances_list")["instances"]] == ["ready"])
    instance.end()
    assert within(BACK_S, lambda: [item["state"] for item in hub.call("instances_list")["instances"]] == ["gone"])


def in_own_mounts(brum: Brum, scenario: str) -> Any:
    """What a scenario found that may mount what it likes, where nobody else sees it."""
    module = "tests.integration.scenarios.discovery_mounts"
    command: list[str | Path] = ["unshare", "--mount", sys.executable, "-m", module, scenario, brum.home]
    program: Program = brum.start(*command, PYTHONPATH=str(ROOT))
    try:
        status = program.wait(90)
    except subprocess.TimeoutExpired:
        program.signal(signal.SIGKILL)
        raise
    assert status == 0, program.stderr.rest()[-4000:]
    return json.loads(program.stdout.rest().splitlines()[-1])


@pytest.mark.promise("the-directory-comes-back")
@MOUNTS
def test_a_full_directory_is_reported_with_advice_and_used_again_once_there_is_space(
    brum: Brum, capsys: pytest.CaptureFixture[str]
) -> None:
    found = in_own_mounts(brum, "full")
    say(capsys, f"full: {json.dumps(found)}")
    assert found["size_bytes"] == 64 << 10
    assert found["first_said"].count("is not published") == 1
    assert "full" in found["first_said"]
    assert "Free some space" in found["first_said"]
    assert found["listed_while_full"] == ["ready"]
    assert found["called_while_full"] is True
    assert found["second_status"] == 1
    assert "Free some space" in found["second_said"]
    assert found["left_by_second"] == []
    assert found["problems"] == ["directory_full"], "that the record is missing is its consequence"
    assert found["printed_first"] == "directory_full"
    assert found["printed_later"] == "healthy"
    assert found["back_after_s"] < BACK_S + NOISE_S
    assert found["second_later"] == "ready"


@pytest.mark.promise("the-directory-comes-back")
@MOUNTS
def test_a_read_only_directory_is_reported_with_advice_and_costs_no_running_instance(
    brum: Brum, capsys: pytest.CaptureFixture[str]
) -> None:
    found = in_own_mounts(brum, "read_only")
    say(capsys, f"read-only: {json.dumps(found)}")
    assert found["listed"] == ["ready", "ready"]
    assert found["listed_by_a_new_hub"] == 2
    assert found["second_status"] == 1
    assert "Mount it for writing" in found["second_said"]
    assert found["withdrawn_status"] == 0
    assert found["listed_after_deaths"] == ["gone", "gone"]
    assert found["problems"] == ["directory_read_only"], "that the records of the dead stay is its consequence"
    assert found["printed_first"] == "directory_read_only"
    assert found["left_when_writable"] == []
