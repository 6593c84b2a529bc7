"""Makes the pictures of the terminal view and of the page from the real thing: two projects, an agent, and errors.

Writes docs/pictures/view.svg and docs/pictures/page.png, and the version that they show into docs/view.md and
docs/page.md. Needs Chromium and playwright (`make integration-test` installs both).
"""

import asyncio
import contextlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from brummer import __version__

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURES: Final = ROOT / "docs" / "pictures"
PAGES: Final = (ROOT / "docs" / "view.md", ROOT / "docs" / "page.md")
SHOWS: Final = re.compile(r"(shows version )\S+?(\.\s)")
BRUM: Final = Path(sys.executable).with_name("brum")
PROJECTS: Final = Path(tempfile.gettempdir()) / "projects"
"""Its name is on the page, so it is a plain one."""
WAIT_S: Final = 30.0
COLUMNS, ROWS = 132, 28
WIDTH, HEIGHT = 1280, 800

SERVER: Final = """\
import http.server, sys, threading, time, traceback
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
print(f"listening on http://127.0.0.1:{server.server_port}/", flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
for n in range(570, 10_000):
    print(f"GET /products/{n} 200 in {9 + n * 7 % 41} ms", flush=True)
    if n % 9 == 0:
        print("WARNING slow query: select * from cellar took 812 ms", flush=True)
    if n % 13 == 0:
        try:
            {}["bottle"]
        except KeyError:
            traceback.print_exc()
    time.sleep(0.4)
"""
FILES: Final = {
    "shop": {
        "serve.py": SERVER,
        "Procfile": (
            "web: python3 -u serve.py\n"
            "css: while :; do echo built in 12 ms; sleep 3; done\n"
            "test: echo 'running 14 tests'; python3 -c 'raise AssertionError(\"14 != 13\")'\n"
        ),
    },
    "api": {"serve.py": SERVER, "Procfile": "dev: python3 -u serve.py\nmigrate: echo 'nothing to migrate'\n"},
}


def main() -> int:
    if PROJECTS.exists():
        print(f"{PROJECTS} is there already; remove it first", file=sys.stderr)
        return 1
    with world() as environ:
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / "view.svg").write_text(asyncio.run(view_picture()), encoding="utf-8")
        page_picture(environ, PICTURES / "page.png")
    for page in PAGES:
        page.write_text(SHOWS.sub(rf"\g<1>{__version__}\g<2>", page.read_text(encoding="utf-8")), encoding="utf-8")
    for picture in sorted(PICTURES.iterdir()):
        print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size // 1000} kB, version {__version__}")
    return 0


@contextlib.contextmanager
def world() -> Iterator[dict[str, str]]:
    """The environment in which both projects run; an agent has restarted one of the servers."""
    with tempfile.TemporaryDirectory(prefix="brummer-pictures-") as private:
        os.environ |= {"BRUMMER_INSTANCES_DIR": private, "TZ": "UTC"}
        os.environ.pop("NO_COLOR", None)
        time.tzset()
        try:
            for name, files in FILES.items():
                (PROJECTS / name).mkdir(parents=True)
                for file, text in files.items():
                    (PROJECTS / name / file).write_text(text, encoding="utf-8")
                brum("up", "-d", str(PROJECTS / name))
            agent_restarts("web", PROJECTS / "shop")
            until(lambda: b"KeyError" in brum("logs", "--errors", "-d", str(PROJECTS / "shop"), "web"))
            yield dict(os.environ)
        finally:
            for name in FILES:
                brum("down", "-d", str(PROJECTS / name))
            shutil.rmtree(PROJECTS, ignore_errors=True)


def brum(*arguments: str) -> bytes:
    return subprocess.run([BRUM, *arguments], capture_output=True, timeout=WAIT_S, check=False).stdout


def until(holds: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > ends_s:
            raise TimeoutError(f"not within {WAIT_S:g} s")
        time.sleep(0.2)


def agent_restarts(script: str, project: Path) -> None:
    """Through a hub, as a coding agent does."""
    client = {"name": "claude-code", "version": "2.1.3"}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
    call = {"name": "scripts_restart", "arguments": {"instance": str(project), "name": script}}
    requests = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call},
    ]
    hub = subprocess.Popen([BRUM, "--mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert hub.stdin is not None
    assert hub.stdout is not None
    with hub, hub.stdin, hub.stdout:
        for request in requests:
            hub.stdin.write(json.dumps(request).encode() + b"\n")
        hub.stdin.flush()
        while json.loads(hub.stdout.readline()).get("id") != 2:
            pass


async def view_picture() -> str:
    """The view as SVG, without the fonts that the toolkit would have fetched."""
    from brummer.cli.commands.view import CommandLine, own_project
    from brummer.hub.service import running_hub
    from brummer.views.model import RowKey, ViewModel
    from brummer.views.remembered import USUAL
    from brummer.views.source import HubBackend, Source
    from brummer.views.terminal.app import TerminalView
    from brummer.views.terminal.tree import ProjectTree
    from brummer.views.terminal.view_options import ViewOptions

    place, environ = PROJECTS / "shop", dict(os.environ)
    own = own_project(place, None)
    assert own is not None
    async with running_hub(environ, place) as hub, contextlib.aclosing(CommandLine(place, environ, hub)) as outside:
        source = Source(HubBackend(hub), ViewModel(own.facts.instance_id), outside)
        source.start()
        view: Any = TerminalView(source, USUAL, ViewOptions(environ={}), None)
        try:
            async with view.run_test(size=(COLUMNS, ROWS)) as pilot, asyncio.timeout(WAIT_S):
                while "✖" not in picture_of(view):  # it opens on a script that has failed
                    await pilot.pause(0.1)
                view.query_one(ProjectTree).choose(RowKey(own.facts.instance_id, "web"))
                while not all(word in (made := picture_of(view)) for word in ("MiB", "KeyError", "claude-code")):
                    await pilot.pause(0.3)
        finally:
            source.close()
    return made


def picture_of(view: Any) -> str:
    made = re.sub(
        r"<!--.*?-->\s*|@font-face \{.*?\}\s*", "", str(view.export_screenshot(title="brum")), flags=re.DOTALL
    )
    return made.replace("Fira Code, monospace", "monospace")


def page_picture(environ: dict[str, str], path: Path) -> None:
    server = subprocess.Popen([BRUM, "web"], env=environ, stdout=subprocess.PIPE, cwd=PROJECTS / "shop")
    assert server.stdout is not None
    try:
        address = re.search(rb"http://\S+", server.stdout.readline())
        assert address is not None
        with importlib.import_module("playwright.sync_api").sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("chromium-browser")
            flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(address[0].decode())
            page.get_by_text("claude-code").first.wait_for()
            page.wait_for_timeout(3_000)  # until the timeline has been drawn
            page.screenshot(path=path)
            browser.close()
    finally:
        server.terminate()
        server.wait(WAIT_S)


if __name__ == "__main__":
    sys.exit(main())
