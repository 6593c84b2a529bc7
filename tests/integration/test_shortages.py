"""What is short for a while, such as file descriptors, ends nothing for good and is told of while it lasts."""

import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.integration.programs import WAIT_S, Brum, Hub, Program, within

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: prlimit is Linux' own")


@contextmanager
def no_descriptor_for(program: Program) -> Iterator[None]:
    """It can open nothing more; what is open stays so."""
    before = resource.prlimit(program.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(program.pid, resource.RLIMIT_NOFILE, before)


def codes(hub: Hub) -> set[str]:
    return {problem["code"] for problem in hub.call("hub_status")["problems"]}


def listed(hub: Hub) -> dict[str, str]:
    """State by id."""
    found: list[dict[str, Any]] = hub.call("instances_list")["instances"]
    return {instance["instance_id"]: instance["state"] for instance in found}


def test_a_hub_without_descriptors_for_a_while_finds_what_began_and_ended_meanwhile(brum: Brum) -> None:
    web, api = (brum.instance(brum.project(name)) for name in ("web", "api"))
    hub = brum.hub().greet()
    assert within(WAIT_S, lambda: set(listed(hub).values()) == {"ready"})
    with no_descriptor_for(hub):
        new = brum.instance(brum.project("new"))
        api.signal(signal.SIGKILL)
        api.wait()
        assert within(WAIT_S, lambda: bool(codes(hub)))
        assert new.id not in listed(hub)
    assert within(WAIT_S, lambda: listed(hub) == {web.id: "ready", new.id: "ready", api.id: "gone"}), listed(hub)
    brum.instance(brum.home / "api")
    assert within(WAIT_S, lambda: set(listed(hub).values()) == {"ready"})
    assert within(WAIT_S, lambda: not any(code.startswith(("directory", "open")) for code in codes(hub))), hub.call(
        "hub_status"
    )["problems"]


def test_a_directory_that_is_made_anew_while_the_hub_has_no_descriptor_is_found(brum: Brum) -> None:
    web = brum.instance(brum.project("web"))
    hub = brum.hub().greet()
    assert within(WAIT_S, lambda: listed(hub) == {web.id: "ready"})
    with no_descriptor_for(hub):
        shutil.rmtree(brum.instances)
        assert within(WAIT_S, (brum.instances / f"{web.id}.json").exists)
        assert within(WAIT_S, lambda: bool(codes(hub)))
    new = brum.instance(brum.project("new"))
    assert within(WAIT_S, lambda: listed(hub) == {web.id: "ready", new.id: "ready"}), listed(hub)
    assert within(WAIT_S, lambda: brum.run("status").status in (0, 1) and str(hub.pid) in brum.run("status").stdout)
    assert within(WAIT_S, lambda: not any(code.startswith(("directory", "open")) for code in codes(hub))), hub.call(
        "hub_status"
    )["problems"]
