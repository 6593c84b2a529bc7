"""The scripts of one project: make sure that one runs, stop it, restart it, and wait for it.

Of each script at most one run lives, and one task per live run does everything for it (`live_run`). A lock per script
makes "stop, then start" one step; everything else happens between two awaits.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from operator import attrgetter
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self

from brummer.core.supervisor import Supervisor
from brummer.instance import starting
from brummer.instance.changes import Changes
from brummer.instance.dependencies import stop_waves
from brummer.instance.detect import Script
from brummer.instance.environment import Environment, passed_on
from brummer.instance.live_run import SETTLE_S, Context, LiveRun, Tuning
from brummer.instance.run import Run, Runs, Surroundings
from brummer.instance.script_ports import ScriptPorts
from brummer.instance.scripts import unknown
from brummer.logs.output import Line, Output, Stamp
from brummer.process.child import Child, Shared
from brummer.process.guard import Guard
from brummer.process.process_tree import Scans
from brummer.process.reaper import reap_orphans
from brummer.process.throttle import Throttle

if TYPE_CHECKING:
    from brummer.contract.tools import TypeIn
    from brummer.instance.attaching import Attachments
    from brummer.instance.usage import ScriptUsage
    from brummer.logs.journal.writer import RunJournal

BURST_SETTLES: Final = 7
"""One second. A stack trace takes milliseconds; a script that prints errors without a pause must not delay an answer.
"""
PREPARED_S: Final = 1.0
"""Env files are read, and ports looked at, in milliseconds. A pipe that a password manager fills takes longer."""
DEFAULT_TUNING: Final = Tuning()
Until = Literal["none", "ready", "exit"]


def _no_other(name: str) -> Script:
    raise unknown("script", name, [])


class Manager:
    """Used as ``async with Manager(…) as manager``; leaving stops everything, within 10 s as a rule.

    ``output`` and ``changes`` are public: read them, subscribe to them. ``guard`` may be one that was never
    started. ``find`` gives the script of a name, for dependencies; it may block. ``open_journal(name)`` opens the
    journal of a new run.
    """

    def __init__(
        self,
        generation: str,
        guard: Guard,
        *,
        output: Output | None = None,
        find: Callable[[str], Script] = _no_other,
        supervisor: Supervisor | None = None,
        open_journal: "Callable[[str], RunJournal] | None" = None,
        tuning: Tuning = DEFAULT_TUNING,
    ) -> None:
        self.output = output or Output(generation)
        self.changes = Changes(generation)
        self.output.log.other_n = lambda: self.changes.log.last_n
        self.changes.log.other_n = lambda: self.output.log.last_n
        self.cursor = self.output.log.cursor
        self._runs = Runs(kept_runs=tuning.kept_runs, restart_base_s=tuning.restart_base_s)
        self._context = Context(
            generation,
            self.output,
            self.changes,
            self._runs,
            guard,
            supervisor or Supervisor(),
            find,
            self.ensure,
            open_journal,
            tuning,
            Shared(Throttle(), Scans()),
            Stamp(),
            ScriptPorts(),
        )
        self.output.log.since = self.changes.log.since = self._context.now()
        self.own_environment = Environment(passed_on(os.environ), self._context.now())
        """Of those scripts that no command has started with its own."""
        self._tasks: list[asyncio.Task[None]] = []
        self._usage: ScriptUsage | None = None
        self.runs = self._runs.all
        self.current = self._runs.current
        self.current_runs = self._runs.current_runs
        self.find = self._runs.find
        self.comes_back = self._runs.comes_back

    def __repr__(self) -> str:
        return f"<Manager {', '.join(map(repr, self.current_runs())) or 'of nothing'}>"

    async def __aenter__(self) -> Self:
        guard, supervisor = self._context.guard, self._context.supervisor
        self._tasks.append(supervisor.start("guard", guard.keep))
        if os.getpid() == 1:
            self._tasks.append(supervisor.start("reap orphans", partial(reap_orphans, guard.children)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.shutdown()
        finally:
            if self._usage is not None:
                await self._usage.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    async def ensure(
        self,
        script: Script,
        *,
        environment: Environment | None = None,
        input_ends: bool = False,
        by: str | None = None,
    ) -> tuple[Run, bool]:
        """The live run of a script, and True if it was there already. A run that is stopping is waited for; one that
        waits for its restart starts now, as if for the first time.

        A start without an ``environment`` has that of the script's last run, or the instance's own. ``input_ends`` and
        ``by``: see `Surroundings`. Raises as `LiveRun.begin` does.
        """
        async with self._runs.lock(script.name):
            run = self.current(script.name)
            if run and run.state == "stopping":
                await self._end_of(run)
            if run is None or run.has_ended:
                return self._start(script, self._surroundings(script, environment, input_ends, by)), False
            if run.restart_at_s is None:
                return run, True
            self._runs.requested(script)
            surroundings = self._surroundings(script, environment, input_ends, by)
            self._context.live[run].restart_now(script, surroundings)
            return run, False

    async def restart(
        self,
        script: Script,
        *,
        environment: Environment | None = None,
        input_ends: bool = False,
        by: str | None = None,
    ) -> Run:
        """Stop the script if it runs, and start it. Arguments as for `ensure`. Raises as `stop` and `ensure` do."""
        async with self._runs.lock(script.name):
            if run := self.current(script.name):
                await self.stop(run, "restart", by)
            return self._start(script, self._surroundings(script, environment, input_ends, by))

    async def stop(self, run: Run, by: str = "call", who: str | None = None) -> bool:
        """Stop all processes of a run, or of its automatic restart, or else the daemons that the script has left
        behind; True if nothing of that lived any more. ``by`` and ``who`` as for `Run.stop_asked`.

        Raises StopTimedOut 2 s after the script's own time.
        """
        run = run.latest
        if run.state == "pending":
            await self._context.live[run].cancel(by, who)
            return False
        if run.has_ended or run.child is None:
            return not await self._end_daemons(run)
        if run.state != "stopping":
            run.stop_asked(by, who)
        await run.child.stop(run.script.stop_timeout_s, starting.stop_signal_of(run.script))
        await self._end_of(run)
        return False

    def type_to(self, run: Run, wanted: "TypeIn") -> int:
        """Type to a run; returns the number of bytes. Raises HasEnded, NoInput, NotReading, InvalidArguments, and
        SystemFailed.
        """
        from brummer.instance.script_input import input_of  # noqa: PLC0415 - few scripts are typed to

        input_of(run)  # one that has ended has no live part
        return self._context.live[run].type_in(wanted)

    def attachments_of(self, run: Run) -> "Attachments":
        """People's terminals at this run. Raises HasEnded, NoInput, SystemFailed."""
        from brummer.instance.script_input import input_of  # noqa: PLC0415 - as above

        input_of(run)
        return self._context.live[run].attachments

    async def prepared(self, run: Run) -> None:
        """Wait until its process is there, if only files have to be read for that."""
        if not run.script.depends_on and run.restart_at_s is None:
            await self.changes.until(lambda: run.state != "pending", PREPARED_S)

    @property
    def is_busy(self) -> bool:
        """A script runs, or will."""
        return not all(run.has_ended for run in self.current_runs())

    @property
    def runs_now(self) -> bool:
        """A process of a script lives, as far as its run is followed."""
        return any(run.pid is not None for run in self.current_runs())

    @property
    def usage(self) -> "ScriptUsage":
        """What the scripts use; nothing is measured before it is asked for."""
        if self._usage is None:
            from brummer.instance.usage import ScriptUsage  # noqa: PLC0415 - no start needs it

            self._usage = ScriptUsage(self.current_runs, self._context.supervisor)
        return self._usage

    async def has_daemons(self) -> bool:
        """Whether processes live that scripts have left behind. Scans all processes."""
        return any(await asyncio.gather(*(child.has_daemons() for child in _exited(self.runs()))))

    async def until(self, run: Run, until: Until, timeout_s: float) -> bool:
        """Wait until the run has ended; or until it, or its automatic restart, is ready, or has ended for good.
        False at the timeout.
        """
        return await self.changes.until(lambda: _reached(run, until), timeout_s)

    async def find_port_owner(self, run: Run) -> None:
        """Find the owner of a port that keeps a run from becoming ready; it is in the run's status then."""
        live = self._context.live.get(run)
        if live and run.state == "running" and run.port_owner is None:
            await live.find_port_owner()

    @property
    def prints_an_error(self) -> bool:
        """Lines that belong to an error of a run may still come."""
        return any(map(attrgetter("prints_an_error"), self._context.live.values()))

    async def errors_settled(self) -> None:
        """Errors that are being printed just now are published when this returns, within `BURST_SETTLES`."""
        for _ in range(BURST_SETTLES):  # timers of the runs end it, and nearly every call finds nothing to wait for
            if not self.prints_an_error:
                return
            await asyncio.sleep(SETTLE_S)

    def lines_of(self, run: Run) -> Iterator[Line]:
        """See `Run.lines`."""
        return run.lines(self.output.log)

    def last_lines(self, run: Run, count: int) -> list[str]:
        return [line.text for line in run.last_lines(self.output.log, count)]

    async def shutdown(self) -> None:
        """Start nothing more, and stop everything: each script before its dependencies, and daemons last."""
        self._context.is_closing = True
        waves = stop_waves(run for run in self.current_runs() if not run.has_ended)
        waves.append([run for run in self.current_runs() if run.state == "exited"])
        patience_s = sum(max((run.script.stop_timeout_s for run in wave), default=0.0) for wave in waves)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s + self._context.tuning.shutdown_margin_s):
                for wave in waves:
                    await asyncio.gather(*(self.stop(run, by="shutdown") for run in wave), return_exceptions=True)
        await asyncio.gather(*(live.abandon() for live in list(self._context.live.values())))
        await self._context.shared.scans.end()

    def environment_of(self, variables: Mapping[str, str]) -> Environment:
        """An environment from now. Equal ones share their variables, which may take megabytes."""
        known = [self.own_environment, *(run.surroundings.environment for run in self.runs())]
        same = (each.variables for each in known if each.variables == variables)
        return Environment(next(same, variables), self._context.now())

    def _surroundings(
        self,
        script: Script,
        environment: Environment | None,
        input_ends: bool,  # noqa: FBT001 - as it is handed over
        by: str | None,
    ) -> Surroundings:
        last = self.current(script.name)
        inherited = last.surroundings.environment if last else self.own_environment
        return Surroundings(environment or inherited, input_ends, by)

    def _start(self, script: Script, surroundings: Surroundings) -> Run:
        self._context.refuse_when_closing(script)
        self._runs.requested(script)
        run = self._runs.new(script, surroundings, self.output.log.last_n, self._context.now())
        LiveRun(run, self._context).begin()
        return run

    async def _end_of(self, run: Run) -> None:
        await self.changes.until(lambda: run.has_ended)

    async def _end_daemons(self, run: Run) -> bool:
        """Of all runs of this script: the last may only have found that there was one. True if there were any."""
        exited = _exited(old for old in self.runs() if old.name == run.name)
        return any(await asyncio.gather(*(child.end_daemons(run.script.stop_timeout_s) for child in exited)))


def _exited(runs: Iterable[Run]) -> list[Child]:
    """Of runs that have ended well: only those may have left daemons behind."""
    return [run.child for run in runs if run.state == "exited" and run.child]


def _reached(run: Run, until: Until) -> bool:
    if until == "ready":
        return run.latest.has_ended or run.latest.state == "ready"
    return until == "none" or run.has_ended
