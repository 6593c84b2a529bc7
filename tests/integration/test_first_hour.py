"""The first hour of a new user: `brum up` in the usual kinds of project, with nothing prepared.

Tools are programs of the test on PATH, which print how they were called; a test says where. `test_first_hour_tools`
has the real ones.
"""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from tests.integration.programs import BRUM, SERVER_PY, WAIT_S, Brum, Done

SERVER = f"{sys.executable} server.py"
IDLE = "exec sleep 600"


class Machine:
    """Projects, and a directory in front of PATH for programs of the test."""

    def __init__(self, brum: Brum) -> None:
        self.brum = brum
        self.bin = brum.home / "bin"
        self.bin.mkdir()
        self._settings = {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}

    def has(self, *programs: str, text: str = 'echo "called: $(basename "$0") $*"; exec sleep 600') -> None:
        """Programs of these names, which print their arguments and stay."""
        for name in programs:
            (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.bin / name).chmod(0o755)

    def project(self, files: Mapping[str, object]) -> Path:
        """A repository with these files; tables are written as JSON."""
        texts = {name: text if isinstance(text, str) else json.dumps(text) for name, text in files.items()}
        return self.brum.project("shop", {".git/HEAD": "", "server.py": SERVER_PY, **texts})

    def type(self, *command: str, cwd: Path) -> Done:
        return self.brum.run(*command, cwd=cwd, stdin=b"", **self._settings)

    @contextlib.contextmanager
    def typing(self, *command: str, cwd: Path) -> Iterator["Terminal"]:
        """The command on a terminal."""
        environment = {**self.brum.environment, **self._settings, "TERM": "xterm"}
        terminal = Terminal([BRUM, *command], cwd, environment)
        try:
            yield terminal
        finally:
            terminal.end()

    def processes(self, cwd: Path) -> dict[str, dict[str, Any]]:
        """By name."""
        return {each["name"]: each for each in json.loads(self.type("ps", "--json", cwd=cwd).stdout)["processes"]}

    def says(self, script: str, line: str, cwd: Path) -> None:
        """The script prints this line sooner or later."""
        done = self.type("wait", script, "--log", f"^{line}$", cwd=cwd)
        assert done.status == 0, done.stderr


class Terminal:
    """A command on a terminal."""

    def __init__(self, command: Sequence[str | Path], cwd: Path, environment: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self._program = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=environment, process_group=0
        )
        os.close(theirs)
        self._shown = ""

    def until(self, wanted: str) -> Self:
        """Wait until it has shown this, after what was waited for before."""
        while wanted not in self._shown:
            assert self._more(), f"no {wanted!r} in {self._shown!r}"
        self._shown = self._shown.partition(wanted)[2]
        return self

    def write(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def interrupt(self) -> None:
        self._program.send_signal(signal.SIGINT)

    def rest(self) -> int:
        """Its exit status."""
        while self._more():
            pass
        return self._program.wait(WAIT_S)

    def end(self) -> None:
        self._program.kill()
        self._program.wait(WAIT_S)
        os.close(self._ours)

    def _more(self) -> bool:
        if not select.select([self._ours], [], [], WAIT_S)[0]:
            return False
        try:
            found = os.read(self._ours, 65_536)
        except OSError:  # EIO: no process has the other end any more
            return False
        self._shown += found.decode(errors="replace")
        return bool(found)


@pytest.fixture
def machine(brum: Brum) -> Iterator[Machine]:
    yield Machine(brum)
    for record in brum.instances.glob("*.json"):
        brum.run("down", "-d", json.loads(record.read_text())["directory"])
    assert brum.gone()


@pytest.mark.promise("up-starts-what-the-tool-starts")
def test_every_line_of_a_procfile_is_started(machine: Machine) -> None:
    lines = {"web": SERVER, **dict.fromkeys(("worker", "mailer", "clock", "search", "assets"), IDLE)}
    project = machine.project({"Procfile": "".join(f"{name}: {command}\n" for name, command in lines.items())})
    done = machine.type("up", "--no-wait", cwd=project)
    assert done.status == 0
    assert "web, worker, mailer, clock, search, assets (from Procfile)" in done.stderr
    assert list(machine.processes(project)) == list(lines)
    assert all(each["pid"] for each in machine.processes(project).values())


def test_the_procfile_of_development_comes_first(machine: Machine) -> None:
    files = {
        "Procfile": "web: exit 1\nrelease: exit 1\n",
        "Procfile.dev": f"web: {SERVER}\ncss: {IDLE}\n",
        "Gemfile": 'gem "rails"\n',
        "bin/rails": "",
        "bin/dev": "exit 1\n",
    }
    project = machine.project(files)
    done = machine.type("up", "--no-wait", cwd=project)
    assert (done.status, "web, css (from Procfile.dev)" in done.stderr) == (0, True)
    assert list(machine.processes(project)) == ["web", "css"]


@pytest.mark.parametrize(
    ("manager", "files"),
    [
        ("npm", {"package.json": {"workspaces": ["packages/*"]}}),
        ("yarn", {"package.json": {"workspaces": ["packages/*"]}, "yarn.lock": ""}),
        ("pnpm", {"package.json": {}, "pnpm-workspace.yaml": "packages:\n  - 'packages/*'\n"}),
    ],
)
def test_in_a_workspace_dev_of_every_package_is_started_or_that_of_the_package_where_the_user_stands(
    machine: Machine, manager: str, files: dict[str, object]
) -> None:
    """The package manager is a program of the test."""
    machine.has(manager)
    for name in ("web", "api"):
        files[f"packages/{name}/package.json"] = {"name": f"@shop/{name}", "scripts": {"dev": "x", "start": "x"}}
    project = machine.project(files)
    done = machine.type("up", "--no-wait", cwd=project)
    assert (done.status, "api:dev, web:dev (of the packages" in done.stderr) == (0, True)
    for name in ("web:dev", "api:dev"):
        machine.says(name, f"called: {manager} run dev", project)
    assert machine.type("down", cwd=project).status == 0

    package = project / "packages" / "web"
    assert machine.type("up", "--no-wait", cwd=package).status == 0
    machine.says("dev", f"called: {manager} run dev", package)


def test_in_a_package_its_scripts_have_short_names_and_down_leaves_the_others_alone(machine: Machine) -> None:
    """Npm is a program of the test."""
    machine.has("npm")
    files: dict[str, object] = {"package.json": {"workspaces": ["packages/*"], "scripts": {"test": "x"}}}
    for name in ("web", "api"):
        files[f"packages/{name}/package.json"] = {"name": name, "scripts": {"dev": "x"}}
    project = machine.project(files)
    assert machine.type("up", "--no-wait", cwd=project).status == 0
    package = project / "packages" / "web" / "src"
    package.mkdir()
    machine.says("dev", "called: npm run dev", package)
    assert machine.type("logs", "dev", cwd=package).stdout == "web:dev | called: npm run dev\n"
    for command in ("restart", "up"):
        done = machine.type(command, "--no-wait", "dev", cwd=package)
        assert (done.status, done.stdout.split()[5]) == (0, "web:dev")
    down = machine.type("down", cwd=package)
    assert (down.status, down.stdout) == (0, "web:dev is stopped\n")
    assert f"api:dev; brum down -d {project} ends all" in down.stderr
    assert machine.type("up", "--no-wait", "dev", "test", cwd=package).status == 0, "test is the workspace's"
    assert {name for name, each in machine.processes(project).items() if each["pid"]} == {"web:dev", "api:dev", "test"}
    assert machine.type("down", "test", "dev", "api:dev", cwd=package).status == 0
    assert machine.type("down", cwd=package).stdout == "shop is down\n", "nothing else runs"


def test_the_packages_of_a_uv_workspace_are_run_by_uv(machine: Machine) -> None:
    """Uv is a program of the test."""
    machine.has("uv")
    files = {
        "pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n',
        "packages/api/pyproject.toml": '[project]\nname = "api"\nversion = "1"\n[project.scripts]\ndev = "api:run"\n',
    }
    package = machine.project(files) / "packages" / "api"
    done = machine.type("up", "--no-wait", cwd=package.parent)
    assert (done.status, "api:dev (of the packages" in done.stderr) == (0, True)
    machine.says("api:dev", "called: uv run dev", package)
    assert machine.type("down", cwd=package).status == 0

    assert machine.type("up", "--no-wait", cwd=package).status == 0
    machine.says("dev", "called: uv run dev", package)


STAYS = "#!/bin/sh\necho called: $*\nexec sleep 600\n"
"""A program of the test in place of a tool."""
FRAMEWORKS: dict[str, tuple[dict[str, object], list[str], str, str]] = {
    "Vite": ({"package.json": {"scripts": {"dev": "vite", "build": "x"}}}, ["npm"], "dev", "called: npm run dev"),
    "Next": ({"package.json": {"scripts": {"dev": "next dev", "start": "x"}}}, ["npm"], "dev", "called: npm run dev"),
    "Django": (
        {"manage.py": "DJANGO_SETTINGS_MODULE", ".venv/bin/python": STAYS},
        [],
        "runserver",
        "called: manage.py runserver",
    ),
    "FastAPI": (
        {"main.py": "from fastapi import FastAPI\napp = FastAPI()\n", ".venv/bin/fastapi": STAYS},
        [],
        "fastapi",
        "called: dev main.py",
    ),
    "Go": ({"go.mod": "module x\n", "server.go": "package main\n"}, ["go"], "run", "called: go run ."),
    "Cargo": (
        {"Cargo.toml": '[package]\nname = "x"\n', "src/main.rs": ""},
        ["cargo"],
        "run",
        "called: cargo run --bin x",
    ),
    "compose": (
        {"compose.yaml": "services:\n  web:\n    image: x\n  db:\n    image: x\n"},
        ["docker"],
        "up",
        "called: docker compose up",
    ),
}


@pytest.mark.parametrize(("files", "programs", "script", "line"), FRAMEWORKS.values(), ids=FRAMEWORKS)
def test_the_server_of_a_framework_is_started(
    machine: Machine, files: dict[str, object], programs: list[str], script: str, line: str
) -> None:
    """All tools are programs of the test."""
    machine.has(*programs)
    project = machine.project(files)
    for program in project.glob(".venv/bin/*"):
        program.chmod(0o755)
    done = machine.type("up", "--no-wait", cwd=project)
    assert done.status == 0, done.stderr
    machine.says(script, line, project)


def test_on_a_terminal_the_user_chooses_and_the_choice_is_remembered_if_wanted(machine: Machine) -> None:
    """Just is a program of the test."""
    machine.has("just")
    project = machine.project({"justfile": "build:\n  x\nserve:\n  x\n", ".brum.toml": "# ours\n"})
    with machine.typing("up", "--no-wait", cwd=project) as terminal:
        terminal.until("Start which?").write("nope\n")
        terminal.until("Start which?").write("2\n")
        terminal.until("[y/N]").write("y\n")
        assert terminal.rest() == 0
    machine.says("serve", "called: just serve", project)
    assert (project / ".brum.toml").read_text() == "# ours\n\n[scripts.serve]\nautostart = true\n"
    assert machine.type("down", cwd=project).status == 0
    again = machine.type("up", "--no-wait", cwd=project)
    assert (again.status, "serve (with autostart)" in again.stderr) == (0, True)


@pytest.mark.parametrize(("keys", "status"), [("\n", 5), ("\x04", 5), ("", 130)], ids=["Enter", "Ctrl-D", "Ctrl-C"])
def test_on_a_terminal_nothing_is_started_if_the_user_chooses_nothing(machine: Machine, keys: str, status: int) -> None:
    project = machine.project({"justfile": "build:\n  x\nserve:\n  x\n"})
    with machine.typing("up", cwd=project) as terminal:
        terminal.until("Start which?").write(keys)
        if not keys:
            terminal.interrupt()
        assert terminal.rest() == status
    assert not machine.brum.alive()
    assert not (project / ".brum.toml").exists()


def test_on_a_terminal_a_table_fills_in(machine: Machine) -> None:
    project = machine.project({"Procfile": f"web: sleep 0.5; {SERVER}\n"})
    with machine.typing("up", cwd=project) as terminal:
        terminal.until("does not listen yet").until("\x1b[2A\x1b[J").until("mready")
        assert terminal.rest() == 0


def test_up_returns_while_a_worker_runs_and_fails_only_for_what_has_to_be_ready(machine: Machine) -> None:
    files = {
        "Procfile": f"web: {SERVER}\nworker: {IDLE}\nslow: {IDLE}\n",
        ".brum.toml": "[scripts.slow]\nready = { log = 'never' }\n",
    }
    project = machine.project(files)
    done = machine.type("up", cwd=project)
    assert done.status == 0, done.stderr
    shown = [re.split(r" {2,}", line)[:2] for line in done.stdout.splitlines()[1:]]
    assert sorted(shown) == [
        ["slow", "running; not ready yet"],
        ["web", "ready"],
        ["worker", "running; does not listen yet"],
    ]
    assert machine.type("up", "--timeout", "100ms", "web", "worker", cwd=project).status == 0
    late = machine.type("restart", "--timeout", "100ms", "slow", cwd=project)
    assert (late.status, "not ready within 0.1 s: slow" in late.stderr) == (4, True)
    assert machine.type("down", "web", cwd=project).status == 0
    (project / "server.py").write_text("import time\ntime.sleep(600)\n")
    late = machine.type("up", "--timeout", "100ms", "web", "worker", cwd=project)
    assert (late.status, "not ready within 0.1 s: web" in late.stderr) == (4, True), "it has listened before"


SLOW_JS = """\
const go = setInterval(() => {
  if (!require("fs").existsSync("go")) return
  clearInterval(go)
  require("http").createServer((_, answer) => answer.end("x")).listen(0, "127.0.0.1")
}, 50)
"""


def test_the_port_of_a_debugger_makes_nothing_ready(machine: Machine, node: Path) -> None:
    project = machine.project({"Procfile": f"dev: {node} --inspect=0 slow.js\n", "slow.js": SLOW_JS})
    assert machine.type("up", "--no-wait", cwd=project).status == 0
    machine.says("dev", "Debugger listening on .*", project)
    early = machine.type("wait", "dev", "--timeout", "600ms", cwd=project)
    assert (early.status, "running" in early.stderr) == (4, True)
    (project / "go").touch()
    assert machine.type("wait", "dev", cwd=project).status == 0
    [url] = machine.processes(project)["dev"]["urls"]
    assert machine.type("logs", "dev", cwd=project).stdout.count(url.rpartition(":")[2]) == 0, "not the debugger's port"


@pytest.mark.promise("up-starts-what-the-tool-starts")
@pytest.mark.parametrize(
    "files",
    [{"justfile": "build:\n  x\ntest:\n  x\n"}, {"Taskfile.yml": "version: 3\ntasks:\n  build: x\n  test: x\n"}],
    ids=["justfile", "Taskfile"],
)
def test_without_dev_or_start_the_choices_are_listed_and_nothing_is_started(
    machine: Machine, files: dict[str, object]
) -> None:
    project = machine.project(files)
    done = machine.type("up", cwd=project)
    assert done.status == 5
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["NAME", "build", "test"]
    assert "brum up NAME" in done.stderr
    assert not machine.brum.alive()
