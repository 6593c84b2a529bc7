"""The lines of an env file: ``NAME=value``, as docker, Node and direnv's users write them. Pure.

Comments, blank lines and a leading ``export`` are allowed. Single quotes keep what is in them; in double quotes a
backslash before n, t, r, a quote or another backslash means what it means in C. Nothing is expanded: what ``$`` means
differs from tool to tool.
"""

import re

_NAME = re.compile(r"\s*+(?:export\s++)?([A-Za-z_][\w.-]*+)\s*+=")
_QUOTED = {"'": re.compile(r"'([^']*+)'"), '"': re.compile(r'"((?:[^"\\]|\\.)*+)"')}
_COMMENT = re.compile(r"(?:^|(?<=\s))#")
_ESCAPE = re.compile(r"\\(.)")
_MEANS = {"n": "\n", "t": "\t", "r": "\r"}


class BadLine(Exception):
    """``number`` counts from 1. The line itself is not repeated: there may be a secret in it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"line {number} is not NAME=value")
        self.number = number


def parsed(text: str) -> dict[str, str]:
    """The variables, the last of a name wins. Raises BadLine."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name = _NAME.match(line)
        value = _value(line[name.end() :].strip()) if name else None
        if name is None or value is None or "\0" in line:
            raise BadLine(number)
        found[name[1]] = value
    return found


def _value(text: str) -> str | None:
    """None where a quotation has no end, or is followed by more than a comment."""
    if not text or text[0] not in _QUOTED:
        return _COMMENT.split(text, maxsplit=1)[0].rstrip()
    quoted = _QUOTED[text[0]].match(text)
    rest = text[quoted.end() :].lstrip() if quoted else ""
    if quoted is None or (rest and not rest.startswith("#")):
        return None
    return quoted[1] if text[0] == "'" else _ESCAPE.sub(lambda escape: _MEANS.get(escape[1], escape[1]), quoted[1])
