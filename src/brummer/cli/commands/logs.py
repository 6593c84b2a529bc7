"""``brum logs``: the output of the scripts, and with -f also new lines.

To follow, it asks repeatedly with a cursor: no tool of an instance blocks until the next line of any text. A request
costs a tenth of a millisecond on an open connection, and there are at most four a second while no line comes. A cursor
outlives the instance: lines lost between two requests are counted, and a new run is read from its beginning.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from brummer.cli import options
from brummer.cli.colour import Paint, Prefixes
from brummer.cli.instance_calls import NothingRuns
from brummer.cli.interrupts import until_interrupted
from brummer.cli.messages import say
from brummer.cli.project import EXIT_NOTHING_RUNS, Project, with_project
from brummer.contract.texts import lines_of
from brummer.core.errors import BrummerError

DETAILS: Final = "Without an instance it prints what the last run has left, and the exit status is 3."

LINES_MAX: Final = 5_000
"""The limit of one answer (`brummer.contract.tools`)."""
PAGE: Final = 1_000
PAGE_BYTES: Final = 262_144
"""The largest answer (`brummer.contract.tools`); the default is for agents, who pay for each byte."""
PAUSES_S: Final = (0.05, 0.1, 0.25)
"""After the first, second, and every further answer without lines."""
AWAY_S: Final = 0.5
"""The interval of checks for an instance that does not run."""

Ask = Callable[..., Awaitable[dict[str, Any]]]
"""`Project.call` or `Project.left_behind`: the tool, and its arguments by name."""


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_project(parser)
    options.add_scripts(parser, "only these; dev-2 is the second run of dev")
    parser.add_argument("-f", "--follow", action="store_true", help="continue until Ctrl-C, also through restarts")
    parser.add_argument(
        "-n",
        "--lines",
        type=_lines,
        default=100,
        metavar="N",
        help=f"so many of the last lines (default 100, at most {LINES_MAX}, or as many as one answer holds)",
    )


def _lines(text: str) -> int:
    if not text.isdecimal() or int(text) > LINES_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not a number of lines (0 to {LINES_MAX})")
    return int(text)


def run(chosen: argparse.Namespace) -> int:
    """0 also when Ctrl-C or SIGTERM ends the following."""

    async def show(project: Project) -> int:
        readers = [Reader(script) for script in dict.fromkeys(chosen.scripts)] or [Reader(None)]
        printer = Printer(options.paint(chosen), [reader.process for reader in readers if reader.process])
        try:
            await print_so_far(project.call, readers, chosen.lines, printer)
        except NothingRuns:
            await print_so_far(project.left_behind, readers, chosen.lines, printer)
            return EXIT_NOTHING_RUNS
        if chosen.follow:
            await until_interrupted(follow(project, readers, printer))
        return 0

    return with_project(chosen, show)


@dataclass(slots=True)
class Page:
    """One answer. ``dropped``: lines after the last answer that are lost. ``omitted``: lines that did not fit."""

    lines: list[dict[str, Any]]
    dropped: int
    omitted: int
    is_of_new_run: bool


@dataclass(slots=True)
class Reader:
    """The lines of one process, or of all, from one answer to the next."""

    process: str | None
    cursor: str | None = None

    async def read(self, ask: Ask, limit: int) -> Page:
        answer = await ask("logs_tail", process=self.process, limit=limit, cursor=self.cursor, limit_bytes=PAGE_BYTES)
        dropped = answer.get("dropped", 0) if self.cursor else 0
        self.cursor = str(answer.get("next_cursor", ""))
        return Page(lines_of(answer), dropped, answer.get("omitted", 0), bool(answer.get("cursor_reset")))


async def print_last_lines(project: Project, process: str, count: int, paint: Paint) -> None:
    """Print the last lines of one process, or of all runs of a script."""
    page = await Reader(process).read(project.call, count)
    Printer(paint).print(page.lines)


class Printer:
    """Prints lines with their names in front; a terminal gets no control characters of theirs but colours."""

    def __init__(self, paint: Paint, names: Sequence[str] = ()) -> None:
        self._paint = paint
        self._prefix = Prefixes(paint, names)

    def print(self, lines: Sequence[dict[str, Any]]) -> None:
        self._prefix.widen({str(line.get("process", "")) for line in lines})
        for line in lines:
            print(self._prefix(str(line.get("process", ""))), self._paint.foreign(str(line.get("text", ""))))
        if lines:
            sys.stdout.flush()


async def print_so_far(ask: Ask, readers: Sequence[Reader], count: int, printer: Printer) -> None:
    """Print the last ``count`` lines of all readers together."""
    pages = [await reader.read(ask, max(count, 1)) for reader in readers]
    lines = _in_order(pages)
    printer.print(lines[-count:] if count else [])
    omitted = sum(page.omitted for page in pages if len(page.lines) < count)
    if count and omitted:
        say(f"{omitted} earlier lines are not shown: one answer can't hold them all")


async def follow(project: Project, readers: Sequence[Reader], printer: Printer) -> None:
    """Print new lines until it is cancelled. It waits for an instance that is away, and says so once."""
    quiet, away = 0, ""
    while True:
        try:
            has_lines = await print_news(project.call, readers, printer)
        except BrummerError as error:
            has_ended = isinstance(error, NothingRuns)
            if has_ended and not away:
                with contextlib.suppress(BrummerError):  # lines between the last request and the end, if they were kept
                    await print_news(project.left_behind, readers, printer)
            if away != error.message:
                away = error.message
                say(f"{'its instance has ended' if has_ended else away}; waiting for it to return (Ctrl-C ends this)")
            await asyncio.sleep(AWAY_S)
            continue
        away, quiet = "", 0 if has_lines else quiet + 1
        await asyncio.sleep(PAUSES_S[min(quiet, len(PAUSES_S) - 1)])


async def print_news(ask: Ask, readers: Sequence[Reader], printer: Printer) -> bool:
    """Print up to a page of new lines of each reader; whether there were any."""
    pages = [await reader.read(ask, PAGE) for reader in readers]
    if any(page.is_of_new_run for page in pages):
        say("the instance was restarted")
    elif dropped := max(page.dropped for page in pages):
        say(f"{dropped} lines are missing here: they came faster than they could be read")
    lines = _in_order(pages)
    printer.print(lines)
    return bool(lines)


def _in_order(pages: Sequence[Page]) -> list[dict[str, Any]]:
    return sorted((line for page in pages for line in page.lines), key=_number)


def _number(line: dict[str, Any]) -> int:
    n = line.get("n", 0)
    return n if isinstance(n, int) else 0
