"""A hub in a broken environment: it serves and shows the problem, or reports the reason and ends at once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.control_groups import of_one_process
from tests.integration.programs import BRUM, WAIT_S, Brum, Hub, within

MODULES = (
    "json",
    "asyncio",
    "logging",
    "socket",
    "secrets",
    "typing",
    "enum",
    "msgspec",
    "httptools",
    "platformdirs",
)


def strays(directory: Path, *names: str) -> Path:
    directory.mkdir()
    for name in names:
        (directory / f"{name}.py").write_text("raise RuntimeError('a stray module was imported')\n")
    return directory


def problems_of(hub: Hub) -> list[str]:
    return [problem["code"] for problem in hub.call("hub_status")["problems"]]


INITIALIZE = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}\n'
)
SPOILED = {
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONDEVMODE": "1",
    "PYTHONUTF8": "0",
    "PYTHONIOENCODING": "ascii:strict",
    "PYTHONSAFEPATH": "1",
    "PYTHONSTARTUP": "/nothing/here.py",
    "PYTHONINSPECT": "1",
    "PYTHONPYCACHEPREFIX": "/proc/nothing",
    "LANG": "xx_YY.bogus",
    "LC_ALL": "C",
    "TMPDIR": "/nothing/here",
    "XDG_RUNTIME_DIR": "relative",
    "TZ": "Nowhere/Nothing",
}


@pytest.mark.parametrize("variable", SPOILED)
def test_a_variable_meant_for_other_programs_does_no_harm(brum: Brum, variable: str) -> None:
    hub = brum.hub_by([BRUM, "--mcp"], None, **{variable: SPOILED[variable]}).greet()
    assert problems_of(hub) == []
    hub.close_stdin()
    assert hub.wait() == (1 if variable == "PYTHONINSPECT" else 0)  # then Python itself says how it ended


def test_modules_in_pythonpath_do_not_replace_modules_of_brummer(brum: Brum) -> None:
    hub = brum.hub(PYTHONPATH=str(strays(brum.home / "stray", "contextlib", "pathlib", *MODULES))).greet()
    assert problems_of(hub) == []


def test_brummer_starts_in_a_directory_above_its_interpreter() -> None:
    """As in the home of a user whose Python is in it."""
    command = [sys.executable, "-m", "brummer", "--version"]
    above = Path(os.__file__).parents[2]
    ran = subprocess.run(command, cwd=above, capture_output=True, timeout=WAIT_S, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_what_is_only_in_pythonpath_is_still_found(brum: Brum) -> None:
    """As where Brummer itself is installed with ``pip install --target``."""
    (brum.home / "only").mkdir()
    (brum.home / "only" / "only_here.py").write_text("found = True\n")
    program = (
        "from brummer.cli import surroundings; surroundings.make_usable(); import only_here; print(only_here.found)"
    )
    assert brum.python("-c", program, PYTHONPATH=str(brum.home / "only")).stdout.line() == "True\n"


def test_modules_in_the_working_directory_do_not_replace_modules_of_brummer(brum: Brum) -> None:
    hub = brum.hub_by([sys.executable, "-m", "brummer", "--mcp"], strays(brum.home / "stray", *MODULES)).greet()
    assert problems_of(hub) == []


@pytest.mark.parametrize("variable", [{"PYTHONHOME": "/nothing/here"}, {"PYTHONIOENCODING": "bogus"}])
def test_a_variable_that_stops_python_itself_stops_it_before_an_answer(brum: Brum, variable: dict[str, str]) -> None:
    hub = brum.hub_by([BRUM, "--mcp"], None, **variable)
    assert hub.wait() != 0
    assert hub.stdout.rest() == ""
    assert hub.stderr.rest() != ""


@pytest.mark.parametrize("directory", ["relative/path", "${workspaceFolder}/instances", "~nobody-here/instances"])
def test_an_instances_directory_that_is_not_a_path_is_a_problem_and_the_hub_serves(brum: Brum, directory: str) -> None:
    hub = brum.hub(BRUMMER_INSTANCES_DIR=directory).greet()
    assert problems_of(hub) == ["directory_not_a_directory"]
    assert hub.call("instances_list")["instances"] == []
    assert hub.call("scripts_list")["error"]["code"] == "no_instances"
    assert not (brum.home / "relative").exists()


def test_a_removed_working_directory_is_a_problem_and_the_hub_serves(brum: Brum) -> None:
    project = brum.project("shop")
    instance = brum.instance(brum.project("other"))
    hub = brum.hub_by(["sh", "-c", f"rm -r {project} && exec {BRUM} --mcp"], project, PWD=str(project)).greet()
    assert problems_of(hub) == ["working_directory_gone"]
    assert hub.call("scripts_list", instance=instance.id)["scripts"]


IN_ITS_FOLDER = "test -e ${workspaceFolder}/Procfile"


@pytest.mark.skipif(sys.platform != "linux", reason="platform: names of any bytes")
def test_a_directory_whose_name_is_not_utf_8_is_a_project_like_any_other(brum: Brum) -> None:
    """A hub there, and an instance with a tasks.json, into which such a name can't be put."""
    project = brum.project(
        os.fsdecode(b"sh\xffop"),
        {
            "Procfile": "waits: exec sleep 1000\n",
            ".vscode/tasks.json": json.dumps({"tasks": [{"label": "here", "type": "shell", "command": IN_ITS_FOLDER}]}),
            ".brum.toml": "max_parked = 3\n",
        },
    )
    assert brum.run("up", "waits", cwd=project).status == 0
    hub = brum.hub("--log-json", "--log-level", "debug", cwd=project).greet()
    status = hub.call("hub_status")
    assert "error" not in status, status
    assert [problem["code"] for problem in status["problems"]] == ["setting_ignored"]
    assert hub.call("scripts_run", name="here", wait="exit")["exit_code"] == 0
    for command in ("ps --json", "ls --json", "status --json", "metrics --json", "doctor --json", "--settings --json"):
        done = brum.run(*command.split(), cwd=project)
        assert "Traceback" not in done.stderr
        assert json.loads(done.stdout)
    assert brum.run("down", cwd=project).status == 0


@pytest.mark.parametrize("closed", ["2>&-", "2</dev/null", "2>/dev/full"])
def test_a_hub_serves_although_standard_error_can_not_be_written(brum: Brum, closed: str) -> None:
    hub = brum.hub_by(["sh", "-c", f"exec {BRUM} --mcp --log-level debug {closed}"]).greet()
    assert problems_of(hub) == []


def test_a_closed_standard_input_is_an_end_like_any_other(brum: Brum) -> None:
    hub = brum.hub_by(["sh", "-c", f"exec {BRUM} --mcp <&-"])
    assert hub.wait() == 0


@pytest.mark.parametrize("command", ["--mcp", "--mcp --http 127.0.0.1:0", "--no-tui"])
def test_too_few_open_files_are_reported_before_any_answer(brum: Brum, command: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"ulimit -n 12; exec {BRUM} {command}"],
        input=INITIALIZE,
        capture_output=True,
        cwd=brum.project("shop"),
        env=brum.environment,
        timeout=WAIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"ulimit -n" in done.stderr
    assert b"Traceback" not in done.stderr


def test_with_few_open_files_a_hub_answers_and_names_them(brum: Brum) -> None:
    hub = brum.hub_by(["sh", "-c", f"ulimit -n 20; exec {BRUM} --mcp"]).greet()
    assert "open_files_full" in problems_of(hub)
    hub.close_stdin()
    assert hub.wait() == 0
    assert "Traceback" not in hub.stderr.rest()


@pytest.mark.promise("shortages-pass")
def test_a_hub_for_which_no_thread_can_be_started_serves_and_ends(brum: Brum) -> None:
    with of_one_process() as group:
        hub = brum.hub_by(["sh", "-c", f"echo $$ > {group}; exec {BRUM} --mcp --metrics 127.0.0.1:0"]).greet()
        assert problems_of(hub) == []
        hub.close_stdin()
        assert hub.wait() == 0
    assert "Traceback" not in hub.stderr.rest()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="platform: namespaces need root on Linux")
def test_a_hub_whose_parent_has_another_number_in_proc_serves(brum: Brum) -> None:
    hub = brum.hub_by(["unshare", "-pf", "sh", "-c", 'sh -c "$0 --mcp; true"; true', str(BRUM)]).greet()
    assert problems_of(hub) == []


@pytest.mark.skipif(sys.platform != "linux", reason="platform: env --block-signal of GNU")
@pytest.mark.parametrize("how", ["--block-signal", "--ignore-signal"])
def test_a_hub_that_inherits_signals_as_blocked_or_ignored_ends_on_sigterm(brum: Brum, how: str) -> None:
    hub = brum.hub_by(["env", f"{how}=TERM,HUP,CHLD", BRUM, "--mcp"]).greet()
    hub.signal(signal.SIGTERM)
    assert hub.wait() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="platform: env --block-signal of GNU")
def test_signals_that_an_instance_inherits_as_blocked_end_it_and_its_scripts(brum: Brum) -> None:
    project = brum.project("shop", {".brum.toml": '[scripts.waits]\ncommand = "exec sleep 1000"\n'})
    instance = brum.instance_by(["env", "--block-signal=TERM,VTALRM,CHLD", BRUM, "--no-tui", "-d", project]).published()
    hub = brum.hub().greet()
    hub.call("scripts_run", name="waits", wait="none")
    stopped = hub.call("scripts_stop", name="waits")
    assert (stopped.get("status"), stopped.get("signal")) == ("stopped", "SIGTERM"), stopped
    instance.signal(signal.SIGTERM)
    assert instance.wait() == 0


@pytest.mark.parametrize("stdout", ["a full disk", "no reader"])
def test_a_hub_over_http_serves_without_a_reader_of_its_output(brum: Brum, stdout: str) -> None:
    readable, full = os.pipe()
    os.close(readable)
    if stdout == "a full disk":
        os.close(full)
        full = os.open("/dev/full", os.O_WRONLY)
    hub = subprocess.Popen(
        [BRUM, "--mcp", "--http", "127.0.0.1:0"],
        stdin=subprocess.DEVNULL,
        stdout=full,
        stderr=subprocess.PIPE,
        cwd=brum.home,
        env=brum.environment,
    )
    os.close(full)
    try:
        assert within(WAIT_S, lambda: str(hub.pid) in brum.run("status").stdout)
        hub.terminate()
        _, stderr = hub.communicate(timeout=WAIT_S)
        assert b"Traceback" not in stderr
    finally:
        hub.kill()
        hub.wait()


# A hub never outlives its client.

CLIENT = """
import os, subprocess, sys
command, reads = sys.argv[1], int(sys.argv[2])
hub = subprocess.Popen(["sh", "-c", command], stdin=0, stdout=subprocess.PIPE)
if reads:
    hub.stdout.readline()
print("answered", flush=True)
sys.stdin.close()
hub.wait()
"""


@pytest.mark.parametrize("command", ["exec {} --mcp", "{} --mcp; true", "sh -c '{} --mcp; true'; true"])
@pytest.mark.parametrize("reads", [True, False], ids=["after the first answer", "before it"])
def test_a_hub_ends_with_its_client_though_another_process_holds_its_input(
    brum: Brum, command: str, *, reads: bool
) -> None:
    """We are that other process: we hold the writing end of its stdin."""
    for_hub, to_hub = os.pipe()
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, command.format(BRUM), str(int(reads))],
        stdin=for_hub,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=brum.home,
        env=brum.environment,
    )
    try:
        os.close(for_hub)
        os.write(to_hub, INITIALIZE)
        assert client.stdout is not None
        assert client.stdout.readline() == b"answered\n"
        client.send_signal(signal.SIGKILL)
        client.wait(WAIT_S)
        assert within(WAIT_S, lambda: not brum.alive())
    finally:
        os.close(to_hub)
        client.stdout.close()  # type: ignore[union-attr]
        brum.kill_all()


def test_a_hub_ends_if_no_process_can_read_its_answers(brum: Brum) -> None:
    """Its parent, which is this test, keeps running, and its input stays open."""
    hub = subprocess.Popen(
        [BRUM, "--mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=brum.home,
        env=brum.environment,
    )
    try:
        assert hub.stdin is not None
        assert hub.stdout is not None
        hub.stdin.write(INITIALIZE)
        hub.stdin.flush()
        assert b"serverInfo" in hub.stdout.readline()
        hub.stdout.close()
        assert hub.wait(WAIT_S) == 0
    finally:
        hub.kill()
        hub.wait(WAIT_S)
        hub.stdin.close()  # type: ignore[union-attr]
