"""The black box of an instance: it writes the output and the changes of its runs as they happen, and reads what earlier
generations have written.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from brummer.contract.tools import ReadLogs
from brummer.discovery.record import Record
from brummer.settings.limits import Limits

if TYPE_CHECKING:
    from brummer.logs.journal.reader import BlackBox
    from brummer.logs.journal.writer import Journal, RunJournal

SHOWN_PAST: Final = 3
"""Runs of a script that are shown beside those of this generation: the last ends, not the history."""


class BlackBoxWriter:
    """Used as ``async with BlackBoxWriter(…)`` around the manager whose runs it records. ``find_root`` may block.

    The writer is imported with the first run: the start of an instance has no time for it.
    """

    def __init__(self, record: Record, find_root: Callable[[], Path], limits: Limits) -> None:
        self._record = record
        self._limits = limits
        self._find_root = find_root
        self._journal: Journal | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._journal is not None:
            await self._journal.close()

    @property
    def problem(self) -> str | None:
        """Why the last write failed; None if it did not."""
        return self._journal.problem if self._journal is not None else None

    def open(self, name: str) -> "RunJournal":
        """The journal of a new run of this script."""
        if self._journal is None:
            from brummer.logs.journal.record_format import About  # noqa: PLC0415 - see above
            from brummer.logs.journal.writer import Journal  # noqa: PLC0415 - see above

            about = About(self._record.instance_id, self._record.name, self._record.directory)
            self._journal = Journal(self._find_root, about, self._record.generation, limits=self._limits)
        return self._journal.open(name)


class Past:
    """What earlier generations have written; it is read for each question."""

    def __init__(self, find_directory: Callable[[], Path], generation: str) -> None:
        self._find_directory = find_directory
        self._generation = generation

    async def processes(self, name: str) -> list[dict[str, Any]]:
        """The last runs of this name, or the run with this id (``dev-1@GENERATION``), as in `scripts_status`."""
        box = await asyncio.to_thread(self._box)
        found = box.find(name)[:SHOWN_PAST]
        return [{**run.facts(None, is_over=True), "from": "black box"} for run in found]

    async def lines(self, wanted: ReadLogs) -> dict[str, Any]:
        """The answer of `logs_tail` or `logs_search` about one of those. Raises NotFound, InvalidArguments."""
        from brummer.logs.journal import query  # noqa: PLC0415 - not before it is asked for

        box = await asyncio.to_thread(self._box)
        return {**await query.lines(box, wanted), "from": "black box"}

    def _box(self) -> "BlackBox":
        from brummer.logs.journal.reader import BlackBox  # noqa: PLC0415 - not before it is asked for

        return BlackBox(self._find_directory(), without=self._generation)
