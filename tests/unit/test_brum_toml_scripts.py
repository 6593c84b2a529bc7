"""``[scripts]`` in .brum.toml: what it sets, what it changes, and what is said of what is wrong in it."""

from pathlib import Path

import msgspec
import pytest

from brummer.instance.detect import PROBLEMS_LIMIT, Ready, Script
from brummer.instance.detect.dependencies import Cycle, without_cycles
from tests.unit.project_support import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def told(project: Project) -> list[tuple[int | None, str]]:
    """Line and text of each problem, which must all be about this file."""
    assert {problem.source for problem in project.problems()} <= {".brum.toml"}
    return [(problem.line, problem.message) for problem in project.problems()]


def test_the_short_form_is_a_command_for_the_shell(project: Project) -> None:
    project.write(".brum.toml", '[scripts]\ndev = "npm run dev | cat"\nlist = ["a", "b c"]\n')
    assert project.commands() == {"dev": "npm run dev | cat", "list": ["a", "b c"]}
    assert project.script("dev") == Script("dev", "npm run dev | cat", ".brum.toml", str(project.directory))


def test_a_program_of_the_project_stays_where_it_is_when_its_script_runs_elsewhere(project: Project) -> None:
    project.write("pyproject.toml", '[project.scripts]\nserve = "a:b"\nmake = "a:c"\n')
    project.write(".venv/bin/serve", "")
    project.write(".brum.toml", '[scripts.serve]\ncwd = "sub"\n')
    directory = project.directory
    assert project.script("serve").command == [str(directory / ".venv/bin/serve")]
    assert project.script("serve").directory == str(directory / "sub")
    assert project.script("make").command == [".venv/bin/make"]


WHOLE = """
[scripts.db]
command = ["postgres", "-D", "data"]

[scripts.dev]
command = "serve"
cwd = "web"
env = { PORT = 3000, MODE = "dev" }
env_file = ".env"
autostart = true
restart = "on-failure"
max_restarts = 3
stop_signal = "int"
stop_timeout_s = "1.5s"
ready = { log = "listening on \\\\d+" }
depends_on = ["db"]
terminal = true
"""


def test_every_option_reaches_its_field(project: Project) -> None:
    project.write(".brum.toml", WHOLE)
    assert project.problems() == ()
    assert project.script("dev") == Script(
        "dev",
        "serve",
        ".brum.toml",
        str(project.directory / "web"),
        environment={"PORT": "3000", "MODE": "dev"},
        env_file=str(project.directory / ".env"),
        autostart=True,
        restart="on-failure",
        max_restarts=3,
        stop_signal="SIGINT",
        stop_timeout_s=1.5,
        ready=Ready(log=r"listening on \d+"),
        depends_on=("db",),
        wants_terminal=True,
    )


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        ("stop_timeout_s = 5", "stop_timeout_s", 5.0),
        ('stop_timeout_s = "500ms"', "stop_timeout_s", 0.5),
        ('stop_timeout_s = "2 min"', "stop_timeout_s", 120.0),
        ('stop_timeout_s = "2m"', "stop_timeout_s", 120.0),
        ('stop_signal = "SIGQUIT"', "stop_signal", "SIGQUIT"),
        ("ready = { port = 3000 }", "ready", Ready(port=3000)),
        ('ready.http = "http://127.0.0.1:3000/health"', "ready", Ready(http="http://127.0.0.1:3000/health")),
        ('cwd = "."', "directory", "DIRECTORY"),
        ('cwd = "/etc"', "directory", "/etc"),
        ('restart = "always"', "restart", "always"),
        ("depends_on = []", "depends_on", ()),
    ],
)
def test_an_option_may_be_written_so(project: Project, option: str, field: str, value: object) -> None:
    project.write(".brum.toml", f'[scripts.dev]\ncommand = "x"\n{option}\n')
    assert told(project) == []
    expected = str(project.directory) if value == "DIRECTORY" else value
    assert getattr(project.script("dev"), field) == expected


def test_it_wins_over_every_other_file(project: Project) -> None:
    project.write("package.json", {"scripts": {"dev": "vite", "build": "x"}})
    project.write(".brum.toml", '[scripts]\ndev = "mine"\n')
    assert project.shown() == {"dev": "mine", "npm:dev": "npm run dev", "build": "npm run build"}


def test_a_table_without_a_command_changes_a_script_that_was_found_elsewhere(project: Project) -> None:
    project.write("package.json", {"scripts": {"dev": "vite", "test": "x"}})
    project.write("Makefile", "test:\n")
    project.write(".brum.toml", '[scripts.dev]\nautostart = true\n[scripts."make:test"]\nenv.CI = "1"\n')
    assert project.problems() == ()
    found = Script("dev", ["npm", "run", "dev"], "package.json", str(project.directory))
    assert project.script("dev") == msgspec.structs.replace(found, autostart=True)
    assert project.script("make:test").environment == {"CI": "1"}


def test_settings_in_the_same_file_are_left_to_others(project: Project) -> None:
    project.write(".brum.toml", "logind = true\n[anything]\nelse = 1\n")
    assert (project.commands(), project.problems()) == ({}, ())


# What is wrong.


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("comand = 'x'", "did you mean command?"),
        ("autostrat = true", "did you mean autostart?"),
        ("autostart = 'yes'", "true or false"),
        ("autostart = 1", "true or false"),
        ("restart = 'on_failure'", "did you mean on-failure?"),
        ("restart = true", "no, on-failure or always"),
        ("max_restarts = -1", "from 0 on"),
        ("max_restarts = true", "from 0 on"),
        ("stop_signal = 'SIGTRM'", "did you mean SIGTERM?"),
        ("stop_signal = 15", "no signal"),
        ("stop_timeout_s = '5 parsecs'", "a duration"),
        ("stop_timeout_s = 0", "at most 10m"),
        ("stop_timeout_s = nan", "a duration"),
        ("stop_timeout_s = 9e9", "at most 10m"),
        ("cwd = 7", "string"),
        ('cwd = "a\\u0000b"', "null"),
        ("env = ['A=1']", "table"),
        ("env = { A = true }", "string"),
        ("env = { 'A=B' = '1' }", "variable"),
        ("ready = 'listening'", "log, port or http"),
        ("ready = {}", "log, port or http"),
        ("ready = { log = 'x', port = 1 }", "log, port or http"),
        ("ready = { logs = 'x' }", "log, port or http"),
        ("ready = { log = '(' }", "regular expression"),
        ("ready = { port = 70000 }", "65535"),
        ("ready = { http = 'localhost:3000' }", "http://"),
        ("ready = { http = 'http://:3000/' }", "host"),
        ("ready = { http = 'http://localhost:3000/ HTTP/1.1' }", "blanks"),
        ('ready = { http = "http://localhost:3000/\\r\\nx: y" }', "blanks"),
        ("ready = { http = 'http://localhost:99999/' }", "port"),
        ("depends_on = 'db'", "list"),
        ("depends_on = ['wbe']", "did you mean web?"),
        ("depends_on = ['dev']", "dev → dev"),
    ],
)
def test_a_wrong_option_is_reported_with_its_line_and_leaves_the_script_as_it_would_be(
    project: Project, line: str, wanted: str
) -> None:
    project.write(".brum.toml", f'[scripts]\nweb = "w"\n[scripts.dev]\ncommand = "x"\n\n{line}\n')
    [(number, text)] = told(project)
    assert number == 6
    assert text.startswith("scripts.dev: ")
    assert wanted in text
    assert project.script("dev") == Script("dev", "x", ".brum.toml", str(project.directory))
    assert list(project.commands()) == ["web", "dev"]


@pytest.mark.parametrize("command", ["7", "''", "' '", "[]", "['']", "['a', 7]", "true", '"a\\u0000b"'])
def test_a_command_that_can_not_be_run_is_told_and_the_other_scripts_stay(project: Project, command: str) -> None:
    project.write(".brum.toml", f'[scripts]\nweb = "w"\ndev = {command}\n')
    assert [number for number, _ in told(project)] == [3]
    assert list(project.commands()) == ["web"]


def test_a_table_that_changes_nothing_there_is_reported_with_what_was_meant(project: Project) -> None:
    project.write("package.json", {"scripts": {"start": "x"}})
    project.write(".brum.toml", "[scripts.strat]\nautostart = true\n")
    [(number, text)] = told(project)
    assert number == 1
    assert "did you mean start?" in text
    assert list(project.commands()) == ["start"]


def test_scripts_that_wait_for_each_other_are_reported_and_the_cycle_is_cut(project: Project) -> None:
    project.write(
        ".brum.toml",
        """\
[scripts]
a = { command = "a", depends_on = ["b"] }
b = { command = "b", depends_on = ["c", "d"] }
c = { command = "c", depends_on = ["a"] }
d = "d"
""",
    )
    [(number, text)] = told(project)
    assert number == 4
    assert "c → a → b → c" in text
    depends_on = {name: script.depends_on for name, script in project.scripts.read().scripts.items()}
    assert depends_on == {"a": ("b",), "b": ("c", "d"), "c": (), "d": ()}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[scripts\n", 1),
        ('[scripts]\na = "x"\n[scripts.a]\n', 3),
        ("\nscripts = 7\n", 2),
        ("\nscripts = []\n", 2),
        (f"\n[{'a.' * 10_000}b]\n", 2),
    ],
)
def test_a_broken_file_is_reported_with_its_line_and_hides_nothing_else(project: Project, text: str, line: int) -> None:
    project.write("Procfile", "web: w\n")
    project.write(".brum.toml", text)
    assert list(project.commands()) == ["web"]
    assert [number for number, _ in told(project)] == [line]


def test_a_thousand_mistakes_are_not_all_told(project: Project) -> None:
    project.write(".brum.toml", "[scripts]\n" + "".join(f"s{number} = {number}\n" for number in range(1000)))
    assert 1 < len(project.problems()) <= PROBLEMS_LIMIT + 1


# The circles.


def test_a_chain_of_any_length_is_no_cycle() -> None:
    graph = {f"s{number}": (f"s{number + 1}",) for number in range(50_000)} | {"s50000": ()}
    assert without_cycles(graph) == (graph, [])


def test_two_ways_to_the_same_script_are_no_cycle() -> None:
    graph: dict[str, tuple[str, ...]] = {"a": ("b", "c"), "b": ("d",), "c": ("d",), "d": ()}
    assert without_cycles(graph) == (graph, [])


def test_every_cycle_is_cut_once() -> None:
    graph = {"a": ("a", "b"), "b": ("a", "c"), "c": ("b",), "d": ("c",)}
    kept, cycles = without_cycles(graph)
    assert kept == {"a": ("b",), "b": ("c",), "c": (), "d": ("c",)}
    assert cycles == [Cycle("a", ("a",)), Cycle("b", ("a", "b")), Cycle("c", ("b", "c"))]


def test_of_a_long_cycle_only_the_beginning_is_reported() -> None:
    graph = {f"s{number}": (f"s{(number + 1) % 1000}",) for number in range(1000)}
    _, [cycle] = without_cycles(graph)
    assert (cycle.name, len(cycle.path)) == ("s999", 8)
