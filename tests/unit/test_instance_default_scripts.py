"""What `brum up` starts if no script is named: which rule decides, and what it chooses."""

from pathlib import Path

import pytest

from brummer.instance.default_scripts import Choice, choice_of
from tests.unit.project_support import Project

WORKSPACE: dict[str, object] = {
    "package.json": {"workspaces": ["packages/*"], "scripts": {"test": "x"}},
    "packages/web/package.json": {"name": "@shop/web", "scripts": {"dev": "vite", "start": "x", "css:dev": "x"}},
    "packages/api/package.json": {"name": "@shop/api", "scripts": {"dev": "node --watch ."}},
    "packages/lib/package.json": {"name": "lib", "scripts": {"start": "x"}},
}
WEB_AND_WORKER = "web: rails server\nworker: sidekiq\n"
DEV = {"scripts": {"dev": "vite", "start": "x"}}

MANAGE_PY = 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")\n'
FASTAPI: dict[str, object] = {"main.py": "from fastapi import FastAPI\napp = FastAPI()\n", ".venv/bin/fastapi": ""}
GO = "package main\n"
CARGO = '[package]\nname = "shop"\n'
COMPOSE = "services:\n  db: {image: x}\n"

CASES: list[tuple[str, dict[str, object], str, Choice | None]] = [
    ("nothing", {"justfile": "build:\n  x\n"}, "", None),
    ("tasks without dev", {"Taskfile.yml": "tasks:\n  build: x\n"}, "", None),
    (
        "autostart before a Procfile",
        {".brum.toml": "[scripts.worker]\nautostart = true\n", "Procfile": WEB_AND_WORKER, "package.json": DEV},
        "",
        Choice(("worker",), "with autostart"),
    ),
    (
        "every line of a Procfile before dev",
        {"Procfile": WEB_AND_WORKER, "package.json": DEV},
        "",
        Choice(("web", "worker"), "from Procfile"),
    ),
    (
        "Procfile.dev before Procfile",
        {"Procfile": "web: puma\nrelease: migrate\n", "Procfile.dev": "web: rails server\ncss: tailwindcss --watch\n"},
        "",
        Choice(("web", "css"), "from Procfile.dev"),
    ),
    (
        "a line whose name another file has",
        {"Procfile": WEB_AND_WORKER, "package.json": {"scripts": {"web": "x"}}},
        "",
        Choice(("procfile:web", "worker"), "from Procfile"),
    ),
    (
        "a line that the user's own file replaces",
        {"Procfile": WEB_AND_WORKER, ".brum.toml": '[scripts]\nweb = "puma"\nother = "x"\n'},
        "",
        Choice(("web", "worker"), "from .brum.toml and Procfile"),
    ),
    ("dev before start", {"package.json": DEV}, "", Choice(("dev",), "from package.json")),
    ("start", {"package.json": {"scripts": {"start": "x"}}}, "", Choice(("start",), "from package.json")),
    ("dev of any tool", {"justfile": "dev:\n  x\n"}, "", Choice(("dev",), "from justfile")),
    (
        "the first dev of two",
        {"package.json": DEV, "Makefile": "dev:\n\tx\n"},
        "",
        Choice(("dev",), "from package.json"),
    ),
    ("Django", {"manage.py": MANAGE_PY, "uv.lock": ""}, "", Choice(("runserver",), "from manage.py")),
    (
        "Django beside its styles",
        {"manage.py": MANAGE_PY, "uv.lock": "", "package.json": {"scripts": {"build": "x"}}},
        "",
        Choice(("runserver",), "from manage.py"),
    ),
    ("FastAPI", FASTAPI, "", Choice(("fastapi",), "from main.py")),
    ("dev before FastAPI", FASTAPI | {"package.json": DEV}, "", Choice(("dev",), "from package.json")),
    ("the only program of Go", {"go.mod": "", "cmd/api/a.go": GO}, "", Choice(("api",), "from go.mod")),
    ("two programs of Go", {"go.mod": "", "main.go": GO, "cmd/api/a.go": GO}, "", None),
    ("the only program of Cargo", {"Cargo.toml": CARGO, "src/main.rs": ""}, "", Choice(("run",), "from Cargo.toml")),
    ("two programs of Cargo", {"Cargo.toml": CARGO, "src/main.rs": "", "src/bin/x.rs": ""}, "", None),
    ("all services", {"compose.yaml": COMPOSE + "  web: {}\n"}, "", Choice(("up",), "from compose.yaml")),
    ("the only service", {"docker-compose.yml": COMPOSE}, "", Choice(("db",), "from docker-compose.yml")),
    ("a service called up", {"compose.yml": COMPOSE.replace("db", "up")}, "", Choice(("up",), "from compose.yml")),
    (
        "services whose name another file has",
        {"compose.yaml": COMPOSE + "  web: {}\n", "Makefile": "up:\n\tx\n"},
        "",
        Choice(("compose:up",), "from compose.yaml"),
    ),
    ("below the project", {"package.json": DEV}, "src/deep", Choice(("dev",), "from package.json")),
    (
        "the package in which the user stands",
        WORKSPACE,
        "packages/web/src",
        Choice(("web:dev",), "from packages/web/package.json"),
    ),
    (
        "start of a package without dev",
        WORKSPACE,
        "packages/lib",
        Choice(("lib:start",), "from packages/lib/package.json"),
    ),
    (
        "a package without either",
        WORKSPACE | {"packages/lib/package.json": {"name": "lib", "scripts": {"test": "x"}}},
        "packages/lib",
        None,
    ),
    (
        "dev of every package",
        WORKSPACE,
        "packages",
        Choice(("api:dev", "web:dev"), "of the packages of this workspace"),
    ),
    (
        "dev of every member of a uv workspace",
        {
            "pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n',
            "packages/api/pyproject.toml": '[tool.poe.tasks]\ndev = "x"\n',
            "packages/web/pyproject.toml": '[project.scripts]\ndev = "x"\n',
        },
        "",
        Choice(("packages/api:dev", "packages/web:dev"), "of the packages of this workspace"),
    ),
    (
        "dev of the root before that of packages",
        WORKSPACE | {"package.json": {"workspaces": ["packages/*"], **DEV}},
        "",
        Choice(("dev",), "from package.json"),
    ),
]


@pytest.mark.parametrize(("files", "place", "choice"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_starts_if_no_script_is_named(
    tmp_path: Path, files: dict[str, object], place: str, choice: Choice | None
) -> None:
    project = Project(tmp_path)
    for name, content in files.items():
        project.write(name, content)
    found = project.scripts.read().scripts.values()
    assert choice_of(found, project.directory, project.directory / place) == choice


def test_a_place_outside_the_project_is_in_none_of_its_packages(tmp_path: Path) -> None:
    project = Project(tmp_path / "shop")
    for name, content in WORKSPACE.items():
        project.write(name, content)
    choice = choice_of(project.scripts.read().scripts.values(), project.directory, tmp_path)
    assert choice is not None
    assert choice.names == ("api:dev", "web:dev")
