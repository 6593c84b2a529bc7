"""A table of processes that fills in on a terminal while a command waits; elsewhere it is printed once, at the end."""

import os
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final, TextIO

import msgspec

from brummer.cli.colour import PLAIN, Paint
from brummer.cli.process_table import lines_of
from brummer.cli.table import width
from brummer.contract.processes import ShownProcess

CLEAR_BELOW: Final = "\x1b[J"
USUAL_SIZE: Final = (80, 24)
"""Columns and lines of a terminal that does not know its size."""


class LiveTable:
    """``must_be_ready``: the names of scripts with a `ready` setting, or that have listened before.

    It is live on a terminal that can move its cursor and has enough lines.
    """

    def __init__(
        self, stream: TextIO, paint: Paint, must_be_ready: Collection[str], terminal: str | None, *, is_wanted: bool
    ) -> None:
        self._stream = stream
        self._paint = paint
        self._must_be_ready = must_be_ready
        self.is_live = is_wanted and stream.isatty() and terminal not in (None, "", "dumb")
        self._rows = 0

    def show(self, processes: Sequence[ShownProcess]) -> None:
        """Replace what was shown before."""
        if not self.is_live:
            return
        lines, rows = self._lines(processes), self._rows_of(processes)
        self._erase()
        self.is_live = rows < self._size()[1]
        if self.is_live and processes:
            self._rows = rows
            print("\n".join(lines), file=self._stream, flush=True)

    def end(self, processes: Sequence[ShownProcess]) -> None:
        """Show the last state, which stays."""
        self._erase()
        if processes:
            print("\n".join(self._lines(processes)), file=self._stream, flush=True)

    def _erase(self) -> None:
        if self._rows:
            self._stream.flush()
            # Not through the stream: to it, such a sequence could only be a script's.
            os.write(self._stream.fileno(), f"\x1b[{self._rows}A{CLEAR_BELOW}".encode())
            self._rows = 0

    def _lines(self, processes: Sequence[ShownProcess], paint: Paint | None = None) -> list[str]:
        shown = [msgspec.structs.replace(each, status=self._state(each)) for each in processes]
        return list(lines_of(shown, datetime.now(UTC), paint or self._paint))

    def _rows_of(self, processes: Sequence[ShownProcess]) -> int:
        """How many it takes, as the terminal breaks lines that are too long."""
        columns = self._size()[0]
        return sum(-(-max(1, width(line)) // columns) for line in self._lines(processes, PLAIN))

    def _size(self) -> tuple[int, int]:
        columns, lines = os.get_terminal_size(self._stream.fileno())
        return columns or USUAL_SIZE[0], lines or USUAL_SIZE[1]

    def _state(self, process: ShownProcess) -> str:
        """What `running` means before the script is ready."""
        if process.status != "running":
            return process.status
        return f"running; {'not ready yet' if process.name in self._must_be_ready else 'does not listen yet'}"
