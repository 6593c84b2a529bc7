"""JSON, JSON with comments and TOML as tables, XML as elements; what is wrong with them is a `BrokenFile` with its
line. And what may be wrong with a file of any kind.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from brummer.core.errors import shown
from brummer.instance.detect import BrokenFile, Mistake, line_with
from brummer.settings import toml_file

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

Table = dict[str, Any]
_CONFLICT = "<<<<<<< "


def json_table(text: str) -> Table:
    """The object that a JSON text is."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        value = _decoded_slowly(text)
    return as_table(value, "the file")


def jsonc_table(text: str) -> Table:
    """As `json_table`; comments and commas before a closing bracket are allowed."""
    return json_table(_without(_NEEDLESS_COMMA, _without(_COMMENT, text)))


def toml_table(text: str) -> Table:
    """The table that a TOML text is."""
    try:
        return toml_file.load(Path(), text).table
    except toml_file.SettingsInvalid as error:
        raise BrokenFile(error.line, error.what) from None


def toml_line(text: str, *key: str) -> int | None:
    """The line of a key, or of the table's header."""
    return toml_file.load(Path(), text).line_of(key)


def xml_root(text: str, tag: str) -> "Element":
    """The element that an XML text is, which has this tag; the names in it have no namespaces.

    Entities of other files are not read, and expat bounds what the text's own become.
    """
    from xml.etree import ElementTree as ET  # noqa: PLC0415 — 10 ms, and few projects have such a file

    try:
        root = ET.fromstring(text)  # noqa: S314 - as above
    except ET.ParseError as error:
        raise BrokenFile(error.position[0], f"this is no XML: {error.msg}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != tag:
        raise BrokenFile(1, f"it is a {shown(root.tag)!r}, not a {tag!r}")
    return root


def conflict_in(text: str, source: str) -> Iterator[Mistake]:
    """The first mark of a merge that git could not finish: for files that are searched, not parsed."""
    place = 0 if text.startswith(_CONFLICT) else text.find(f"\n{_CONFLICT}") + 1
    if place or text.startswith(_CONFLICT):
        yield Mistake(source, text.count("\n", 0, place) + 1, "a merge stopped at a conflict here; resolve it")


def as_table(value: object, what: str, text: str = "") -> Table:
    """Raises `BrokenFile` for anything else; ``text``: that of the JSON file where it stands."""
    if not isinstance(value, dict):
        raise BrokenFile(line_with(f'"{what}"', text), f"{what} is not a table")
    return value


def table_at(document: Table, path: tuple[str, ...]) -> Table | None:
    """Empty when it is not there, None when something else stands in its place."""
    table = document
    for key in path:
        inner = table.get(key, {})
        if not isinstance(inner, dict):
            return None
        table = inner
    return table


def strings(value: object) -> list[str]:
    """Those of a list; nothing for anything else."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def tables(value: object) -> list[Table]:
    """Those of a list; nothing for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


# Each begins with a whole string, so that what stands in one is left alone. None can search a text twice.
_STRING = r'"(?:\\.|[^"\\])*(?:"|\\?\Z)'
_COMMENT = rf"{_STRING}|//[^\n]*|/\*.*?(?:\*/|\Z)"
_NEEDLESS_COMMA = rf"{_STRING}|,(?=\s*[\]}}])"


def _without(pattern: str, text: str) -> str:
    """Blanks in its place, so that lines and columns stay true."""
    return re.sub(pattern, _blank, text, flags=re.DOTALL)


def _blank(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith('"') else re.sub(r"[^\n]", " ", found[0])


def _decoded_slowly(text: str) -> Any:
    """The standard library knows the line of an error, and is asked only for that."""
    import json  # noqa: PLC0415

    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BrokenFile(error.lineno, f"{error.msg} (column {error.colno})") from None
    except RecursionError:
        raise BrokenFile(None, "nested too deeply") from None
    except ValueError:  # Python bounds the digits that it converts
        raise BrokenFile(None, "a number has too many digits") from None
