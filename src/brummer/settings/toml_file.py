"""One TOML file with the line of each key, so that an error can name the line. Pure: it comes as text.

``tomllib`` gives no positions, so a scanner of our own reads the same text when a line is needed. It can be simple,
because it only gets text that ``tomllib`` has accepted.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from brummer.core.errors import BrummerError

LINE_LIMIT = 16 * 1024
"""``tomllib`` takes a dotted key in quadratic time: half a minute for one of half a megabyte."""


PARTS_LIMIT = 64
"""Of a dotted key, as each takes the time and the room of all before it; files that people write are flatter."""


class SettingsInvalid(BrummerError):
    """A setting is invalid. ``context`` has ``path``, ``line`` and ``key`` if they are known."""

    code = "settings_invalid"

    def __init__(self, what: str, *, path: str | None = None, line: int | None = None, **context: object) -> None:
        place = path if line is None else f"{path}:{line}"
        super().__init__(f"{place}: {what}" if place else what)
        self.what = what
        self.path = path
        self.line = line
        self.context = {"path": path, "line": line, **context}


class TomlFile:
    """``table`` is what ``tomllib`` made of it. `line_of` says where a key of it stands."""

    def __init__(self, path: Path, table: dict[str, Any], text: str) -> None:
        self.path = path
        self.table = table
        self._text = text
        self._lines: dict[tuple[str, ...], int] | None = None

    def line_of(self, key: tuple[str, ...]) -> int | None:
        """The line, from 1, of a key or a table's header; for what has none of its own, that of what it is in.

        None if it is not known.
        """
        if self._lines is None:
            self._lines = _lines(self._text)
        while key and key not in self._lines:
            key = key[:-1]
        return self._lines.get(key)

    def invalid(
        self, what: str, key: tuple[str, ...], kind: type[SettingsInvalid] | None = None, **context: object
    ) -> SettingsInvalid:
        """The error, of that ``kind``, for the value at this key."""
        path, line = str(self.path), self.line_of(key)
        return (kind or SettingsInvalid)(what, path=path, line=line, key=".".join(key), **context)


def load(path: Path, text: str) -> TomlFile:
    """Raises `SettingsInvalid` for a text that is no TOML."""
    import tomllib  # noqa: PLC0415 — 20 ms, and most people have no such file

    for number, content in enumerate(text.split("\n"), 1):
        if len(content) > LINE_LIMIT:
            raise SettingsInvalid(f"longer than {LINE_LIMIT} characters", path=str(path), line=number)
        if content.count(".") >= PARTS_LIMIT and re.search(_LONG_KEY, content):
            raise SettingsInvalid(f"a key of more than {PARTS_LIMIT} parts", path=str(path), line=number)
    try:
        return TomlFile(path, tomllib.loads(text), text)
    except RecursionError:
        raise SettingsInvalid("its brackets are nested too deep", path=str(path)) from None
    except ValueError as error:  # TOMLDecodeError is one, and so is what int() says of a million digits
        what, line = _place(str(error), text)
        raise SettingsInvalid(f"this is no TOML: {what}", path=str(path), line=line) from None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to this one."""
    from difflib import get_close_matches  # noqa: PLC0415 — 5 ms, only for errors

    return next(iter(get_close_matches(name, known, 1)), None)


def _place(error: str, text: str) -> tuple[str, int | None]:
    """``tomllib``'s sentence ends in the place, which is a field of its own only from Python 3.14 on."""
    if match := re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", error):
        return error[: match.start()], int(match[1]) if match[1] else text.count("\n") + 1
    return error, None


# The scanner. Its patterns are compiled where they are used: that costs a millisecond, and only an error needs them.

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
_KEY = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_LONG_KEY = rf"""(?<![A-Za-z0-9_-])(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{PARTS_LIMIT}}}"""
"""Also in a string, where nobody has so many words with only a dot between each two."""
_STATEMENT = rf"[ \t]*(?:\[\[?[ \t]*(?P<header>{_KEY})|(?P<key>{_KEY})[ \t]*=)"
_SKIPPED = r""""{3}(?:\\.|[^\\])*?"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*"""
_TOKEN = rf"{_SKIPPED}|[\[\]{{}}\n]"


def _lines(text: str) -> dict[tuple[str, ...], int]:
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for line, header, key in _statements(text):
        table = header or table
        path = table + key
        for length in range(1, len(path) + 1):
            lines.setdefault(path[:length], line)
    return lines


def _statements(text: str) -> Iterator[tuple[int, tuple[str, ...], tuple[str, ...]]]:
    """Of each statement its line, and the table that it opens, or the key in the open table that it sets."""
    statement, position, line = re.compile(_STATEMENT), 0, 1
    while position < len(text):
        start = position
        if match := statement.match(text, start):
            yield line, _parts(match["header"]), _parts(match["key"])
            position = match.end()
        position = _end(text, position, depth=1 if match and match["header"] else 0)
        line += text.count("\n", start, position)


def _end(text: str, position: int, depth: int) -> int:
    """Where the statement ends: after the first line break that is in no bracket and no string."""
    for token in re.compile(_TOKEN, re.DOTALL).finditer(text, position):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if token[0] == "\n" and depth <= 0:
            return token.end()
    return len(text)


def _parts(key: str | None) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, key)) if key else ()
