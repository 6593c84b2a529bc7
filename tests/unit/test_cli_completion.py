"""The text of `brum completion`, and the names that it asks for. Real shells are in the integration tests."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from brummer.cli import dispatch
from brummer.cli.command_table import BY_NAME
from brummer.cli.completion_text import script_for
from brummer.contract.tools import INSTANCE_TOOLS
from tests.unit.cli_support import Brum, commands_in_this_process, own_surroundings
from tests.unit.discovery_support import Owner


@pytest.fixture
def instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_surroundings(tmp_path, monkeypatch)


@pytest.fixture
def brum(instances: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Brum]:
    with commands_in_this_process(capsys) as run:
        yield run


def candidates(*words: str) -> set[str]:
    """What `sh` prints for these words; the last one is being typed."""
    text = script_for("bash").partition("_brum() {")[0]
    *before, current = words
    command = ["bash", "-c", f'{text}\n_brum_candidates "$@"', "bash", "no-such-program", current, *before]
    return set(subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines())


@pytest.mark.parametrize("command", BY_NAME)
def test_all_options_of_a_command_are_candidates(command: str) -> None:
    parser = dispatch.parser_of(BY_NAME[command], dispatch.module_of(BY_NAME[command]))
    assert candidates(command, "-") == set(parser.option_strings())


def test_the_first_word_is_a_command_or_an_option() -> None:
    assert set(BY_NAME) - {"bridge"} <= candidates("")
    assert "bridge" not in candidates("")
    assert {"--mcp", "--settings"} <= candidates("-")
    assert {"--mcp", "--settings"} <= candidates("a-script", "--")


def test_the_value_of_an_option_is_not_taken_for_a_command() -> None:
    assert candidates("logs", "--level", "") == {"error", "warning", "info", "debug"}
    assert candidates("-d", "up", "--tim") == candidates("--tim")
    assert candidates("logs", "--grep", "") == set()
    assert candidates("up", "--dir", "") == {":directories"}
    assert {tool.name for tool in INSTANCE_TOOLS} <= candidates("call", "shop", "")


def test_names_are_those_of_the_project_above_and_of_instances_that_run(
    brum: Brum, tmp_path: Path, instances: Path
) -> None:
    project = tmp_path / "shop"
    below = project / "src"
    below.mkdir(parents=True)
    (project / ".git").mkdir()
    assert brum("completion", "--names", "scripts", "-d", str(below)) == (0, "", "")
    (project / ".brum.toml").write_text('[scripts]\nweb = "true"\n"two\\nlines" = "true"\n')
    assert brum("completion", "--names", "scripts", "-d", str(below)) == (0, "web\n", "")
    assert brum("completion", "--names", "instances").out == ""
    owner = Owner(instances, project)
    try:
        record = owner.publish()
        assert brum("completion", "--names", "instances").out == f"{record.name}\n{record.instance_id}\n"
    finally:
        owner.kill()


def test_without_a_shell_it_says_which_there_are(brum: Brum, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        brum("completion")
    assert raised.value.code == 2
    assert "bash or zsh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "not_loaded"),
    [("scripts", {"asyncio", "httptools", "brummer.wire"}), ("instances", {"uvloop", "httptools", "brummer.wire"})],
)
def test_names_are_found_without_heavy_imports(tmp_path: Path, names: str, not_loaded: set[str]) -> None:
    (tmp_path / "Procfile").write_text("web: true\n")
    program = (
        "import sys; from brummer.cli import start; start.main(sys.argv[1:]);"
        f"print(sorted({not_loaded!r} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, "completion", "--names", names, "-d", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"BRUMMER_INSTANCES_DIR": str(tmp_path), "HOME": "/"}
    )
    assert done.stdout.splitlines()[-1] == "[]"
