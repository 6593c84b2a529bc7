"""What each kind of project file says can be run."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from brummer.instance.detect.listing import DETECTORS
from brummer.instance.detect.script_options import OPTIONS
from tests.unit.project_support import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


JUSTFILE = """
set shell := ["bash", "-c"]
import 'more.just'
alias b := build
export RUST_LOG := "a:b"
default: build test
@build target='x:y' *flags:
    echo build: not a recipe
deploy where:
    ./deploy {{where}}
release +what:
_hidden:
[private]
[no-cd]
inner:
[group('checks')]
test $LEVEL="info": build
"""

TASKFILE = """
version: '3'
vars: {A: 1}
tasks:
  # first
  default:
    cmds: [task: build]
  build: go build ./...   # short form
  "docs:serve":
    cmds:
      - |
        serve: no key
  docs:build:
    deps: [default]
  helper:
    internal: true
  start:*:
    cmd: echo
includes:
  other: {taskfile: ./other, optional: true}
"""

COMPOSE = """
x-common: &common
  restart: always
x-more: &more
  cache: *common
services:

  db:   # the database
    image: postgres
    environment:
      db2: not a service
  <<: *more
  'web':
    <<: *common
    depends_on: [db]
volumes:
  data:
"""

COMPOSER = {
    "scripts": {"post-install-cmd": "x", "test": ["phpunit"], "serve": "php -S 127.0.0.1:8000", "pre-commit": "x"},
}

PACKAGE = {
    "scripts": {
        "prebuild": "clean",
        "build": "vite build",
        "postinstall": "husky",
        "prettier": "prettier .",
        "postcss": "postcss",
    }
}

MIX = """
defmodule Shop.MixProject do
  use Mix.Project
  def project do
    [app: :shop, version: "1.0.0", aliases: aliases()]
  end

  defp deps do
    [{:phoenix, "~> 1.7"}, {:other, only: :test}]
  end

  defp aliases do
    [
      setup: ["deps.get", "ecto.setup"],
      "assets.build": ["esbuild default"]
    ]
  end
  defp later do
    [no: 1]
  end
end
"""

RAKEFILE = """
require "rake/testtask"
Rake::TestTask.new(:unit) do |t|
end
task default: %w[unit]
namespace :db do
  desc "load it"
  task :seed => :environment do
  end
  namespace "deep" do
    task("one")
  end
end
task :last, [:argument]
# task :no
tasks = 7
"""

TASKS_JSON = """{
  // of this editor
  "version": "2.0.0",
  "tasks": [
    {"label": "serve", "type": "shell", "command": "python -m http.server", "args": ["80 80", {"value": "x"}],
     "options": {"cwd": "${workspaceFolder}/web", "env": {"A": "//1"}}},
    {"label": "check", "type": "process", "command": "${workspaceFolder}/bin/check", "args": ["--all"],},
    {"label": "ask", "type": "shell", "command": "echo ${input:what}"},
    {"label": "npm", "type": "npm", "script": "dev"},
    {"label": "hidden", "type": "shell", "command": "x", "hide": true},
    {"label": "plain", "command": "x", "args": ["a b"], "linux": {"command": "y"}, "osx": {"command": "y"}},
    {"label": "windows only", "type": "shell", "windows": {"command": "x"}},
    {"type": "shell", "command": "no name"}, /* and a list: */ 7, {"label": 7},
  ],
}
"""

GRADLE = "plugins {\n    id 'java'\n    id 'application'\n}\n"
SPRING_POM = """<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <build><plugins><plugin><artifactId>spring-boot-maven-plugin</artifactId></plugin></plugins></build>
</project>
"""
SOLUTION = r"""
Microsoft Visual Studio Solution File
Project("{9A}") = "Api", "src\Api\Api.csproj", "{1}"
Project("{9A}") = "Tool", "Tool.csproj", "{2}"
Project("{9A}") = "Lib", "Lib.fsproj", "{3}"
Project("{9A}") = "Gone", "Gone.csproj", "{4}"
EndProject
"""
WEB_SDK = '<Project Sdk="Microsoft.NET.Sdk.Web"></Project>'
EXE = "<Project><PropertyGroup><OutputType>Exe</OutputType></PropertyGroup></Project>"

CARGO = '[package]\nname = "shop"\n'
CARGO_WORKSPACE = '[workspace]\nmembers = ["crates/*"]\nexclude = ["crates/old"]\n'

MANAGE_PY = 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")\n'

KINDS: dict[str, tuple[dict[str, object], dict[str, str]]] = {
    "hooks are npm's to run": (
        {"package.json": PACKAGE},
        {name: f"npm run {name}" for name in ("build", "prettier", "postcss")},
    ),
    "names that look like options": (
        {"package.json": {"scripts": {"--help": "x"}}, "deno.json": {"tasks": {"-v": "x"}}},
        {"--help": "npm run -- --help", "-v": "deno task -- -v"},
    ),
    "hooks that yarn does not run": (
        {"package.json": {"scripts": {"prebuild": "clean", "build": "vite build"}}, "yarn.lock": ""},
        {name: f"yarn run {name}" for name in ("prebuild", "build")},
    ),
    "deno": (
        {"deno.jsonc": '{ // tasks\n "tasks": {"dev": "deno run x.ts", "check": {"command": "deno check"},},}'},
        {"dev": "deno task dev", "check": "deno task check"},
    ),
    "just": (
        {"justfile": JUSTFILE, "more.just": "more:\n"},
        {name: f"just {name}" for name in ("more", "default", "build", "test")},
    ),
    "task": (
        {"Taskfile.yml": TASKFILE},
        {name: f"task {name}" for name in ("default", "build", "docs:serve", "docs:build")},
    ),
    "uv by its table": (
        {"pyproject.toml": '[project.scripts]\nserve = "a:b"\n[tool.uv]\ndev-dependencies = []\n'},
        {"serve": "uv run serve"},
    ),
    "hatch": (
        {"pyproject.toml": "[tool.hatch.envs.default.scripts]\ncov='x'\n[tool.hatch.envs.docs.scripts]\nserve='x'\n"},
        {"cov": "hatch run cov", "docs:serve": "hatch run docs:serve"},
    ),
    "pytest": ({"pyproject.toml": "[tool.pytest.ini_options]\nminversion='8'\n"}, {"test": "pytest"}),
    "pytest by another name": (
        {"pyproject.toml": "[tool.poe.tasks]\ntest='pytest -q'\n[tool.pytest.ini_options]\nminversion='8'\n"},
        {"test": "poe test"},
    ),
    "composer": (
        {"composer.json": COMPOSER},
        {name: f"composer run --timeout=0 {name}" for name in ("test", "serve", "pre-commit")},
    ),
    "laravel": (
        {"composer.json": {}, "artisan": ""},
        {"serve": "php artisan serve"},
    ),
    "cargo, one binary": (
        {"Cargo.toml": CARGO, "src/main.rs": ""},
        {"build": "cargo build", "test": "cargo test", "run": "cargo run --bin shop"},
    ),
    "cargo, a library": ({"Cargo.toml": CARGO, "src/lib.rs": ""}, {"build": "cargo build", "test": "cargo test"}),
    "cargo, several binaries": (
        {
            "Cargo.toml": f'{CARGO}edition = "2021"\n[[bin]]\nname = "server"\npath = "src/main.rs"\n',
            "src/main.rs": "",
            "src/bin/tool.rs": "",
            "src/bin/big/main.rs": "",
            "src/bin/README.md": "",
        },
        {
            "build": "cargo build",
            "test": "cargo test",
            "server": "cargo run --bin server",
            "big": "cargo run --bin big",
            "tool": "cargo run --bin tool",
        },
    ),
    "cargo, a declared binary of the first edition": (
        {
            "Cargo.toml": f'{CARGO}[[bin]]\nname = "server"\npath = "src/main.rs"\n',
            "src/main.rs": "",
            "src/bin/x.rs": "",
        },
        {"build": "cargo build", "test": "cargo test", "run": "cargo run --bin server"},
    ),
    "cargo, a workspace": (
        {
            "Cargo.toml": CARGO_WORKSPACE,
            "crates/api/Cargo.toml": CARGO.replace("shop", "api"),
            "crates/api/src/main.rs": "",
            "crates/lib/Cargo.toml": CARGO.replace("shop", "lib"),
            "crates/old/Cargo.toml": CARGO,
            "crates/old/src/main.rs": "",
            "crates/notes.txt": "",
        },
        {
            "build": "cargo build --workspace",
            "test": "cargo test --workspace",
            "run": "cargo run --package api --bin api",
        },
    ),
    "go": (
        {
            "go.mod": "module x\n",
            "main.go": "// Shop.\npackage main\n",
            "cmd/api/api.go": "package main\n",
            "cmd/api/a_test.go": "package main_test\n",
            "cmd/docs/README.md": "",
            "cmd/internal/a.go": "/* package main */\npackage internal\n",
            "cmd/gen/gen.go": "//go:build ignore\n\npackage main\n",
            "cmd/gen/lib.go": "package gen\n",
            "cmd/other/go.mod": "module y\n",
            "cmd/other/main.go": "package main\n",
        },
        {"run": "go run .", "api": "go run ./cmd/api", "build": "go build ./...", "test": "go test ./..."},
    ),
    "go, a program elsewhere": (
        {"go.mod": "module x\n", "lib.go": "package x\n", "cmd/main.go": "package main\n"},
        {"cmd": "go run ./cmd", "build": "go build ./...", "test": "go test ./..."},
    ),
    "django": (
        {"manage.py": MANAGE_PY, ".venv/bin/python": ""},
        {verb: f".venv/bin/python manage.py {verb}" for verb in ("runserver", "migrate", "test")},
    ),
    "django, by uv": (
        {"manage.py": MANAGE_PY, "uv.lock": ""},
        {verb: f"uv run python manage.py {verb}" for verb in ("runserver", "migrate", "test")},
    ),
    "not django": ({"manage.py": "print()\n"}, {}),
    "fastapi": (
        {"main.py": "import os\nfrom fastapi import FastAPI\napp = FastAPI()\n", "venv/bin/fastapi": ""},
        {"fastapi": "venv/bin/fastapi dev main.py"},
    ),
    "fastapi, by poetry": (
        {
            "app/main.py": "import fastapi\napi = fastapi.FastAPI()\n",
            "poetry.lock": '[[package]]\nname = "fastapi-cli"\n',
        },
        {"fastapi": "poetry run fastapi dev app/main.py"},
    ),
    "fastapi without its command": (
        {"main.py": "import fastapi\n", "uv.lock": '[[package]]\nname = "fastapi"\n', "bin/x": ""},
        {},
    ),
    "not fastapi": ({"main.py": "import flask\n# from fastapi import FastAPI\n", ".venv/bin/fastapi": ""}, {}),
    "gradle": (
        {"build.gradle": GRADLE, "gradlew": ""},
        {"run": "./gradlew run", "build": "./gradlew build", "test": "./gradlew test"},
    ),
    "spring by gradle": (
        {"build.gradle.kts": 'plugins { id("org.springframework.boot") version "3" }'},
        {"run": "gradle bootRun", "build": "gradle build", "test": "gradle test"},
    ),
    "maven": ({"pom.xml": "<project/>"}, {"build": "mvn package", "test": "mvn test"}),
    "spring by maven": (
        {"pom.xml": SPRING_POM, "mvnw": ""},
        {"run": "./mvnw spring-boot:run", "build": "./mvnw package", "test": "./mvnw test"},
    ),
    ".net, one project": (
        {"Tool.csproj": EXE},
        {
            "build": "dotnet build Tool.csproj",
            "test": "dotnet test Tool.csproj",
            "run": "dotnet run --project Tool.csproj",
        },
    ),
    ".net, a solution": (
        {"Shop.sln": SOLUTION, "src/Api/Api.csproj": WEB_SDK, "Tool.csproj": EXE, "Lib.fsproj": "<Project/>"},
        {
            "build": "dotnet build Shop.sln",
            "test": "dotnet test Shop.sln",
            "Api": "dotnet run --project src/Api/Api.csproj",
            "Tool": "dotnet run --project Tool.csproj",
        },
    ),
    "rake": (
        {"Rakefile": RAKEFILE},
        {name: f"rake {name}" for name in ("unit", "default", "db:seed", "db:deep:one", "last")},
    ),
    "rails": (
        {"Gemfile": 'gem "rails"\n  gem "rspec-rails"\n', "bin/rails": "", "bin/dev": "", "Rakefile": "task :x\n"},
        {
            "x": "bundle exec rake x",
            "dev": "bin/dev",
            "server": "bin/rails server",
            "test": "bin/rails test",
            "spec": "bundle exec rspec",
        },
    ),
    "rack": ({"Gemfile": 'gem "rack"\n', "config.ru": ""}, {"server": "bundle exec rackup"}),
    "phoenix": (
        {"mix.exs": MIX},
        {
            "server": "mix phx.server",
            "setup": "mix setup",
            "assets.build": "mix assets.build",
            "test": "mix test",
        },
    ),
    "mix": ({"mix.exs": "defmodule X do\nend\n"}, {"run": "mix run --no-halt", "test": "mix test"}),
    "flutter": (
        {"pubspec.yaml": "name: x\ndependencies:\n  flutter:\n    sdk: flutter\n", "lib/main.dart": "", "test/a": ""},
        {"run": "flutter run", "test": "flutter test"},
    ),
    "dart": ({"pubspec.yaml": "name: x\n", "bin/x.dart": ""}, {"run": "dart run"}),
    "compose": (
        {"compose.yaml": COMPOSE},
        {"up": "docker compose up", **{name: f"docker compose up {name}" for name in ("db", "web", "cache")}},
    ),
    "compose, one service": ({"docker-compose.yml": "services:\n  db: {image: x}\n"}, {"db": "docker compose up db"}),
    "tasks of an editor": (
        {".vscode/tasks.json": TASKS_JSON},
        {"serve": "python -m http.server '80 80' x", "check": "DIRECTORY/bin/check --all", "plain": "y a b"},
    ),
}


@pytest.mark.parametrize(("files", "expected"), KINDS.values(), ids=KINDS)
def test_a_project_of_this_kind_can_run(project: Project, files: dict[str, object], expected: dict[str, str]) -> None:
    for name, content in files.items():
        project.write(name, content)
    directory = str(project.directory)
    assert project.shown() == {name: command.replace("DIRECTORY", directory) for name, command in expected.items()}
    assert project.problems() == ()


def test_without_an_environment_python_and_fastapi_are_those_of_the_shell(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = project.directory / "programs"
    project.write("manage.py", MANAGE_PY)
    project.write("main.py", "from fastapi import FastAPI\napp = FastAPI()\n")
    monkeypatch.setenv("PATH", str(programs))
    assert project.shown()["runserver"] == "python3 manage.py runserver"
    assert "fastapi" not in project.shown()
    for name in ("python", "fastapi"):
        project.write(f"programs/{name}", "")
    assert project.shown()["runserver"] == "python manage.py runserver"
    assert project.shown()["fastapi"] == "fastapi dev main.py", "a program that comes is noticed"


def test_the_members_of_a_uv_workspace_have_their_scripts_under_their_names(project: Project) -> None:
    project.write(
        "pyproject.toml",
        '[project]\nname = "shop"\n[project.scripts]\nall = "x"\n'
        '[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/old"]\n',
    )
    project.write("packages/api/pyproject.toml", '[project]\nname = "shop-api"\n[project.scripts]\nserve = "a:b"\n')
    project.write("packages/web/pyproject.toml", '[tool.poe.tasks]\ndev = "x"\n')
    project.write("packages/old/pyproject.toml", '[project.scripts]\nno = "a:b"\n')
    project.write("packages/torn/pyproject.toml", "\n[[[")
    assert project.shown() == {
        "all": "uv run all",
        "shop-api:serve": "uv run serve",
        "packages/web:dev": "uv run poe dev",
    }
    script = project.script("shop-api:serve")
    assert (script.directory, script.source) == (
        str(project.directory / "packages/api"),
        "packages/api/pyproject.toml",
    )
    assert [(problem.source, problem.line) for problem in project.problems()] == [("packages/torn/pyproject.toml", 2)]


def test_a_member_of_a_uv_workspace_has_the_programs_of_the_workspace(tmp_path: Path) -> None:
    root, member = Project(tmp_path), Project(tmp_path / "packages" / "api")
    root.write("pyproject.toml", '[tool.uv.workspace]\nmembers = ["packages/*"]\n')
    root.write("uv.lock", '[[package]]\nname = "fastapi-cli"\n')
    member.write("main.py", "from fastapi import FastAPI\napp = FastAPI()\n")
    assert member.shown() == {"fastapi": "uv run fastapi dev main.py"}


def test_a_task_of_an_editor_has_its_directory_and_environment(project: Project) -> None:
    project.write(".vscode/tasks.json", TASKS_JSON)
    script = project.script("serve")
    assert (script.directory, script.environment) == (str(project.directory / "web"), {"A": "//1"})


def test_docker_gets_the_time_that_it_gives_its_containers(project: Project) -> None:
    project.write("compose.yaml", COMPOSE)
    assert project.script("db").stop_timeout_s > 10


def test_lines_for_development_are_read_in_place_of_those_for_production(project: Project) -> None:
    project.write("Procfile", "web: puma\n")
    assert project.shown() == {"web": "puma"}
    project.write("Procfile.dev", "web: rails server\ncss: tailwindcss --watch\n")
    assert project.shown() == {"web": "rails server", "css": "tailwindcss --watch"}
    assert project.script("css").source == "Procfile.dev"


# Workspaces.


@pytest.mark.parametrize(
    ("root", "manager"),
    [
        ({"package.json": {"workspaces": ["packages/*"]}, "yarn.lock": ""}, "yarn"),
        ({"package.json": {"workspaces": ["packages/*"], "packageManager": "bun@1.2.0"}}, "bun"),
        ({"package.json": {}, "pnpm-workspace.yaml": "packages: ['packages/*']\n"}, "pnpm"),
        ({"package.json": {"workspaces": ["*/*"], "devEngines": {"packageManager": {"name": "pnpm"}}}}, "pnpm"),
        ({"package.json": {"workspaces": ["packages/*"]}}, "npm"),
        ({"package.json": {}, "yarn.lock": ""}, "npm"),
        ({"package.json": "<<<<<<<", "yarn.lock": ""}, "npm"),
        ({"package.json": {"workspaces": ["*"]}, "yarn.lock": "", "packages/.git/HEAD": ""}, "npm"),
    ],
    ids=[
        "lock file",
        "packageManager",
        "pnpm",
        "devEngines",
        "no lock file",
        "no workspace",
        "a broken file",
        "another repository",
    ],
)
def test_a_package_is_run_by_the_manager_of_its_workspace(
    tmp_path: Path, root: dict[str, object], manager: str
) -> None:
    for name, content in root.items():
        Project(tmp_path).write(name, content)
    package = Project(tmp_path / "packages" / "web")
    package.write("package.json", {"scripts": {"dev": "vite"}})
    assert package.shown() == {"dev": f"{manager} run dev"}
    package.write("package.json", {"scripts": {"dev": "vite"}, "packageManager": "pnpm@9.0.0"})
    assert package.shown() == {"dev": "pnpm run dev"}, "its own manager comes first"


@pytest.mark.parametrize(
    ("workspace", "command"),
    [
        ('members = ["packages/*"]', "uv run serve"),
        ('members = ["**"]', "uv run serve"),
        ('members = ["*"]', "serve"),
        ('members = ["packages/*"]\nexclude = ["packages/api"]', "serve"),
        ("members = 7", "serve"),
    ],
)
def test_a_member_of_a_uv_workspace_is_run_by_uv(tmp_path: Path, workspace: str, command: str) -> None:
    Project(tmp_path).write("pyproject.toml", f"[tool.uv.workspace]\n{workspace}\n")
    member = Project(tmp_path / "packages" / "api")
    member.write("pyproject.toml", '[project.scripts]\nserve = "api:serve"\n')
    assert member.shown() == {"serve": command}
    Project(tmp_path).write("pyproject.toml", "[tool.uv.workspace")
    assert member.shown() == {"serve": "serve"}


WORKSPACE = {
    "packages/web/package.json": {"name": "@shop/web", "scripts": {"dev": "vite", "predev": "x"}},
    "packages/api/package.json": {"name": "api", "scripts": {"dev": "node api.js"}},
    "packages/node_modules/other/package.json": {"scripts": {"no": "no"}},
    "packages/README.md": "",
    "tools/deep/er/package.json": {"scripts": {"go": "x"}},
    "tools/old/package.json": {"scripts": {"no": "no"}},
}
IN_WORKSPACE = ["all", "api:dev", "web:dev", "tools/deep/er:go"]
PATTERNS = ["packages/*", "tools/**", "!tools/old"]


@pytest.mark.parametrize("workspaces", [PATTERNS, {"packages": PATTERNS}], ids=["list", "table"])
def test_the_packages_of_a_workspace_have_their_scripts_under_their_names(project: Project, workspaces: object) -> None:
    project.write("package.json", {"workspaces": workspaces, "scripts": {"all": "x"}})
    for name, content in WORKSPACE.items():
        project.write(name, content)
    assert list(project.commands()) == IN_WORKSPACE
    web = project.script("web:dev")
    assert web.command == ["npm", "run", "dev"]
    assert (web.source, web.directory) == ("packages/web/package.json", str(project.directory / "packages/web"))


def test_a_pnpm_workspace_names_its_packages_in_a_file_of_its_own(project: Project) -> None:
    project.write("package.json", {"scripts": {"all": "x"}})
    project.write(
        "pnpm-workspace.yaml", "packages:\n- 'packages/*' # here\n- tools/**\n- '!tools/old'\ncatalog:\n  a: 1\n"
    )
    for name, content in WORKSPACE.items():
        project.write(name, content)
    assert list(project.commands()) == IN_WORKSPACE
    assert project.script("api:dev").command == ["pnpm", "run", "dev"]


def test_a_package_that_is_broken_is_reported_and_the_others_stay(project: Project) -> None:
    project.write("package.json", {"workspaces": ["a", "b", "c"]})
    project.write("a/package.json", '{\n"scripts": nonsense}')
    project.write("b/package.json", {"scripts": {"dev": "x"}})
    assert list(project.commands()) == ["b:dev"]
    assert [(problem.source, problem.line) for problem in project.problems()] == [("a/package.json", 2)]


def test_packages_of_the_same_name_are_distinguished_by_their_folders(project: Project) -> None:
    project.write("package.json", {"workspaces": ["a/x", "b/x"]})
    for folder in ("a/x", "b/x"):
        project.write(f"{folder}/package.json", {"name": "x", "scripts": {"dev": "x"}})
    assert list(project.commands()) == ["x:dev", "b/x:dev"]


def test_a_workspace_is_fresh_when_a_package_comes_changes_and_goes(project: Project) -> None:
    project.write("package.json", {"workspaces": ["packages/*"]})
    assert project.commands() == {}
    project.write("packages/web/package.json", {"name": "web", "scripts": {"dev": "x"}})
    assert list(project.commands()) == ["web:dev"]
    project.write("packages/web/package.json", {"name": "web", "scripts": {"start": "x"}})
    assert list(project.commands()) == ["web:start"]
    (project.directory / "packages/web/package.json").unlink()
    assert project.commands() == {}


@pytest.mark.parametrize("pattern", ["../*", "/etc/*", "a/../../*"])
def test_a_workspace_does_not_lead_out_of_the_project(project: Project, pattern: str) -> None:
    project.write("package.json", {"workspaces": [pattern], "scripts": {"dev": "x"}})
    assert list(project.commands()) == ["dev"]
    assert [problem.source for problem in project.problems()] == ["package.json"]


def test_a_pattern_that_leads_out_hides_no_other(project: Project) -> None:
    project.write("package.json", {"workspaces": ["../x", "!/etc/*", "a"]})
    project.write("a/package.json", {"scripts": {"dev": "x"}})
    project.write("Cargo.toml", f'[workspace]\nmembers = ["../x", "crates/*"]\n{CARGO}')
    project.write("src/main.rs", "")
    assert list(project.commands()) == ["a:dev", "build", "test", "run"]
    assert [problem.source for problem in project.problems()] == ["package.json", "Cargo.toml"]


def test_the_project_of_a_solution_that_is_broken_is_reported_and_the_others_stay(project: Project) -> None:
    project.write("Shop.sln", SOLUTION)
    project.write("src/Api/Api.csproj", WEB_SDK)
    (project.directory / "Tool.csproj").write_bytes(EXE.encode("utf-16"))
    assert project.shown()["run"] == "dotnet run --project src/Api/Api.csproj"
    assert [problem.source for problem in project.problems()] == ["Tool.csproj"]


def test_the_member_of_a_cargo_workspace_that_is_broken_is_reported(project: Project) -> None:
    project.write("Cargo.toml", CARGO_WORKSPACE)
    project.write("crates/api/Cargo.toml", "[package\n")
    assert list(project.commands()) == ["build", "test"]
    assert [(problem.source, problem.line) for problem in project.problems()] == [("crates/api/Cargo.toml", 1)]


# The documentation.

PAGE = (Path(__file__).parents[2] / "docs" / "scripts.md").read_text()


def test_a_file_that_makes_its_detector_fail_is_reported_and_the_others_stay(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(import_module("brummer.instance.detect.makefile"), "detect", fails)
    project.write("Makefile", "all:\n\ttrue\n")
    project.write("Procfile", "web: true\n")
    [problem] = project.problems()
    assert (problem.source, problem.message) == ("Makefile", "it can't be read: ZeroDivisionError: odd")
    assert list(project.commands()) == ["web"]


def test_the_page_lists_every_detector_in_its_order_with_its_prefix() -> None:
    rows = re.findall(r"^\| (`.*`.*) \| `(\w+)` \|", PAGE.partition("| key |")[0], re.MULTILINE)
    modules = {module: import_module(f"brummer.instance.detect.{module}") for module in DETECTORS}
    assert [prefix for _, prefix in rows] == [module.PREFIX for module in modules.values()]
    for (files, _), module in zip(rows, DETECTORS, strict=True):
        assert any(f"`{name}`" in files for name in DETECTORS[module])


def test_the_example_of_the_page_is_what_it_says(project: Project) -> None:
    [example] = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    project.write(".brum.toml", example)
    project.write("package.json", {"scripts": {"dev": "vite"}})
    assert project.problems() == ()
    assert list(project.commands()) == ["db", "migrate", "api", "dev"]
    assert project.script("api").depends_on == ("db", "migrate")
    assert project.script("api").stop_timeout_s == 20
    assert project.script("dev").wants_terminal


def test_the_page_lists_every_option() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.partition("| key |")[2], re.MULTILINE)
    assert rows == ["command", *OPTIONS]
