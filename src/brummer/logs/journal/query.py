"""The answers of a black box, in the shapes of a live instance's answers.

Files are read in a thread. Only a regular expression is matched on the loop, in slices, because the bound on its time
holds there and nowhere else.
"""

import asyncio
import functools
import itertools
import operator
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from brummer.host.clocks import wall
from brummer.host.patterns import Pattern, meter_of_call
from brummer.logs.entries import parse_cursor, twice_encoded
from brummer.logs.error_groups import HEADING_REACH, MAX_LINES, PrintedErrors
from brummer.logs.journal.reader import BlackBox, JournalEntries
from brummer.logs.levels import Level
from brummer.logs.line_levels import Levels
from brummer.logs.output import Batch, Line
from brummer.logs.query import Holds, answer, wanted_by
from brummer.wire.mcp.tool_results import BUDGET_BYTES, ENVELOPE_BYTES

SLICE: Final = 100
"""Lines: a fifth of a millisecond for an ordinary expression."""
LONGEST: Final = HEADING_REACH + MAX_LINES
"""Lines of an error before one of its lines; a longer error is known by its first ones."""
SLICE_S: Final = 0.02
"""CPU time for one slice: other calls wait for it."""


async def lines(
    box: BlackBox, arguments: msgspec.Struct, *, is_over: bool = True, last: str | None = None
) -> dict[str, Any]:
    """The answer to these arguments (see `brummer.logs.query.Wanted`). ``last``: the last generation, if it is known.
    Raises NotFound, InvalidArguments.
    """
    wanted = wanted_by(arguments)
    kept = await asyncio.to_thread(
        box.lines, wanted.process, is_over=is_over, read=_generation_of(wanted.cursor), last=last
    )
    filters: list[Holds] = []
    if wanted.regex:
        matching = await _matching(kept, wanted.query)
        filters.append(lambda line: line.n in matching)
    return await asyncio.to_thread(answer, kept, wanted, wall(), JournalLevels(kept), filters)


class JournalLevels:
    """A `brummer.logs.query.KnowsLevels`: what the instance knew of the lines has died with it, so they are read
    anew. To choose lines by level, all of them are; for the lines of an answer, those near them.
    """

    def __init__(self, kept: JournalEntries[Line]) -> None:
        self._kept = kept

    def is_in_an_error(self, line: Line) -> bool:
        return self._of_all.is_in_an_error(line)

    def of(self, lines: Sequence[Line]) -> Mapping[int, Level]:
        """See `brummer.logs.query.KnowsLevels`."""
        if "_of_all" in self.__dict__:
            return self._of_all.of(lines)
        levels = Levels()
        for process in {line.process for line in lines}:
            own = self._kept.own(process)
            for first, last in _near(own, [line.n for line in lines if line.process == process]):
                _read_into(levels, own[first:last])
        return levels.of(lines)

    @functools.cached_property
    def _of_all(self) -> Levels:
        levels = Levels()
        for process in {line.process for line in self._kept.entries}:
            _read_into(levels, self._kept.own(process))
        return levels


def _near(own: Sequence[Line], numbers: Sequence[int]) -> list[tuple[int, int]]:
    """The parts of ``own``, from one position to another, in which the errors lie that these lines may belong to."""
    near: list[tuple[int, int]] = []
    for n in numbers:
        position = bisect_left(own, n, key=operator.attrgetter("n"))
        first, last = max(0, position - LONGEST), position + HEADING_REACH + 1
        if near and first <= near[-1][1]:
            near[-1] = near[-1][0], last
        else:
            near.append((first, last))
    return near


def _read_into(levels: Levels, lines: Sequence[Line]) -> None:
    """Lines of one process."""
    if not lines:
        return
    of_process = levels.of_process(lines[0].process)
    printed = PrintedErrors(of_process)
    for stream, group in itertools.groupby(lines, key=operator.attrgetter("stream")):
        batch = list(group)
        if stream == "brum":
            of_process.may_name(batch[0].n, batch[-1].n)
        else:
            texts = [line.text for line in batch]
            printed.read(Batch(batch, texts, "\n".join(texts)), 0.0)


def _generation_of(cursor: str | None) -> str | None:
    """Raises InvalidArguments."""
    return None if cursor is None else parse_cursor(cursor).generation


async def changes(box: BlackBox, *, cursor: str | None, limit: int, last: str | None = None) -> dict[str, Any]:
    """As `changes_since`. Raises NotFound, InvalidArguments."""
    kept = await asyncio.to_thread(box.changes, _generation_of(cursor), last)
    page = kept.read(
        cursor, limit, limit_size=BUDGET_BYTES - ENVELOPE_BYTES, size_of=lambda noted: twice_encoded(noted.change)
    )
    return {"changes": [noted.change for noted in page.entries], **page.position()}


async def _matching(kept: JournalEntries[Line], query: str) -> set[int]:
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
