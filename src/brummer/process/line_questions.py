"""What may be asked of lines, wherever they are kept: since when, how serious, and what stands around them. Pure."""

from collections.abc import Callable
from typing import Any

from brummer.core.errors import InvalidArguments
from brummer.process.numbered import Page
from brummer.process.output import Line, Stamp, size_of

Holds = Callable[[Line], bool]


def is_since(since: str | float, now: float) -> Holds:
    """Whether a line came at that time or later; ``now`` in seconds since the epoch. Raises InvalidArguments for a text
    that is no time.
    """
    if isinstance(since, str):
        from datetime import UTC, datetime  # noqa: PLC0415 - not on the start path

        try:
            moment = datetime.fromisoformat(since)
        except ValueError:
            raise InvalidArguments(f"since {since!r} is neither a time nor seconds ago", argument="since") from None
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    else:
        at = now - since
    stamp = Stamp()(max(0.0, at))
    return lambda line: line.at >= stamp


def at_least(level: str, is_in_an_error: Holds) -> Holds:
    """By its own words, or as a part of an error."""
    from brummer.process.levels import LEVELS, level_of  # noqa: PLC0415 - asked for by few

    names: tuple[str, ...] = LEVELS
    serious = names[: names.index(level) + 1]
    return lambda line: level_of(line.text) in serious or is_in_an_error(line)


def with_neighbours(
    page: Page[Line], limit_bytes: int, around: Callable[[Line], tuple[list[Line], list[Line]]]
) -> dict[str, Any]:
    """``lines`` and ``hits``. What is ``around`` the hits, before and after, fills as many bytes again;
    ``without_context`` counts the hits whose own did not fit.
    """
    shown = {line.n: line for line in page.entries}
    room, without = limit_bytes, 0
    for hit in page.entries:
        before, after = around(hit)
        new = [line for line in (*before, *after) if line.n not in shown]
        if (size := sum(map(size_of, new))) > room:
            without += 1
            continue
        room -= size
        shown.update((line.n, line) for line in new)
    answer: dict[str, Any] = {"lines": [shown[n] for n in sorted(shown)], "hits": [line.n for line in page.entries]}
    return {**answer, "without_context": without} if without else answer
