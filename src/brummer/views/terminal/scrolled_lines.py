"""Lines of a log on a screen that scrolls: which are there, and which of their rows are seen.

Lines come by `ScrolledLines.append` in any number, and cost little until the next picture.

*Following*, the newest line stays at the bottom. *Held*, what is read stays where it is: new lines are counted as
unseen, and kept below as long as there is room. After that they are only counted: the log is *cut off*, and
`ScrolledLines.ReachedEnd` asks for the newest lines when somebody wants to see the end.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView

from brummer.views.log_lines import LogLine, note
from brummer.views.terminal.cells import cells_of, columns_of
from brummer.views.terminal.drawing import NAME_COLUMNS, Head
from brummer.views.terminal.kept_lines import KEPT_LINES, KeptLines

PICTURE_S: Final = 0.05
"""Between two pictures while single lines come: an answer to what was typed is shown at once for a person."""
FLOOD_PICTURE_S: Final = 0.25
"""… and after a picture with so many new lines that nobody can read them."""
FLOOD_LINES: Final = 100

SIDEWAYS_COLUMNS: Final = 8
WHEEL_ROWS: Final = 3


class ScrolledLines(ScrollView, can_focus=True):
    """The lines of one log, not drawn yet. ``marks``: by level, one column each. ``kept``: what keeps them, empty."""

    DEFAULT_CSS = """
    ScrolledLines {
        overflow-x: scroll; overflow-y: scroll; scrollbar-size: 0 1;
        scrollbar-background: ansi_default; scrollbar-color: ansi_bright_black;
        scrollbar-background-hover: ansi_default; scrollbar-color-hover: ansi_bright_black;
        scrollbar-background-active: ansi_default; scrollbar-color-active: ansi_bright_black;
    }
    """

    wraps = var(default=False, init=False)
    """Whether a long line goes on in the next row; otherwise it can be moved sideways."""
    shows_times = var(default=True, init=False)
    shows_names = var(default=False, init=False)

    class Moved(Message, namespace="lines"):
        """`follow` or `unseen` has changed."""

    class ReachedTop(Message, namespace="lines"):
        """Somebody looks at the oldest line, and wants earlier ones, by `prepend`. Sent at each attempt."""

    class ReachedEnd(Message, namespace="lines"):
        """Somebody wants to see the end, but the log is cut off: after `clear` the newest lines are wanted."""

    def __init__(self, marks: Mapping[str, str], kept: KeptLines | None = None) -> None:
        super().__init__()
        self._marks = dict(marks)
        self._kept = kept or KeptLines()
        self._new: list[LogLine] = []
        """What came since the last picture."""
        self._widest = 0
        self._name_columns = 0
        self._follow = True
        self._unseen = 0
        self._is_cut_off = False
        self._has_all = False
        """There are no earlier lines."""
        self._told = (True, 0)
        self._is_ours = False
        """The scrolling under way is not the user's."""
        self._has_picture_ahead = False
        self._picture_due_s = 0.0
        self._marked: int | None = None
        """The place of the line that was gone to."""

    # What it holds.

    def append(self, lines: Sequence[LogLine]) -> None:
        """Add the newest lines. They are on the screen with the next picture."""
        self._new += lines
        del self._new[:-KEPT_LINES]
        if not self._follow:
            self._unseen += sum(not line.note for line in lines)
        if self._new and not self._has_picture_ahead:
            wait_s = self._picture_due_s - asyncio.get_running_loop().time()
            if wait_s <= 0 and self.is_running:  # at once, so that the view's first picture has lines already
                self._take_picture()
                return
            self._has_picture_ahead = True
            if wait_s > 0:
                self.set_timer(wait_s, self._take_picture)
            else:
                self.call_later(self._take_picture)

    def _take_picture(self) -> None:
        self._has_picture_ahead = False
        pause_s = FLOOD_PICTURE_S if len(self._new) >= FLOOD_LINES else PICTURE_S
        self._picture_due_s = asyncio.get_running_loop().time() + pause_s
        self._take_new()

    def _take_new(self) -> None:
        """Keep the new lines, and show them."""
        lines, self._new = ([] if self._is_cut_off else self._new), []
        if not self._follow and (room := self._kept.room_for(lines)) < len(lines):
            self._is_cut_off = True
            lines = lines[:room]
        if lines:
            self._kept.append(lines)
            gone = self._kept.drop_oldest() if self._follow else 0
            self._fit(lines)
            if self._follow and not self._stands_still:
                self._scroll_to_row(self._kept.row_count)
            elif gone:
                self._scroll_to_row(self.scroll_offset.y - gone)
            self.refresh()
        self._tell()

    def prepend(self, lines: Sequence[LogLine]) -> None:
        """Put earlier lines before the others; what is seen stays where it is. No lines: there are no earlier ones."""
        self._take_new()
        self._has_all = not lines
        rows = self._kept.prepend(lines)
        if self._kept.drop_newest():
            self._is_cut_off, self._follow = True, False
        row = self.scroll_offset.y + (0 if self._kept.hidden else rows)
        self._fit(lines)
        self._scroll_to_row(self._kept.row_count if self._follow else row)
        self.refresh()
        self._tell()

    def clear(self) -> None:
        """Forget all lines, and follow those that come."""
        self._new, self._kept = [], self._kept.emptied()
        self._widest = self._name_columns = self._unseen = 0
        self._follow, self._is_cut_off, self._has_all = True, False, False
        self._marked = None
        self._fit(())
        self._scroll_to_row(0)
        self._draw_anew()
        self._tell()

    def _fit(self, lines: Sequence[LogLine]) -> None:
        """Make room for these lines, which came now."""
        if lines:
            before, widest = self._head, max(self._kept.columns)
            self._widest = max(self._widest, widest)
            names = max(map(columns_of, {line.script for line in lines}))
            self._name_columns = min(max(self._name_columns, names), NAME_COLUMNS)
            if self._head != before:
                self._lay_out()
        self._set_size()

    def _set_size(self) -> None:
        """Tell the scroll bar how many rows there are. Textual's own way lays the screen out anew for each batch of
        lines, which takes longer than to draw it.
        """
        width = 0 if self.wraps else self._head.columns + self._widest
        size = Size(width, self._kept.row_count)
        if size != self.virtual_size:
            self.set_reactive(ScrollView.virtual_size, size)
            if self.show_vertical_scrollbar:
                self.vertical_scrollbar.window_virtual_size = size.height

    @property
    def lines(self) -> Sequence[LogLine]:
        """All that it keeps, oldest first."""
        self._take_new()
        return self._kept.lines

    @property
    def hidden(self) -> int:
        """How many lines `hide_above` hides."""
        return self._kept.hidden

    def hide_above(self) -> None:
        """Draw a line, hide all that is above it, and follow. Not where the log is cut off: first it gets its end."""
        self.follow = True
        if self._is_cut_off:
            return
        self.append([note(f"the view was cleared at {time.strftime('%H:%M:%S')}")])
        self._take_new()
        self._kept.hidden = len(self._kept.lines) - 1
        self._show_rows()

    def show_above(self) -> None:
        """Show what was hidden."""
        self._kept.hidden = 0
        self._show_rows()

    def _show_rows(self) -> None:
        self._set_size()
        self._scroll_to_row(self._kept.row_count)
        self.refresh()

    # Where it stands.

    @property
    def follow(self) -> bool:
        """Whether the newest line stays at the bottom."""
        return self._follow

    @follow.setter
    def follow(self, follow: bool) -> None:
        self._take_new()
        if follow and self._is_cut_off:
            self.post_message(self.ReachedEnd())
            return
        self._set_follow(follow=follow)
        if follow:
            self._scroll_to_row(self._kept.row_count)

    @property
    def unseen(self) -> int:
        """How many lines have come since it is held."""
        return self._unseen

    def _set_follow(self, *, follow: bool) -> None:
        self._follow = follow
        if follow:
            self._unseen = 0
        self._tell()

    def _tell(self) -> None:
        if self._told != (self._follow, self._unseen):
            self._told = (self._follow, self._unseen)
            self.post_message(self.Moved())

    def _scroll_to_row(self, row: int) -> None:
        """Not by the user: whether it follows stays as it is."""
        self._is_ours = True
        self.scroll_to(y=row, animate=False, force=True)
        self._is_ours = False

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self._is_ours:
            self._scrolled()

    def _scrolled(self) -> None:
        """By the user."""
        if not self.scroll_offset.y:
            self._want_earlier()
        is_at_end = self.scroll_offset.y >= self.max_scroll_y
        if is_at_end and self._is_cut_off:
            self.post_message(self.ReachedEnd())
        self._set_follow(follow=is_at_end and not self._is_cut_off)

    def _look_up(self, rows: int) -> None:
        if self.scroll_offset.y:
            self.scroll_to(y=self.scroll_offset.y - rows, animate=False, force=True)
        else:
            self._want_earlier()

    def _want_earlier(self) -> None:
        if not self._has_all and not self._kept.hidden:
            self.post_message(self.ReachedTop())

    def _look_down(self, rows: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + rows, animate=False, force=True)

    def action_scroll_up(self) -> None:
        self._look_up(1)

    def action_scroll_down(self) -> None:
        self._look_down(1)

    def action_page_up(self) -> None:
        self._look_up(self.size.height - 1)

    def action_page_down(self) -> None:
        self._look_down(self.size.height - 1)

    def action_scroll_home(self) -> None:
        self._look_up(self.scroll_offset.y)

    def action_scroll_end(self) -> None:
        self.follow = True

    def action_scroll_left(self) -> None:
        self.sideways(-SIDEWAYS_COLUMNS)

    def action_scroll_right(self) -> None:
        self.sideways(SIDEWAYS_COLUMNS)

    def sideways(self, columns: int) -> None:
        """Move long lines to the left, so that what is right of the screen is seen; with less than 0 back."""
        self.scroll_to(x=self.scroll_offset.x + columns, animate=False, force=True)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._turn_wheel(event, -1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._turn_wheel(event, 1)

    def _turn_wheel(self, event: events.MouseEvent, step: int) -> None:
        event.stop()
        event.prevent_default()
        if event.shift or event.ctrl:
            self.sideways(step * SIDEWAYS_COLUMNS)
        elif step > 0:
            self._look_down(WHEEL_ROWS)
        else:
            self._look_up(WHEEL_ROWS)

    def go_to(self, n: int) -> bool:
        """Show the line with this number, or the first after it, and mark it. False if neither is kept."""
        self._take_new()
        for index, line in enumerate(self._kept.lines):
            if line.n >= n:
                self._marked = self._kept.first_place + index
                self._reveal(self._marked, 0)
                return True
        return False

    def _reveal(self, place: int, offset: int) -> None:
        """Hold with this character on the screen."""
        if place - self._kept.first_place < self._kept.hidden:
            self._kept.hidden = 0
            self._set_size()
        cells = cells_of(self._kept.at(place).text)
        column, row = cells.column_of(offset), self._kept.row_of(place)
        if self.wraps:
            row += bisect_right(cells.rows(self._room), column) - 1
        elif not self.scroll_offset.x <= column < self.scroll_offset.x + self._room:
            self.scroll_to(x=max(0, column - self._room // 2), animate=False, force=True)
        if not self.scroll_offset.y <= row < self.scroll_offset.y + self.size.height:
            self._scroll_to_row(row - self.size.height // 3)
        self._draw_anew()
        self._set_follow(follow=False)

    @property
    def _first_shown(self) -> int:
        """The place of the first line that is not hidden."""
        return self._kept.first_place + self._kept.hidden

    @property
    def _seen(self) -> range:
        """The places of the lines on the screen."""
        rows = min(self._kept.row_count, self.scroll_offset.y + self.size.height)
        if rows <= self.scroll_offset.y:
            return range(0)
        return range(self._kept.at_row(self.scroll_offset.y)[0], self._kept.at_row(rows - 1)[0] + 1)

    @property
    def _stands_still(self) -> bool:
        """It does not follow for a moment, so that the pointer stays on its line."""
        return False

    # Which rows its lines have.

    @property
    def _head(self) -> Head:
        return Head(self.shows_times, self._name_columns if self.shows_names else 0, self._marks)

    @property
    def _room(self) -> int:
        """Columns for the text of lines."""
        return max(1, self.scrollable_content_region.width - self._head.columns)

    def watch_wraps(self) -> None:
        self._lay_out()

    def watch_shows_times(self) -> None:
        self._lay_out()

    def watch_shows_names(self) -> None:
        self._lay_out()

    def on_resize(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        """Give each line its rows anew; the first line on the screen stays, or the last if it follows."""
        if not self.size.width:
            return  # it is not shown now
        top = self._kept.at_row(self.scroll_offset.y)[0] if self._kept.lines else 0
        width = self._room if self.wraps else None
        if self._kept.wrap_width != width:
            self._kept.wrap(width)
        self._set_size()
        if self._kept.lines:
            self._scroll_to_row(self._kept.row_count if self._follow else self._kept.row_of(top))
        self._draw_anew()

    def _draw_anew(self) -> None:
        """What was drawn before is not true any more."""
        self.refresh()
