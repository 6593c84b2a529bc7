import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brummer.core.errors import NotFound
from brummer.instance.detect import PROBLEMS_LIMIT, SCRIPTS_LIMIT, Script
from brummer.instance.detect.listing import DETECTORS, KEPT_LIMIT, NAME_LIMIT
from brummer.instance.detect.project import FILE_LIMIT_BYTES
from brummer.instance.scripts import KNOWN_LIMIT, ScriptList
from brummer.settings.table import FILE_NAME
from tests.unit.project_support import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_an_empty_directory_has_no_scripts_and_no_problems(project: Project) -> None:
    assert (project.commands(), project.problems()) == ({}, ())


def test_a_script_says_where_it_comes_from_and_where_it_runs(project: Project) -> None:
    project.write("package.json", {"scripts": {"dev": "vite"}})
    expected = Script("dev", ["npm", "run", "dev"], "package.json", str(project.directory))
    assert project.scripts.find("dev") == expected


@pytest.mark.parametrize(
    ("package_manager", "lock_files", "manager"),
    [
        (None, [], "npm"),
        (None, ["package-lock.json"], "npm"),
        (None, ["yarn.lock"], "yarn"),
        (None, ["pnpm-lock.yaml"], "pnpm"),
        (None, ["bun.lock"], "bun"),
        (None, ["bun.lockb"], "bun"),
        ("pnpm@9.1.0+sha512.abc", ["yarn.lock"], "pnpm"),
        ("yarn", [], "yarn"),
        ("something-else@1", ["yarn.lock"], "yarn"),
        (7, [], "npm"),
    ],
)
def test_the_package_manager_is_the_named_one_then_that_of_the_lock_file(
    project: Project, package_manager: object, lock_files: list[str], manager: str
) -> None:
    project.write("package.json", {"packageManager": package_manager, "scripts": {"dev": "vite"}})
    for name in lock_files:
        project.write(name, "")
    assert project.commands() == {"dev": [manager, "run", "dev"]}


MAKEFILE = """
include common.mk
.PHONY: test build
.DEFAULT_GOAL := help
CC := gcc
FLAGS ::= -O2
OTHER ?= a:b
URL = http://example.com
export PATH := bin:$(PATH)
test: build ## run them
\t@echo test: not a target
build lint: FLAGS = -g
build: \\
    deps
%.o: %.c
\tcc -c $<
$(OBJ): x
deps::
help : ; @echo
define recipe
inner: nothing
endef
dist/app.js: src
"""


def test_the_explicit_targets_of_a_makefile_are_scripts(project: Project) -> None:
    project.write("Makefile", MAKEFILE)
    assert list(project.commands()) == ["test", "build", "deps", "help", "dist/app.js"]
    assert project.commands()["test"] == ["make", "test"]


DIRECTIVES = """
ifeq ($(shell uname):x,Linux:x)
else ifeq (a:b,c)
endif
$(info hello: world)
$(if $(FOO),,$(error FOO is not set: use X))
-include a:b
vpath %.c src:lib
export a: b
export:
"""


def test_a_directive_with_a_colon_is_no_target(project: Project) -> None:
    project.write("Makefile", DIRECTIVES)
    assert list(project.commands()) == ["export"]


def test_a_makefile_may_be_of_any_encoding(project: Project) -> None:
    (project.directory / "Makefile").write_bytes("# Jürgen\nbuild größe:\n".encode("latin-1"))
    assert list(project.commands()) == ["build"]
    assert [problem.line for problem in project.problems()] == [2], "one of its names can't be known"


def test_the_makefile_that_make_would_read_is_read(project: Project) -> None:
    project.write("Makefile", "one:\n")
    project.write("GNUmakefile", "two:\n")
    assert list(project.commands()) == ["two"]


def test_the_entries_of_a_procfile_run_in_the_shell(project: Project) -> None:
    project.write("Procfile", "# all of it\nweb: PORT=3000 node server.js | cat\n\nworker_1:python work.py\r\n")
    assert project.commands() == {"web": "PORT=3000 node server.js | cat", "worker_1": "python work.py"}


def test_a_line_of_a_procfile_that_is_no_entry_is_a_problem_and_the_others_stay(project: Project) -> None:
    project.write("Procfile", "web: serve\nnonsense\nworker: work\n")
    assert list(project.commands()) == ["web", "worker"]
    assert [(problem.source, problem.line) for problem in project.problems()] == [("Procfile", 2)]


PYPROJECT = """
[project.scripts]
serve = "app:main"
[tool.poe.tasks]
lint = "ruff check"
_hidden = "no"
[tool.pdm.scripts]
docs = {cmd = "mkdocs"}
"""


@pytest.mark.parametrize(
    ("marker", "serve", "lint"),
    [
        (None, ["serve"], ["poe", "lint"]),
        ("uv.lock", ["uv", "run", "serve"], ["uv", "run", "poe", "lint"]),
        ("poetry.lock", ["poetry", "run", "serve"], ["poetry", "run", "poe", "lint"]),
        (".venv/bin/python", [".venv/bin/serve"], [".venv/bin/poe", "lint"]),
    ],
)
def test_the_commands_and_tasks_of_a_python_project_run_in_its_environment(
    project: Project, marker: str | None, serve: list[str], lint: list[str]
) -> None:
    project.write("pyproject.toml", PYPROJECT)
    if marker:
        (project.directory / marker).parent.mkdir(parents=True, exist_ok=True)
        project.write(marker, "")
    assert project.commands() == {"serve": serve, "lint": lint, "docs": ["pdm", "run", "docs"]}


def test_a_name_that_is_taken_gets_its_source_as_a_prefix(project: Project) -> None:
    project.write("package.json", {"scripts": {"test": "vitest"}})
    project.write("Makefile", "test:\nbuild:\n")
    project.write("Procfile", "test: true\nbuild: true\n")
    assert list(project.commands()) == ["test", "make:test", "build", "procfile:test", "procfile:build"]
    assert project.scripts.find("make:test").command == ["make", "test"]
    assert project.scripts.find("make:test").name == "make:test"


def test_a_broken_package_json_is_reported_with_its_line_and_hides_nothing_else(project: Project) -> None:
    project.write("package.json", '{\n  "scripts": {\n    "dev": vite\n  }\n}\n')
    project.write("Makefile", "test:\n")
    assert list(project.commands()) == ["test"]
    assert [(problem.source, problem.line) for problem in project.problems()] == [("package.json", 3)]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("package.json", "[]", None),
        ("package.json", "", 1),
        ("package.json", '{"scripts": []}', 1),
        ("package.json", '{"scripts": {"dev": 7}}', 1),
        ("package.json", "[" * 100_000, None),
        ("package.json", " " * (FILE_LIMIT_BYTES + 1), None),
        ("pyproject.toml", "[project]\nname =\n", 2),
        ("pyproject.toml", "[project]\nscripts = 7\n", 2),
        ("pyproject.toml", "tool = 7\n", 1),
    ],
)
def test_what_can_not_be_understood_is_a_problem(project: Project, name: str, content: str, line: int | None) -> None:
    project.write(name, content)
    assert project.commands() == {}
    assert {(problem.source, problem.line) for problem in project.problems()} == {(name, line)}


def test_a_number_of_too_many_digits_is_not_called_nested(project: Project) -> None:
    project.write("package.json", '{"x": ' + "9" * 5_000 + "}")
    assert [problem.message for problem in project.problems()] == ["a number has too many digits"]


def test_a_file_that_is_not_utf_8_is_reported_with_its_line(project: Project) -> None:
    (project.directory / "Procfile").write_bytes(b"web: serve\nworker: \xff\n")
    assert [(problem.source, problem.line) for problem in project.problems()] == [("Procfile", 2)]


def test_a_byte_order_mark_and_foreign_line_ends_do_no_harm(project: Project) -> None:
    (project.directory / "package.json").write_bytes(b'\xef\xbb\xbf{"scripts":\r\n{"dev": "vite"}}\r\n')
    (project.directory / "Makefile").write_bytes(b"test:\r\n\techo\r\n")
    assert list(project.commands()) == ["dev", "test"]


def test_a_directory_and_a_fifo_in_the_place_of_a_file_do_not_block(project: Project) -> None:
    (project.directory / "package.json").mkdir()
    os.mkfifo(project.directory / "Procfile")
    project.write("Makefile", "test:\n")
    assert list(project.commands()) == ["test"]
    assert [problem.source for problem in project.problems()] == ["package.json"]


def test_the_list_is_fresh_when_a_file_appears_changes_and_goes(project: Project) -> None:
    assert project.commands() == {}
    project.write("Procfile", "web: one\n")
    assert project.commands() == {"web": "one"}
    project.write("Procfile", "web: other\n")
    assert project.commands() == {"web": "other"}
    (project.directory / "Procfile").unlink()
    assert project.commands() == {}


def test_a_lock_file_that_appears_changes_the_commands(project: Project) -> None:
    project.write("package.json", {"scripts": {"dev": "vite"}})
    assert project.commands() == {"dev": ["npm", "run", "dev"]}
    project.write("pnpm-lock.yaml", "")
    assert project.commands() == {"dev": ["pnpm", "run", "dev"]}


def test_nothing_is_parsed_again_while_nothing_changes(project: Project) -> None:
    project.write("Procfile", "web: one\n")
    assert project.scripts.read() is project.scripts.read()


def test_an_unknown_name_is_answered_with_what_is_there_and_what_was_meant(project: Project) -> None:
    project.write("Procfile", "web: one\nworker: two\n")
    project.write("package.json", "{")
    with pytest.raises(NotFound) as caught:
        project.scripts.find("wbe")
    context = caught.value.context
    assert (context["known"], context["nearest"]) == (["web", "worker"], "web")
    assert [problem["source"] for problem in context["problems"]] == ["package.json"]  # type: ignore[attr-defined]
    assert "Did you mean web?" in caught.value.message


# Bounds.


def test_of_thousands_of_scripts_some_are_listed_and_each_can_be_run_by_its_name(project: Project) -> None:
    project.write("package.json", {"workspaces": ["packages/*"]})
    for number in range(600):
        project.write(f"packages/p{number:03}/package.json", {"scripts": {"dev": "x", "build": "x"}})
    project.write("Procfile", "web: w\nodd\n")
    listed = list(project.scripts.read().listed)
    assert (len(listed), listed[0], listed[-1]) == (SCRIPTS_LIMIT + 1, "packages/p000:dev", "web")
    assert project.scripts.find("packages/p599:build").command == ["npm", "run", "build"]
    assert project.scripts.find("web").command == "w"
    assert [problem.source for problem in project.problems()] == ["package.json", "Procfile"]
    with pytest.raises(NotFound) as caught:
        project.scripts.find("packages/p599:biuld")
    assert caught.value.context["known"] == listed[:KNOWN_LIMIT]


def test_names_that_nobody_could_type_are_one_problem(project: Project) -> None:
    long = "".join(f"{'x' * NAME_LIMIT}{number}: y\n" for number in range(500))
    project.write("Procfile", f"{'x' * NAME_LIMIT}: y\n{long}web: w\n")
    assert list(project.commands()) == ["x" * NAME_LIMIT, "web"]
    assert ["500 scripts" in problem.message for problem in project.problems()] == [True]


def test_the_scripts_of_a_project_are_bounded(project: Project) -> None:
    project.write("Makefile", "a b c d:\n" + "".join(f"t{number}:\n" for number in range(KEPT_LIMIT)))
    project.write("Procfile", "web: w\n")
    assert len(project.scripts.read().scripts) == KEPT_LIMIT
    told = [(problem.source, problem.message.split(" ")[0]) for problem in project.problems()]
    assert told == [("Makefile", str(KEPT_LIMIT)), ("Makefile", "4"), ("Procfile", "1")]


def test_what_the_user_s_own_file_names_is_listed_wherever_it_stands(project: Project) -> None:
    project.write("Procfile", "".join(f"p{number}: x\n" for number in range(SCRIPTS_LIMIT + 2)))
    last = f"p{SCRIPTS_LIMIT + 1}"
    assert last not in project.scripts.read().listed
    project.write(".brum.toml", f'[scripts.{last}]\nready = {{ log = "up" }}\n[scripts.own]\ncommand = "x"\n')
    listed = project.scripts.read().listed
    assert (listed["own"].command, listed[last].command, len(listed)) == ("x", "x", SCRIPTS_LIMIT + 2)


def test_problems_beyond_those_that_are_shown_hide_no_script(project: Project) -> None:
    project.write("Procfile", "nonsense\n" * 100 + "web: w\n")
    assert list(project.commands()) == ["web"]
    assert len(project.problems()) == PROBLEMS_LIMIT + 1


def test_a_file_of_nothing_but_mistakes_is_not_told_line_by_line(project: Project) -> None:
    project.write("Procfile", "nonsense\n" * 100_000)
    assert len(project.problems()) == PROBLEMS_LIMIT + 1


def test_links_that_lead_in_circles_end_the_search(project: Project) -> None:
    project.write("package.json", {"workspaces": ["**"], "scripts": {"dev": "x"}})
    project.write("a/b/package.json", {"scripts": {"dev": "x"}})
    (project.directory / "a" / "b" / "up").symlink_to(project.directory)
    (project.directory / "Makefile").symlink_to("Makefile")
    (project.directory / "Procfile").symlink_to("nowhere")
    assert list(project.commands()) == ["dev", "a/b:dev"]
    assert project.problems() == ()


@pytest.mark.parametrize("is_linked", [False, True], ids=["directory", "link to it"])
def test_a_link_is_followed_inside_of_the_repository(tmp_path: Path, *, is_linked: bool) -> None:
    repository = Project(tmp_path / "repository")
    repository.write(".git/HEAD", "")
    repository.write("shared/Procfile", "web: w\n")
    repository.write("shared/package.json", {"name": "linked", "scripts": {"dev": "x"}})
    repository.write("shop/package.json", {"workspaces": ["packages/*"]})
    shop = tmp_path / "repository" / "shop"
    (shop / "packages").mkdir()
    (shop / "packages" / "linked").symlink_to("../../shared")
    (shop / "Procfile").symlink_to("../shared/Procfile")
    if is_linked:
        (tmp_path / "link").symlink_to(shop)
    scripts = ScriptList(tmp_path / "link" if is_linked else shop).read()
    assert (list(scripts.listed), scripts.problems) == (["linked:dev", "web"], ())


@pytest.mark.parametrize("has_repository", [True, False])
def test_no_file_is_read_through_a_link_that_leads_out_of_the_repository(
    tmp_path: Path, *, has_repository: bool
) -> None:
    """A problem would show a part of it."""
    secret = Project(tmp_path / "secret")
    secret.write("package.json", {"name": "linked", "scripts": {"ghost": "x"}})
    secret.write("x.mk", "ghost:\n")
    project = Project(tmp_path / "shop")
    project.write("package.json", {"workspaces": ["packages/*"], "scripts": {"dev": "x"}})
    project.write("Makefile", "include x.mk\nbuild:\n")
    (project.directory / "packages").mkdir()
    (project.directory / "packages" / "linked").symlink_to(secret.directory)
    (project.directory / "x.mk").symlink_to(secret.directory / "x.mk")
    (project.directory / "Procfile").symlink_to("../secret/x.mk")
    if has_repository:
        project.write(".git/HEAD", "")
    assert list(project.commands()) == ["dev", "build"]
    assert {each.source for each in project.problems()} >= {"packages/linked/package.json", "Procfile"}
    assert all("leads out of the repository" in each.message for each in project.problems())


def test_a_tree_of_too_many_directories_is_reported_and_hides_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brummer.instance.detect.project.LISTED_LIMIT", 20)
    project.write("package.json", {"workspaces": ["**"], "scripts": {"dev": "x"}})
    for number in range(30):
        (project.directory / f"d{number}").mkdir()
    assert list(project.commands()) == ["dev"]
    assert [problem.source for problem in project.problems()] == ["package.json"]


def test_a_directory_of_too_many_files_is_reported_only_where_it_is_searched(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brummer.instance.detect.project.ENTRIES_LIMIT", 20)
    for number in range(30):
        project.write(f"f{number}.txt", "")
    project.write("Makefile", "test:\n")
    assert (list(project.commands()), project.problems()) == (["test"], ())
    project.write("package.json", {"workspaces": ["*"]})
    assert [problem.source for problem in project.problems()] == ["package.json"]


EVERYTHING = sorted({files[0].replace("*", "x") for files in DETECTORS.values()} | {FILE_NAME})
FRAGMENTS = st.sampled_from(
    [
        *("{", "}", "[", "]", "(", ")", ":", ",", '"', "'", "=", "\n", "\n  ", "\t", " ", "#", "//", "/*", "\\", "- "),
        *("scripts", "tasks", "tasks:\n a:", "services", "package", "workspace", "members", "bin", "name", "command"),
        *('{"scripts":{"a":1}}', '{"tasks":[{"label":"a","type":"shell","command":"b","args":1,"options":{"env":1}}]}'),
        *(
            "[scripts.a]\n",
            "[workspace]\nmembers=",
            "[[bin]]\n",
            "[package]\n",
            "[tool.hatch.envs]\n",
            "depends_on=",
            "*",
        ),
        *("&a ", "*a", "<<: ", "? ", "!t ", "|\n", "---\n", "{a: b}", "packages: ", "include: ", "includes:\n x: .\n"),
        *("version: 3\n", "[tool.poe]\n", "include = ", "groups = ", '["x"]', '{"workspaces": ["**", "{a,b}"]}'),
        *("7", "true", "null", "é", "\0", "x = 1\n"),
    ]
)


@pytest.mark.promise("scripts-are-found")
@settings(max_examples=60)
@given(st.lists(FRAGMENTS, max_size=12).map("".join))
def test_no_file_whatever_it_holds_breaks_the_list(text: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        project = Project(Path(directory))
        for name in EVERYTHING:
            project.write(name, text)
        assert len(project.commands()) <= len(EVERYTHING) * (1 + len(text))
        assert not any("can't be read" in problem.message for problem in project.problems()), "no detector may fail"


def test_only_the_detectors_that_are_needed_are_imported_and_only_by_the_first_read(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("web: w\n")
    code = """
import sys
import brummer.settings.table  # every program has it
from brummer.instance.scripts import KNOWN_LIMIT, ScriptList
before = set(sys.modules)
assert list(ScriptList(sys.argv[1]).read().scripts) == ["web"]
print(*sorted(name for name in set(sys.modules) - before if name.startswith("brummer.")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.split() == [f"brummer.instance.detect.{name}" for name in ("listing", "procfile", "project")]


def test_a_reader_of_yaml_is_imported_only_where_there_is_such_a_file(project: Project) -> None:
    code = """
import sys
from brummer.instance.scripts import ScriptList
assert ScriptList(sys.argv[1]).read().scripts
sys.exit("yaml" in sys.modules)
"""

    def imports_it() -> bool:
        return bool(subprocess.run([sys.executable, "-c", code, project.directory], check=False, timeout=20).returncode)

    project.write("package.json", {"scripts": {"dev": "x"}})
    project.write("pyproject.toml", "[project.scripts]\nserve = 'a:b'\n")
    assert not imports_it()
    project.write("pnpm-workspace.yaml", "")
    assert imports_it()
