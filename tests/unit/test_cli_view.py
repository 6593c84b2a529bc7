"""`brum` alone on a terminal: which project it is about, and what the view gets from the command line."""

import contextlib
import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from brummer.cli.commands import brum as brum_command
from brummer.cli.commands import instance, view
from brummer.cli.commands.view import CommandLine, left_behind, own_project
from brummer.core.errors import NotFound
from brummer.discovery.directory import black_box_directory
from brummer.discovery.record import instance_id_for
from brummer.hub.service import running_hub
from brummer.instance.scripts import ScriptList
from brummer.logs.journal.files import LostLines, ProjectFiles, RunFiles
from brummer.logs.journal.record_format import About, stem
from brummer.views.model import ENDED, NOT_STARTED, ViewedInstanceFacts
from tests.unit.cli_support import commands_in_this_process, own_surroundings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    own_surroundings(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def shop(home: Path) -> Path:
    place = home / "shop"
    (place / "deep").mkdir(parents=True)
    (place / "Procfile").write_text("web: sleep 1\nworker: sleep 1\n")
    (place / ".git").mkdir()
    return place


@pytest.fixture
def ids(shop: Path) -> dict[str | None, str]:
    """The ids that its instances have, by their names."""
    return {name: instance_id_for(shop, name) for name in (None, "second")}


def test_a_project_that_does_not_run_is_known_with_its_scripts_and_what_brum_up_starts(shop: Path) -> None:
    own = own_project(shop / "deep", None)
    assert own is not None
    assert own.facts == ViewedInstanceFacts(instance_id_for(shop), "shop", str(shop), NOT_STARTED)
    assert own.first == ("web", "worker")
    assert own.listed is not None
    assert [each["name"] for each in own.listed["scripts"]] == ["web", "worker"]
    second = own_project(shop, "second")
    assert second is not None
    assert second.facts.name == "second"
    assert second.facts.instance_id == instance_id_for(shop, "second")


def test_where_nothing_says_what_to_start_nothing_is_named(home: Path) -> None:
    place = home / "many"
    place.mkdir()
    (place / "Makefile").write_text("a:\n\ttrue\nb:\n\ttrue\n")
    own = own_project(place, None)
    assert own is not None
    assert own.first == ()


def test_outside_of_any_project_there_is_none(home: Path) -> None:
    place = home / "nothing"
    place.mkdir()
    assert own_project(place, None) is None


def test_what_projects_have_left_is_listed_where_they_still_are(home: Path, shop: Path) -> None:
    environ = {"BRUMMER_INSTANCES_DIR": str(home / "instances")}
    assert left_behind(environ) == []
    for place in (shop, home / "removed"):
        about = About(instance_id_for(place), place.name, str(place))
        files = RunFiles(ProjectFiles(lambda: black_box_directory(environ), about), stem("g", 1, "web"))
        files.write([], [(1, {"n": 1}, {"process_id": "web-1", "name": "web"})], LostLines(), is_last=True)
    assert left_behind(environ) == [ViewedInstanceFacts(instance_id_for(shop), "shop", str(shop), ENDED)]


@pytest.fixture
async def line(home: Path, shop: Path) -> AsyncIterator[CommandLine]:
    environ = {"BRUMMER_INSTANCES_DIR": str(home / "instances"), "HOME": str(home)}
    async with running_hub(environ, shop) as hub, contextlib.aclosing(CommandLine(shop, {"A": "1"}, hub)) as made:
        yield made


async def test_the_scripts_to_start_are_those_of_brum_up(
    home: Path, shop: Path, ids: dict[str | None, str], line: CommandLine
) -> None:
    facts = ViewedInstanceFacts(ids[None], "shop", str(shop), NOT_STARTED)
    assert await line.scripts_to_start(facts) == ("web", "worker")
    assert await line.scripts_to_start(facts._replace(directory=str(home))) == ()
    assert await line.hubs() == []
    with pytest.raises(NotFound):
        await line.end(facts.instance_id)


@pytest.mark.parametrize("name", [None, "second"])
async def test_an_instance_is_started_under_its_own_name(
    shop: Path, ids: dict[str | None, str], line: CommandLine, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    started: list[Any] = []

    async def start(project: Any, scripts: Any, *, environment: Any) -> None:
        started.append((project.place, project.name, scripts, environment))

    monkeypatch.setattr(view, "started_in_background", start)
    facts = ViewedInstanceFacts(ids[name], name or "shop", str(shop), ENDED)
    await line.start(facts, ["web"])
    assert started == [(shop, name, ["web"], {"A": "1"})]


async def test_the_page_is_served_from_the_first_time_that_it_is_wanted(line: CommandLine) -> None:
    first, second = await line.page_address(), await line.page_address()
    assert first.startswith("http://127.0.0.1:")
    assert first.partition("#")[0] == second.partition("#")[0]
    assert first != second, "an address opens the page once"


# Where the view can't be shown.


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every condition for the view holds. Returns the names of the instances that print lines."""
    printed: list[str] = []
    monkeypatch.setattr(brum_command, "_opens_view", lambda chosen, _: not chosen.no_tui)

    def run(chosen: Any, _: Any) -> int:
        printed.append(chosen.dir.name)
        return 0

    monkeypatch.setattr(instance, "run", run)
    return printed


def test_without_the_toolkit_lines_are_printed_and_it_is_said_once(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed, plain = on_a_terminal(monkeypatch), importlib.import_module

    def fails(name: str) -> ModuleType:
        if name.startswith("brummer.views.terminal"):
            raise ImportError("No module named 'textual'")
        return plain(name)

    monkeypatch.setattr(importlib, "import_module", fails)
    with commands_in_this_process(capsys) as brum:
        done = brum("-d", str(shop))
    assert done.status == 0
    assert printed == ["shop"]
    assert done.err.count("textual") == 2, "once, with the reason"
    assert "lines are printed instead" in done.err
    assert not (shop.parent / "instances" / "log").exists(), "nothing was started"


def test_no_tui_prints_lines(shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    printed = on_a_terminal(monkeypatch)
    with commands_in_this_process(capsys) as brum:
        assert brum("-d", str(shop), "--no-tui").status == 0
    assert printed == ["shop"]


def test_what_it_lists_is_what_the_detectors_find(shop: Path) -> None:
    own = own_project(shop, None)
    assert own is not None
    assert own.listed is not None
    assert [each["name"] for each in own.listed["scripts"]] == list(ScriptList(shop).read().listed)
