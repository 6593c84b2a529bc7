"""A pseudo-terminal for a program that prints for people, or asks them, only when it sees one. POSIX."""

import os
import termios
from collections.abc import Mapping, Sequence
from typing import IO, Final

import msgspec

from brummer.host.descriptors import unread_bytes

TERM: Final = "xterm-256color"
"""The type of our terminal if the environment names none: it has colours, and expects no answers."""
NO_TYPE: Final = frozenset({"", "dumb", "unknown"})
"""What an environment names that has no terminal, or one that can do nothing, such as that of an agent or of Emacs.
Ours can.
"""
ROWS: Final = 50
COLUMNS: Final = 200
"""Wide, because programs cut or wrap what does not fit, and a wrapped path is not found again."""
IUTF8: Final = 0x4000
"""The backspace erases a character and not a byte; the same on Linux and macOS, and not in `termios`."""
TAKES_IT: Final = '{ :; } 2>/dev/null <"$0"; exec "$@"'
"""For the shell, with the path of a terminal and a command: a leader of a session that opens a terminal has it as its
controlling terminal from then on. So Ctrl-C reaches the program as a signal, and ``/dev/tty`` is there, from which ssh,
sudo and git read passwords. A shell does it, because the child of a process with threads may only exec.
"""
_INPUT_FLAGS, _LOCAL_FLAGS = 0, 3
"""Places in what `termios.tcgetattr` returns."""


class Terminal(msgspec.Struct, frozen=True):
    """``inside`` is for the program, ``outside`` reads what it prints. Both are ours to close. ``path``: of the inside;
    empty if it has none here.
    """

    outside: IO[bytes]
    inside: IO[bytes]
    path: str
    type: str = TERM

    def unread_bytes(self) -> int:
        """How many bytes programs have printed there that were not read yet. Raises OSError."""
        if self.outside.closed:
            return 0
        return unread_bytes(self.outside)

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The environment of its programs."""
        named = environment.get("TERM", "")
        return {**environment, "TERM": self.type if named in NO_TYPE else named}

    def starting(self, arguments: Sequence[str]) -> Sequence[str]:
        """The command that starts this one as the leader of a session with this terminal. The shell reports a missing
        program: exit status 127.
        """
        return ["/bin/sh", "-c", TAKES_IT, self.path, *arguments] if self.path else arguments


def open_terminal() -> Terminal:
    """With echo, as people's terminals: a program that turns it off reads a secret."""
    outside, inside = os.openpty()
    attributes = termios.tcgetattr(inside)
    attributes[_INPUT_FLAGS] |= IUTF8
    termios.tcsetattr(inside, termios.TCSANOW, attributes)
    resize(inside, ROWS, COLUMNS)
    try:
        path = os.ttyname(inside)
    except OSError:  # of another mount namespace
        path = ""
    return Terminal(os.fdopen(outside, "rb", 0), os.fdopen(inside, "wb", 0), path)


def resize(terminal: int, rows: int, columns: int) -> None:
    """Its programs get SIGWINCH if that is another size. Raises OSError."""
    termios.tcsetwinsize(terminal, (rows, columns))


def echoes(terminal: int) -> bool:
    """Whether what is typed is shown. Raises OSError."""
    return bool(_local_flags(terminal) & termios.ECHO)


def _local_flags(terminal: int) -> int:
    flags: int = termios.tcgetattr(terminal)[_LOCAL_FLAGS]
    return flags
