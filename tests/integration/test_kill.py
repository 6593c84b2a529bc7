"""kill -9 of the hub, of an instance, of a script: nothing it started lives on, and the next start is clean.

"Started" is told by a mark in the environment, which every process inherits, wherever it hides; "lives on" means after
two seconds. A zombie is dead.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from brummer.process.guard import MARK
from tests.integration.programs import BRUM, DIES_S, MODERN_META, WAIT_S, Brum, Hub, Instance, marked, within

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: /proc tells who lives")

ESCAPEE_PY = """\
# Leaves its group and its session, and its parent dies: only the environment tells whose it is.
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(300)
"""
STUBBORN_PY = """\
# Ignores whoever asks it to go.
import signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
print("listening to nobody", flush=True)
time.sleep(300)
"""
PROCFILE = f"""\
tree: sh -c 'sh -c "echo the tree stands; sleep 300; true"; true'; true
escapee: {sys.executable} escapee.py escaped; sleep 300
stubborn: {sys.executable} stubborn.py
"""


PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'


@pytest.fixture
def project(brum: Brum) -> Path:
    files = {"Procfile": PROCFILE, "escapee.py": ESCAPEE_PY, "stubborn.py": STUBBORN_PY}
    return brum.project("forest", files)


def started(brum: Brum, project: Path, *more: str) -> Instance:
    """An instance whose scripts are all at work, one of them out of its sight."""
    instance = brum.instance(project, "tree", "escapee", *more)
    assert within(WAIT_S, (project / "escaped").exists)
    assert within(WAIT_S, lambda: [process.name() for process in brum.alive()].count("sleep") == 2)
    if "stubborn" in more:
        instance.stdout.until("listening to nobody")
    return instance


def record_of(brum: Brum, instance: Instance) -> Path:
    return brum.instances / f"{instance.id}.json"


def free_port() -> int:
    """Outside the range that every instance tries: coming back to it can be no accident."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def listed(brum: Brum) -> list[dict[str, object]]:
    done = brum.run("ls", "--json")
    assert done.status == 0
    instances: list[dict[str, object]] = json.loads(done.stdout)["instances"]
    return instances


@pytest.mark.promise("no-orphans")
def test_kill_9_of_an_instance_takes_everything_it_started(brum: Brum, project: Path) -> None:
    instance = started(brum, project, "stubborn")
    instance.signal(signal.SIGKILL)
    instance.wait()
    assert brum.gone(), brum.alive()


def test_the_next_start_after_kill_9_is_clean(brum: Brum, project: Path) -> None:
    killed = started(brum, project, "-p", str(free_port()))
    killed.signal(signal.SIGKILL)
    killed.wait()
    assert listed(brum) == []
    successor = brum.instance(project, "tree")
    assert successor.id == killed.id
    assert successor.url == killed.url
    assert successor.record["generation"] != killed.record["generation"]
    assert [path.name for path in brum.instances.glob("*.json")] == [f"{successor.id}.json"]
    assert [(item["instance_id"], item["pid"], item["state"]) for item in listed(brum)] == [
        (successor.id, successor.pid, "ready")
    ]


@pytest.mark.promise("no-orphans")
def test_what_outlives_an_instance_and_its_guard_ends_before_the_next_begins(brum: Brum, project: Path) -> None:
    killed = started(brum, project, "stubborn")
    guard = guard_of(killed)
    assert guard is not None
    for process in (killed, guard):
        os.kill(process.pid, signal.SIGSTOP)  # so that neither sees the other die
    for process in (killed, guard):
        os.kill(process.pid, signal.SIGKILL)
    killed.wait()
    orphans = marked(f"{MARK}={killed.record['generation']}")
    assert len(orphans) > 3
    successor = brum.instance(project)
    assert marked(f"{MARK}={killed.record['generation']}") == []
    assert successor.id == killed.id


@pytest.mark.promise("only-its-own")
def test_the_scripts_of_an_instance_that_lives_are_left_alone_whatever_is_removed(brum: Brum, project: Path) -> None:
    living = started(brum, project)
    for path in brum.instances.iterdir():
        if not path.name.endswith(".generation"):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    assert brum.instance(project).pid != living.pid
    assert len(marked(f"{MARK}={living.record['generation']}")) > 3


def test_an_instance_whose_old_port_is_taken_gets_another(brum: Brum, project: Path) -> None:
    port = free_port()
    killed = brum.instance(project, "-p", str(port))
    killed.signal(signal.SIGKILL)
    killed.wait()
    with socket.create_server(("127.0.0.1", port)):
        successor = brum.instance(project)
        assert (successor.id, successor.url == killed.url) == (killed.id, False)
        assert [item["mcp_url"] for item in listed(brum)] == [successor.url]


def test_kill_9_of_a_scripts_leader_is_told_and_takes_its_group(brum: Brum, project: Path) -> None:
    instance = started(brum, project)
    hub = brum.hub().greet()
    before = hub.call("scripts_status", name="tree")["processes"][0]
    family = psutil.Process(before["pid"]).children(recursive=True)
    assert family
    os.kill(before["pid"], signal.SIGKILL)
    assert hub.call("wait_for", process="tree", exit=True)["what"] == "exit"
    after = hub.call("scripts_status", name="tree")["processes"][0]
    assert (after["status"], after["signal"], after["pid"]) == ("failed", "SIGKILL", None)
    assert within(DIES_S, lambda: not any(alive(child) for child in family))
    anew = hub.call("scripts_run", name="tree", wait="none")
    assert (anew["already_running"], anew["process_id"] == before["process_id"]) == (False, False)
    assert instance.process.poll() is None


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.promise("stop-ends-the-tree")
def test_stopping_a_script_takes_its_whole_tree(brum: Brum, project: Path) -> None:
    started(brum, project)
    hub = brum.hub().greet()
    family = psutil.Process(hub.call("scripts_status", name="tree")["processes"][0]["pid"])
    everybody = [family, *family.children(recursive=True)]
    assert len(everybody) >= 3
    stopped = hub.call("scripts_stop", name="tree")
    assert (stopped["status"], stopped["already_stopped"]) == ("stopped", False)
    assert not any(alive(process) for process in everybody)


@pytest.mark.promise("stop-ends-the-tree")
def test_what_left_its_scripts_group_ends_with_the_script_all_the_same(brum: Brum, project: Path) -> None:
    started(brum, project)
    escapee = psutil.Process(int((project / "escaped").read_text()))
    assert brum.hub().greet().call("scripts_stop", name="escapee")["status"] == "stopped"
    assert not alive(escapee)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_instance_that_is_asked_to_go_stops_everything_and_withdraws(
    brum: Brum, project: Path, number: signal.Signals
) -> None:
    instance = started(brum, project)
    record = record_of(brum, instance)
    assert record.exists()
    instance.signal(number)
    assert instance.wait() == 0
    assert brum.gone(0.5), brum.alive()
    assert not record.exists()
    assert listed(brum) == []
    assert "Traceback" not in instance.stderr.rest()


def test_a_script_that_does_not_listen_is_ended_all_the_same(brum: Brum, project: Path) -> None:
    instance = started(brum, project, "stubborn")
    instance.signal(signal.SIGTERM)
    assert instance.wait() == 0
    assert brum.gone(0.5), brum.alive()


@pytest.mark.promise("one-instance-per-directory")
def test_a_second_instance_in_the_same_directory_is_refused_with_the_firsts_url_and_pid(
    brum: Brum, project: Path
) -> None:
    first = brum.instance(project)
    done = brum.run("--no-tui", "-d", project)
    assert done.status == 1
    assert first.url in done.stderr
    assert str(first.pid) in done.stderr
    assert "Traceback" not in done.stderr
    assert [item["pid"] for item in listed(brum)] == [first.pid]
    named = brum.instance(project, "--name", "second")
    assert {item["instance_id"] for item in listed(brum)} == {first.id, named.id}


def test_the_guard_that_is_killed_is_replaced_and_still_guards(brum: Brum, project: Path) -> None:
    instance = started(brum, project)
    guard = guard_of(instance)
    assert guard is not None
    guard.kill()
    assert within(WAIT_S, lambda: guard_of(instance) not in (None, guard))
    instance.signal(signal.SIGKILL)
    instance.wait()
    assert brum.gone(), brum.alive()


def guard_of(instance: Instance) -> psutil.Process | None:
    for child in psutil.Process(instance.pid).children():
        try:
            if instance.record["generation"] in child.cmdline():
                return child
        except psutil.Error:
            continue
    return None


# The hub.


def test_kill_9_of_the_hub_leaves_the_instance_and_the_next_hub_finds_it(brum: Brum, project: Path) -> None:
    instance = brum.instance(project, "tree")
    hub = brum.hub().greet()
    running = hub.call("scripts_run", name="tree", wait="none")
    hub.signal(signal.SIGKILL)
    hub.wait()
    following = brum.hub().greet()
    again = following.call("scripts_run", name="tree", wait="none")
    assert (again["already_running"], again["pid"]) == (True, running["pid"])
    instance.end()
    following.end()
    assert brum.gone(), brum.alive()


def ended_by_eof(hub: Hub) -> None:
    hub.close_stdin()


def ended_by_sigterm(hub: Hub) -> None:
    hub.signal(signal.SIGTERM)


@pytest.mark.promise("a-hub-ends-in-time")
@pytest.mark.parametrize("end", [ended_by_eof, ended_by_sigterm])
@pytest.mark.parametrize("at_work", [False, True])
def test_a_hub_ends_in_time_and_leaves_nothing(brum: Brum, project: Path, end: object, at_work: bool) -> None:
    instance = brum.instance(project)
    hub = brum.hub().greet()
    if at_work:
        hub.send(
            b'{"jsonrpc":"2.0","id":"long","method":"tools/call",'
            b'"params":{"name":"wait_for","arguments":{"log":"never","timeout_s":60}}}\n'
        )
        assert within(WAIT_S, lambda: hub.call("hub_status")["links"][0]["in_flight"] == 1)
    assert callable(end)
    end(hub)
    assert hub.wait(DIES_S) == 0
    assert "Traceback" not in hub.stderr.rest()
    assert instance.process.poll() is None


@pytest.mark.promise("a-hub-ends-in-time")
def test_a_hub_ignores_what_a_terminal_sends_to_everybody_from_its_first_answer_on(brum: Brum) -> None:
    hub = brum.hub()
    hub.ask("server/discover", _meta=MODERN_META)
    for _ in range(3):
        hub.signal(signal.SIGINT)
        assert hub.ask("ping") == {}


@pytest.mark.promise("a-hub-ends-in-time")
def test_a_hub_dies_with_its_parent_even_if_its_stdin_stays_open(brum: Brum) -> None:
    """Somebody else holds the writing end of its stdin, as some launchers do."""
    reading, writing = os.pipe()
    launcher = f"""
import os, subprocess, sys
hub = subprocess.Popen([{str(BRUM)!r}, "--mcp"], stdin={reading}, stdout=subprocess.PIPE)
print(hub.stdout.readline().decode(), hub.pid, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", launcher],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[reading],
        cwd=brum.home,
        env=brum.environment,
    )
    try:
        assert parent.stdin is not None
        assert parent.stdout is not None
        os.write(writing, PING)
        assert json.loads(parent.stdout.readline())["id"] == 1
        hub = psutil.Process(int(parent.stdout.readline()))
        assert alive(hub)
        parent.kill()
        parent.wait(WAIT_S)
        assert within(DIES_S, lambda: not alive(hub))
    finally:
        parent.kill()
        parent.communicate()
        os.close(reading)
        os.close(writing)


def test_a_hub_over_http_ends_on_sigterm_and_sigint(brum: Brum) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        hub = brum.hub_over_http()
        hub.signal(number)
        assert hub.wait(DIES_S) == 0
        assert "Traceback" not in hub.stderr.rest()


@pytest.mark.promise("a-client-that-does-not-read")
def test_a_hub_whose_reader_is_gone_ends(brum: Brum) -> None:
    reading, writing = os.pipe()
    hub = subprocess.Popen([BRUM, "--mcp"], stdin=subprocess.PIPE, stdout=writing, cwd=brum.home, env=brum.environment)
    os.close(writing)
    try:
        assert hub.stdin is not None
        hub.stdin.write(PING)
        hub.stdin.flush()
        assert json.loads(os.read(reading, 1000))["id"] == 1
        os.close(reading)
        hub.stdin.write(PING)
        hub.stdin.flush()
        assert hub.wait(DIES_S) == 0
    finally:
        hub.kill()
        hub.communicate()
