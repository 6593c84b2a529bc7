"""What the variables of a makefile stand for, as far as its text says so.

Pure, but for the names of files that ``$(wildcard)`` asks for. What only make can know (the output of a program, a
function that is not here, a value from a file that could not be read) is `Unknown`, and so is what is too long.
"""

import platform
from collections.abc import Callable
from typing import Final

from brummer.instance.detect import BrokenFile
from brummer.instance.detect.project import ProjectDirectory

LENGTH_LIMIT = 16 * 1024
"""Characters of one value: lists of names have a few hundred, and a few lines can make a value of any length."""
WORK_LIMIT = 4 * 1024 * 1024
"""Characters of texts with references, of their values and of lists of words that are gone through for one makefile and
what it includes: about a second's work.
"""
NESTED_LIMIT = 16
"""How deep references may be nested; a variable that holds itself has no depth."""

_FROM_OUTSIDE: Final = frozenset(
    (
        *("CC", "CXX", "CPP", "LD", "AR", "AS", "RM", "SHELL", "VPATH", "@", "<", "^", "+", "?", "*", "%", "|"),
        *("MAKE", "MAKEFLAGS", "MAKEFILES", "MAKEFILE_LIST", "MAKECMDGOALS", "MAKELEVEL", "MAKE_VERSION", "MAKE_HOST"),
        *("HOME", "USER", "LOGNAME", "PATH", "PWD", "HOSTNAME", "TMPDIR", "TERM", "LANG", "EDITOR", "VIRTUAL_ENV"),
        *("GOPATH", "GOROOT", "GOBIN", "GOOS", "GOARCH"),
    )
)
"""What make itself sets, or usually the environment; any other variable that nobody sets is empty."""
_CLOSING: Final = {"(": ")", "{": "}"}


class Unknown(Exception):
    """Only make can know this."""


class MakeVariables:
    """Of one makefile and what it includes. `set` them in the order of the lines; `expand` a text."""

    def __init__(self, project: ProjectDirectory) -> None:
        self.all_are_known = True
        """Whether what is not set here is set nowhere; not if an included file could not be read."""
        self._project = project
        self._values: dict[str, str | None] = {"CURDIR": project.directory.replace("$", "$$")}
        self._simple: set[str] = set()
        self._work = 0

    def set(self, name: str, operator: str, value: str, *, is_certain: bool) -> None:
        """``operator``: that of the assignment. ``is_certain``: false under a condition that only make can decide."""
        if operator == "?=" and name in self._values:
            return
        if not is_certain or operator == "!=":
            self._values[name] = None
            return
        before = self._values.get(name, "") if operator == "+=" else ""
        if before is None:
            return
        is_simple = operator in (":=", "::=", ":::=") or (operator == "+=" and name in self._simple)
        try:
            value = self.expand(value).replace("$", "$$") if is_simple else value
            self._values[name] = _not_too_long(f"{before} {value}".strip(" "))
        except Unknown:
            self._values[name] = None
        if operator != "+=":
            (self._simple.add if is_simple else self._simple.discard)(name)

    def text_of(self, name: str) -> str | None:
        """Its value as it is written; None if it is not known."""
        return self._values.get(name)

    def expand(self, text: str, depth: int = 0, own: dict[str, str] | None = None) -> str:
        """The text with its references replaced. ``own``: variables of a ``foreach``. Raises `Unknown`."""
        if depth > NESTED_LIMIT:
            raise Unknown
        if "$" not in text:
            return _not_too_long(text)
        self._spend(len(text))  # it is gone through, whatever becomes of it
        parts: list[str] = []
        place = 0
        while (dollar := text.find("$", place)) >= 0:
            parts.append(text[place:dollar])
            following = text[dollar + 1 : dollar + 2]
            place = dollar + 2
            if following in _CLOSING:
                end = _end_of_reference(text, place, following)
                parts.append(self._reference(text[place:end], depth + 1, own or {}))
                place = end + 1
            else:
                parts.append("$" if following == "$" else self._variable(following, depth + 1, own or {}))
        return self._counted("".join([*parts, text[place:]]))

    def _counted(self, text: str) -> str:
        self._spend(len(text))
        return _not_too_long(text)

    def _spend(self, characters: int) -> None:
        self._work += characters
        if self._work > WORK_LIMIT:
            raise Unknown

    def _variable(self, name: str, depth: int, own: dict[str, str]) -> str:
        if name in own:
            return own[name]
        if name not in self._values:
            if self.all_are_known and name not in _FROM_OUTSIDE:
                return ""
            raise Unknown
        value = self._values[name]
        if value is None:
            raise Unknown
        return self.expand(value, depth, own)

    def _reference(self, inside: str, depth: int, own: dict[str, str]) -> str:
        """What stands between the brackets: a function's call, a variable, or one with a substitution."""
        function, _, rest = inside.partition(" ")
        if function == "foreach" and len(arguments := split_arguments(rest, 3)) == 3:  # noqa: PLR2004 - its grammar
            name, words, body = arguments
            each = self._counted(self.expand(words, depth, own)).split()
            self._fits(each, body)
            return " ".join(self.expand(body, depth, {**own, name.strip(): word}) for word in each)
        if function in _FUNCTIONS:
            count, apply = _FUNCTIONS[function]
            arguments = [self.expand(part, depth, own) for part in split_arguments(rest, count)]
            if len(arguments) != count:
                raise Unknown
            patterns = arguments[0].count("%")  # each is tried on every word
            self._spend(len(arguments[-1]) * (1 + patterns) + sum(map(len, arguments)))
            self._fits(arguments[-1].split() or [""], *arguments[:-1])
            return self._counted(apply(*arguments))
        if function == "wildcard":
            return " ".join(self._files(self.expand(rest, depth, own)))
        if function == "shell":
            return self._output(self.expand(rest, depth, own))
        name = self.expand(inside, depth, own)
        variable, colon, substitution = name.partition(":")
        if any(blank in name for blank in " \t,"):
            raise Unknown
        value = self._counted(self._variable(variable, depth, own))
        if not colon:
            return value
        old, _, new = substitution.partition("=")
        self._fits(value.split(), new)
        return _patsubst(*((old, new) if "%" in old else (f"%{old}", f"%{new}")), value)

    @staticmethod
    def _fits(words: list[str], *repeated: str) -> None:
        """Whether text that is repeated for each word stays within the limit."""
        if len(words) * max(map(len, repeated), default=0) > LENGTH_LIMIT:
            raise Unknown

    def _output(self, command: str) -> str:
        """Of the programs that decide in so many makefiles what they have."""
        match command.split():
            case ["uname"] | ["uname", "-s"]:
                return platform.system()
            case ["uname", "-m"]:
                return platform.machine()
            case ["pwd"]:
                return self._project.directory
            case _:
                raise Unknown

    def _files(self, patterns: str) -> list[str]:
        try:
            return [
                found
                for pattern in patterns.split()
                for found in self._project.matching(pattern)
                if self._project.exists(found)
            ]
        except BrokenFile:
            raise Unknown from None


def _not_too_long(text: str) -> str:
    if len(text) > LENGTH_LIMIT:
        raise Unknown
    return text


def outside_references(text: str) -> str:
    """What stands there whatever the variables and functions become."""
    parts: list[str] = []
    place = 0
    while (dollar := text.find("$", place)) >= 0:
        parts.append(text[place:dollar])
        opening = text[dollar + 1 : dollar + 2]
        try:
            place = dollar + 2 if opening not in _CLOSING else _end_of_reference(text, dollar + 2, opening) + 1
        except Unknown:
            return text
    return "".join([*parts, text[place:]])


def split_arguments(text: str, count: int) -> list[str]:
    """At the commas outside brackets; what follows the last one that counts is one argument."""
    parts: list[str] = []
    depth = start = 0
    for place, sign in enumerate(text):
        if sign in "({":
            depth += 1
        elif sign in ")}":
            depth -= 1
        elif sign == "," and depth == 0 and len(parts) < count - 1:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def _end_of_reference(text: str, place: int, opening: str) -> int:
    depth, closing = 1, _CLOSING[opening]
    for end in range(place, len(text)):
        if text[end] == opening:
            depth += 1
        elif text[end] == closing:
            depth -= 1
            if depth == 0:
                return end
    raise Unknown


def _patsubst(old: str, new: str, text: str) -> str:
    return " ".join(_substituted(old.strip(), new.strip(), word) for word in text.split())


def _substituted(old: str, new: str, word: str) -> str:
    before, percent, after = old.partition("%")
    if not percent:
        return new if word == old else word
    if len(word) < len(before) + len(after) or not (word.startswith(before) and word.endswith(after)):
        return word
    return new.replace("%", word[len(before) : len(word) - len(after)], 1)


def _chosen(patterns: str, text: str, *, wanted: bool) -> str:
    plain = {pattern for pattern in patterns.split() if "%" not in pattern}
    ends = [pattern.partition("%") for pattern in patterns.split() if "%" in pattern]
    if len(ends) > NESTED_LIMIT:
        raise Unknown

    def is_among(word: str) -> bool:
        return word in plain or any(
            len(word) >= len(before) + len(after) and word.startswith(before) and word.endswith(after)
            for before, _, after in ends
        )

    return " ".join(word for word in text.split() if is_among(word) == wanted)


def _without_suffix(path: str) -> str:
    stem, dot, suffix = path.rpartition(".")
    return stem if dot and "/" not in suffix else path


def _each(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: " ".join(change(word) for word in text.split())


_FUNCTIONS: Final[dict[str, tuple[int, Callable[..., str]]]] = {
    "patsubst": (3, _patsubst),
    "subst": (3, lambda old, new, text: text.replace(old, new) if old else f"{text}{new}"),
    "addprefix": (2, lambda prefix, text: " ".join(f"{prefix}{word}" for word in text.split())),
    "addsuffix": (2, lambda suffix, text: " ".join(f"{word}{suffix}" for word in text.split())),
    "filter": (2, lambda patterns, text: _chosen(patterns, text, wanted=True)),
    "filter-out": (2, lambda patterns, text: _chosen(patterns, text, wanted=False)),
    "findstring": (2, lambda part, text: part if part in text else ""),
    "strip": (1, lambda text: " ".join(text.split())),
    "sort": (1, lambda text: " ".join(sorted(set(text.split())))),
    "notdir": (1, _each(lambda path: path.rpartition("/")[2])),
    "basename": (1, _each(_without_suffix)),
}
"""How many arguments each takes, and what it makes of them."""
