"""One run of a script from its creation to its end.

A `LiveRun` owns everything that exists only while the run lives: its process, the check of its readiness, the errors
that are still being printed, its journal, and the wait for its restart. One task takes it through these steps:

    wait for the restart ─► wait for dependencies ─► start the process ─► follow it to its end ─► decide what follows

and releases all of it in one ``finally``. The facts of the run (`Run`) stay. An automatic restart is a new run, pending
until its time has come: the `successor` of the old one. A wait for the script continues with it, and a stop of either
stops it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from brummer.core.errors import BrummerError, unforeseen
from brummer.core.supervisor import Supervisor
from brummer.host.clocks import wall
from brummer.host.out_of_memory import OomKills, oom_kills
from brummer.host.patterns import PatternTooSlow
from brummer.instance import dependencies, exit_reason, starting
from brummer.instance.changes import Changes, Kind
from brummer.instance.detect import Script
from brummer.instance.environment import Prepared, environment_of
from brummer.instance.port_owner import owner_of
from brummer.instance.restart_policy import RESTART_BASE_S
from brummer.instance.run import KEPT_RUNS, Ending, Run, Runs, Surroundings
from brummer.instance.script_ports import ScriptPorts
from brummer.logs.output import Batch, Output, Stamp
from brummer.logs.text import shortened
from brummer.process.child import Child, Exit, Shared, start
from brummer.process.guard import Guard
from brummer.process.pipe_reader import FloodHandler
from brummer.process.readiness import Readiness

if TYPE_CHECKING:
    from brummer.contract.tools import TypeIn
    from brummer.core.terminal_modes import TerminalModes
    from brummer.instance.attaching import Attachments
    from brummer.logs.error_groups import ErrorGroup
    from brummer.logs.journal.writer import RunJournal
    from brummer.logs.line_levels import LineLevels
    from brummer.process.pipe_reader import Stream as ChildStream

_log = logging.getLogger(__name__)

INCOMPLETE = "a process that left its group still held the output open; what it prints is not read"
CHANGE_LINES = 5
CHANGE_LINE_LENGTH = 200
"""In the change that reports a failure: enough for its last words."""
EXPLAINING_LINES = 200
"""The last lines, searched for the cause of a failure: a stack trace and a wrapper's words may follow it."""
SHUTDOWN_MARGIN_S: Final = 5.0
"""Beyond the stop timeouts of the scripts themselves: 10 s in all with the default timeout."""
SETTLE_S = 0.15
"""An error is complete when its run has printed nothing for so long: a stack trace is printed in one go, and a busy
machine may take some milliseconds between its lines.
"""


class ShuttingDown(BrummerError):
    """The instance is about to end and starts nothing more."""

    code = "shutting_down"
    transient = True


class Tuning(msgspec.Struct, frozen=True):
    """What tests change: numbers, and what reaches the system."""

    kept_runs: int = KEPT_RUNS
    restart_base_s: float = RESTART_BASE_S
    dependency_grace_s: float = dependencies.GRACE_S
    shutdown_margin_s: float = SHUTDOWN_MARGIN_S
    start: Callable[..., Child] = start
    oom_kills: Callable[[], OomKills | None] = oom_kills


class Context(msgspec.Struct):
    """What all live runs of an instance share. ``find`` gives the script of a name and may block. ``ensure`` starts a
    script, in an ``environment``. ``open_journal``: see `brummer.instance.black_box`.
    """

    generation: str
    output: Output
    changes: Changes
    runs: Runs
    guard: Guard
    supervisor: Supervisor
    find: Callable[[str], Script]
    ensure: Callable[..., Awaitable[object]]
    open_journal: "Callable[[str], RunJournal] | None"
    tuning: Tuning
    shared: Shared
    stamp: Stamp
    ports: ScriptPorts
    live: "dict[Run, LiveRun]" = {}
    is_closing: bool = False

    def now(self) -> str:
        return self.stamp(wall())

    def refuse_when_closing(self, script: Script) -> None:
        if self.is_closing:
            raise ShuttingDown(f"{script.name} was not started: the instance is shutting down")


class _Started(msgspec.Struct, frozen=True):
    child: Child
    readiness: Readiness


class LiveRun:
    """Made for a new run; `begin` starts it, and its task ends it."""

    def __init__(self, run: Run, context: Context) -> None:
        self.run = run
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._sink = context.output.open(run.name, self._on_output)
        self._open_journal = context.open_journal
        self._journal: RunJournal | None = None
        self._restart_now = asyncio.Event()
        self._killed_before: OomKills | None = None
        self._readiness: Readiness | None = None
        self._modes: TerminalModes | None = None
        self._attachments: Attachments | None = None
        self._settling: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        run.unfinished = self._sink.unfinished
        context.live[run] = self

    def __repr__(self) -> str:
        return f"<LiveRun of {self.run!r}>"

    @property
    def prints_an_error(self) -> bool:
        """Lines that belong to its last error may still come."""
        return self._settling is not None

    def begin(self) -> None:
        """Start the process now if nothing has to be waited for. Raises ScriptFailedToStart, ShuttingDown, and
        InvalidArguments for settings without a meaning. A run that waits reports its error when it ends.
        """
        run, started = self.run, None
        if run.restart_at_s is None and not starting.has_to_wait(run.script):
            try:
                started = self._start(self._prepared())
            except Exception as error:
                known = self._failed_to_start(error)
                self._release()
                raise known from error
        self.task = self._loop.create_task(self._live(started), name=f"run {run.process_id}")

    def type_in(self, wanted: "TypeIn") -> int:
        """Type to it; returns the number of bytes. Raises as `brummer.instance.script_input.type_to` does."""
        from brummer.instance.script_input import type_to  # noqa: PLC0415 - few scripts are typed to

        return type_to(self.run, self._sink, wanted, wall(), self._modes)

    @property
    def attachments(self) -> "Attachments":
        """People's terminals. Raises as `brummer.instance.script_input.input_of` does."""
        if self._attachments is None:
            from brummer.instance.attaching import Attachments  # noqa: PLC0415 - as above

            self._attachments = Attachments(self, self._modes, self._note)
        return self._attachments

    def restart_now(self, script: Script, surroundings: Surroundings) -> None:
        """Requested while it waits for its restart: start it at once, as if for the first time."""
        self.run.asked_again(script, surroundings)
        self._restart_now.set()

    async def cancel(self, by: str, who: str | None) -> None:
        """End a pending run."""
        self.run.stop_asked(by, who)
        self.run.cancelled(self._context.now(), self._context.output.log.last_n)
        self._publish_end()
        await self.abandon()

    async def abandon(self) -> None:
        """End its task, whatever it does."""
        if self.task:
            self.task.cancel()
            await asyncio.wait([self.task])
        self._release()  # a task that never began has not

    async def find_port_owner(self) -> None:
        """A watcher such as nodemon lives on when its program has failed for a taken port: find the owner."""
        run, generation = self.run, self._context.generation
        lines, wanted = self._explaining_lines(), starting.wanted_port(run.script)
        _, run.port_owner = await asyncio.to_thread(exit_reason.taken_port, lines, wanted, generation)
        readiness = self._readiness
        if run.port_owner is None and readiness:
            await readiness.check_taken_port()
            if readiness.taken_port:
                owner = await asyncio.to_thread(owner_of, readiness.taken_port, generation)
                run.port_owner = None if owner and owner.script else owner  # a script of ours is probably used by it

    # The steps.

    async def _live(self, started: "_Started | None") -> None:
        try:
            if started or (started := await self._started()):
                await self._end(started.child, await self._followed(started.child, started.readiness))
        finally:
            self._release()

    async def _started(self) -> "_Started | None":
        """Wait for all that the start needs, and start the process."""
        run, context = self.run, self._context
        try:
            await self._restart_is_due()
            if run.script.depends_on:
                await dependencies.satisfied(
                    run,
                    context.runs,
                    context.changes,
                    context.find,
                    partial(context.ensure, environment=run.surroundings.environment),
                    grace_s=context.tuning.dependency_grace_s,
                )
            prepared = await asyncio.to_thread(self._prepared)
            if port := starting.wanted_port(run.script):
                run.port_owner = await asyncio.to_thread(owner_of, port, context.generation)
                if run.port_owner:
                    self._note(run.port_owner.in_words())
            return self._start(prepared)
        except Exception as error:  # noqa: BLE001 - the barrier: an internal error must not leave it pending for ever
            self._failed_to_start(error)
            return None

    async def _restart_is_due(self) -> None:
        if self.run.restart_at_s is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self.run.restart_at_s):
                    await self._restart_now.wait()
            self.run.restart_at_s = None

    def _prepared(self) -> Prepared:
        """Blocks, where the script has to wait. Raises as `environment_of` does."""
        run, context = self.run, self._context
        given = run.surroundings.environment.variables
        return environment_of(run.script, given, context.ports, context.generation, run.process_id)

    def _start(self, prepared: Prepared) -> "_Started":
        """Raises as `begin` does."""
        run, script, context = self.run, self.run.script, self._context
        context.refuse_when_closing(script)
        starting.stop_signal_of(script)
        for note in prepared.notes:
            self._note(note)
        proof = starting.proof_of(script, run.port_owner)
        run.start_due(context.now(), self._loop.time())
        self._killed_before = context.tuning.oom_kills()  # before the start: it may be killed in its first moment
        if script.wants_terminal:
            from brummer.core.terminal_modes import TerminalModes  # noqa: PLC0415 - few scripts have a terminal

            self._modes = TerminalModes()
        child = context.tuning.start(
            script.command,
            script.directory,
            prepared.variables,
            self._on_chunk,
            on_flood=FloodHandler(
                self._on_flood,
                lambda stream: self._sink.show_sample(stream, wall()),
                self._may_be_sampled,
            ),
            stdin="terminal" if script.wants_terminal else "ended" if run.surroundings.input_ends else "open",
            shared=context.shared,
        )
        context.guard.add(child.pid)
        run.spawned(child)
        self._readiness = Readiness(child.tree, run.printed_ports, proof)
        self._publish("started")
        return _Started(child, self._readiness)

    async def _followed(self, child: Child, readiness: Readiness) -> Exit:
        """The exit of the process; only a shutdown that runs out of time cancels this."""
        run = self.run
        watching = self._context.supervisor.start(
            f"readiness of {run.process_id}", partial(self._becomes_ready, readiness), may_end=True
        )
        try:
            return await asyncio.shield(child.ended)
        except asyncio.CancelledError:
            await child.abandon()
            raise
        except Exception:  # noqa: BLE001 - the barrier: an internal error must not leave it running for ever
            _log.exception("%s could not be followed to its end", run.process_id)
            return Exit(None, None, asked=run.state == "stopping", output_complete=False)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            self._readiness = None

    async def _becomes_ready(self, readiness: Readiness) -> None:
        listening = await readiness.wait()
        if self.run.state == "running":
            self.run.became_ready(listening, self._context.now())
            self._publish("ready", urls=self.run.urls)

    async def _end(self, child: Child, exit_: Exit) -> None:
        run, context = self.run, self._context
        context.guard.remove(child.pid)
        self._sink.end(wall())
        if not exit_.output_complete:
            self._note(INCOMPLETE)
        try:
            self._settle_errors()
            ending = await exit_reason.ending_of(
                run,
                exit_,
                self._explaining_lines(),
                context.runs.restarts(run),
                context.generation,
                lambda: exit_reason.kills_since(self._killed_before, context.tuning.oom_kills()),
            )
        except Exception as error:  # noqa: BLE001 - the barrier: as above
            _log.exception("the cause of the end of %s was not found", run.process_id)
            ending = Ending(f"why it ended could not be found out: {error}")
        run.ended(exit_, ending, context.now(), context.output.log.last_n)
        self._follow_up(ending)

    def _failed_to_start(self, error: Exception) -> BrummerError:
        run, context = self.run, self._context
        if not isinstance(error, BrummerError):
            _log.error("%s could not be started", run.process_id, exc_info=error)
        known = unforeseen(error, f"{run.name} was not started: it failed", outcome="not_executed")
        self._note(known.message)
        ending = exit_reason.ending_of_failed_start(run, known, context.runs.restarts(run))
        run.never_started(known, ending, context.now(), context.output.log.last_n)
        self._follow_up(ending)
        return known

    def _follow_up(self, ending: Ending) -> None:
        """Create the successor first: who sees the end of the run can see that it is not final."""
        context = self._context
        if ending.restart_in_s is not None and not context.is_closing:
            surroundings = msgspec.structs.replace(self.run.surroundings, by=None)
            successor = context.runs.new(
                self.run.script, surroundings, context.output.log.last_n, context.now(), ending.restarts
            )
            successor.restart_at_s = self._loop.time() + ending.restart_in_s
            self.run.successor = successor
            LiveRun(successor, context).begin()
        self._publish_end()

    def _release(self) -> None:
        """May be called twice."""
        self._context.live.pop(self.run, None)
        self._stop_settling()
        if self._attachments:
            self._attachments.end()
            self._attachments = None
        self._open_journal = None
        if self._journal:
            self._journal.close()
            self._journal = None

    # What it prints.

    def _on_chunk(self, stream: "ChildStream", chunk: bytes) -> None:
        self._show(chunk)
        self._sink.feed(stream, chunk, wall())

    def _on_flood(self, stream: "ChildStream", chunk: bytes) -> None:
        self._show(chunk)
        self._sink.sample(stream, chunk, wall())

    def _show(self, chunk: bytes) -> None:
        """To people's terminals, as it came."""
        if self._modes:
            self._modes.read(chunk)
        if self._attachments and chunk:
            self._attachments.output(chunk)

    def _may_be_sampled(self) -> bool:
        """No line that it may print is waited for."""
        return self._context.output.may_be_sampled and not (self._readiness and self._readiness.waits_for_a_line)

    def _on_output(self, batch: Batch) -> None:
        """Errors come last: a line that our expressions can't take costs no more than the errors of its batch."""
        if journal := self._journaled():
            journal.add(batch.lines)
        if batch.stream == "brum":
            self._levels().may_name(batch.lines[0].n, batch.lines[-1].n)
            return
        urls = self.run.new_urls(batch.text)
        if self._readiness:
            try:
                self._readiness.printed([line.text for line in batch.lines], new_url=bool(urls))
            except PatternTooSlow as error:
                reason = self.run.ready_pattern_refused(error.message)
                self._loop.call_soon(self._note, reason)  # other followers have yet to see the batch
        if urls:
            self._publish("url", at=batch.lines[0].at, urls=urls)
        self._read_errors(batch)

    def _read_errors(self, batch: Batch) -> None:
        self._stop_settling()
        if self.run.printed_errors is None:
            from brummer.logs.error_groups import PrintedErrors  # noqa: PLC0415 - not before there is something to read

            self.run.printed_errors = PrintedErrors(self._levels())
        printed = self.run.printed_errors
        self._publish_errors(printed.read(batch, self._loop.time()))
        if printed.is_open:
            self._settling = self._loop.call_later(SETTLE_S, self._settle_errors)

    def _levels(self) -> "LineLevels":
        output = self._context.output
        if output.levels is None:
            from brummer.logs.line_levels import Levels  # noqa: PLC0415 - not before there is something to read

            output.levels = Levels()
        return output.levels.of_process(self.run.name)

    def _settle_errors(self) -> None:
        """The error that was printed last is complete."""
        self._stop_settling()
        if self.run.printed_errors is not None:
            self._publish_errors(self.run.printed_errors.settle(self._loop.time()))

    def _stop_settling(self) -> None:
        if self._settling:
            self._settling.cancel()
            self._settling = None

    def _publish_errors(self, errors: "list[ErrorGroup]") -> None:
        for error in errors:
            self._publish("error", error=error)

    def _note(self, text: str) -> None:
        """A line of our own about the run."""
        self._sink.note(text, wall())

    def _explaining_lines(self) -> list[str]:
        return [line.text for line in self.run.last_lines(self._context.output.log, EXPLAINING_LINES)]

    # What is published.

    def _publish_end(self) -> None:
        kind: Literal["failed", "crash-looping", "exited", "stopped"] = self.run.state  # type: ignore[assignment]
        is_failure = kind in {"failed", "crash-looping"}
        self._publish(kind, last_lines=self._last_words() if is_failure else UNSET)

    def _last_words(self) -> list[str] | UnsetType:
        """The last lines that neither the reason nor an error has reported."""
        run, reason = self.run, self.run.reason or ""
        news = [
            line
            for line in run.last_lines(self._context.output.log, CHANGE_LINES)
            if not (run.has_reported(line.n) or (line.stream == "brum" and line.text in reason))
        ]
        return [shortened(line.text, CHANGE_LINE_LENGTH) for line in news] or UNSET

    def _publish(
        self,
        kind: Kind,
        *,
        at: str | None = None,
        urls: list[str] | UnsetType = UNSET,
        last_lines: list[str] | UnsetType = UNSET,
        error: "ErrorGroup | None" = None,
    ) -> None:
        published = self._context.changes.publish(
            kind, self.run, at or self._context.now(), urls=urls, last_lines=last_lines, error=error
        )
        if journal := self._journaled():
            journal.note(published.change.n, published.change, published.status)

    def _journaled(self) -> "RunJournal | None":
        """None without a black box, once the run is over, and while the journal can't be opened."""
        if self._journal is None and self._open_journal:
            try:
                self._journal = self._open_journal(self.run.name)
            except Exception:  # noqa: BLE001 - the barrier: the first import of its code needs descriptors and memory
                _log.exception("the journal of %s can't be opened, and is tried again", self.run.process_id)
        return self._journal
