"""An instance in a network namespace of its own, whose pid says that it lives and whose port can't be reached."""

import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum, Instance, within

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="platform: needs root and ip for a network namespace"
    ),
]

CODE = "other_network_namespace"
WORDS = "another network namespace"


@pytest.fixture
def inside() -> Iterator[list[str]]:
    """What runs a command in a network namespace, with a loopback of its own."""
    name = f"brummer-{uuid.uuid4().hex[:12]}"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("platform: network namespaces are not to be had here")
    try:
        within_it = ["ip", "netns", "exec", name]
        subprocess.run([*within_it, "ip", "link", "set", "lo", "up"], check=True)
        yield within_it
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.fixture
def web(brum: Brum, inside: list[str]) -> Instance:
    return brum.instance_by([*inside, BRUM, "--no-tui", "-d", brum.project("web")]).published()


def test_a_hub_outside_says_why_it_can_not_reach_the_instance_and_one_inside_can(
    brum: Brum, web: Instance, inside: list[str]
) -> None:
    hub = brum.hub().greet()
    assert within(WAIT_S, lambda: [each["code"] for each in hub.call("hub_status")["problems"]] == [CODE])
    (problem,) = hub.call("hub_status")["problems"]
    assert problem["instance"] == web.id
    (listed,) = hub.call("instances_list")["instances"]
    assert listed["state"] != "ready"
    assert WORDS in listed["reason"]
    hub_inside = brum.hub_by([*inside, BRUM, "--mcp"]).greet()
    assert within(
        WAIT_S, lambda: [each["state"] for each in hub_inside.call("instances_list")["instances"]] == ["ready"]
    )
    assert hub_inside.call("hub_status")["problems"] == []
    assert hub_inside.call("scripts_run", name="hello", wait="exit")["exit_code"] == 0
    web.signal(signal.SIGKILL)
    web.wait()
    assert within(WAIT_S, lambda: [each["state"] for each in hub.call("instances_list")["instances"]] == ["gone"])


def test_a_stranger_on_the_same_port_outside_gets_no_call_and_does_not_hide_the_cause(
    brum: Brum, inside: list[str]
) -> None:
    api = brum.instance(brum.project("api"))
    port = str(urlsplit(api.url).port)
    web = brum.instance_by([*inside, BRUM, "--no-tui", "-d", brum.project("web"), "--port", port]).published()
    assert api.url == web.url
    hub = brum.hub().greet()
    assert within(WAIT_S, lambda: [each["code"] for each in hub.call("hub_status")["problems"]] == [CODE])

    def states() -> tuple[str, str]:
        found = {each["instance_id"]: each["state"] for each in hub.call("instances_list")["instances"]}
        return found[api.id], found[web.id]

    assert within(WAIT_S, lambda: states() == ("ready", "impostor"))  # between two dials
    assert hub.call("scripts_run", instance="api", name="hello", wait="exit")["exit_code"] == 0


def test_commands_outside_say_so_at_once_and_inside_they_work(brum: Brum, web: Instance, inside: list[str]) -> None:
    for command in (["ls"], ["ps", "-d", "web"], ["up", "-d", "web", "hello"], ["restart", "-d", "web", "hello"]):
        done = brum.run(*command)
        assert WORDS in done.stderr, (command, done)
        assert "does not answer yet" not in done.stderr, "it waits for nothing"
        assert (done.status == 0) == (command == ["ls"]), (command, done)
    listed = json.loads(brum.run("ls", "--json").stdout)["instances"]
    assert [WORDS in each["reason"] for each in listed] == [True]
    started = brum.start(*inside, BRUM, "up", "-d", brum.home / "web", "hello")
    assert started.wait() == 0
    assert WORDS not in started.stderr.rest()
