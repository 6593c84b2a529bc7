r"""Replaces invisible characters, and those that reorder a line, by their numbers before text is printed. Pure.

All printed text passes through here last, from any source: scripts, names, paths, errors. Some characters are
invisible, and make two names look the same or reverse the order of a line (U+202E): bidirectional controls, zero-width
and other default-ignorable characters, C1 controls, line and paragraph separators, lone surrogates. They are
shown as ``\u202e``, which is the same character in JSON, so a program that reads it loses nothing.

Right-to-left letters stay as they are. So do the joiners that emoji and some scripts need, and direction marks beside a
right-to-left letter, where the mark changes no more than the letter itself does.
"""

import functools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

_COLOUR: Final = r"\x1b\[[0-9;:]{0,64}m"
CLEAR: Final = "\x1b[2J\x1b[3J\x1b[H"
"""Brummer's own sequence that clears the screen."""

_HIDDEN: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but for tab and line feed
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties, and the characters that the module names."""

_JOINERS: Final = "\u200c\u200d"
_DIRECTION_MARKS: Final = "\u061c\u200e\u200f"
_EMOJI_STYLES: Final = "\ufe0e\ufe0f"
_KEYCAP: Final = "\u20e3"
_SYMBOLS: Final = frozenset({"So", "Sm", "Sk"})
_JOINING: Final = (("\u0600", "\u10ff"), ("\u1200", "\u1cff"), ("\ua800", "\ua8ff"))
"""Arabic, Syriac, the scripts of India and related ones, and Mongolian."""


def visible(text: str) -> str:
    """The text with invisible characters as numbers; colours (SGR) and `CLEAR` stay."""
    if text.isascii() and text.replace("\n", " ").replace("\t", " ").isprintable():
        return text
    return _hidden().sub(_shown, text)


@functools.cache
def _hidden() -> "re.Pattern[str]":
    import re  # noqa: PLC0415 — most of what is printed needs none

    return re.compile(rf"(?P<ours>{_COLOUR}|{re.escape(CLEAR)})|[{_HIDDEN}]")


@functools.cache
def _hidden_in_a_line() -> "re.Pattern[str]":
    import re  # noqa: PLC0415 — as in `_hidden`

    return re.compile(rf"[{_HIDDEN}\n]")


def _shown(found: "re.Match[str]") -> str:
    character = found[0]
    if found["ours"] is not None or _is_harmless(character, found.string, found.start()):
        return character
    return _number_of(character)


def replaced(text: str) -> "Iterator[tuple[int, str]]":
    """The offset of each character that `visible` replaces, and what is shown instead, in order. For code that draws a
    line cell by cell: no sequence of ours stays, and a line feed, which would end the line, is replaced, too.
    """
    for found in _hidden_in_a_line().finditer(text):
        if not _is_harmless(found[0], text, found.start()):
            yield found.start(), _number_of(found[0])


def _number_of(character: str) -> str:
    code = ord(character)
    if code <= 0xFFFF:  # noqa: PLR2004
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)  # as JSON has it
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _is_harmless(character: str, text: str, at: int) -> bool:
    """Decided by the characters beside it."""
    before, after = text[at - 1 : at] or " ", text[at + 1 : at + 2] or " "
    if character in _JOINERS:
        styled = text[at - 2 : at - 1] if before in _EMOJI_STYLES else before
        is_of_emoji = character == "\u200d" and _category(styled or " ") in _SYMBOLS and _category(after) in _SYMBOLS
        return is_of_emoji or (_is_joining(before) and _is_joining(after))
    if character in _EMOJI_STYLES:
        return after == _KEYCAP or _category(before) in _SYMBOLS
    return character in _DIRECTION_MARKS and (_is_right_to_left(before) or _is_right_to_left(after))


def _is_joining(character: str) -> bool:
    is_in = any(first <= character <= last for first, last in _JOINING)
    return is_in and _category(character)[0] in "LM" and _hidden().match(character) is None


def _is_right_to_left(character: str) -> bool:
    import unicodedata  # noqa: PLC0415 — as in `_category`

    return unicodedata.bidirectional(character) in {"R", "AL"} and character not in _DIRECTION_MARKS


def _category(character: str) -> str:
    import unicodedata  # noqa: PLC0415 — a library of a megabyte, and few lines need it

    return unicodedata.category(character)
