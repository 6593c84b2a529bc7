"""What stands beside the tree: the title of the chosen row, and its lines; in their place its errors, or the keys."""

import asyncio
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from brummer.core.errors import BrummerError
from brummer.discovery.record import displayable
from brummer.views.log_feed import PAGE, LogFeed
from brummer.views.log_lines import LogLine, note
from brummer.views.model import RowKey
from brummer.views.sentences import LogFacts, title
from brummer.views.source import Source
from brummer.views.terminal import programs
from brummer.views.terminal.copying import clipboard_programs, copy_by
from brummer.views.terminal.error_list import ErrorList
from brummer.views.terminal.keys import key_page
from brummer.views.terminal.lines import ASCII_MARKS, MARKS, Lines
from brummer.views.terminal.row_list import RowList
from brummer.views.terminal.view_options import TextLine, ViewOptions

QUIET_S: Final = 0.25
"""A script that asks prints nothing else for the moment; in a flood every look finds the beginning of a line."""
COPIED_S: Final = 2.0
"""How long it is said that something was copied: the drag was seen, too."""
LEVELS: Final = (None, "warning", "error")


class Surrounding(Protocol):
    """The view around the pane."""

    def say(self, text: str, *, for_s: float | None = ...) -> None:
        """Say it in the status line for a while; ``for_s`` None: until something else is said."""
        ...

    async def open_program(self, command: list[str]) -> None:
        """Leave the terminal to another program until it ends."""
        ...


class LogPane(Vertical):
    """``chosen`` is the row that it shows."""

    DEFAULT_CSS = """
    LogPane { border-left: vkey ansi_bright_black; }
    LogPane.ascii { border-left: ascii ansi_bright_black; }
    LogPane.alone { border-left: none; }
    LogPane #title { text-style: bold; padding: 0 1; }
    LogPane #asked { padding: 0 1; color: ansi_yellow; }
    LogPane #help { padding: 0 1; scrollbar-size: 0 1; }
    LogPane Lines, LogPane ErrorList { background: ansi_default; }
    """

    def __init__(self, source: Source, options: ViewOptions, surrounding: Surrounding) -> None:
        super().__init__(id="right", classes="ascii" if options.is_ascii else None)
        self.chosen: RowKey | None = None
        self.query_text = ""
        self._source = source
        self._options = options
        self._surrounding = surrounding
        self._feed: LogFeed | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._level: str | None = None
        self._shows_only_hits = False
        self._go_to_n: int | None = None
        self._printed_s = 0.0
        self._looks_again = False
        clipboards = clipboard_programs(options.environ, options.platform)
        is_ascii = options.is_ascii
        self.lines = Lines(
            ASCII_MARKS if is_ascii else MARKS, clipboard=partial(copy_by, clipboards) if clipboards else None
        )
        if is_ascii:
            self.lines.styles.scrollbar_size_vertical = 0  # it is drawn in blocks
        self.errors = ErrorList(is_ascii=is_ascii)
        self.help_page = VerticalScroll(Static(options.spelled("\n".join(key_page())), markup=False), id="help")
        self._title = TextLine(options, "title")
        self._asked = TextLine(options, "asked")
        self.errors.display = self.help_page.display = self._asked.display = False

    def compose(self) -> ComposeResult:
        """The rest is mounted when it is shown for the first time: the first picture needs no styles for it."""
        yield from (self._title, self.lines, self._asked)

    def on_unmount(self) -> None:
        if self._feeding:
            self._feeding.cancel()

    # What is shown.

    def show(self) -> None:
        """Show what is so now."""
        self._show_title()
        self._show_question()
        if self.errors.display and self.chosen:
            self.errors.show_errors(self._source.model.errors_of(self.chosen), self._source.now())

    def _show_title(self) -> None:
        feed = self._feed
        log = LogFacts(
            has_answer=feed is not None and feed.has_answer,
            follows=self.lines.follow,
            unseen=self.lines.unseen,
            is_earlier=feed is not None and feed.is_earlier,
            level=self._level,
            query=self.query_text,
            shows_only_hits=self._shows_only_hits,
        )
        width = self._title.content_size.width
        self._title.show(title(self._source.model, self.chosen, log, self._source.now(), width))

    def _show_question(self) -> None:
        """A question that waits for an answer stands below the lines, among which it is not."""
        asked = self._source.model.question(self.chosen) if self.chosen else ""
        is_quiet = self._source.now().s - self._printed_s >= QUIET_S
        self._asked.display = bool(asked) and is_quiet and self.lines.display
        self._asked.show(f"{asked} (i: type)")
        if asked and not is_quiet and not self._looks_again:
            self._looks_again = True
            self.set_timer(QUIET_S, self._look_again)

    def _look_again(self) -> None:
        self._looks_again = False
        self._show_question()

    @property
    def in_place(self) -> Widget:
        """What stands in the place of the lines, or the lines."""
        return next(each for each in (self.errors, self.help_page, self.lines) if each.display)

    def show_in_place(self, wanted: Widget) -> None:
        """Show the lines, the errors or the keys."""
        had_focus = self.has_focus_within
        if wanted.parent is None:
            self.mount(wanted)
        for each in (self.lines, self.errors, self.help_page):
            each.display = each is wanted
        if had_focus:
            wanted.focus()
        self.show()

    def toggle(self, wanted: Widget) -> bool:
        """Show it, or the lines again; whether it is shown."""
        self.show_in_place(self.lines if wanted.display else wanted)
        return wanted.display

    # Lines.

    def show_row(self, key: RowKey | None) -> None:
        """Show the lines of this row, unless they are shown already."""
        if self._feed is None or self._feed.key != key:
            self.chosen = key
            self._read_anew()

    def _read_anew(self, until_n: int | None = None) -> None:
        """``until_n``: the page that ends at this line."""
        if self._feeding:
            self._feeding.cancel()
        self.lines.clear()
        self._printed_s = 0.0
        key = self.chosen
        self._source.look_at(key)
        if key is not None:
            self.lines.shows_names = key.script is None
            feed = self._feed = LogFeed(self._source, key, self._level, self._filter, until_n)
            self._feeding = self._source.supervise(partial(feed.run, self._take))
        self.show()

    @property
    def _filter(self) -> str:
        return self.query_text if self._shows_only_hits else ""

    def _take(self, lines: list[LogLine]) -> None:
        if self._feed and self._feed.refusal:
            self._surrounding.say(self._feed.refusal)
        self.lines.append(lines)
        if lines:
            self._printed_s = self._source.now().s
        self._source.look_again()
        if self._go_to_n is not None and lines:
            self._show_line(self._go_to_n)
        self._show_title()

    def add_note(self, text: str) -> None:
        """A line of the view's own, where all of it can be read."""
        self.lines.append([note(text)])

    def _show_line(self, n: int) -> None:
        self._go_to_n = None
        if not self.lines.go_to(n):
            self._surrounding.say("that line is not kept any more")

    def on_lines_moved(self) -> None:
        self._show_title()

    async def on_lines_reached_top(self) -> None:
        self.run_worker(self._read_earlier(), group="earlier", exclusive=True)

    async def _read_earlier(self) -> bool:
        """Whether there were earlier lines."""
        feed = self._feed
        lines = await feed.earlier() if feed else []
        if feed is self._feed and feed and (lines or not feed.has_earlier):  # if not, it was not answered
            self.lines.prepend(lines)
        return bool(lines)

    def on_lines_reached_end(self) -> None:
        self._read_anew()

    def on_lines_copied(self, message: Lines.Copied) -> None:
        count = message.text.count("\n") + 1
        self._surrounding.say(f"copied {count} lines" if count > 1 else "copied", for_s=COPIED_S)

    def follow(self) -> None:
        self.show_in_place(self.lines)
        if self._feed and self._feed.is_earlier:
            self._read_anew()
        else:
            self.lines.follow = True

    def page(self, step: int) -> None:
        if step < 0:
            self.lines.action_page_up()
        else:
            self.lines.action_page_down()

    def hide_or_show_above(self) -> None:
        if self.lines.hidden:
            self.lines.show_above()
        else:
            self.lines.hide_above()

    def next_level(self) -> None:
        self._level = LEVELS[(LEVELS.index(self._level) + 1) % len(LEVELS)]
        self.show_in_place(self.lines)
        self._read_anew()

    async def everything(self) -> None:
        """All lines that are kept, in $PAGER."""
        if self.chosen is None:
            return
        self._surrounding.say("asking for all lines …", for_s=None)
        try:
            lines = await LogFeed(self._source, self.chosen, self._level, self._filter).everything()
        except BrummerError as error:
            self._surrounding.say(displayable(error.message))
            return
        file = await asyncio.to_thread(_temporary_file, lines)
        try:
            await self._surrounding.open_program(programs.pager(self._options.environ, file))
        finally:
            await asyncio.shield(asyncio.to_thread(file.unlink, missing_ok=True))

    # What is looked for.

    def look_for(self, text: str) -> None:
        """Show where this text stands; nothing is kept of it."""
        self.lines.find(text)

    def look_no_more(self) -> None:
        """Show again where the text stands that was entered last."""
        self.lines.find(self.query_text)

    def search(self, text: str, *, is_filter: bool) -> None:
        """Go to the last place with this text; ``is_filter``: show only lines with it. An empty one ends both."""
        had_only = self._shows_only_hits
        self.query_text = text
        self._shows_only_hits = bool(text) and (had_only or is_filter)
        self.lines.find(text)
        if had_only or self._shows_only_hits:
            self._read_anew()
        elif text:
            self.find(-1)
        self._show_title()

    def show_only_hits(self) -> None:
        """Only lines with the text, or all again."""
        self._shows_only_hits = not self._shows_only_hits
        self._read_anew()

    def find(self, step: int) -> None:
        """Go to the next place with the text, or with -1 to the one before."""
        if not self.query_text:
            self._surrounding.say("nothing is looked for; / begins")
        elif not self.lines.find_next(step):
            self.run_worker(self._find_earlier(step), group="find", exclusive=True)

    async def _find_earlier(self, step: int) -> None:
        """It is not among the lines that are there; earlier ones may be kept by the instance."""
        if step < 0:
            self._surrounding.say("looking in earlier lines …", for_s=None)
            while await self._read_earlier():
                if self.lines.find_next(step):
                    self._surrounding.say("")
                    return
        place = "earlier" if step < 0 else "later"
        self._surrounding.say(f"{displayable(self.query_text)}: no {place} place")

    # Errors.

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        message.stop()

    def on_row_list_opened(self, message: RowList.Opened) -> None:
        message.stop()
        if error := self.errors.error:
            self._go_to_error(error.n)

    def _go_to_error(self, n: int) -> None:
        self.show_in_place(self.lines)
        if not n:
            self._surrounding.say("its lines are of an earlier run of the instance")
            return
        first = next((line.n for line in self.lines.lines if line.n), None)
        if self._level is None and not self._shows_only_hits and first is not None and first <= n:
            self._show_line(n)
            return
        self._level, self._shows_only_hits, self._go_to_n = None, False, n
        self._read_anew(until_n=n + PAGE // 2)

    def on_error_list_edit_wanted(self) -> None:
        error = self.errors.error
        if error is None or not error.where:
            self._surrounding.say("no file is known of this error")
            return
        name, line = programs.place_of(error.where)
        entry = self._source.model.instances.get(error.key.instance)
        if entry and entry.facts.host:
            self._surrounding.say(f"the file is on {entry.facts.host}: {error.where}")
            return
        file = Path(entry.facts.directory if entry else "", name)
        self.run_worker(self._surrounding.open_program(programs.editor(self._options.environ, file, line)))


def _temporary_file(lines: Sequence[LogLine]) -> Path:
    """With the text of these lines. Blocks."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="brum-", suffix=".log", delete=False) as file:
        file.writelines(f"{line.text}\n" for line in lines)
    return Path(file.name)
