"""Scripts that behave badly, through a real instance and a real hub: each has a clear outcome, and nothing lives on."""

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from brummer.host.pids import identify
from tests.integration.programs import BRUM, DIES_S, WAIT_S, Brum, Hub, Instance, within

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: /proc tells who lives")

DOUBLE_FORK_PY = """\
# Leaves its group and its session, and its parent dies; the pipes are closed, so that nobody waits for them.
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in range(3):
        os.close(number)
    with open(sys.argv[1], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(300)
    os._exit(0)
os.wait()
time.sleep(300)
"""
TREES = {
    "plain": "sh -c 'sleep 300 & echo $$ > {pid}; wait'; true",
    "setsid": "setsid sh -c 'echo $$ > {pid}; exec sleep 300' & wait",
    "forked": f"exec {sys.executable} -I -S fork.py {{pid}}",
    "bare": "env -i PATH=$PATH setsid sh -c 'echo $$ > {pid}; exec sleep 300' & wait",
    "deaf": "trap '' TERM INT HUP; echo $$ > {pid}; while :; do sleep 300; done",
}


Scripts = Mapping[str, Mapping[str, object]]


def toml(scripts: Scripts) -> str:
    """JSON's strings, numbers and lists are TOML's too."""
    lines: list[str] = []
    for name, settings in scripts.items():
        lines.append(f"[scripts.{name}]")
        for key, value in settings.items():
            lines.append(f"{key} = {_inline(value)}")
    return "\n".join(lines) + "\n"


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


class Project:
    """A directory with these scripts, its instance and a hub."""

    def __init__(self, brum: Brum, scripts: Scripts, *names: str) -> None:
        self.directory = brum.project("work", {".brum.toml": toml(scripts)})
        self.instance: Instance = brum.instance(self.directory, *names)
        self.hub: Hub = brum.hub(cwd=self.directory).greet()

    def run(self, name: str, wait: str = "exit") -> dict[str, Any]:
        return self.hub.call("scripts_run", name=name, wait=wait)

    def status(self, name: str) -> dict[str, Any]:
        process: dict[str, Any] = self.hub.call("scripts_status", name=name)["processes"][0]
        return process


@pytest.mark.promise("no-orphans")
def test_kill_9_of_an_instance_with_twenty_trees_leaves_nothing(brum: Brum) -> None:
    pids = brum.home / "pids"
    pids.mkdir()
    names = [f"{kind}{number}" for kind in TREES for number in range(4)]
    procfile = [f"{name}: {TREES[name[:-1]].format(pid=pids / name)}" for name in names]
    project = brum.project("forest", {"Procfile": "\n".join(procfile) + "\n", "fork.py": DOUBLE_FORK_PY})
    instance = brum.instance(project, *names)
    assert within(WAIT_S, lambda: len(written := list(pids.iterdir())) == 20 and all(p.read_text() for p in written))
    hidden = [int(path.read_text()) for path in pids.iterdir()]
    assert all(identify(pid) for pid in hidden)
    assert len(brum.alive()) > 40
    instance.signal(signal.SIGKILL)
    instance.wait()
    assert within(DIES_S, lambda: not any(map(identify, hidden)) and not brum.alive()), brum.alive()


def test_who_ignores_term_prompts_or_reads_stdin_has_a_clear_end(brum: Brum) -> None:
    scripts: Scripts = {
        "deaf": {"command": "trap '' TERM; echo up; while :; do sleep 300; done", "stop_timeout_s": 0.3},
        "prompts": {"command": "printf 'Port 3000 is busy. Use another? (Y/n) '; read -r answer || exit 2"},
        "reads": {"command": "wc -c; echo read it all"},
        "asks-the-terminal": {"command": "read -r answer < /dev/tty"},
    }
    project = Project(brum, scripts)
    project.run("deaf", wait="none")
    assert project.hub.call("wait_for", process="deaf", log="up", since="1h")["matched"]
    stopped = project.hub.call("scripts_stop", name="deaf")
    assert (stopped["status"], stopped["signal"], stopped["stop_asked_by"]) == ("stopped", "SIGKILL", "call")
    assert stopped["reason"] == "it did not end within 0.3 s of SIGTERM, so it was killed"
    prompted = project.run("prompts")
    assert (prompted["status"], prompted["exit_code"]) == ("failed", 2)
    assert prompted["last_lines"] == ["Port 3000 is busy. Use another? (Y/n) "]
    waiting = project.run("prompts", wait="none")
    assert project.hub.call("wait_for", process="prompts", exit=True, timeout_s=0.5)["matched"] is False
    assert project.status("prompts")["unfinished_line"] == "Port 3000 is busy. Use another? (Y/n)"
    assert project.hub.call("scripts_stop", name="prompts")["process_id"] == waiting["process_id"]
    assert project.run("reads")["last_lines"] == ["0", "read it all"]
    assert project.run("asks-the-terminal")["status"] == "failed"


def test_what_is_missing_is_named(brum: Brum) -> None:
    scripts: Scripts = {
        "no-tool": {"command": ["no-such-tool", "run"]},
        "no-command": {"command": "no-such-tool run"},
        "not-executable": {"command": "./notes.txt"},
        "no-directory": {"command": "true", "cwd": "gone"},
        "no-env-file": {"command": "true", "env_file": "gone.env"},
        "needs-it": {"command": "true", "depends_on": ["no-tool"]},
    }
    project = Project(brum, scripts)
    (project.directory / "notes.txt").write_text("")
    tool = project.run("no-tool")["error"]
    assert (tool["code"], tool["context"]["errno"]) == ("script_failed_to_start", "ENOENT")
    assert (project.run("no-command")["exit_code"], project.status("no-command")["reason"]) == (
        127,
        "exit 127: command not found",
    )
    assert project.run("not-executable")["reason"] == "exit 126: found, but it can't be executed"
    directory = project.run("no-directory")["error"]
    assert (directory["code"], directory["context"]["directory"]) == (
        "script_failed_to_start",
        str(project.directory / "gone"),
    )
    env_file = project.run("no-env-file")["error"]
    assert (env_file["code"], env_file["context"]["path"]) == ("env_file_unusable", str(project.directory / "gone.env"))
    dependent = project.run("needs-it")["error"]
    assert (dependent["code"], dependent["context"]["dependency"]) == ("dependency_failed", "no-tool")


def test_a_broken_configuration_is_reported_with_its_line_and_hides_nothing_else(brum: Brum) -> None:
    files = {
        ".brum.toml": "[scripts.dev]\ncommand = 'true'\nrestart = 'sometimes'\n",
        "package.json": '{\n"scripts": {"build": "x",}\n}',
        "Makefile": "all:\n\ttrue\n",
    }
    project = brum.project("broken", files)
    instance = brum.instance(project)
    hub = brum.hub(cwd=project).greet()
    listed = hub.call("scripts_list")
    assert {script["name"] for script in listed["scripts"]} == {"dev", "all"}
    assert {(problem["source"], problem["line"]) for problem in listed["problems"]} == {
        (".brum.toml", 3),
        ("package.json", 2),
    }
    assert hub.call("scripts_run", name="dev", wait="exit")["status"] == "exited"
    assert instance.process.poll() is None


@pytest.mark.promise("crash-loops")
def test_a_crash_loop_is_named_with_its_first_error_and_ends_when_the_file_is_mended(brum: Brum) -> None:
    port = free_port()
    server = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(300)"
    scripts: Scripts = {
        "db": {"command": ["python3", "db.py"], "restart": "on-failure", "ready": {"port": port}},
        "web": {"command": "exec sleep 300", "depends_on": ["db"], "autostart": True},
    }
    files = {".brum.toml": toml(scripts), "db.py": "raise SystemExit('no disk')\n"}
    project = brum.project("shop", files)
    brum.instance(project)
    hub = brum.hub(cwd=project).greet()
    waited = hub.call("wait_for", process="web", exit=True)
    assert (waited["process"]["status"], waited["process"]["pid"]) == ("failed", None)
    [db, *_] = hub.call("scripts_status", name="db")["processes"]
    assert (db["status"], db["restarts"], db["first_error"]) == ("crash-looping", 4, "exit 1: no disk")
    (project / "db.py").write_text(server)
    assert hub.call("scripts_run", name="db")["status"] == "ready"
    assert hub.call("scripts_run", name="web", wait="none")["status"] in {"pending", "running"}
    assert within(WAIT_S, lambda: hub.call("scripts_status", name="web")["processes"][0]["status"] == "running")


@pytest.mark.promise("a-taken-port")
def test_a_taken_port_is_named_with_its_owner_who_is_left_alone(brum: Brum) -> None:
    port = free_port()
    listens = f"exec {sys.executable} -m http.server --bind 127.0.0.1 {port}"
    scripts: Scripts = {"first": {"command": listens}, "second": {"command": listens, "ready": {"port": port}}}
    project = Project(brum, scripts)
    first = project.run("first", wait="ready")
    second = project.run("second", wait="ready")
    assert (second["status"], second["port_owner"]["port"]) == ("failed", port)
    assert (second["port_owner"]["pid"], second["port_owner"]["script"]) == (first["pid"], first["process_id"])
    assert project.status("first")["status"] == "ready"
    assert project.hub.call("scripts_stop", name="first")["status"] == "stopped"
    stranger = socket.create_server(("127.0.0.1", port))
    with stranger:
        third = project.run("second", wait="ready")
        assert (third["port_owner"]["pid"], "script" in third["port_owner"]) == (os.getpid(), False)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_scripts_end_although_the_instance_was_started_with_sigchld_ignored(brum: Brum) -> None:
    """That a signal is ignored survives an exec."""
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command: list[str | Path] = [sys.executable, "-c", ignoring, BRUM, "--no-tui", "-d", brum.project("web"), "quiet"]
    brum.instance_by(command).published()
    hub = brum.hub().greet()
    ran = hub.call("scripts_run", name="fail", wait="exit")
    assert (ran["status"], ran["exit_code"]) == ("failed", 3)
    assert hub.call("scripts_stop", name="quiet")["status"] == "stopped"
