"""A list of rows with a cursor, of which only the rows on the screen are drawn.

The rows may be replaced at any time: the cursor stays at the row with its key, wherever that row is then.
"""

from collections.abc import Hashable, Sequence
from typing import ClassVar, Final, Generic, NamedTuple, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

K = TypeVar("K", bound=Hashable)

StyledText = tuple[str, Style]

PLAIN: Final = Style()
DIM: Final = Style(dim=True)
BOLD: Final = Style(bold=True)
CURSOR: Final = Style(reverse=True)
RESTING: Final = Style(reverse=True, dim=True)
"""The cursor of a list that has not the focus."""
CUT: Final = "…"


class ListedRow(NamedTuple, Generic[K]):
    """``head`` stands left, ``tail`` right of ``name``, which is cut if not all of it fits. ``optional``: parts of the
    tail that are left out before the name is cut.
    """

    key: K
    head: tuple[StyledText, ...]
    name: StyledText
    tail: tuple[StyledText, ...] = ()
    optional: tuple[StyledText, ...] = ()


class RowList(ScrollView, Generic[K], can_focus=True):
    """``is_ascii``: cut names end without an ellipsis. ``empty``: what stands there without rows."""

    DEFAULT_CSS = """
    RowList { overflow-x: hidden; overflow-y: auto; scrollbar-size: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("enter", "open", show=False),
    ]

    class Chosen(Message):
        """The cursor is at another row. ``by_user``: not because the rows are others now."""

        def __init__(self, rows: Widget, *, by_user: bool) -> None:
            super().__init__()
            self.rows = rows
            self.by_user = by_user

    class Opened(Message):
        """Enter, or a double click at the row with the cursor."""

        def __init__(self, rows: Widget) -> None:
            super().__init__()
            self.rows = rows

    def __init__(self, *, is_ascii: bool = False, empty: str = "", id: str | None = None) -> None:  # noqa: A002 — as all widgets have it
        super().__init__(id=id)
        self._empty = empty
        self._cut = "" if is_ascii else CUT
        self._rows: list[ListedRow[K]] = []
        self._cursor = 0
        self._chosen: K | None = None
        self._base = PLAIN
        """The widget's own style in this picture: to ask for it takes as long as to draw a row."""

    @property
    def chosen(self) -> K | None:
        """The key of the row with the cursor; None without rows."""
        return self._chosen

    def show(self, rows: Sequence[ListedRow[K]]) -> None:
        """Show these rows. If the chosen one is not among them, the one that took its place is chosen."""
        if list(rows) == self._rows and rows:
            return
        keys = [row.key for row in rows]
        self._rows = list(rows)
        at = keys.index(self._chosen) if self._chosen in keys else min(self._cursor, len(keys) - 1)
        size = Size(self.size.width, len(rows))
        if size != self.virtual_size:
            self.virtual_size = size
        self._set_cursor(at)
        self.refresh()

    def choose(self, key: K) -> None:
        """Move the cursor to the row with this key, if there is one."""
        keys = [row.key for row in self._rows]
        if key in keys:
            self._set_cursor(keys.index(key))

    def action_move(self, step: int) -> None:
        if self._rows:
            self._set_cursor(max(0, min(len(self._rows) - 1, self._cursor + step)), by_user=True)

    def action_open(self) -> None:
        if self._rows:
            self.post_message(self.Opened(self))

    def _set_cursor(self, at: int, *, by_user: bool = False) -> None:
        before, self._cursor = self._chosen, max(0, at)
        self._chosen = self._rows[self._cursor].key if self._rows else None
        self._reveal()
        if self._chosen != before:
            self.refresh()
            self.post_message(self.Chosen(self, by_user=by_user))

    def _reveal(self) -> None:
        top, height = self.scroll_offset.y, self.size.height
        if height and not top <= self._cursor < top + height:
            row = self._cursor if self._cursor < top else self._cursor - height + 1
            self.scroll_to(y=row, animate=False, force=True, immediate=True)

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows))
        self._reveal()

    def on_click(self, event: events.Click) -> None:
        row = self.scroll_offset.y + event.get_content_offset_capture(self).y
        if not 0 <= row < len(self._rows):
            return
        if row == self._cursor and event.chain > 1:
            self.post_message(self.Opened(self))
        self._set_cursor(row, by_user=True)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        self._base = self.rich_style
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        index, width, base = self.scroll_offset.y + y, self.size.width, self._base
        if index >= len(self._rows):
            text = self._empty if not self._rows and y == 0 else ""
            return Strip([Segment(text, base + DIM)]).adjust_cell_length(width, base)
        parts = fitted_row(self._rows[index], width, self._cut)
        mark = (CURSOR if self.has_focus else RESTING) if index == self._cursor else PLAIN
        strip = Strip([Segment(text, base + style + mark) for text, style in parts])
        return strip.adjust_cell_length(width, base + mark)


def fitted_row(row: ListedRow[K], width: int, cut: str = CUT) -> list[StyledText]:
    """The parts of a row within this width: first the optional ones are left out, then the name is cut."""
    name, style = row.name
    head, tail = list(row.head), [*row.optional, *row.tail]
    if _columns(head) + cell_len(name) + _columns(tail) > width:
        tail = list(row.tail)
    room = width - _columns(head) - _columns(tail)
    if cell_len(name) > room:
        name = set_cell_size(name, max(1, room - cell_len(cut))) + cut
    return [*head, (name, style), *tail]


def _columns(parts: Sequence[StyledText]) -> int:
    return sum(cell_len(text) for text, _ in parts)
