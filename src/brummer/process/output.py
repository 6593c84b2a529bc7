"""What the processes of one instance print: bounded, numbered, in one sequence; O(1) per line. Pure: time is
passed in.

Agents get plain text. A subscriber also gets the raw line, with its colours, at the moment it is complete.
"""

import logging
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from brummer.process.numbered import NumberedLog
from brummer.process.text import LineAssembler, plain

MAX_LINES = 10_000
MAX_BYTES = 8 * 1024 * 1024
"""Of text, for the whole instance; a line's fields cost about 300 bytes more."""

Stream = Literal["stdout", "stderr", "brum"]
"""``brum``: said by us about the process, such as why its output is incomplete."""

_log = logging.getLogger(__name__)


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line. ``n`` counts all lines of the instance; ``at`` is UTC as RFC 3339 with milliseconds."""

    n: int
    process: str
    stream: Stream
    at: str
    text: str


Subscriber = Callable[[Line, str], None]
"""Called with the line and its raw text, on the loop; must return at once."""


def _size(line: Line) -> int:
    return len(line.text) if line.text.isascii() else len(line.text.encode())


class Output:
    """All lines of an instance. `log` reads them; `open` takes the chunks of a new process."""

    def __init__(self, generation: str, *, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES) -> None:
        self.log: NumberedLog[Line] = NumberedLog(generation, max_lines, max_bytes, _size)
        self._subscribers: set[Subscriber] = set()
        self._stamp = Stamp()

    def __repr__(self) -> str:
        return f"<Output {self.log!r}, {len(self._subscribers)} subscribers>"

    def open(self, process: str) -> "ProcessOutput":
        return ProcessOutput(self, process)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call it for every line from now on; returns what ends that, which may be called twice."""
        self._subscribers.add(subscriber)
        return lambda: self._subscribers.discard(subscriber)

    def add(self, process: str, stream: Stream, raw: str, at: float) -> Line:
        """Store one line and hand it to the subscribers. ``at`` is in seconds since the epoch."""
        line = Line(self.log.last_n + 1, process, stream, self._stamp(at), plain(raw))
        self.log.append(line)
        for subscriber in tuple(self._subscribers):
            self._tell(subscriber, line, raw)
        return line

    def _tell(self, subscriber: Subscriber, line: Line, raw: str) -> None:
        try:
            subscriber(line, raw)
        except Exception:  # noqa: BLE001 - whoever it is, the output goes on
            _log.exception("a subscriber of the output failed and gets no more lines")
            self._subscribers.discard(subscriber)


class ProcessOutput:
    """The output of one process on its way into the log."""

    def __init__(self, output: Output, process: str) -> None:
        self._output = output
        self._process = process
        self._assemblers: dict[Stream, LineAssembler] = {"stdout": LineAssembler(), "stderr": LineAssembler()}

    def feed(self, stream: Stream, chunk: bytes, at: float) -> None:
        for raw in self._assemblers[stream].feed(chunk):
            self._output.add(self._process, stream, raw, at)

    def end(self, at: float) -> None:
        """No more will come: what had no line end is a line too."""
        for stream, assembler in self._assemblers.items():
            for raw in assembler.end():
                self._output.add(self._process, stream, raw, at)

    def say(self, text: str, at: float) -> None:
        """A line of our own about the process."""
        self._output.add(self._process, "brum", text, at)


class Stamp:
    """Seconds since the epoch as RFC 3339 text; formats each second once."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, at: float) -> str:
        second, millisecond = divmod(int(at * 1000), 1000)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{millisecond:03}Z"
