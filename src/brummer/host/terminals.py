"""A pseudo-terminal for a program that prints for people only when it sees one. POSIX."""

import fcntl
import os
import sys
import termios
from typing import IO, Final

import msgspec

TERM: Final = "xterm-256color"
"""The type of our terminal if the environment names none: it has colours, and expects no answers."""
ROWS: Final = 50
COLUMNS: Final = 200
"""Wide, because programs cut or wrap what does not fit, and a wrapped path is not found again."""


class Terminal(msgspec.Struct, frozen=True):
    """``inside`` is for the program, ``outside`` reads what it prints. Both are ours to close."""

    outside: IO[bytes]
    inside: IO[bytes]
    type: str = TERM

    def unread_bytes(self) -> int:
        """How many bytes programs have printed there that were not read yet. Raises OSError."""
        answer = fcntl.ioctl(self.outside, termios.FIONREAD, bytes(4))
        return int.from_bytes(answer, sys.byteorder)


def open_terminal() -> Terminal:
    """Without echo, since no person types on it. It is no process's controlling terminal."""
    outside, inside = os.openpty()
    attributes = termios.tcgetattr(inside)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(inside, termios.TCSANOW, attributes)
    termios.tcsetwinsize(inside, (ROWS, COLUMNS))
    return Terminal(os.fdopen(outside, "rb", 0), os.fdopen(inside, "wb", 0))
