"""Sets one table in the text of a TOML file, and leaves every other line as it is. Pure.

The text is not parsed for its places: the table's lines are found by their headers, and the result is accepted only if
it means the same as before but for this table.
"""

import contextlib
import json
import re
import tomllib
from itertools import pairwise
from typing import Any, Final

from brummer.cli.json_edit import NotUnderstood

_HEADER: Final = re.compile(r"\s*\[\s*([^\[\]#]+?)\s*\]\s*(?:#.*)?$")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def parsed(text: str) -> dict[str, Any]:
    """Raises NotUnderstood."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise NotUnderstood(str(error), int(line[1]) if line else 1) from None


def with_table(text: str, path: tuple[str, str], table: dict[str, Any]) -> str:
    """The text in which ``[path]`` has these members. Raises NotUnderstood."""
    outer, inner = path
    before = parsed(text)
    if not isinstance(servers := before.get(outer, {}), dict):
        raise NotUnderstood(f"{outer} is not a table", _line_of(outer, text))
    has_windows_ends = "\r\n" in text and text.count("\n") == text.count("\r\n")
    lines = (text.replace("\r\n", "\n") if has_windows_ends else text).rstrip("\n").split("\n") if text.strip() else []
    header = ".".join(map(key, path))
    block = [f"[{header}]", *(f"{key(name)} = {_shown(value)}" for name, value in table.items())]
    mine = [place for place in _places(lines) if _names(lines[place.start], path)]
    for place in reversed(mine):
        lines[place.start : place.stop] = block if place is mine[0] else []
    if not mine:
        lines += [*([""] if lines else []), *block]
    after = "\n".join([*lines, ""])
    if has_windows_ends:
        after = after.replace("\n", "\r\n")
    expected = {**before, outer: {**servers, inner: table}}
    with contextlib.suppress(NotUnderstood):
        if parsed(after) == expected:
            return after
    raise NotUnderstood(f"{header} is written in a way that this command does not change", _line_of(inner, text))


def _line_of(word: str, text: str) -> int:
    return next((n for n, line in enumerate(text.split("\n"), 1) if word in line), 1)


def _places(lines: list[str]) -> list[range]:
    """The lines of each table, from its header to its last one that is neither blank nor a comment."""
    starts = [n for n, line in enumerate(lines) if _HEADER.match(line) or line.lstrip().startswith("[[")]
    places = []
    for start, end in pairwise([*starts, len(lines)]):
        stop = end
        while stop > start + 1 and lines[stop - 1].strip()[:1] in {"", "#"}:
            stop -= 1
        places.append(range(start, stop))
    return places


def _names(header: str, path: tuple[str, str]) -> bool:
    """Whether it is the header of the table, or of a table in it."""
    match = _HEADER.match(header)
    if match is None:
        return False
    try:
        inner: object = tomllib.loads(f"[{match[1]}]")
    except tomllib.TOMLDecodeError:
        return False
    for part in path:
        inner = inner.get(part) if isinstance(inner, dict) else None
    return inner is not None


def key(name: str) -> str:
    """The name as a key of TOML, in quotes if it needs them."""
    return name if _BARE.fullmatch(name) else _shown(name)


def _shown(value: Any) -> str:
    if isinstance(value, str):  # a basic string has the escapes of JSON; DEL must be escaped, too
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key(name)} = {_shown(each)}' for name, each in value.items())} }}" if value else "{}"
    return str(value.isoformat())  # a date or a time
