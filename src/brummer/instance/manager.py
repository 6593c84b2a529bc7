"""The named processes of one project: ensure running, stop, restart, and tell what happened.

Of each name at most one run lives. A lock per name makes "stop, then start" one step; everything else happens
between two awaits. Each live run has one task that follows it to its end and is the only one to change its
state afterwards, but for the request to stop.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal, Self

from msgspec import UNSET

from brummer.core.errors import BrummerError
from brummer.instance.changes import Changes
from brummer.instance.detect import Script
from brummer.instance.run import Run
from brummer.process.guard import Guard, marked_environment
from brummer.process.output import Line, Output, ProcessOutput, Stamp
from brummer.process.readiness import Readiness
from brummer.process.runner import Child, ScriptFailedToStart, start

KEPT_RUNS = 20
"""Of all scripts together; the facts of a run are a few hundred bytes, its lines stay as long as the output
keeps them.
"""
SHUTDOWN_TIMEOUT_S = 10.0
INCOMPLETE = "a process that left its group still held the output open; what it prints is not read"
LAST_LINES = 5
"""In the change that reports a failure: enough for an exception's last words."""

Until = Literal["none", "ready", "exit"]


class ShuttingDown(BrummerError):
    """The instance is about to end and starts nothing more."""

    code = "shutting_down"
    retryable = True


class Manager:
    """Used as ``async with Manager(…) as manager``; leaving stops everything, within 10 s.

    ``output`` and ``changes`` are public: read them, subscribe to them. ``guard`` may be one that was never
    started.
    """

    def __init__(
        self,
        generation: str,
        guard: Guard,
        *,
        output: Output | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.output = output or Output(generation)
        self.changes = Changes(generation)
        self._generation = generation
        self._guard = guard
        self._wall = wall
        self._stamp = Stamp()
        self._runs: list[Run] = []
        self._current: dict[str, Run] = {}
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._followers: dict[Run, asyncio.Task[None]] = {}
        self._readiness: dict[Run, Readiness] = {}
        self._closing = False
        self.output.subscribe(self._on_line)

    def __repr__(self) -> str:
        return f"<Manager {', '.join(map(repr, self._current.values())) or 'of nothing'}>"

    async def __aenter__(self) -> Self:
        self._guard.watch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.shutdown()
        finally:
            self._guard.unwatch()

    def runs(self) -> list[Run]:
        """Every run that is remembered, oldest first."""
        return list(self._runs)

    def current(self, name: str) -> Run | None:
        """The latest run of a script, alive or ended."""
        return self._current.get(name)

    def current_runs(self) -> list[Run]:
        """The latest run of each script, alive or ended, in the order of their first starts."""
        return list(self._current.values())

    def find(self, process: str) -> Run | None:
        """By ``process_id`` that very run, else by name the latest."""
        by_id = (run for run in self._runs if run.process_id == process)
        return next(by_id, None) or self._current.get(process)

    async def ensure(self, script: Script) -> tuple[Run, bool]:
        """The live run of a script, and whether it ran already; one that is stopping is waited for.

        Raises ScriptFailedToStart, ShuttingDown.
        """
        async with self._locks[script.name]:
            run = self._current.get(script.name)
            if run and run.state == "stopping":
                await self._end_of(run)
            if run and not run.has_ended:
                return run, True
            return self._start(script), False

    async def restart(self, script: Script) -> Run:
        """Stop the script if it runs, and start it. Raises as `stop` and `ensure` do."""
        async with self._locks[script.name]:
            if run := self._current.get(script.name):
                await self.stop(run)
            return self._start(script)

    async def stop(self, run: Run) -> bool:
        """Stop the whole group of a run; True if it had ended already. Raises StopTimedOut after 7 s."""
        if run.has_ended or run.child is None:
            return True
        if run.state != "stopping":
            run.stop_asked()
        await run.child.stop()
        await self._end_of(run)
        return False

    async def until(self, run: Run, until: Until, timeout_s: float) -> bool:
        """Wait until the run is ready (or has ended), or has ended; False when the time was over first."""
        return await self.changes.until(lambda: _reached(run, until), timeout_s)

    def lines_of(self, run: Run) -> Iterator[Line]:
        """The lines of a run that are still there, oldest first; consume it before you await."""
        return filter(run.owns, self.output.log.after(run.first_n))

    def last_lines(self, run: Run, count: int) -> list[str]:
        return [line.text for line in deque(self.lines_of(run), maxlen=count)]

    async def shutdown(self) -> None:
        """Start nothing more, stop everything at once, wait no longer than 10 s."""
        self._closing = True
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(self.stop(run)) for run in self._followers]
        tasks += self._followers.values()
        if tasks:
            await asyncio.wait(tasks, timeout=SHUTDOWN_TIMEOUT_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end_of(self, run: Run) -> None:
        await self.changes.until(lambda: run.has_ended)

    def _start(self, script: Script) -> Run:
        if self._closing:
            raise ShuttingDown(f"{script.name} was not started: the instance is shutting down")
        run = self._new_run(script)
        output = self.output.open(run.name)
        try:
            child = start(
                script.command,
                script.directory,
                marked_environment(self._generation, run.process_id),
                lambda stream, chunk: output.feed(stream, chunk, self._wall()),
            )
        except ScriptFailedToStart as error:
            output.say(error.message, self._wall())
            run.failed_to_start(error, self._now(), self.output.log.last_n)
            self._publish_end(run)
            raise
        self._guard.add(child.pid)
        run.spawned(child)
        self._readiness[run] = Readiness(child.pid, run.printed_ports)
        self._followers[run] = asyncio.create_task(self._follow(run, child, output), name=f"follow {run.process_id}")
        self.changes.publish("started", run, self._now())
        return run

    def _new_run(self, script: Script) -> Run:
        """Remember it, and forget the oldest that was followed by another of its name."""
        self._counts[script.name] += 1
        run = Run(script, self._counts[script.name], self.output.log.last_n, self._now())
        self._runs.append(run)
        self._current[script.name] = run
        if len(self._runs) > KEPT_RUNS:
            followed = (old for old in self._runs if old is not self._current[old.name])
            if forgotten := next(followed, None):
                self._runs.remove(forgotten)
        return run

    async def _follow(self, run: Run, child: Child, output: ProcessOutput) -> None:
        """To its end; only a shutdown that runs out of time cancels this."""
        watching = asyncio.create_task(self._watch_readiness(run), name=f"readiness {run.process_id}")
        try:
            exit_ = await asyncio.shield(child.ended)
        except asyncio.CancelledError:
            await child.abandon()
            raise
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            del self._followers[run], self._readiness[run]
        self._guard.remove(child.pid)
        output.end(self._wall())
        if not exit_.output_complete:
            output.say(INCOMPLETE, self._wall())
        run.ended(exit_, self._now(), self.output.log.last_n)
        self._publish_end(run)

    async def _watch_readiness(self, run: Run) -> None:
        listening = await self._readiness[run].wait()
        if run.state == "running":
            run.became_ready(listening)
            self.changes.publish("ready", run, self._now(), urls=run.urls)

    def _on_line(self, line: Line, _raw: str) -> None:
        run = self._current.get(line.process)
        if run is None or line.stream == "brum":
            return
        new = run.saw(line.text)
        if readiness := self._readiness.get(run):
            readiness.printed(new_url=bool(new))
        if new:
            self.changes.publish("url", run, line.at, urls=new)

    def _publish_end(self, run: Run) -> None:
        kind: Literal["failed", "exited", "stopped"] = run.state  # type: ignore[assignment]
        last_lines = self.last_lines(run, LAST_LINES) if kind == "failed" else UNSET
        self.changes.publish(kind, run, self._now(), last_lines=last_lines)

    def _now(self) -> str:
        return self._stamp(self._wall())


def _reached(run: Run, until: Until) -> bool:
    return until == "none" or run.has_ended or (until == "ready" and run.state == "ready")
