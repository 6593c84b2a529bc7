"""The answers that a black box can give, in the shapes in which a live instance gives them, and marked.

Files are read in a thread. Only a regular expression is matched on the loop, in slices, because the bound on its time
holds there and nowhere else.
"""

import asyncio
import functools
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from brummer.process.black_box import BlackBox, Kept, page
from brummer.process.numbered import PAGE_BYTES
from brummer.process.output import Line
from brummer.process.patterns import BUDGET_S, Pattern

SLICE: Final = 500
"""Lines: under a millisecond for an ordinary expression."""
SEARCH_S: Final = 2.0
"""For all of it: an ordinary expression takes a tenth of that for as much as is ever read."""

Answer = dict[str, Any]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines, as the arguments of `logs_tail` and `logs_search` say it; others they have mean nothing here."""

    process: str | None = None
    cursor: str | None = None
    limit: int = 100
    limit_bytes: int = PAGE_BYTES
    query: str = ""
    regex: bool = False


async def lines(box: BlackBox, arguments: msgspec.Struct, *, is_over: bool = True) -> Answer:
    """What these arguments (see `Wanted`) ask for. Raises NotFound, InvalidArguments."""
    wanted = msgspec.convert(arguments, Wanted, from_attributes=True)
    kept = await asyncio.to_thread(box.lines, wanted.process, is_over=is_over)
    matching = await _matching(kept, wanted.query) if wanted.regex else None

    def fits(line: Line) -> bool:
        return wanted.query in line.text if matching is None else line.n in matching

    found = await asyncio.to_thread(page, kept, wanted.cursor, wanted.limit, fits, wanted.limit_bytes)
    return {"lines": found.entries, **found.position()}


async def changes(box: BlackBox, *, cursor: str | None, limit: int) -> Answer:
    """As `changes_since`. Raises NotFound, InvalidArguments."""
    found = page(await asyncio.to_thread(box.changes), cursor, limit, lambda _: True)
    return {"changes": [noted.change for noted in found.entries], **found.position()}


async def _matching(kept: Kept, query: str) -> set[int]:
    """The numbers of the lines that match. Raises InvalidArguments, also for an expression that takes too long."""
    pattern = Pattern(query, argument="query")
    loop = asyncio.get_running_loop()
    until_s = loop.time() + SEARCH_S
    matching: set[int] = set()
    for start in range(0, len(kept.entries), SLICE):
        part = kept.entries[start : start + SLICE]
        budget_s = max(0.001, min(BUDGET_S, until_s - loop.time()))
        matching |= pattern.within(budget_s, functools.partial(_matching_of, pattern, part))
        await asyncio.sleep(0)
    return matching


def _matching_of(pattern: Pattern, lines: Sequence[Line]) -> set[int]:
    return {line.n for line in lines if pattern.matches(line.text)}
