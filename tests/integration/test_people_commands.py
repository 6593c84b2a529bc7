"""The day-to-day commands as people type them: in pipes, in a terminal, and with an instance that is broken."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.programs import BRUM, SERVER_PY, WAIT_S, Brum, Done, tasks, within

SLOW_TO_END_PY = """\
import http.server, pathlib, signal, time

def end(*_):
    pathlib.Path("ending").touch()
    time.sleep(1)
    raise SystemExit

signal.signal(signal.SIGTERM, end)
port = pathlib.Path("port")
address = "127.0.0.1", int(port.read_text()) if port.exists() else 0
server = http.server.HTTPServer(address, http.server.BaseHTTPRequestHandler)
port.write_text(str(server.server_port))
print(f"ready on http://127.0.0.1:{server.server_port}/", flush=True)
server.serve_forever()
"""

SCRIPTS = {
    "dev": f"{sys.executable} server.py",
    "tick": 'n=0; while true; do n=$((n+1)); echo "tick $n"; sleep 0.05; done',
    "hello": "echo hello from the script",
    "slow": f"{sys.executable} slow.py",
    "fail": "echo no route to the cellar; exit 3",
    "hidden": r"printf 'a\342\200\256b\342\200\213 \342\200\250 \327\251\n'",
    "colourful": r"printf '\033[31mred\033[0m \033[2J\033]0;title\007end\n'",
}


class World:
    """A project with a directory below it, and commands that are typed there."""

    def __init__(self, brum: Brum) -> None:
        self.brum = brum
        files = {"server.py": SERVER_PY, "slow.py": SLOW_TO_END_PY, **tasks(SCRIPTS)}
        self.project = brum.project("shop", files)
        self.below = self.project / "src" / "deep"
        self.below.mkdir(parents=True)
        self.settings = {"XDG_STATE_HOME": str(brum.home / "state")}

    def type(self, *command: str, cwd: Path | None = None, **more: str) -> Done:
        return self.brum.run(*command, cwd=cwd or self.below, stdin=b"", **self.settings, **more)

    def ps(self) -> dict[str, dict[str, Any]]:
        """By name."""
        return {each["name"]: each for each in json.loads(self.type("ps", "--json").stdout)["processes"]}

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(next(self.brum.instances.glob("*.json")).read_text())
        return record


@pytest.fixture
def world(brum: Brum) -> Iterator[World]:
    yield World(brum)
    brum.kill_all()


def in_a_terminal(world: World, *command: str, **more: str) -> str:
    """What a command prints on a terminal, to its end."""
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in world.brum.environment.items() if key not in {"NO_COLOR", "TERM"}}
    environment |= {**world.settings, "TERM": "xterm", **more}
    program = subprocess.Popen(
        [BRUM, *command], stdout=theirs, stderr=theirs, stdin=theirs, cwd=world.below, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while select.select([ours], [], [], WAIT_S)[0]:
            try:
                shown += os.read(ours, 65_536)
            except OSError:  # EIO: nobody has the other end any more
                break
        program.wait(WAIT_S)
    finally:
        program.kill()
        program.wait(WAIT_S)
        os.close(ours)
    return shown.decode()


@pytest.mark.promise("commands-of-a-day")
def test_a_day_with_a_project(world: World) -> None:
    began = world.type("up")
    assert (began.status, "in the background" in began.stderr) == (0, True)
    assert re.search(r"^dev +ready +\d+ .* http://127\.0\.0\.1:\d+/$", began.stdout, re.MULTILINE)
    instance = psutil.Process(world.record["pid"])
    assert os.getsid(instance.pid) == instance.pid, "a session of its own: no terminal takes it along"
    first = world.ps()["dev"]

    again = world.type("up", "dev")
    assert (again.status, world.ps()["dev"]["pid"], world.record["pid"]) == (0, first["pid"], instance.pid)

    assert world.type("up", "fail").status == 1
    assert world.type("wait", "dev").status == 0
    assert world.type("wait", "hello", "--timeout", "100ms").status == 4
    assert world.type("up", "tick", "--timeout", "100ms").status == 0, "it names no proof that it is ready"
    assert world.type("down", "tick").status == 0
    assert world.type("up", "hello", "colourful").status == 0
    assert world.type("wait", "hello", "--exit").status == 0
    assert world.type("wait", "fail", "--exit").status == 1
    assert world.type("status").stdout.startswith("fail of shop: failed (exit 3), ")
    assert ", fail failed " in world.type("ls").stdout
    assert world.type("wait", "hello", "--log", "from .*script").stdout == "hello from the script\n"

    for command in ("up", "wait", "logs"):
        unknown = world.type(command, "helo")
        assert (unknown.status, unknown.stdout) == (1, "")
        assert "hello" in unknown.stderr

    table = world.type("ps").stdout.splitlines()
    assert [line.split()[0] for line in table] == ["NAME", "dev", "fail", "tick", "hello", "colourful"]
    assert "failed (exit 3)" in table[2]
    assert world.type("logs", "-n", "1", "hello").stdout == "hello | hello from the script\n"

    assert world.type("restart", "dev").status == 0
    assert world.ps()["dev"]["pid"] != first["pid"]
    assert world.type("down", "dev").stdout == "dev is stopped\n"
    assert world.ps()["dev"]["status"] == "stopped"

    assert world.type("down").status == 0
    assert world.brum.gone()
    for words in (["ps"], ["logs", "-f", "hello"]):
        left = world.type(*words)
        assert (left.status, "black box" in left.stderr) == (3, True)
        assert "hello" in left.stdout
    for words in (["down"], ["down", "dev"], ["restart", "dev"], ["wait", "dev"], ["ps", "--name", "x"]):
        nothing = world.type(*words)
        assert (nothing.status, nothing.stdout) == (3, "")
        assert "brum up" in nothing.stderr


def test_lines_are_chosen_and_shown_as_a_person_wants_them(world: World) -> None:
    assert world.type("up", "hello", "colourful").status == 0
    assert world.type("wait", "hello", "--exit").status == 0
    assert world.type("logs", "--grep", "from .* script", "--no-prefix").stdout == "hello from the script\n"
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} hello \| hello from the script\n", world.type("logs", "-t", "hello").stdout
    )
    [line] = map(json.loads, world.type("logs", "--json", "--since", "1h", "hello").stdout.splitlines())
    assert (line["process"], line["text"]) == ("hello", "hello from the script")
    assert world.type("logs", "--errors", "hello").stdout == ""
    wrong = world.type("logs", "--grep", "(")
    assert (wrong.status, wrong.stdout) == (2, "")
    assert "regular expression" in wrong.stderr
    assert world.type("down").status == 0
    left = world.type("logs", "--grep", "script", "--no-prefix")
    assert (left.status, left.stdout) == (3, "hello from the script\n"), "of what the last run has left, too"


def test_a_table_that_fills_in_is_replaced_on_a_terminal(world: World) -> None:
    assert world.type("up", "dev").status == 0
    shown = in_a_terminal(world, "restart", "dev")
    assert re.search(r"\x1b\[\d+A\x1b\[J", shown), "the cursor goes back, and the old table is cleared"
    assert "\\u00" not in shown, "its own control sequences are not shown as text"
    assert world.type("down").status == 0


@pytest.mark.promise("no-escape-sequences")
def test_a_terminal_gets_colours_and_nothing_else_from_a_script(world: World) -> None:
    assert world.type("up", "colourful").status == 0
    coloured = in_a_terminal(world, "logs")
    assert re.search(r"\x1b\[\d+mcolourful \|\x1b\[0m \x1b\[31mred\x1b\[0m *end", coloured)
    assert "\x1b" not in in_a_terminal(world, "logs", "--json")
    assert "\x1b" not in in_a_terminal(world, "logs", "--no-color")
    assert "\x1b" not in in_a_terminal(world, "ps", NO_COLOR="1")
    assert "\x1b" not in in_a_terminal(world, "ps", TERM="dumb")
    assert "\x1b[1mNAME" in in_a_terminal(world, "ps")
    for shown in (coloured, world.type("logs").stdout):
        assert "\x1b[2J" not in shown
        assert "title" not in shown
    assert world.type("down").status == 0


def test_invisible_characters_of_a_scripts_output_are_shown_and_other_writing_systems_are_unchanged(
    world: World,
) -> None:
    assert world.type("up", "hidden").status == 0
    shown = r"a\u202eb\u200b \u2028 ש"
    assert shown in in_a_terminal(world, "logs")
    assert shown in world.type("logs").stdout
    told = world.type("call", "shop", "logs_tail", "{}").stdout
    assert "\u202e" not in told
    assert "a\u202eb\u200b \u2028 ש" in json.dumps(json.loads(told), ensure_ascii=False), "a program loses nothing"
    assert world.type("down").status == 0


def test_following_goes_on_through_a_restart_and_ends_quietly(world: World) -> None:
    world.type("up", "tick", "--no-wait")
    following = world.brum.start(BRUM, "logs", "-f", "-n", "1", "-d", str(world.below), **world.settings)
    following.stdout.until("tick | tick")
    following.stdout.until("tick | tick")
    assert world.type("restart", "tick", "--no-wait").status == 0
    following.stdout.until("brum | tick was restarted from the command line (")
    following.stdout.until("brum | tick started from the command line (pid ")
    assert world.type("down").status == 0
    following.stderr.until("waiting for it to return")
    world.type("up", "tick", "--no-wait")
    following.stderr.until("started anew")
    assert following.stdout.until("tick | tick 1\n")
    following.signal(signal.SIGINT)
    assert following.wait() == 0
    assert "Traceback" not in following.stderr.rest()
    assert world.type("down").status == 0


def test_an_instance_that_is_stopped_is_named_at_once_and_can_be_ended(world: World) -> None:
    world.type("up", "dev")
    os.kill(world.record["pid"], signal.SIGSTOP)
    began = time.monotonic()
    for command in (["ps"], ["logs"], ["up"], ["wait", "dev"]):
        done = world.type(*command)
        assert done.status == 1
        assert "kill -CONT" in done.stderr
    assert time.monotonic() - began < 2 * WAIT_S, "no command waits for what cannot come"
    assert world.type("down").status == 0
    assert world.brum.gone()


def test_an_instance_that_hangs_can_be_killed_and_takes_its_scripts_along(world: World) -> None:
    world.type("up", "dev")
    os.kill(world.record["pid"], signal.SIGSTOP)
    assert world.type("down", "--kill").status == 0
    assert world.brum.gone()
    assert world.type("ps").status == 3


@pytest.mark.promise("one-instance-per-directory")
def test_two_that_are_started_at_once_are_one_instance(world: World) -> None:
    both = [world.brum.start(BRUM, "up", "hello", "-d", world.project, **world.settings) for _ in range(2)]
    assert [one.wait(2 * WAIT_S) for one in both] == [0, 0]
    assert len(list(world.brum.instances.glob("*.json"))) == 1
    assert world.type("down").status == 0
    assert world.brum.gone()


def test_a_slip_in_the_projects_file_is_said_by_up_and_ps(world: World) -> None:
    (world.project / ".brum.toml").write_text("[scripts.hello]\nautostrat = true\n")
    for command in (["up", "hello"], ["up", "hello", "hello"], ["ps"]):
        done = world.type(*command)
        assert done.status == 0
        assert "brum: .brum.toml:2: scripts.hello: autostrat can't be set; did you mean autostart?\n" in done.stderr
    assert world.type("wait", "hello", "--log", "(").status == 2
    assert world.type("down").status == 0


def test_what_is_started_while_the_last_run_ends_waits_for_its_ports(world: World) -> None:
    assert world.type("up", "slow").status == 0
    first = world.record["pid"]
    ending = world.brum.start(BRUM, "down", "-d", world.project, **world.settings)
    assert within(WAIT_S, (world.project / "ending").exists)
    again = world.type("up", "slow")
    assert (again.status, ending.wait()) == (0, 0)
    assert world.record["pid"] != first
    assert world.ps()["slow"]["status"] == "ready"
    assert world.type("down").status == 0


def test_a_file_in_the_middle_of_a_merge_is_named_with_its_line(world: World) -> None:
    project = world.brum.project("merged", {"package.json": "{\n<<<<<<< HEAD\n", ".git": ""})
    for command in (["up"], ["up", "dev"], ["dev"]):
        done = world.type(*command, cwd=project)
        assert (done.status, done.stdout) == (1, "")
        assert "package.json:2: " in done.stderr
    assert world.type("down", cwd=project).status == 3, "no instance was started"


def test_who_was_asked_to_end_and_takes_its_time_can_still_be_waited_for_and_killed(world: World) -> None:
    (world.project / ".brum.toml").write_text('[scripts.slow]\nstop_timeout_s = "60s"\n')
    (world.project / "slow.py").write_text(SLOW_TO_END_PY.replace("time.sleep(1)", "time.sleep(60)"))
    assert world.type("up", "slow").status == 0
    for _ in range(2):
        late = world.type("down", "--timeout", "500ms")
        assert (late.status, late.stdout) == (1, "")
        assert "--kill" in late.stderr
    assert world.type("down", "--kill").status == 0
    assert world.brum.gone()
    assert world.type("down").status == 3


def test_where_nothing_can_be_run_no_instance_is_started(world: World) -> None:
    done = world.type("up", cwd=world.brum.project("empty", {".git": ""}))
    assert (done.status, done.stdout) == (1, "")
    assert "Procfile" in done.stderr
    assert not world.brum.alive()


def test_why_an_instance_did_not_start_is_said(world: World) -> None:
    (world.brum.home / "file").write_text("")
    done = world.type("up", BRUMMER_INSTANCES_DIR=str(world.brum.home / "file"))
    assert done.status == 1
    assert str(world.brum.home / "file") in done.stderr


def test_a_script_that_is_called_like_a_command_is_run_by_up(world: World) -> None:
    project = world.brum.project("clash", {"Procfile": "ps: echo a script after all\n"})
    assert world.type("up", "ps", cwd=project).status == 0
    assert world.type("logs", "ps", cwd=project).stdout == "ps | a script after all\n"
    assert world.type("down", cwd=project).status == 0
