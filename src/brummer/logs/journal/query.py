"""The answers of a black box, in the shapes of a live instance's answers.

Files are read in a thread. Only a regular expression is matched on the loop, in slices, because the bound on its time
holds there and nowhere else.
"""

import asyncio
import functools
import itertools
import operator
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from brummer.host.clocks import wall
from brummer.host.patterns import Pattern, meter_of_call
from brummer.logs.entries import twice_encoded
from brummer.logs.error_groups import PrintedErrors
from brummer.logs.journal.reader import BlackBox, JournalEntries
from brummer.logs.output import Batch, Line
from brummer.logs.query import Holds, answer, wanted_by
from brummer.wire.mcp.tool_results import BUDGET_BYTES, ENVELOPE_BYTES

SLICE: Final = 100
"""Lines: a fifth of a millisecond for an ordinary expression."""
SLICE_S: Final = 0.02
"""CPU time for one slice: other calls wait for it."""


async def lines(box: BlackBox, arguments: msgspec.Struct, *, is_over: bool = True) -> dict[str, Any]:
    """The answer to these arguments (see `brummer.logs.query.Wanted`). Raises NotFound, InvalidArguments."""
    wanted = wanted_by(arguments)
    kept = await asyncio.to_thread(box.lines, wanted.process, is_over=is_over)
    filters: list[Holds] = []
    if wanted.regex:
        matching = await _matching(kept, wanted.query)
        filters.append(lambda line: line.n in matching)
    return await asyncio.to_thread(answer, kept, wanted, wall(), _IsInAnError(kept.entries), filters)


class _IsInAnError:
    """Searches the lines for errors anew, once it is asked: what the instance knew of them has died with it."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    def __call__(self, line: Line) -> bool:
        return self._printed_errors[line.process].owns(line.n)

    @functools.cached_property
    def _printed_errors(self) -> dict[str, PrintedErrors]:
        printed: defaultdict[str, PrintedErrors] = defaultdict(PrintedErrors)
        for (process, _), group in itertools.groupby(self._lines, key=operator.attrgetter("process", "stream")):
            batch = list(group)
            texts = [line.text for line in batch]
            printed[process].read(Batch(batch, texts, "\n".join(texts)), 0.0)
        for each in printed.values():
            each.settle(0.0)
        return printed


async def changes(box: BlackBox, *, cursor: str | None, limit: int) -> dict[str, Any]:
    """As `changes_since`. Raises NotFound, InvalidArguments."""
    kept = await asyncio.to_thread(box.changes)
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
