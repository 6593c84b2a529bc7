"""A log on the screen: only the rows that are seen are drawn, and rows that were drawn before are taken from memory.

It also finds a text in the lines, and copies what is selected with the mouse.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import ClassVar, Final

from rich.segment import Segment
from textual import events
from textual.geometry import Offset, Region
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer

from brummer.views.terminal.cells import Cells, cells_of
from brummer.views.terminal.copying import Point, Selected, between, copy, word_at
from brummer.views.terminal.drawing import CHOSEN, FOUND, PLAIN, SELECTED, Span, base_spans, text_segments
from brummer.views.terminal.kept_lines import KeptLines
from brummer.views.terminal.scrolled_lines import ScrolledLines

DRAWN_ROWS: Final = 500
"""Rows in memory: of the largest screens, and some above and below."""

DRAG_S: Final = 0.05
"""Between two rows that are scrolled while the pointer is dragged over the edge."""
DOUBLE: Final = 2

MARKS: Final[Mapping[str, str]] = {"error": "✖", "warning": "!"}
ASCII_MARKS: Final[Mapping[str, str]] = {"error": "x", "warning": "!"}


class Lines(ScrolledLines):
    """The lines of one log. ``clipboard``: gets what is copied, in a thread, besides the terminal. The others as for
    `ScrolledLines`.
    """

    ALLOW_SELECT: ClassVar[bool] = False
    """Textual's own selection would take times and names along, and count rows, which move."""

    class Copied(Message):
        """The text has gone to the clipboard."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(
        self,
        marks: Mapping[str, str] = MARKS,
        kept: KeptLines | None = None,
        clipboard: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(marks, kept)
        self._clipboard = clipboard
        self._drawn: dict[tuple[int, int, int, tuple[int, int]], Strip] = {}
        self._base = PLAIN
        """The widget's own style in this picture: to ask for it takes as long as to draw a row."""
        self._pattern: re.Pattern[str] | None = None
        self._found: tuple[int, int] | None = None
        """The place and offset of what was found last."""
        self._anchor: Point | None = None
        """Where the mouse button was pressed, as long as it is."""
        self._was_dragged = False
        """The pointer has left its cell since the button was pressed."""
        self._pointer = Offset(0, 0)
        self._selected: Selected | None = None
        self._over_edge: Timer | None = None

    def clear(self) -> None:
        self._found = self._selected = None
        self._stop_dragging()
        super().clear()

    def _show_rows(self) -> None:
        self._selected = None
        super()._show_rows()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._select_to_pointer()

    # What is looked for.

    def find(self, text: str) -> None:
        """Show where this text stands. Capital letters matter if there are any in it. Empty: nothing is looked for."""
        ignore = re.IGNORECASE if text == text.lower() else re.NOFLAG
        self._pattern = re.compile(re.escape(text), ignore) if text else None
        self._found = None
        self._draw_anew()

    def find_next(self, step: int) -> bool:
        """Go to the next place where the text stands: with 1 below, with -1 above. Begins on the screen, where nothing
        was found yet or the last find is no longer seen. False if there is none.
        """
        self._take_new()
        if self._pattern is None or not self._kept.lines:
            return False
        at = self._found if self._found and self._is_seen(self._found[0]) else self._edge_of_screen(step)
        places = range(at[0], self._kept.end_place) if step > 0 else range(at[0], self._first_shown - 1, -1)
        for place in places:
            starts = [found.start() for found in self._pattern.finditer(self._kept.at(place).text)]
            if place == at[0]:
                starts = [start for start in starts if (start > at[1] if step > 0 else start < at[1])]
            if starts:
                self._found = place, starts[0 if step > 0 else -1]
                self._reveal(*self._found)
                return True
        return False

    def _is_seen(self, place: int) -> bool:
        return place in self._seen

    def _edge_of_screen(self, step: int) -> tuple[int, int]:
        """Before the first character of the screen, or after the last one."""
        seen = self._seen
        return (seen[0], -1) if step > 0 else (seen[-1], sys.maxsize)

    # How it looks.

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._drawn.clear()

    def _draw_anew(self) -> None:
        self._drawn.clear()
        super()._draw_anew()

    def render_lines(self, crop: Region) -> list[Strip]:
        base = self.rich_style
        if base != self._base:
            self._base = base
            self._drawn.clear()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        row, width = self.scroll_offset.y + y, self.size.width
        if row >= self._kept.row_count:
            return Strip.blank(width, self._base)
        place, part = self._kept.at_row(row)
        line = self._kept.at(place)
        span = self._selected.span_in(place, len(line.text)) if self._selected else (0, 0)
        key = (place, part, self.scroll_offset.x, span)
        strip = self._drawn.get(key)
        if strip is None:
            if len(self._drawn) >= DRAWN_ROWS:
                self._drawn.clear()
            strip = self._drawn[key] = self._draw(place, part, span).adjust_cell_length(width, self._base)
        return strip

    def _draw(self, place: int, part: int, selected: tuple[int, int]) -> Strip:
        line, head, base = self._kept.at(place), self._head, self._base
        cells = cells_of(line.text)
        start, end = self._columns_of(cells, part)
        spans = [*base_spans(line), *self._found_in(place, cells.span_at(start)[0], cells.span_at(end)[1])]
        if selected != (0, 0):
            spans.append((*selected, SELECTED))
        mark = SELECTED if place == self._marked else PLAIN
        segments = [Segment(" " * head.columns, base)] if part else [*head.segments(line, base, mark)]
        return Strip([*segments, *text_segments(cells, start, end, spans, base)])

    def _columns_of(self, cells: Cells, part: int) -> tuple[int, int]:
        """The columns of a line that stand in this one of its rows."""
        if not self.wraps:
            return self.scroll_offset.x, self.scroll_offset.x + self._room
        begins = [*cells.rows(self._room), cells.columns]
        return begins[part], begins[part + 1]

    def _found_in(self, place: int, start: int, end: int) -> Iterator[Span]:
        """Where the text that is looked for stands between these offsets, or reaches into them."""
        if self._pattern is not None:
            length = len(self._pattern.pattern)
            for found in self._pattern.finditer(self._kept.at(place).text, max(0, start - length), end + length):
                yield (*found.span(), CHOSEN if (place, found.start()) == self._found else FOUND)

    # What is copied.

    @property
    def selected_text(self) -> str:
        """The text of lines that is selected; without times, names, and the line ends of wrapping."""
        if self._selected is None:
            return ""
        return self._selected.text(
            lambda place: self._kept.at(place).text, self._kept.first_place, self._kept.end_place
        )

    def copy(self) -> None:
        """Copy what is selected, or else the lines on the screen."""
        self._copy(self.selected_text or "\n".join(self._kept.at(place).text for place in self._seen))

    def _copy(self, text: str) -> None:
        if text:
            copy(self.app, text)
            if self._clipboard is not None:
                self.run_worker(partial(self._clipboard, text), group="clipboard", thread=True, exit_on_error=False)
            self.post_message(self.Copied(text))

    def unselect(self) -> None:
        self._selected = None
        self.refresh()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if event.button == 1 and self._kept.row_count:
            event.stop()
            self._pointer = event.get_content_offset_capture(self)
            self._anchor = self._point_at(self._pointer)
            self._was_dragged = False
            self.unselect()
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        pointer = event.get_content_offset_capture(self)
        if self._anchor is None or pointer == self._pointer:
            return
        self._pointer, self._was_dragged = pointer, True
        self._select_to_pointer()
        is_over_edge = not 0 <= self._pointer.y < self.size.height
        if is_over_edge and self._over_edge is None:
            self._over_edge = self.set_interval(DRAG_S, self._drag_over_edge)
        elif not is_over_edge:
            self._stay_in_edge()

    def _select_to_pointer(self) -> None:
        if self._anchor is not None and self._kept.row_count:
            self._selected = between(self._anchor, self._point_at(self._pointer))
            self.refresh()

    def _drag_over_edge(self) -> None:
        self._look_down(-1 if self._pointer.y < 0 else 1)

    def _stay_in_edge(self) -> None:
        if self._over_edge is not None:
            self._over_edge.stop()
            self._over_edge = None

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._anchor is not None:
            event.stop()
            self._copy(self.selected_text)
            self._stop_dragging()

    def on_mouse_release(self) -> None:
        """Another widget has taken the mouse."""
        self._stop_dragging()

    @property
    def _stands_still(self) -> bool:
        return self._anchor is not None

    def _stop_dragging(self) -> None:
        self._stay_in_edge()
        if self._anchor is not None:
            self._anchor = None
            self.release_mouse()
            if self._follow:
                self._scroll_to_row(self._kept.row_count)

    def on_click(self, event: events.Click) -> None:
        """A double click selects a word, a triple click a line. A second drag to the same cell is neither."""
        if event.chain > 1 and self._kept.row_count and not self._was_dragged:
            point = self._point_at(event.get_content_offset_capture(self))
            text = self._kept.at(point.place).text
            self._selected = (
                word_at(point.place, text, point.start)
                if event.chain == DOUBLE
                else Selected((point.place, 0), (point.place, len(text)))
            )
            self.refresh()
            self._copy(self.selected_text)

    def _point_at(self, pointer: Offset) -> Point:
        """The character there; beyond the lines the nearest one."""
        row = self.scroll_offset.y + pointer.y
        if row < 0:
            return Point(self._first_shown, 0, 0)
        if row >= self._kept.row_count:
            length = len(self._kept.lines[-1].text)
            return Point(self._kept.end_place - 1, length, length)
        place, part = self._kept.at_row(row)
        cells = cells_of(self._kept.at(place).text)
        start, end = self._columns_of(cells, part)
        column = start + pointer.x - self._head.columns
        if column < start:
            offset = cells.span_at(start)[0]
            return Point(place, offset, offset)
        return Point(place, *cells.span_at(min(column, end - 1) if self.wraps and end < cells.columns else column))
