"""The answers of `logs_tail` and `logs_search`, wherever the lines are kept: which match, and how many fit. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from brummer.core.errors import InvalidArguments, shown
from brummer.logs.entries import Entries, Page
from brummer.logs.output import Line, Stamp, answer_size_of
from brummer.settings.units import seconds
from brummer.wire.mcp.tool_results import BUDGET_BYTES, ENVELOPE_BYTES

Holds = Callable[[Line], bool]

LONGEST_AGO_S: Final = 100 * 86_400
"""The limit of a bare number of seconds: below any date in digits (20261130), and over the age of any output."""

_TIME_OF_DAY: Final = re.compile(r"(\d\d:\d\d:\d\d(?:\.\d{1,6})?)(?:Z| ?UTC)?", re.ASCII)


class KnowsLevels(Protocol):
    """Knows the levels of kept lines."""

    def is_in_an_error(self, line: Line) -> bool: ...

    def of(self, lines: Sequence[Line]) -> Mapping[int, str]:
        """The levels of those that are errors or warnings, by number. ``lines`` in order."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of `logs_tail` and `logs_search`: all of them must be obeyed wherever the lines are kept."""

    process: str | None = None
    cursor: str | None = None
    before: int | None = None
    limit: int = 100
    limit_bytes: int = BUDGET_BYTES
    level: str | None = None
    since: str | float | None = None
    query: str = ""
    regex: bool = False
    around: int = 0
    colours: bool = False
    wait_s: float = 0.0
    """For the instance: where the lines are kept, nothing is waited for."""


def wanted_by(arguments: msgspec.Struct) -> Wanted:
    """The arguments of a call, which have been decoded. Raises TypeError for an unknown one: it must not be dropped."""
    return Wanted(**msgspec.structs.asdict(arguments))


def answer(
    lines: Entries[Line],
    wanted: Wanted,
    now: float,
    levels: KnowsLevels | None,
    filters: Sequence[Holds] = (),
    *,
    process: str | None = None,
    since_n: int = 0,
) -> dict[str, Any]:
    """The members of the answer, ``lines`` as structs; ``levels`` of those that are errors or warnings, by number, if
    there are any. ``now`` in seconds since the epoch. ``levels`` of the lines, None if none is known. ``filters`` come
    first, and one of them is the regular expression. ``process`` and ``since_n`` as for `Entries.read`. Raises
    InvalidArguments.
    """
    filters = [*filters, *filters_of(wanted, now, lambda: levels)]
    left_bytes = max(0, wanted.limit_bytes - ENVELOPE_BYTES) // (2 if wanted.around else 1)
    is_wanted: Holds | None = (lambda line: all(holds(line) for holds in filters)) if filters else None
    read = partial(lines.read, since_n=since_n) if wanted.before is None else partial(lines.earlier, wanted.before)
    page = read(wanted.cursor, wanted.limit, is_wanted, process=process, limit_size=left_bytes, size_of=answer_size_of)
    found: dict[str, Any] = {"lines": page.entries}
    if wanted.around:
        found = _with_neighbours(page, left_bytes, lambda hit: lines.around(hit, wanted.around))
    if levels is not None and (serious := levels.of(found["lines"])):
        found["levels"] = serious
    return {**found, "lines": [line.seen(colours=wanted.colours) for line in found["lines"]], **page.position()}


def filters_of(wanted: Wanted, now: float, levels: Callable[[], KnowsLevels | None]) -> list[Holds]:
    """What all wanted lines hold, beside the regular expression. ``levels``: as they are at that time. Raises
    InvalidArguments.
    """
    filters = [_contains(wanted.query)] if wanted.query and not wanted.regex else []
    if wanted.since is not None:
        filters.append(is_since(wanted.since, now))
    if wanted.level is not None:
        filters.append(at_least(wanted.level, levels))
    return filters


def _contains(query: str) -> Holds:
    return lambda line: query in line.text


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


def at_least(level: str, levels: Callable[[], KnowsLevels | None]) -> Holds:
    """By its own words, or as a part of an error."""
    from brummer.logs.levels import LEVELS, level_of  # noqa: PLC0415 - asked for by few

    names: tuple[str, ...] = LEVELS
    serious = names[: names.index(level) + 1]

    def holds(line: Line) -> bool:
        return level_of(line.text) in serious or ((known := levels()) is not None and known.is_in_an_error(line))

    return holds


def _with_neighbours(
    page: Page[Line], left_bytes: int, around: Callable[[Line], tuple[list[Line], list[Line]]]
) -> dict[str, Any]:
    """``lines`` and ``hits``. The lines ``around`` the hits, before and after, take at most ``left_bytes``;
    ``without_context`` counts the hits whose lines around did not fit.
    """
    shown = {line.n: line for line in page.entries}
    without = 0
    for hit in page.entries:
        before, after = around(hit)
        new = [line for line in (*before, *after) if line.n not in shown]
        if (size := sum(map(answer_size_of, new))) > left_bytes:
            without += 1
            continue
        left_bytes -= size
        shown.update((line.n, line) for line in new)
    answer: dict[str, Any] = {"lines": [shown[n] for n in sorted(shown)], "hits": [line.n for line in page.entries]}
    return {**answer, "without_context": without} if without else answer
