"""A log on a screen that is not there, driven as a person would."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from textual.app import App, ComposeResult
from textual.events import MouseDown, MouseEvent, MouseMove, MouseUp
from textual.message import Message
from textual.pilot import Pilot

from brummer.views.log_lines import LogLine
from brummer.views.terminal.kept_lines import KeptLines
from brummer.views.terminal.lines import Lines

AT = "2026-11-30T19:04:03.123Z"


def line(n: int, text: str | None = None, script: str = "dev", level: str = "", coloured: str = "") -> LogLine:
    return LogLine(n, AT, script, f"line {n}" if text is None else text, level, coloured=coloured)


def some_lines(first: int, last: int) -> list[LogLine]:
    """Both are among them."""
    return [line(n) for n in range(first, last + 1)]


class LogApp(App[None]):
    """One log, without times, so that a line's text begins in the third column."""

    def __init__(self, kept: KeptLines | None = None, clipboard: Callable[[str], object] | None = None) -> None:
        super().__init__(ansi_color=True)  # said here, or NO_COLOR paints the terminal's own background black
        self.theme = "ansi-dark"
        self.log_lines = Lines(kept=kept, clipboard=clipboard)
        self.log_lines.shows_times = False
        self.messages: list[Message] = []

    def compose(self) -> ComposeResult:
        yield self.log_lines

    def on_lines_moved(self, message: Lines.Moved) -> None:
        self.messages.append(message)

    def on_lines_reached_top(self, message: Lines.ReachedTop) -> None:
        self.messages.append(message)

    def on_lines_reached_end(self, message: Lines.ReachedEnd) -> None:
        self.messages.append(message)

    def on_lines_copied(self, message: Lines.Copied) -> None:
        self.messages.append(message)

    def took(self, kind: type[Message]) -> int:
        """How many messages of this kind came since the last question."""
        count = sum(isinstance(message, kind) for message in self.messages)
        self.messages = [message for message in self.messages if not isinstance(message, kind)]
        return count


@asynccontextmanager
async def log_on_screen(
    size: tuple[int, int] = (40, 10),
    kept: KeptLines | None = None,
    clipboard: Callable[[str], object] | None = None,
) -> AsyncIterator[tuple[Lines, Pilot[None]]]:
    """Of so many columns and rows."""
    app = LogApp(kept, clipboard)
    async with app.run_test(size=size) as pilot:
        yield app.log_lines, pilot


def rows(lines: Lines) -> list[str]:
    """What the log shows, without blanks at the end and without its scroll bar."""
    return [lines.render_line(y).text.rstrip() for y in range(lines.size.height)]


def texts(lines: Lines) -> list[str]:
    """As `rows`, without the marks, and without empty rows."""
    return [row[2:] for row in rows(lines) if row]


async def log_is_shown(log: Lines, text: str) -> None:
    """Wait until this row is on the screen."""
    async with asyncio.timeout(20):
        while not any(text in row for row in rows(log)):
            await asyncio.sleep(0)


async def drag(pilot: Pilot[None], start: tuple[int, int], *to: tuple[int, int]) -> None:
    """Press the button at one cell of the screen, (column, row), move over others, and release it at the last one; at
    once, without the pauses that a `Pilot` makes around each event.
    """
    async with asyncio.timeout(20):
        send(pilot.app, MouseDown, start, button=1)
        while pilot.app.mouse_captured is None:
            await asyncio.sleep(0)
        for place in to:
            send(pilot.app, MouseMove, place, button=1)
        send(pilot.app, MouseUp, to[-1], button=1)
        while pilot.app.mouse_captured is not None:
            await asyncio.sleep(0)


def send(
    app: App[None], kind: type[MouseEvent], place: tuple[int, int], *, button: int = 0, shift: bool = False
) -> None:
    app.post_message(kind(app.screen, *place, 0, 0, button, shift=shift, meta=False, ctrl=False))
