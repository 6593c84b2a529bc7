"""The package as a stranger installs it: by each command of the README, into a home of its own.

A wheel of this tree stands in place of the address. Then a person and an agent use what is installed, in a project.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import build
from setup_env import fetch_uv, find_uv, registry_settings
from tests.integration.programs import PROCFILE, SERVER_PY, WAIT_S, Brum, Done, Hub
from tests.integration.test_docs_commands import ADDRESS, IN_PAGES, ROOT

README = [command for command in IN_PAGES["README.md"] if ADDRESS in command]
INSTALL = [command for command in README if " install " in command]
AT_ONCE = [command for command in README if command not in INSTALL]

INSTALL_S = 180.0
"""An installer makes an environment and fetches five packages from the registry, once for each test."""

# What an environment of the tests would add: where an installer keeps its things, and which Python is meant.
NOT_A_STRANGERS = re.compile(r"(XDG|UV|PIPX|VIRTUAL|CONDA)_|PYTHON|PYENV_VERSION")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel."""
    return build.build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `uv`, `uvx` and `pipx`, and nothing else of our environment."""
    directory = tmp_path_factory.mktemp("installers")
    uv = Path(find_uv() or fetch_uv()).resolve()
    for program in (uv, uv.with_name("uvx"), Path(sys.executable).with_name("pipx")):
        if not program.exists():
            pytest.skip(f"{program.name} is missing: run make integration-test")
        (directory / program.name).symlink_to(program)
    return directory


class Stranger:
    """Somebody with an empty home and these installers, whose `brum` comes from a package."""

    def __init__(self, brum: Brum, installers: Path) -> None:
        self.brum = brum
        self.home = brum.home / "stranger"
        self.home.mkdir()
        self.programs = self.home / ".local" / "bin"
        kept = {name: value for name, value in brum.environment.items() if not NOT_A_STRANGERS.match(name)}
        path = [entry for entry in os.environ["PATH"].split(os.pathsep) if Path(entry) != Path(sys.executable).parent]
        self.environment = {
            **kept,
            **registry_settings(),
            "HOME": str(self.home),
            "PATH": os.pathsep.join([str(self.programs), str(installers), *path]),
            # This Python, and not the newest of the machine or one from the network.
            "UV_PYTHON": sys.executable,
            "UV_PYTHON_DOWNLOADS": "never",
            "PIPX_DEFAULT_PYTHON": sys.executable,
        }

    def types(self, command: str, cwd: Path, timeout_s: float = 3 * WAIT_S) -> Done:
        done = subprocess.run(
            shlex.split(command),
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return Done(done.returncode, done.stdout, done.stderr)

    def installs(self, command: str, wheel: Path) -> None:
        self.types(command.replace(ADDRESS, str(wheel)), self.home, INSTALL_S)


@pytest.fixture
def stranger(brum: Brum, installers: Path) -> Iterator[Stranger]:
    yield Stranger(brum, installers)
    brum.kill_all()


def test_the_readme_installs_with_uv_and_with_pipx_and_runs_with_uvx() -> None:
    assert [command.split()[0] for command in INSTALL] == ["uv", "pipx"]
    assert [command.split()[0] for command in AT_ONCE] == ["uvx"]


@pytest.mark.promise("installed-by-the-readme")
@pytest.mark.timeout(INSTALL_S + 240)
@pytest.mark.parametrize("command", INSTALL, ids=lambda command: command.split()[0])
def test_what_is_installed_runs_a_project_for_a_person_and_an_agent(
    stranger: Stranger, package: tuple[Path, Path], command: str
) -> None:
    stranger.installs(command, package[1])
    assert (stranger.programs / "brum").resolve().is_relative_to(stranger.home)
    assert agent_command(stranger)[0] == str(stranger.programs / "brum")
    runs_a_project(stranger, version=package[1].name.split("-")[1])


@pytest.mark.promise("installed-by-the-readme")
@pytest.mark.timeout(INSTALL_S + 240)
def test_it_runs_with_the_oldest_dependencies_that_it_allows(stranger: Stranger, package: tuple[Path, Path]) -> None:
    oldest = INSTALL[0].replace("install", "install --resolution lowest")
    stranger.installs(oldest, package[1])
    for name, bound in allowed_from(package[1]):
        assert installed(stranger, name) == Version(bound), name
    runs_a_project(stranger, version=package[1].name.split("-")[1])


def allowed_from(wheel: Path) -> Iterator[tuple[str, str]]:
    """Its dependencies, without those of extras and of other systems, and the oldest release of each that it allows."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = build.parsed(archive.read(name))
    for requirement in map(Requirement, metadata.get_all("Requires-Dist", [])):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            (bound,) = requirement.specifier
            yield requirement.name, bound.version


def installed(stranger: Stranger, package: str) -> Version:
    """Its version in the environment of `brum`."""
    python = (stranger.programs / "brum").resolve().with_name("python")
    ask = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return Version(stranger.types(shlex.join([str(python), "-c", ask]), stranger.home).stdout.strip())


def runs_a_project(stranger: Stranger, version: str) -> None:
    project = stranger.brum.project("shop", {"Procfile": PROCFILE, "server.py": SERVER_PY})
    assert version in stranger.types("brum --version", project).stdout

    assert "ready" in stranger.types("brum up dev", project).stdout
    assert "dev" in stranger.types("brum ps", project).stdout
    assert "ready on http" in stranger.types("brum logs", project).stdout

    hub = Hub(agent_command(stranger), cwd=stranger.home, env=stranger.environment)
    try:
        hub.greet()
        assert [each["name"] for each in hub.call("instances_list")["instances"]] == ["shop"]
        lines = hub.call("logs_tail", process="dev")["lines"]
        assert any("ready on http" in line["text"] for line in lines)
        page = hub.ask("resources/read", uri="ui://brummer/view")["contents"][0]["text"]
        assert page.startswith("<!doctype html>")
        assert page.rstrip().endswith("</html>")
    finally:
        hub.close_stdin()
        hub.wait()
        hub.end()

    assert "is down" in stranger.types("brum down", project).stdout
    assert stranger.brum.gone()


def agent_command(stranger: Stranger, brum: str = "brum") -> list[str]:
    """What ``brum mcp-config`` tells an agent to run, which must not need the PATH of a terminal."""
    shown = stranger.types(f"{brum} mcp-config cursor", stranger.home).stdout
    server = json.loads(shown[shown.index("{") :])["mcpServers"]["brummer"]
    assert Path(server["command"]).is_absolute()
    return [server["command"], *server["args"]]


@pytest.mark.promise("installed-by-the-readme")
@pytest.mark.timeout(INSTALL_S + 60)
@pytest.mark.parametrize("command", AT_ONCE, ids=lambda command: command.split()[0])
def test_without_installing_it_runs_from_the_package(
    stranger: Stranger, package: tuple[Path, Path], command: str
) -> None:
    done = stranger.types(command.replace(ADDRESS, str(package[1])), stranger.home, INSTALL_S)
    assert package[1].name.split("-")[1] in done.stdout

    hub = agent_command(stranger, command.replace(ADDRESS, str(package[1])).removesuffix(" --version"))
    assert hub[1:] == ["--from", package[1].as_uri(), "brum", "--mcp"]
    assert stranger.types(shlex.join([*hub[:-1], "--version"]), stranger.home).stdout == done.stdout
    assert not stranger.programs.exists()


def test_the_package_has_what_it_should_have_and_an_sdist_from_which_it_can_be_made_again(
    package: tuple[Path, Path],
) -> None:
    sdist, wheel = package
    assert [
        *build.wheel_faults(wheel, ROOT / "src"),
        *build.sdist_faults(sdist, build.tracked_files(ROOT)),
        *build.differences(sdist, wheel),
    ] == []
