"""The terminal view: the tree of projects, the pane of the chosen row, and what the keys do.

All deciding is in `brummer.views.model`; this file shows what it says, and passes keys on. No key waits for a call:
what is done is said in the status line, and so is its result. `Source.changed` causes a picture, at most every
`PICTURE_S`; a timer runs only while a sentence counts seconds.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import ClassVar, Final, NamedTuple, TypeVar

import msgspec
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer

from brummer.core.errors import BrummerError
from brummer.discovery.record import displayable
from brummer.views.model import Plan, RowKey
from brummer.views.remembered import LEAST_TREE_COLUMNS, MOST_TREE_COLUMNS, USUAL, Remembered
from brummer.views.sentences import leaving, verdict, words_of_plan
from brummer.views.source import ActResult, Source
from brummer.views.terminal import programs
from brummer.views.terminal.asking import LineInput, QuestionLine
from brummer.views.terminal.driver import TerminalDriver
from brummer.views.terminal.keys import KEYS, key_line
from brummer.views.terminal.log_pane import LogPane
from brummer.views.terminal.tree import ProjectTree
from brummer.views.terminal.view_options import USUAL_OPTIONS, TextLine, ViewOptions

PICTURE_S: Final = 0.05
"""Between two pictures of the tree: a burst of changes is one picture, and no person sees the delay."""
SAID_S: Final = 5.0
"""A result stays in the status line long enough to be read."""
NARROW: Final = 100
NARROW_TREE_COLUMNS: Final = 18
"""On 80 columns lines of 60 are left."""
ONE_PANE: Final = 60
LEAST_COLUMNS, LEAST_ROWS = 40, 10
"""Below this nothing of use fits."""
WIDTH_STEP: Final = 2

L = TypeVar("L", LineInput, QuestionLine)


class Left(NamedTuple):
    """How the view was left: what stays to be read, what is to be remembered, and the exit status."""

    line: str
    remembered: Remembered
    status: int = 0


class TerminalView(App[Left], inherit_bindings=False):
    """``source`` is started, and stays the caller's. ``at_first``: what is done when the view is there."""

    CSS = """
    Screen { background: ansi_default; color: ansi_default; }
    #tree { width: 30; background: ansi_default; }
    #verdict.bad { text-style: reverse; }
    #keys { color: ansi_bright_black; }
    .off { display: none; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key.names, key.action, show=False, priority=key.shown == "tab") for key in KEYS),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
    ]

    def __init__(
        self,
        source: Source,
        remembered: Remembered = USUAL,
        options: ViewOptions = USUAL_OPTIONS,
        at_first: Plan | None = None,
    ) -> None:
        super().__init__(driver_class=TerminalDriver, ansi_color=True)  # otherwise NO_COLOR paints the background black
        self.set_reactive(App.theme, "ansi-dark")  # a change later would have all styles made anew
        self.source = source
        self._options = options
        self._remembered = remembered
        self._at_first = at_first
        self._typist_of: RowKey | None = None
        """For whom a line is typed, whatever row is chosen meanwhile."""
        self._is_placed = False
        self._is_due = False
        self._said = ""
        self._unsay: Timer | None = None
        self._unsubscribe: list[Callable[[], None]] = []
        self._looks_right = False
        """With one pane: at the log, not at the tree."""

    def compose(self) -> ComposeResult:
        self.projects = ProjectTree(self._options.glyphs, id="tree")
        self.pane = LogPane(self.source, self._options, self)
        self.panes = Horizontal(self.projects, self.pane, id="panes")
        self.line_input, self.question_line = LineInput(), QuestionLine()
        self.verdict_line = TextLine(self._options, "verdict")
        self.keys_line = TextLine(self._options, "keys")
        if self._at_first is None:
            self._show_rows()  # so lines are asked for now, and come while the widgets are made
        yield from (self.panes, self.verdict_line, self.keys_line)

    def on_mount(self) -> None:
        self.pane.lines.wraps = self._remembered.wraps
        self._clock = self.set_interval(1.0, self._picture, pause=True)
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))  # the shell has drawn meanwhile
        self.projects.focus()
        self._unsubscribe = [
            self.source.changed.subscribe(lambda _: self._picture_soon()),
            self.source.failed.subscribe(lambda failed: self.call_later(self._notify_of, *failed)),
        ]
        self._picture()
        if self._at_first:
            self._begin(self._at_first)

    def on_unmount(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    # What is shown.

    def _picture_soon(self) -> None:
        """Also from a task of the source, which has no part in the messages of the view."""
        if not self._is_due:
            self._is_due = True
            self.call_later(self.set_timer, PICTURE_S, self._picture)

    def _picture(self) -> None:
        """Show what is so now."""
        self._is_due = False
        model = self.source.model
        self._show_rows()
        self.pane.show()
        self._show_verdict()
        if model.has_age or self.pane.errors.display:
            self._clock.resume()
        else:
            self._clock.pause()

    def _show_rows(self) -> None:
        self.projects.show_projects(self.source.model.rows(hides_idle=self._remembered.hides_idle))
        if not self._is_placed:
            self._place_cursor()

    def _place_cursor(self) -> None:
        """At the row that a person wants to see, once it is known which one that is."""
        model = self.source.model
        first = model.instances.get(model.own or "") or next(iter(model.instances.values()), None)
        if first and (first.has_answered or first.is_down) and (key := model.first_row()):
            self._is_placed = True
            if self._at_first and self._at_first.scripts:
                key = RowKey(first.id, self._at_first.scripts[0])
            self.projects.choose(key)
            self.pane.show_row(self.projects.chosen)

    def _show_verdict(self) -> None:
        says = verdict(self.source.model)
        self.verdict_line.set_class(says.is_bad and not self._said, "bad")
        self.verdict_line.show(self._said or says.text)

    def say(self, text: str, *, for_s: float | None = SAID_S) -> None:
        """Say it in the status line for a while; ``for_s`` None: until something else is said."""
        self._said = text
        if self._unsay:
            self._unsay.stop()
        self._unsay = self.set_timer(for_s, lambda: self.say("", for_s=None)) if for_s is not None else None
        self._show_verdict()

    # How the screen is divided.

    def on_resize(self, event: events.Resize) -> None:
        self._arrange(event.size.width, event.size.height)

    def _arrange(self, width: int, height: int) -> None:
        is_too_small = width < LEAST_COLUMNS or height < LEAST_ROWS
        has_one = width < ONE_PANE
        self.panes.set_class(is_too_small, "off")
        self.pane.set_class(has_one, "alone")
        self.projects.set_class(has_one and self._looks_right, "off")
        self.pane.set_class(has_one and not self._looks_right, "off")
        columns = self._remembered.tree_columns if width >= NARROW else NARROW_TREE_COLUMNS
        self.projects.styles.width = "1fr" if has_one else columns
        self.pane.lines.shows_times = self._remembered.shows_times and width >= NARROW
        self.keys_line.show("too small: 40 × 10 at least" if is_too_small else key_line(width))
        self.call_after_refresh(self._picture)

    def action_other_pane(self) -> None:
        if self._close_line():
            return
        if self.focused is self.projects:
            self._look_right()
        else:
            self._look_left()

    def _close_line(self) -> bool:
        """Leave what is typed in or asked; whether there was anything."""
        line = next((each for each in (self.line_input, self.question_line) if each.is_open), None)
        if line is not None:
            line.close()
        return line is not None

    async def _with(self, line: L) -> L:
        """A line that asks is mounted when it is used for the first time."""
        if line.parent is None:
            await self.mount(line, before=self.verdict_line)
        return line

    def _look_right(self) -> None:
        self._looks_right = True
        self._arrange(*self.size)
        self.pane.in_place.focus()

    def _look_left(self) -> None:
        self._looks_right = False
        self._arrange(*self.size)
        self.projects.focus()

    def _focus_pane(self) -> None:
        (self.pane.in_place if self._looks_right else self.projects).focus()

    # The tree.

    def on_row_list_chosen(self, message: ProjectTree.Chosen) -> None:
        self._is_placed |= message.by_user
        if self._is_placed:
            self.pane.show_row(self.projects.chosen)

    def on_row_list_opened(self) -> None:
        self._look_right()

    def on_app_focus(self) -> None:
        self.source.freshen()

    # Keys: leaving.

    def action_leave(self) -> None:
        self.leave()

    def leave(self, status: int = 0) -> None:
        """Everything runs on."""
        self.exit(Left(leaving(self.source.model), self._remembered, status))

    def action_interrupt(self) -> None:
        if not self._close_line():
            self.leave()

    async def action_end_project(self) -> None:
        if question := self.source.model.stop_project():
            (await self._with(self.question_line)).ask(question, lambda: self.run_worker(self._end_project()))
        else:
            self.say("nothing of this project runs")

    async def _end_project(self) -> None:
        name = self.source.model.own_name
        self.say(f"ending {name} …", for_s=None)
        try:
            await self.source.end_own()
        except BrummerError as error:
            self.say(displayable(error.message))
        else:
            self.exit(Left(f"{name} is down", self._remembered))

    # Keys: scripts.

    async def action_start_or_stop(self) -> None:
        if self.projects.chosen:
            await self._plan(self.source.model.start_or_stop(self.projects.chosen))

    async def action_restart(self) -> None:
        if self.projects.chosen:
            await self._plan(self.source.model.restart(self.projects.chosen))

    async def _plan(self, plan: Plan | None) -> None:
        if plan and plan.question:
            (await self._with(self.question_line)).ask(plan.question, lambda: self._begin(plan))
        elif plan:
            self._begin(plan)

    def on_question_line_answered(self) -> None:
        self._focus_pane()

    def _begin(self, plan: Plan) -> None:
        self.say(words_of_plan(plan), for_s=None)
        self.run_worker(self._say_result(self.source.act(plan)))

    async def _say_result(self, result: asyncio.Future[ActResult]) -> None:
        words, has_failed = await result
        self.say(words)
        if has_failed:
            self.pane.add_note(words)

    def action_open_url(self) -> None:
        key = self.projects.chosen
        process = self.source.model.process(key) if key else None
        if key and key.script is None:
            self.run_worker(self._open_page(), group="page", exclusive=True)
        elif process is None or not process.urls:
            self.say("it has no URL; o on a project opens the page of all projects")
        else:
            self._browse(process.urls[0])

    async def _open_page(self) -> None:
        try:
            self._browse(await self.source.page_address())
        except BrummerError as error:
            self.say(displayable(error.message))

    def _browse(self, url: str) -> None:
        if programs.has_browser(self._options.environ, self._options.platform):
            self.run_worker(asyncio.to_thread(self._options.open_url, url))
            self.say(f"opened {displayable(url)}")
        else:
            self.copy_to_clipboard(url)
            self.say(f"copied {displayable(url)}: there is no browser here")

    async def open_program(self, command: list[str]) -> None:
        """Leave the terminal to another program until it ends; the view's own tasks go on."""
        self.say("")
        has_terminal = self._driver is not None and self._driver.can_suspend
        try:
            with self.suspend() if has_terminal else contextlib.nullcontext():
                await self._options.run_program(command)
        except OSError as error:
            self.say(f"{command[0]} can't be started: {error.strerror}")

    # Keys: what is typed in.

    async def action_type(self) -> None:
        key = self.projects.chosen
        process = self.source.model.process(key) if key else None
        if key is None or process is None or not process.runs:
            self.say("choose a script that runs, to type to it")
            return
        asked, self._typist_of = self.source.model.question(key), key
        line = await self._with(self.line_input)
        line.open("type", f"{displayable(key.script or '')} < ", is_secret="pass" in asked.lower())

    async def action_search(self) -> None:
        line = await self._with(self.line_input)
        line.open("search", "/", self.pane.query_text)

    async def action_only_hits(self) -> None:
        if self.pane.query_text:
            self.pane.show_only_hits()
        else:
            line = await self._with(self.line_input)
            line.open("search", "&", "", is_filter=True)

    def on_line_input_changed_text(self, message: LineInput.ChangedText) -> None:
        if message.purpose == "search":
            self.pane.look_for(message.text)

    def on_line_input_closed(self, message: LineInput.Closed) -> None:
        """Without an answer: the search is as it was before."""
        if message.purpose == "search":
            self.pane.look_no_more()
        self._focus_pane()

    def on_line_input_entered(self, message: LineInput.Entered) -> None:
        if message.purpose == "type":
            self._focus_pane()
            if self._typist_of:
                typed = self.source.type_to(self._typist_of, message.text, message.keys)
                self.run_worker(self._say_result(typed))
        else:
            if message.text:
                self._look_right()
            else:
                self._focus_pane()
            self.pane.search(message.text, is_filter=message.is_filter)

    # Keys: the pane.

    def action_find(self, step: int) -> None:
        self.pane.find(step)

    def action_level(self) -> None:
        self.pane.next_level()

    def action_follow(self) -> None:
        self.pane.follow()

    def action_end(self) -> None:
        self.pane.follow()

    def action_top(self) -> None:
        self.pane.lines.action_scroll_home()

    def action_page(self, step: int) -> None:
        self.pane.page(step)

    def action_copy(self) -> None:
        self.pane.lines.copy()

    def action_hide_above(self) -> None:
        self.pane.hide_or_show_above()

    def action_pager(self) -> None:
        self.run_worker(self.pane.everything(), group="pager", exclusive=True)

    def action_errors(self) -> None:
        if self.pane.toggle(self.pane.errors):
            self._look_right()

    def action_keys(self) -> None:
        if self.pane.toggle(self.pane.help_page):
            self._look_right()
        else:
            self._look_left()

    # Keys: the view.

    def action_wrap(self) -> None:
        self._remember(wraps=not self._remembered.wraps)
        self.pane.lines.wraps = self._remembered.wraps

    def action_times(self) -> None:
        self._remember(shows_times=not self._remembered.shows_times)
        self._arrange(*self.size)

    def action_hide_idle(self) -> None:
        self._remember(hides_idle=not self._remembered.hides_idle)
        self._picture()

    def action_narrower(self) -> None:
        self._set_width(-WIDTH_STEP)

    def action_wider(self) -> None:
        self._set_width(WIDTH_STEP)

    def _set_width(self, step: int) -> None:
        columns = max(LEAST_TREE_COLUMNS, min(MOST_TREE_COLUMNS, self._remembered.tree_columns + step))
        self._remember(tree_columns=columns)
        self._arrange(*self.size)

    def _remember(self, **changes: object) -> None:
        self._remembered = msgspec.structs.replace(self._remembered, **changes)

    # Notices.

    def _notify_of(self, instance: str, scripts: Iterable[str]) -> None:
        """A script that was ready has failed; who looks at the view sees it anyway."""
        if self.app_focus or not self._options.notifies:
            return
        entry = self.source.model.instances.get(instance)
        self.bell()
        if self._driver is not None:
            text = f"{entry.name if entry else ''}: {', '.join(scripts)} failed"
            self._driver.write(f"\x1b]9;{displayable(text)}\x07")
