"""A tool's result as it goes over the wire: text for reading, structured content, and a bound on both together.

Some clients show a model only the text, others only the structured content, so each is complete. The text is short and
for reading; it does not repeat the JSON.
"""

from collections.abc import Callable
from typing import Any, Final

from brummer.core.errors import BrummerError
from brummer.core.json_text import encode

BUDGET_BYTES: Final = 32 * 1024
"""The limit of an answer of Brummer: some 8,000 tokens. Claude Code, for example, warns from 10,000 tokens on."""

ENVELOPE_BYTES: Final = 1024
"""Bytes of the limit that are reserved for the message itself, cursors and counts."""

_CUTS: Final = ((12_000, 500), (4_000, 200), (1_000, 100), (500, 50), (200, 20), (80, 8), (40, 2))
"""Steps of cutting: characters of a text, entries of a list that stay. Steps are taken until the answer fits."""


def budget_of(arguments: object) -> int:
    """The bytes of an answer to these arguments: their ``limit_bytes``, and at least `BUDGET_BYTES`."""
    return max(getattr(arguments, "limit_bytes", 0), BUDGET_BYTES)


Render = Callable[[Any], str]
"""Writes the text for a structured content."""


def structured(content: Any, render: Render | None = None, limit_bytes: int = BUDGET_BYTES) -> bytes:
    """A successful ``CallToolResult``. ``render`` writes the text, and takes plain dicts and lists. Without it the text
    is the structured content as JSON, and nothing is cut: results of other servers are not shortened.
    """
    if render is None:
        encoded = encode(content)
        return _result(encoded.decode(), encoded, b"false")
    return _within(limit_bytes, content, render, b"false")


def failed(error: BrummerError) -> bytes:
    """A failed result, ``structuredContent.error`` holding the error's fields."""
    return _within(BUDGET_BYTES, {"error": error.as_data()}, _error_text, b"true")


def of_blocks(blocks: object) -> bytes:
    """A result that is not structured: content blocks as the specification has them."""
    return b'{"content":%b,"isError":false}' % encode(blocks)


def _within(limit_bytes: int, content: dict[str, Any], render: Render, is_error: bytes) -> bytes:
    result = _result(render(content), encode(content), is_error)
    for characters, entries in _CUTS:
        if len(result) <= limit_bytes:
            break
        cut = {**_cut(content, characters, entries), "cut": f"texts over {characters} characters, lists over {entries}"}
        text = f"{render(cut)}\n[cut to fit into {limit_bytes} bytes: {cut['cut']}]"
        result = _result(text, encode(cut), is_error)
    return result


def _cut(value: Any, characters: int, entries: int) -> Any:
    """Cut long texts in their middle. A long list keeps its first entries; a list of texts (output) its last."""
    match value:
        case str() if len(value) > characters:
            half = characters // 2
            return f"{value[:half]}[… {len(value) - 2 * half} characters]{value[-half:]}"
        case list() if len(value) > entries:
            texts = isinstance(value[0], str)
            return [_cut(each, characters, entries) for each in (value[-entries:] if texts else value[:entries])]
        case list():
            return [_cut(each, characters, entries) for each in value]
        case dict():
            return {name: _cut(each, characters, entries) for name, each in value.items()}
        case _:
            return value


def _error_text(content: dict[str, Any]) -> str:
    error = content["error"]
    again = "retryable" if error["retryable"] else "not retryable"
    if error["retry_after_s"] is not None:
        again += f" after {error['retry_after_s']:g} s"
    lines = [f"error {error['code']}: {error['message']}", f"outcome: {error['outcome']}; {again}"]
    for name, value in error["context"].items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{name}:", *(f"  {_plain(each)}" for each in value)]
        elif value not in (None, [], {}):
            lines.append(f"{name}: {_plain(value)}")
    return "\n".join(lines)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else encode(value).decode()


def _result(text: str, content: bytes, is_error: bytes) -> bytes:
    return b'{"content":[{"type":"text","text":%b}],"structuredContent":%b,"isError":%b}' % (
        encode(text),
        content,
        is_error,
    )
