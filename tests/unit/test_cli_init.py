"""`brum init`: the file that it writes, as it is and with its comments removed."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from brummer.instance.scripts import ScriptList
from tests.unit.cli_support import Brum, commands_in_this_process, own_surroundings

PROCFILE = "web: python -m http.server\nworker: sleep 600\n"


@pytest.fixture
def brum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Brum]:
    own_surroundings(tmp_path, monkeypatch)
    with commands_in_this_process(capsys) as run:
        yield run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "shop"
    directory.mkdir()
    return directory


def uncommented(text: str) -> str:
    return re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE)


def test_all_that_is_found_is_in_the_file_as_a_comment(brum: Brum, project: Path) -> None:
    (project / "Procfile").write_text(PROCFILE)
    ran = brum("init", "-d", str(project))
    assert (ran.status, ran.err) == (0, "")
    assert "2 scripts found" in ran.out
    text = (project / ".brum.toml").read_text()
    assert tomllib.loads(text) == {}
    assert "python -m http.server" in text
    assert ScriptList(project).read().scripts.keys() == {"web", "worker"}


@pytest.mark.parametrize(
    "files",
    [
        {"Procfile": PROCFILE},
        {"package.json": '{"scripts": {"a b": "x", "test:unit": "y # z", "\\"q\\"": "w", "multi": "a\\nb"}}'},
        {"Makefile": "".join(f"target-{n}:\n\ttrue\n" for n in range(30))},
        {},
    ],
    ids=["Procfile", "odd names", "many", "nothing"],
)
def test_without_its_comment_signs_the_file_is_valid(brum: Brum, project: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (project / name).write_text(content)
    before = set(ScriptList(project).read().scripts)
    assert brum("init", "-d", str(project)).status == 0
    file = project / ".brum.toml"
    file.write_text(uncommented(file.read_text()))
    (project / ".env").touch()
    listing = ScriptList(project).read()
    assert not listing.problems
    assert listing.scripts.keys() == {*before, "my-script"}
    started = {name for name, script in listing.scripts.items() if script.autostart}
    assert started <= before
    assert len(started) == min(20, len(before))


@pytest.mark.parametrize("content", ["", "[scripts]\nmine = 'true'\n"])
def test_a_file_that_is_there_is_left_alone(brum: Brum, project: Path, content: str) -> None:
    file = project / ".brum.toml"
    file.write_text(content)
    ran = brum("init", "-d", str(project))
    assert (ran.status, ran.out, file.read_text()) == (1, "", content)
    assert "was not changed" in ran.err


def test_a_link_to_nowhere_is_left_alone_too(brum: Brum, project: Path) -> None:
    (project / ".brum.toml").symlink_to(project / "elsewhere")
    assert brum("init", "-d", str(project)).status == 1
    assert not (project / "elsewhere").exists()
