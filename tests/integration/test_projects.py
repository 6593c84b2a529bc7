"""Six projects made with the real tools: what is found in each, run and stopped through a hub; nothing is left."""

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from brummer.contract.texts import lines_of
from tests.integration.programs import DIES_S, SERVER_PY, Brum, within

TOOLS = Path(sys.executable).parent
PATH = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
BUILD_S = 25
"""A compiler on a busy machine; the call itself may take 30."""

SERVER_JS = """\
const server = require("http").createServer((_, answer) => answer.end("<h1>hello</h1>"));
server.listen(0, "127.0.0.1", () => console.log(`ready on http://127.0.0.1:${server.address().port}/`));
"""

MAIN_RS = """\
use std::io::{Read, Write};

fn page() -> &'static str {
    "HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\n<h1>hello</h1>"
}

fn main() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    println!("ready on http://{}/", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(page().as_bytes()).unwrap();
    }
}

#[test]
fn a_page_is_html() {
    assert!(page().ends_with("</h1>"));
}
"""
CARGO_TOML = '[package]\nname = "shop"\nversion = "0.1.0"\nedition = "2021"\n'


class Driven:
    """A project with its instance, driven through a hub."""

    def __init__(self, brum: Brum, files: Mapping[str, str], prepare: Callable[[Path], None] | None = None) -> None:
        self.brum = brum
        self.project = brum.project("shop", files)
        if prepare:
            prepare(self.project)
        self.instance = brum.instance(
            self.project, PATH=f"{brum.home / 'bin'}{os.pathsep}{PATH}", CARGO_NET_OFFLINE="true"
        )
        self.hub = brum.hub(cwd=self.project).greet()

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self.hub.call(tool, instance=self.instance.id, **arguments)

    def found(self) -> list[str]:
        """The names, where nothing was wrong."""
        answer = self.call("scripts_list")
        assert answer["problems"] == []
        return [script["name"] for script in answer["scripts"]]

    def runs_to_its_end(self, name: str) -> dict[str, Any]:
        return self.call("scripts_run", name=name, wait="exit", timeout_s=BUILD_S)

    def serves_a_page_and_stops(self, name: str) -> None:
        """And of all that it started nothing lives then, wherever it hid."""
        before = self._alive()
        run = self.call("scripts_run", name=name, timeout_s=BUILD_S)
        assert run["status"] == "ready", run
        line = self.call("wait_for", process=name, log="ready on http", since="1h", timeout_s=BUILD_S)["line"]["text"]
        with urllib.request.urlopen(line.split()[-1], timeout=BUILD_S) as page:
            assert page.read() == b"<h1>hello</h1>"
        stopped = self.call("scripts_stop", name=name)
        assert stopped["status"] == "stopped", stopped
        assert within(DIES_S, lambda: self._alive() == before)

    def ends_and_leaves_nothing(self) -> None:
        self.hub.close_stdin()
        self.instance.end()
        assert self.hub.wait() == 0
        assert self.brum.gone(), self.brum.alive()

    def _alive(self) -> set[int]:
        return {process.pid for process in self.brum.alive()}


@pytest.fixture
def npm(brum: Brum, node: Path) -> None:
    """``npm`` and ``node`` first on the instance's PATH."""
    cli = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    commands = brum.home / "bin"
    commands.mkdir()
    (commands / "node").symlink_to(node)
    (commands / "npm").write_text(
        f'#!/bin/sh\nexec "{node}" "{cli}" --no-update-notifier --cache "{brum.home}/npm" "$@"\n'
    )
    (commands / "npm").chmod(0o755)


def test_an_npm_project(brum: Brum, npm: None) -> None:
    package = '{"scripts": {"predev": "true", "dev": "node server.js", "test": "echo tested", "fail": "exit 3"}}'
    shop = Driven(brum, {"package.json": package, "server.js": SERVER_JS})
    assert shop.found() == ["dev", "test", "fail"]
    shop.serves_a_page_and_stops("dev")
    assert shop.runs_to_its_end("test")["exit_code"] == 0
    assert shop.runs_to_its_end("fail")["exit_code"] == 3
    shop.ends_and_leaves_nothing()


def test_a_make_project(brum: Brum) -> None:
    makefile = f".PHONY: dev fail\ndev: page\n\t{sys.executable} server.py\npage:\n\ttouch page\nfail:\n\texit 3\n"
    shop = Driven(brum, {"Makefile": makefile, "server.py": SERVER_PY})
    assert shop.found() == ["dev", "page", "fail"]
    shop.serves_a_page_and_stops("dev")
    assert (shop.project / "page").exists()
    failed = shop.runs_to_its_end("fail")
    assert (failed["status"], failed["exit_code"]) == ("failed", 2)
    shop.ends_and_leaves_nothing()


PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "shop"
version = "1"
requires-python = ">=3.11"
[project.scripts]
serve = "shop:main"
[tool.pytest.ini_options]
minversion = "8"
"""


def installed(project: Path) -> None:
    """Build the project, and install it into an environment of its own; nothing is fetched."""
    uv = shutil.which("uv", path=PATH)
    assert uv
    for command in (
        [str(TOOLS / "hatchling"), "build", "-t", "wheel"],
        [uv, "venv", "-q", "--offline", "--python", sys.executable, ".venv"],
        [uv, "pip", "install", "-q", "--offline", "--no-deps", "dist/shop-1-py3-none-any.whl"],
    ):
        subprocess.run(command, cwd=project, check=True, capture_output=True, timeout=BUILD_S)


def test_a_python_project(brum: Brum) -> None:
    module = f"def main():\n    exec({SERVER_PY!r}, {{}})\n"
    shop = Driven(brum, {"pyproject.toml": PYPROJECT, "shop.py": module}, installed)
    assert shop.found() == ["serve", "test"]
    shop.serves_a_page_and_stops("serve")
    missing = shop.call("scripts_run", name="test", wait="exit")
    assert missing["error"]["code"] == "script_failed_to_start"
    assert missing["error"]["context"]["command"] == [".venv/bin/pytest"]
    shop.ends_and_leaves_nothing()


def test_a_cargo_project(brum: Brum) -> None:
    if not (shutil.which("cargo") and shutil.which("cc")):
        pytest.skip("platform: there is no Rust here")
    shop = Driven(brum, {"Cargo.toml": CARGO_TOML, "src/main.rs": MAIN_RS})
    assert shop.found() == ["build", "test", "run"]
    shop.serves_a_page_and_stops("run")
    tested = shop.runs_to_its_end("test")
    assert tested["exit_code"] == 0, tested
    assert any("1 passed" in line["text"] for line in lines_of(shop.call("logs_tail", process="test")))
    shop.ends_and_leaves_nothing()


def test_a_compose_project_without_an_engine(brum: Brum, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{brum.home}/no-engine.sock")
    shop = Driven(brum, {"compose.yaml": "services:\n  db:\n    image: db\n  web:\n    image: web\n"})
    assert shop.found() == ["up", "db", "web"]
    outcome = shop.runs_to_its_end("db")
    if shutil.which("docker"):
        assert outcome["status"] == "failed"
        assert outcome["exit_code"] != 0
        assert outcome["last_lines"]  # docker's own words
    else:
        assert outcome["error"]["code"] == "script_failed_to_start"
        assert outcome["error"]["context"]["errno"] == "ENOENT"
    shop.ends_and_leaves_nothing()


MONOREPO = {
    "package.json": '{"workspaces": ["packages/*"], "scripts": {"test": "echo all"}}',
    "packages/web/package.json": '{"name": "@shop/web", "scripts": {"dev": "node server.js"}}',
    "packages/web/server.js": SERVER_JS,
    "services/api/server.py": SERVER_PY,
    "test_shop.py": "def test_it():\n    pass\n",
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-q'\n",
    "Makefile": "test:\n\techo by make\n",
    "deno.json": "{ nonsense }",
    ".brum.toml": f"""\
[scripts.api]
command = ["{sys.executable}", "server.py"]
cwd = "services/api"

[scripts.lost]
command = "true"
cwd = "nowhere"

[scripts.test]
autostrat = true
depends_on = ["apu"]
""",
}


@pytest.mark.promise("scripts-are-found")
def test_a_monorepo_of_many_kinds_with_mistakes_in_it(brum: Brum, npm: None) -> None:
    shop = Driven(brum, MONOREPO)
    assert "did you mean autostart?" in shop.instance.stderr.until("brum: .brum.toml:10: ")
    answer = shop.call("scripts_list")
    assert [script["name"] for script in answer["scripts"]] == [
        "api",
        "lost",
        "test",
        "web:dev",
        "make:test",
        "pyproject:test",
    ]
    assert {(problem["source"], problem["line"]) for problem in answer["problems"]} == {
        (".brum.toml", 10),
        (".brum.toml", 11),
        ("deno.json", 1),
    }
    shop.serves_a_page_and_stops("web:dev")
    shop.serves_a_page_and_stops("api")
    for name in ("test", "make:test", "pyproject:test"):
        assert shop.runs_to_its_end(name)["exit_code"] == 0

    (shop.project / "packages" / "new").mkdir()
    (shop.project / "packages" / "new" / "package.json").write_text('{"scripts": {"hello": "echo hello"}}')
    assert shop.runs_to_its_end("packages/new:hello")["exit_code"] == 0

    lost = shop.call("scripts_run", name="lost")
    assert lost["error"]["code"] == "script_failed_to_start"
    assert lost["error"]["context"]["directory"] == str(shop.project / "nowhere")

    missing = shop.call("scripts_run", name="web:dve")
    assert missing["error"]["code"] == "not_found"
    assert missing["error"]["context"]["nearest"] == "web:dev"
    shop.ends_and_leaves_nothing()
