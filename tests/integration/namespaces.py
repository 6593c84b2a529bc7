"""A scenario in a network namespace of its own, where it can do to its network what it likes."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.programs import BRUM

SCENARIOS: Final = Path(__file__).parent / "scenarios"

needs_namespaces = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="platform: network namespaces need root on Linux"
)


def has_user_namespaces() -> bool:
    """Not in a chroot, and not where the system forbids them."""
    try:
        return subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_user_namespaces = pytest.mark.skipif(
    not has_user_namespaces(), reason="platform: user namespaces are not to be had here"
)


async def play(scenario: str, folder: Path, *arguments: object, tool: str, within_s: float, **more: str) -> Any:
    """Run ``scenarios/NAME.py BRUM FOLDER …``, which needs this tool; returns the JSON that it prints."""
    folder.mkdir()
    unshare = shutil.which("unshare")
    assert unshare
    assert shutil.which(tool), "make integration-test installs it"
    words = (unshare, "--net", sys.executable, SCENARIOS / f"{scenario}.py", BRUM, folder, *arguments)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*map(str, words), stdout=pipe, stderr=pipe, env=os.environ | more)
    try:
        async with asyncio.timeout(within_s):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, stderr.decode()[-2000:]
    return json.loads(stdout)
