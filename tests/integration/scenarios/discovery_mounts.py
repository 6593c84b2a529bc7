"""Instances and a hub on a file system that is full, or read-only. Run in a mount namespace of its own.

unshare --mount python -m tests.integration.scenarios.discovery_mounts full|read_only FOLDER    (FOLDER is a new one)
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.integration.programs import Brum, Hub, within

SIZE_BYTES = 64 << 10
BACK_S = 6.0


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def states(hub: Hub) -> list[str]:
    return [item["state"] for item in listed(hub)]


def listed(hub: Hub) -> list[dict[str, Any]]:
    instances: list[dict[str, Any]] = hub.call("instances_list")["instances"]
    return instances


def problems(hub: Hub) -> list[str]:
    return [each["code"] for each in hub.call("hub_status")["problems"] if "path" in each]


def fill(directory: Path) -> Path:
    """To the last byte."""
    ballast = directory / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        while True:
            os.write(descriptor, b"x" * 4096)
    except OSError:
        os.close(descriptor)
    return ballast


def full(brum: Brum) -> dict[str, Any]:
    brum.instances.mkdir(mode=0o700)
    mount("-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=700", "none", brum.instances)
    place = os.statvfs(brum.instances)
    first = brum.instance(brum.project("first"))
    hub = brum.hub().greet()
    (brum.instances / f"{first.id}.json").unlink()
    ballast = fill(brum.instances)
    first_said = first.stderr.until("is not published", BACK_S)
    time.sleep(4.5)  # another of its looks, which must not say it again
    second = brum.project("second")
    refused = brum.run("--no-tui", "-d", second)
    within(BACK_S, lambda: problems(hub) == ["directory_full"])
    left = [path.name for path in brum.instances.iterdir() if "second" in path.name and path.stat().st_size]
    found = {
        "size_bytes": place.f_frsize * place.f_blocks,
        "listed_while_full": states(hub),
        "called_while_full": bool(hub.call("scripts_list", instance=first.id)["scripts"]),
        "second_status": refused.status,
        "second_said": refused.stderr,
        "left_by_second": left,
        "problems": [each["code"] for each in hub.call("hub_status")["problems"]],
        "printed_first": brum.run("status").stdout.partition(":")[0],
    }
    ballast.unlink()
    started = time.monotonic()
    assert within(BACK_S, (brum.instances / f"{first.id}.json").exists)
    found["back_after_s"] = round(time.monotonic() - started, 2)
    late = brum.instance(second)
    assert within(BACK_S, lambda: states(hub) == ["ready", "ready"])
    found["second_later"] = {item["instance_id"]: item["state"] for item in listed(hub)}[late.id]
    within(BACK_S, lambda: not hub.call("hub_status")["problems"])
    found["printed_later"] = brum.run("status").stdout.partition("\n")[0]
    first.end()
    found["first_said"] = first_said + first.stderr.rest().partition(first_said)[2]
    return found


def read_only(brum: Brum) -> dict[str, Any]:
    first, other = brum.instance(brum.project("first")), brum.instance(brum.project("other"))
    hub = brum.hub().greet()
    hub.call("instances_list")
    mount("--bind", brum.instances, brum.instances)  # over it: whoever holds a lock has a file there open for writing
    mount("-o", "remount,bind,ro", brum.instances)
    found: dict[str, Any] = {"listed": states(hub)}
    found["listed_by_a_new_hub"] = len(json.loads(brum.run("ls", "--json").stdout)["instances"])
    refused = brum.run("--no-tui", "-d", brum.project("second"))
    found["second_status"], found["second_said"] = refused.status, refused.stderr
    first.signal(signal.SIGKILL)
    other.signal(signal.SIGTERM)
    found["withdrawn_status"] = other.wait()
    assert within(BACK_S, lambda: states(hub) == ["gone", "gone"])
    found["listed_after_deaths"] = states(hub)
    found["problems"] = problems(hub)
    found["printed_first"] = brum.run("status").stdout.partition(":")[0]
    subprocess.run(["umount", str(brum.instances)], check=True)
    brum.instance(brum.project("third"))  # whoever comes next makes the hub look
    within(BACK_S, lambda: not problems(hub))
    found["left_when_writable"] = [path.name for path in brum.instances.glob("*.json") if "third" not in path.name]
    return found


if __name__ == "__main__":
    world = Brum(Path(sys.argv[2]))
    try:
        outcome = {"full": full, "read_only": read_only}[sys.argv[1]](world)
    finally:
        world.end()
    sys.stdout.write(json.dumps(outcome) + "\n")
