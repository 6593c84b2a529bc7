"""The first hour of a new user: `brum up` in the usual kinds of project, with nothing prepared.

Tools that can't be had here are programs of the test on PATH, which print how they were called; a test says where.
"""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.programs import SERVER_PY, Brum, Done

SERVER = f"{sys.executable} server.py"
IDLE = "exec sleep 600"


class Machine:
    """Projects, and a directory in front of PATH for programs of the test."""

    def __init__(self, brum: Brum, bytecode: Path) -> None:
        self.brum = brum
        self.bin = brum.home / "bin"
        self.bin.mkdir()
        self._settings = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPYCACHEPREFIX": str(bytecode),
            "PYTHONDONTWRITEBYTECODE": "",
        }

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

    def processes(self, cwd: Path) -> dict[str, dict[str, Any]]:
        """By name."""
        return {each["name"]: each for each in json.loads(self.type("ps", "--json", cwd=cwd).stdout)["processes"]}

    def says(self, script: str, line: str, cwd: Path) -> None:
        """The script prints this line sooner or later."""
        done = self.type("wait", script, "--log", f"^{line}$", cwd=cwd)
        assert done.status == 0, done.stderr


@pytest.fixture
def machine(brum: Brum, bytecode: Path) -> Iterator[Machine]:
    yield Machine(brum, bytecode)
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


def test_a_package_of_a_uv_workspace_is_run_by_uv(machine: Machine) -> None:
    """Uv is a program of the test."""
    machine.has("uv")
    files = {
        "pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n',
        "packages/api/pyproject.toml": '[project]\nname = "api"\nversion = "1"\n[project.scripts]\ndev = "api:run"\n',
    }
    package = machine.project(files) / "packages" / "api"
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
        {"main.py": "from fastapi import FastAPI\n", ".venv/bin/fastapi": STAYS},
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
    [{"justfile": "build:\n  x\ntest:\n  x\n"}, {"Taskfile.yml": "tasks:\n  build: x\n  test: x\n"}],
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
