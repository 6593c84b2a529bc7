"""The answers that a black box can give, in the shapes in which a live instance gives them, and marked.

Files are read in a thread. Only a regular expression is matched on the loop, in slices, because the bound on its time
holds there and nowhere else.
"""

import asyncio
import bisect
import functools
import itertools
import operator
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from brummer.host.clocks import wall
from brummer.host.patterns import Pattern, meter_of_call
from brummer.logs.bounded_log import twice_encoded
from brummer.logs.error_groups import Problems
from brummer.logs.filters import Holds, at_least, is_since, lines_room, with_neighbours
from brummer.logs.journal.reader import BlackBox, Kept, page
from brummer.logs.output import Batch, Line, answer_size_of
from brummer.wire.mcp.tool_results import BUDGET_BYTES

SLICE: Final = 100
"""Lines: a fifth of a millisecond for an ordinary expression."""
SLICE_S: Final = 0.02
"""CPU time for one slice: other calls wait for it."""

Answer = dict[str, Any]


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of `logs_tail` and `logs_search` that select lines. A black box must obey all of them."""

    process: str | None = None
    cursor: str | None = None
    limit: int = 100
    limit_bytes: int = BUDGET_BYTES
    level: str | None = None
    since: str | float | None = None
    query: str = ""
    regex: bool = False
    around: int = 0


async def lines(box: BlackBox, arguments: msgspec.Struct, *, is_over: bool = True) -> Answer:
    """What these arguments (see `Wanted`) ask for. Raises NotFound, InvalidArguments."""
    wanted = msgspec.convert(msgspec.structs.asdict(arguments), Wanted)
    kept = await asyncio.to_thread(box.lines, wanted.process, is_over=is_over)
    matching = await _matching(kept, wanted.query) if wanted.regex else None
    return await asyncio.to_thread(_answer, kept, wanted, matching)


def _answer(kept: Kept, wanted: Wanted, matching: set[int] | None) -> Answer:
    holds = [_contains(wanted.query) if matching is None else lambda line: line.n in matching]
    if wanted.since is not None:
        holds.append(is_since(wanted.since, wall()))
    if wanted.level is not None:
        holds.append(at_least(wanted.level, _is_in_an_error(kept.entries)))
    room = lines_room(wanted.limit_bytes, wanted.around)
    found = page(
        kept,
        wanted.cursor,
        wanted.limit,
        lambda line: all(hold(line) for hold in holds),
        limit_size=room,
        size_of=answer_size_of,
    )
    if not wanted.around:
        return {"lines": found.entries, **found.position()}
    return {**with_neighbours(found, room, _around(kept.entries, wanted.around)), **found.position()}


def _contains(query: str) -> Holds:
    return lambda line: query in line.text


def _is_in_an_error(lines: Sequence[Line]) -> Holds:
    """Read for errors anew: what the instance knew of them has died with it."""
    problems: defaultdict[str, Problems] = defaultdict(Problems)
    for (process, _), group in itertools.groupby(lines, key=operator.attrgetter("process", "stream")):
        batch = list(group)
        texts = [line.text for line in batch]
        problems[process].read(Batch(batch, texts, "\n".join(texts)), 0.0)
    for each in problems.values():
        each.settle(0.0)
    return lambda line: problems[line.process].owns(line.n)


def _around(lines: Sequence[Line], count: int) -> Callable[[Line], tuple[list[Line], list[Line]]]:
    """Those next to a line, of the same process."""
    lines_of: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        lines_of[line.process].append(line)

    def around(hit: Line) -> tuple[list[Line], list[Line]]:
        own = lines_of[hit.process]
        position = bisect.bisect_left(own, hit.n, key=operator.attrgetter("n"))
        return own[max(0, position - count) : position], own[position + 1 : position + 1 + count]

    return around


async def changes(box: BlackBox, *, cursor: str | None, limit: int) -> Answer:
    """As `changes_since`. Raises NotFound, InvalidArguments."""
    found = page(
        await asyncio.to_thread(box.changes),
        cursor,
        limit,
        lambda _: True,
        limit_size=lines_room(BUDGET_BYTES, 0),
        size_of=lambda noted: twice_encoded(noted.change),
    )
    return {"changes": [noted.change for noted in found.entries], **found.position()}


async def _matching(kept: Kept, query: str) -> set[int]:
    """The numbers of the lines that match. Raises InvalidArguments, also for an expression that takes too long."""
    meter = meter_of_call(query, "query")
    matching: set[int] = set()
    for start in range(0, len(kept.entries), SLICE):
        part = kept.entries[start : start + SLICE]
        characters = sum(len(line.text) for line in part)
        search = functools.partial(_matching_of, meter.pattern, part)
        matching |= meter.search(len(part), characters, search, most_s=SLICE_S)
        await asyncio.sleep(0)
    return matching


def _matching_of(pattern: Pattern, lines: Sequence[Line]) -> set[int]:
    return {line.n for line in lines if pattern.matches(line.text)}
