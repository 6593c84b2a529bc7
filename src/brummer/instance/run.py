"""One run of a script: its facts, and the only place that changes its state."""

from collections.abc import Collection

import msgspec

from brummer.instance.detect import Script
from brummer.process import lifecycle
from brummer.process.output import Line
from brummer.process.runner import Child, Exit, ScriptFailedToStart
from brummer.process.urls import Url, urls_in

MAX_URLS = 20
"""A crawler prints thousands; a dev server a handful."""


class ProcessStatus(msgspec.Struct, frozen=True):
    """A run as agents see it. Times are UTC as RFC 3339; ``pid`` only while it lives; ``signal`` by name."""

    process_id: str
    name: str
    status: lifecycle.State
    pid: int | None
    urls: list[str]
    exit_code: int | None
    signal: str | None
    started_at: str
    ended_at: str | None
    error: str | None


class Run:
    """``number`` counts the runs of this script; its lines have numbers after ``first_n``, up to ``last_n``
    if it ended.
    """

    def __init__(self, script: Script, number: int, first_n: int, started_at: str) -> None:
        self.script = script
        self.name = script.name
        self.process_id = f"{script.name}-{number}"
        self.state: lifecycle.State = "starting"
        self.child: Child | None = None
        self.started_at = started_at
        self.ended_at: str | None = None
        self.first_n = first_n
        self.last_n: int | None = None
        self.exit: Exit | None = None
        self.error: str | None = None
        self._printed: dict[str, Url] = {}
        self._listening: set[int] = set()

    def __repr__(self) -> str:
        return f"<Run {self.process_id} {self.state} pid={self.pid}>"

    @property
    def has_ended(self) -> bool:
        return self.state in lifecycle.ENDED

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

    def spawned(self, child: Child) -> None:
        self._apply("spawned")
        self.child = child

    def failed_to_start(self, error: ScriptFailedToStart, at: str, last_n: int) -> None:
        self._apply("spawn_failed")
        self.error, self.ended_at, self.last_n = error.message, at, last_n

    def became_ready(self, listening: set[int]) -> None:
        self._apply("became_ready")
        self._listening = listening

    def stop_asked(self) -> None:
        self._apply("stop_asked")

    def ended(self, exit_: Exit, at: str, last_n: int) -> None:
        self._apply("ended_well" if exit_.exit_code == 0 else "ended_badly")
        self.exit, self.ended_at, self.last_n = exit_, at, last_n

    def saw(self, text: str) -> list[str]:
        """The local URLs that this line shows for the first time; ``…/`` and ``…`` are one."""
        new = {url.text.rstrip("/"): url for url in urls_in(text) if url.is_local}
        new = {key: url for key, url in new.items() if key not in self._printed}
        if len(self._printed) + len(new) > MAX_URLS:
            return []
        self._printed |= new
        return [url.text for url in new.values()]

    def status(self) -> ProcessStatus:
        exit_code, signal = (self.exit.exit_code, self.exit.signal) if self.exit else (None, None)
        return ProcessStatus(
            self.process_id,
            self.name,
            self.state,
            self.pid,
            self.urls,
            exit_code,
            signal,
            self.started_at,
            self.ended_at,
            self.error,
        )

    def _apply(self, event: lifecycle.Event) -> None:
        self.state = lifecycle.after(self.state, event)
