"""The terminal on which this command runs, lent to a script: raw, or line by line; and given back as it was. POSIX."""

import contextlib
import os
import termios
import tty
from types import TracebackType
from typing import Final, Literal, Self

LEAVE: Final = 0x1D
"""Ctrl-], as in telnet: no shell, editor or debugger uses it."""
_CONTROL_CHARACTERS: Final = 6
"""The place in what `termios.tcgetattr` returns."""

Mode = Literal["raw", "lines"]


class LentTerminal:
    """Used as ``with LentTerminal() as terminal``; the block may end in any way that is not SIGKILL.

    It has descriptors of its own, because a non-blocking one would be non-blocking in the shell, too. Raises
    `termios.error` if standard input or output, or what stands for them, is no terminal.
    """

    def __init__(self, standard_input: int = 0, standard_output: int = 1) -> None:
        self._input, self._output = standard_input, standard_output
        self._before = termios.tcgetattr(standard_input)
        termios.tcgetattr(standard_output)
        self.reads, self.writes = _opened(standard_input), _opened(standard_output)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
        os.close(self.reads)
        os.close(self.writes)

    def set(self, mode: Mode) -> None:
        """``raw``: every byte comes as it was typed. ``lines``: a line comes at its end, or at `LEAVE`; Ctrl-C is a
        signal.
        """
        if mode == "raw":
            tty.setraw(self._input, termios.TCSANOW)
            return
        attributes = termios.tcgetattr(self._input)
        attributes[_CONTROL_CHARACTERS][termios.VEOL] = bytes([LEAVE])
        termios.tcsetattr(self._input, termios.TCSANOW, attributes)

    def restore(self) -> None:
        """As it was. In the background it is the shell's again, and one that is gone needs nothing."""
        with contextlib.suppress(OSError, termios.error):
            if _in_foreground(self._input):
                termios.tcsetattr(self._input, termios.TCSANOW, self._before)

    def size(self) -> tuple[int, int]:
        """Rows and columns; 24 and 80 if it does not know."""
        rows, columns = termios.tcgetwinsize(self._output)
        return rows or 24, columns or 80


def _opened(descriptor: int) -> int:
    try:
        return os.open(os.ttyname(descriptor), os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # of another mount namespace: then output that stalls delays the keys
        return os.dup(descriptor)


def _in_foreground(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # it controls no session
        return True
