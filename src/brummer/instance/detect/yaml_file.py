"""YAML as tables that know the lines of their keys. Import it only where there is such a file: PyYAML takes 20 ms."""

from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from brummer.instance.detect import BrokenFile

MERGED_LIMIT = 100_000
"""Keys that one document may merge (``<<``): people merge dozens, and a few lines can ask for billions."""

_NULL, _MERGE = (f"tag:yaml.org,2002:{kind}" for kind in ("null", "merge"))


class YamlTable(dict[str, Any]):
    """Its values are tables, lists, texts (also of numbers and of ``true``) and ``None``.

    ``line`` is where it begins, from 1, and ``lines`` those of its own keys; merged keys have none.
    """

    def __init__(self, line: int = 1) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}

    def table(self, key: str) -> "YamlTable":
        """The table at this key; empty if there is none. Raises `BrokenFile` for anything else."""
        value = self.get(key)
        if value is not None and not isinstance(value, YamlTable):
            raise BrokenFile(self.lines.get(key, self.line), f"{key} is not a table")
        return YamlTable(self.line) if value is None else value


def yaml_tables(text: str) -> list[YamlTable]:
    """The documents of a file; none for an empty one. Raises `BrokenFile`."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the latter in a build without libyaml
    try:
        values = [_Values().of(node) for node in yaml.compose_all(text, loader)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BrokenFile(mark.line + 1 if mark else None, f"this is no YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise BrokenFile(line, f"this is no YAML: {error.reason}") from None
    except RecursionError:
        raise BrokenFile(None, "nested too deeply") from None
    if not all(isinstance(value, YamlTable | None) for value in values):
        raise BrokenFile(1, "the file is not a table")
    return [value for value in values if value is not None]


def yaml_table(text: str) -> YamlTable:
    """The first document; an empty table for an empty file. Raises `BrokenFile`."""
    return next(iter(yaml_tables(text)), YamlTable())


class _Values:
    """The values of the nodes of one document. What several aliases stand for is there once."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._merged = 0

    def of(self, node: Node) -> Any:
        if id(node) in self._made:  # an alias, perhaps inside of what it stands for
            return self._made[id(node)]
        if isinstance(node, MappingNode):
            self._made[id(node)] = table = YamlTable(_line(node))
            self._fill(table, node)
            return table
        if isinstance(node, SequenceNode):
            items: list[Any] = []
            self._made[id(node)] = items
            items += map(self.of, node.value)
            return items
        return None if node.tag == _NULL else node.value

    def _fill(self, table: YamlTable, node: MappingNode) -> None:
        merged: list[Any] = []
        for key, value in node.value:
            if key.tag == _MERGE:
                merged += self.of(value) if isinstance(value, SequenceNode) else [self.of(value)]
            elif isinstance(key, ScalarNode):
                table[key.value], table.lines[key.value] = self.of(value), _line(key)
            else:
                raise BrokenFile(_line(key), "a key is not a text")
        for other in merged:
            if not isinstance(other, YamlTable):
                raise BrokenFile(_line(node), "it merges what is not a table")
            self._merged += 1 + len(other)  # an empty one is work, too
            if self._merged > MERGED_LIMIT:
                raise BrokenFile(_line(node), f"more than {MERGED_LIMIT} keys are merged")
            for name in [name for name in other if name not in table]:
                table[name] = other[name]


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
