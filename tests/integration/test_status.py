"""`brum status` against real hubs: living, killed, stopped, and in places where their socket can't be."""

import json
import os
import shutil
import signal
import stat
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum, Hub, Program, within

MOUNTS = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="platform: needs root and unshare for private mounts"
)

ANSWER_S: Final = 2.0
START_S: Final = 2.5
"""Of a Python with all its imports, on a machine that is busy with other things."""


def socket_of(brum: Brum, hub: Program) -> Path:
    """Waits for it: a hub answers its client first."""
    path = brum.instances / f"hub-{hub.pid}.sock"
    assert within(WAIT_S, path.is_socket)
    return path


def statuses(brum: Brum) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(brum.run("status", "--json").stdout)
    return found


@pytest.fixture
def hub(brum: Brum) -> Hub:
    brum.instances.mkdir(mode=0o700)
    hub = brum.hub().greet()
    socket_of(brum, hub)
    return hub


def test_without_a_hub_it_says_what_starts_one(brum: Brum) -> None:
    done = brum.run("status")
    assert (done.status, done.stderr) == (1, "")
    assert "brum --mcp" in done.stdout
    assert statuses(brum) == []


def test_only_we_can_use_the_socket_and_it_goes_with_its_hub(brum: Brum) -> None:
    brum.instances.mkdir(mode=0o700)
    command = f"umask 0; exec {BRUM} --mcp"
    for end in (Hub.close_stdin, lambda hub: hub.signal(signal.SIGTERM)):
        hub = brum._kept(Hub(["sh", "-c", command], cwd=brum.home, env=brum.environment)).greet()
        mode = socket_of(brum, hub).lstat().st_mode
        assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)
        end(hub)
        assert hub.wait() == 0
        assert list(brum.instances.iterdir()) == []


def test_two_hubs_tell_what_they_see_and_where_they_were_started(brum: Brum) -> None:
    instance = brum.instance(brum.project("shop"))
    places = [brum.home / "one", brum.home / "two"]
    for place in places:
        place.mkdir()
    over_stdio, over_http = brum.hub(cwd=places[0]).greet(), brum.hub_over_http(cwd=places[1])
    for hub in (over_stdio, over_http):
        socket_of(brum, hub)
    assert within(WAIT_S, lambda: [link["state"] for each in statuses(brum) for link in each["links"]] == ["ready"] * 2)
    told = {each["hub"]["pid"]: each for each in statuses(brum)}
    assert set(told) == {over_stdio.pid, over_http.pid}
    assert [told[hub.pid]["hub"]["directory"] for hub in (over_stdio, over_http)] == [str(place) for place in places]
    assert told[over_stdio.pid].keys() == over_stdio.call("hub_status").keys()
    done = brum.run("status")
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.count(instance.id) == 2
    for hub, place in ((over_stdio, places[0]), (over_http, places[1])):
        assert f"hub {hub.pid}  version" in done.stdout
        assert f"started in {place}" in done.stdout


def test_a_problem_gives_exit_status_1(brum: Brum) -> None:
    instance = brum.instance(brum.project("shop"))
    hub = brum.hub().greet()
    socket_of(brum, hub)
    hub.call("instances_list")
    assert brum.run("status").status == 0
    instance.signal(signal.SIGKILL)
    assert within(WAIT_S, lambda: [each["problems"] for each in statuses(brum)] != [[]])
    done = brum.run("status")
    assert done.status == 1
    assert done.stdout.index("problems") < done.stdout.index("links")


def test_listing_and_calling_leave_no_trace_in_it(brum: Brum, hub: Hub) -> None:
    brum.run("ls")
    assert [each["hub"]["pid"] for each in statuses(brum)] == [hub.pid]


@pytest.mark.parametrize("sweeper", ["a hub", "brum status"])
def test_what_a_killed_hub_left_is_swept(brum: Brum, hub: Hub, sweeper: str) -> None:
    left = socket_of(brum, hub)
    hub.signal(signal.SIGKILL)
    hub.wait()
    assert left.is_socket()
    if sweeper == "a hub":
        socket_of(brum, brum.hub().greet())
    else:
        assert statuses(brum) == []
    assert not left.exists()


def test_a_stopped_hub_is_named_in_time_and_keeps_its_socket(brum: Brum, hub: Hub) -> None:
    other = brum.hub().greet()
    socket_of(brum, other)
    hub.signal(signal.SIGSTOP)
    try:
        for _ in range(2):
            began = time.monotonic()
            done = brum.run("status")
            took_s = time.monotonic() - began
            assert done.status == 1
            assert f"hub {hub.pid} does not answer" in done.stdout
            assert f"kill -CONT {hub.pid}" in done.stdout
            assert f"hub {other.pid}  version" in done.stdout
            assert ANSWER_S <= took_s < ANSWER_S + START_S
        third = brum.hub().greet()  # whose sweep must leave it alone, too
        socket_of(brum, third)
    finally:
        hub.signal(signal.SIGCONT)
    assert {each["hub"]["pid"] for each in statuses(brum) if not each["problems"]} == {hub.pid, other.pid, third.pid}


def test_the_path_of_the_directory_may_be_long(brum: Brum) -> None:
    brum.instances = brum.home / ("a" * 120) / ("b" * 120)
    brum.instances.mkdir(parents=True)
    hub = brum.hub().greet()
    path = socket_of(brum, hub)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert [each["hub"]["pid"] for each in statuses(brum)] == [hub.pid]
    hub.signal(signal.SIGKILL)
    hub.wait()
    assert statuses(brum) == []
    assert not path.exists()


@MOUNTS
def test_a_read_only_directory_costs_a_line_in_the_log_and_nothing_else(brum: Brum) -> None:
    brum.instances.mkdir(mode=0o700)
    command = f"mount -t tmpfs -o ro,mode=700 none {brum.instances} && exec {BRUM} --mcp"
    hub = brum._kept(Hub(["unshare", "--mount", "sh", "-c", command], cwd=brum.home, env=brum.environment)).greet()
    assert "Read-only" in hub.stderr.until("brum status can't see this hub")
    assert hub.call("instances_list") == {"instances": []}
    assert hub.call("hub_status")["hub"]["pid"] == hub.pid
    hub.close_stdin()
    assert hub.wait() == 0
    assert "brum status" not in hub.stderr.rest().partition("brum status")[2]


def test_a_hub_that_waits_for_a_directory_is_found(brum: Brum) -> None:
    brum.instances = brum.home / "run" / "brummer" / "instances"
    hub = brum.hub().greet()
    hub.call("instances_list")
    assert not brum.instances.parent.exists()
    assert [each["hub"]["pid"] for each in statuses(brum)] == [hub.pid]


def test_a_directory_that_is_removed_and_made_again_has_the_socket_again(brum: Brum, hub: Hub) -> None:
    watching = brum.start(BRUM, "status", "--watch")
    watching.stdout.until(f"hub {hub.pid}")
    for _ in range(2):
        shutil.rmtree(brum.instances)
        brum.instances.mkdir()
        socket_of(brum, hub)
    assert [each["hub"]["pid"] for each in statuses(brum)] == [hub.pid]
    watching.signal(signal.SIGINT)
    watching.wait()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_watching_goes_on_until_ctrl_c(brum: Brum, loop: str) -> None:
    watching = brum.start(BRUM, "status", "--watch", BRUMMER_LOOP=loop)
    assert "no hub is running" in watching.stdout.until("no hub")
    hub = brum.hub().greet()
    watching.stdout.until(f"hub {hub.pid}")
    instance = brum.instance(brum.project("shop"))
    watching.stdout.until(instance.id)
    hub.signal(signal.SIGKILL)
    watching.stdout.until("no hub is running")
    watching.signal(signal.SIGINT)
    assert watching.wait() == 130
    assert watching.stderr.rest() == ""


def test_watching_prints_a_list_per_line_where_json_was_asked_for(brum: Brum) -> None:
    watching = brum.start(BRUM, "status", "--watch", "--json")
    assert json.loads(watching.stdout.line()) == []
    hub = brum.hub().greet()
    assert [each["hub"]["pid"] for each in json.loads(watching.stdout.line())] == [hub.pid]
    watching.signal(signal.SIGINT)
    assert watching.wait() == 130
