"""A detector that does not understand a file says so, with the line: it lists everything, or names the problem."""

from pathlib import Path

import pytest
import yaml

from brummer.instance.detect.project import FILE_LIMIT_BYTES
from brummer.instance.detect.taskfile import INCLUDES_LIMIT
from tests.unit.project_support import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def places(project: Project) -> list[tuple[str, int | None]]:
    return [(problem.source, problem.line) for problem in project.problems()]


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
        "version: '3'\nincludes:\n  docs: ./docs\n  flat: {taskfile: lib.yml, flatten: true, excludes: [no]}\n"
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
    assert len(project.commands()) <= INCLUDES_LIMIT
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
