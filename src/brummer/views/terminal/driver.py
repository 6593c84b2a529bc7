"""The terminal under the view: written to without a filter, and read without a timer.

The toolkit's own driver looks for keys ten times a second. Ours sleeps until a key comes: only after one it looks once
more, because an escape key is known from an escape sequence by the pause after it. Everything that the view draws is
made harmless before; the streams of a command would show the toolkit's own sequences as text.
"""

import os
import selectors
from codecs import getincrementaldecoder
from typing import Any, Final

from textual import constants
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

USUAL_SIZE: Final = (80, 24)
"""Of a terminal that does not know its size."""
READ_BYTES: Final = 4096
"""Of a paste; keys are a few bytes."""


class TerminalDriver(LinuxDriver):
    """On a POSIX terminal."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self._open()

    def _open(self) -> None:
        self._file = self._output = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
        self._woken, self._wake = os.pipe()

    def _get_terminal_size(self) -> tuple[int, int]:
        """That of the terminal itself: $COLUMNS and $LINES of a shell do not follow it."""
        columns, rows = os.get_terminal_size(self.fileno)
        return columns or USUAL_SIZE[0], rows or USUAL_SIZE[1]

    def start_application_mode(self) -> None:
        """Also after another program had the terminal: then it was closed."""
        if self._output.closed:
            self._open()
        super().start_application_mode()  # type: ignore[no-untyped-call]  # the toolkit's own

    def run_input_thread(self) -> None:
        """Pass on what is typed until `disable_input`, or the end of the terminal."""
        parser, decode = XTermParser(self._debug), getincrementaldecoder("utf-8")("replace").decode
        wait_s: float | None = None
        with selectors.DefaultSelector() as selector:
            for descriptor in (self.fileno, self._woken):
                selector.register(descriptor, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                ready = {key.fd for key, _ in selector.select(wait_s)}
                wait_s = None
                if self.fileno in ready:
                    data = os.read(self.fileno, READ_BYTES)
                    if not data:
                        self._loop.call_soon_threadsafe(self._app.exit)
                        return
                    if text := decode(data):  # nothing: a part of a character
                        for message in parser.feed(text):
                            self.process_message(message)
                    wait_s = 2 * constants.ESCAPE_DELAY
                for message in parser.tick():
                    self.process_message(message)

    def disable_input(self) -> None:
        if self._output.closed:
            return
        os.write(self._wake, b"!")  # readable until the thread has ended
        super().disable_input()
        os.read(self._woken, READ_BYTES)

    def close(self) -> None:
        if self._output.closed:
            return
        super().close()
        self._output.close()
        os.close(self._woken)
        os.close(self._wake)
