"""The tested clients, each in an environment of its own under ``.clients/``, which uv makes once."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from setup_env import fetch_uv, find_uv, registry_settings

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / ".clients"
INSTALL_S: Final = 600


@dataclass(frozen=True)
class Framework:
    """One client: its distribution first, then what it needs beside it. Its driver is ``NAME_client.py``."""

    name: str
    requirements: tuple[str, ...]

    @property
    def driver(self) -> Path:
        return Path(__file__).with_name(f"{self.name.replace('-', '_')}_client.py")


FRAMEWORKS: Final = (
    Framework("openai-agents", ("openai-agents==0.24.0",)),
    Framework("crewai-tools", ("crewai-tools[mcp]==1.15.30",)),
    Framework("semantic-kernel", ("semantic-kernel[mcp]==1.45.0",)),
    Framework("langchain-mcp-adapters", ("langchain-mcp-adapters==0.3.2",)),
    Framework("google-adk", ("google-adk[mcp]==2.13.0",)),
    Framework("autogen", ("autogen-ext[mcp]==0.7.5", "mcp<2")),  # it allows version 2 of the SDK, but can't import it
)


class NotAvailableError(Exception):
    """Why a client could not be installed."""


def python_of(framework: Framework) -> Path:
    """Its interpreter. Raises NotAvailableError."""
    folder = KEPT / f"{framework.name}-{hashlib.sha256(' '.join(framework.requirements).encode()).hexdigest()[:8]}"
    python = folder / "bin" / "python"
    stamp = folder / ".complete"
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        uv = find_uv() or fetch_uv()
        base = str(getattr(sys, "_base_executable", sys.executable))
        _run([uv, "venv", "--quiet", "--python", base, str(folder)])
        _run([uv, "pip", "install", "--quiet", "--python", str(python), *framework.requirements])
        stamp.touch()
    return python


def versions(python: Path, framework: Framework) -> tuple[str, str]:
    """The versions of the client and of its MCP SDK."""
    distribution = framework.requirements[0].partition("=")[0].partition("[")[0]
    ask = f"from importlib.metadata import version; print(version({distribution!r}), version('mcp'))"
    own, sdk = subprocess.check_output([python, "-c", ask], text=True).split()
    return own, sdk


def _run(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | registry_settings()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise NotAvailableError(f"not installed within {INSTALL_S} s") from None
    if done.returncode:
        raise NotAvailableError(f"not installed: {done.stderr.strip().splitlines()[-1]}")
