"""Sets one member in the text of a JSON file, and leaves every other character as it is: comments, order, indentation.

Editors allow comments and commas after the last member in their settings, so both are read. Pure.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from brummer.core.errors import BrummerError

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_SCALAR: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"|-?\d[\d.eE+-]*|true|false|null')
_INDENT: Final = re.compile(r"\n([ \t]+)\S")
_USUAL_INDENT: Final = "  "


class NotUnderstood(BrummerError):
    """The text is not what it should be; ``line`` counts from 1."""

    code = "file_not_understood"

    def __init__(self, why: str, line: int) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line


@dataclass(slots=True)
class _Node:
    """A value and its place. An object has ``members``; after the last one there may be a comma."""

    start: int
    end: int = 0
    value: Any = None
    members: dict[str, "_Node"] = field(default_factory=dict)
    last_end: int | None = None
    has_last_comma: bool = False


def parsed(text: str) -> Any:
    """The value of a JSON text with comments. Raises NotUnderstood."""
    return _Reader(text).whole().value


def with_member(text: str, path: tuple[str, ...], value: Any) -> str:
    """The text in which the member at ``path`` has this value; objects on the way are added. Raises NotUnderstood."""
    root = _Reader(text).whole()
    if not isinstance(root.value, dict):
        raise NotUnderstood("there is no JSON object", 1)
    node, rest = root, list(path)
    while (name := rest.pop(0)) in node.members and rest:
        node = node.members[name]
        if not isinstance(node.value, dict):
            raise NotUnderstood(f"{name} is not an object", _line_at(text, node.start))
    for outer in reversed(rest):
        value = {outer: value}
    return _Writer(text).set(node, name, value)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def whole(self) -> _Node:
        try:
            root = self._value(self._after_blanks(0))
        except RecursionError:
            raise NotUnderstood("it is nested too deeply", 1) from None
        end = self._after_blanks(root.end)
        if end < len(self._text):
            raise self._wrong("nothing may follow the value", end)
        return root

    def _value(self, at: int) -> _Node:
        opening = self._text[at : at + 1]
        if opening == "{":
            return self._object(at)
        if opening == "[":
            return self._array(at)
        match = _SCALAR.match(self._text, at)
        if match is None:
            raise self._wrong("a value is expected" if opening else "the text ends too early", at)
        try:
            return _Node(at, match.end(), json.loads(match[0]))
        except ValueError:
            raise self._wrong("this value is not JSON", at) from None

    def _object(self, at: int) -> _Node:
        node = _Node(at, value={})
        at = self._after_blanks(at + 1)
        while self._text[at : at + 1] != "}":
            key = self._value(at)
            if not isinstance(key.value, str):
                raise self._wrong("a name in quotes is expected", at)
            at = self._after(":", self._after_blanks(key.end))
            member = self._value(self._after_blanks(at))
            node.members[key.value], node.value[key.value] = member, member.value
            node.last_end = member.end
            at, node.has_last_comma = self._after_comma(member.end, "}")
        node.end = at + 1
        return node

    def _array(self, at: int) -> _Node:
        node = _Node(at, value=[])
        at = self._after_blanks(at + 1)
        while self._text[at : at + 1] != "]":
            item = self._value(at)
            node.value.append(item.value)
            at, _ = self._after_comma(item.end, "]")
        node.end = at + 1
        return node

    def _after_comma(self, at: int, closing: str) -> tuple[int, bool]:
        """Where the next entry or the end is, and whether there was a comma."""
        at = self._after_blanks(at)
        if self._text[at : at + 1] == closing:
            return at, False
        return self._after_blanks(self._after(",", at)), True

    def _after(self, sign: str, at: int) -> int:
        if self._text[at : at + 1] != sign:
            raise self._wrong(f"{sign!r} is expected" if at < len(self._text) else "the text ends too early", at)
        return at + 1

    def _after_blanks(self, at: int) -> int:
        match = _BLANK.match(self._text, at)
        return match.end() if match else at

    def _wrong(self, why: str, at: int) -> NotUnderstood:
        return NotUnderstood(why, _line_at(self._text, at))


class _Writer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        found = _INDENT.search(text)
        self._indent = found[1] if found else _USUAL_INDENT

    def set(self, node: _Node, name: str, value: Any) -> str:
        text = self._text
        if old := node.members.get(name):
            is_on_one_line = "\n" not in text[old.start : old.end]
            shown = _on_one_line(value) if is_on_one_line else self._shown(value, self._indent_of_line(old.start))
            return text[: old.start] + shown + text[old.end :]
        inside, closing = text[node.start + 1 : node.end - 1], node.end - 1
        if "\n" not in inside and node.members:
            comma = " " if node.has_last_comma else ", "
            entry = f"{json.dumps(name)}: {_on_one_line(value)}"
            return text[:closing].rstrip() + comma + entry + text[closing:]
        indent = self._indent_of_line(node.start)
        deeper = indent + self._indent
        entry = f"{json.dumps(name)}: {self._shown(value, deeper)}"
        before = text[:closing]
        if node.last_end is not None and not node.has_last_comma:
            before = text[: node.last_end] + "," + text[node.last_end : closing]
        comma = "," if node.has_last_comma else ""
        return f"{before.rstrip()}{self._newline}{deeper}{entry}{comma}{self._newline}{indent}{text[closing:]}"

    def _shown(self, value: Any, indent: str) -> str:
        lines = json.dumps(value, indent=self._indent, ensure_ascii=False).split("\n")
        return f"{self._newline}{indent}".join(lines)

    def _indent_of_line(self, at: int) -> str:
        line = self._text[self._text.rfind("\n", 0, at) + 1 : at]
        return line[: len(line) - len(line.lstrip(" \t"))]


def _on_one_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _line_at(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
