"""mix.exs: its aliases, the server of Phoenix, and test."""

import re
from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script, UnreadNames
from brummer.instance.detect.decoding import conflict_in
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "mix"
_PHOENIX = re.compile(r"^[^#\n]*\{:phoenix,", re.MULTILINE)
_ALIASES = re.compile(
    r"""^[^#\n]*?(?<![\w:"])aliases:[ ]*
    (?:(?P<list>\[)|(?P<name>[a-z_]\w*[?!]?)[ ]*+(?:\([ ]*\))?+[ ]*+(?=[,\]]|$))?""",
    re.MULTILINE | re.VERBOSE,
)
# What is open at the end ends there, so that none can search a text twice.
_TOKEN = re.compile(
    r"""\#[^\n]*|"{3}.*?(?:"{3}|\Z)
    |~[a-zA-Z]+(?:\([^)]*(?:\)|\Z)|\[[^\]]*(?:\]|\Z)|\{[^}]*(?:\}|\Z)|"[^"]*(?:"|\Z)|/[^/]*(?:/|\Z)|\|[^|]*(?:\||\Z))
    |"(?P<quoted>(?:\\.|[^"\\])*)(?:"|\\?\Z)(?P<colon>:(?!:))?|'(?:\\.|[^'\\])*(?:'|\\?\Z)
    |(?P<key>[a-zA-Z_]\w*[?!]?):(?=\s)
    |(?P<open>[\[({]|\b(?:fn|do)\b)|(?P<close>[\])}]|\bend\b)|\?\\?.|:?\w+[?!]?|(?P<blank>\s+)|.""",
    re.DOTALL | re.VERBOSE,
)


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``server`` with Phoenix, else ``run``; then the aliases and ``test``."""
    commands = {"server": ["mix", "phx.server"]} if _PHOENIX.search(text) else {"run": ["mix", "run", "--no-halt"]}
    unread = UnreadNames(source)
    if option := _ALIASES.search(text):
        start = option.start("list") if option["list"] else _start_of_body(text, option["name"])
        names, is_all = _keys(text, start)
        for name in names:
            commands.setdefault(name, ["mix", name])
        if not is_all:
            place = option.start() if start < 0 else start
            unread.add(text.count("\n", 0, place + 1) + 1, text[place:].strip().partition("\n")[0])
    commands.setdefault("test", ["mix", "test"])
    for name, command in commands.items():
        yield Script(name, command, source, project.directory)
    yield from conflict_in(text, source)
    yield from unread.problem()


def _start_of_body(text: str, name: str | None) -> int:
    """Where the function of this name, without arguments, begins to say what it returns; -1 if it is not found."""
    if not name:
        return -1
    head = rf"^[ \t]*defp?[ ]+{re.escape(name)}[ ]*+(?:\([ ]*\))?+[ ]*+(?:,[ ]*do:|do\b)"
    found = re.search(head, text, re.MULTILINE)
    return found.end() if found else -1


def _keys(text: str, start: int) -> tuple[list[str], bool]:
    """The keys of the list that begins there, and whether they are all that it returns."""
    names: list[str] = []
    depth = 0
    if start < 0:
        return names, False
    for token in _TOKEN.finditer(text, start):
        if token["blank"] or token[0].startswith("#"):
            continue
        if depth == 0 and token[0] != "[":
            break
        if depth == 1 and (token["key"] or token["colon"]):
            names.append(token["key"] or token["quoted"])
        depth += bool(token["open"]) - bool(token["close"])
        if depth == 0:
            after = text[token.end() : token.end() + 100].split(None, 1)
            return names, not after or after[0].startswith(("end", ",", "]", "#", "def"))
    return names, False
