"""justfile: its recipes that can be run without arguments, and those of imported files and of modules."""

import platform
import posixpath
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from brummer.core.errors import shown
from brummer.instance.detect import BrokenFile, Mistake, Script
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "just"
FILES_LIMIT = 100
"""Imports and modules of one project. A file may be imported by several, and each may double what follows."""

INCLUDED_LIMIT = 4 * 1024 * 1024
"""Characters of all these together: some seconds."""

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r]+|\\\n|\#[^\n]*)|(?P<newline>\n)
    |(?P<string>'{3}.*?'{3}|\"{3}(?:\\.|[^\\])*?\"{3}|`{3}.*?`{3}|'[^']*'|"(?:\\.|[^"\\])*"|`[^`]*`)
    |(?P<name>[A-Za-z_][\w-]*)|(?P<sign>:=|::|\}\}|.)""",
    re.DOTALL | re.VERBOSE | re.ASCII,
)
_INTERPOLATION = re.compile(r"\{\{(?!\{\{)|\{\{\{\{")
_SYSTEMS = {"Linux": {"linux", "unix"}, "Darwin": {"macos", "unix"}}
_OF_SYSTEMS = frozenset({"linux", "macos", "unix", "windows", "android", "openbsd", "freebsd", "netbsd", "dragonfly"})
_MODULES = ("{}.just", "{}/mod.just", "{}/justfile", "{}/Justfile", "{}/.justfile")


class _Token(NamedTuple):
    kind: str
    text: str


class _Unclosed(Exception):
    """A string or a bracket has no end."""


class _NotUnderstood(Exception):
    """A line is nothing that just knows, or something that only newer versions know."""


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per recipe that is not private; a name with ``_`` in front is."""
    reader = _JustfileReader(project)
    reader.read(text, (source,), "")
    for name, place in reader.recipes.items():
        if place:
            yield Script(name, ["just", name], place, project.directory)
    yield from reader.problems


@dataclass
class _JustfileReader:
    """``recipes``: for each its file; empty if it can't be run, or is private."""

    project: ProjectDirectory
    recipes: dict[str, str] = field(default_factory=dict)
    problems: list[Mistake] = field(default_factory=list)
    files: int = 0
    included: int = 0

    def read(self, text: str, way: tuple[str, ...], module: str) -> None:
        """``way``: the file, after those that lead to it. ``module``: what stands before the names of its recipes."""
        attributes: set[str] = set()
        has_recipe = False
        start, line = 0, 1
        try:
            while start < len(text):
                if text[start] in " \t\n\r#":
                    end = _end_of_body_line(text, start)
                    is_understood = has_recipe or text[start:end].lstrip()[:1] in ("", "#")
                else:
                    tokens, end = _statement(text, start)
                    try:
                        has_recipe = self._item(tokens, attributes, way, module, line)
                        is_understood = True
                    except _NotUnderstood:
                        is_understood = False
                if not is_understood:
                    what = shown(text[start:end].strip())
                    self.problems.append(Mistake(way[-1], line, f"{what!r} is not understood; just may stop here"))
                line += text.count("\n", start, end)
                start = end
        except _Unclosed:
            self.problems.append(Mistake(way[-1], line, "a string or a bracket that begins here has no end"))

    def _item(self, tokens: list[_Token], attributes: set[str], way: tuple[str, ...], module: str, line: int) -> bool:
        """Whether it is a recipe. ``attributes``: those of the lines before it."""
        if not tokens:
            return False
        if tokens[0].text == "[":
            attributes |= _attributes(tokens)
            return False
        own = set(attributes)
        attributes.clear()
        end = _first_colon(tokens)
        if end is None:
            match [token.text for token in tokens]:
                case ["import" | "mod", _, *_]:
                    if "private" not in own:
                        self._other_file(deque(tokens), way, module, line)
                case ["set" | "unexport", _]:
                    pass
                case _:
                    raise _NotUnderstood
            return False
        if tokens[end].text == ":=":
            return False
        header = deque(tokens[tokens[0].text == "@" : end])
        name = _taken(header, "name").text
        needs_arguments = _needs_arguments(header)
        systems = own & _OF_SYSTEMS
        if not systems or systems & _SYSTEMS.get(platform.system(), set()):
            is_private = name.startswith("_") or "private" in own
            self.recipes.setdefault(f"{module}{name}", "" if is_private or needs_arguments else way[-1])
        return True

    def _other_file(self, rest: deque[_Token], way: tuple[str, ...], module: str, line: int) -> None:
        """Reads what an import or a module stands for."""
        is_module = rest.popleft().text == "mod"
        is_optional = rest[0].text == "?"
        if is_optional:
            rest.popleft()
        paths = []
        if is_module:
            name = _taken(rest, "name").text
            module = f"{module}{name}::"
            paths = [form.format(name) for form in _MODULES]
        if rest or not is_module:
            path = _taken(rest, "string").text
            if path[0] == "`" or rest:
                raise _NotUnderstood
            path = path.strip(path[0])
            paths = [*(form.format(path) for form in _MODULES[1:] if is_module), path]
        self._read_first(paths, way, module, line, is_optional=is_optional)

    def _read_first(self, paths: list[str], way: tuple[str, ...], module: str, line: int, *, is_optional: bool) -> None:
        folder = posixpath.dirname(way[-1])
        places = [posixpath.normpath(posixpath.join(folder, _from_home(path))) for path in paths]
        place = next((found for found in places if self.project.exists(found)), None)
        self.files += 1
        if place and not self.project.holds(place):
            self.problems.append(Mistake(way[-1], line, f"{shown(place)} leads out of the repository, and is not read"))
        elif place in way:
            self.problems.append(Mistake(way[-1], line, f"{place} includes itself"))
        elif self.files > FILES_LIMIT:
            self.problems.append(Mistake(way[-1], line, f"{paths[0]} is not read: there are more than {FILES_LIMIT}"))
        elif place:
            try:
                text = self.project.text(place)
            except BrokenFile as error:
                self.problems.append(Mistake(place, error.line, error.message))
                return
            self.included += len(text)
            if self.included > INCLUDED_LIMIT:
                what = f"{shown(place)} is not read: with it the included files exceed {INCLUDED_LIMIT} characters"
                self.problems.append(Mistake(way[-1], line, what))
                return
            self.read(text, (*way, place), module)
        elif not is_optional:
            self.problems.append(Mistake(way[-1], line, f"there is no file {shown(paths[0])}; just stops here"))


def _from_home(path: str) -> str:
    """The path with the home directory in place of ``~/``. Just gives no meaning to ``~user``."""
    return posixpath.expanduser(path) if path.startswith("~/") else path


def _statement(text: str, place: int) -> tuple[list[_Token], int]:
    """The tokens of one statement and the place of its end. A line break in brackets or a string is part of it."""
    tokens: list[_Token] = []
    depth = 0
    while place < len(text):
        token, place = _next(text, place)
        if token.kind == "newline" and depth <= 0:
            break
        if token.kind in ("string", "name", "sign"):
            depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
            tokens.append(token)
    else:
        if depth > 0:
            raise _Unclosed
    return tokens, place


def _next(text: str, place: int) -> tuple[_Token, int]:
    found = _TOKEN.match(text, place)
    if not found or (found.lastgroup == "sign" and found[0] in "'\"`"):
        raise _Unclosed
    return _Token(str(found.lastgroup), found[0]), found.end()


def _end_of_body_line(text: str, place: int) -> int:
    """A line of a recipe goes on where a string between double braces does."""
    end = _end_of_line(text, place)
    is_body = text[place] in " \t"
    while is_body and (opening := _INTERPOLATION.search(text, place, end)):
        place = opening.end()
        last = "" if opening[0] == "{{" else "}}"
        while place < len(text) and last not in ("}}", "\n"):
            token, place = _next(text, place)
            last = token.text
        end = _end_of_line(text, place - 1)
    return end


def _end_of_line(text: str, place: int) -> int:
    return text.find("\n", place) + 1 or len(text)


def _attributes(tokens: list[_Token]) -> set[str]:
    """The names between the brackets, without their arguments."""
    names = set()
    depth = 0
    for before, token in pairwise(tokens):
        if depth == 0 and before.text in ("[", ",") and token.kind == "name":
            names.add(token.text)
        depth += (token.text == "(") - (token.text == ")")
    return names


def _first_colon(tokens: list[_Token]) -> int | None:
    """Of a recipe, or of an assignment."""
    depth = 0
    for place, token in enumerate(tokens):
        if token.kind == "sign":
            if depth == 0 and token.text in (":", ":="):
                return place
            depth += (token.text in "([{") - (token.text in ")]}")
    return None


def _taken(rest: deque[_Token], kind: str) -> _Token:
    """The next one, which must be of this kind."""
    if not rest or rest[0].kind != kind:
        raise _NotUnderstood
    return rest.popleft()


def _needs_arguments(rest: deque[_Token]) -> bool:
    """Whether one of the parameters has no default."""
    needed = False
    while rest:
        sign = rest.popleft().text if rest[0].text in ("*", "+") else ""
        if rest and rest[0].text == "$":
            rest.popleft()
        _taken(rest, "name")
        if rest and rest[0].text == "=":
            rest.popleft()
            _take_value(rest)
        elif sign != "*":
            needed = True
    return needed


def _take_value(rest: deque[_Token]) -> None:
    """Takes a default away: a string, a name, a call or what stands in brackets."""
    if rest and rest[0].kind == "string":
        rest.popleft()
        return
    if not rest or rest[0].text not in ("(", "["):
        name = _taken(rest, "name").text
        if name in ("x", "f") and rest and rest[0].kind == "string":
            rest.popleft()
            return
    depth = 0
    while rest and (depth or rest[0].text in ("(", "[")):
        token = rest.popleft()
        depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
        if not depth:
            return
