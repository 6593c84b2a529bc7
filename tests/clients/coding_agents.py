"""The second part of ``make clients-test``: coding agents read what ``brum mcp-config --write`` has written for them.

Each is installed from npm under ``.clients/coding-agents``, once (1 GB), and runs its own command that lists MCP
servers in a home of its own. Those that connect for the list must say that they did. The exit status is 1 if one fails
or can't be installed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from brummer.cli.mcp_clients import CLIENTS, SettingsPlaces
from brummer.contract.tools import TOOLS
from tests.clients.environments import KEPT
from tests.integration.programs import BRUM

DIRECTORY: Final = KEPT / "coding-agents"
PACKAGES: Final = {
    "@openai/codex": "0.171.0",
    "@google/gemini-cli": "0.61.0",
    "opencode-ai": "1.18.33",
    "@modelcontextprotocol/inspector": "0.15.0",
}
INSTALL_S: Final = 600.0
ANSWER_S: Final = 120.0


class Reading(NamedTuple):
    """``client``: for which brum writes. ``command`` reads it, with ``{file}``; ``has_read`` judges the output."""

    client: str
    command: tuple[str, ...]
    has_read: Callable[[str], bool]


def _codex(printed: str) -> bool:
    [server] = json.loads(printed)
    transport = server["transport"]
    return (server["name"], transport["command"], transport["args"]) == ("brummer", str(BRUM), ["--mcp"])


def _inspector(printed: str) -> bool:
    return [tool["name"] for tool in json.loads(printed)["tools"]] == [tool.name for tool in TOOLS]


READINGS: Final = (
    Reading("codex", ("codex", "mcp", "list", "--json"), _codex),
    Reading("gemini", ("gemini", "mcp", "list"), lambda printed: "Connected" in printed and f"{BRUM} --mcp" in printed),
    Reading("opencode", ("opencode", "mcp", "list"), lambda printed: "brummer" in printed and "connected" in printed),
    Reading(
        "cursor",
        ("mcp-inspector", "--cli", "--config", "{file}", "--server", "brummer", "--method", "tools/list"),
        _inspector,
    ),
)
"""The inspector reads the form that Cursor, Claude Desktop and others share."""


def main() -> int:
    npm = shutil.which("npm")
    if npm is None or not installed(npm):
        print("coding agents: not installed; this needs npm and its registry", file=sys.stderr)
        return 1
    results = {reading.command[0]: problem_of(reading) for reading in READINGS}
    for program, problem in results.items():
        print(f"{program:14} {problem or 'reads what brum mcp-config --write has written'}")
    return 1 if any(results.values()) else 0


def installed(npm: str) -> bool:
    """Install these versions, unless they are there."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    stamp, wanted = DIRECTORY / "installed.json", json.dumps(PACKAGES)
    if stamp.exists() and stamp.read_text() == wanted:
        return True
    packages = [f"{name}@{version}" for name, version in PACKAGES.items()]
    command = [npm, "install", "--prefix", str(DIRECTORY), "--no-audit", "--no-fund", "--loglevel=error", *packages]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False, timeout=INSTALL_S)
    if done.returncode == 0:
        stamp.write_text(wanted)
    return done.returncode == 0


def problem_of(reading: Reading) -> str:
    """What is wrong; empty if the client has read the server."""
    with tempfile.TemporaryDirectory(prefix="brum-agents-") as directory:
        home = Path(directory).resolve()
        project, instances = home / "project", home / "instances"
        project.mkdir()
        instances.mkdir(mode=0o700)
        environment = {"HOME": str(home), "PATH": os.environ["PATH"], "BRUMMER_INSTANCES_DIR": str(instances)}
        subprocess.run(
            [BRUM, "mcp-config", "--write", reading.client], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        trusted = home / ".gemini" / "trustedFolders.json"  # in others it starts no server
        trusted.parent.mkdir(exist_ok=True)
        trusted.write_text(json.dumps({str(project): "TRUST_FOLDER"}))
        file = CLIENTS[reading.client].file(SettingsPlaces(home, {}, is_mac=sys.platform == "darwin"))
        program, *arguments = reading.command
        command = [
            str(DIRECTORY / "node_modules" / ".bin" / program),
            *(argument.format(file=file) for argument in arguments),
        ]
        try:
            done = subprocess.run(
                command, env=environment, cwd=project, capture_output=True, text=True, check=False, timeout=ANSWER_S
            )
            has_read = done.returncode == 0 and reading.has_read(
                done.stdout + done.stderr * (reading.client == "gemini")
            )
        except (ValueError, LookupError, OSError, subprocess.TimeoutExpired) as error:
            return f"failed: {error!r}"
        return "" if has_read else f"does not show the hub: {done.stdout[-500:]} {done.stderr[-500:]}"


if __name__ == "__main__":
    sys.exit(main())
