"""Every command in the README and the pages under docs/ is run, in the order of its page, as a reader would type it.

A shell command is a line of an indented or fenced block that begins with a program's name. `COMMANDS` says what each
needs and does; one that it does not know, and one that no page has any more, fails.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from install_text import what_to_install
from tests.integration.programs import BRUM, SERVER_PY, WAIT_S, Brum, Program, tasks, within

ROOT = Path(__file__).parent.parent.parent
ADDRESS = what_to_install((ROOT / "pyproject.toml").read_text())
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

PROGRAM = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:make|brum|uvx?|pipx|cd|mkdir|export|sh|pip|python3?|claude|\.venv/bin/\w+) ?(?! *[=:])"
)
SHELLS = {"sh", "shell", "bash", "console"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"(?<=\n\n)(?: {4}.*\n|\n(?= {4}))+")
COMMENT = re.compile(r"\s+#\s.*$")


@dataclass(frozen=True)
class Runs:
    """To its end, in ``where``, with an exit status among these, and with this in what it prints.

    ``up``: the scripts that have to run first, in the project's instance.
    """

    statuses: tuple[int, ...] = (0,)
    prints: str = ""
    up: tuple[str, ...] = ()
    where: str = "my-project"


@dataclass(frozen=True)
class Stays:
    """Until it has printed this, and then Ctrl-C; with ``stdin`` until that is closed."""

    prints: str
    up: tuple[str, ...] = ()
    stdin: bytes | None = None
    where: str = "my-project"


@dataclass(frozen=True)
class NotHere:
    """It is run elsewhere, or can't be run; why."""

    reason: str


Fate = Runs | Stays | NotHere

INITIALIZE = b"""\
{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},\
"clientInfo":{"name":"docs","version":"0"}}}
"""
MADE_BY_SETUP = NotHere("it made the environment that runs this test")
TAKES_LONG = NotHere("it takes minutes to hours, and has a run of its own")
WHOLE_SUITE = NotHere("it is, or contains, the run that this test belongs to")
RUN_BY_US = NotHere("a run of the tests within the tests; what it names is checked below")

LIMITS = NotHere("it takes half a minute, and test_resource_limits runs it")

INSTALLED = NotHere("test_installed runs it, with a wheel of this tree")

THERE = NotHere("it needs another machine; test_ssh_box runs such commands against a real sshd")

COMMANDS: dict[str, Fate] = {
    # README.md
    f"uv tool install {ADDRESS}": INSTALLED,
    f"pipx install {ADDRESS}": INSTALLED,
    f"uvx --from {ADDRESS} brum --version": INSTALLED,
    "make demo": NotHere("a step of its own in every check of this project"),
    "make test": WHOLE_SUITE,
    "cd my-project && brum up": Runs(prints="ready", where="."),
    "brum": NotHere("it opens the view, which needs a terminal; it runs in test_terminal_view"),
    "brum --no-tui": Stays("is running"),
    "brum ps": Runs(prints="dev", up=("dev",)),
    "brum logs -f": Stays("dev  | ready on http", up=("dev",)),
    "brum restart dev": Runs(prints="dev", up=("dev",)),
    "brum dev": Stays("dev  | ready on http"),
    "brum mcp-config": Runs(prints="claude mcp add"),
    "brum ls": Runs(prints="my-project", up=("dev",)),
    "brum web": Stays("http://127.0.0.1:"),
    "brum status": Runs(statuses=(0, 1)),  # 1: no hub runs, or one has a problem
    "brum --settings": Runs(prints="max_connections"),
    "brum --test-resource-limits": LIMITS,
    "brum --mcp --server box=ssh://devbox": Stays('"serverInfo"', stdin=INITIALIZE),
    "brum doctor": Runs(statuses=(0, 1), prints="instances"),  # 1: this machine has no agent, or something to mend
    """brum call my-project scripts_run '{"name": "test", "wait": "exit"}'""": Runs(
        prints='"exit_code": 0', up=("dev",)
    ),
    # docs/commands.md
    "brum up": Runs(prints="dev"),
    "brum up web worker": Runs(prints="worker"),
    "brum worker web": Stays("worker | working"),
    "brum ps --usage": Runs(prints="MiB", up=("dev",)),
    "brum attach web": NotHere("it needs a terminal of its own; tested in test_typing"),
    "brum logs": Runs(prints="dev | ready on http", up=("dev",)),
    "brum logs -n 20 web": Runs(prints="web | ", up=("web",)),
    "brum logs --errors --since 10m": Runs(up=("web",)),
    "brum logs --grep 'GET /api' -t web": Runs(up=("web",)),
    "brum logs --json": Runs(prints='"text":"ready on http', up=("dev",)),
    "brum restart": Runs(prints="web", up=("web",)),
    "brum restart web": Runs(prints="web", up=("web",)),
    "brum down web": Runs(prints="web is stopped", up=("web",)),
    "brum down": Runs(prints="is down", up=("web",)),
    "brum wait web && open http://localhost:5173/": Runs(prints="opened http://localhost:5173/", up=("web",)),
    "brum wait test --exit --timeout 5m": Runs(up=("test",)),
    r"brum wait web --log 'compiled in \d+ ms'": Runs(prints="compiled in 12 ms", up=("web",)),
    "brum wait api --port 8000": NotHere("the port is the reader's; waiting for one is tested in test_people_commands"),
    # docs/configuration.md
    "BRUMMER_MAX_CONNECTIONS=5 brum --test-resource-limits": LIMITS,
    # docs/contributing.md
    "make setup": MADE_BY_SETUP,
    "make build": NotHere("test_installed makes the package, as it does"),
    "make check": NotHere("a step of its own in every check of this project"),
    "make format": NotHere("it would change the files under the test"),
    "make docs": NotHere("it would change the files under the test"),
    "make coverage": WHOLE_SUITE,
    "make pictures": TAKES_LONG,
    "make walk": TAKES_LONG,
    "make integration-test": WHOLE_SUITE,
    "make bench": TAKES_LONG,
    "make bench BASE=main": TAKES_LONG,
    "make bench ONLY=views": TAKES_LONG,
    'make bench BASE=f244a83 ONLY="hop calls"': TAKES_LONG,
    "make bench BASE=HEAD ROUNDS=15": TAKES_LONG,
    "make clients-test": TAKES_LONG,
    "make chaos": TAKES_LONG,
    "make soak": TAKES_LONG,
    "make simulate": TAKES_LONG,
    "make replay SEED=n": TAKES_LONG,
    "make simulate RECORD=1": TAKES_LONG,
    "make quiet": TAKES_LONG,
    "make suspend-test": TAKES_LONG,
    "make lock": NotHere("it asks the package registry"),
    "make help": Runs(prints="make demo", where="repository"),
    "make clean": NotHere("it would take away what runs this test"),
    ".venv/bin/pytest tests/unit/test_link_backoff.py": RUN_BY_US,
    'make test T="-k backoff -x"': RUN_BY_US,
    ".venv/bin/pytest tests/integration/test_startup.py": RUN_BY_US,
    "GOLDEN=write .venv/bin/pytest tests/unit/test_instance_answer_bytes.py": NotHere(
        "it would change the files under the test"
    ),
    # docs/operators.md
    "brum metrics": Runs(prints="brummer_scripts", up=("dev",)),
    "brum metrics --json": Runs(prints='"brummer_scripts"', up=("dev",)),
    "brum --mcp --metrics 127.0.0.1:9464": Stays('"serverInfo"', stdin=INITIALIZE),
    "brum --metrics 127.0.0.1:9465": Stays("is running"),
    # docs/remote.md
    "brum ls --on box": THERE,
    "brum ps --on box": THERE,
    "brum logs --on box -d work/api -f": THERE,
    "brum up --on box ./work/api dev": THERE,
    "brum down --on box -d work/api": THERE,
    # docs/start.md
    "brum --version": Runs(prints="brum"),
    "mkdir -p ~/hello && cd ~/hello && echo 'dev: python3 -m http.server 8123' > Procfile": Runs(where="elsewhere"),
    "brum mcp-config claude-code": Runs(prints="claude mcp add"),
    "brum mcp-config --write codex": Runs(prints="[mcp_servers.brummer]"),
    "brum mcp-config --http": Runs(prints="Authorization: Bearer"),
    "brum mcp-config --http localhost:7701": Runs(prints="http://localhost:7701/mcp"),
    """brum call hello logs_tail '{"process": "dev"}'""": Runs(prints='"lines"', up=("dev",), where="hello"),
}


def shell_commands(page: str) -> Iterator[str]:
    """Those of its blocks, in order, without their comments."""
    fenced = [code for language, code in FENCE.findall(page) if language in SHELLS]
    indented = BLOCK.findall(FENCE.sub("", page))
    for block in (*fenced, *indented):
        for line in block.splitlines():
            if PROGRAM.match(line.strip()):
                yield COMMENT.sub("", line.strip())


IN_PAGES = {page.name: list(shell_commands(page.read_text())) for page in PAGES}


class Reader:
    """Somebody who reads the pages in a terminal: three directories, and programs on the PATH."""

    def __init__(self, brum: Brum) -> None:
        self.brum = brum
        programs = brum.home / "bin"
        programs.mkdir()
        (programs / "open").write_text('#!/bin/sh\necho "opened $1"\n')
        (programs / "open").chmod(0o755)
        self.settings = {
            "PATH": f"{programs}:{BRUM.parent}:{os.environ['PATH']}",
            "HOME": str(brum.home / "elsewhere"),
            "XDG_STATE_HOME": str(brum.home / "state"),
        }
        (brum.home / "elsewhere").mkdir()
        brum.project("my-project", {"server.py": SERVER_PY, **tasks(SCRIPTS)})
        brum.project("hello", {"Procfile": f"dev: {sys.executable} -u -m http.server 0 --bind 127.0.0.1\n"})

    def starts(self, command: str, where: str, **settings: Any) -> Program:
        folder = ROOT if where == "repository" else self.brum.home / where
        environment = {**self.brum.environment, **self.settings}
        shell = ["/bin/sh", "-c", f"exec {command}" if isinstance(COMMANDS[command], Stays) else command]
        return Program(shell, cwd=folder, env=environment, **settings)

    def runs(self, command: str, where: str) -> tuple[int, str]:
        """Its status, and all that it printed."""
        program = self.starts(command, where, stdin=subprocess.DEVNULL)
        try:
            return program.wait(3 * WAIT_S), program.stdout.rest() + program.stderr.rest()
        finally:
            program.end()

    def has_up(self, scripts: tuple[str, ...], where: str) -> None:
        if scripts:
            done = self.brum.run("up", *scripts, "-d", where, cwd=None, stdin=b"", **self.settings)
            assert done.status == 0, done.stderr

    def goes(self) -> None:
        """Nothing runs any more."""
        for record in self.brum.instances.glob("*.json"):
            with contextlib.suppress(OSError, ValueError):
                directory = json.loads(record.read_text())["directory"]
                self.brum.run("down", "-d", directory, cwd=None, stdin=b"", **self.settings)


SCRIPTS = {
    "dev": f"{sys.executable} server.py",
    "web": f"echo compiled in 12 ms; exec {sys.executable} server.py",
    "worker": f"echo working; exec {sys.executable} server.py",
    "test": "echo 3 passed",
}


@pytest.fixture
def reader(brum: Brum) -> Iterator[Reader]:
    yield Reader(brum)
    brum.kill_all()


@pytest.mark.promise("commands-of-a-day")
@pytest.mark.parametrize("page", [page for page, commands in IN_PAGES.items() if commands])
def test_every_command_of_a_page_does_what_it_says(reader: Reader, page: str) -> None:
    for command in IN_PAGES[page]:
        fate = COMMANDS[command]
        if isinstance(fate, Runs):
            runs(reader, command, fate)
        elif isinstance(fate, Stays):
            stays(reader, command, fate)
    reader.goes()
    assert reader.brum.gone()


def runs(reader: Reader, command: str, fate: Runs) -> None:
    reader.has_up(fate.up, fate.where)
    status, printed = reader.runs(command, fate.where)
    assert status in fate.statuses, (command, printed)
    assert fate.prints in printed, command
    assert "Traceback" not in printed, command


def stays(reader: Reader, command: str, fate: Stays) -> None:
    reader.has_up(fate.up, fate.where)
    if not fate.up:
        reader.goes()  # one instance per directory, and this command is one
    program = reader.starts(command, fate.where, stdin=subprocess.PIPE if fate.stdin else subprocess.DEVNULL)
    try:
        if fate.stdin and program.process.stdin:
            program.process.stdin.write(fate.stdin)
            program.process.stdin.flush()
        assert within(WAIT_S, lambda: shown(program, fate.prints)), (command, program.stderr.seen)
        if fate.stdin and program.process.stdin:
            program.process.stdin.close()
        else:
            program.signal(signal.SIGINT)
        assert program.wait() == 0, command
    finally:
        program.end()


def shown(program: Program, text: str) -> bool:
    """Whether either of its streams has it by now."""
    for stream in (program.stdout, program.stderr):
        with contextlib.suppress(TimeoutError, EOFError):
            while True:
                stream.line(0.01)
    return any(text in line for stream in (program.stdout, program.stderr) for line in stream.seen)


def test_every_command_of_the_pages_is_known_here_and_every_one_known_here_is_in_a_page() -> None:
    assert {command for commands in IN_PAGES.values() for command in commands} == set(COMMANDS)


def test_every_block_of_the_pages_is_either_all_commands_or_none() -> None:
    for page in PAGES:
        for block in BLOCK.findall(FENCE.sub("", page.read_text())):
            lines = [line.strip() for line in block.splitlines() if line.strip()]
            assert len({bool(PROGRAM.match(line)) for line in lines}) == 1, (page.name, lines)


def test_every_file_of_tests_that_a_command_names_is_there() -> None:
    for command in COMMANDS:
        for path in re.findall(r"tests/[\w/.]+", command):
            assert (ROOT / path).is_file(), command
