"""The workflows of the forge, which have never run: what can be known of them without it."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.test_docs_commands import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
USES = re.compile(r"^\s*(?:- )?uses: *(\S+)", re.MULTILINE)
BY_COMMIT = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")


def actionlint(node: Path, js: Path, *workflows: Path) -> subprocess.CompletedProcess[str]:
    program = js / "node_modules" / "@tktco" / "node-actionlint" / "bin" / "node-actionlint.js"
    command: list[str | Path] = [node, program, *(path.name for path in workflows)]
    return subprocess.run(command, cwd=workflows[0].parent, capture_output=True, text=True, timeout=60, check=False)


def test_actionlint_finds_nothing_in_the_workflows(node: Path, js: Path) -> None:
    done = actionlint(node, js, *WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_a_job_that_is_not_there(node: Path, js: Path, tmp_path: Path) -> None:
    broken = tmp_path / "release.yml"
    broken.write_text(
        (ROOT / ".github" / "workflows" / "release.yml").read_text().replace("needs: build", "needs: bild")
    )
    done = actionlint(node, js, broken)
    assert done.returncode == 1
    assert "bild" in done.stdout + done.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_named_by_its_commit(workflow: Path) -> None:
    used = [name for name in USES.findall(workflow.read_text()) if not name.startswith("./")]
    assert used
    assert [name for name in used if not BY_COMMIT.fullmatch(name)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_make_target_of_a_workflow_is_there(workflow: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [
        word
        for command in re.findall(r"\bmake ((?:-C \w+ )?[\w -]+)", workflow.read_text())
        for word in re.sub(r"-C \w+ ", "", command).split()
    ]
    assert named
    assert {word for word in named if word.islower()} <= targets  # a variable is in capitals
