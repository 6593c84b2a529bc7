"""What a justfile lists, beside what `just --summary` lists for it, and what it says about the rest."""

import platform
from pathlib import Path

import pytest

from brummer.instance.detect.justfile import FILES_LIMIT, INCLUDED_LIMIT
from tests.unit.project_support import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


RECIPES = {
    "defaults that call functions": (
        "a x=env_var_or_default('X', 'y'):\nb x=(uppercase('a)') + lowercase(\"B\")) y=quote(quote('z')):\n",
        "a b",
    ),
    "brackets within brackets": ("a x=(if 'a' == (\"b\") { '}' } else { quote((')')) }): (b 'c)')\nb y='':\n", "a b"),
    "defaults over several lines": ("a x=('b'\n  + 'c:'):\nb x='''\nghost:\n''':\n", "a b"),
    "kinds of strings": ('a x=x\'b\' y=f\'c\' z=`d:` u="""e"f""" v=\'\' w=```g`h``` t="\\":":\n', "a"),
    "names as defaults": ("x := 'y'\na b=x $c=x *d=x:\ne +f=x:\nf *g:\nh *$i:\n", "a e f h"),
    "recipes that need an argument": ("a b:\nc +d:\ne f g='':\nh $i:\nj:\n", "j"),
    "attributes": (
        """[group('a]b'), doc("private")]
a:
[group: 'private']
b:
[doc('''
]
''')]
[no-cd] # c
c:
[group('x'), private]
ghost:
[confirm('private')]
d:
""",
        "a b c d",
    ),
    "an assignment over several lines": (
        "x := '''\nghost:\n'''\ny := \"\nghost2:\n\"\nz := quote(\n'ghost3:')\na:\n",
        "a",
    ),
    "settings and functions": (
        """set shell := ['bash',
'-c']
set export
export X := 'a'
unexport Y
f(x) := x + ':'
alias b := a
a x=f('y'):
""",
        "a",
    ),
    "keywords as names": ("set:\nalias:\nexport:\nmod:\nimport:\n", "set alias export mod import"),
    "dependencies over several lines": ("a x: \\\n  b \\\n  d\nb:\nc: (a 'x'\n  ) && b\nd:\n", "b c d"),
    "bodies": ("a:\n  b: {{ 'x\nghost: ' }} y\n  ghost: {{{{ '\n\n  it's\nb:\n #!/bin/sh\n x='\n", "a b"),
    "quiet and private": ("@a:\n@_b:\n_c:\nA-b_c:\n", "a A-b_c"),
    "comments": ("# a: '\n\n  \na: # '\n  x # '\n# c\nb:\n", "a b"),
    "line feeds of another system": ("a:\r\n  x\r\nb:\r\n", "a b"),
}


@pytest.mark.parametrize(("text", "names"), RECIPES.values(), ids=RECIPES)
def test_a_justfile_lists_what_just_lists(project: Project, text: str, names: str) -> None:
    assert project.listed("justfile", text) == (names.split(), [])


def test_a_recipe_for_other_systems_is_not_listed(project: Project) -> None:
    here = {"Linux": "linux", "Darwin": "macos"}[platform.system()]
    text = f"[windows]\nghost:\n[{here}]\na:\n[unix]\nb:\n[windows]\n[{here}, no-cd]\nc:\n"
    assert project.listed("justfile", text) == (["a", "b", "c"], [])


def test_the_recipes_of_imports_and_modules_are_listed_under_the_names_that_just_gives_them(project: Project) -> None:
    project.write("dev/a.just", "import 'b.just'\na:\nsame x:\n")
    project.write("dev/b.just", "b:\n[private]\nghost:\n")
    project.write("web/mod.just", "mod deep\nserve:\n")
    project.write("web/deep.just", "dig:\n")
    project.write("other/justfile", "o:\n")
    project.write("_c.just", "c:\n")
    text = (
        "same:\nimport 'dev/a.just'\nimport? 'gone.just'\nmod? gone\nmod web\nmod w 'other'\nmod _c '_c.just'\n"
        "[private]\nmod other\n"
    )
    names = ["same", "b", "a", "web::deep::dig", "web::serve", "w::o", "_c::c"]
    assert project.listed("justfile", text) == (names, [])
    assert project.script("web::serve").command == ["just", "web::serve"]
    assert project.script("b").source == "dev/b.just"
    project.write("gone.just", "come:\n")
    assert list(project.commands()) == ["same", "b", "a", "come", "gone::come", *names[3:]], (
        "a file that comes is noticed"
    )


PROBLEMS = {
    "a string without an end": ("a:\nx := 'b\nghost:\n", "a", 2),
    "a bracket without an end": ("a:\nb x=(f('c'):\nghost:\n", "a", 2),
    "what just does not know": ("a:\nb c\nd:\n", "a d", 2),
    "a mark of a merge": ("a:\n<<<<<<< HEAD\nb:\n", "a b", 2),
    "two values": ("a x='b' 'c':\nd:\n", "d", 1),
    "no value": ("a x=:\nd:\n", "d", 1),
    "no name": (":\n@:\nd:\n", "d", 1),
    "a name in other letters": ("é:\nd:\n", "d", 1),
    "an indented recipe": ("\n  a:\nd:\n", "d", 2),
    "an import that is not there": ("a:\n\nimport 'gone.just'\n", "a", 3),
    "an import of nothing": ("import ?\na:\n", "a", 1),
    "an import by a command": ("import `x`\na:\n", "a", 1),
    "an import of a shell's name": ("import x'~/b.just'\na:\n", "a", 1),
    "an import from outside": ("a:\nimport '/etc/passwd'\n", "a", 2),
    "a module that is not there": ("a:\nmod gone\n", "a", 2),
    "a module without a name": ("mod ?\nmod 'x'\na:\n", "a", 1),
    "a file that imports itself": ("a:\nimport 'justfile'\n", "a", 2),
}


@pytest.mark.parametrize(("text", "names", "line"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_is_not_understood_is_a_problem_with_its_line(project: Project, text: str, names: str, line: int) -> None:
    found, problems = project.listed("justfile", text)
    assert (found, problems[0]) == (names.split(), ("justfile", line))


def test_a_problem_of_an_imported_file_has_its_name(project: Project) -> None:
    project.write("b.just", "\nb c\n")
    (project.directory / "c.just").write_bytes(b"c:\n\xff\n")
    assert project.listed("justfile", "import 'b.just'\nimport 'c.just'\na:\n") == (
        ["a"],
        [("b.just", 2), ("c.just", 2)],
    )


def test_a_justfile_of_the_repository_above_is_imported_and_none_from_outside_it(tmp_path: Path) -> None:
    root, project = Project(tmp_path), Project(tmp_path / "repository" / "api")
    root.write("outside.just", "ghost:\n")
    root.write("repository/.git/HEAD", "")
    root.write("repository/common.just", "common:\n")
    text = "import '../common.just'\nimport '../../outside.just'\na:\n"
    assert project.listed("justfile", text) == (["common", "a"], [("justfile", 2)])


def test_a_file_of_the_home_directory_leads_out(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    home = project.directory / "home"
    monkeypatch.setenv("HOME", str(home))
    project.write("home/x.just", "ghost:\n")
    text = "import? '~/gone.just'\nimport '~/x.just'\na:\n"
    assert project.listed("justfile", text) == (["a"], [("justfile", 2)])
    assert "leads out of the repository" in project.problems()[0].message


def test_what_is_read_of_one_file_that_is_imported_many_times_is_bounded(project: Project) -> None:
    project.write("big.just", "b:\n" + "# x\n" * 250_000)
    modules = "".join(f"mod m{number} 'big.just'\n" for number in range(90))
    found, problems = project.listed("justfile", f"{modules}a:\n")
    assert (found[-1], len(found)) == ("a", INCLUDED_LIMIT // 1_000_003 + 1)
    assert problems[0] == ("justfile", len(found))


def test_files_that_import_each_other_many_times_are_bounded(project: Project) -> None:
    for number in range(12):
        project.write(f"{number}.just", f"t{number}:\n" + f"import '{number + 1}.just'\n" * 2)
    project.write("12.just", "t12:\n")
    found, problems = project.listed("justfile", "import '0.just'\n")
    assert len(found) == 13
    assert problems, f"there are more than {FILES_LIMIT}"


@pytest.mark.parametrize(
    "fragment", ["a x='", "(", "a x=(", '"""', "'''", "{{", " {{'", "[x]\n", "a ", "\\\n", "a:", "*a "]
)
def test_a_hostile_justfile_is_read_in_the_end(project: Project, fragment: str) -> None:
    """Quadratic work would take an hour."""
    project.listed("justfile", "first:\n" + fragment * (200_000 // len(fragment)))
    assert next(iter(project.commands())) == "first"
