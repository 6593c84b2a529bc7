"""The main job on real projects: one hub, one real client (the official SDK's), two projects, a crash and a return.

Prints each step with its time. Exit status 0 only if every step did what it should, within 60 s, leaving no process.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

BRUM = Path(sys.executable).with_name("brum")
LIMIT_S = 60.0
MARK = "BRUMMER_DEMO"

WEB_JS = """\
const http = require("node:http");
const server = http.createServer((_, answer) => answer.end("<h1>shop</h1>\\n"));
server.listen(0, "127.0.0.1", () => console.log(`ready on http://127.0.0.1:${server.address().port}/`));
"""
WEB_PY = """\
import http.server


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<h1>TITLE</h1>\\n"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.HTTPServer(("127.0.0.1", 0), Page)
print(f"ready on http://127.0.0.1:{server.server_port}/", flush=True)
server.serve_forever()
"""


class StepFailed(Exception):
    """A step of the demo did not do what it should."""


class Steps:
    """Prints each step with the time it took, and the time since the start."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()

    def done(self, text: str) -> None:
        now = time.perf_counter()
        print(f"{now - self._start:6.2f} s  {(now - self._last) * 1000:6.0f} ms  {text}", flush=True)
        self._last = now


def make_projects(folder: Path) -> tuple[Path, Path]:
    """A shop (Node if there is one) and an API (Python), each with a dev server and a script that fails."""
    shop, api = folder / "shop", folder / "api"
    for project in (shop, api):
        project.mkdir()
    if shutil.which("node") and shutil.which("npm"):
        scripts = {"dev": "node server.js", "test": "node -e \"throw new Error('basket is empty')\""}
        (shop / "package.json").write_text(json.dumps({"name": "shop", "private": True, "scripts": scripts}))
        (shop / "server.js").write_text(WEB_JS)
    else:
        make_python_project(shop, "shop", "basket is empty")
    make_python_project(api, "api", "no route to the cellar")
    return shop, api


def make_python_project(project: Path, title: str, failure: str) -> None:
    (project / "server.py").write_text(WEB_PY.replace("TITLE", title))
    (project / "check.py").write_text(f'raise SystemExit("{failure}")\n')
    (project / "Procfile").write_text(f"dev: {sys.executable} server.py\ntest: {sys.executable} check.py\n")


def start_instance(project: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [str(BRUM), "--no-tui", "-d", str(project)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def instances() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Started instances by name; whatever happens, all of them are ended."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        yield started
    finally:
        for process in started.values():
            process.terminate()
        for process in started.values():
            process.wait(15)


@contextlib.asynccontextmanager
async def client_of(environment: dict[str, str]) -> AsyncIterator[Client]:
    hub = StdioServerParameters(command=str(BRUM), args=["--mcp"], env=environment)
    async with Client(hub) as client:
        yield client


class Agent:
    """What a coding agent does with its one connection."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self._client.call_tool(tool, arguments)
        content: dict[str, Any] = result.structured_content or {}
        if result.is_error:
            raise StepFailed(f"{tool} {arguments}: {content.get('error', result)}")
        return content

    async def states(self) -> dict[str, str]:
        listed = await self.call("instances_list")
        return {item["name"]: item["state"] for item in listed["instances"]}


def first_cause(error: BaseException) -> BaseException:
    """The client's task groups wrap what went wrong, layer by layer."""
    return first_cause(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def expect(condition: object, what: str) -> None:
    if not condition:
        raise StepFailed(what)


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        page: str = answer.read().decode()
    return page


async def run(folder: Path, environment: dict[str, str], steps: Steps) -> None:
    shop, api = make_projects(folder)
    steps.done(f"made two projects: {shop.name} and {api.name}")
    with instances() as started:
        started["shop"], started["api"] = start_instance(shop, environment), start_instance(api, environment)
        async with client_of(environment) as client:
            agent = Agent(client)
            steps.done(f"one client, one hub: protocol {client.protocol_version}")
            await tour(agent, steps)
            await crash_and_return(agent, steps, started, shop, environment)


async def tour(agent: Agent, steps: Steps) -> None:
    """List, run until ready, fetch the page, read why a script fails."""
    while set((await agent.states()).values()) != {"ready"} or len(await agent.states()) != 2:
        await asyncio.sleep(0.02)
    steps.done("instances_list: shop and api are ready")
    for name in ("shop", "api"):
        scripts = [script["name"] for script in (await agent.call("scripts_list", instance=name))["scripts"]]
        expect({"dev", "test"} <= set(scripts), f"{name} has scripts {scripts}")
        process = await agent.call("scripts_run", instance=name, name="dev")
        expect(process["status"] == "ready" and process["urls"], f"{name}: dev is {process}")
        page = await asyncio.to_thread(fetch, process["urls"][0])
        expect(name in page, f"{process['urls'][0]} shows {page!r}")
        steps.done(f"scripts_run dev in {name}: ready at {process['urls'][0]}, the page says {page.strip()}")
    again = await agent.call("scripts_run", instance="shop", name="dev")
    expect(again["already_running"], "asked twice, dev was started twice")
    steps.done(f"scripts_run dev in shop, again: the same process {again['process_id']}")
    failed = await agent.call("scripts_run", instance="api", name="test", wait="exit")
    expect(failed["exit_code"] == 1, f"test ended with {failed}")
    found = await agent.call("logs_search", instance="api", query="cellar")
    expect(found["lines"], "the failing script's error is not in the log")
    steps.done(f"scripts_run test in api: exit {failed['exit_code']}, it said: {found['lines'][-1]['text']}")


async def crash_and_return(
    agent: Agent,
    steps: Steps,
    started: dict[str, subprocess.Popen[bytes]],
    shop: Path,
    environment: dict[str, str],
) -> None:
    """Kill -9 an instance, start it again, and go on through the same connection."""
    before = (await agent.call("scripts_status", instance="shop", name="dev"))["processes"][0]
    started["shop"].send_signal(signal.SIGKILL)
    started["shop"].wait()
    while (await agent.states())["shop"] != "gone":
        await asyncio.sleep(0.005)
    steps.done("kill -9 of shop: the hub says it is gone, api is still ready")
    expect((await agent.states())["api"] == "ready", "api suffered")
    waiting = asyncio.create_task(agent.call("scripts_list", instance="shop"))
    started["shop"] = start_instance(shop, environment)
    await waiting
    steps.done("a call made while shop was down waited, and was answered by the new run")
    async with asyncio.timeout(2):
        while is_alive(before["pid"]):
            await asyncio.sleep(0.01)
    steps.done("the dev server of the killed instance is gone too")
    process = await agent.call("scripts_run", instance="shop", name="dev")
    page = await asyncio.to_thread(fetch, process["urls"][0])
    expect("shop" in page, f"the page is {page!r}")
    steps.done(f"scripts_run dev in shop, same connection: {process['status']} at {process['urls'][0]}")


def is_alive(pid: int) -> bool:
    """A zombie is dead: it only waits for its new parent to notice."""
    try:
        os.kill(pid, 0)
        return sys.platform != "linux" or b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except (ProcessLookupError, FileNotFoundError):
        return False


def left_behind(mark: str) -> list[str]:
    """Processes that still carry this demo's mark in their environment (Linux only)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes() and int(entry.name) != os.getpid():
                found.append(f"{entry.name}: {(entry / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()}")
    return found


async def main() -> int:
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="brummer-demo-") as folder:
        mark = Path(folder).name
        environment = {**os.environ, "BRUMMER_INSTANCES_DIR": str(Path(folder, "instances")), MARK: mark}
        try:
            async with asyncio.timeout(LIMIT_S):
                await run(Path(folder), environment, steps)
        except (StepFailed, TimeoutError, BaseExceptionGroup) as error:
            print(f"the demo failed: {first_cause(error)!r}", file=sys.stderr)
            return 1
        left = left_behind(mark)
        if left:
            print("the demo left processes behind:", *left, sep="\n  ", file=sys.stderr)
            return 1
    steps.done("everything stopped, nothing left behind")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
