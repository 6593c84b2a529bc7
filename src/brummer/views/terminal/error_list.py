"""The errors that the chosen scripts have printed, newest first, in the place of the log."""

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.message import Message

from brummer.discovery.record import displayable
from brummer.views.model import ERRORS_KEPT, Now, PrintedErrorRow
from brummer.views.sentences import words_of_error
from brummer.views.terminal.row_list import BOLD, DIM, ListedRow, RowList

ErrorKey = tuple[str, str | None, int, str]

TIMES: Final = Style(color="red")
TIMES_COLUMNS: Final = 5
"""Up to ×9999."""


class ErrorList(RowList[ErrorKey]):
    """Enter goes to the first line of an error."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "edit", show=False),
        Binding("g,home", f"move({-ERRORS_KEPT})", show=False),
        Binding("G,end", f"move({ERRORS_KEPT})", show=False),
    ]

    class EditWanted(Message):
        """The file of the chosen error is to be opened where it happened."""

    def __init__(self, *, is_ascii: bool = False, id: str | None = None) -> None:  # noqa: A002 — as all widgets have it
        super().__init__(is_ascii=is_ascii, empty="  no errors", id=id)
        self._errors: dict[ErrorKey, PrintedErrorRow] = {}

    @property
    def error(self) -> PrintedErrorRow | None:
        """The chosen one."""
        return self._errors.get(self.chosen) if self.chosen else None

    def show_errors(self, errors: Sequence[PrintedErrorRow], now: Now) -> None:
        self._errors = {_key_of(each): each for each in errors}
        self.show([_row(each, now) for each in self._errors.values()])

    def action_edit(self) -> None:
        if self.error:
            self.post_message(self.EditWanted())


def _key_of(error: PrintedErrorRow) -> ErrorKey:
    return (*error.key, error.n, error.title)


def _row(error: PrintedErrorRow, now: Now) -> ListedRow[ErrorKey]:
    times, title, where, ago = words_of_error(error, now)
    script = ((f"  {displayable(error.key.script)}", DIM),) if error.key.script else ()
    place = ((f"  {where}", BOLD),) if where else ()
    return ListedRow(
        _key_of(error), ((f"{times:{TIMES_COLUMNS}} ", TIMES),), (title, Style()), (*place, (f"  {ago}", DIM)), script
    )
