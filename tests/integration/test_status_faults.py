"""During each fault the first thing that `brum status` says is its cause; when it is over, that all is well."""

import contextlib
import json
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from brummer.discovery.record import VERSION
from brummer.host.pids import identify
from tests.control_groups import VERSIONS, frozen
from tests.integration.namespaces import SCENARIOS, needs_namespaces, needs_user_namespaces, play
from tests.integration.programs import BRUM, WAIT_S, Brum, Hub, within
from tests.integration.scenarios.counting import publish
from tests.integration.scenarios.ports import free_port

HEALTHY: Final = "healthy"
GHOST: Final = "ghost-00000000"
"""Its record is ours to forge: no instance sets it right."""
PAUSE_S: Final = 6.0
"""Over what a busy machine does to any process."""


def told(hub: Hub) -> str:
    """The code that agents read first."""
    problems = hub.call("hub_status")["problems"]
    return problems[0]["code"] if problems else HEALTHY


def printed(brum: Brum) -> tuple[str, str]:
    """The first code of ``--json``, and the first word for people."""
    # One after the other: who has to make the directory waits until hubs have come, and who finds it does not.
    as_json, for_people = (brum.run("status", *options).stdout for options in (["--json"], []))
    answers: list[dict[str, Any]] = json.loads(as_json)
    codes = [problem["code"] for answer in answers for problem in answer["problems"]]
    return codes[0] if codes else HEALTHY, for_people.partition("\n")[0].partition(":")[0]


def explains(brum: Brum, hub: Hub, code: str) -> None:
    """To the agent and to people alike."""
    assert within(2 * WAIT_S, lambda: told(hub) == code), hub.call("hub_status")["problems"]
    assert printed(brum) == (code, code)


@pytest.mark.promise("root-cause-first")
def test_a_failure_of_an_instance_or_its_hub_is_reported_by_its_cause(brum: Brum) -> None:
    web, _ = (brum.instance(brum.project(name)) for name in ("web", "api"))
    hub = brum.hub().greet()
    hub.call("instances_list")
    explains(brum, hub, HEALTHY)

    web.signal(signal.SIGSTOP)
    explains(brum, hub, "link_stopped")
    web.signal(signal.SIGCONT)
    assert within(WAIT_S, lambda: told(hub) == HEALTHY)

    hub.signal(signal.SIGSTOP)
    assert printed(brum) == ("hub_stopped", "hub_stopped")
    hub.signal(signal.SIGCONT)
    assert within(WAIT_S, lambda: told(hub) == HEALTHY)

    (brum.instances / f"{GHOST}.json").write_text("{}")
    explains(brum, hub, "malformed")
    publish(brum.instances, {**web.record, "instance_id": GHOST}, version=VERSION + 1)
    explains(brum, hub, "newer_version")
    (brum.instances / f"{GHOST}.json").unlink()
    assert within(WAIT_S, lambda: told(hub) == HEALTHY)

    web.signal(signal.SIGKILL)
    explains(brum, hub, "link_gone")
    brum.instance(brum.home / "web")
    assert within(WAIT_S, lambda: told(hub) == HEALTHY)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_instance_and_a_hub_in_a_frozen_control_group_are_reported_as_frozen(brum: Brum, version: str) -> None:
    web = brum.instance(brum.project("web"))
    hub = brum.hub().greet()
    explains(brum, hub, HEALTHY)
    with frozen(web.pid, version):
        explains(brum, hub, "link_frozen")
        ps = brum.run("ps", cwd=brum.home / "web")
        assert "frozen" in ps.stderr, ps
    assert within(WAIT_S, lambda: told(hub) == HEALTHY)
    with frozen(hub.pid, version):
        assert printed(brum) == ("hub_frozen", "hub_frozen")
    assert within(WAIT_S, lambda: told(hub) == HEALTHY)


class Stranger(BaseHTTPRequestHandler):
    """Says 200 to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: it would go to the test's output."""


@contextlib.contextmanager
def stranger() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(WAIT_S)


def test_a_stranger_on_the_port_is_reported_as_one_however_often_it_is_probed(brum: Brum) -> None:
    instance = brum.instance(brum.project("web"))
    owner = identify(brum.start("sleep", "300").pid)
    assert owner is not None
    hub = brum.hub().greet()
    with stranger() as port:
        facts = {"instance_id": GHOST, "pid": owner.pid, "start_token": owner.start_token}
        publish(brum.instances, {**instance.record, **facts}, url=f"http://127.0.0.1:{port}/mcp")
        explains(brum, hub, "link_impostor")
        assert within(WAIT_S, lambda: hub.call("hub_status")["problems"][0]["since_s"] > 2)
        codes = {told(hub) for _ in range(200)}
    assert codes == {"link_impostor"}


def test_a_directory_that_is_none_and_one_that_was_removed_are_reported(brum: Brum) -> None:
    brum.instance(brum.project("web"))
    hub = brum.hub().greet()
    hub.call("instances_list")
    aside = brum.instances.with_name("aside")
    brum.instances.rename(aside)
    brum.instances.write_text("")
    explains(brum, hub, "directory_not_a_directory")
    brum.instances.unlink()
    aside.rename(brum.instances)
    assert within(WAIT_S, lambda: told(hub) == HEALTHY)

    shutil.rmtree(brum.instances)
    assert within(WAIT_S, lambda: told(hub) == "directory_missing")
    explains(brum, hub, HEALTHY)


def test_what_was_started_wrongly_is_reported(brum: Brum) -> None:
    project = brum.project("web", {".brum.toml": "[limits]\nmax_conections = 3\n"})
    hub = brum.hub(cwd=project).greet()
    explains(brum, hub, "settings_invalid")
    hub.end()
    hub = brum.hub("--server", f"docs=http://127.0.0.1:{free_port()}/mcp").greet()
    explains(brum, hub, "server_down")


def start_moody(brum: Brum) -> None:
    """An instance with the tools ``sleep`` and ``hang``."""
    brum.instance_by([sys.executable, SCENARIOS / "moody_instance.py", brum.project("moody")]).published()


def let(hub: Hub, request_id: str, tool: str, seconds: float) -> None:
    """Have the moody instance do it; nobody waits for the answer."""
    params = {"name": "instance_call", "arguments": {"tool": tool, "arguments": {"seconds": seconds}}}
    say(hub, {"id": request_id, "method": "tools/call", "params": params})


def say(hub: Hub, message: dict[str, Any]) -> None:
    hub.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def test_an_instance_that_hangs_is_reported_as_one_that_does_not_answer(brum: Brum) -> None:
    """Its process is not stopped, and the kernel still takes connections for it."""
    start_moody(brum)
    hub = brum.hub().greet()
    hub.call("instances_list")
    let(hub, "hangs", "hang", WAIT_S)
    explains(brum, hub, "link_suspect")
    assert within(2 * WAIT_S, lambda: told(hub) == HEALTHY)


def test_a_hub_that_was_not_run_for_a_while_says_so_before_it_accuses_any_instance(brum: Brum) -> None:
    start_moody(brum)
    hub = brum.hub().greet()
    hub.call("instances_list")
    let(hub, "hangs", "hang", 3 * PAUSE_S)
    assert within(2 * WAIT_S, lambda: told(hub) == "link_suspect")
    hub.signal(signal.SIGSTOP)
    time.sleep(PAUSE_S)
    hub.signal(signal.SIGCONT)
    assert printed(brum) == ("settling", "settling")
    explains(brum, hub, "link_suspect")
    assert within(3 * PAUSE_S, lambda: told(hub) == HEALTHY)


def explains_while_calls_last(brum: Brum, hub: Hub, code: str, count: int) -> None:
    """So many, and until they are cancelled."""
    hub.call("instances_list")
    calls = [f"call {number}" for number in range(count)]
    for request_id in calls:
        let(hub, request_id, "sleep", 300)
    explains(brum, hub, code)
    for request_id in calls:
        say(hub, {"method": "notifications/cancelled", "params": {"requestId": request_id}})
    assert within(WAIT_S, lambda: told(hub) == HEALTHY)


def test_calls_that_queue_up_are_reported_as_such(brum: Brum) -> None:
    start_moody(brum)
    hub = brum.hub("--set", "max_in_flight_per_instance=1", "--set", "max_queued_per_instance=2").greet()
    explains_while_calls_last(brum, hub, "busy", count=3)


def test_too_few_open_files_are_reported(brum: Brum) -> None:
    start_moody(brum)
    allowed = 64
    lifted = ("max_in_flight_per_instance", "max_queued_per_instance")
    settings = [word for name in lifted for word in ("--set", f"{name}=200")]
    command: list[str | Path] = ["sh", "-c", f'ulimit -n {allowed}; exec "$0" "$@"', BRUM, "--mcp", *settings]
    explains_while_calls_last(brum, brum.hub_by(command).greet(), "open_files_full", count=2 * allowed)


@needs_user_namespaces
def test_a_directory_that_can_not_be_watched_is_reported(brum: Brum) -> None:
    """In a user namespace of its own the hub may have no inotify instance, as where a user has used up all."""
    brum.instance(brum.project("web"))
    limit = "echo 0 >/proc/sys/user/max_inotify_instances"
    hub = brum.hub_by(["unshare", "--user", "--map-root-user", "sh", "-c", f'{limit}; exec "$0" --mcp', BRUM]).greet()
    hub.call("instances_list")
    assert within(WAIT_S, lambda: told(hub) == "polling")
    assert printed(brum) == ("polling", f"{HEALTHY}, but polling")  # all goes on, only later


@needs_namespaces
async def test_a_path_that_is_cut_is_reported_for_one_for_all_and_for_the_loopback(tmp_path: Path) -> None:
    found = await play("status_faults", tmp_path / "cut", tool="iptables", within_s=120)
    assert found == {
        "before": [HEALTHY] * 2,
        "one port": ["link_cut"] * 2,
        "all": ["cut_off"] * 2,
        "lo": ["loopback_down"] * 2,
        "after": [HEALTHY] * 2,
        "a server far away": ["server_down"] * 2,
        "no way to it": ["offline"] * 2,
    }
