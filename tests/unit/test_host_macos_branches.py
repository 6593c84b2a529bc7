import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.platform_branches import lines_for_macos

ROOT = Path(__file__).parents[2]


@pytest.mark.promise("macos-by-fakes")
@pytest.mark.timeout(180)
def test_every_branch_for_macos_runs() -> None:
    program = subprocess.run(
        [sys.executable, "-m", "tests.unit.as_a_mac"],
        cwd=ROOT,
        env={**os.environ, "AS_A_MAC": "yes"},
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert program.returncode == 0, program.stderr
    ran = json.loads(program.stdout.splitlines()[-1])
    missed = {
        name: sorted(left) for name, lines in lines_for_macos().items() if (left := lines - set(ran.get(name, ())))
    }
    assert not missed
