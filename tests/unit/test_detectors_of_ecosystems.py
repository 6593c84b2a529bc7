"""What mix, Gradle, Maven, .NET, Cargo, Go, pub, Bundler, Django and FastAPI have here, and what is said about a file
that is broken or not understood.
"""

from pathlib import Path

import pytest

from brummer.instance.detect.project import FILE_LIMIT_BYTES
from tests.unit.project_support import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def in_build(plugins: str) -> str:
    return f"<project><build>{plugins}</build></project>"


SPRING = "<plugin><artifactId>spring-boot-maven-plugin</artifactId></plugin>"
EXEC = "<plugin><artifactId>exec-maven-plugin</artifactId><configuration>{}</configuration></plugin>"
MVN = "build test"
GRADLE = "build test"
CARGO = '[package]\nname = "shop"\n'

MIX = """# aliases: [no: 1]
[aliases: more]
defp more do
  [
    # no: 1
    a: \"\"\"
    no: 1
    \"\"\",
    b: ?[, c: 'no: 1'
  ]
end
"""

SCRIPTS: dict[str, tuple[str, str, str]] = {
    "maven, a comment": ("pom.xml", in_build(f"<!-- <plugins>{SPRING}</plugins> -->"), MVN),
    "maven, only managed": (
        "pom.xml",
        in_build(f"<pluginManagement><plugins>{SPRING}</plugins></pluginManagement>"),
        MVN,
    ),
    "maven, exec for a build": ("pom.xml", in_build(f"<plugins>{EXEC.format('')}</plugins>"), MVN),
    "maven, exec": ("pom.xml", in_build(f"<plugins>{EXEC.format('<mainClass>A</mainClass>')}</plugins>"), f"run {MVN}"),
    "maven, in Latin-1": ("pom.xml", '<?xml version="1.0" encoding="ISO-8859-1"?><project/>', MVN),
    "gradle, a comment": ("build.gradle", "// id 'application'\n/* apply plugin: 'application' */\n", GRADLE),
    "gradle, an address": ("build.gradle", "url 'http://x'; apply plugin: 'application'\n", f"run {GRADLE}"),
    "gradle, not applied": (
        "build.gradle",
        "plugins {\n id 'org.springframework.boot' version '3' apply false\n}",
        GRADLE,
    ),
    "gradle, in one line": ("build.gradle.kts", "plugins { java; application }\n", f"run {GRADLE}"),
    "gradle, quoted": ("build.gradle.kts", "plugins {\n  `application`\n}\n", f"run {GRADLE}"),
    "gradle, an option of the same name": ("build.gradle.kts", "plugins { java }\napplication {\n}\n", GRADLE),
    ".net, a comment": (
        "a.csproj",
        '<Project Sdk="Microsoft.NET.Sdk"><!-- <OutputType>Exe</OutputType> --></Project>',
        "build test",
    ),
    ".net, a library of the web": (
        "a.csproj",
        '<Project Sdk="Microsoft.NET.Sdk.Web"><A><OutputType>Library</OutputType></A></Project>',
        "build test",
    ),
    "cargo, without a search": ("Cargo.toml", f"{CARGO}autobins = false\n", "build test"),
    "dart, the program of the package": ("pubspec.yaml", "name: main\n", "run other"),
    "dart, other programs": ("pubspec.yaml", "name: shop\n", "main other"),
    "mix, inline": (
        "mix.exs",
        'def project, do: [app: :x, aliases: [a: "b c: d", "e.f": [g: 1, h: fn i -> [j: 2] end], k: ~w(l: m)], n: 1]\n',
        "run a e.f k test",
    ),
    "mix, several in a line": (
        "mix.exs",
        '[aliases: aliases()]\ndefp aliases(), do: [a: "b", "c.d": "e"]\n',
        "run a c.d test",
    ),
    "mix, comments and texts": ("mix.exs", MIX, "run a b c test"),
    "mix, phoenix in a comment": ("mix.exs", "# {:phoenix, 1}\n", "run test"),
    "go, a program behind a comment": ("go.mod", "module x\n\nrequire (\n\ta v1 // ok\n)\n", "run build test"),
    "fastapi, only a router": ("api.py", "from fastapi import APIRouter\nrouter = APIRouter()\n", ""),
    "fastapi, an app from elsewhere": ("api.py", "import fastapi\nfrom shop.web import make, app\n", "fastapi"),
}

AROUND = {
    "src/main.rs": "",
    "bin/main.dart": "",
    "bin/other.dart": "",
    "main.go": "// see cmd/*\n/* package no */\npackage main\n",
    ".venv/bin/fastapi": "",
}


@pytest.mark.parametrize(("name", "text", "scripts"), SCRIPTS.values(), ids=SCRIPTS)
def test_only_what_the_tool_has_here_is_listed(project: Project, name: str, text: str, scripts: str) -> None:
    for other, content in AROUND.items():
        project.write(other, content)
    assert project.listed(name, text) == (scripts.split(), [])


def test_a_plugin_of_the_catalog_is_known_by_its_name_there(project: Project) -> None:
    project.write("build.gradle.kts", "plugins {\n  alias(libs.plugins.spring.boot)\n  alias(libs.plugins.gone)\n}\n")
    assert "run" not in project.commands()
    project.write("gradle/libs.versions.toml", '[plugins]\nspring-boot = "org.springframework.boot:3.2"\n')
    assert project.shown()["run"] == "gradle bootRun"
    project.write("gradle/libs.versions.toml", "[plugins\n")
    assert "run" not in project.commands()
    project.write("gradle/libs.versions.toml", '[plugins]\nspring_boot = { id = "io.quarkus", version = "1" }\n')
    assert project.shown()["run"] == "gradle quarkusDev"


def test_the_catalog_is_read_once_for_all_aliases(project: Project) -> None:
    """Reading it for each would take an hour."""
    project.write("gradle/libs.versions.toml", "[plugins]\n" + "".join(f'p-{i} = "x:1"\n' for i in range(10_000)))
    text = "".join(f"alias(libs.plugins.p.{i})\n" for i in range(10_000))
    assert project.listed("build.gradle", text) == (["build", "test"], [])


def test_cargo_gets_the_features_that_a_binary_requires(project: Project) -> None:
    project.write("src/main.rs", "")
    project.write("src/bin/x.rs", "")
    project.write("Cargo.toml", f'{CARGO}edition = "2021"\n[[bin]]\nname = "x"\nrequired-features = ["a", "b"]\n')
    assert project.shown()["x"] == "cargo run --bin x --features a,b"
    assert project.shown()["shop"] == "cargo run --bin shop"


def test_the_packages_on_which_that_of_a_workspace_depends_are_its_members(project: Project) -> None:
    project.write(
        "Cargo.toml", f'{CARGO}[workspace]\n[dependencies]\na = {{ path = "a" }}\nb = "1"\nc = {{ path = "../c" }}\n'
    )
    project.write("a/Cargo.toml", '[package]\nname = "a"\n')
    project.write("a/src/main.rs", "")
    assert project.shown()["run"] == "cargo run --package a --bin a"
    assert project.problems() == ()


def test_a_dependency_outside_of_the_project_is_no_member_however_it_is_written(project: Project) -> None:
    paths = ("./../q", "x/../../z", "..", "./a/../a")
    text = "".join(f'd{number} = {{ path = "{path}" }}\n' for number, path in enumerate(paths))
    project.write("Cargo.toml", f"{CARGO}[workspace]\n[dependencies]\n{text}")
    project.write("a/Cargo.toml", '[package]\nname = "a"\n')
    project.write("a/src/main.rs", "")
    assert project.shown()["run"] == "cargo run --package a --bin a"
    assert project.problems() == ()


def test_the_projects_of_a_solution_in_the_new_form_are_its_programs(project: Project) -> None:
    project.write("src/Api/Api.csproj", '<Project Sdk="Microsoft.NET.Sdk.Web"/>')
    project.write(
        "Shop.slnx", '<Solution><Folder Name="/a/"><Project Path="src\\Api\\Api.csproj"/></Folder></Solution>'
    )
    assert project.shown()["run"] == "dotnet run --project src/Api/Api.csproj"


def test_a_project_that_a_solution_names_often_is_one(project: Project) -> None:
    """Reading it for each would take an hour."""
    project.write("a/A.csproj", f'<Project Sdk="Microsoft.NET.Sdk.Web">{"<A/>" * 50_000}</Project>')
    named = '<Project Path="a/A.csproj"/>' * 10_000
    project.write("Shop.slnx", f"<Solution>{named}</Solution>")
    assert project.shown()["run"] == "dotnet run --project a/A.csproj"


CONFLICT = "<<<<<<< HEAD\n=======\n>>>>>>> other\n"

BROKEN: dict[str, tuple[str, str, int]] = {
    "maven": ("pom.xml", "<project>\n<build>\n</project>", 3),
    "maven, another file": ("pom.xml", "<html/>", 1),
    "maven, an entity without end": ("pom.xml", '<!DOCTYPE a [<!ENTITY b "&b;">]>\n<project>&b;</project>', 2),
    "maven, a merge": ("pom.xml", f"<project>\n{CONFLICT}</project>", 2),
    "gradle, a merge": ("build.gradle", f"plugins {{\n}}\n{CONFLICT}", 3),
    "a solution": ("a.sln", "\nno", 1),
    "a solution in the new form": ("a.slnx", "<Solution>\n", 2),
    "a project of .net": ("a.csproj", "<Project>\n<", 2),
    "cargo": ("Cargo.toml", "[package]\nname =\n", 2),
    "cargo, without a package": ("Cargo.toml", "[dependencies]\n", 1),
    "cargo, without a name": ("Cargo.toml", '[dependencies]\n[package]\nversion = "1"\n', 2),
    "cargo, a binary without a name": ("Cargo.toml", f'{CARGO}[[bin]]\npath = "x.rs"\n', 3),
    "cargo, binaries that are none": ("Cargo.toml", f"bin = 7\n{CARGO}", 1),
    "cargo, a member that is not there": ("Cargo.toml", '[workspace]\nmembers = ["gone", "x*"]\n', 2),
    "cargo, members that are none": ("Cargo.toml", "[workspace]\nmembers = [1]\n", 2),
    "go, a merge": ("go.mod", f"module x\n{CONFLICT}", 2),
    "go, an unknown word": ("go.mod", "module x\nreqire a v1\n", 2),
    "go, a block without an end": ("go.mod", "module x\nrequire (\n a v1\n", 2),
    "go, without a module": ("go.mod", "go 1.22\n", 1),
    "pub": ("pubspec.yaml", "name: x\n  y: z\n", 2),
    "pub, without a name": ("pubspec.yaml", "version: 1.0.0\n", 1),
    "mix, a merge": ("mix.exs", f"a\n{CONFLICT}", 2),
    "mix, aliases that are computed": ("mix.exs", "\n[aliases: base() ++ more()]\n", 2),
    "mix, aliases of another module": ("mix.exs", "[aliases: aliases()]\n", 1),
    "mix, aliases with more": ("mix.exs", "[aliases: aliases()]\ndefp aliases do\n  [a: 1] ++ more()\nend\n", 3),
    "mix, a list without an end": ("mix.exs", "[aliases: aliases()]\ndefp aliases do\n  [a: 1\n", 3),
    "bundler, a merge": ("Gemfile", f'gem "rspec"\n{CONFLICT}', 2),
    "django, a merge": ("manage.py", f"# DJANGO_SETTINGS_MODULE\n{CONFLICT}", 2),
}


@pytest.mark.parametrize(("name", "text", "line"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_broken_or_not_understood_is_a_problem_with_its_line(
    project: Project, name: str, text: str, line: int
) -> None:
    _, problems = project.listed(name, text)
    assert problems == [(name, line)]


def test_the_aliases_that_are_read_beside_others_are_listed(project: Project) -> None:
    text = "[aliases: aliases()]\ndefp aliases do\n  [a: 1] ++ more()\nend\n"
    assert project.listed("mix.exs", text) == (["run", "a", "test"], [("mix.exs", 3)])


@pytest.mark.parametrize(
    "fragment", ["aliases: ", "[", '"', "~s(", "fn ", "(", "//", "/*", "plugins {", "id '", "'", "<a>"]
)
@pytest.mark.parametrize("name", ["mix.exs", "build.gradle", "pom.xml", "go.mod", "a.csproj"])
def test_a_hostile_file_is_read_in_the_end(project: Project, name: str, fragment: str) -> None:
    """Quadratic work would take an hour."""
    head = "[aliases: [" if name == "mix.exs" else "module x\n" if name == "go.mod" else ""
    project.listed(name, head + fragment * (200_000 // len(fragment)))
    assert project.commands() or project.problems()


MANY = " " * 200_000
QUADRATIC: dict[str, tuple[str, str]] = {
    "mix, blanks after a name": ("mix.exs", f"aliases: a{MANY}x"),
    "mix, blanks after a function": ("mix.exs", f"[aliases: a]\ndefp a{MANY}x"),
    "gradle, quotes in an open string": ("build.gradle", '"' + '\\"' * 100_000),
    "gradle, quotes in an open string of the other kind": ("build.gradle", "'" + "\\'" * 100_000),
    "fastapi, imports": ("main.py", "import fastapi\nfrom " + "import " * 30_000),
}


@pytest.mark.parametrize(("name", "text"), QUADRATIC.values(), ids=QUADRATIC)
def test_no_pattern_searches_a_line_twice(project: Project, name: str, text: str) -> None:
    project.write("Procfile", "web: puma\n")
    names, _ = project.listed(name, text)
    assert "web" in names


def test_a_lock_file_that_is_too_large_to_look_for_fastapi_in_is_a_problem(project: Project) -> None:
    project.write("main.py", "from fastapi import FastAPI\napp = FastAPI()\n")
    names, problems = project.listed("uv.lock", "#" * (FILE_LIMIT_BYTES + 1))
    assert (names, problems) == ([], [("uv.lock", None)])
    assert "fastapi-cli" in project.problems()[0].message
