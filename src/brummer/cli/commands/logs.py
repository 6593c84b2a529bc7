"""``brum logs``: the output of the scripts, and with -f also new lines and what happens to the scripts.

To follow, it asks with a cursor, and the answer comes with the next line or event: while nothing happens there are
three requests a minute. A cursor outlives the instance: lines lost between two requests are counted, and a new run is
read from its beginning.
"""

import argparse
import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from heapq import merge
from typing import Any, Final

from brummer.cli import options
from brummer.cli.instance_calls import NothingRuns
from brummer.cli.interrupts import until_interrupted
from brummer.cli.log_lines import Ask, EventReader, Filter, LogReader, Printer, ShownPage, Style
from brummer.cli.log_news import PAGE, LogNews, News
from brummer.cli.messages import say
from brummer.cli.package_scripts import full_names
from brummer.cli.project import EXIT_NOTHING_RUNS, Project, with_project
from brummer.cli.run_events import PREFIX, RunEvents
from brummer.contract.tools import PATTERN_LENGTH
from brummer.core.errors import BrummerError, shown
from brummer.settings import units

DETAILS: Final = (
    "Without an instance it prints what the last run has left, and the exit status is 3. All filters hold together."
)

LINES_MAX: Final = 5_000
"""The limit of one answer (`brummer.contract.tools`)."""
AWAY_S: Final = 0.5
"""The interval of checks for an instance that does not run."""

LINES: Final = 100
"""The default number of lines: some screens of them."""
LEVELS: Final = ("error", "warning", "info", "debug")


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_project(parser)
    options.add_scripts(parser, "only these; dev-2 is the second run of dev")
    parser.add_argument("-f", "--follow", action="store_true", help="continue until Ctrl-C, also through restarts")
    parser.add_argument(
        "-n",
        "--lines",
        type=_lines,
        metavar="N",
        help=f"so many of the last lines (default {LINES}, with --since all; at most {LINES_MAX}, or as many as one"
        " answer holds)",
    )
    _add_filters(parser.add_argument_group("which lines"))
    style = parser.add_argument_group("how")
    style.add_argument("-t", "--timestamps", action="store_true", help="with the time of each line")
    style.add_argument("--no-prefix", action="store_true", help="without the name of the script in front")
    style.add_argument("--json", action="store_true", dest="json_lines", help="print one JSON object for each line")


def _add_filters(which: argparse._ArgumentGroup) -> None:
    which.add_argument(
        "--since",
        type=moment,
        metavar="TIME",
        help="from then on: 10m, 2h, 14:03, or a date and time such as 2026-11-30T14:03; in local time",
    )
    serious = which.add_mutually_exclusive_group()
    serious.add_argument("--level", choices=LEVELS, help="lines that are at least so serious")
    serious.add_argument(
        "--errors", action="store_const", const="error", dest="level", help="errors with their stack traces"
    )
    which.add_argument("--grep", type=_expression, metavar="REGEX", help="lines that match; (?i) in front ignores case")


def moment(text: str, now: datetime | None = None) -> str:
    """A time as the tools take it. They read a time without a zone as UTC; for people it is local. A time of day is the
    last one until ``now``.
    """
    with contextlib.suppress(ValueError):
        return f"{units.seconds(text)}s"
    now = now or datetime.now().astimezone()
    with contextlib.suppress(ValueError):
        of_day = time.fromisoformat(text)
        today, yesterday = (  # each at the offset from UTC of its own date: between them the clocks may have changed
            datetime.combine(now - timedelta(days=days), of_day).astimezone() for days in (0, 1)
        )
        return (today if today <= now else yesterday).isoformat()
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError):
        what = f"{shown(text)} is neither a time, for example 14:03 or 2026-11-30T14:03, nor how long ago, such as 10m"
        raise argparse.ArgumentTypeError(what) from None


def _expression(text: str) -> str:
    if not text or len(text) > PATTERN_LENGTH:
        raise argparse.ArgumentTypeError(f"a regular expression has 1 to {PATTERN_LENGTH} characters")
    return options.text(text)


def _lines(text: str) -> int:
    if not text.isdecimal() or int(text) > LINES_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not a number of lines (0 to {LINES_MAX})")
    return int(text)


def run(chosen: argparse.Namespace) -> int:
    """0 also when Ctrl-C or SIGTERM ends the following."""

    async def show(project: Project) -> int:
        paint = options.paint(chosen)
        wanted = Filter(chosen.level, chosen.since, chosen.grep, paint.is_colourful and not chosen.json_lines)
        scripts = await full_names(project, chosen.scripts)
        readers = [LogReader(script, wanted) for script in dict.fromkeys(scripts)] or [LogReader(None, wanted)]
        names = [reader.process for reader in readers if reader.process]
        events = EventReader(RunEvents(names)) if chosen.follow and _wants_events(chosen) else None
        printer = Printer(paint, [*names, *([PREFIX] if events else [])], _style(chosen))
        count = _count(chosen)
        try:
            if events:
                await events.skip_earlier(project.call)
            await print_so_far(project.call, readers, count, printer)
        except NothingRuns:
            await print_so_far(project.left_behind, readers, count, printer)
            return EXIT_NOTHING_RUNS
        if chosen.follow:
            await until_interrupted(follow(project, readers, printer, events))
        return 0

    return with_project(chosen, show)


def _style(chosen: argparse.Namespace) -> Style:
    return Style(as_json=chosen.json_lines, has_prefix=not chosen.no_prefix, has_time=chosen.timestamps)


def _wants_events(chosen: argparse.Namespace) -> bool:
    """Not where only the text of lines is wanted."""
    return chosen.grep is None and (chosen.json_lines or not chosen.no_prefix)


def _count(chosen: argparse.Namespace) -> int:
    if chosen.lines is not None:
        return int(chosen.lines)
    return LINES if chosen.since is None else LINES_MAX


async def print_so_far(ask: Ask, readers: Sequence[LogReader], count: int, printer: Printer) -> None:
    """Print the last ``count`` lines of all readers together."""
    pages = [await reader.read(ask, max(count, 1)) for reader in readers]
    lines = _in_order(pages)
    printer.print(lines[-count:] if count else [])
    omitted = sum(page.omitted for page in pages if len(page.lines) < count)
    if count and omitted:
        say(f"{omitted} earlier lines are not shown: one answer can't hold them all")


async def follow(
    project: Project, readers: Sequence[LogReader], printer: Printer, events: EventReader | None = None
) -> None:
    """Print new lines and events until it is cancelled. It waits for an instance that is away, and says so once."""
    away, coming = "", LogNews(project.another, readers, events)
    try:
        while True:
            try:
                print_news(await coming.next(), printer)
            except BrummerError as error:
                has_ended = isinstance(error, NothingRuns)
                if has_ended and not away:
                    with contextlib.suppress(BrummerError):  # lines since the last answer, if they were kept
                        print_news(await _left_behind(project, readers, events), printer)
                if away != error.message:
                    away = error.message
                    why = "its instance has ended" if has_ended else away
                    say(f"{why}; waiting for it to return (Ctrl-C ends this)")
                await asyncio.sleep(AWAY_S)
            else:
                away = ""
    finally:
        await coming.close()


async def _left_behind(project: Project, readers: Sequence[LogReader], events: EventReader | None) -> News:
    happened = await events.read(project.left_behind) if events else []
    return News([await reader.read(project.left_behind, PAGE) for reader in readers], happened)


def print_news(news: News, printer: Printer) -> None:
    """Print the lines, with the events among them."""
    if run := next((page.run for page in news.pages if page.run), ""):
        say(run)
    elif dropped := max((page.dropped for page in news.pages), default=0):
        say(f"{dropped} lines are missing here: they came faster than they could be read")
    lines = _in_order(news.pages)
    printer.print(list(merge(lines, news.events, key=_at)) if news.events else lines)


def _in_order(pages: Sequence[ShownPage]) -> list[dict[str, Any]]:
    return sorted((line for page in pages for line in page.lines), key=_number)


def _at(line: dict[str, Any]) -> str:
    """RFC 3339 in UTC, as instances write it, is in the order of its text."""
    return str(line.get("at", ""))


def _number(line: dict[str, Any]) -> int:
    n = line.get("n", 0)
    return n if isinstance(n, int) else 0
