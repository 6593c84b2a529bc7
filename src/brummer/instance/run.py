"""One run of a script: its facts, and the only place that changes its state."""

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from brummer.core.errors import BrummerError
from brummer.instance import lifecycle
from brummer.instance.detect import Script
from brummer.instance.port_owner import PortOwner
from brummer.logs.output import Line
from brummer.logs.urls import Url, urls_in
from brummer.process.child import Child, Exit

if TYPE_CHECKING:
    from brummer.logs.error_groups import Problems

MAX_URLS = 20
"""A crawler prints thousands; a dev server a handful."""


class Errors(msgspec.Struct, frozen=True):
    """How many errors a run has printed, the title of the first, and where that is (FILE:LINE)."""

    count: int
    first: str
    where: str | None


class ProcessStatus(msgspec.Struct, frozen=True):
    """A run as agents see it. Times are UTC as RFC 3339; ``pid`` only while it lives; ``signal`` by name.

    The other fields appear only if they have a value. ``reason``: why it failed, or can't become ready, in words.
    ``restarts``: how often it was restarted automatically. ``next_restart_s`` and ``waits_for`` (names of scripts): why
    it is pending.
    ``first_error``: of a crash loop. ``port_owner``: who has the port that it wanted. ``errors`` that it printed, and
    the ``summary`` of its last test run or build. ``unfinished_line``: what it printed last without a line end, such as
    a question that nobody answers.
    """

    process_id: str
    name: str
    status: lifecycle.State
    pid: int | None
    urls: list[str]
    exit_code: int | None
    signal: str | None
    started_at: str
    ended_at: str | None
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


class Ending(NamedTuple):
    """``reason`` in words, if there is one. ``first_error``: it is a crash loop, and that is how it began.
    ``restart_in_s``: it starts again by itself, for the ``restarts``-th time.
    """

    reason: str | None = None
    port_owner: PortOwner | None = None
    first_error: str | None = None
    restart_in_s: float | None = None
    restarts: int = 0


class Run:
    """``number`` counts the runs of this script; its lines have numbers after ``first_n``, up to ``last_n``
    if it ended. ``restarts`` of them came before it by themselves.
    """

    def __init__(self, script: Script, number: int, first_n: int, created_at: str, restarts: int = 0) -> None:
        self.script = script
        self.name = script.name
        self.process_id = f"{script.name}-{number}"
        self.state: lifecycle.State = "pending"
        self.child: Child | None = None
        self.started_at = created_at
        self.spawned_s = 0.0
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
        self.port_owner: PortOwner | None = None
        self.successor: Run | None = None
        """The run that follows by itself; it is there before anybody is told of this one's end."""
        self.problems: Problems | None = None
        self.unfinished: Callable[[], str | None] = lambda: None
        """What it has printed of a line that is not at its end yet."""
        self._printed: dict[str, Url] = {}
        self._listening: set[int] = set()

    def __repr__(self) -> str:
        return f"<Run {self.process_id} {self.state} pid={self.pid}>"

    @property
    def has_ended(self) -> bool:
        return self.state in lifecycle.ENDED

    @property
    def latest(self) -> "Run":
        """The last of the runs that followed by themselves."""
        run = self
        while run.successor is not None:
            run = run.successor
        return run

    @property
    def pid(self) -> int | None:
        return None if self.child is None or self.has_ended else self.child.pid

    @property
    def urls(self) -> list[str]:
        """The local URLs it printed, else those of the ports on which it listens."""
        printed = [url.text for url in self._printed.values()]
        return printed or [f"http://localhost:{port}" for port in sorted(self._listening)]

    def printed_ports(self) -> Collection[int]:
        return {url.port for url in self._printed.values()}

    def owns(self, line: Line) -> bool:
        return line.process == self.name and self.first_n < line.n and (self.last_n is None or line.n <= self.last_n)

    def asked_again(self, script: Script) -> None:
        """While it waits for its restart: it is a first start now, of the script as it has become."""
        self.script, self.restarts, self.restart_at_s = script, 0, None

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

    def became_ready(self, listening: set[int]) -> None:
        self._apply("became_ready")
        self._listening, self.port_owner = listening, None

    def proof_given_up(self, why: str) -> str:
        """Stop searching for the line that proves readiness; returns the reason."""
        self.reason = f"{why}; until the expression is changed, no line makes {self.name} ready"
        return self.reason

    def stop_asked(self, by: str) -> None:
        self._apply("stop_asked")
        self.stop_asked_by = by

    def cancelled(self, at: str, last_n: int) -> None:
        """Its stop was asked for while it was pending."""
        self.ended_at, self.last_n = at, last_n

    def ended(self, exit_: Exit, ending: Ending, at: str, last_n: int) -> None:
        self._apply("looped" if ending.first_error else "ended_well" if exit_.exit_code == 0 else "ended_badly")
        self.exit, self.ended_at, self.last_n = exit_, at, last_n
        self._explain(ending)

    def saw(self, text: str) -> list[str]:
        """The local URLs that these lines show for the first time; ``…/`` and ``…`` are one."""
        new = {url.text.rstrip("/"): url for url in urls_in(text) if url.is_local}
        new = {key: url for key, url in new.items() if key not in self._printed}
        if len(self._printed) + len(new) > MAX_URLS:
            return []
        self._printed |= new
        return [url.text for url in new.values()]

    def status(self) -> ProcessStatus:
        exit_code, signal = (self.exit.exit_code, self.exit.signal) if self.exit else (None, None)
        waits = self.state == "pending"
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
            reason=self.reason or UNSET,
            restarts=self.restarts or UNSET,
            next_restart_s=_seconds_until(self.restart_at_s) if waits and self.restart_at_s is not None else UNSET,
            waits_for=(waits and self.waits_for) or UNSET,
            first_error=self.first_error or UNSET,
            stop_asked_by=self.stop_asked_by or UNSET,
            port_owner=self.port_owner or UNSET,
            errors=self._errors(),
            summary=(self.problems and self.problems.summary) or UNSET,
            unfinished_line=self.unfinished() or UNSET,
        )

    @property
    def first_printed_error(self) -> str | None:
        """Title and place of the first error that it printed."""
        if self.problems is None or (first := self.problems.first) is None:
            return None
        return f"{first.title} ({first.where})" if first.where else first.title

    def _errors(self) -> Errors | UnsetType:
        """Unset where the first error of the crash loop, or the reason, says it already."""
        if self.problems is None or (first := self.problems.first) is None:
            return UNSET
        if self.first_error and (self.first_printed_error or "") in self.first_error:
            return UNSET
        if self.reason and self.problems.errors == 1 and _is_of_a_port(first.title):
            return UNSET
        return Errors(self.problems.errors, first.title, first.where)

    def has_told(self, n: int) -> bool:
        """Whether a line belongs to an error that it printed."""
        return self.problems is not None and self.problems.owns(n)

    def _explain(self, ending: Ending) -> None:
        self.reason, self.first_error = ending.reason, ending.first_error
        self.port_owner = ending.port_owner or self.port_owner

    def _apply(self, event: lifecycle.Event) -> None:
        self.state = lifecycle.after(self.state, event)


def _is_of_a_port(title: str) -> bool:
    """The reason of a failure then names the port, and who has it."""
    from brummer.instance.port_complaints import port_in_use  # noqa: PLC0415 - only where something has failed

    return port_in_use([title]) is not None


def _seconds_until(moment_s: float) -> float:
    return round(max(0.0, moment_s - asyncio.get_running_loop().time()), 1)
