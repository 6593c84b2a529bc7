"""A detector that does not understand a file says so, with the line: it lists everything, or names the problem."""

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from brummer.instance.detect import PROBLEMS_LIMIT
from brummer.instance.detect.project import DEPTH_LIMIT, FILE_LIMIT_BYTES, ProjectDirectory, is_named_by
from brummer.instance.detect.taskfile import TASKFILES_LIMIT
from tests.unit.project_support import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def places(project: Project) -> list[tuple[str, int | None]]:
    return [(problem.source, problem.line) for problem in project.problems()]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("compose.yaml", "include: [PLACE/compose.yaml]\nservices: {db: {image: x}}\n"),
        ("Taskfile.yml", "version: 3\nincludes: {other: {taskfile: PLACE/compose.yaml}}\ntasks: {db: echo}\n"),
        ("poe_tasks.toml", "include = 'PLACE/compose.yaml'\n[tasks]\ndb = 'true'\n"),
    ],
)
@pytest.mark.parametrize("way", ["..", "absolute"])
def test_a_file_outside_of_the_repository_is_included_by_none(tmp_path: Path, name: str, text: str, way: str) -> None:
    """A problem would show a part of it."""
    secret = tmp_path / "compose.yaml"
    secret.write_text("services: {ghost: {image: x}}\nversion: 3\ntasks: {ghost: echo}\nsecret\n")
    project = Project(tmp_path / "shop")
    project.write(".git/HEAD", "")
    project.write("pyproject.toml", "[project]\nname = 'shop'\n")
    project.write(name, text.replace("PLACE", ".." if way == ".." else str(tmp_path)))
    assert list(project.commands()) == ["db"]
    assert [each.message for each in project.problems()] == [
        "it is included, but lies outside of the repository, and is not read"
    ]


@pytest.mark.parametrize("way", ["..", "absolute"])
def test_a_solution_shows_nothing_of_a_file_outside_of_the_repository(tmp_path: Path, way: str) -> None:
    (tmp_path / "secret.xml").write_text("<secret/>")
    project = Project(tmp_path / "shop")
    project.write(".git/HEAD", "")
    place = ".." if way == ".." else str(tmp_path)
    project.write("Shop.slnx", f'<Solution><Project Path="{place}/secret.xml"/></Solution>')
    assert [each.message for each in project.problems()] == [
        "it is included, but lies outside of the repository, and is not read"
    ]


# YAML.

SERVICES = ["up", "db", "web"]
COMPOSE_FILES = {
    "flow": "services: {db: {image: postgres}, web: {image: 'x', ports: ['80:80']}}\n",
    "JSON": '{"services": {"db": {"image": "postgres"},\n "web": {"image": "x"}}}',
    "folded": "services:\n  db:\n    command: >\n      serve\n\n  web: {\n    image: x}\n",
    "a text of several lines": 'services:\n  db:\n    command: "a\nweb2:\n"\n  web: {image: x}\n',
    "an anchor": "x: &x\n  db: {image: y}\n  web: {image: z}\nservices: *x\n",
    "long keys": "services:\n  ? db\n  : image: x\n  ? web\n  : {image: x}\n",
    "two documents": "services:\n  db: {image: x}\n---\nservices:\n  web: {image: x}\n",
}


@pytest.mark.parametrize("text", COMPOSE_FILES.values(), ids=COMPOSE_FILES)
def test_a_compose_file_has_all_its_services_in_whatever_style(project: Project, text: str) -> None:
    project.write("compose.yaml", text)
    assert list(project.commands()) == SERVICES
    assert project.problems() == ()


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("services:\n  db:\n  image: postgres\n", 2, []),
        ("services:\n  web: {image: x}\n  image: postgres\n", 3, ["web"]),
        ("services:\n  db: {image: x\n", 3, []),
        ("services:\n\tdb:\n", 2, []),
        ("services:\n  db: {image: *postgres}\n", 2, []),
        ("services: [db]\n", 1, []),
        ("services:\n  {a: b}: c\n", 2, []),
        ("web:\n  image: x\n", None, []),
        ("- services\n", 1, []),
        ("services:\n  db: {image: \x07}\n", 2, []),
        ("services:\n  db: {<<: 7}\n", 2, []),
        ("a: " + "[" * 100_000, 1, []),
    ],
)
def test_what_a_compose_file_should_not_have_is_a_problem_with_its_line(
    project: Project, text: str, line: int | None, found: list[str]
) -> None:
    project.write("compose.yaml", text)
    assert list(project.commands()) == found
    assert places(project)[0] == ("compose.yaml", line)


def test_the_services_of_an_override_and_of_included_files_are_listed(project: Project) -> None:
    project.write("compose.yaml", "include:\n- infra/compose.yaml\n- {path: [a.yaml, gone.yaml]}\n- oci://x/y\n")
    project.write("infra/compose.yaml", "include: [../compose.yaml]\nservices: {db: {image: x}}\n")
    project.write("a.yaml", "services: {web: {image: x}, db: {image: y}}\n")
    project.write("compose.override.yaml", "services: {mail: {image: x}}\n")
    assert list(project.commands()) == ["up", "db", "web", "mail"]
    assert {script.source for script in project.scripts.read().scripts.values()} == {"compose.yaml"}
    assert places(project) == [("gone.yaml", None), ("compose.yaml", 1)]


TASKS = ["build", "test"]
TASKFILES = {
    "flow": "version: '3'\ntasks: {build: go build, test: {cmds: [x]}, hidden: {internal: yes, cmd: x}}\n",
    "JSON": '{"version": "3", "tasks": {"build": "go build", "test": {"cmds": ["go test"]}}}',
    "folded": "version: 3\ntasks:\n  build: >-\n    go\n    build: x\n  test:\n    - x\n",
    "an anchor": "version: 3\nx: &x {internal: true}\ntasks:\n  build: x\n  test:\n  secret:\n    <<: *x\n    cmd: x\n",
    "a merge, which Task does not follow": "version: 3\nx: &x {no: x}\ntasks:\n  <<: *x\n  build: x\n  test: y\n",
}


@pytest.mark.parametrize("text", TASKFILES.values(), ids=TASKFILES)
def test_a_taskfile_has_all_its_tasks_in_whatever_style(project: Project, text: str) -> None:
    project.write("Taskfile.yml", text)
    assert list(project.commands()) == TASKS
    assert project.problems() == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("version: '3'\ntasks:\n  a: {cmds: [x\n", 4),
        ("version: '3'\ntasks: [a]\n", 2),
        ("tasks:\n  a: x\n", None),
        ("tasks:\n  a: x\nversion: '2'\n", 3),
        ("version: '3'\nincludes:\n  a: ./b\n  c: '{{.D}}/x.yml'\n", 4),
    ],
)
def test_what_task_refuses_is_a_problem_with_its_line(project: Project, text: str, line: int | None) -> None:
    project.write("Taskfile.yml", text)
    assert project.commands() == {}
    assert places(project)[-1] == ("Taskfile.yml", line)


def test_the_tasks_of_included_taskfiles_are_listed_by_the_names_that_task_gives_them(project: Project) -> None:
    project.write(
        "Taskfile.yml",
        "version: '3'\nincludes:\n  docs: ./docs\n  flat: {taskfile: lib.yml, flatten: true, excludes: ['n*']}\n"
        "  gone: {taskfile: ./gone, optional: true}\n  hidden: {taskfile: lib.yml, internal: true}\n"
        "  lib: lib.yml\ntasks: {a: x}\n",
    )
    project.write("docs/Taskfile.yaml", "version: '3'\nincludes: {sub: sub.yml}\ntasks: {default: x, build: x}\n")
    project.write("docs/sub.yml", "version: '3'\ntasks: {x: x}\n")
    project.write("lib.yml", "version: '3'\ntasks: {f: x, no: x}\n")
    names = ["a", "docs:default", "docs:build", "docs:sub:x", "f", "lib:f", "lib:no"]
    assert project.shown() == {name: f"task {name}" for name in names}
    assert project.problems() == ()


def test_taskfiles_that_include_each_other_end(project: Project) -> None:
    project.write("Taskfile.yml", "version: '3'\nincludes: {a: ./a}\ntasks: {x: x}\n")
    project.write("a/Taskfile.yml", "version: '3'\nincludes: {up: ..}\ntasks: {y: y}\n")
    assert list(project.commands()) == ["x", "a:y"]
    assert places(project) == [("a/Taskfile.yml", 2)]


def test_only_so_many_taskfiles_are_read(project: Project) -> None:
    for n in range(20):
        following = "".join(f"\n  {name}: t{n + 1}.yml" for name in "abc")
        project.write(f"t{n}.yml", f"version: '3'\nincludes:{following}\ntasks: {{x: x}}\n")
    project.write("Taskfile.yml", "version: '3'\nincludes: {t: t0.yml}\n")
    assert len(project.commands()) <= TASKFILES_LIMIT
    assert project.problems()


def test_a_workspace_of_pnpm_that_is_broken_is_reported_in_its_own_file(project: Project) -> None:
    project.write("package.json", {"scripts": {"dev": "x"}})
    project.write("pnpm-workspace.yaml", "packages:\n  - 'a\n")
    assert list(project.commands()) == ["dev"]
    assert [source for source, _ in places(project)] == ["pnpm-workspace.yaml"]
    project.write("pnpm-workspace.yaml", "packages: {\n  'a': 1}\n")
    assert [source for source, _ in places(project)] == ["pnpm-workspace.yaml"]


def _bomb() -> str:
    """Each table merges the one before twice, and each list holds the one before nine times."""
    merges = "".join(f"m{n}: &m{n}\n  <<: [*m{n - 1}, *m{n - 1}]\n  k{n}: 1\n" for n in range(1, 2_000))
    lists = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 500))
    return f"m0: &m0 {{a: {{}}}}\nl0: &l0 [x]\n{lists}{merges}services: *m1999\n"


def test_a_file_that_would_grow_without_bound_is_a_problem(project: Project) -> None:
    project.write("compose.yaml", _bomb())
    assert project.commands() == {}
    [(source, line)] = places(project)
    assert (source, line is not None) == ("compose.yaml", True)


def test_merging_empty_tables_without_bound_is_a_problem(project: Project) -> None:
    empty = ", ".join(["{}"] * 20_000)
    project.write("compose.yaml", f"l: &l [{empty}]\nx:\n" + "- <<: *l\n" * 20_000)
    assert project.commands() == {}
    [problem] = project.problems()
    assert "keys are merged" in problem.message


@pytest.mark.parametrize(
    ("name", "text", "scripts"),
    [
        ("Taskfile.yml", "version: *a11\n", []),
        ("Taskfile.yml", "version: 3\ntasks: {x: {internal: *a11}}\n", ["x"]),
        ("Taskfile.yml", "version: 3\ntasks: {x: echo}\nincludes: {i: {taskfile: *a11}}\n", ["x"]),
        ("poe_tasks.yaml", "tasks: {x: echo}\ninclude: {path: *a11}\n", ["x"]),
    ],
)
def test_no_text_is_made_of_lists_that_aliases_multiply(
    project: Project, name: str, text: str, scripts: list[str]
) -> None:
    lists = "".join(f"l{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    project.write(name, f"l0: &a0 [x]\n{lists}{text}")
    assert list(project.commands()) == scripts


def test_problems_that_are_not_shown_cost_no_search_for_their_lines(project: Project) -> None:
    names = ",\n".join(f'"s{number}": 1' for number in range(40_000))
    project.write("package.json", f'{{"scripts": {{{names}}}}}')
    assert places(project)[:2] == [("package.json", 1), ("package.json", 2)]
    patterns = ",\n".join(['"/1"'] * 900)
    project.write("package.json", f'{{"workspaces": [{patterns}]}}')
    assert len(places(project)) == PROBLEMS_LIMIT + 1
    includes = ",\n".join(f'"gone{number}"' for number in range(40_000))
    project.write("package.json", {})
    project.write("poe_tasks.json", f'{{"include": [{includes}]}}')
    assert len(places(project)) == PROBLEMS_LIMIT + 1


def test_many_stars_in_a_deep_tree_are_searched_once(project: Project) -> None:
    project.write("a/" * 30 + "package.json", {"scripts": {"dev": "x"}})
    project.write("package.json", {"workspaces": ["**/" * 15 + "q", "**/" * 1_000 + "q"]})
    assert project.commands() == {}
    assert places(project) == [("package.json", 1)]


@pytest.mark.parametrize(
    "patterns",
    [[each for number in range(40_000) for each in (f"a{number}", f"!b{number}")], ["**", *["!b*/*"] * 99]],
    ids=["patterns", "folders"],
)
def test_a_workspace_of_too_many_patterns_is_a_problem(
    project: Project, monkeypatch: pytest.MonkeyPatch, patterns: list[str]
) -> None:
    monkeypatch.setattr("brummer.instance.detect.packages.EXCLUSIONS_LIMIT", 500)
    for number in range(10):
        project.write(f"p{number}/x", "")
    project.write("package.json", {"workspaces": patterns, "scripts": {"dev": "x"}})
    assert (list(project.commands()), places(project)) == (["dev"], [("package.json", None)])


def test_a_taskfile_that_is_included_without_too_many_of_its_tasks_is_a_problem(project: Project) -> None:
    excludes = ", ".join(f"x{number}*" for number in range(30_000))
    project.write("Taskfile.yml", f"version: 3\nincludes:\n  o: {{taskfile: o.yml, excludes: [{excludes}]}}\n")
    project.write("o.yml", "version: 3\ntasks:\n" + "".join(f"  t{number}: x\n" for number in range(10_000)))
    assert (project.commands(), places(project)) == ({}, [("Taskfile.yml", 3)])


def test_values_that_hold_themselves_are_read_once(project: Project) -> None:
    project.write("compose.yaml", "x: &x [*x]\nservices: &s\n  <<: *s\n  db: &db {a: *db, b: *x}\n")
    assert list(project.commands()) == ["db"]
    assert project.problems() == ()


@pytest.mark.parametrize("missing", [False, True], ids=["libyaml", "no libyaml"])
def test_brackets_in_brackets_are_a_problem(
    project: Project, monkeypatch: pytest.MonkeyPatch, *, missing: bool
) -> None:
    if missing:
        monkeypatch.delattr(yaml, "CSafeLoader")
    project.write("compose.yaml", "a: " + "[" * 2_000 + "]" * 2_000)
    assert [source for source, _ in places(project)] == ["compose.yaml"]


def test_a_large_file_is_read_and_a_larger_one_is_not(project: Project) -> None:
    text = "services:\n" + "".join(f"  s{n}: {{image: x}}\n" for n in range(30_000))
    project.write("compose.yaml", text)
    assert project.scripts.find("s29999").command == ["docker", "compose", "up", "s29999"]
    project.write("compose.yaml", text + "#" * FILE_LIMIT_BYTES)
    assert not project.scripts.read().scripts
    assert places(project) == [("compose.yaml", None)]


def test_an_empty_file_breaks_nothing(project: Project) -> None:
    for name in ("compose.yaml", "Taskfile.yml", "pnpm-workspace.yaml", "pubspec.yaml"):
        project.write(name, "# nothing yet\n")
    assert project.commands() == {}
    assert places(project) == [("compose.yaml", None)]


# Listed, or only runnable.


def test_a_hook_is_not_listed_and_can_be_run(project: Project) -> None:
    project.write("package.json", {"scripts": {"preview": "vite preview", "view": "x", "postinstall": "husky"}})
    project.write("composer.json", {"scripts": {"post-install-cmd": "x"}})
    project.write(".vscode/tasks.json", {"tasks": [{"label": "h", "type": "shell", "command": "x", "hide": True}]})
    assert list(project.shown()) == ["view"]
    assert project.scripts.find("preview").command == ["npm", "run", "preview"]
    assert project.scripts.find("post-install-cmd").command == ["composer", "run", "--timeout=0", "post-install-cmd"]
    assert project.scripts.find("h").command == "x"


# Patterns of a workspace.

PACKAGES = [
    *("packages/a", "packages/b", "packages/vendor", "packages/target", "packages/a/test", "packages/a/sub/deep"),
    *("apps/web", "apps/api", "tools/t1", "tools/t2", "tools/xx"),
]
IN_PACKAGES = [folder for folder in PACKAGES if folder.count("/") == 1 and folder.startswith("packages/")]
PATTERNS: dict[str, tuple[list[str], list[str]]] = {
    "one level": (["packages/*"], IN_PACKAGES),
    "another spelling": (["./packages/*/"], IN_PACKAGES),
    "any level": (["packages/**"], [folder for folder in PACKAGES if folder.startswith("packages/")]),
    "everything": (["**"], PACKAGES),
    "an exclusion": (["packages/*", "!packages/b"], [folder for folder in IN_PACKAGES if folder != "packages/b"]),
    "an exclusion comes first": (["!packages/b", "apps/*", "packages/b"], ["apps/web", "apps/api"]),
    "an exclusion at any level": (["packages/a/**", "!**/test/**"], ["packages/a", "packages/a/sub/deep"]),
    "an exclusion with braces": (
        ["{apps,packages}/*", "!packages/{b,target,vendor}", "!**/a"],
        ["apps/web", "apps/api"],
    ),
    "braces": (["{apps,tools}/{web,t1}"], ["apps/web", "tools/t1"]),
    "alternatives": (["tools/@(t1|t2)"], ["tools/t1", "tools/t2"]),
    "one character": (["tools/t?"], ["tools/t1", "tools/t2"]),
    "some characters": (["tools/[tu]*"], ["tools/t1", "tools/t2"]),
    "hidden folders": (["packages/.*/*", "packages/.[a-z]*/x"], ["packages/.hidden/x"]),
    "a folder": (["apps/web", "apps/nowhere"], ["apps/web"]),
}


@pytest.mark.parametrize(("patterns", "expected"), PATTERNS.values(), ids=PATTERNS)
def test_the_packages_of_a_workspace_are_those_that_npm_and_pnpm_find(
    project: Project, patterns: list[str], expected: list[str]
) -> None:
    """As `pnpm ls -r` of pnpm 10, and what npm 11 and yarn 4 list, say of these folders."""
    for folder in [*PACKAGES, "packages/node_modules/n", "packages/.hidden", "packages/.hidden/x"]:
        project.write(f"{folder}/package.json", {"scripts": {"dev": "x"}})
    project.write("package.json", {"workspaces": patterns})
    assert sorted(project.commands()) == sorted(f"{folder}:dev" for folder in expected)
    assert project.problems() == ()


@pytest.mark.parametrize("pattern", ["+(x|y)/*", "!(x)", "{x/*", "{a,b}" * 9])
def test_a_pattern_that_is_not_understood_is_a_problem_with_its_line(project: Project, pattern: str) -> None:
    project.write("package.json", {})
    project.write("pnpm-workspace.yaml", f"packages:\n  - apps/*\n  - '{pattern}'\n")
    project.write("apps/web/package.json", {"scripts": {"dev": "x"}})
    assert list(project.commands()) == ["apps/web:dev"]
    assert places(project) == [("pnpm-workspace.yaml", 3)]


def test_an_exclusion_at_any_level_costs_no_search(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brummer.instance.detect.project.LISTED_LIMIT", 20)
    project.write("package.json", {})
    project.write("pnpm-workspace.yaml", "packages: ['packages/*', '!**/test/**']\n")
    project.write("Cargo.toml", '[workspace]\nmembers = ["crates/*"]\n')
    for number in range(30):
        project.write(f"packages/p{number}/package.json", {"scripts": {"dev": "x"}})
        project.write(f"packages/p{number}/src/test/deep/x.ts", "")
    project.write("crates/tool/Cargo.toml", '[package]\nname = "tool"\n')
    project.write("crates/tool/src/main.rs", "")
    names = list(project.commands())
    assert (len(names), names[-1]) == (33, "run")
    assert project.problems() == ()


def test_a_pattern_with_too_much_to_look_through_is_named_and_hides_no_other(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brummer.instance.detect.project.LISTED_LIMIT", 20)
    project.write("package.json", '{"workspaces": [\n"deep/**",\n"flat/**"]}')
    for number in range(30):
        project.write(f"deep/{number}/x", "")
    project.write("flat/a/package.json", {"scripts": {"dev": "x"}})
    assert list(project.commands()) == ["flat/a:dev"]
    [problem] = project.problems()
    assert (problem.source, problem.line) == ("package.json", 2)
    assert "deep/**" in problem.message


def test_a_tree_that_is_too_deep_is_a_problem(project: Project) -> None:
    project.write("package.json", {"workspaces": ["**"]})
    project.write("a/" * (DEPTH_LIMIT + 1) + "package.json", {"scripts": {"dev": "x"}})
    assert project.commands() == {}
    assert places(project) == [("package.json", 1)]


PARTS = st.lists(st.sampled_from(["a", "b", "*", "**", "?", "[ab]"]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=100)
@given(pattern=PARTS, path=st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join))
def test_a_path_is_named_by_a_pattern_just_if_the_pattern_finds_it(pattern: str, path: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / path).mkdir(parents=True)
        found = set(ProjectDirectory(Path(directory)).matching(pattern))
    assert is_named_by(pattern, path) == (path in found)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("package.json", '{\n"scripts": []}', 2),
        ("package.json", '{"scripts": {\n"dev":\n 7}}', 2),
        ("composer.json", '{\n\n"scripts": 7}', 3),
        ("deno.json", '{\n"tasks": "x"}', 2),
        ("deno.json", '{"tasks": {"a": "x",\n"b": 7}}', 2),
        (".vscode/tasks.json", '{ // none\n"tasks": {}}', 2),
        (".vscode/tasks.json", '{"tasks": [\n{"label": "a", "linux": 7, "osx": 7}]}', 2),
        ("Procfile", "# x\n  web: indented, so that honcho does not see it\n", 2),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_problem_with_its_line(
    project: Project, name: str, text: str, line: int
) -> None:
    project.write(name, text)
    assert places(project) == [(name, line)]


# Tasks of poe, as `poe _list_tasks` of poe 0.49 lists them.


def test_the_tasks_of_poe_in_groups_and_included_files_are_listed(project: Project) -> None:
    project.write(
        "pyproject.toml",
        '[tool.poe]\ninclude = ["a.toml", {path = "sub/b.yaml"}, {path = "c.json", recursive = false},\n'
        '"sub/pyproject.toml"]\n'
        '[tool.poe.tasks]\ntop = "x"\n_private = "x"\n[tool.poe.groups.g]\ntasks = {grouped = "x", _also = "y"}\n',
    )
    project.write("a.toml", 'include = "sub/n.toml"\ntasks = {a = "x", top = "y"}\n[groups.h.tasks]\nh = "x"\n')
    project.write("sub/n.toml", 'tasks.n = "x"\ninclude = ["m.toml", "../a.toml"]\n')
    project.write("sub/m.toml", '[tool.poe.tasks]\nm = "x"\n')
    project.write("sub/b.yaml", "tasks:\n  b: {cmd: x}\n")
    project.write("c.json", {"tasks": {"c": "x"}, "include": "q.toml"})
    project.write("sub/pyproject.toml", '[tool.poe.tasks]\ns = "x"\n[project.scripts]\nno = "a:b"\n')
    names = ["top", "grouped", "a", "h", "n", "m", "b", "c", "s"]
    assert project.shown() == {name: f"poe {name}" for name in names}
    assert project.problems() == ()


def test_what_poe_can_not_include_or_makes_by_a_function_is_a_problem(project: Project) -> None:
    project.write(
        "pyproject.toml",
        '[tool.poe]\ninclude = [\n"gone.toml",\n"torn.toml"]\ninclude_script = "tasks:make"\n'
        '[tool.poe.tasks]\na = "x"\n',
    )
    project.write("torn.toml", "tasks = 7\n")
    assert list(project.commands()) == ["a"]
    found = {("pyproject.toml", 3), ("torn.toml", None), ("pyproject.toml", 5)}
    assert set(places(project)) == found
    project.write("pyproject.toml", "[tool.poe]\ngroups = {g = {tasks = 7}}\n[project.scripts]\nserve = 'a:b'\n")
    assert list(project.commands()) == ["serve"]
    assert places(project) == [("pyproject.toml", 1)]


def test_a_file_of_poe_s_own_is_read_if_pyproject_has_no_table_of_it(project: Project) -> None:
    project.write("poe_tasks.yaml", "tasks: {a: x}\n")
    project.write("pyproject.toml", "[tool.uv]\nx = 1\n")
    assert project.shown() == {"a": "uv run poe a"}
    project.write("pyproject.toml", '[tool.poe.tasks]\nb = "x"\n')
    assert project.shown() == {"b": "poe b"}
    project.write("pyproject.toml", "[tool.poe\n")
    assert places(project) == [("pyproject.toml", 1)]


def test_a_second_line_of_the_same_name_is_a_problem_and_no_script(project: Project) -> None:
    project.write("Procfile", "web: one\nweb: two\nworker: x\n")
    assert project.shown() == {"web": "one", "worker": "x"}
    assert places(project) == [("Procfile", 2)]


def test_a_line_of_a_procfile_ends_only_at_a_line_feed(project: Project) -> None:
    project.write("Procfile", "web: printf 'a\fb\u2028c'\nworker: x\n")
    assert (project.commands(), places(project)) == ({"web": "printf 'a\fb\u2028c'", "worker": "x"}, [])
    [web, worker] = project.scripts.read().scripts.values()
    assert web.procfile
    assert worker.procfile
    assert (web.procfile.position, worker.procfile.position) == (0, 1)


@pytest.mark.parametrize("workspace", [["./m", "libs/*"], {"members": ["m", "libs/*"]}], ids=["list", "table"])
def test_the_members_of_a_workspace_of_deno_have_their_tasks_under_their_names(
    project: Project, workspace: object
) -> None:
    project.write("deno.json", {"workspace": workspace, "tasks": {"all": "x"}})
    project.write("m/deno.json", '{ // a member\n"tasks": {"dev": "x"}}')
    project.write("libs/a/deno.json", {"name": "@shop/a", "tasks": {"test": {"dependencies": []}}})
    assert project.shown() == {"all": "deno task all", "m:dev": "deno task dev", "a:test": "deno task test"}
    assert project.script("a:test").directory == str(project.directory / "libs/a")
