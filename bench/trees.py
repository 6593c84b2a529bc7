"""The source of a commit with an environment of its own, made once under ``.bench/`` and kept there."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
KEPT: Final = ROOT / ".bench"


class NoSuchTreeError(Exception):
    """The commit is not known here, or its environment can't be made."""


def commit_of(name: str) -> str:
    """The full hash of the commit that git knows under this name."""
    return _output(["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"])


def brum_of(commit: str) -> Path:
    """``brum`` of a commit, in a worktree with the environment of its own set-up, with the same Python."""
    tree = KEPT / commit[:12]
    if not tree.exists():
        _output(["git", "worktree", "prune"])
        _output(["git", "worktree", "add", "--quiet", "--detach", str(tree), commit])
    python = str(getattr(sys, "_base_executable", sys.executable))
    _output(["sh", "tools/setup.sh", ".venv", "dev"], tree, {**os.environ, "PYTHON": python})
    return tree / ".venv" / "bin" / "brum"


def _output(command: list[str], cwd: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoSuchTreeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()
