"""What a makefile lists, beside what make lists for it, and what it says about the rest."""

import platform
from pathlib import Path

import pytest

from brummer.instance.detect.make_variables import LENGTH_LIMIT
from brummer.instance.detect.makefile import INCLUDES_LIMIT
from tests.unit.project_support import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


TARGETS = {
    "an indented endef": ("define X\nghost:\n  endef\ntest:\n", ["test"]),
    "an endef with a comment": ("define X\nghost:\nendef # X\ntest:\n", ["test"]),
    "an indented define": ("  define X\nghost:\n  endef\ntest:\n", ["test"]),
    "a define with a sign": ("override define X :=\nghost:\nendef\ntest:\n", ["test"]),
    "a define in a define": ("define X\ndefine Y\nghost:\nendef\nghost2:\nendef\ntest:\n", ["test"]),
    "an endef after a tab is text": ("define X\n\tendef\nghost:\nendef\ntest:\n", ["test"]),
    "a line of a recipe that begins with define": ("test:\n\tdefine x\nlint:\n", ["test", "lint"]),
    "escaped": (
        r"test\:unit docs\:build: x" + "\n" + r"a\ b:" + "\n" + r"c\#d:" + "\n",
        "test:unit,docs:build,a b,c#d",
    ),
    "a list": ("a b \\\n  c: x\n", ["a", "b", "c"]),
    "a group": ("a b &: x ; y\nc d&: y ; y\n", ["a", "b", "c", "d"]),
    "a backslash that is escaped ends no line": ("X = a\\\\\ntest:\n", ["test"]),
    "a list in a variable": ("ALL := a b\nALL += c\n$(ALL): x\n", ["a", "b", "c"]),
    "a variable of one letter": ("P = web\n$P-build ${P}-test:\n", ["web-build", "web-test"]),
    "a dollar sign": ("a$$b:\n", ["a$b"]),
    "a variable that changes": ("X := a\n$(X):\nX := b\n$(X):\n", ["a", "b"]),
    "a variable with a default": ("X = a\nX ?= b\nY ?= c\n$(X) $(Y):\n", ["a", "c"]),
    "a variable that nobody sets": ("$(X) test:\n", ["test"]),
    "names made by functions": (
        """P = a.c b.c
$(P:.c=.o) $(P:%.c=%.x) $(patsubst %.c,run-%,$(P)):
$(addprefix x-,$(basename $(P))):
$(foreach p,$(filter a%,$(P)) z,do-$(p)) $(addsuffix .y,$(filter-out a.c,$(P))): ; true
""",
        "a.o,b.o,a.x,b.x,run-a,run-b,x-a,x-b,do-a.c,do-z,b.c.y",
    ),
    "more functions": (
        """$(sort b a b) $(notdir x/c) $(strip d) $(subst e,f,ee) $(findstring g,gh):
$(wildcard M*) $(notdir $(CURDIR)/h):
""",
        ["a", "b", "c", "d", "ff", "g", "Makefile", "h"],
    ),
    "only variables of a target": (
        "lint: FLAGS = -g\ntest: export A := 1\ntest: lint ; A=1 x\nrun:: ; A=1\n",
        "test,run",
    ),
    "conditions that the text decides": (
        """X = 1
ifdef X
a:
else
ghost:
endif
ifeq ($(X), 2)
ghost:
else ifneq '$(X)' "2"
b:
else
ghost:
endif
ifndef X
ifdef Y
ghost:
endif
define Z
else
ghost:
endef
else
c:
endif
""",
        ["a", "b", "c"],
    ),
    "a condition about the system": ("ifeq ($(shell uname -s),Nowhere)\nghost:\nelse\nhere:\nendif\n", ["here"]),
    "a condition that only make can decide": ("ifdef HOME\nX = a\nb:\nelse\nc:\nendif\n", ["b", "c"]),
    "condition indented by tabs": ("X = 1\nifdef X\n\tifdef Y\n\t\tZ = 1\n\tendif\nendif\na:\n", ["a"]),
    "another sign for recipes": (".RECIPEPREFIX = >\na:\n> b: c\n>d\ne:\n", ["a", "e"]),
    "no targets to run": (".PHONY: x\n.env:\n%.o: %.c\nlib(x.o):\n-x:\n./here:\n", ["here"]),
    "lines that only speak": ("$(info a: b)\n$(if $(X),,$(error set X: now))\n$(eval X := a:b)\na:\n", ["a"]),
    "a call that only checks": ("check = $(if $($1),,$(error $1: not set))\n$(call check,X)\na:\n", ["a"]),
    "a rule in a variable": ("RULE = a: b\n$(RULE)\n", ["a"]),
    "the words of directives as names": ("include: x\nexport:\nelse:\ndefine-x:\n", "include,export,else,define-x"),
}


@pytest.mark.parametrize(("text", "names"), TARGETS.values(), ids=TARGETS)
def test_a_makefile_lists_what_make_lists(project: Project, text: str, names: list[str] | str) -> None:
    assert project.listed("Makefile", text) == (names.split(",") if isinstance(names, str) else names, [])


def test_a_condition_about_the_system_is_decided_by_the_system(project: Project) -> None:
    text = f"ifeq ($(shell uname),{platform.system()})\nhere:\nelse\nghost:\nendif\n"
    assert project.listed("Makefile", text) == (["here"], [])


PROBLEMS = {
    "names that a program makes": ("X := $(shell ls)\na:\n$(X):\n", ["a"], 3),
    "names that the environment makes": ("a:\n$(HOME)/x:\n", ["a"], 2),
    "names that a function makes": ("$(lastword a b):\na:\n", ["a"], 1),
    "names that a condition makes": ("ifdef HOME\nX = a\nendif\n$(X):\n", [], 4),
    "names that rules in a call make": (
        "define RULE\n$(1)-x:\nendef\n$(foreach p,a b,$(eval $(call RULE,$(p))))\na:\n",
        ["a"],
        4,
    ),
    "names that a call of a call makes": ("make-it = $(eval $1: x)\n\n$(call make-it,a)\nb:\n", ["b"], 3),
    "names that files have": ("*.o: x.h\na:\n", ["a"], 1),
    "a variable that holds itself": ("X = $(X)a\n$(X): b\na:\n", ["a"], 2),
    "a reference without an end": ("$(X: b\na:\n", ["a"], 1),
    "a define without an endef": ("a:\ndefine X\nghost:\n", ["a"], 2),
    "a condition without an endif": ("a:\nifdef X\n", ["a"], 2),
    "an endif without a condition": ("a:\nendif\nb:\n", ["a", "b"], 2),
    "blanks in place of a tab": ("a:\n    echo hello\nb:\n", ["a", "b"], 2),
    "blanks in place of a tab, and a variable": ("a:\n    $(CC) -o x\nb:\n", ["a", "b"], 2),
    "a mark of a merge": ("a:\n<<<<<<< HEAD\nb:\n", ["a", "b"], 2),
    "a recipe without a rule": ("X = 1\n\techo: x\na:\n", ["a"], 2),
    "a file that is not there": ("a:\ninclude gone.mk\n", ["a"], 2),
    "a file that is outside": ("a:\ninclude /etc/passwd\n", ["a"], 2),
    "a file with a name that only make knows": ("include $(shell ls)\n$(X):\na:\n", ["a"], 1),
    "an extension": ("a:\n  \nload x.so\n  guile x\n", ["a"], 4),
}


@pytest.mark.parametrize(("text", "names", "line"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_only_make_could_know_is_a_problem_with_its_line(
    project: Project, text: str, names: list[str], line: int
) -> None:
    found, problems = project.listed("Makefile", text)
    assert (found, problems[0]) == (names, ("Makefile", line))


def test_all_names_that_only_make_could_know_are_one_problem(project: Project) -> None:
    text = "X := $(shell ls)\n" + "$(X):\n" * 9
    assert project.listed("Makefile", text) == ([], [("Makefile", 2)])
    assert "3, 4, 5, 6, 7, …" in project.problems()[0].message


def test_included_files_are_read_where_they_are_included(project: Project) -> None:
    project.write("mk/a.mk", "X = from-a\na:\ninclude mk/b.mk\n")
    project.write("mk/b.mk", "b:\ninclude mk/a.mk Makefile\n$(shell x):\n")
    project.write(".env", "KEY=a:b\n")
    text = "include mk/*.mk\n-include .env gone.mk\ninclude $(CURDIR)/mk/a.mk ./made.mk\n$(X):\nmade.mk: x\n"
    assert project.listed("Makefile", text) == (["a", "b", "from-a", "made.mk"], [("mk/b.mk", 3)])
    assert project.script("b").source == "mk/b.mk"
    project.write("mk/b.mk", "c:\n")
    assert list(project.commands()) == ["a", "c", "from-a", "made.mk"], "a change of an included file is noticed"


def test_a_file_of_the_repository_above_is_included_and_none_from_outside_it(tmp_path: Path) -> None:
    root, project = Project(tmp_path), Project(tmp_path / "repository" / "services" / "api")
    root.write("outside.mk", "ghost:\n")
    root.write("repository/.git/HEAD", "")
    root.write("repository/common.mk", "common:\n")
    text = "include ../../common.mk\ninclude ../../../outside.mk\n-include ../gone.mk\na:\n"
    assert project.listed("Makefile", text) == (["common", "a"], [("Makefile", 2)])


def test_what_a_compiler_writes_about_headers_is_no_problem(project: Project) -> None:
    text = "OBJS := $(shell ls)\nDEPS := $(OBJS:.o=.d)\nD = $(OBJS:.o=.d)\n-include $(OBJS:.o=.d)\n-include $(D)\na:\n"
    assert project.listed("Makefile", text) == (["a"], [])


def test_the_files_that_are_included_are_bounded(project: Project) -> None:
    for number in range(INCLUDES_LIMIT + 5):
        project.write(f"{number:02}.mk", f"t{number:02}:\n")
    found, problems = project.listed("Makefile", "include *.mk\n")
    assert len(found) == INCLUDES_LIMIT
    assert problems == [("Makefile", 1)] * 5


@pytest.mark.parametrize(
    "text",
    [
        "X = a\n" + "X += $(X) $(X)\n" * 5 + "$(X):\n",
        "A = " + "a " * 1000 + "\nB = $(foreach a,$(A),$(A))\n$(B):\n",
        "A = " + "a" * 1000 + "\n$(subst a,$(A),$(A)) $(A:a=$(A)):\n",
        "A0 = aaaa\n" + "".join(f"A{n + 1} = $(A{n})$(A{n})\n" for n in range(30)) + "$(A30):\n",
        "$(foreach a," * 50 + ")" * 50 + ":\n",
    ],
    ids=["itself", "foreach", "subst", "doubling", "nested"],
)
def test_values_that_grow_without_bounds_are_not_followed(project: Project, text: str) -> None:
    found, problems = project.listed("Makefile", text)
    assert sum(map(len, found)) <= LENGTH_LIMIT
    assert len(problems) == 1


def test_a_long_list_that_is_built_line_by_line_hides_no_rule(project: Project) -> None:
    added = "".join(f"SRCS += src/module/file_{number:04}.c\n" for number in range(700))
    assert project.listed("Makefile", f"{added}build: $(SRCS)\ntest: build\n") == (["build", "test"], [])
    short = "".join(f"X += {number:03}.c\n" for number in range(999))
    assert project.listed("Makefile", short * 3 + "$(X): x\na$(Y):\n") == (["a"], [("Makefile", 2998)])


@pytest.mark.parametrize(
    "inner",
    ["$(foreach b,,WORDS)", "$(filter %x,WORDS)", "$(patsubst %a,,WORDS)", "$(L:%=)", "$(findstring x,$(L))"],
)
def test_values_that_cost_work_and_stay_empty_are_not_followed(project: Project, inner: str) -> None:
    """Each takes a millisecond for each of thousands of words, which each of thousands of words asks for."""
    words = "a " * 4_000
    empty = inner.replace("WORDS", words * 2)
    text = f"L := {words}\nZ = {empty}\nA = $(foreach i,$(L),$(Z))\nB = $(foreach i,$(L),$(A))\n"
    assert project.listed("Makefile", f"{text}$(B): ;\nlast:\n") == (["last"], [("Makefile", 5)])


def test_a_file_is_included_by_a_class_of_characters(project: Project) -> None:
    project.write("mk.mk", "a:\n")
    project.write("ml.mk", "b:\n")
    assert project.listed("Makefile", "include m[kx].mk\ninclude ?l.mk\n") == (["a", "b"], [])


def test_what_is_appended_to_the_sign_of_a_recipe_changes_it_only_if_there_is_none(project: Project) -> None:
    text = ".RECIPEPREFIX += >\na:\n>echo x: y\n.RECIPEPREFIX += x\nb:\n>echo y: z\n"
    assert project.listed("Makefile", text) == (["a", "b"], [])


@pytest.mark.parametrize("fragment", ["$(", "$(a", "\\\n", "ifdef x\n", "define x\n", "X += $(X)y\n", "a:=", "a\\ "])
def test_a_hostile_makefile_is_read_in_the_end(project: Project, fragment: str) -> None:
    """Quadratic work would take an hour."""
    project.listed("Makefile", "first:\n" + fragment * (200_000 // len(fragment)) + ")" * 1000)
    assert next(iter(project.commands())) == "first"
