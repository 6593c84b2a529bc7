"""What the hub imports, and when: the first answer waits for nothing heavy, and nothing heavy comes later either."""

import functools
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.programs import BRUM, LEGACY, MODERN_META, Brum

THIRD_PARTY = {"msgspec", "httptools", "uvloop"}
"""What a hub or an instance may import beyond the standard library; platformdirs only where no runtime directory is."""

NOT_OURS = {"typing_extensions", "org"}
"""Looked for, and not taken: by msgspec, and by pickle on Jython."""

AT_FIRST = {"asyncio", "msgspec", "uvloop", "httptools", "argparse", "socket", "logging", "pathlib", "ssl"}
"""Not before the first answer: asyncio alone takes longer than the rest of the start."""

OF_OTHERS = {
    "brummer.cli.project",
    "brummer.core.http_text",
    "brummer.host.directory_events",
    "brummer.host.http_token",
    "brummer.host.subjects",
    "brummer.hub",
    "brummer.link",
    "brummer.peers",
    "brummer.views",
}
"""A hub, a person's command or a type checker needs these; in an instance they would only take memory."""

WHEN_ASKED = {"brummer.host.process_usage", "brummer.instance.usage", "brummer.process.usage_sampler"}
"""An instance in which nothing runs measures nothing."""

INITIALIZE = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}

RECORDER = """
import os, sys
plain, path = os.write, sys.argv.pop()
def recording(descriptor, data):
    if os.write is recording:
        os.write = plain
        with open(path, "w") as report:
            report.write(" ".join(sorted(sys.modules)))
    return plain(descriptor, data)
os.write = recording
from brummer.__main__ import main
sys.exit(main())
"""


@functools.cache
def of_every_interpreter() -> set[str]:
    """What this one imports for itself, such as a distribution's ``sitecustomize`` and what that looks for."""
    command = [sys.executable, "-X", "importtime", "-c", "pass"]
    return named_in(subprocess.run(command, capture_output=True, text=True, check=True).stderr)


def modules_in(importtime: str) -> set[str]:
    """All that ``-X importtime`` has named."""
    lines = (line for line in importtime.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


def of_views(modules: set[str]) -> set[str]:
    """Those that belong to the views, and to the toolkit of the terminal view."""
    return {name for name in modules if f"{name}.".startswith(("brummer.views.", "textual.", "rich."))}


def packages_in(importtime: str) -> set[str]:
    """Top-level packages in what ``-X importtime`` printed, but for the standard library's and the environment's."""
    return named_in(importtime) - of_every_interpreter() - {"brummer"} - NOT_OURS


def named_in(importtime: str) -> set[str]:
    found = set()
    for line in importtime.splitlines():
        if line.startswith("import time:"):
            package = line.rpartition("|")[2].strip().partition(".")[0]
            if package not in sys.stdlib_module_names and not package.startswith("_"):
                found.add(package)
    return found - {"imported package"}


@pytest.mark.promise("first-answer-before-imports")
@pytest.mark.parametrize(
    ("method", "params"), [("initialize", INITIALIZE), ("server/discover", {"_meta": MODERN_META})]
)
def test_the_first_answer_waits_for_no_import_that_takes_time(
    brum: Brum, tmp_path: Path, method: str, params: dict[str, object]
) -> None:
    report = tmp_path / "modules"
    opening = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"
    done = subprocess.run(
        [sys.executable, "-c", RECORDER, "--mcp", report],
        input=opening + b'{"jsonrpc":"2.0","id":2,"method":"ping"}\n',
        env=brum.environment,
        cwd=brum.home,
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1, 2]
    imported = set(report.read_text().split())
    assert "brummer.wire.mcp.early_answer" in imported
    assert not imported & AT_FIRST


LAST_MODULES = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from brummer.__main__ import main
sys.exit(main())
"""


@pytest.mark.promise("nothing-heavy-is-imported")
@pytest.mark.parametrize("arguments", [["ls"], ["--mcp"], ["--no-autostart", "--end-idle", "1s"]], ids=" ".join)
def test_msgspec_takes_along_nothing_that_only_the_terminal_view_needs(brum: Brum, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LAST_MODULES, *arguments],
        input=json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}),
        env=brum.environment,
        cwd=brum.project("shop"),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    modules = set(done.stderr.splitlines()[-1].split())
    assert "msgspec" in modules
    assert not modules & {"typing_extensions", "textual", "rich"}


@pytest.mark.promise("nothing-heavy-is-imported")
def test_a_hub_that_has_done_everything_has_imported_nothing_heavy(brum: Brum) -> None:
    brum.instance(brum.project("shop"))
    hub = brum.hub(PYTHONPROFILEIMPORTTIME="1").greet()
    hub.call("scripts_run", name="hello", wait="exit")
    hub.call("hub_status")
    hub.close_stdin()
    assert hub.wait() == 0
    imported = hub.stderr.rest()
    assert packages_in(imported) <= THIRD_PARTY
    assert of_views(modules_in(imported)) == set()
    assert not {name for name in modules_in(imported) if name.startswith("brummer.fleet")}


@pytest.mark.promise("nothing-heavy-is-imported")
def test_an_instance_that_has_done_everything_has_imported_nothing_heavy(brum: Brum) -> None:
    instance = brum.instance(brum.project("shop"), PYTHONPROFILEIMPORTTIME="1")
    brum.hub().greet().call("scripts_run", name="hello", wait="exit")
    instance.signal(signal.SIGTERM)
    assert instance.wait() == 0
    assert packages_in(instance.stderr.rest()) <= THIRD_PARTY


def test_an_instance_that_serves_has_imported_nothing_that_only_others_need(brum: Brum) -> None:
    instance = brum.instance(brum.project("shop"), PYTHONPROFILEIMPORTTIME="1")
    brum.hub().greet().call("scripts_status")
    instance.signal(signal.SIGTERM)
    assert instance.wait() == 0
    imported = modules_in(instance.stderr.rest())
    assert "brummer.instance.service" in imported
    assert not imported & (OF_OTHERS | WHEN_ASKED)


def test_no_command_but_that_of_a_view_imports_a_view(brum: Brum) -> None:
    shop = brum.project("shop")
    brum.instance(shop, "quiet")
    environment = {**brum.environment, "PYTHONPROFILEIMPORTTIME": "1"}
    for command in ("up", "ps", "logs", "ls", "status", "restart quiet", "wait quiet --timeout 100ms", "down"):
        done = subprocess.run(
            [BRUM, *command.split()],
            env=environment,
            cwd=shop,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        imported = modules_in(done.stderr)
        assert done.returncode != 2, "wrong arguments"
        assert "brummer.cli.dispatch" in imported, command
        assert of_views(imported) == set(), command


def test_the_command_of_the_view_imports_nothing_that_its_first_picture_does_not_need() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import brummer.cli.commands.view"]
    imported = modules_in(subprocess.run(command, capture_output=True, text=True, check=True).stderr)
    assert "brummer.hub.service" in imported
    later = {
        "brummer.cli.commands.down",
        "brummer.cli.status_page",
        "brummer.foreign",
        "brummer.hub.transports",
        "brummer.instance.scripts",
        "brummer.logs.journal.reader",
        "textual",
    }
    assert not imported & later


@pytest.mark.skipif(sys.platform != "linux", reason="platform: elsewhere platformdirs knows the place")
def test_the_runtime_directory_is_found_without_help(brum: Brum, tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    environment = {**brum.environment, "XDG_RUNTIME_DIR": str(runtime), "PYTHONPROFILEIMPORTTIME": "1"}
    del environment["BRUMMER_INSTANCES_DIR"]
    done = subprocess.run([BRUM, "ls"], env=environment, capture_output=True, text=True, timeout=30, check=True)
    assert packages_in(done.stderr) <= THIRD_PARTY
