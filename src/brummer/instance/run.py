"""The facts of one run of a script, and the only place that changes its state; and the runs that an instance keeps."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET, UnsetType

from brummer.core.errors import BrummerError
from brummer.instance import lifecycle
from brummer.instance.detect import Script
from brummer.instance.environment import Environment
from brummer.instance.port_owner import PortOwner
from brummer.instance.restart_policy import RESTART_BASE_S, Restarts
from brummer.logs.output import Line
from brummer.logs.urls import Url, urls_in
from brummer.process.child import Child, Exit

if TYPE_CHECKING:
    from brummer.logs.bounded_log import BoundedLog
    from brummer.logs.error_groups import PrintedErrors

MAX_URLS = 20
"""A crawler prints thousands; a dev server a handful."""

KEPT_RUNS = 20
"""Of all scripts together, beside the latest of each. The facts of a run take a few hundred bytes; its lines stay as
long as the output keeps them.
"""


MIB: Final = 1 << 20


class Errors(msgspec.Struct, frozen=True):
    """The number of errors that a run has printed; the title and place (FILE:LINE) of the first, and of the last with
    its time; and how many came since the run, or the server that it watches, has last begun: 0 after a successful fix.
    """

    count: int
    first: str
    where: str | None
    last: str
    last_where: str | None
    last_at: str
    since_start: int


class ProcessStatus(msgspec.Struct, frozen=True):
    """A run as agents see it. Times are UTC as RFC 3339; ``pid`` only while it lives; ``signal`` by name.

    Optional fields are unset while they have no value. ``ready_at``: when it became ready. ``reason``: why it failed,
    or can't become ready, in words. ``restarts``: the number of automatic restarts before it. ``next_restart_s`` and
    ``waits_for`` (names of scripts): why it is pending. ``first_error``: of a crash loop. ``port_owner``: the process
    that has the port that it wanted.
    ``errors`` that it printed, and the ``summary`` of its last test run or build. ``unfinished_line``: its last output
    without a line end, such as a question that waits for an answer. ``cpu_s`` and ``memory_max_mib``: what its
    processes have used, see `brummer.process.process_tree.TreeUsage`.
    """

    process_id: str
    name: str
    status: lifecycle.ScriptState
    pid: int | None
    urls: list[str]
    exit_code: int | None
    signal: str | None
    started_at: str
    ended_at: str | None
    ready_at: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    restarts: int | UnsetType = UNSET
    next_restart_s: float | UnsetType = UNSET
    waits_for: list[str] | UnsetType = UNSET
    first_error: str | UnsetType = UNSET
    stop_asked_by: str | UnsetType = UNSET
    port_owner: PortOwner | UnsetType = UNSET
    errors: Errors | UnsetType = UNSET
    summary: str | UnsetType = UNSET
    unfinished_line: str | UnsetType = UNSET
    cpu_s: float | UnsetType = UNSET
    memory_max_mib: float | UnsetType = UNSET


class Ending(msgspec.Struct, frozen=True):
    """``reason`` in words, if there is one. ``first_error``: the first of a crash loop, None if it is none.
    ``restart_in_s``: the delay until its automatic restart, which is number ``restarts``.
    """

    reason: str | None = None
    port_owner: PortOwner | None = None
    first_error: str | None = None
    restart_in_s: float | None = None
    restarts: int = 0


class Surroundings(msgspec.Struct, frozen=True):
    """What a run is started in, beside what its script says. ``input_ends``: it gets the end of its input at once, and
    not when the instance ends. ``by``: who asked for it, in words; None if the instance starts it by itself.
    """

    environment: Environment
    input_ends: bool = False
    by: str | None = None


class Run:
    """``number`` counts the runs of this script. Its lines have numbers after ``first_n``, up to ``last_n`` once it has
    ended. ``restarts``: the number of automatic restarts before it.
    """

    def __init__(
        self,
        script: Script,
        surroundings: Surroundings,
        number: int,
        first_n: int,
        created_at: str,
        restarts: int = 0,
    ) -> None:
        self.script = script
        self.surroundings = surroundings
        self.name = script.name
        self.process_id = f"{script.name}-{number}"
        self.state: lifecycle.ScriptState = "pending"
        self.child: Child | None = None
        self.started_at = created_at
        self.spawned_s = 0.0
        self.ready_at: str | None = None
        self.ended_at: str | None = None
        self.first_n = first_n
        self.last_n: int | None = None
        self.exit: Exit | None = None
        self.reason: str | None = None
        self.start_error: BrummerError | None = None
        self.restarts = restarts
        self.restart_at_s: float | None = None
        self.waits_for: list[str] = []
        self.first_error: str | None = None
        self.stop_asked_by: str | None = None
        self.stopped_by: str | None = None
        """Who asked for the stop, in words."""
        self.port_owner: PortOwner | None = None
        self.successor: Run | None = None
        """Its automatic restart; it exists before the end of this run is published."""
        self.printed_errors: PrintedErrors | None = None
        self.unfinished: Callable[[], str | None] = lambda: None
        """Its output after the last line end."""
        self._printed: dict[str, Url] = {}
        self._listening: set[int] = set()

    def __repr__(self) -> str:
        return f"<Run {self.process_id} {self.state} pid={self.pid}>"

    @property
    def has_ended(self) -> bool:
        return self.state in lifecycle.ENDED

    @property
    def latest(self) -> "Run":
        """The last of its automatic restarts, or the run itself."""
        run = self
        while run.successor is not None:
            run = run.successor
        return run

    @property
    def pid(self) -> int | None:
        return None if self.child is None or self.has_ended else self.child.pid

    @property
    def urls(self) -> list[str]:
        """The local URLs that it printed, else those of the ports on which it listens."""
        if self._printed:
            return [url.text for url in self._printed.values()]
        return [f"http://localhost:{port}" for port in sorted(self._listening)]

    def printed_ports(self) -> set[int]:
        return {url.port for url in self._printed.values()}

    def owns(self, line: Line) -> bool:
        return line.process == self.name and self.first_n < line.n and (self.last_n is None or line.n <= self.last_n)

    def lines(self, log: "BoundedLog[Line]") -> Iterator[Line]:
        """Those that are still in the log, oldest first; consume it before you await."""
        return filter(self.owns, log.after(self.first_n, self.name))

    def last_lines(self, log: "BoundedLog[Line]", count: int) -> list[Line]:
        """The last of those, oldest first."""
        newest = takewhile(lambda line: line.n > self.first_n, log.newest(self.name))
        return list(islice(filter(self.owns, newest), count))[::-1]

    def asked_again(self, script: Script, surroundings: Surroundings) -> None:
        """Turn the wait for a restart into a first start, of the script as it is in the files now."""
        self.script, self.surroundings, self.restarts, self.restart_at_s = script, surroundings, 0, None

    def start_due(self, at: str, at_s: float) -> None:
        """``at_s`` is the loop's time."""
        self._apply("start_due")
        self.started_at, self.spawned_s = at, at_s

    def spawned(self, child: Child) -> None:
        self._apply("spawned")
        self.child = child

    def never_started(self, error: BrummerError, ending: Ending, at: str, last_n: int) -> None:
        self._apply("looped" if ending.first_error else "given_up" if self.state == "pending" else "spawn_failed")
        self.start_error, self.ended_at, self.last_n = error, at, last_n
        self._explain(ending)

    def became_ready(self, listening: set[int], at: str) -> None:
        self._apply("became_ready")
        self._listening, self.port_owner, self.ready_at = listening, None, at

    def ready_pattern_refused(self, why: str) -> str:
        """The expression of ``ready.log`` is too slow; returns the reason."""
        self.reason = f"{why}; until the expression is changed, no line makes {self.name} ready"
        return self.reason

    def stop_asked(self, by: str, who: str | None = None) -> None:
        """``by``: what it is due to. ``who`` asked for it, in words; None if nobody has."""
        self._apply("stop_asked")
        self.stop_asked_by, self.stopped_by = by, who

    def cancelled(self, at: str, last_n: int) -> None:
        """It was stopped while it was pending."""
        self.ended_at, self.last_n = at, last_n

    def ended(self, exit_: Exit, ending: Ending, at: str, last_n: int) -> None:
        self._apply("looped" if ending.first_error else "ended_well" if exit_.exit_code == 0 else "ended_badly")
        self.exit, self.ended_at, self.last_n = exit_, at, last_n
        self._explain(ending)

    def new_urls(self, text: str) -> list[str]:
        """The local URLs that these lines show for the first time; ``…/`` and ``…`` are the same."""
        if "://" not in text:
            return []
        new = {url.text.rstrip("/"): url for url in urls_in(text) if url.is_local}
        new = {key: url for key, url in new.items() if key not in self._printed}
        if len(self._printed) + len(new) > MAX_URLS:
            return []
        self._printed |= new
        return [url.text for url in new.values()]

    @property
    def next_restart_s(self) -> float | UnsetType:
        """Seconds until it starts; unset unless it waits for its restart."""
        if self.state != "pending" or self.restart_at_s is None:
            return UNSET
        return round(max(0.0, self.restart_at_s - asyncio.get_running_loop().time()), 1)

    def status(self) -> ProcessStatus:
        exit_code, signal = (self.exit.exit_code, self.exit.signal) if self.exit else (None, None)
        cpu_s, memory_max_mib = self._used()
        return ProcessStatus(
            process_id=self.process_id,
            name=self.name,
            status=self.state,
            pid=self.pid,
            urls=self.urls,
            exit_code=exit_code,
            signal=signal,
            started_at=self.started_at,
            ended_at=self.ended_at,
            ready_at=self.ready_at or UNSET,
            reason=self.reason or UNSET,
            restarts=self.restarts or UNSET,
            next_restart_s=self.next_restart_s,
            waits_for=(self.state == "pending" and self.waits_for) or UNSET,
            first_error=self.first_error or UNSET,
            stop_asked_by=self.stop_asked_by or UNSET,
            port_owner=self.port_owner or UNSET,
            errors=self._errors(),
            summary=(self.printed_errors and self.printed_errors.summary) or UNSET,
            unfinished_line=self.unfinished() or UNSET,
            cpu_s=cpu_s,
            memory_max_mib=memory_max_mib,
        )

    def _used(self) -> tuple[float | UnsetType, float | UnsetType]:
        if self.child is None:
            return UNSET, UNSET
        usage = self.child.tree.usage
        return (
            UNSET if usage.cpu_s is None else round(usage.cpu_s, 2),
            UNSET if usage.peak_bytes is None else round(usage.peak_bytes / MIB, 1),
        )

    @property
    def first_printed_error(self) -> str | None:
        """Title and place of the first error that it printed."""
        if self.printed_errors is None or (first := self.printed_errors.first) is None:
            return None
        return f"{first.title} ({first.where})" if first.where else first.title

    def _errors(self) -> Errors | UnsetType:
        """Unset where the first error of the crash loop, or the reason, says it already."""
        if self.printed_errors is None or (first := self.printed_errors.first) is None:
            return UNSET
        if self.first_error and (self.first_printed_error or "") in self.first_error:
            return UNSET
        if self.reason and self.printed_errors.count == 1:
            from brummer.instance.exit_reason import port_in_use  # noqa: PLC0415 - after a failure only

            if port_in_use([first.title]) is not None:
                return UNSET  # the reason names the port and its owner
        printed = self.printed_errors
        last = printed.last or first
        return Errors(
            printed.count, first.title, first.where, last.title, last.where, printed.last_at, printed.since_start
        )

    def has_reported(self, n: int) -> bool:
        """Whether a line belongs to an error that it printed."""
        return self.printed_errors is not None and self.printed_errors.owns(n)

    def _explain(self, ending: Ending) -> None:
        self.reason, self.first_error = ending.reason, ending.first_error
        self.port_owner = ending.port_owner or self.port_owner

    def _apply(self, event: lifecycle.ScriptEvent) -> None:
        self.state = lifecycle.after(self.state, event)


class _ScriptRuns:
    """One script. ``lock`` makes "stop, then start" one step. ``restarts``: since its last requested start."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.restarts = Restarts()
        self.count = 0
        self.current: Run | None = None


class Runs:
    """All runs in the order of their creation, and the latest of each script."""

    def __init__(self, *, kept_runs: int = KEPT_RUNS, restart_base_s: float = RESTART_BASE_S) -> None:
        self._kept_runs = kept_runs
        self._restart_base_s = restart_base_s
        self._all: list[Run] = []
        self._scripts: dict[str, _ScriptRuns] = {}

    def new(self, script: Script, surroundings: Surroundings, first_n: int, at: str, restarts: int = 0) -> Run:
        """Remember it, and forget the oldest run that is not the latest of its script."""
        own = self._of(script.name)
        own.count += 1
        own.current = run = Run(script, surroundings, own.count, first_n, at, restarts)
        self._all.append(run)
        if len(self._all) > self._kept_runs + len(self.current_runs()):
            self._all.remove(next(old for old in self._all if old is not self.current(old.name)))
        return run

    def requested(self, script: Script) -> None:
        """A start of the script is requested: its earlier restarts no longer count."""
        self._of(script.name).restarts = Restarts(script.restart, script.max_restarts, self._restart_base_s)

    def lock(self, name: str) -> asyncio.Lock:
        """Held while the script is stopped and started."""
        return self._of(name).lock

    def restarts(self, run: Run) -> Restarts:
        return self._of(run.name).restarts

    def comes_back(self, run: Run) -> bool:
        """It was stopped by a restart that has not started the next run yet."""
        return run.state == "stopped" and self._of(run.name).lock.locked()

    def all(self) -> list[Run]:
        return list(self._all)

    def current(self, name: str) -> Run | None:
        own = self._scripts.get(name)
        return own.current if own else None

    def current_runs(self) -> list[Run]:
        return [own.current for own in self._scripts.values() if own.current]

    def find(self, process: str) -> Run | None:
        """The latest run of the script with this name, else the run with this ``process_id``: a script may have the
        name of another's run.
        """
        by_id = (run for run in self._all if run.process_id == process)
        return self.current(process) or next(by_id, None)

    def _of(self, name: str) -> _ScriptRuns:
        if name not in self._scripts:
            self._scripts[name] = _ScriptRuns()
        return self._scripts[name]
