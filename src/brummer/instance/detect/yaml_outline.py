"""The outline of a YAML file: which keys a block has, on which lines, and what stands under them.

Not a parser. It understands block style as people write it by hand: keys indented by spaces, quoted or not. It does not
see into flow style (``{a: b}``; lists in one line are understood), and follows no anchors or merges. A key at the left
margin inside a quoted text of several lines would deceive it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_KEY = re.compile(r"""(?!<<:)(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#"'\[{&*!|>%@`-][^\n]*?|-[^\s#][^\n]*?)):(?=[ ]|$)(.*)""")
_ITEM = re.compile(r"-[ ]+(.*)")
_COMMENT = re.compile(r"(?:^|[ ])#.*")


@dataclass(frozen=True, slots=True)
class YamlKey:
    """A key: the rest of its line, without a comment, and the lines beneath it with their numbers."""

    key: str
    line: int
    value: str
    block: list[tuple[int, str]]


def numbered(text: str) -> list[tuple[int, str]]:
    """A text as the block that it is."""
    return list(enumerate(text.splitlines(), 1))


def entries(block: list[tuple[int, str]]) -> Iterator[YamlKey]:
    """The keys of a block, in order; those of the first key's depth only."""
    indent: int | None = None
    current: YamlKey | None = None
    for number, line in block:
        text = line.lstrip(" ")
        if not text or text.startswith(("#", "---")):
            continue
        depth = len(line) - len(text)
        indent = depth if indent is None else indent
        if depth == indent and (match := _KEY.match(text)):
            if current:
                yield current
            key = next(group for group in match.groups()[:3] if group is not None)
            current = YamlKey(key.rstrip(), number, _bare(match[4]), [])
        elif current:
            current.block.append((number, line))
    if current:
        yield current


def entry(block: list[tuple[int, str]], key: str) -> YamlKey | None:
    """The one with this key."""
    return next((found for found in entries(block) if found.key == key), None)


def items(found: YamlKey) -> list[str]:
    """The scalars of a list, in either style."""
    if found.value.startswith("["):
        parts = found.value.strip("[]").split(",")
    else:
        matches = (_ITEM.match(line.lstrip(" ")) for _, line in found.block)
        parts = [match[1] for match in matches if match]
    return [bare for part in parts if (bare := _bare(part))]


def _bare(value: str) -> str:
    value = value.strip()
    if value[:1] in ('"', "'"):
        return value[1:].partition(value[0])[0]
    return _COMMENT.sub("", value).strip()
