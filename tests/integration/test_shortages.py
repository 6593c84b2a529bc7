"""A temporary shortage, such as of file descriptors, ends nothing for good and is a problem while it lasts."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.control_groups import no_process_more_for
from tests.integration.programs import MODERN, MODERN_META, WAIT_S, Brum, Hub, Instance, Program, within

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: prlimit is Linux' own")


@contextmanager
def no_descriptor_for(program: Program) -> Iterator[None]:
    """The process can open nothing more; open files stay open."""
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


@pytest.mark.promise("shortages-pass")
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


@contextmanager
def kept_open(instance: Instance) -> Iterator[Callable[..., dict[str, Any]]]:
    """Calls one tool after the other on an open connection."""
    url = urlsplit(instance.record["url"])
    connection = HTTPConnection(str(url.hostname), url.port, timeout=WAIT_S)

    def call(tool: str, **arguments: object) -> dict[str, Any]:
        params = {"name": tool, "arguments": arguments, "_meta": MODERN_META}
        headers = {
            "authorization": f"Bearer {instance.token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": MODERN,
            "mcp-method": "tools/call",
            "mcp-name": tool,
        }
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        connection.request("POST", url.path, body, headers)
        content: dict[str, Any] = json.loads(connection.getresponse().read())["result"]["structuredContent"]
        return content

    with closing(connection):
        yield call


def test_an_instance_without_descriptors_for_a_while_publishes_runs_and_ends_scripts_afterwards(brum: Brum) -> None:
    web = brum.instance(brum.project("web"), "quiet")
    with kept_open(web) as call:
        assert within(WAIT_S, lambda: [run["pid"] for run in call("scripts_status")["processes"]] not in ([], [None]))
        with no_descriptor_for(web):
            (brum.instances / f"{web.id}.json").unlink()
            failed = call("scripts_run", name="hello", wait="exit")["error"]
            assert failed["code"] == "no_descriptor_left", failed
            assert failed["retryable"]
    hub = brum.hub().greet()
    assert within(WAIT_S, lambda: listed(hub) == {web.id: "ready"})
    ran = hub.call("scripts_run", name="hello", wait="exit")
    assert (ran["status"], ran["exit_code"]) == ("exited", 0)
    assert hub.call("scripts_stop", name="quiet")["status"] == "stopped"


def test_a_script_for_which_no_process_is_left_is_an_error_of_its_own_and_starts_afterwards(brum: Brum) -> None:
    web = brum.instance(brum.project("web"))
    hub = brum.hub().greet()
    assert hub.call("scripts_run", name="hello", wait="exit")["status"] == "exited"
    with no_process_more_for(web.pid):
        failed = hub.call("scripts_run", name="hello", wait="exit")["error"]
        assert (failed["code"], failed["retryable"], failed["outcome"]) == ("no_process_left", True, "not_executed")
        assert "pids.max" in failed["message"]
    assert hub.call("scripts_run", name="hello", wait="exit")["status"] == "exited"


@pytest.mark.promise("journal-is-bounded")
@pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root mounts")
def test_a_black_box_on_a_full_disk_is_a_problem_until_there_is_room(brum: Brum) -> None:
    """Its directory is a small file system of its own."""
    box = brum.instances / "black-box"
    brum.instances.mkdir(mode=0o700)
    box.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", box], check=True)
    try:
        (filler := box / "filler").write_bytes(b"x" * 56 * 1024)
        files = {"Procfile": "tick: while true; do echo tick; sleep 0.2; done\n"}
        brum.instance(brum.project("web", files), "tick")
        hub = brum.hub().greet()
        assert within(2 * WAIT_S, lambda: "journal_failed" in codes(hub)), hub.call("hub_status")["problems"]
        filler.unlink()
        assert within(2 * WAIT_S, lambda: "journal_failed" not in codes(hub))
        hub.close_stdin()
        hub.wait()
        brum.end()
    finally:
        subprocess.run(["umount", "--lazy", box], check=True)
