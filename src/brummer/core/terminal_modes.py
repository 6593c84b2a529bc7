"""Which modes of its terminal a program has changed, read from what it prints. Pure.

A terminal that is attached later is put into the same modes, and one that leaves is put back: else a person's shell
would be without a cursor, or on the second screen, or get letters for each movement of the mouse.
"""

import re
from typing import Final

ON_AT_FIRST: Final = frozenset({7, 25})
"""Private modes that are on in a new terminal: lines wrap, and the cursor is shown."""
KEPT: Final = 64
"""Programs change some ten; one that prints rubbish must not fill the memory."""

_CHANGE: Final = re.compile(rb"\x1b(?:\[\?([0-9;]{1,64})([hl])|(c)|(=)|\[>[0-9;]{0,16}(u)|\[>4;[0-9](m)|\[[0-9] (q))")
"""DECSET and DECRST; RIS, which ends all of it; the keypad's, kitty's and xterm's ways of keys; the cursor's form."""
LONGEST: Final = 80
"""Bytes of such a sequence, at the most."""
_ENDS: Final = {b"=": b"\x1b>", b"u": b"\x1b[<u", b"m": b"\x1b[>4m", b"q": b"\x1b[0 q"}
PLAIN: Final = b"\x1b[0m\x1b(B"
"""No colours, and letters instead of line drawing."""


class TerminalModes:
    """`read` is given all that the program prints."""

    def __init__(self) -> None:
        self._changed: dict[int, bool] = {}
        self._others: dict[bytes, bytes] = {}
        self._tail = b""

    def __repr__(self) -> str:
        return f"<TerminalModes {self._changed}>"

    def read(self, chunk: bytes) -> None:
        """Sequences may be cut by the end of a chunk."""
        data = self._tail + chunk
        self._tail = b""
        if b"\x1b" not in data:
            return
        for found in _CHANGE.finditer(data):
            if found[1]:
                self._set(found[1], is_on=found[2] == b"h")
            elif found[3]:
                self._changed.clear()
                self._others.clear()
            else:
                self._others[found[found.lastindex or 0]] = found[0]
        last = data.rfind(b"\x1b")
        if len(data) - last < LONGEST and not _CHANGE.match(data, last):
            self._tail = data[last:]

    def is_on(self, mode: int) -> bool:
        return self._changed.get(mode, mode in ON_AT_FIRST)

    def entering(self) -> bytes:
        """What puts a new terminal into these modes."""
        return b"".join(
            [*(_sequence(mode, is_on=is_on) for mode, is_on in self._changed.items()), *self._others.values()]
        )

    def leaving(self) -> bytes:
        """What puts a terminal in these modes back, the last change first."""
        back = [_sequence(mode, is_on=not is_on) for mode, is_on in reversed(self._changed.items())]
        return b"".join([PLAIN, *(_ENDS[kind] for kind in self._others), *back])

    def _set(self, numbers: bytes, *, is_on: bool) -> None:
        for mode in (int(number) for number in numbers.split(b";") if number):
            self._changed.pop(mode, None)
            if is_on != (mode in ON_AT_FIRST) and len(self._changed) < KEPT:
                self._changed[mode] = is_on


def _sequence(mode: int, *, is_on: bool) -> bytes:
    return b"\x1b[?%d%b" % (mode, b"h" if is_on else b"l")
