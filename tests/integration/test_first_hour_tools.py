"""`brum up` beside the ecosystem's own tool, both real: they start the same programs, in the same directories, with the
same arguments and environment.

A program of the project leaves in a file what it was started with. A missing tool skips its test.
"""

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from brummer.cli.project import EXIT_TIMED_OUT
from brummer.host.ports import is_free
from brummer.instance.environment import NOT_PASSED_ON
from tests.integration.programs import WAIT_S, Brum, Done, within

START_S = 6 * WAIT_S
"""A compiler or a bundler that runs for the first time, on a busy machine."""
PORT_OF_BOTH = 8000
"""Of Django and FastAPI; no setting of a project moves it."""

DUMP_JS = """\
// Leaves what this process was started with in the file of this name; the first of several processes wins.
const fs = require("fs")
module.exports = (name) => {
  const out = `${process.env.OUT}/${name}`, own = `${out}.${process.pid}`
  const variables = Object.entries(process.env).map(([key, value]) => `env ${key}=${value}`)
  const parts = [`in ${process.cwd()}`, ...process.argv.slice(2).map((each) => `with ${each}`), ...variables]
  fs.writeFileSync(own, parts.join("\\0"))
  try { fs.linkSync(own, out) } catch (error) { if (error.code !== "EEXIST") throw error }
}
if (require.main === module) module.exports(process.argv[2])
"""
DUMP_PY = """\
import contextlib, os, sys
def dump(name):
    out = os.path.join(os.environ["OUT"], name)
    variables = [f"env {key}={value}" for key, value in os.environ.items()]
    with open(f"{out}.{os.getpid()}", "w") as file:
        file.write("\\0".join([f"in {os.getcwd()}", *(f"with {each}" for each in sys.argv[1:]), *variables]))
    with contextlib.suppress(FileExistsError):
        os.link(file.name, out)
"""
STAYS_PY = """\
import sys, time
from dump import dump
dump(sys.argv[1])
time.sleep(600)
"""
MAIN_RS = """\
use std::{env, fs};
fn main() {
    let out = format!("{}/app", env::var("OUT").unwrap());
    let mut parts = vec![format!("in {}", env::current_dir().unwrap().display())];
    parts.extend(env::args().skip(1).map(|each| format!("with {each}")));
    parts.extend(env::vars().map(|(key, value)| format!("env {key}={value}")));
    fs::write(format!("{out}.partial"), parts.join("\\0")).unwrap();
    fs::rename(format!("{out}.partial"), out).unwrap();
}
"""
MAIN_GO = """\
package main

import (
	"os"
	"strings"
)

func main() {
	directory, _ := os.Getwd()
	parts := []string{"in " + directory}
	for _, each := range os.Args[1:] {
		parts = append(parts, "with "+each)
	}
	for _, each := range os.Environ() {
		parts = append(parts, "env "+each)
	}
	out := os.Getenv("OUT") + "/app"
	os.WriteFile(out+".partial", []byte(strings.Join(parts, "\\x00")), 0o600)
	os.Rename(out+".partial", out)
}
"""
SHELLS_OWN = frozenset({"_", "OLDPWD", "PWD", "SHLVL"})
NEXTS_OWN = frozenset({"NEXT_PRIVATE_START_TIME", "NEXT_PRIVATE_TRACE_ID"})
"""Random, or a time."""
OURS = frozenset({"BRUMMER_PROCESS", "BRUMMER_RUN", "FORCE_COLOR", "PYTHONUNBUFFERED"})


class Started(NamedTuple):
    """What a program was started with."""

    directory: str
    arguments: list[str]
    environment: dict[str, str]

    @classmethod
    def read(cls, file: Path) -> Self:
        parts = [part.partition(" ") for part in file.read_bytes().decode().split("\0")]
        variables = dict(text.partition("=")[::2] for kind, _, text in parts if kind == "env")
        variables["PATH"] = re.sub(r"yarn--[\d.-]+", "yarn", variables["PATH"])  # made for each run
        [directory] = [text for kind, _, text in parts if kind == "in"]
        kept = {name: value for name, value in variables.items() if name not in {*SHELLS_OWN, *NEXTS_OWN, *OURS, "OUT"}}
        return cls(directory, [text for kind, _, text in parts if kind == "with"], kept)


class Side:
    """A project that its own tool starts, and then `brum up`."""

    def __init__(self, brum: Brum, files: Mapping[str, str]) -> None:
        self._brum = brum
        self._count = 0
        self.bin = brum.home / "bin"
        self.bin.mkdir()
        self.project = brum.project("shop", {".git/HEAD": "", "dump.js": DUMP_JS, "dump.py": DUMP_PY, **files})
        self._settings = {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "NEXT_TELEMETRY_DISABLED": "1"}

    def program(self, name: str, *command: object) -> Self:
        """Put this command on PATH under this name."""
        (self.bin / name).write_text(f'#!/bin/sh\nexec {" ".join(map(str, command))} "$@"\n')
        (self.bin / name).chmod(0o755)
        return self

    def by_tool(
        self, names: Sequence[str], command: Sequence[str], place: str = ".", **more: str
    ) -> dict[str, Started]:
        """What the programs are started with that leave files of these names."""
        variables = {**self._brum.environment, **self._variables(more)}
        for name in NOT_PASSED_ON:  # of the make that has started this test, perhaps
            variables.pop(name, None)
        out = Path(variables["OUT"])
        with (out / "log").open("wb") as log:
            running = subprocess.Popen(
                command, cwd=self.project / place, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            assert within(START_S, lambda: _are_there(out, names) or running.poll() is not None)
            assert _are_there(out, names), (out / "log").read_text()
        finally:
            self._brum.kill_all()  # some tools give each program a session of its own
            running.wait(WAIT_S)
        return {name: Started.read(out / name) for name in names}

    def by_brum(self, names: Sequence[str], **more: str) -> dict[str, Started]:
        """The same by `brum up` in the project."""
        variables = self._variables(more)
        out = Path(variables["OUT"])
        up = self._brum.run("up", "--no-wait", cwd=self.project, stdin=b"", **variables)
        assert up.status == 0, up.stderr
        assert within(START_S, lambda: _are_there(out, names)), self._brum.run("logs", cwd=self.project)
        return {name: Started.read(out / name) for name in names}

    def page(self, script: str) -> str:
        """What its server answers, at the first URL that `brum wait` shows."""
        told: list[Done] = []

        def is_ready() -> bool:
            told.append(self._brum.run("wait", script, "--timeout", f"{WAIT_S:g}s", cwd=self.project))
            return told[-1].status != EXIT_TIMED_OUT

        assert within(START_S, is_ready), told[-1]
        assert told[-1].status == 0, (told[-1], self._brum.run("logs", cwd=self.project).stdout)
        url = next(word for word in told[-1].stdout.split() if word.startswith("http"))
        with urllib.request.urlopen(url, timeout=START_S) as page:
            answer: bytes = page.read()
        return answer.decode()

    def _variables(self, more: Mapping[str, str]) -> dict[str, str]:
        """With a place for files that is new."""
        self._count += 1
        out = self._brum.home / f"out-{self._count}"
        out.mkdir()
        return {**self._settings, **more, "OUT": str(out)}


def _are_there(out: Path, names: Sequence[str]) -> bool:
    return all((out / name).exists() for name in names)


@pytest.fixture(autouse=True)
def nothing_is_left(brum: Brum) -> Iterator[None]:
    """An instance in the background is no program of this process."""
    yield
    brum.kill_all()


def tool(name: str) -> str:
    """A program that the integration tests bring, or the machine has."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is missing: run make integration-test")
    return found


@pytest.mark.promise("up-starts-what-the-tool-starts")
def test_a_procfile_of_development_as_honcho_starts_it(brum: Brum) -> None:
    stays = f"exec {sys.executable} stays.py"
    files = {
        "Procfile": "web: exit 1\n",
        "Procfile.dev": f"web: {stays} web -p $PORT\ncss: {stays} css --watch\n",
        ".env": "RAILS_ENV=development\n",
        "stays.py": STAYS_PY,
    }
    side, names = Side(brum, files), ["web", "css"]
    port = str(next(base for base in range(21_000, 30_000, 500) if is_free(base) and is_free(base + 100)))
    expected = side.by_tool(names, [tool("honcho"), "-f", "Procfile.dev", "start"], PORT=port)
    assert expected["web"].arguments == ["web", "-p", port]
    assert side.by_brum(names, PORT=port) == expected


ALL = {
    "npm": ["npm", "run", "dev", "--workspaces"],
    "yarn": ["yarn", "workspaces", "run", "dev"],
    "pnpm": ["pnpm", "--recursive", "run", "dev"],
}
"""How each runs `dev` of all packages. npm and yarn run one after the other, so these end with the file."""
WORKSPACES = {"npm": {}, "yarn": {"yarn.lock": ""}, "pnpm": {"pnpm-workspace.yaml": "packages:\n  - 'packages/*'\n"}}


@pytest.mark.promise("up-starts-what-the-tool-starts")
@pytest.mark.parametrize("manager", ALL)
def test_the_packages_of_a_workspace_as_their_package_manager_starts_them(
    brum: Brum, manager: str, node: Path, frameworks: Path
) -> None:
    """The environment is compared with that of the tool in the package's own directory, which is in it."""
    package = '{"name": "@shop/NAME", "version": "1.0.0", "scripts": {"dev": "node ../../dump.js NAME --fast"}}'
    files = {f"packages/{name}/package.json": package.replace("NAME", name) for name in ("web", "api")}
    files["package.json"] = '{"name": "shop", "private": true, "workspaces": ["packages/*"]}'
    side = Side(brum, {**files, **WORKSPACES[manager]}).program("node", node)
    side.program("npm", node, _npm(node), "--no-update-notifier", "--cache", brum.home / "npm")
    if manager != "npm":
        side.program(manager, frameworks / ".bin" / manager)
    command = [str(side.bin / manager)]
    together = side.by_tool(["web", "api"], [*command, *ALL[manager][1:]])
    found = side.by_brum(["web", "api"])
    for name in ("web", "api"):
        assert found[name][:2] == together[name][:2] == (f"{side.project}/packages/{name}", [name, "--fast"])
        assert found[name] == side.by_tool([name], [*command, "run", "dev"], f"packages/{name}")[name]


def _npm(node: Path) -> Path:
    return node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


@pytest.mark.promise("up-starts-what-the-tool-starts")
def test_the_packages_of_a_uv_workspace_as_uv_starts_them(brum: Brum) -> None:
    package = """\
[project]
name = "api"
version = "1"
requires-python = ">=3.11"
scripts = { dev = "api:run" }
[build-system]
requires = ["uv_build"]
build-backend = "uv_build"
"""
    files = {
        "pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n',
        "packages/api/pyproject.toml": package,
        "packages/api/src/api/__init__.py": f"{DUMP_PY}\ndef run():\n    dump('api')\n",
    }
    side = Side(brum, files).program("uv", tool("uv"))
    settings = {"UV_OFFLINE": "1", "UV_PYTHON": sys.executable, "UV_CACHE_DIR": str(brum.home / "uv")}
    expected = side.by_tool(["api"], ["uv", "run", "dev"], "packages/api", **settings)
    assert side.by_brum(["api"], **settings) == expected


DUMPS_MJS = 'import dump from "./dump.js"\ndump("app")\nexport default {}\n'
NEXT_CONFIG = DUMPS_MJS.replace("{}", '{ turbopack: { root: "/" } }')
"""It takes nothing from outside of its root, and `node_modules` is a link."""
SETTINGS_PY = """\
from dump import dump
dump("app")
DEBUG, SECRET_KEY, ROOT_URLCONF = True, "x", "urls"
"""
URLS_PY = """\
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("hello"))]
"""
MANAGE_PY = """\
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
execute_from_command_line(sys.argv)
"""
FASTAPI_PY = """\
from dump import dump
from fastapi import FastAPI
dump("app")
app = FastAPI()
@app.get("/")
def page():
    return "hello"
"""
PAGE_JS = "export default () => <h1>hello</h1>\n"
LAYOUT_JS = "export default ({ children }) => <html><body>{children}</body></html>\n"


@pytest.mark.promise("up-starts-what-the-tool-starts")
@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("vite", {"index.html": "<h1>hello</h1>", "vite.config.mjs": DUMPS_MJS}),
        ("next dev", {"app/page.js": PAGE_JS, "app/layout.js": LAYOUT_JS, "next.config.mjs": NEXT_CONFIG}),
    ],
    ids=["Vite", "Next"],
)
def test_a_dev_server_of_javascript_as_npm_starts_it(
    brum: Brum, command: str, files: dict[str, str], node: Path, frameworks: Path
) -> None:
    side = Side(brum, {"package.json": f'{{"scripts": {{"dev": "{command}"}}}}', **files}).program("node", node)
    side.program("npm", node, _npm(node), "--no-update-notifier", "--cache", brum.home / "npm")
    (side.project / "node_modules").symlink_to(frameworks)
    port = str(next(filter(is_free, range(21_000, 30_000))))
    expected = side.by_tool(["app"], ["npm", "run", "dev"], PORT=port)
    assert side.by_brum(["app"], PORT=port) == expected
    assert "hello" in side.page("dev")


@pytest.mark.promise("up-starts-what-the-tool-starts")
@pytest.mark.parametrize(
    ("command", "files", "script"),
    [
        (
            [".venv/bin/python", "manage.py", "runserver"],
            {"manage.py": MANAGE_PY, "settings.py": SETTINGS_PY, "urls.py": URLS_PY},
            "runserver",
        ),
        ([".venv/bin/fastapi", "dev", "main.py"], {"main.py": FASTAPI_PY}, "fastapi"),
    ],
    ids=["Django", "FastAPI"],
)
def test_a_dev_server_of_python_as_its_own_command_starts_it(
    brum: Brum, command: list[str], files: dict[str, str], script: str
) -> None:
    for module in ("django", "fastapi_cli"):
        pytest.importorskip(module, reason=f"{module} is missing: run make integration-test")
    if not is_free(PORT_OF_BOTH):
        pytest.skip(f"platform: port {PORT_OF_BOTH} is taken")
    side = Side(brum, files)
    (side.project / ".venv").symlink_to(sys.prefix)
    expected = side.by_tool(["app"], command)
    assert side.by_brum(["app"]) == expected
    assert "hello" in side.page(script)


@pytest.mark.promise("up-starts-what-the-tool-starts")
@pytest.mark.parametrize(
    ("command", "files"),
    [
        (["cargo", "run"], {"Cargo.toml": '[package]\nname = "app"\nedition = "2021"\n', "src/main.rs": MAIN_RS}),
        (["go", "run", "."], {"go.mod": "module app\n\ngo 1.18\n", "main.go": MAIN_GO}),
    ],
    ids=["Cargo", "Go"],
)
def test_the_program_of_a_compiler_as_its_tool_runs_it(brum: Brum, command: list[str], files: dict[str, str]) -> None:
    side = Side(brum, files).program(command[0], tool(command[0]))
    settings = {"CARGO_NET_OFFLINE": "true", "GOPROXY": "off", "GOCACHE": str(brum.home / "go")}
    expected = side.by_tool(["app"], command, **settings)
    assert side.by_brum(["app"], **settings) == expected
