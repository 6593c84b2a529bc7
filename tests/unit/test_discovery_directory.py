"""Where the shared directory is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brummer.discovery import directory
from brummer.discovery.directory import instances_directory
from brummer.host.directories import DirectoryUnusable


def test_the_user_s_choice_comes_first(tmp_path: Path) -> None:
    environ = {"BRUMMER_INSTANCES_DIR": str(tmp_path / "mine"), "XDG_RUNTIME_DIR": str(tmp_path)}
    assert instances_directory(environ) == tmp_path / "mine"
    assert not (tmp_path / "mine").exists()


def test_a_tilde_that_no_shell_has_seen_is_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert instances_directory({"BRUMMER_INSTANCES_DIR": "~/x"}) == Path("/home/somebody/x")


def test_a_relative_choice_is_refused_because_it_would_mean_another_place_for_everybody() -> None:
    with pytest.raises(DirectoryUnusable):
        instances_directory({"BRUMMER_INSTANCES_DIR": "here"})


def test_the_runtime_directory_is_next(tmp_path: Path) -> None:
    assert instances_directory({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "brummer" / "instances"


@pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root may chown")
def test_a_runtime_directory_of_another_user_is_passed_over(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    assert tmp_path not in instances_directory({"XDG_RUNTIME_DIR": str(tmp_path)}).parents


def test_with_and_without_the_variable_one_comes_to_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Path(f"/run/user/{os.geteuid()}")
    monkeypatch.setattr(directory, "_is_ours", lambda place: place == runtime)
    assert instances_directory({}) == instances_directory({"XDG_RUNTIME_DIR": str(runtime)})
    assert instances_directory({"XDG_RUNTIME_DIR": "/gone"}) == runtime / "brummer" / "instances"


def test_without_a_runtime_directory_it_is_under_the_user_s_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/home/somebody/data")
    monkeypatch.setattr(directory, "_is_ours", lambda place: False)
    assert instances_directory({}) == Path("/home/somebody/data/brummer/instances")


def test_finding_it_imports_nothing_slow(tmp_path: Path) -> None:
    code = (
        "import sys; from brummer.discovery.directory import instances_directory;"
        "instances_directory({'XDG_RUNTIME_DIR': sys.argv[1]});"
        "instances_directory({'BRUMMER_INSTANCES_DIR': sys.argv[1]});"
        "sys.exit('platformdirs' in sys.modules or 'asyncio' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=20)
