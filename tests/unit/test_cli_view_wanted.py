"""`brum` alone opens the view on a terminal, and nowhere else."""

import pytest

from brummer.cli.commands import brum
from brummer.cli.options import parser
from brummer.cli.view_wanted import place_allows_view, view_is_wanted


def wanted(*words: str) -> bool:
    made = parser("brum")
    brum.add_options(made)
    return view_is_wanted(made.parse_args(words))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-d", "/"],
        ["--name", "second"],
        ["--no-color"],
        ["--set", "glyphs=ascii"],
        ["--set", "notify=false", "--set", "tui=true"],
    ],
)
def test_a_project_and_settings_of_the_view_open_it(words: list[str]) -> None:
    assert wanted(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["dev"],
        ["--no-tui"],
        ["-p", "7777"],
        ["--no-autostart"],
        ["--end-idle", "0s"],
        ["--started-by", "an agent"],
        ["--metrics", "127.0.0.1:0"],
        ["--log-json"],
        ["--log-level", "debug"],
        ["--set", "max_connections=5"],
    ],
)
def test_a_script_and_options_of_an_instance_print_lines(words: list[str]) -> None:
    assert not wanted(*words)


def allowed(
    environ: dict[str, str] | None = None, *, are_terminals: bool = True, pid: int = 10, parent: int = 9
) -> bool:
    usual = {"TERM": "xterm-256color"}
    return place_allows_view({**usual, **(environ or {})}, are_terminals=are_terminals, pid=pid, parent=parent)


def test_a_terminal_of_a_person_allows_it() -> None:
    assert allowed()
    assert allowed({"CI": ""})
    assert allowed({"CI": "false"})
    assert allowed(parent=0), "as docker exec -it has it"


@pytest.mark.promise("a-view-is-never-forced")
@pytest.mark.parametrize("environ", [{"CI": "true"}, {"CI": "1"}, {"TERM": "dumb"}, {"TERM": ""}])
def test_ci_and_a_dumb_terminal_do_not(environ: dict[str, str]) -> None:
    assert not allowed(environ)


def test_without_a_terminal_there_is_none() -> None:
    assert not allowed(are_terminals=False)


def test_the_first_process_of_a_container_and_what_an_init_starts_print_lines() -> None:
    assert not allowed(pid=1, parent=0)
    assert not allowed(parent=1)
