"""The foreign programs that the other integration tests drive are there, and are the versions we mean."""

import json
import subprocess
from pathlib import Path


def version_said_by(*command: str | Path) -> tuple[int, ...]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return tuple(int(part) for part in done.stdout.strip().removeprefix("v").split(".")[:3])


def test_node_is_new_enough_for_the_conformance_suite(node: Path) -> None:
    assert version_said_by(node, "--version") >= (22,)


def test_the_old_sdk_is_of_the_older_era(old_sdk_python: Path) -> None:
    ask = "from importlib.metadata import version; print(version('mcp'))"
    assert (1,) < version_said_by(old_sdk_python, "-c", ask) < (2,)


def test_the_typescript_client_loads(node: Path, js: Path) -> None:
    load = "const { Client } = await import('@modelcontextprotocol/client'); console.log(typeof Client)"
    done = subprocess.run(
        [node, "--input-type=module", "-e", load],
        cwd=js,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "function"
    client = json.loads((js / "node_modules/@modelcontextprotocol/client/package.json").read_text())
    assert client["version"].startswith("2.4.")


def test_the_conformance_suite_starts(conformance: list[str]) -> None:
    done = subprocess.run([*conformance, "list"], capture_output=True, text=True, timeout=60, check=True)
    assert "dns-rebinding" in done.stdout
