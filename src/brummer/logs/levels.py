"""The level that a line names. Pure; some microseconds for each line."""

import re
from functools import cache
from typing import Final, Literal

Level = Literal["error", "warning", "info", "debug"]
LEVELS: Final[tuple[Level, ...]] = ("error", "warning", "info", "debug")
"""The most serious first."""

LEVEL_WITHIN: Final = 200
"""Characters in which a line names its level; further on, such words are part of the message."""

_NAMES: Final[dict[Level, str]] = {
    "error": "error|err|fatal|critical|crit|panic|severe|emerg|emergency|alert|50|60",
    "warning": "warning|warn|40",
    "info": "info|notice|30",
    "debug": "debug|trace|verbose|10|20",
}
WORDS: Final = ("err", "fatal", "crit", "panic", "sever", "emerg", "alert", "fail", "exception", "traceback", "warn")
"""In lower case: a line that names the level error or warning has one of these, or of `FIELDS`."""
_CAPITALS = {name.upper(): level for level, names in _NAMES.items() for name in names.split("|") if name.isalpha()}
FIELDS: Final = ("evel", "everity", "lvl")
"""Of structured lines; in lower case, with or without a capital in front."""
_EXCEPTION = r"(?:Uncaught )?(?:[\w.]+\.)?(?:[A-Z]\w*)?(?:Error|Exception)(?: \[\w+\])?: "


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """A word in capitals; the beginning of a line; a name in brackets; a field of a structured line. 3 ms, once."""
    groups = "|".join(f"(?P<{level}>{names})" for level, names in _NAMES.items())
    words = re.sub(r"\|\d+", "", groups)  # a number in brackets counts something
    return (
        re.compile(r"\b[A-Z]{3,9}\b"),
        re.compile(
            rf"(?P<error>\W*(?:error|fatal|critical|panic|failure)(?:\[\w+\])?:|Traceback \(|\s*{_EXCEPTION}"
            r"|\S+:\d+: (?:fatal )?error:)"
            r"|(?P<warning>\W*(?:warn|warning)(?:\[\w+\])?:|(?:\S+:\d+: )?(?:warning:|\S*Warning: ))"
            r"|(?P<debug>\W*(?:debug|trace):)"
        ),
        re.compile(rf"\[(?:{words})\]"),
        re.compile(rf"\b(?:level|lvl|severity)\W{{1,4}}(?:{groups})\b", re.IGNORECASE),
    )


def level_of(text: str) -> Level:
    """The level that it names; "info" without one."""
    head = text[:LEVEL_WITHIN]
    capitals, beginning, brackets, field = _patterns()
    for word in capitals.findall(head):
        if level := _CAPITALS.get(word):
            return level
    match = beginning.match(head) or brackets.search(head)
    if match is None and any(name in head for name in FIELDS):
        match = field.search(head)
    return match.lastgroup if match else "info"  # type: ignore[return-value]
