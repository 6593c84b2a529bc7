"""What may be asked of lines, wherever they are kept: since when, how serious, and what stands around them. Pure."""

import re
from collections.abc import Callable
from typing import Any, Final

from brummer.core.errors import InvalidArguments, shown
from brummer.logs.bounded_log import Page
from brummer.logs.output import Line, Stamp, answer_size_of
from brummer.settings.units import seconds
from brummer.wire.mcp.tool_results import ENVELOPE_BYTES

Holds = Callable[[Line], bool]

LONGEST_AGO_S: Final = 100 * 86_400
"""The limit of a bare number of seconds: below any date in digits (20261130), and over the age of any output."""

_TIME_OF_DAY: Final = re.compile(r"(\d\d:\d\d:\d\d(?:\.\d{1,6})?)(?:Z| ?UTC)?", re.ASCII)


def is_since(since: str | float, now: float) -> Holds:
    """The line came at that time or later; see `stamp_of`."""
    stamp = stamp_of(since, now)
    return lambda line: line.at >= stamp


def stamp_of(since: str | float, now: float) -> str:
    """``since`` as RFC 3339 in UTC, which compares as text; ``now`` in seconds since the epoch.

    ``since``: a time (RFC 3339, or only the time of day in UTC as log lines show it), a duration ("5m"), or seconds.
    Raises InvalidArguments.
    """
    at = _time_of(since, now) if isinstance(since, str) else None
    return Stamp()(max(0.0, now - _seconds_ago(since) if at is None else at))


def _time_of(since: str, now: float) -> float | None:
    """Seconds since the epoch; None if it is not a time. A time of day is that of the last 24 hours."""
    from datetime import UTC, datetime, time, timedelta  # noqa: PLC0415 - not on the start path

    if since.isdigit():  # seconds, though it could be read as a date
        return None
    try:
        if match := _TIME_OF_DAY.fullmatch(since):
            today = datetime.combine(datetime.fromtimestamp(now, UTC), time.fromisoformat(match[1]), UTC)
            return (today if today.timestamp() <= now else today - timedelta(days=1)).timestamp()
        moment = datetime.fromisoformat(since)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _seconds_ago(since: str | float) -> float:
    """Refuse a bare number that is too large: it is probably a date or a time since 1970."""
    try:
        ago_s = seconds(since)
    except ValueError:
        ago_s = None
    if ago_s is None or (ago_s > LONGEST_AGO_S and (not isinstance(since, str) or since[-1:].isdigit())):
        what = f"since {shown(str(since))!r} is neither a time (2026-11-30T12:03:11Z) nor how long ago (5m, or seconds)"
        raise InvalidArguments(what, argument="since")
    return ago_s


def at_least(level: str, is_in_an_error: Holds) -> Holds:
    """By its own words, or as a part of an error."""
    from brummer.logs.levels import LEVELS, level_of  # noqa: PLC0415 - asked for by few

    names: tuple[str, ...] = LEVELS
    serious = names[: names.index(level) + 1]
    return lambda line: level_of(line.text) in serious or is_in_an_error(line)


def lines_room(limit_bytes: int, around: int) -> int:
    """Bytes for the lines of an answer (`answer_size_of`); with neighbours, half for the hits and half for them."""
    return max(0, limit_bytes - ENVELOPE_BYTES) // (2 if around else 1)


def with_neighbours(
    page: Page[Line], room: int, around: Callable[[Line], tuple[list[Line], list[Line]]]
) -> dict[str, Any]:
    """``lines`` and ``hits``. The lines ``around`` the hits, before and after, have ``room`` bytes; ``without_context``
    counts the hits whose neighbours did not fit.
    """
    shown = {line.n: line for line in page.entries}
    without = 0
    for hit in page.entries:
        before, after = around(hit)
        new = [line for line in (*before, *after) if line.n not in shown]
        if (size := sum(map(answer_size_of, new))) > room:
            without += 1
            continue
        room -= size
        shown.update((line.n, line) for line in new)
    answer: dict[str, Any] = {"lines": [shown[n] for n in sorted(shown)], "hits": [line.n for line in page.entries]}
    return {**answer, "without_context": without} if without else answer
