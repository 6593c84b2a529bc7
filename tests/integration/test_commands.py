"""Every command as a new user types it, right and wrong: the exit status, what is printed, and never a traceback."""

import json
import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import brummer
from brummer.cli.command_table import BY_NAME
from brummer.cli.mcp_clients import CLIENTS
from brummer.settings.limits import DEFAULTS
from brummer.settings.table import BY_KEY
from tests.integration.programs import BRUM, PROCFILE, WAIT_S, Brum, Done, Hub, within
from tests.integration.scenarios.http_client import HttpClient

COMMANDS = tuple(BY_NAME)


@pytest.fixture
def shop(brum: Brum) -> Path:
    return brum.project("shop")


# Help and version.


def test_help_names_every_command_and_option(brum: Brum) -> None:
    done = brum.run("--help")
    assert (done.status, done.stderr) == (0, "")
    for word in (
        *(name for name, command in BY_NAME.items() if not command.is_hidden),
        "--mcp",
        "--http",
        "--dir",
        "--port",
        "--name",
        "--no-tui",
        "--log-json",
        "--settings",
        "--test-resource-limits",
        "--set",
        "--version",
    ):
        assert word in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(brum: Brum, command: str) -> None:
    done = brum.run(command, "--help")
    assert (done.status, done.stderr) == (0, "")
    assert f"brum {command}" in done.stdout


def test_the_version_is_the_packages(brum: Brum) -> None:
    assert brum.run("--version").stdout == f"brum {brummer.__version__}\n"
    as_module = subprocess.run(
        [sys.executable, "-m", "brummer", "--version"], capture_output=True, text=True, timeout=WAIT_S, check=True
    )
    assert as_module.stdout == f"brum {brummer.__version__}\n"


# Wrong arguments.

WRONG = [
    ["--bogus"],
    ["-d", "/no/such/directory"],
    ["-d", "/etc/hostname"],
    ["-p", "0"],
    ["-p", "70000"],
    ["-p", "seven"],
    ["--log-level", "loud"],
    ["--http", "127.0.0.1:0"],
    ["--mcp", "--http", "nonsense"],
    ["--mcp", "--http", "127.0.0.1:99999"],
    ["--mcp", "dev"],
    ["--mcp", "--test-resource-limits"],
    ["--mcp", "-p", "7777"],
    ["--mcp", "-d", "/tmp"],
    ["--mcp", "--name", "second"],
    ["--settings", "dev"],
    ["--settings", "--mcp"],
    ["--json"],
    ["--set", "max_connections"],
    ["--set", "max_conections=5"],
    ["--set", "max_connections=0"],
    ["ls", "more"],
    ["call"],
    ["call", "shop"],
    ["call", "shop", "scripts_run", "{", "}"],
    ["call", "shop", "scripts_run", "not JSON"],
    ["call", "shop", "scripts_run", "[]"],
    ["mcp-config", "emacs"],
]


@pytest.mark.parametrize("arguments", WRONG, ids=shlex.join)
def test_wrong_arguments_give_status_2_and_name_what_is_wrong(brum: Brum, arguments: list[str]) -> None:
    done = brum.run(*arguments)
    assert (done.status, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("brum")
    assert len(last) > len("brum: error: ")


@pytest.mark.promise("a-mistyped-command")
def test_who_mistypes_a_command_gets_no_instance(brum: Brum, shop: Path) -> None:
    done = brum.run("stauts", cwd=shop)
    assert (done.status, done.stdout) == (1, "")
    assert "brum status" in done.stderr


# Streams and directories that others have left in an odd state.


def in_a_shell(brum: Brum, text: str, cwd: Path, **more: str) -> Done:
    """A line for a shell, in which ``brum`` is ours, and prints as it does where nobody looks: in blocks."""
    environment = {**brum.environment, **more, "PATH": f"{BRUM.parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONUNBUFFERED", None)
    done = subprocess.run(
        ["sh", "-c", text], env=environment, cwd=cwd, capture_output=True, timeout=3 * WAIT_S, check=False
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


STREAMS = {
    "closed, where it prints": ("brum ls >&-", 0, ""),
    "all closed": ("brum ls <&- >&- 2>&-", 0, ""),
    "closed, where a table would come": ("brum up hello >&- && brum down", 0, "in the background"),
    "closed, for a hub": ("brum --mcp <&-", 0, ""),
    "of a full disk": ("brum ls >/dev/full", 1, "brum: No space left on device\n"),
    "read by nobody, and the other with it": ("{ brum ps 2>&1; echo $? >status; } | true; cat status >&2", 0, "3\n"),
    "read by nobody": ("{ sleep 0; brum ls; echo $? >&2; } | true", 0, "141\n"),
    "of an encoding that lacks characters": ("PYTHONIOENCODING=ascii brum doctor", 0, ""),
}


@pytest.mark.parametrize(("line", "status", "said"), STREAMS.values(), ids=STREAMS)
def test_a_standard_stream_may_be(brum: Brum, shop: Path, line: str, status: int, said: str) -> None:
    done = in_a_shell(brum, line, shop, HOME=str(brum.home))
    assert done.status == status
    assert done.stderr == said or (said and said in done.stderr)


@pytest.mark.parametrize("command", ["ps", "up", "ls", "--settings", "logs", "call x y", "hello"])
def test_in_a_directory_that_was_removed_that_is_said(brum: Brum, command: str) -> None:
    (brum.home / "gone").mkdir()
    done = in_a_shell(brum, f"rmdir ../gone; brum {command}", brum.home / "gone")
    assert (done.status, done.stdout) == (1, "")
    assert "does not exist any more" in done.stderr


INTERRUPTED_AT = """
import builtins, os, signal, sys
from brummer.__main__ import main

moment, load = sys.argv.pop(1), builtins.__import__

def interrupted(name, *rest, **more):
    if name == moment:
        os.kill(os.getpid(), signal.SIGINT)
    return load(name, *rest, **more)

builtins.__import__ = interrupted
sys.exit(main())
"""


@pytest.mark.parametrize("moment", ["brummer.cli", "argparse", "brummer.cli.table", "uvloop"])
def test_ctrl_c_is_no_traceback_while_modules_are_loaded(brum: Brum, moment: str) -> None:
    program = brum.python("-c", INTERRUPTED_AT, moment, "ls")
    assert program.wait() == 130
    assert program.stderr.rest() == ""


def test_a_person_can_end_a_hub_on_a_terminal(brum: Brum) -> None:
    ours, theirs = pty.openpty()
    hub = subprocess.Popen(
        [BRUM, "--mcp"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=brum.home, env=brum.environment
    )
    os.close(theirs)
    try:
        os.write(ours, b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        shown = b""
        while b"result" not in shown:
            assert select.select([ours], [], [], WAIT_S)[0], shown
            shown += os.read(ours, 65_536)
        hub.send_signal(signal.SIGINT)
        assert hub.wait(WAIT_S) == 130
    finally:
        hub.kill()
        hub.wait(WAIT_S)
        os.close(ours)


# Settings.


def test_settings_show_every_value_with_its_source(brum: Brum) -> None:
    home = str(brum.home)
    users = brum.home / ".brum.toml"
    users.write_text('\nmax_reply = "2MiB"\n[servers.docs]\nurl = "http://u:secret@h/mcp"')
    project = brum.project("shop", {".brum.toml": "\n\nledger_entries = 7"})
    done = brum.run("--settings", "-d", project, "--set", "ledger_age=90", HOME=home, BRUMMER_MAX_CONNECTIONS="5")
    assert (done.status, done.stderr) == (0, "")
    heading, *rows = [re.split(" {2,}", line) for line in done.stdout.splitlines()]
    assert heading == ["SETTING", "VALUE", "SOURCE"]
    assert [row[0] for row in rows] == [*BY_KEY, "servers.docs"]
    shown = {row[0]: (row[1], row[2]) for row in rows}
    assert shown["max_reply"] == ("2MiB", f"{users}:2")
    assert shown["ledger_entries"] == ("7", f"{project / '.brum.toml'}:3")
    assert shown["max_connections"] == ("5", "BRUMMER_MAX_CONNECTIONS")
    assert shown["ledger_age"] == ("90s", "--set")
    assert shown["max_parked"][1] == "default"
    assert "secret" not in done.stdout
    listed = json.loads(brum.run("--settings", "--json", "-d", project, HOME=home).stdout)
    (reply,) = [item for item in listed["settings"] if item["key"] == "max_reply"]
    assert (reply["value"], reply["unit"], reply["source"]["line"]) == (2 * 1024**2, "bytes", 2)


def test_a_bad_file_is_an_error_for_people_and_a_problem_for_a_hub_that_goes_on(brum: Brum) -> None:
    project = brum.project("shop", {".brum.toml": "ledger_entries = 3\nmax_conections = 5"})
    place = f"{project / '.brum.toml'}:2"
    for arguments in (["--settings"], []):
        done = brum.run(*arguments, cwd=project)
        assert done.status == 1
        assert place in done.stderr
        assert "max_connections" in done.stderr
    hub = brum.hub(cwd=project, BRUMMER_MAX_REPLY="2MiB", BRUMMER_MAX_PARKED="3").greet()
    status = hub.call("hub_status")
    assert [problem["code"] for problem in status["problems"]] == ["settings_invalid"]
    assert (status["limits"]["parked"], status["limits"]["reply_bytes"]) == (3, 2 * 1024**2)


@pytest.mark.promise("a-repository-is-a-stranger")
def test_a_clone_opens_no_connection_and_changes_no_limit_of_a_hub(brum: Brum) -> None:
    """Its file names a server that listens, a limit, an endpoint and the basic link."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        port = listener.getsockname()[1]
        project = brum.project(
            "clone",
            {
                "Procfile": PROCFILE,
                ".brum.toml": f'use_robust_networking = false\nconnectivity_endpoints = ["127.0.0.1:{port}"]\n'
                f'max_parked = 0\n[servers.docs]\nurl = "http://127.0.0.1:{port}/mcp"\n',
            },
        )
        instance = brum.instance(project)
        assert any(f"{project / '.brum.toml'}:1: " in line for line in instance.stderr.seen)
        hub = brum.hub(cwd=project).greet()
        assert hub.call("scripts_list", instance="clone")["scripts"]
        status = hub.call("hub_status")
        with pytest.raises(BlockingIOError):
            listener.accept()
    problems = status["problems"]
    assert {problem["code"] for problem in problems} == {"setting_ignored"}
    file = project / ".brum.toml"
    for line, key in enumerate(("use_robust_networking", "connectivity_endpoints", "max_parked", "servers.docs"), 1):
        assert any(key in each["detail"] and each["detail"].startswith(f"{file}:{line}:") for each in problems)
    assert status["limits"]["parked"] == DEFAULTS.parked
    assert [link["instance_id"] for link in status["links"]] == [instance.record["instance_id"]]
    page = brum.run("status")
    assert (page.status, "setting_ignored" in page.stdout) == (1, True)


@pytest.mark.parametrize("home", ["", ".", "../clone"])
def test_without_an_absolute_home_a_project_is_not_taken_for_the_users_own(brum: Brum, home: str) -> None:
    project = brum.project("clone", {".brum.toml": "max_parked = 3"})
    done = brum.run("--settings", "--json", cwd=project, HOME=home)
    shown = json.loads(done.stdout)
    assert {each["key"]: each["source"]["kind"] for each in shown["settings"]}["max_parked"] == "default"
    assert [each["key"] for each in shown["warnings"] if each["path"].startswith(str(project))] == ["max_parked"]


# ls and call.


def test_ls_without_instances_says_how_to_start_one(brum: Brum) -> None:
    done = brum.run("ls")
    assert (done.status, done.stderr) == (0, "")
    assert "brum" in done.stdout
    assert json.loads(brum.run("ls", "--json").stdout) == {"instances": []}


def test_ls_shows_who_runs(brum: Brum, shop: Path) -> None:
    first, second = brum.instance(shop), brum.instance(brum.project("api"))
    table = brum.run("ls").stdout.splitlines()
    assert table[0].split() == ["PROJECT", "RUNNING", "URL", "DIRECTORY"]
    assert {line.split()[0] for line in table[1:]} == {"shop", "api"}
    listed = json.loads(brum.run("ls", "--json").stdout)["instances"]
    assert {item["instance_id"] for item in listed} == {first.id, second.id}


def test_a_reader_that_leaves_early_ends_ls_quietly(brum: Brum, shop: Path) -> None:
    brum.instance(shop)
    done = subprocess.run(
        ["sh", "-c", f"{shlex.quote(str(BRUM))} ls --json | true"],
        env=brum.environment,
        cwd=brum.home,
        capture_output=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.stderr == b""


def test_ls_that_watches_tells_who_comes_and_goes(brum: Brum, shop: Path) -> None:
    watching = brum.start(BRUM, "ls", "--watch", "--json")
    instance = brum.instance(shop)
    assert instance.id in watching.stdout.until(instance.id)
    instance.end()
    assert instance.id in watching.stdout.until(instance.id)
    watching.signal(signal.SIGINT)
    assert watching.wait() in (0, 130)
    assert "Traceback" not in watching.stderr.rest()


def test_the_doctor_finds_a_healthy_world_healthy(brum: Brum, shop: Path) -> None:
    brum.instance(shop)
    assert brum.run("doctor").status == 0
    findings = json.loads(brum.run("doctor", "--json").stdout)["findings"]
    assert {finding["verdict"] for finding in findings} <= {"ok", "note"}


def test_call_prints_the_structured_result(brum: Brum, shop: Path) -> None:
    instance = brum.instance(shop)
    for who in (instance.id, "shop", str(shop)):
        done = brum.run("call", who, "scripts_run", '{"name": "hello", "wait": "exit"}')
        assert (done.status, done.stderr) == (0, "")
        assert json.loads(done.stdout)["exit_code"] == 0
    assert json.loads(brum.run("call", "shop", "scripts_list").stdout)["scripts"]


@pytest.mark.parametrize(
    ("who", "tool", "code"),
    [
        ("nobody", "scripts_list", "not_found"),
        ("shop", "no_such_tool", None),
        ("shop", "scripts_stop", "invalid_arguments"),
    ],
)
def test_a_call_that_fails_gives_status_1_and_the_error(
    brum: Brum, shop: Path, who: str, tool: str, code: str | None
) -> None:
    brum.instance(shop)
    done = brum.run("call", who, tool)
    error = json.loads(done.stdout)["error"]
    assert (done.status, error["outcome"]) == (1, "not_executed")
    assert code in (None, error["code"])


# mcp-config.


def test_mcp_config_shows_every_client(brum: Brum) -> None:
    everything = brum.run("mcp-config").stdout
    for client in CLIENTS:
        one = brum.run("mcp-config", client)
        assert (one.status, one.stderr) == (0, "")
        assert one.stdout.strip() in everything


@pytest.mark.parametrize(
    ("client", "key"), [("cursor", "mcpServers"), ("vscode", "servers"), ("claude-desktop", "mcpServers")]
)
def test_what_mcp_config_says_to_add_starts_a_hub(brum: Brum, client: str, key: str) -> None:
    text = brum.run("mcp-config", client).stdout
    server = json.loads(text[text.index("{") :])[key]["brummer"]
    assert Path(server["command"]).is_absolute()
    hub = Hub([server["command"], *server["args"]], cwd=brum.home, env=brum.environment)
    try:
        assert len(hub.greet().ask("tools/list")["tools"]) == 16
    finally:
        hub.end()


def test_what_mcp_config_says_to_type_for_claude_code_starts_a_hub(brum: Brum) -> None:
    line = next(line for line in brum.run("mcp-config", "claude-code").stdout.splitlines() if "claude mcp" in line)
    command = shlex.split(line)
    hub = Hub(command[command.index("--") + 1 :], cwd=brum.home, env=brum.environment)
    try:
        assert len(hub.greet().ask("tools/list")["tools"]) == 16
    finally:
        hub.end()


@pytest.mark.parametrize(("client", "key"), [("cursor", "mcpServers"), ("vscode", "servers")])
async def test_a_hub_serves_the_http_configuration_that_mcp_config_prints(brum: Brum, client: str, key: str) -> None:
    hub = brum.hub_over_http()
    text = brum.run("mcp-config", client, "--http", urlsplit(hub.url).netloc).stdout
    server = json.loads(text[text.index("{") :])[key]["brummer"]
    assert server["url"] == hub.url
    token = server["headers"]["Authorization"].removeprefix("Bearer ")
    connected = await HttpClient.connected(server["url"], token=token)
    assert await connected.call("instances_list") == {"instances": []}


def test_the_http_configurations_of_mcp_config_have_one_token(brum: Brum) -> None:
    everything = brum.run("mcp-config", "--http").stdout
    assert everything.count(f"Bearer {brum.http_token}") == len(CLIENTS) - 1
    for client in CLIENTS:
        assert brum.run("mcp-config", "--http", client).stdout == brum.run("mcp-config", client, "--http").stdout
    assert "Bearer chosen" in brum.run("mcp-config", "--http", "cursor", BRUMMER_HTTP_TOKEN="chosen").stdout
    line = next(line for line in everything.splitlines() if "claude mcp" in line)
    assert shlex.split(line)[-1] == f"Authorization: Bearer {brum.http_token}"


# An instance.


def test_scripts_are_started_and_their_lines_carry_their_names(brum: Brum, shop: Path) -> None:
    instance = brum.instance(shop, "hello", "dev")
    lines = {instance.stdout.until("hello from"), instance.stdout.until("ready on")}
    assert {line.split("|")[0].strip() for line in lines} == {"hello", "dev"}


def test_lines_are_json_where_that_was_asked_for(brum: Brum, shop: Path) -> None:
    instance = brum.instance(shop, "--log-json", "hello")
    line = json.loads(instance.stdout.until('"text"'))
    assert (line["process"], line["stream"], line["text"]) == ("hello", "stdout", "hello from the script")
    ended = json.loads(instance.stdout.until('"exited"'))
    assert (ended["process"], ended["exit_code"]) == ("hello", 0)


def test_an_unknown_script_is_named_and_the_others_run(brum: Brum, shop: Path) -> None:
    instance = brum.instance(shop, "helo", "hello")
    assert "hello" in instance.stderr.until("'helo'")
    instance.stdout.until("hello from")
    instance.signal(signal.SIGTERM)
    assert instance.wait() == 1


def test_a_port_that_was_asked_for_is_taken_or_used(brum: Brum, shop: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = brum.run("--no-tui", "-d", shop, "-p", str(port))
    assert done.status == 1
    assert str(port) in done.stderr
    assert not list(brum.instances.glob("*.json"))
    instance = brum.instance(shop, "-p", str(port))
    assert instance.url == f"http://127.0.0.1:{port}/mcp"


def test_the_project_is_here_if_nobody_says_otherwise(brum: Brum, shop: Path) -> None:
    command = ["env", "-C", str(shop), str(BRUM), "--no-tui", "hello"]
    program = brum.start(*command)
    assert "shop" in program.stderr.until("is running")
    program.stdout.until("hello from")


def test_a_script_that_is_called_like_a_command_can_be_run(brum: Brum) -> None:
    project = brum.project("clash", {"Procfile": "ls: echo a script after all\n"})
    instance = brum.instance(project, "--", "ls")
    instance.stdout.until("a script after all")


def test_a_project_without_scripts_says_so(brum: Brum) -> None:
    instance = brum.instance(brum.project("empty", {"notes.txt": ""}))
    assert "none found" in instance.stderr.until("scripts:")


def test_a_broken_file_is_reported_and_hides_nothing_else(brum: Brum) -> None:
    project = brum.project("torn", {"package.json": '{"scripts": {', "Procfile": "web: echo here\n"})
    brum.instance(project)
    answer = json.loads(brum.run("call", "torn", "scripts_list").stdout)
    assert [script["name"] for script in answer["scripts"]] == ["web"]
    assert [problem["source"] for problem in answer["problems"]] == ["package.json"]


def program_called(name: str, folder: Path) -> None:
    """A stand-in that says how it was called."""
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{name} was called with: $*"\n')
    path.chmod(0o755)


SOURCES = [
    ({"Makefile": "build:\n\t@echo built by make\n"}, "build", "built by make"),
    ({"Procfile": "web: echo $((40 + 2)) from the shell\n"}, "web", "42 from the shell"),
    ({"package.json": '{"scripts": {"dev": "x"}}'}, "dev", "npm was called with: run dev"),
    ({"package.json": '{"scripts": {"dev": "x"}}', "yarn.lock": ""}, "dev", "yarn was called with: run dev"),
    ({"package.json": '{"scripts": {"dev": "x"}}', "pnpm-lock.yaml": ""}, "dev", "pnpm was called with: run dev"),
    ({"package.json": '{"scripts": {"dev": "x"}}', "bun.lock": ""}, "dev", "bun was called with: run dev"),
    ({"pyproject.toml": '[project.scripts]\nserve = "a:b"\n', "uv.lock": ""}, "serve", "uv was called with: run serve"),
    ({"pyproject.toml": '[tool.poe.tasks]\nlint = "x"\n'}, "lint", "poe was called with: lint"),
]


@pytest.mark.promise("scripts-are-found")
@pytest.mark.parametrize(("files", "script", "says"), SOURCES, ids=[" ".join(files) for files, _, _ in SOURCES])
def test_a_script_of_every_source_runs(brum: Brum, files: dict[str, str], script: str, says: str) -> None:
    tools = brum.home / "bin"
    tools.mkdir()
    for name in ("npm", "yarn", "pnpm", "bun", "uv", "poe"):
        program_called(name, tools)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    from_a_make = {"MAKEFLAGS": "w", "MAKELEVEL": "1"}
    instance = brum.instance(brum.project("sourced", files), script, PATH=path, **from_a_make)
    instance.stdout.until(says)
    listed = json.loads(brum.run("call", instance.id, "scripts_list").stdout)["scripts"]
    assert [(item["name"], item["source"]) for item in listed] == [(script, next(iter(files)))]


def test_a_script_whose_program_is_not_there_fails_with_a_word(brum: Brum) -> None:
    brum.instance(brum.project("lost", {"pyproject.toml": '[tool.pdm.scripts]\nserve = "x"\n'}), PATH="/nowhere")
    done = brum.run("call", "lost", "scripts_run", '{"name": "serve"}')
    assert done.status == 1
    assert json.loads(done.stdout)["error"]["code"] == "script_failed_to_start"


# Surroundings.


@pytest.mark.parametrize("directory", ["relative/path", "/proc/nothing/here", "/dev/null"])
@pytest.mark.parametrize("command", [["ls"], ["--no-tui"]], ids=["ls", "instance"])
def test_an_instances_directory_that_cannot_be_is_named(brum: Brum, command: list[str], directory: str) -> None:
    done = brum.run(*command, BRUMMER_INSTANCES_DIR=directory)
    assert done.status in ({0, 1} if command == ["ls"] else {1})
    if command != ["ls"]:
        assert done.stderr.startswith("brum: ")


def test_a_hub_whose_instances_directory_cannot_be_still_answers(brum: Brum) -> None:
    hub = brum.hub(BRUMMER_INSTANCES_DIR="/dev/null").greet()
    assert hub.call("instances_list") == {"instances": []}
    assert hub.call("hub_status")["problems"]


def test_a_taken_port_for_http_is_named(brum: Brum) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = brum.run("--mcp", "--http", f"127.0.0.1:{port}")
    assert done.status == 1
    assert str(port) in done.stderr


def test_an_impatient_user_who_presses_ctrl_c_twice_is_obeyed(brum: Brum) -> None:
    stubborn = f"{sys.executable} -c 'import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(99)'"
    instance = brum.instance(brum.project("stubborn", {"Procfile": f"mule: {stubborn}\n"}), "mule")
    instance.stdout.until("mule | 1")
    instance.signal(signal.SIGINT)
    instance.stderr.until("stopping")
    instance.signal(signal.SIGINT)
    assert instance.wait(1) == -signal.SIGINT
    assert brum.gone()
    assert json.loads(brum.run("ls", "--json").stdout) == {"instances": []}
    assert "Traceback" not in instance.stderr.rest()


@pytest.mark.promise("records-are-private")
def test_the_record_is_for_its_owners_eyes_only(brum: Brum, shop: Path) -> None:
    instance = brum.instance(shop)
    assert brum.instances.stat().st_mode & 0o777 == 0o700
    assert (brum.instances / f"{instance.id}.json").stat().st_mode & 0o777 == 0o600
    assert within(1, lambda: not list(brum.instances.glob("*.tmp")))
