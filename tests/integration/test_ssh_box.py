"""Another machine over a real sshd: its instances are used, cut off, killed and back, and no call runs twice."""

import contextlib
import itertools
import json
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.integration.programs import Brum, Done, Hub, Instance, tasks, within
from tests.integration.ssh_server import SshServer

WITHIN_S: Final = 30.0
"""ssh, Python and a login shell start for each connection, also on a machine that is busy."""
CALLS: Final = 40
AT_ONCE: Final = 8
SEED: Final = 20_261_201

BOX: Final = ("--server", "box=ssh://box")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    server = SshServer(tmp_path_factory.mktemp("ssh"))
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture
def web(server: SshServer) -> Iterator[Instance]:
    """An instance of the other machine. Each script says in a file of its own that it ran."""
    name = f"web-{next(_numbers)}"
    ran = {f"count-{number}": f"echo ran >>count-{number}; sleep 0.2" for number in range(AT_ONCE)}
    instance = server.far.instance(server.far.project(name, tasks({**ran, "hello": "echo hello from far away"})))
    try:
        yield instance
    finally:
        instance.end()


_numbers: Final = itertools.count(1)


def machine(hub: Hub) -> dict[str, Any]:
    (found,) = hub.call("hub_status")["machines"]
    return dict(found)


def is_in_state(hub: Hub, state: str) -> Callable[[], bool]:
    return lambda: machine(hub)["state"] == state


def ready_hub(brum: Brum, server: SshServer) -> Hub:
    hub = brum.hub(*BOX, cwd=None, **server.environment).greet()
    assert within(WITHIN_S, is_in_state(hub, "ready")), machine(hub)
    return hub


def ssh_of(hub: Hub) -> list[psutil.Process]:
    """Its one master."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(hub.pid).children()
        return [each for each in children if "-oControlMaster=yes" in _command_line(each)]
    return []


def has_port(ssh: psutil.Process) -> bool:
    """It forwards one, so calls go through it: one that is killed before that delays them, and loses none."""
    with contextlib.suppress(psutil.Error):
        return any(each.status == psutil.CONN_LISTEN for each in ssh.net_connections("tcp"))
    return False


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probing:
        port: int = probing.getsockname()[1]
        return port


def _command_line(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def state_of(hub: Hub, instance: str) -> str:
    listed = hub.every("instances_list", "instances")
    return next((str(each["state"]) for each in listed if each["instance_id"] == instance), "not listed")


def test_instances_of_a_box_are_listed_called_and_known_to_be_gone(
    brum: Brum, server: SshServer, web: Instance
) -> None:
    local = brum.instance(brum.project("here"))
    hub = ready_hub(brum, server)
    name = f"{web.id}@box"
    assert within(WITHIN_S, lambda: state_of(hub, name) == "ready")
    done = hub.call("scripts_run", instance=name, name="hello", wait="exit")
    assert done["exit_code"] == 0
    assert "hello from far away" in str(hub.call("logs_tail", instance=name))
    assert hub.call("scripts_status")["processes"] == []  # without a name it is the local one
    (found,) = json.loads(brum.run("status", "--json").stdout)
    assert [each["host"] for each in found["machines"]] == ["box"]
    assert found["problems"] == []
    killed_s = time.monotonic()
    web.signal(signal.SIGKILL)
    assert within(WITHIN_S, lambda: state_of(hub, name) == "gone")
    (link,) = (each for each in hub.call("hub_status")["links"] if each["instance_id"] == name)
    took_s = time.monotonic() - killed_s - link["since_s"]
    print(f"kill -9 there, known here after {took_s * 1_000:.0f} ms, {link['reason']}")
    assert state_of(hub, local.id) == "ready"


def test_a_killed_ssh_and_a_stopped_server_cost_time_and_no_call(brum: Brum, server: SshServer, web: Instance) -> None:
    local = brum.instance(brum.project("here"))
    hub = ready_hub(brum, server)
    name = f"{web.id}@box"
    assert within(WITHIN_S, lambda: state_of(hub, name) == "ready")
    (ssh,) = ssh_of(hub)
    ssh.kill()
    assert hub.call("scripts_run", instance=name, name="hello", wait="exit")["exit_code"] == 0
    assert ssh_of(hub) != [ssh]
    server.signal(signal.SIGSTOP)
    try:
        assert within(WITHIN_S, is_in_state(hub, "unreachable"))
        assert hub.call("scripts_status", instance=local.id)["processes"] == []
        assert within(WITHIN_S, lambda: [each["code"] for each in hub.call("hub_status")["problems"]] != [])
        (problem,) = hub.call("hub_status")["problems"]
        assert (problem["code"], problem["instance"]) == ("machine_unreachable", name)
    finally:
        server.signal(signal.SIGCONT)
    began = time.monotonic()
    assert hub.call("scripts_run", instance=name, name="hello", wait="exit")["exit_code"] == 0
    print(f"used again {time.monotonic() - began:.1f} s after the server went on")
    assert within(WITHIN_S, is_in_state(hub, "ready"))


@pytest.mark.promise("exactly-once")
def test_calls_while_ssh_is_killed_again_and_again_run_once_each(brum: Brum, server: SshServer, web: Instance) -> None:
    hub = ready_hub(brum, server)
    name = f"{web.id}@box"
    assert within(WITHIN_S, lambda: state_of(hub, name) == "ready")
    over = threading.Event()
    killed: list[int] = []
    rng = random.Random(SEED)

    def kill() -> None:
        while not over.wait(rng.uniform(0.0, 0.5)):
            for ssh in filter(has_port, ssh_of(hub)):
                over.wait(rng.uniform(0.0, 0.5))
                killed.append(ssh.pid)
                ssh.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes: Counter[str] = Counter()
    try:
        for _ in range(CALLS // AT_ONCE):
            for number in range(AT_ONCE):
                arguments = {"instance": name, "name": f"count-{number}", "wait": "exit"}
                request = {"method": "tools/call", "params": {"name": "scripts_run", "arguments": arguments}}
                hub.send(json.dumps({"jsonrpc": "2.0", "id": f"call-{number}", **request}).encode() + b"\n")
            answers = [hub.receive(2 * WITHIN_S) for _ in range(AT_ONCE)]
            outcomes.update(_outcome(each) for each in answers)
    finally:
        over.set()
        killer.join()
    print(f"{CALLS} calls, {len(killed)} times killed: {dict(outcomes)}")
    assert outcomes == {"ok": CALLS}
    assert killed
    directory = Path(web.record["directory"])
    ran = {path.name: path.read_text().count("ran") for path in directory.glob("count-*")}
    assert ran == {f"count-{number}": CALLS // AT_ONCE for number in range(AT_ONCE)}


def _outcome(answer: dict[str, Any]) -> str:
    content = answer["result"]["structuredContent"]
    return str(content["error"]) if "error" in content else "ok" if content["exit_code"] == 0 else str(content)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_hub_that_ends_leaves_no_ssh_no_bridge_and_no_socket(
    brum: Brum, server: SshServer, web: Instance, how: signal.Signals
) -> None:
    hub = ready_hub(brum, server)
    assert within(WITHIN_S, lambda: state_of(hub, f"{web.id}@box") == "ready")
    (ssh,) = ssh_of(hub)
    assert bridges(server) != []
    assert list(brum.instances.glob("ssh-*")) != []
    hub.signal(how)
    hub.wait()
    assert within(WITHIN_S, lambda: not ssh.is_running())
    assert within(WITHIN_S, lambda: bridges(server) == [])
    assert within(WITHIN_S, lambda: list(brum.instances.glob("ssh-*")) == [])


def bridges(server: SshServer) -> list[int]:
    return [each.pid for each in server.descendants() if "bridge" in _command_line(each)]


NO_BRIDGE: Final = """echo "brum: No script is called 'bridge'; there is none." >&2; exit 1"""


@pytest.mark.parametrize("trouble", ["missing", "older", "key", "down"])
def test_what_is_wrong_is_said(brum: Brum, server: SshServer, trouble: str) -> None:
    with in_trouble(server, trouble) as says:
        hub = brum.hub(*BOX, cwd=None, **server.environment).greet()
        assert within(WITHIN_S, is_in_state(hub, "failed"))
        (problem,) = hub.call("hub_status")["problems"]
        assert problem["code"] == "machine_failed"
        assert says in machine(hub)["detail"]
    assert within(WITHIN_S, is_in_state(hub, "ready")), machine(hub)


@contextlib.contextmanager
def in_trouble(server: SshServer, trouble: str) -> Iterator[str]:
    """What `hub_status` has to say of it."""
    match trouble:
        case "missing":
            with server.other_brum(None):
                yield "brum was not found on box"
        case "older":
            with server.other_brum(NO_BRIDGE):
                yield "is older than this one"
        case "key":
            server.trust("stranger")
            yield "Host key verification failed"
            server.trust("host")
        case "down":
            server.lead_to(unused_port())
            yield "Connection refused"
            server.lead_to(server.port)


def test_commands_run_there_with_on(brum: Brum, server: SshServer, web: Instance) -> None:
    (brum.home / ".brum.toml").write_text('[servers.box]\nurl = "ssh://box"\n')
    here = {"HOME": str(brum.home), **server.environment}
    directory = web.record["directory"]

    def there(*words: str) -> Done:
        return brum.run(words[0], "--on", "box", *words[1:], cwd=None, stdin=b"", **here)

    listed = json.loads(there("ls", "--json").stdout)["instances"]
    assert [each["instance_id"] for each in listed] == [web.id]
    assert there("up", directory, "hello").status == 0
    assert "hello from far away" in there("logs", "-d", directory).stdout
    assert there("down").status == 0
    assert there("ps", "-d", directory).status == 3
