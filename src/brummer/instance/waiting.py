"""wait_for: block until one of several things is true of one process, or of any.

States count as they are now: a named process that is ready, or has ended, matches at once. A line counts only if it
comes after the wait has begun, or after the ``cursor`` or the time ``since`` that the caller gives, so that no race can
lose one and no old line is taken for a new one. With a cursor or a time, runs that have ended after it count, too. When
the named process has ended, and is not being restarted, no log line and no readiness can come any more, and the wait
ends unmatched at once.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from itertools import chain, repeat
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from brummer.contract.tools import WaitFor
from brummer.host.clocks import wall
from brummer.host.patterns import BUDGET_S, Meter, PatternTooSlow, meter_of_call
from brummer.host.ports import port_answers
from brummer.instance.changes import Published
from brummer.instance.manager import Manager
from brummer.instance.run import ProcessStatus, Run
from brummer.logs.entries import Place, parse_cursor
from brummer.logs.output import Batch, Line
from brummer.logs.query import stamp_of

CHUNK_BUDGET_S = 0.02
"""CPU time for the lines that have come at once: it is spent on the loop."""
ENDS: Final = frozenset({"exited", "failed", "crash-looping", "stopped"})
"""The kinds of changes that end a run."""
PORT_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Between two attempts to connect; the last for ever."""


class Match(msgspec.Struct, frozen=True):
    """``what`` came true: log, ready, exit or port; None if nothing did. ``process``: the run at that time. ``cursor``:
    after the line that matched, or else where output and changes were then. ``why`` nothing did: the run may wait for
    input.
    """

    matched: bool
    what: str | None
    line: Line | None
    process: ProcessStatus | None
    waited_s: float
    cursor: str
    cursor_reset: bool | UnsetType = UNSET
    why: str | UnsetType = UNSET


class Waiting:
    """One wait. `result` runs it; cancelling that leaves nothing behind."""

    def __init__(self, manager: Manager, wanted: WaitFor) -> None:
        self._manager = manager
        self._wanted = wanted
        self._meter = meter_of_call(wanted.log, "log") if wanted.log is not None else None
        self._since = stamp_of(wanted.since, wall()) if wanted.since is not None else ""
        self._after = parse_cursor(wanted.cursor) if wanted.cursor is not None else None
        self._is_reset = self._after is not None and self._after.generation != manager.output.log.generation
        if self._is_reset:
            self._after = Place(manager.output.log.generation)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._found: asyncio.Future[Match] = self._loop.create_future()

    async def result(self) -> Match:
        """Raises InvalidArguments for an expression that is invalid or too slow."""
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self._manager.output.follow(self._on_output, every_line=self._meter is not None))
            cleanup.callback(self._manager.changes.listen(self._on_change))
            self._check_past()
            if self._wanted.port and not self._found.done():
                if await port_answers(self._wanted.port):  # before the timeout begins, which may be 0
                    self._settle("port", self._named())
                cleanup.callback(self._loop.create_task(self._watch_port(self._wanted.port)).cancel)
            try:
                async with asyncio.timeout(self._wanted.timeout_s):
                    return await self._found
            except TimeoutError:
                return self._not_matched()

    def with_errors(self, match: Match) -> Match:
        """The match with the errors of its run as they are now."""
        run = self._manager.find(match.process.process_id) if match.process else None
        if run is None or match.process is None or run.process_id != match.process.process_id:
            return match
        return replace(match, process=replace(match.process, errors=run.status().errors))

    def _check_past(self) -> None:
        if self._wanted.process is not None:
            runs = [named] if (named := self._named()) else []
        else:
            ended = self._ended_after_the_cursor()
            runs = [run for run in self._manager.runs() if self._is_of_now(run) or run.process_id in ended]
        if self._meter and (line := self._first_line(self._meter, self._earlier_lines(runs))):
            self._settle("log", next((run for run in self._manager.runs() if run.owns(line)), None), line)
        for run in runs:
            self._check_state(run)

    def _is_of_now(self, run: Run) -> bool:
        """It lives, or has ended after ``since``."""
        return not run.has_ended or bool(self._since and (run.ended_at or "") >= self._since)

    def _ended_after_the_cursor(self) -> set[str]:
        if self._after is None:
            return set()
        return {each.process_id for each in self._manager.changes.log.after(self._after.change_n) if each.kind in ENDS}

    def _earlier_lines(self, runs: Sequence[Run]) -> list[Line]:
        """Those after the cursor, or else those of these runs since the given time; oldest first."""
        if self._after is not None:
            named = self._named()
            process = named.name if named else self._wanted.process
            after = self._manager.output.log.after(self._after.line_n, process)
            is_one_run = named is not None and named.name != self._wanted.process
            lines = filter(named.owns, after) if named and is_one_run else after
        elif self._since:
            lines = iter(sorted(chain.from_iterable(map(self._manager.lines_of, runs)), key=attrgetter("n")))
        else:
            return []
        return [line for line in lines if line.at >= self._since]

    def _first_line(self, meter: Meter, lines: Sequence[Line], most_s: float = BUDGET_S) -> Line | None:
        matches, characters = meter.pattern.matches, sum(len(line.text) for line in lines)
        return meter.search(
            len(lines), characters, lambda: next((line for line in lines if matches(line.text)), None), most_s=most_s
        )

    def _named(self) -> Run | None:
        return self._manager.find(self._wanted.process) if self._wanted.process is not None else None

    def _concerns(self, run: Run) -> bool:
        """A name means all runs of that script, and not a run of another script that has it as its id."""
        named = self._wanted.process
        return named in (None, run.name) or (named == run.process_id and self._manager.find(named) is run)

    def _on_output(self, batch: Batch) -> None:
        run = self._manager.current(batch.process)
        if self._meter is None or run is None or not self._concerns(run) or self._found.done():
            return
        try:
            if line := self._first_line(self._meter, batch.lines, CHUNK_BUDGET_S):
                self._settle("log", run, line)
        except PatternTooSlow as error:
            self._found.set_exception(error)

    def _on_change(self, published: Published) -> None:
        if self._concerns(published.run):
            self._check_state(published.run)

    def _check_state(self, run: Run) -> None:
        if self._wanted.ready and run.state == "ready":
            self._settle("ready", run)
        elif self._wanted.exit and run.has_ended:
            self._settle("exit", run)
        elif run.has_ended and not self._wanted.port and self._is_the_last(run):
            self._settle(None, run)

    def _is_the_last(self, run: Run) -> bool:
        """No other run of those that were named will follow it."""
        named = self._wanted.process
        is_followed = run.successor is not None or self._manager.comes_back(run)
        return named == run.process_id or (named == run.name and not is_followed)

    def _settle(self, what: str | None, run: Run | None, line: Line | None = None) -> None:
        if not self._found.done():
            self._found.set_result(self._match(what, run, line))

    def _not_matched(self) -> Match:
        """With the run that asks something, if one does."""
        from brummer.instance.input_hints import asking, asks  # noqa: PLC0415 - no start needs it

        named = self._named()
        asker = asking([named] if named else [] if self._wanted.process else self._manager.current_runs())
        match = self._match(None, named or asker)
        return replace(match, why=asks(asker)) if asker else match

    def _match(self, what: str | None, run: Run | None, line: Line | None = None) -> Match:
        waited_s = round(self._loop.time() - self._began, 3)
        cursor = self._manager.cursor(line.n if line else None)
        status = run.status() if run else None
        return Match(
            what is not None, what, line and line.seen(colours=False), status, waited_s, cursor, self._is_reset or UNSET
        )

    async def _watch_port(self, port: int) -> None:
        """Check until it answers."""
        for pause_s in chain(PORT_PAUSES_S, repeat(PORT_PAUSES_S[-1])):
            await asyncio.sleep(pause_s)
            if await port_answers(port):
                self._settle("port", self._named())
                return
