"""Lines of output as views keep them: small, one by one, with notes where lines are missing. Pure.

An answer folds lines together, and a view keeps 20,000 of them: a `LogLine` takes a fraction of the memory of the dict
that an answer unfolds to.
"""

from collections.abc import Iterator
from sys import intern
from typing import Any, Final

import msgspec

from brummer.contract.texts import lines_of
from brummer.logs.text import coloured, plain

LEVELS: Final = ("error", "warning")
"""What a line may be marked with; other lines have no level."""

COLOUR_CHANGES: Final = 1_000
"""In one line; those of a line with more are not kept. A rainbow over a wide screen has 500, and each costs some
microseconds whenever the line is drawn.
"""

STARTED_ANEW: Final = "the instance was started anew"


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """One line, or one note.

    ``n``: its number in the instance, 0 for a note of the view. ``at``: RFC 3339 in UTC, empty if unknown. ``script``:
    the name of its process. ``text``: plain, without escape sequences. ``level``: one of `LEVELS`, or empty. ``note``:
    it was not printed by the script, but is Brummer's own. ``coloured``: the text with its colours (SGR), if any.
    """

    n: int
    at: str
    script: str
    text: str
    level: str = ""
    note: bool = False
    coloured: str = ""


def unfolded(answer: dict[str, Any]) -> list[LogLine]:
    """The lines of an answer of `logs_tail` or `logs_search`, each by itself. Members of another shape, as another
    version may have them, are read as missing.
    """
    lines: list[LogLine] = []
    at = ""
    for entry in lines_of(answer):
        at = at if entry.get("at") == at else str(entry.get("at", ""))  # one text for all lines of a millisecond
        lines.append(_line_of(entry, at))
    return lines


def _line_of(entry: dict[str, Any], at: str) -> LogLine:
    raw, n, level = str(entry.get("text", "")), entry.get("n"), entry.get("level")
    is_coloured = 0 < raw.count("\x1b") <= COLOUR_CHANGES
    return LogLine(
        n if isinstance(n, int) else 0,
        at,
        intern(str(entry.get("process", ""))),
        plain(raw),
        intern(level) if level in LEVELS else "",
        entry.get("stream") == "brum",
        coloured(raw) if is_coloured else "",
    )


def page_of(answer: dict[str, Any], *, continues: bool) -> list[LogLine]:
    """The lines of an answer, with the notes that belong in front of them. ``continues``: it was asked with the cursor
    of an earlier answer, so what is missing is missing between the two.
    """
    lines = unfolded(answer)
    return [*_notes(answer, lines[0].at if lines else ""), *lines] if continues else lines


def newest_of(answer: dict[str, Any], after_n: int) -> list[LogLine]:
    """In a flood: the lines of an answer that was asked without a cursor, without those up to number ``after_n``, and a
    note in the place of those between. Their number is that of all scripts of the instance.
    """
    lines = [line for line in unfolded(answer) if line.n > after_n]
    missing = lines[0].n - after_n - 1 if lines else 0
    return [left_out(missing, lines[0].at), *lines] if missing else lines


def _notes(answer: dict[str, Any], at: str) -> Iterator[LogLine]:
    if answer.get("cursor_reset"):
        yield note(STARTED_ANEW, at)
    elif count := _count(answer.get("dropped")):
        yield left_out(count, at)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def note(text: str, at: str = "") -> LogLine:
    """A line of the view's own."""
    return LogLine(0, at, "", f"── {text} ──", note=True)


def left_out(count: int, at: str = "") -> LogLine:
    """The note in the place of lines that came too fast."""
    return note(f"{count:,} lines of flood are left out here" if count != 1 else "1 line is left out here", at)
