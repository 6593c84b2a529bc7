"""The wait for the first line that an answer of `logs_tail` lacks (``wait_s``).

Each batch of lines is looked at once, when it is printed: nothing is polled, and nothing that was printed before is
read again until the answer is made.
"""

import asyncio
from collections.abc import Callable, Sequence

from brummer.contract.tools import ReadLogs
from brummer.host.patterns import PatternTooSlow, meter_of_call
from brummer.instance.manager import Manager
from brummer.instance.run import Run
from brummer.instance.waiting import CHUNK_BUDGET_S
from brummer.logs import query
from brummer.logs.output import Batch, Line

Concerns = Callable[[Sequence[Line]], bool]
"""Whether one of these lines is wanted."""


async def until_line(manager: Manager, wanted: ReadLogs, process: Run | str | None, now: float) -> bool:
    """Return when a wanted line is printed, or after ``wait_s``; True if there was one. ``process`` as in `logs_tail`,
    ``now`` in seconds since the epoch.

    Raises InvalidArguments for an expression that is too slow.
    """
    comes: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    concerns = _concerns(manager, wanted, process, now)
    name = process.name if isinstance(process, Run) else process

    def look(batch: Batch) -> None:
        if comes.done() or name not in (None, batch.process):
            return
        try:
            if concerns(batch.lines):
                comes.set_result(True)
        except PatternTooSlow as error:
            comes.set_exception(error)

    leave = manager.output.follow(look)
    try:
        async with asyncio.timeout(wanted.wait_s):
            return await comes
    except TimeoutError:
        return False
    finally:
        leave()


def _concerns(manager: Manager, wanted: ReadLogs, process: Run | str | None, now: float) -> Concerns:
    asked = query.wanted_by(wanted)
    filters = query.filters_of(asked, now, lambda: manager.output.levels)
    if isinstance(process, Run):
        filters.insert(0, process.owns)
    if not asked.regex:
        return (
            (lambda lines: any(all(holds(line) for holds in filters) for line in lines)) if filters else lambda _: True
        )
    meter = meter_of_call(asked.query, "query")
    filters.append(lambda line: meter.pattern.matches(line.text))

    def matches(lines: Sequence[Line]) -> bool:
        characters = sum(len(line.text) for line in lines)
        search = lambda: any(all(holds(line) for holds in filters) for line in lines)  # noqa: E731
        return meter.search(len(lines), characters, search, most_s=CHUNK_BUDGET_S)

    return matches
