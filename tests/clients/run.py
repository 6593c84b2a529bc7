"""``make clients-test``: the MCP clients of agent frameworks against a hub and an instance, with no model behind them.

Each lists the tools, calls every one of them, starts a server that needs 12 s with the client's default timeouts, and
continues after a restart of the hub: over HTTP in the same session, over stdio in the next one. The table goes to
reports/clients.md. The exit status is 1 if a client fails or can't be installed. ONLY="autogen …" selects clients.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from brummer.contract.tools import TOOLS
from tests.clients.environments import FRAMEWORKS, ROOT, Framework, NotAvailableError, python_of, versions
from tests.integration.programs import BRUM, SERVER_PY, Brum, Program

sys.path.insert(0, str(ROOT / "bench"))
from tables import Report

FRONTS: Final = ("stdio", "http")
PROJECT: Final = "shop"
SLOW_S: Final = 12
"""Longer than two of the 5 s that most clients wait for an answer."""

LIMIT_S: Final = 240.0
"""The time limit for all steps of one client before the restart, and again after it."""

SLOW_PY: Final = f"""\
import pathlib, time
with pathlib.Path("starts.txt").open("a") as starts:
    starts.write("started\\n")
time.sleep({SLOW_S})
{SERVER_PY}"""
FILES: Final = {
    "Procfile": f"dev: {sys.executable} server.py\nslow: {sys.executable} slow.py\n",
    "server.py": SERVER_PY,
    "slow.py": SLOW_PY,
}
NO_TELEMETRY: Final = {
    "ANONYMIZED_TELEMETRY": "False",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OTEL_SDK_DISABLED": "true",
}


class Front:
    """A project with an instance, and the front by which one client reaches a hub."""

    def __init__(self, brum: Brum, kind: str) -> None:
        self._brum, self.kind = brum, kind
        self.project = brum.project(PROJECT, FILES)
        brum.instance(self.project)
        self._port = free_port()
        self._hub = self._start() if kind == "http" else None

    def _start(self) -> Program:
        address = f"127.0.0.1:{self._port}"
        hub = Program([BRUM, "--mcp", "--http", address], cwd=self.project, env=self._brum.environment)
        hub.stdout.until("http://")
        return hub

    @property
    def way(self) -> dict[str, Any]:
        """The argument of a driver."""
        common = {"project": PROJECT, "slow_script": "slow"}
        if self._hub is not None:
            return {**common, "url": f"http://127.0.0.1:{self._port}/mcp", "headers": headers(self._brum)}
        surroundings = {"env": self._brum.environment, "cwd": str(self.project)}
        return {**common, "url": None, "command": str(BRUM), "args": ["--mcp"], **surroundings}

    def restart_hub(self) -> None:
        """Over HTTP the same port answers again; over stdio the hubs of the client are killed."""
        if self._hub is not None:
            self._hub.end()
            self._hub = self._start()
            return
        for process in self._brum.alive():
            if "--mcp" in process.cmdline():
                process.kill()

    def end(self) -> None:
        if self._hub is not None:
            self._hub.end()

    def starts_of_slow(self) -> int:
        starts = self.project / "starts.txt"
        return len(starts.read_text().splitlines()) if starts.exists() else 0


def headers(brum: Brum) -> dict[str, str]:
    """The header that `brum mcp-config --http` tells a client to send."""
    token = re.search(r"Bearer ([\w-]+)", brum.run("mcp-config", "--http").stdout)
    return {"Authorization": f"Bearer {token[1]}"} if token else {}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def report_of(framework: Framework, python: Path, kind: str, home: Path) -> dict[str, Any]:
    """The report of a client's driver, with the number of starts of the slow server; ``crashed`` if there is none."""
    brum = Brum(home)
    front = Front(brum, kind)
    try:
        environment = {**brum.environment, **NO_TELEMETRY}
        driver = Program(
            [python, framework.driver, json.dumps(front.way)],
            stdin=subprocess.PIPE,
            cwd=home,
            env=environment,
        )
        try:
            driver.stdout.until("RESTART", LIMIT_S)
            front.restart_hub()
            assert driver.process.stdin is not None
            driver.process.stdin.write(b"\n")
            driver.process.stdin.flush()
            last = driver.stdout.rest(LIMIT_S).splitlines()[-1]
            report: dict[str, Any] = json.loads(last)
        except (EOFError, TimeoutError, ValueError) as error:
            driver.end()
            report = {"crashed": f"{error}: {driver.stderr.rest().strip()[-600:]}"}
        finally:
            driver.end()
        return {**report, "starts": front.starts_of_slow()}
    finally:
        front.end()
        brum.end()
        brum.kill_all()


def faults(report: dict[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    """(step, message) of every fault."""
    if "crashed" in report:
        yield "the driver", report["crashed"]
        return
    if problem := report["ended_early"].get("first"):
        yield "the first session", problem
    if missing := {tool.name for tool in TOOLS} - set(report.get("tools", ())):
        yield "tools missing from the list", " ".join(sorted(missing))
    for tool, attempt in report["calls"].items():
        if not attempt["ok"]:
            yield tool, attempt["said"]
    if not report["slow"] or not report["slow"][-1]["ok"]:
        yield f"the server that needs {SLOW_S} s", report["slow"][-1]["said"] if report["slow"] else "not tried"
    if report["starts"] != 1:
        yield f"the server that needs {SLOW_S} s", f"started {report['starts']} times"
    survivor = "same" if kind == "http" else "next"
    if not (after := report.get(survivor) or {"ok": False, "said": str(report["ended_early"])})["ok"]:
        yield f"the {survivor} session after a restart of the hub", after["said"]


def row(report: dict[str, Any]) -> tuple[object, ...]:
    """Tools listed, calls answered, the slow server, after the restart."""
    if "crashed" in report:
        return ("", "", "", "", "")
    slow = f"ready at try {len(report['slow'])}" if report["slow"] and report["slow"][-1]["ok"] else "never"
    answered = sum(attempt["ok"] for attempt in report["calls"].values())
    after = [yes_or_no(report.get(session, {}).get("ok")) for session in ("same", "next")]
    return (f"{len(report.get('tools', ()))} of {len(TOOLS)}", f"{answered} of {len(TOOLS)}", slow, *after)


def yes_or_no(ok: object) -> str:
    return "yes" if ok else "no"


def main(selected: list[str]) -> int:
    names = [framework.name for framework in FRAMEWORKS]
    if unknown := set(selected) - set(names):
        print(f"unknown: {', '.join(unknown)}; there is {', '.join(names)}", file=sys.stderr)
        return 2
    rows: list[tuple[object, ...]] = []
    failed: list[tuple[object, ...]] = []
    for framework in FRAMEWORKS:
        if selected and framework.name not in selected:
            continue
        print(f"{framework.name} …", file=sys.stderr, flush=True)
        try:
            python = python_of(framework)
        except NotAvailableError as error:
            rows.append((framework.name, "not had", *[""] * 7))
            failed.append((framework.name, "", "installation", str(error)))
            continue
        own, sdk = versions(python, framework)
        with tempfile.TemporaryDirectory(prefix="brummer-clients-") as folder, ThreadPoolExecutor() as pool:
            homes = {kind: Path(folder, kind) for kind in FRONTS}
            reports = pool.map(lambda kind, f=framework, p=python, h=homes: report_of(f, p, kind, h[kind]), FRONTS)
            for kind, report in zip(FRONTS, reports, strict=True):
                rows.append((framework.name, own, sdk, kind, *row(report)))
                failed += [(framework.name, kind, what, _one_line(said)) for what, said in faults(report, kind)]
    page = Report("-".join(["clients", *selected]))
    header = ("client", "version", "SDK", "front", "tools listed", "calls answered", "12 s server")
    page.table("Clients without a model", (*header, "same session after restart", "next session"), rows)
    page.table("What failed", ("client", "front", "what", "said"), failed or [("nothing", "", "", "")])
    page.write()
    return int(bool(failed))


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "¦").split())[:300]


if __name__ == "__main__":
    sys.exit(main(os.environ.get("ONLY", "").split()))
