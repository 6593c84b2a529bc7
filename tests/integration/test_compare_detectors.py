"""The committed cases of the detectors beside the tools themselves: both list the same."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import compare_detectors
import sandbox
from listings import KINDS, Kind
from tests.unit.project_support import Project
from tests.unit.test_detectors import KINDS as CASES


def has_sandbox() -> bool:
    try:
        sandbox.check()
    except sandbox.NoSandboxError:
        return False
    return True


needs_sandbox = pytest.mark.skipif(not has_sandbox(), reason="platform: namespaces without network are not to be had")
"""Other tools' listings run parts of the files."""


@needs_sandbox
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_committed_cases_are_listed_as_the_tool_lists_them(tmp_path: Path, kind: Kind) -> None:
    if not shutil.which(kind.tool):
        pytest.skip(f"platform: {kind.tool} is not here")
    for number, (files, _) in enumerate(CASES.values()):
        project = Project(tmp_path / "cases" / f"case-{number}")
        for name, content in files.items():
            project.write(name, content)
    verdicts = list(compare_detectors.compared(tmp_path / "cases", [kind], limit=len(CASES)))
    score = compare_detectors.score(kind.name, verdicts)
    assert score.precision == 1.0, [verdict for verdict in verdicts if verdict.ghosts]
    assert score.recall == 1.0, [verdict for verdict in verdicts if verdict.missed]


@needs_sandbox
def test_the_report_of_a_makefile_is_written_and_its_misses_decide_the_exit_status(tmp_path: Path) -> None:
    project = Project(tmp_path / "projects" / "shop")
    project.write("Makefile", "build: prepare\n\ttouch $@\nprepare:\nNAME = generated\n$(eval $(NAME): ; true)\n")
    report = tmp_path / "report.md"
    program = [sys.executable, compare_detectors.__file__, str(tmp_path / "projects")]
    done = subprocess.run(
        [*program, "--only", "Makefile", "--report", str(report)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| Makefile | 1 | 2 | 1.0000 | 1.0000 | 0 | 0 |" in report.read_text("utf-8")
    assert not (project.directory / "build").exists(), "nothing is built, and nothing runs in the project itself"
