"""How serious a line says it is. Pure, and cheap enough to ask of every line that is read."""

import re
from functools import cache
from typing import Final, Literal

Level = Literal["error", "warning", "info", "debug"]
ORDER: Final[tuple[Level, ...]] = ("error", "warning", "info", "debug")

HEAD: Final = 200
"""Characters in which a line names its level; further on, such words are part of what it says."""


@cache
def _pattern() -> re.Pattern[str]:
    """5 ms, once."""
    return re.compile(
        r"(?P<error>\b(?:ERROR|FATAL|CRITICAL|PANIC|SEVERE|EMERG|ALERT)\b(?! ?[:=]? ?(?:0\b|none))"
        r"|^\W*(?:error|fatal|critical|panic|failure)(?:\[\w+\])?:"
        r"|\[(?:error|fatal|critical|err|crit|emerg|alert)\]"
        r"|\b(?:level|lvl|severity)\W{1,4}(?:error|fatal|critical|panic|err|[56]0)\b"
        r"|^Traceback \(|^\s*(?:Uncaught )?(?:[\w.]+\.)?(?:[A-Z]\w*)?(?:Error|Exception)(?: \[\w+\])?: "
        r"|\S:\d+(?::\d+)?: (?:fatal )?error:|error (?:TS|C|MSB|CS)\d+:)"
        r"|(?P<warning>\b(?:WARN|WARNING)\b|^\W*(?:warn|warning)(?:\[\w+\])?:?\s|\[(?:warn|warning)\]"
        r"|\b(?:level|lvl|severity)\W{1,4}(?:warn|warning|40)\b|\b\w*Warning: |: warning:)"
        r"|(?P<debug>\b(?:DEBUG|TRACE|VERBOSE)\b|^\W*(?:debug|trace):|\[(?:debug|trace|verbose)\]"
        r"|\b(?:level|lvl|severity)\W{1,4}(?:debug|trace|[12]0)\b)"
    )


def level_of(text: str) -> Level:
    """By its own words; a line that names none is "info"."""
    match = _pattern().search(text[:HEAD])
    return match.lastgroup if match else "info"  # type: ignore[return-value]
