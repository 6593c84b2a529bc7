"""Writes down what the manager's scripts print and what becomes of them, as it happens; and reads what the generations
before this one wrote.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from brummer.contract.arguments import TailLogs
from brummer.discovery.record import Record
from brummer.instance.changes import Change
from brummer.instance.manager import Manager
from brummer.instance.run import Run
from brummer.logs.output import Batch
from brummer.settings.limits import DEFAULTS

if TYPE_CHECKING:
    from brummer.logs.journal.reader import BlackBox
    from brummer.logs.journal.writer import Journal, RunJournal

SHOWN_PAST: Final = 3
"""Of a script, beside its runs of this generation: its last ends, not its history."""


class Recorder:
    """Used as ``async with Recorder(…)`` around the manager that it listens to. ``find_root`` may block.

    What writes is imported with the first run: an instance is to answer before that.
    """

    def __init__(
        self, record: Record, find_root: Callable[[], Path], *, limit_bytes: int = DEFAULTS.journal_bytes
    ) -> None:
        self._record = record
        self._limit_bytes = limit_bytes
        self._find_root = find_root
        self._journal: Journal | None = None
        self._current: Callable[[str], Run | None] = lambda _: None
        self._open: dict[Run, RunJournal | None] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._journal is not None:
            await self._journal.close()

    @property
    def problem(self) -> str | None:
        """The reason why it can't be written just now; None if it can."""
        return self._journal.problem if self._journal is not None else None

    def listen_to(self, manager: Manager) -> None:
        """From now on."""
        self._current = manager.current
        manager.output.follow(self._on_output)
        manager.changes.listen(self._on_change)

    def _on_output(self, batch: Batch) -> None:
        run = self._current(batch.process)
        if run is not None and (journal := self._journal_of(run)):
            journal.add(batch.lines)

    def _on_change(self, change: Change, run: Run) -> None:
        if journal := self._journal_of(run):
            journal.note(change.n, change, run.status())
            if run.has_ended:
                journal.close()
                self._open[run] = None

    def _journal_of(self, run: Run) -> "RunJournal | None":
        """None when the run has ended."""
        if run not in self._open:
            self._open = {known: journal for known, journal in self._open.items() if journal}
            self._journal = self._journal or self._new_journal()
            self._open[run] = self._journal.open(run.name)
        return self._open[run]

    def _new_journal(self) -> "Journal":
        from brummer.logs.journal.record_format import About  # noqa: PLC0415 - see above
        from brummer.logs.journal.writer import Journal  # noqa: PLC0415 - see above

        about = About(self._record.instance_id, self._record.name, self._record.directory)
        return Journal(self._find_root, about, self._record.generation, limit_bytes=self._limit_bytes)


class Past:
    """What earlier generations left behind; nothing is read before it is asked for."""

    def __init__(self, find_directory: Callable[[], Path], generation: str) -> None:
        self._find_directory = find_directory
        self._generation = generation

    async def processes(self, name: str) -> list[dict[str, Any]]:
        """The last runs of this name, or the one of an id (``dev-1@GENERATION``), as `scripts_status` shows them."""
        box = await asyncio.to_thread(self._box)
        found = box.find(name)[:SHOWN_PAST]
        return [{**run.facts(None, is_over=True), "from": "black box"} for run in found]

    async def lines(self, wanted: TailLogs) -> dict[str, Any]:
        """As `logs_tail` or `logs_search`, of one of those. Raises NotFound, InvalidArguments."""
        from brummer.logs.journal import query  # noqa: PLC0415 - not before it is asked for

        box = await asyncio.to_thread(self._box)
        return {**await query.lines(box, wanted), "from": "black box"}

    def _box(self) -> "BlackBox":
        from brummer.logs.journal.reader import BlackBox  # noqa: PLC0415 - not before it is asked for

        return BlackBox(self._find_directory(), without=self._generation)
