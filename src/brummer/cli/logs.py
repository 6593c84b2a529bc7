"""``brum logs``: what the scripts printed, and with -f what they go on to print.

Following asks again with a cursor: nothing an instance offers blocks until the next line, whatever it says. A question
costs a tenth of a millisecond on a connection that is kept, and is asked four times a second at the most while it is
quiet. A cursor outlives the instance: what was lost between two questions is counted, and a new run is read from its
beginning.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from brummer.cli.colour import Paint, Prefixes
from brummer.cli.messages import say
from brummer.cli.project import EXIT_NOTHING_RUNS, NothingRuns, Project, with_project
from brummer.contract.texts import lines_of
from brummer.core.errors import BrummerError

PAGE: Final = 1_000
PAGE_BYTES: Final = 262_144
"""As many as one answer takes (`brummer.contract.arguments`): the default is an agent's, who pays for each."""
PAUSES_S: Final = (0.05, 0.1, 0.25)
"""After the first, second, and every further answer without lines."""
AWAY_S: Final = 0.5
"""Between two looks for an instance that is not there."""


Ask = Callable[..., Awaitable[dict[str, Any]]]
"""`Project.call`, or what stands in for it: the tool, and its arguments by name."""


@dataclass(slots=True)
class Page:
    """One answer. ``dropped``: lines that came after the last answer and are gone."""

    lines: list[dict[str, Any]]
    cursor: str
    dropped: int
    omitted: int
    is_of_new_run: bool


@dataclass(slots=True)
class Reader:
    """The lines of one process, or of all, from one answer to the next."""

    process: str | None
    cursor: str | None = None
    lines: list[dict[str, Any]] = field(default_factory=list)

    async def read(self, ask: Ask, limit: int) -> Page:
        answer = await ask("logs_tail", process=self.process, limit=limit, cursor=self.cursor, limit_bytes=PAGE_BYTES)
        page = Page(
            lines_of(answer),
            str(answer.get("next_cursor", "")),
            answer.get("dropped", 0) if self.cursor else 0,
            answer.get("omitted", 0),
            bool(answer.get("cursor_reset")),
        )
        self.cursor = page.cursor
        return page


def run(place: Path, name: str | None, scripts: Sequence[str], count: int, paint: Paint, *, follow: bool) -> int:
    """Returns the exit status; when following, 0 after Ctrl-C or SIGTERM."""

    async def show(project: Project) -> int:
        readers = [Reader(script) for script in dict.fromkeys(scripts)] or [Reader(None)]
        printer = Printer(paint, [reader.process for reader in readers if reader.process])
        runs = await project.find() is not None
        await _print_so_far(project.call if runs else project.left_behind, readers, count, printer)
        if follow and runs:
            await _until_told(_follow(project, readers, printer))
        return 0 if runs else EXIT_NOTHING_RUNS

    return with_project(place, name, show)


async def print_last_lines(project: Project, process: str, count: int, paint: Paint) -> None:
    """Of one process, or of all runs of a script."""
    page = await Reader(process).read(project.call, count)
    Printer(paint).print(page.lines)


class Printer:
    """Lines with their names in front; only their own colours, if any, get through to a terminal."""

    def __init__(self, paint: Paint, names: Sequence[str] = ()) -> None:
        self._paint = paint
        self._prefix = Prefixes(paint, names)

    def print(self, lines: Sequence[dict[str, Any]]) -> None:
        self._prefix.widen({str(line.get("process", "")) for line in lines})
        for line in lines:
            print(self._prefix(str(line.get("process", ""))), self._paint.foreign(str(line.get("text", ""))))
        if lines:
            sys.stdout.flush()


async def _print_so_far(ask: Ask, readers: Sequence[Reader], count: int, printer: Printer) -> None:
    pages = [await reader.read(ask, max(count, 1)) for reader in readers]
    lines = sorted((line for page in pages for line in page.lines), key=_number)
    printer.print(lines[-count:] if count else [])
    cut = sum(page.omitted for page in pages if len(page.lines) < count)
    if count and cut:
        say(f"{cut} earlier lines are not shown: together they are more than one answer holds")


async def _follow(project: Project, readers: Sequence[Reader], printer: Printer) -> None:
    """For ever. An instance that is away is waited for, and said to be once."""
    quiet, away = 0, ""
    while True:
        try:
            busy = await _print_news(project.call, readers, printer)
        except BrummerError as error:
            if not away and isinstance(error, NothingRuns):
                await _print_last_words(project, readers, printer)
            if away != error.message:
                away = error.message
                waiting = "its instance has ended" if isinstance(error, NothingRuns) else away
                say(f"{waiting}; waiting for it to come back (Ctrl-C ends this)")
            await asyncio.sleep(AWAY_S)
            continue
        away, quiet = "", 0 if busy else quiet + 1
        await asyncio.sleep(PAUSES_S[min(quiet, len(PAUSES_S) - 1)])


async def _print_news(ask: Ask, readers: Sequence[Reader], printer: Printer) -> bool:
    """What is new to each reader, up to a page; whether there was anything."""
    pages = [await reader.read(ask, PAGE) for reader in readers]
    if any(page.is_of_new_run for page in pages):
        say("the instance was started anew")
    elif dropped := max(page.dropped for page in pages):
        say(f"{dropped} lines are missing here: they came faster than they were read")
    lines = sorted((line for page in pages for line in page.lines), key=_number)
    printer.print(lines)
    return bool(lines)


async def _print_last_words(project: Project, readers: Sequence[Reader], printer: Printer) -> None:
    """What came between the last question and the end, if it has left that behind."""
    with contextlib.suppress(BrummerError):
        await _print_news(project.left_behind, readers, printer)


async def _until_told(following: Any) -> None:
    """Until Ctrl-C or SIGTERM, which end it quietly."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    tasks = [asyncio.ensure_future(following), asyncio.ensure_future(told.wait())]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _number(line: dict[str, Any]) -> int:
    n = line.get("n", 0)
    return n if isinstance(n, int) else 0
