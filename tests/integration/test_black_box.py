"""What is still known of an instance that was killed: through the hub that saw it die, and one that never saw it."""

import json
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from brummer.contract.texts import lines_of
from tests.integration.programs import DIES_S, WAIT_S, Brum, Hub, Instance, within

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: a death is told by a pidfd")

TREES = 20
TREE_PY = """\
# Prints from a child, every other one from a grandchild in a session of its own whose parent has gone.
import os, sys, time
if os.fork():
    time.sleep(1_000_000)
if int(sys.argv[1]) % 2:
    os.setsid()
    if os.fork():
        os._exit(0)
for number in range(1_000_000):
    print("tree", sys.argv[1], "line", number, flush=True)
    time.sleep(0.01)
"""
PROCFILE = "\n".join(
    [
        *(f"tree{number}: {sys.executable} tree.py {number}" for number in range(TREES)),
        "bad: echo no route to the cellar >&2; exit 3",
        "quiet: echo I am quiet; sleep 300",
    ]
)


@pytest.fixture
def project(brum: Brum) -> Path:
    return brum.project("orchard", {"Procfile": PROCFILE, "tree.py": TREE_PY})


@pytest.fixture
def hub(brum: Brum) -> Hub:
    return brum.hub().greet()


def killed(brum: Brum, instance: Instance, seen: dict[int, int] | None = None) -> dict[str, int]:
    """It ran everything and is dead now, as is what it ran; a number of each tree that was on disk before.

    ``seen``: numbers of some trees that are known already; later ones are on disk then.
    """
    on_disk = {tree: max(20, (seen or {}).get(tree, 0) + 1) for tree in range(TREES)}
    for tree, number in on_disk.items():
        words = f"tree {tree} line {number}".encode()
        assert within(WAIT_S, lambda words=words: is_on_disk(brum, words))  # type: ignore[misc]
    instance.signal(signal.SIGKILL)
    instance.wait()
    assert within(DIES_S, lambda: len(brum.alive()) <= 1)  # the hub
    return {f"tree{tree}": number for tree, number in on_disk.items()}


def is_gone(hub: Hub, instance: Instance) -> bool:
    states = {item["instance_id"]: item["state"] for item in hub.call("instances_list")["instances"]}
    return states.get(instance.id) == "gone"


def is_on_disk(brum: Brum, text: bytes) -> bool:
    return any(text in path.read_bytes() for path in brum.instances.rglob("*.lines"))


def check_last_words(hub: Hub, instance: Instance, last: dict[str, int]) -> None:
    """All that an agent could want to know of the dead."""
    status = hub.call("scripts_status", instance=instance.id)
    assert status["from"] == "black box"
    assert status["instance"]["state"] == "gone"
    assert status["written_at"].endswith("Z")
    processes = {process["name"]: process for process in status["processes"]}
    assert {name: process["status"] for name, process in processes.items()} == {
        **dict.fromkeys(last, "lost"),
        "bad": "failed",
        "quiet": "stopped",
    }
    assert processes["bad"]["exit_code"] == 3
    for tree, number in last.items():
        answer = hub.call("logs_tail", instance=instance.id, process=tree, limit=5_000, limit_bytes=262_144)
        numbers = [int(line["text"].split()[-1]) for line in lines_of(answer)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > number
        assert (answer["from"], answer["dropped"]) == ("black box", 0)
    found = hub.call("logs_search", instance=instance.id, query=r"no route to \w+", regex=True)
    assert [(line["process"], line["stream"]) for line in lines_of(found)] == [("bad", "stderr")]
    kinds = [
        (change["process"], change["kind"]) for change in hub.call("changes_since", instance=instance.id)["changes"]
    ]
    assert {("bad", "failed"), ("quiet", "stopped"), ("tree0", "started")} <= set(kinds)


@pytest.mark.promise("black-box")
def test_a_killed_instance_is_reported_by_the_hub_that_saw_it_and_by_one_that_did_not(
    brum: Brum, project: Path, hub: Hub
) -> None:
    instance = brum.instance(project, *(f"tree{number}" for number in range(TREES)), "bad", "quiet")
    instance.stdout.until("I am quiet")
    assert hub.call("scripts_stop", instance=instance.id, name="quiet")["status"] == "stopped"
    tail = hub.call("logs_tail", instance=instance.id, process="tree1", limit=1)
    cursor = tail["cursor"]
    seen = [int(line["text"].split()[-1]) for line in lines_of(tail)]
    last = killed(brum, instance, {1: seen[-1]} if seen else None)

    check_last_words(hub, instance, last)
    following = hub.call("logs_tail", instance=instance.id, process="tree1", cursor=cursor, limit=5_000)
    n = int(cursor.split(".")[1])
    assert following["lines"][0]["n"] > n
    assert "cursor_reset" not in following
    assert lines_of(following)[-1]["text"].split()[-1].isdecimal()

    fresh = brum.hub().greet()
    check_last_words(fresh, instance, last)
    for name in (str(project), project.name):
        assert fresh.call("scripts_status", instance=name)["from"] == "black box"
    unknown = fresh.call("scripts_status", instance="nobody")["error"]
    assert unknown["code"] == "not_found"

    files = [path for path in brum.instances.rglob("*") if "black-box" in path.parts]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600, 0o700}


@pytest.mark.promise("black-box")
def test_the_next_run_still_tells_of_the_one_before(brum: Brum, project: Path, hub: Hub) -> None:
    instance = brum.instance(project, *(f"tree{number}" for number in range(TREES)))
    killed(brum, instance)
    assert within(WAIT_S, lambda: is_gone(hub, instance))

    second = brum.instance(project)
    assert second.id == instance.id
    assert within(WAIT_S, lambda: not is_gone(hub, second))
    assert hub.call("scripts_run", instance=second.id, name="bad", wait="exit")["exit_code"] == 3
    now, before = ask_until_alive(hub, second, "bad"), ask_until_alive(hub, second, "tree2")
    assert [process["status"] for process in now] == ["failed"]
    assert [process["status"] for process in before] == ["lost"]
    process_id = before[0]["process_id"]
    assert process_id == f"tree2-1@{instance.record['generation']}"
    tail = hub.call("logs_tail", instance=second.id, process=process_id, limit=2)
    assert [line["process"] for line in lines_of(tail)] == ["tree2", "tree2"]
    assert tail["from"] == "black box"
    rest = hub.call("logs_search", instance=second.id, process=process_id, query="line 1", cursor=tail["cursor"])
    assert (rest["lines"], rest["cursor"]) == ([], tail["cursor"])
    live = hub.call("logs_tail", instance=second.id, cursor=tail["cursor"])
    assert live["cursor_reset"] is True
    assert {line["process"] for line in lines_of(live)} == {"bad"}


def ask_until_alive(hub: Hub, instance: Instance, name: str) -> list[dict[str, Any]]:
    """The runs of a script as the instance itself tells of them."""
    answer = hub.call("scripts_status", instance=instance.id, name=name)
    assert "from" not in answer
    processes: list[dict[str, Any]] = answer["processes"]
    return processes


def test_a_stopped_instance_is_reported_as_far_as_it_has_come(brum: Brum, project: Path, hub: Hub) -> None:
    instance = brum.instance(project, "quiet")
    assert within(WAIT_S, lambda: is_on_disk(brum, b"I am quiet"))
    live = hub.call("logs_tail", instance=instance.id)
    instance.signal(signal.SIGSTOP)
    try:
        told = hub.call("logs_tail", instance=instance.id)
    finally:
        instance.signal(signal.SIGCONT)
    assert told.get("from") == "black box", told
    assert told["instance"]["state"] != "gone"
    assert told["lines"] == live["lines"]
    assert hub.call("logs_tail", instance=instance.id, cursor=told["cursor"])["lines"] == live["lines"]


def test_an_instance_that_left_nothing_behind_is_waited_for_as_ever(brum: Brum, project: Path, hub: Hub) -> None:
    instance = brum.instance(project)
    assert hub.call("scripts_status", instance=instance.id)["processes"] == []
    instance.end()
    assert within(WAIT_S, lambda: is_gone(hub, instance))
    call = {"name": "scripts_status", "arguments": {"instance": instance.id}}
    hub.send(json.dumps({"jsonrpc": "2.0", "id": "parked", "method": "tools/call", "params": call}).encode() + b"\n")
    brum.instance(project)
    assert hub.answer_to("parked")["result"]["structuredContent"]["processes"] == []
