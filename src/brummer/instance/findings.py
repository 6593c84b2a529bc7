"""What the runs' output means: it is read for errors as it comes, and those that are news become changes.

The lines of one error may come in pieces. So it is told when a line shows that it is over, when its run has ended, or
when nothing more has come for a moment.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from brummer.instance.changes import Changes
from brummer.instance.run import Run
from brummer.logs.output import Batch

if TYPE_CHECKING:
    from brummer.logs.error_groups import ErrorGroup, Problems

_log = logging.getLogger(__name__)

SETTLE_S = 0.15
"""A stack trace is printed in one go; a busy machine may take some milliseconds between its lines."""


class Findings:
    """Reads for all runs of an instance. ``now`` gives the time of a change."""

    def __init__(self, changes: Changes, now: Callable[[], str]) -> None:
        self._changes = changes
        self._now = now
        self._settling: dict[Run, asyncio.TimerHandle] = {}

    def read(self, run: Run, batch: Batch) -> None:
        """What a run has printed."""
        loop = asyncio.get_running_loop()
        if run.problems is None:
            from brummer.logs.error_groups import Problems  # noqa: PLC0415 - not before there is something to read

            run.problems = Problems()
        self._publish(run, self._news(run, run.problems, batch, loop.time()))
        if settling := self._settling.pop(run, None):
            settling.cancel()
        if run.problems.is_open:
            self._settling[run] = loop.call_later(SETTLE_S, self.end, run)

    def _news(self, run: Run, problems: "Problems", batch: Batch, now_s: float) -> "list[ErrorGroup]":
        try:
            return problems.read(batch, now_s)
        except Exception:  # noqa: BLE001 - the barrier: a line that is too much for us costs its batch, no more
            _log.exception("some output of %s could not be read for errors", run.process_id)
            return []

    def end(self, run: Run) -> None:
        """No more will come, or nothing has for a moment."""
        if settling := self._settling.pop(run, None):
            settling.cancel()
        if run.problems is not None:
            self._publish(run, run.problems.settle(asyncio.get_running_loop().time()))

    async def settled(self) -> None:
        """Errors that are being printed right now are told when this returns, a moment later at the most."""
        if self._settling:
            await asyncio.sleep(SETTLE_S)

    def _publish(self, run: Run, news: "list[ErrorGroup]") -> None:
        for error in news:
            self._changes.publish("error", run, self._now(), error=error)
