"""The named processes of one project: ensure running, stop, restart, and tell what happened.

Of each name at most one run lives. A lock per name makes "stop, then start" one step; everything else happens
between two awaits. A run that has something to wait for is *pending*, and one task brings it up. Each live run has one
task that follows it to its end and is the only one to change its state afterwards, but for the request to stop.

A restart by itself is a new run, pending until its time has come. It is the old one's `successor`: who waits for the
script waits on, and who stops the one stops the other.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Literal, NamedTuple, Self

from msgspec import UNSET, UnsetType

from brummer.core.errors import BrummerError, unforeseen
from brummer.core.supervisor import Supervisor
from brummer.host.out_of_memory import OomKills, oom_kills
from brummer.host.patterns import PatternTooSlow
from brummer.instance import starting
from brummer.instance.changes import Changes
from brummer.instance.dependencies import stop_waves
from brummer.instance.detect import Script
from brummer.instance.endings import Endings
from brummer.instance.environment import environment_of
from brummer.instance.findings import Findings
from brummer.instance.port_owner import owner_of
from brummer.instance.prerequisites import Prerequisites
from brummer.instance.run import Ending, Run
from brummer.instance.runs import Runs
from brummer.instance.scripts import unknown
from brummer.logs.output import Batch, Line, Output, ProcessOutput, Stamp
from brummer.logs.text import shortened
from brummer.process.child import Child, Exit, Shared, start
from brummer.process.guard import Guard
from brummer.process.pipe_reader import OnFlood
from brummer.process.process_tree import Looks
from brummer.process.readiness import Readiness
from brummer.process.reaper import reap_orphans
from brummer.process.throttle import Pace

_log = logging.getLogger(__name__)

SHUTDOWN_MARGIN_S = 5.0
"""Beyond the time that the scripts themselves may take to stop: 10 s in all, if none says otherwise."""
INCOMPLETE = "a process that left its group still held the output open; what it prints is not read"
LAST_LINES = 5
LAST_LINE_LENGTH = 200
"""In the change that reports a failure: enough for its last words."""
SEEN_LINES = 200
"""In which a failure is looked for: behind a complaint there may come a stack trace, and what a wrapper says."""

Until = Literal["none", "ready", "exit"]


class ShuttingDown(BrummerError):
    """The instance is about to end and starts nothing more."""

    code = "shutting_down"
    transient = True


class _Pending(NamedTuple):
    """Who brings the run up, and what ends its wait for the restart."""

    task: "asyncio.Task[None]"
    now: asyncio.Event


def _no_other(name: str) -> Script:
    raise unknown("script", name, [])


class Manager:
    """Used as ``async with Manager(…) as manager``; leaving stops everything, within 10 s as a rule.

    ``output`` and ``changes`` are public: read them, subscribe to them. ``guard`` may be one that was never
    started. ``find`` gives the script of a name, for dependencies; it may block.
    """

    def __init__(
        self,
        generation: str,
        guard: Guard,
        *,
        output: Output | None = None,
        wall: Callable[[], float] = time.time,
        find: Callable[[str], Script] = _no_other,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._supervisor = supervisor or Supervisor()
        self.output = output or Output(generation)
        self.changes = Changes(generation)
        self.findings = Findings(self.changes, self._now)
        self._generation = generation
        self._guard = guard
        self._wall = wall
        self._stamp = Stamp()
        self._runs = Runs()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._endings = Endings(generation)
        self._prerequisites = Prerequisites(self._runs, self.changes, self.ensure, find, self.comes_back)
        self._pending: dict[Run, _Pending] = {}
        self._followers: dict[Run, asyncio.Task[None]] = {}
        self._readiness: dict[Run, Readiness] = {}
        self._shared = Shared(Pace(), Looks())
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self.runs = self._runs.all
        self.current = self._runs.current
        self.current_runs = self._runs.current_runs
        self.find = self._runs.find
        self.output.follow(self._on_output)

    def __repr__(self) -> str:
        return f"<Manager {', '.join(map(repr, self.current_runs())) or 'of nothing'}>"

    async def __aenter__(self) -> Self:
        self._tasks.append(self._supervisor.start("guard", self._guard.keep))
        if os.getpid() == 1:
            self._tasks.append(self._supervisor.start("reap orphans", partial(reap_orphans, self._guard.children)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.shutdown()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    async def ensure(self, script: Script) -> tuple[Run, bool]:
        """The live run of a script, and whether it ran already. One that is stopping is waited for; one that waits
        for its restart starts now, as if for the first time.

        Raises ScriptFailedToStart, ShuttingDown. A run that has to wait is returned pending, and tells its error later.
        """
        async with self._locks[script.name]:
            run = self.current(script.name)
            if run and run.state == "stopping":
                await self._end_of(run)
            if run is None or run.has_ended:
                return self._start(script), False
            if run.restart_at_s is None:
                return run, True
            run.asked_again(script)
            self._endings.asked_for(script)
            self._pending[run].now.set()
            return run, False

    async def restart(self, script: Script) -> Run:
        """Stop the script if it runs, and start it. Raises as `stop` and `ensure` do."""
        async with self._locks[script.name]:
            if run := self.current(script.name):
                await self.stop(run, by="restart")
            return self._start(script)

    async def stop(self, run: Run, by: str = "call") -> bool:
        """Stop the whole group of a run, or of that which followed it by itself, or else the daemons that the script
        has left behind; True if all of that had ended already.

        Raises StopTimedOut 2 s after the script's own time.
        """
        run = run.latest
        if run.state == "pending":
            await self._cancel(run, by)
            return False
        if run.has_ended or run.child is None:
            return not await self._end_daemons(run)
        if run.state != "stopping":
            run.stop_asked(by)
        await run.child.stop(run.script.stop_timeout_s, starting.stop_signal_of(run.script))
        await self._end_of(run)
        return False

    async def _end_daemons(self, run: Run) -> bool:
        """Of all runs of this script: the last may only have found that there was one. Whether there were any."""
        exited = [old.child for old in self.runs() if old.name == run.name and old.state == "exited" and old.child]
        return any(await asyncio.gather(*(child.end_daemons(run.script.stop_timeout_s) for child in exited)))

    async def until(self, run: Run, until: Until, timeout_s: float) -> bool:
        """Wait until the run has ended; or until it, or one that follows it by itself, is ready, or has ended for good.
        False when the time was over first.
        """
        return await self.changes.until(lambda: _reached(run, until), timeout_s)

    def comes_back(self, run: Run) -> bool:
        """It was stopped only to be started again, by somebody who is about to do that."""
        return run.state == "stopped" and self._locks[run.name].locked()

    async def look_for_its_port(self, run: Run) -> None:
        """A watcher such as nodemon lives on when what it runs has failed for a taken port: find out who has it."""
        if run.state == "running" and run.port_owner is None:
            from brummer.instance.failure import taken_port  # noqa: PLC0415 - only where something is not ready in time

            lines, wanted = self.last_lines(run, SEEN_LINES), starting.wanted_port(run.script)
            _, run.port_owner = await asyncio.to_thread(taken_port, lines, wanted, self._generation)
            readiness = self._readiness.get(run)
            if run.port_owner is None and readiness:
                await readiness.look_for_taken_port()
            if run.port_owner is None and readiness and readiness.taken_port:
                owner = await asyncio.to_thread(owner_of, readiness.taken_port, self._generation)
                run.port_owner = None if owner and owner.script else owner  # that it uses, as likely as not

    def lines_of(self, run: Run) -> Iterator[Line]:
        """The lines of a run that are still there, oldest first; consume it before you await."""
        return filter(run.owns, self.output.log.after(run.first_n, run.name))

    def last_lines(self, run: Run, count: int) -> list[str]:
        return [line.text for line in deque(self.lines_of(run), maxlen=count)]

    async def shutdown(self) -> None:
        """Start nothing more, and stop everything: nobody before those that depend on it, and daemons last."""
        self._closing = True
        waves = stop_waves(run for run in self.current_runs() if not run.has_ended)
        waves.append([run for run in self.current_runs() if run.state == "exited"])
        patience_s = sum(max((run.script.stop_timeout_s for run in wave), default=0.0) for wave in waves)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s + SHUTDOWN_MARGIN_S):
                for wave in waves:
                    await asyncio.gather(*(self.stop(run, by="shutdown") for run in wave), return_exceptions=True)
        left = [*self._followers.values(), *(pending.task for pending in self._pending.values())]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._shared.looks.end()

    async def _end_of(self, run: Run) -> None:
        await self.changes.until(lambda: run.has_ended)

    def _start(self, script: Script) -> Run:
        """Because somebody asked for it: what was restarted before is forgotten."""
        self._refuse_when_closing(script)
        self._endings.asked_for(script)
        run = self._new_run(script)
        if starting.has_to_wait(script):
            self._begin(run)
            return run
        try:
            self._spawn(run, environment_of(script, self._generation, run.process_id))
        except Exception as error:
            known = self._why_not_started(run, error)
            self._never_started(run, known)
            raise known from error
        return run

    def _refuse_when_closing(self, script: Script) -> None:
        if self._closing:
            raise ShuttingDown(f"{script.name} was not started: the instance is shutting down")

    def _new_run(self, script: Script, restarts: int = 0) -> Run:
        return self._runs.new(script, self.output.log.last_n, self._now(), restarts)

    def _begin(self, run: Run) -> None:
        task = asyncio.create_task(self._bring_up(run), name=f"bring up {run.process_id}")
        self._pending[run] = _Pending(task, asyncio.Event())

    async def _bring_up(self, run: Run) -> None:
        """All that has to be waited for, and then the start."""
        try:
            await self._restart_is_due(run)
            await self._prerequisites.ready(run)
            environment = await asyncio.to_thread(environment_of, run.script, self._generation, run.process_id)
            await self._look_at_its_port(run)
            self._spawn(run, environment)
        except Exception as error:  # noqa: BLE001 - the barrier: an internal error must not leave it pending for ever
            self._never_started(run, self._why_not_started(run, error))
        finally:
            self._pending.pop(run, None)

    def _why_not_started(self, run: Run, error: Exception) -> BrummerError:
        if not isinstance(error, BrummerError):
            _log.error("%s could not be started", run.process_id, exc_info=error)
        return unforeseen(error, f"{run.name} was not started: it failed", outcome="not_executed")

    async def _restart_is_due(self, run: Run) -> None:
        if run.restart_at_s is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(run.restart_at_s):
                    await self._pending[run].now.wait()
            run.restart_at_s = None

    async def _look_at_its_port(self, run: Run) -> None:
        if port := starting.wanted_port(run.script):
            run.port_owner = await asyncio.to_thread(owner_of, port, self._generation)
            if run.port_owner:
                self.output.open(run.name).say(run.port_owner.in_words(), self._wall())

    async def _cancel(self, run: Run, by: str) -> None:
        """A pending run."""
        task = self._pending.pop(run).task
        task.cancel()
        run.stop_asked(by)
        run.cancelled(self._now(), self.output.log.last_n)
        self._publish_end(run)
        await asyncio.wait([task])

    def _spawn(self, run: Run, environment: dict[str, str]) -> None:
        """Raises ScriptFailedToStart, and InvalidArguments for settings that mean nothing."""
        script, output = run.script, self.output.open(run.name)
        self._refuse_when_closing(script)
        starting.stop_signal_of(script)
        proof = starting.proof_of(script, run.port_owner)
        run.start_due(self._now(), asyncio.get_running_loop().time())
        killed_before = oom_kills()  # before the start: it may be killed in its first moment
        child = start(
            script.command,
            script.directory,
            environment,
            lambda stream, chunk: output.feed(stream, chunk, self._wall()),
            on_flood=OnFlood(
                lambda stream, chunk: output.skim(stream, chunk, self._wall()),
                lambda stream: output.look(stream, self._wall()),
                lambda: self._may_be_skimmed(run),
            ),
            terminal=script.wants_terminal,
            shared=self._shared,
        )
        self._guard.add(child.pid)
        run.spawned(child)
        run.unfinished = output.unfinished
        self._readiness[run] = Readiness(child.family, run.printed_ports, proof)
        following = asyncio.create_task(
            self._follow(run, child, output, killed_before), name=f"follow {run.process_id}"
        )
        self._followers[run] = following
        following.add_done_callback(lambda _: self._followers.pop(run))
        self.changes.publish("started", run, self._now())

    async def _follow(self, run: Run, child: Child, output: ProcessOutput, killed_before: OomKills | None) -> None:
        """To its end; only a shutdown that runs out of time cancels this."""
        watching = self._supervisor.start(
            f"readiness of {run.process_id}", partial(self._watch_readiness, run), may_end=True
        )
        try:
            exit_ = await asyncio.shield(child.ended)
        except asyncio.CancelledError:
            await child.abandon()
            raise
        except Exception:  # noqa: BLE001 - the barrier: an internal error must not leave it running for ever
            _log.exception("%s could not be followed to its end", run.process_id)
            exit_ = Exit(None, None, asked=run.state == "stopping", output_complete=False)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            del self._readiness[run]
        self._guard.remove(child.pid)
        output.end(self._wall())
        if not exit_.output_complete:
            output.say(INCOMPLETE, self._wall())
        ending = await self._ending_of(run, exit_, killed_before)
        run.ended(exit_, ending, self._now(), self.output.log.last_n)
        self._follow_up(run, ending)

    async def _ending_of(self, run: Run, exit_: Exit, killed_before: OomKills | None) -> Ending:
        try:
            self.findings.end(run)
            return await self._endings.of(run, exit_, self.last_lines(run, SEEN_LINES), killed_before)
        except Exception as error:  # noqa: BLE001 - the barrier: as above
            _log.exception("why %s ended could not be found out", run.process_id)
            return Ending(f"why it ended could not be found out: {error}")

    def _never_started(self, run: Run, error: BrummerError) -> None:
        self.output.open(run.name).say(error.message, self._wall())
        ending = self._endings.of_failed_start(run, error)
        run.never_started(error, ending, self._now(), self.output.log.last_n)
        self._follow_up(run, ending)

    def _follow_up(self, run: Run, ending: Ending) -> None:
        """The successor first: whoever is told of the end can see that it is not the last word."""
        if ending.restart_in_s is not None and not self._closing:
            run.successor = self._new_run(run.script, ending.restarts)
            run.successor.restart_at_s = asyncio.get_running_loop().time() + ending.restart_in_s
            self._begin(run.successor)
        self._publish_end(run)

    def _may_be_skimmed(self, run: Run) -> bool:
        """Whether nobody waits for a line that it may print."""
        readiness = self._readiness.get(run)
        return self.output.may_be_skimmed and not (readiness and readiness.waits_for_a_line)

    async def _watch_readiness(self, run: Run) -> None:
        listening = await self._readiness[run].wait()
        if run.state == "running":
            run.became_ready(listening)
            self.changes.publish("ready", run, self._now(), urls=run.urls)

    def _on_output(self, batch: Batch) -> None:
        run = self.current(batch.process)
        if run is None or batch.stream == "brum":
            return
        new = run.saw(batch.text)
        if readiness := self._readiness.get(run):
            try:
                readiness.printed([line.text for line in batch.lines], new_url=bool(new))
            except PatternTooSlow as error:
                self._gave_up_proof(run, error)
        if new:
            self.changes.publish("url", run, batch.lines[0].at, urls=new)
        self.findings.read(run, batch)

    def _gave_up_proof(self, run: Run, error: PatternTooSlow) -> None:
        what = run.proof_given_up(error.message)
        say = self.output.open(run.name).say
        asyncio.get_running_loop().call_soon(
            lambda: say(what, self._wall())
        )  # other followers have yet to see the batch

    def _publish_end(self, run: Run) -> None:
        kind: Literal["failed", "crash-looping", "exited", "stopped"] = run.state  # type: ignore[assignment]
        is_failure = kind in {"failed", "crash-looping"}
        self.changes.publish(kind, run, self._now(), last_lines=self._last_words(run) if is_failure else UNSET)

    def _last_words(self, run: Run) -> list[str] | UnsetType:
        """Those that nothing else says: errors are changes of their own."""
        reason = run.reason or ""
        last = deque(self.lines_of(run), maxlen=LAST_LINES)
        news = [line for line in last if not (run.has_told(line.n) or (line.stream == "brum" and line.text in reason))]
        return [shortened(line.text, LAST_LINE_LENGTH) for line in news] or UNSET

    def _now(self) -> str:
        return self._stamp(self._wall())


def _reached(run: Run, until: Until) -> bool:
    if until == "ready":
        return run.latest.has_ended or run.latest.state == "ready"
    return until == "none" or run.has_ended
