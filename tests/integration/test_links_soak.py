"""Half a minute of `make soak`: the same program, traffic and bounds."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

SOAK: Final = Path(__file__).parent.parent.parent / "bench" / "soak.py"
SECONDS: Final = 30

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: /proc tells what a process holds")


@pytest.mark.promise("the-connection-never-breaks")
def test_half_a_minute_of_traffic_leaves_every_connection_and_every_size_as_it_was() -> None:
    environment = {**os.environ, "SECONDS": str(SECONDS)}
    command = [sys.executable, str(SOAK), "--no-report"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=4 * SECONDS, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
