"""``--on BOX``: which command runs on the other machine, with a stand-in for ssh that prints what it is asked."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from brummer.cli.on_box import split
from brummer.discovery.directory import VARIABLE

SSH: Final = """\
#!/bin/sh
echo "$*" >>"$0.calls"
for last; do :; done
case "$last" in *"ls --json"*) cat "$0.listed"; exit "$(cat "$0.status")" ;; esac
printf '%s\\n' "$@"
exit 7
"""


@dataclass
class Ran:
    status: int
    out: list[str]
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs ``brum`` where two boxes are set; ``listed``: the directories of the instances there."""
    (tmp_path / ".brum.toml").write_text(
        "[servers.box]\nurl = 'ssh://me@devbox:2222'\n[servers.second]\nurl = 'ssh://second'\n"
        "[servers.docs]\nurl = 'http://h/mcp'\n"
    )
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)

    def brum(*arguments: str, listed: tuple[str, ...] = (), status: int = 0) -> Ran:
        instances = {"instances": [{"instance_id": "x", "directory": each} for each in listed]}
        (tmp_path / "ssh.listed").write_text(json.dumps(instances))
        (tmp_path / "ssh.status").write_text(str(status))
        done = subprocess.run(
            [sys.executable, "-m", "brummer", *arguments],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), VARIABLE: str(tmp_path / "i")},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return Ran(done.returncode, done.stdout.splitlines(), done.stderr)

    return brum


def there(ran: Ran) -> str:
    """The command that ssh would run."""
    assert ran.status == 7, ran
    return ran.out[-1].partition("' brum ")[2]


def test_the_same_command_runs_there_and_its_status_is_passed_on(run: Run) -> None:
    ran = run("logs", "--on", "box", "-d", "work dir/it's", "-f", "dev")
    assert ran.out[:3] == ["-T", "-p", "2222"]
    assert ran.out[-2] == "me@devbox"
    assert there(ran) == """logs -d 'work dir/it'"'"'s' -f dev"""
    assert there(run("ls", "--on=second")) == "ls"


def test_without_a_directory_it_is_the_only_instance_there(run: Run) -> None:
    assert there(run("ps", "--on", "box", listed=("/home/me/api",))) == "ps -d /home/me/api"
    nothing = run("ps", "--on", "box")
    assert nothing.status == 3
    assert "nothing runs on box" in nothing.err
    several = run("down", "--on", "box", listed=("/home/me/api", "/home/me/web"))
    assert several.status == 2
    assert "/home/me/api, /home/me/web" in several.err
    assert run("ps", "--on", "box", status=255).status == 255


def test_up_takes_a_directory_as_its_first_word(run: Run) -> None:
    assert there(run("up", "--on", "box", "~/work/api", "dev")) == "up -d '~/work/api' dev"
    assert there(run("up", "--on", "box", "dev", listed=("/api",))) == "up -d /api dev"


def test_an_unknown_machine_is_an_error_that_lists_those_that_are_set(run: Run) -> None:
    ran = run("ps", "--on", "docs")
    assert ran.status == 2
    assert "box, second" in ran.err


def test_without_ssh_it_says_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    for arguments in (("ls", "--on", "box"), ("ps", "--on", "box")):
        ran = run(*arguments)
        assert ran.status == 1
        assert "ssh is not installed" in ran.err


@pytest.mark.parametrize(
    "arguments", [["--help", "--on", "box"], ["--on", "box", "-h"], ["--on"], ["--", "--on", "box"]]
)
def test_help_is_given_here_and_a_missing_name_is_reported_here(arguments: list[str]) -> None:
    assert split(arguments) is None


def test_a_command_without_the_option_does_not_have_it(run: Run) -> None:
    ran = run("doctor", "--on", "box")
    assert ran.status == 2
    assert "unknown argument --on" in ran.err
