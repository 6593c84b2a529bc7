"""Lines of output as commands read and print them: page by page with a cursor, with the name of the script in front."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from brummer.cli.colour import DIM, Paint, Prefixes
from brummer.cli.project import Project
from brummer.cli.run_events import PREFIX, RunEvents, ShownRunEvent, shown
from brummer.contract.texts import lines_of
from brummer.core import json_text

PAGE_BYTES: Final = 262_144
"""The largest answer (`brummer.contract.tools`); the default is for agents, who pay for each byte."""

EVENTS: Final = 200
"""In one answer: more than the scripts of a project have between two requests."""

Ask = Callable[..., Awaitable[dict[str, Any]]]
"""`Project.call` or `Project.left_behind`: the tool, and its arguments by name."""


class Filter(NamedTuple):
    """Which lines are wanted, in the words of `logs_tail` and `logs_search`. ``grep`` is a regular expression.
    ``colours``: those of the lines.
    """

    level: str | None = None
    since: str | None = None
    grep: str | None = None
    colours: bool = False

    @property
    def question(self) -> tuple[str, dict[str, Any]]:
        """The tool, and its arguments."""
        wanted: dict[str, Any] = {"level": self.level, "since": self.since, "colours": self.colours or None}
        if self.grep is None:
            return "logs_tail", wanted
        return "logs_search", {**wanted, "query": self.grep, "regex": True}


EVERY_LINE: Final = Filter()


@dataclass(slots=True)
class ShownPage:
    """One answer. ``dropped``: lines after the last answer that are lost. ``omitted``: lines that did not fit.
    ``run``: a sentence, if the lines are of another run of the instance than those of the last answer.
    """

    lines: list[dict[str, Any]]
    dropped: int
    omitted: int
    run: str = ""

    @property
    def is_news(self) -> bool:
        """Something is to be printed."""
        return bool(self.lines or self.dropped or self.run)


@dataclass(slots=True, eq=False)
class LogReader:
    """The wanted lines of one process, or of all, from one answer to the next."""

    process: str | None
    wanted: Filter = EVERY_LINE
    cursor: str | None = None

    async def read(self, ask: Ask, limit: int, wait_s: float | None = None) -> ShownPage:
        """``wait_s``: how long to wait for a line if there is none."""
        tool, arguments = self.wanted.question
        place = {"cursor": self.cursor, "wait_s": wait_s}
        answer = await ask(tool, process=self.process, limit=limit, limit_bytes=PAGE_BYTES, **place, **arguments)
        dropped = answer.get("dropped", 0) if self.cursor else 0
        self.cursor = _cursor_of(answer)
        return ShownPage(lines_of(answer), dropped, answer.get("omitted", 0), _run_of(answer))


def _cursor_of(answer: dict[str, Any]) -> str:
    """Instances of earlier versions call it ``next_cursor``."""
    return str(answer.get("cursor") or answer.get("next_cursor", ""))


def _run_of(answer: dict[str, Any]) -> str:
    """See `ShownPage`. A black box may have lines of another run although none has begun since."""
    if not answer.get("cursor_reset"):
        return ""
    if "from" not in answer:
        return "the instance was started anew"
    return f"these lines are of its run since {answer.get('run_since', 'an unknown time')}"


@dataclass(slots=True, eq=False)
class EventReader:
    """What happens to the scripts, as lines, from one answer to the next."""

    events: RunEvents
    cursor: str | None = None

    async def skip_earlier(self, ask: Ask) -> None:
        """Begin with what happens from now on."""
        await self._changes(ask, limit=1)

    async def read(self, ask: Ask, wait_s: float | None = None) -> list[ShownRunEvent]:
        """``wait_s``: how long to wait for a change if there is none."""
        return self.events.lines_of(await self._changes(ask, EVENTS, wait_s))

    async def _changes(self, ask: Ask, limit: int, wait_s: float | None = None) -> list[ShownRunEvent]:
        answer = await ask("changes_since", cursor=self.cursor, limit=limit, wait_s=wait_s)
        self.cursor = _cursor_of(answer)
        changes: list[ShownRunEvent] = answer.get("changes", [])
        return changes


class Style(NamedTuple):
    """How lines are printed. ``as_json``: each as one JSON object, for programs."""

    as_json: bool = False
    has_prefix: bool = True
    has_time: bool = False


@dataclass(slots=True)
class Printer:
    """Prints lines; a terminal gets no control characters of theirs but colours. ``names``: those that may come, for
    the width of the prefix.
    """

    paint: Paint
    names: Sequence[str] = ()
    style: Style = field(default_factory=Style)
    _prefix: Prefixes = field(init=False)

    def __post_init__(self) -> None:
        self._prefix = Prefixes(self.paint, self.names)

    def print(self, lines: Sequence[dict[str, Any]]) -> None:
        """Each has ``process``, ``at`` and ``text``; an event has a ``kind``, too."""
        self._prefix.widen(set(map(_name, lines)))
        today = datetime.now().astimezone()
        for line in lines:
            print(json_text.encode(line).decode() if self.style.as_json else self._shown(line, today))
        if lines:
            sys.stdout.flush()

    def _shown(self, line: dict[str, Any], today: datetime) -> str:
        parts = [self.paint.styled(local_time(str(line.get("at", "")), today), DIM)] if self.style.has_time else []
        if self.style.has_prefix:
            parts.append(self._prefix(_name(line)))
        text = shown(line, self.paint) if "kind" in line else self.paint.foreign(str(line.get("text", "")))
        return " ".join([*parts, text])


def _name(line: dict[str, Any]) -> str:
    """What stands in front of a line, or of an event."""
    return PREFIX if "kind" in line else str(line.get("process", ""))


def local_time(at: str, now: datetime) -> str:
    """An RFC 3339 time as people's clocks showed it then, to the millisecond; with its date if that is not today's."""
    try:
        time = datetime.fromisoformat(
            at
        ).astimezone()  # not at the offset of ``now``: the clocks may have changed since
    except ValueError:
        return at
    shown = time.isoformat(sep=" ", timespec="milliseconds")[: len("2026-11-30 14:03:11.123")]
    return shown if time.date() != now.date() else shown[len("2026-11-30 ") :]


async def print_last_lines(project: Project, process: str, count: int, paint: Paint) -> None:
    """Print the last lines of one process, or of all runs of a script."""
    page = await LogReader(process, Filter(colours=paint.is_colourful)).read(project.call, count)
    Printer(paint).print(page.lines)
