"""Makefile: its explicit targets, and those of the files that it includes.

Variables and conditions are followed as far as the text decides them, by `brummer.instance.detect.make_variables`.
Where only make could know the names of targets, a problem says so.
"""

import os.path
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from brummer.core.errors import shown
from brummer.instance.detect import BrokenFile, Mistake, Script, UnreadNames
from brummer.instance.detect.make_variables import MakeVariables, Unknown, outside_references, split_arguments
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "make"
TAKES_ANY_BYTES = True
"""Old ones have their authors' names in Latin-1."""
INCLUDES_LIMIT = 20
"""Files that one makefile includes; people include three."""

_MODIFIERS = re.compile(r"\A(?:(?:override|export|private)[ \t]+)*")
_WORD = re.compile(r"[\w.-]*")
_SIGN = re.compile(r"\\.|\$\$|\$?[({]|[)}]|[:?+!]{0,3}=|:")
_OWN_VARIABLE = re.compile(r"\s*(?:(?:override|export|private|unexport)\s+)*[^\s:=#?+!;]+\s*(?::{0,3}|[?+!])=")
"""After the colon of a rule: the variable of a target."""
_EVAL = re.compile(r"\$[({]eval\s(?!\s*[\w.-]+\s*[:?+]*=)")
"""What may make rules; one that sets a variable makes none."""
_CALL = re.compile(r"\$[({]call\s+([\w.-]+)|\A\$[({]([\w.-]+)[)}]\Z")
_ESCAPED = re.compile(r"\\([\\:# \t%])")
_WORDS = re.compile(r"(?:\\.|[^\s\\])+", re.DOTALL)
_WILD = frozenset("*?[")
_INCLUDE = frozenset({"include", "-include", "sinclude"})
_NO_RULE = frozenset({"vpath", "export", "unexport", "undefine", "load", "-load", "private", "override"})
_CONDITIONS = frozenset({"ifeq", "ifneq", "ifdef", "ifndef"})


@dataclass
class _OpenCondition:
    """An open one. Whether make reads the lines around it, and whether it has read one of its branches; None if only
    make can decide that.
    """

    line: int
    outer: bool | None
    was_taken: bool | None


@dataclass
class _OpenDefinition:
    """An open ``define``; ``depth`` counts those within it."""

    line: int
    name: str
    operator: str
    depth: int
    text: list[str]


@dataclass
class _OpenMakefile:
    """Where the reading of one file stands. ``is_read``: whether make reads the present line; None if only it can
    decide that.
    """

    source: str
    is_read: bool | None
    unread: UnreadNames
    conditions: list[_OpenCondition] = field(default_factory=list)
    definition: _OpenDefinition | None = None
    is_in_rule: bool = False


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per target, in the order of their first rules."""
    reader = _MakefileReader(project)
    reader.read(text, source, is_read=True)
    for target, place in reader.targets.items():
        yield Script(target, ["make", target], place, project.directory)
    yield from reader.problems
    for line, place, name in reader.missing:
        if name not in reader.targets:  # or else make makes it
            yield Mistake(place, line, f"it includes {shown(name)}, which is not there")
    for names in reader.unread:
        yield from names.problem()


class _MakefileReader:
    """What the lines say, in their order, across included files."""

    def __init__(self, project: ProjectDirectory) -> None:
        self.targets: dict[str, str] = {}
        self.problems: list[Mistake] = []
        self.missing: list[tuple[int, str, str]] = []
        self.unread: list[UnreadNames] = []
        self._project = project
        self._variables = MakeVariables(project)
        self._included: set[str] = set()
        self._recipe_sign = "\t"

    def read(self, text: str, source: str, *, is_read: bool | None) -> None:
        """One file, and each that it includes where it does."""
        self._included.add(source)
        file = _OpenMakefile(source, is_read, UnreadNames(source))
        self.unread.append(file.unread)
        for number, line in _logical_lines(text):
            if file.definition:
                self._define(line, file)
            elif not line.startswith(self._recipe_sign):
                self._statement(number, _without_comment(line).strip(), file, is_recipe=False)
            elif not file.is_in_rule:
                self._statement(number, _without_comment(line).strip(), file, is_recipe=True)
        if file.definition:
            self._problem(file, file.definition.line, "a define without an endef")
        for condition in file.conditions:
            self._problem(file, condition.line, "a condition without an endif")

    def _problem(self, file: _OpenMakefile, line: int, message: str) -> None:
        self.problems.append(Mistake(file.source, line, message))

    def _define(self, line: str, file: _OpenMakefile) -> None:
        """A line with a tab in front is text, whatever it holds."""
        definition = file.definition
        if not definition:
            return
        words = [] if line.startswith("\t") else _without_comment(line).split(None, 1)
        definition.depth += (words[:1] == ["define"]) - (words[:1] == ["endef"])
        if definition.depth:
            definition.text.append(line)
            return
        value = "\n".join(definition.text)
        if file.is_read is not False:
            self._variables.set(definition.name, definition.operator, value, is_certain=file.is_read is True)
        file.definition = None

    def _statement(self, number: int, line: str, file: _OpenMakefile, *, is_recipe: bool) -> None:
        word = _WORD.match(line)
        first = word[0] if word else ""
        rest = line[len(first) :]
        is_word = rest[:1] in ("", " ", "\t", "(")
        if is_word and first in _CONDITIONS | {"else", "endif"}:
            self._condition(number, first, rest.strip(), file)
        elif (body := _MODIFIERS.sub("", line, count=1)).startswith(("define ", "define\t")):
            file.is_in_rule = False
            name, operator, _ = _split(body[len("define") :])
            file.definition = _OpenDefinition(number, name.strip(), operator or "=", 1, [])
        elif not line or file.is_read is False:
            return
        elif is_word and not rest.lstrip().startswith((":", "=", "?=", "+=")) and first in _INCLUDE:
            file.is_in_rule = False
            self._include(number, rest, file, is_needed=first == "include")
        else:
            self._assignment_or_rule(number, line, file, is_recipe=is_recipe)

    def _assignment_or_rule(self, number: int, line: str, file: _OpenMakefile, *, is_recipe: bool) -> None:
        left, operator, right = _split(_MODIFIERS.sub("", line, count=1))
        if operator.endswith("="):
            file.is_in_rule = False
            self._assign(left.strip(), operator, right.strip(), file)
        elif line.split(None, 1)[0] in _NO_RULE:
            file.is_in_rule = False
        elif operator:
            self._rule(number, left, right, file, is_recipe=is_recipe)
        else:
            self._expression(number, line, file)

    def _expression(self, number: int, line: str, file: _OpenMakefile) -> None:
        """A line that becomes something only when make expands it."""
        try:
            text = self._variables.expand(line).replace("$", "$$").strip()
        except Unknown:
            if outside_references(line).strip():
                text = line
            else:
                if _EVAL.search(line) or any(self._makes_rules(*names) for names in _CALL.findall(line)):
                    file.unread.add(number, line)
                return
        left, operator, right = _split(text)
        if operator == ":":
            self._rule(number, left, right, file, is_recipe=False)
        elif text and not operator:
            self._problem(file, number, f"{shown(line)!r} is no rule, variable or directive; make stops here")

    def _makes_rules(self, called: str, alone: str) -> bool:
        """Whether an expansion of this variable may do so; one that only checks or prints something does not."""
        text = self._variables.text_of(called or alone)
        return text is None or bool(_EVAL.search(text))

    def _assign(self, name: str, operator: str, value: str, file: _OpenMakefile) -> None:
        if name == ".RECIPEPREFIX":
            if operator != "+=" or self._recipe_sign == "\t":  # its first character counts, and stays
                self._recipe_sign = value[:1] or "\t"
            return
        try:
            self._variables.set(self._variables.expand(name), operator, value, is_certain=file.is_read is True)
        except Unknown:
            self._variables.all_are_known = False

    def _rule(self, number: int, left: str, right: str, file: _OpenMakefile, *, is_recipe: bool) -> None:
        if is_recipe:
            self._problem(file, number, "a recipe before the first target; make stops here")
            return
        if _OWN_VARIABLE.match(right.removeprefix(":")):
            return
        file.is_in_rule = True
        if "%" in outside_references(left):
            return
        try:
            names = [
                _ESCAPED.sub(r"\1", name) for name in _WORDS.findall(self._variables.expand(left.removesuffix("&")))
            ]
        except Unknown:
            file.unread.add(number, left.strip())
            return
        for name in names:
            target = name.removeprefix("./")
            if any(sign in target for sign in "*?[\ufffd"):
                file.unread.add(number, target)
            elif target and target[0] not in ".-~" and not any(sign in target for sign in "(%"):
                self.targets.setdefault(target, file.source)

    def _condition(self, number: int, word: str, rest: str, file: _OpenMakefile) -> None:
        """A branch is left out if it is certain that make leaves it out."""
        if word in _CONDITIONS:
            holds = False if file.is_read is False else self._holds(word, rest)
            file.conditions.append(_OpenCondition(number, file.is_read, was_taken=holds))
            file.is_read = _both(file.is_read, holds)
        elif not file.conditions:
            self._problem(file, number, f"{word} without a condition; make stops here")
        elif word == "endif":
            file.is_read = file.conditions.pop().outer
        else:
            condition = file.conditions[-1]
            also, _, rest = rest.partition(" ")
            holds = self._holds(also, rest.strip()) if also in _CONDITIONS else True
            file.is_read = _both(condition.outer, _both(_not(condition.was_taken), holds))
            condition.was_taken = _not(_both(_not(condition.was_taken), _not(holds)))

    def _holds(self, word: str, rest: str) -> bool | None:
        try:
            if word in ("ifdef", "ifndef"):
                name = self._variables.expand(rest)
                return bool(self._variables.expand(f"$({name})")) == (word == "ifdef")
            if rest.startswith("("):
                one, *others = split_arguments(rest[1:].rstrip().removesuffix(")"), 2)
                other = others[0] if others else ""
            else:
                one, _, after = rest[1:].partition(rest[:1] or '"')
                other = after.strip()[1:-1]
            return (self._variables.expand(one.strip()) == self._variables.expand(other.strip())) == (word == "ifeq")
        except Unknown:
            return None

    def _include(self, number: int, rest: str, file: _OpenMakefile, *, is_needed: bool) -> None:
        try:
            names = self._variables.expand(rest).split()
        except Unknown:
            if not self._are_dependencies(rest):
                self._not_included(number, rest.strip(), "is named by what only make can know", file)
            return
        for name in names:
            try:
                found = self._found(name.removeprefix(f"{self._project.directory}/"))
            except BrokenFile as error:
                self._not_included(number, name, error.message, file)
                continue
            if not found and is_needed:
                self.missing.append((number, file.source, name.removeprefix("./")))
                self._variables.all_are_known = False
            for each in found:
                self._read_included(number, each, file)

    def _found(self, name: str) -> list[str]:
        """The files that a name or a pattern stands for, within the repository."""
        path = os.path.normpath(name)
        if not _WILD & {*path} and not self._project.exists(path):
            return []
        if path.startswith("..") and self._project.holds(path):
            return [path]
        return [each for each in self._project.matching(path) if self._project.exists(each)]

    def _read_included(self, number: int, name: str, file: _OpenMakefile) -> None:
        if name in self._included:
            return
        if len(self._included) > INCLUDES_LIMIT:
            self._not_included(number, name, f"is one of more than {INCLUDES_LIMIT} files", file)
            return
        try:
            text = self._project.text(name, lenient=True)
        except BrokenFile as error:
            self._not_included(number, name, error.message, file)
            return
        self.read(text, name, is_read=file.is_read)

    def _not_included(self, number: int, name: str, why: str, file: _OpenMakefile) -> None:
        self._variables.all_are_known = False
        self._problem(file, number, f"Brummer does not read the included file {shown(name)}: {why}")

    def _are_dependencies(self, rest: str) -> bool:
        """Whether they are what a compiler writes about header files: those have no targets to run."""
        names = [rest, *(self._variables.text_of(name) or "" for name in re.findall(r"\A\s*\$[({]([\w.-]+)[)}]", rest))]
        return any(re.search(r"\.(?:d|dep|P)\b", name) for name in names)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each with the number of its first line; a line that ends in a backslash goes on in the next one."""
    parts: list[str] = []
    first = 1
    for number, line in enumerate(text.split("\n"), 1):
        first = first if parts else number
        if (len(line) - len(line.rstrip("\\"))) % 2:
            parts.append(line[:-1])
            continue
        yield first, " ".join([*parts, line]) if parts else line
        parts = []
    if parts:
        yield first, " ".join(parts)


def _both(one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001 - as `and`, where None is "perhaps"
    return False if one is False or other is False else None if one is None or other is None else True


def _not(value: bool | None) -> bool | None:  # noqa: FBT001 - as above
    return None if value is None else not value


def _without_comment(line: str) -> str:
    place = line.find("#")
    while place > 0 and line[place - 1] == "\\":
        place = line.find("#", place + 1)
    return line if place < 0 else line[:place]


def _split(line: str) -> tuple[str, str, str]:
    """At the first colon or sign of assignment outside references: what is before it, it, and the rest."""
    depth = 0
    for found in _SIGN.finditer(line):
        sign = found[0]
        if sign in ("$(", "${") or (depth and sign in "({"):
            depth += 1
        elif depth and sign in ")}":
            depth -= 1
        elif depth == 0 and sign[-1] in ":=" and sign[0] != "\\":
            return line[: found.start()], sign, line[found.end() :]
    return line, "", ""
