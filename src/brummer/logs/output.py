"""The output of the processes of one instance: bounded, numbered, in one sequence. Pure: time is passed in.

Agents get plain text. A follower also gets the raw lines, with their colours, as soon as they are complete. A chunk is
processed as a whole, so that a line of a flood costs well under a microsecond.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from brummer.logs.bounded_log import BoundedLog
from brummer.logs.flood_sampler import FloodSampler, Part
from brummer.logs.text import LineAssembler, coloured, is_plain, plain
from brummer.settings.limits import DEFAULTS

if TYPE_CHECKING:
    from brummer.logs.line_levels import Levels

LINE_BYTES = 150
"""The size of a line in memory beside its text: measured. In JSON it is smaller."""

Stream = Literal["stdout", "stderr", "brum"]
"""``brum``: a note of ours about the process, such as why its output is incomplete."""

UNFINISHED_LENGTH: Final = 300
"""Characters of an unfinished line that a status shows: a question has fewer."""

SKIPPED: Final = "[… {:,} lines ({:.1f} MB) are not kept: they came too fast to be read]"

_log = logging.getLogger(__name__)


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line. ``n`` counts all lines of the instance; ``at`` is UTC as RFC 3339 with milliseconds."""

    n: int
    process: str
    stream: Stream
    at: str
    text: str

    def seen(self, *, colours: bool) -> "Line":  # noqa: ARG002 - it has none
        """By a person, in colours, or by an agent, without."""
        return self


class ColouredLine(Line, frozen=True, gc=False):
    """A line that has colours. It leaves the log only as it is `seen`."""

    coloured: str

    def seen(self, *, colours: bool) -> Line:
        return Line(self.n, self.process, self.stream, self.at, self.coloured if colours else self.text)


class Batch(msgspec.Struct, frozen=True):
    """Lines that one stream of one process printed at once; at least one. ``raw`` has their texts as they came, and
    ``text`` is all of them, plain, to see at a glance that something is not in any.
    """

    lines: list[Line]
    raw: list[str]
    text: str

    @property
    def process(self) -> str:
        return self.lines[0].process

    @property
    def stream(self) -> Stream:
        return self.lines[0].stream


Follower = Callable[[Batch], None]
"""Called on the loop with what was printed; must return at once."""


def size_of(line: Line) -> int:
    """Its approximate size, in memory and in an answer."""
    text = line.text + line.coloured if isinstance(line, ColouredLine) else line.text
    return (len(text) if text.isascii() else len(text.encode())) + LINE_BYTES


MEMBER_BYTES: Final = 52
"""A line as data is longer than as text by at least this much: names of members, the date, the stream. Its ``level`` is
in neither yet: it takes up to 18.
"""

_encode: Final = msgspec.json.Encoder().encode


def answer_size_of(line: Line) -> int:
    """Its size in an answer: once as data, and once in the text for reading."""
    return 2 * len(_encode(line.seen(colours=False))) - MEMBER_BYTES


class Output:
    """All lines of an instance. `log` reads them; `open` takes the chunks of a new process."""

    def __init__(self, generation: str, *, max_bytes: int = DEFAULTS.output_bytes) -> None:
        self.log: BoundedLog[Line] = BoundedLog(generation, max_bytes, size_of)
        self._followers: dict[object, Follower] = {}
        self._need_every_line: set[object] = set()
        self._stamp = Stamp()
        self.levels: Levels | None = None
        """Of its lines, once there are any: nothing is imported before."""

    def __repr__(self) -> str:
        return f"<Output {self.log!r}, {len(self._followers)} followers>"

    def open(self, process: str, consumer: Follower | None = None) -> "ProcessOutput":
        """For a new run of this process; ``consumer`` gets its lines, before all followers do."""
        return ProcessOutput(self, process, consumer)

    def follow(self, follower: Follower, *, every_line: bool = False) -> Callable[[], None]:
        """Call it for all lines from now on; returns a function that ends that, which may be called twice.

        With ``every_line`` no line may be skipped, however fast they come.
        """
        key = object()
        self._followers[key] = follower
        if every_line:
            self._need_every_line.add(key)

        def end() -> None:
            self._followers.pop(key, None)
            self._need_every_line.discard(key)

        return end

    @property
    def may_be_sampled(self) -> bool:
        """No follower needs every line."""
        return not self._need_every_line

    def add_lines(
        self, process: str, stream: Stream, raw: list[str], at: float, consumer: Follower | None = None
    ) -> None:
        """Store lines, at least one, and hand them to the followers. ``at`` is in seconds since the epoch."""
        stamp, first_n = self._stamp(at), self.log.last_n + 1
        text = "\n".join(raw)
        has_colours = False
        if is_plain(text):
            texts = raw
        else:
            has_colours = "\x1b" in text
            texts = [plain(line) for line in raw]
            text = "\n".join(texts)
        lines = [Line(n, process, stream, stamp, text) for n, text in enumerate(texts, first_n)]
        self.log.extend([*map(_with_colours, lines, raw)] if has_colours else lines)
        if consumer or self._followers:
            batch = Batch(lines, raw, text)
            if consumer:
                _tell(consumer, batch)
            for follower in tuple(self._followers.values()):
                _tell(follower, batch)


def _with_colours(line: Line, raw: str) -> Line:
    kept = coloured(raw)
    return line if kept == line.text else ColouredLine(line.n, line.process, line.stream, line.at, line.text, kept)


def _tell(follower: Follower, batch: Batch) -> None:
    """A follower that fails loses this batch; it gets the next one."""
    try:
        follower(batch)
    except Exception:  # noqa: BLE001 - the barrier: the output continues
        _log.exception("a follower of the output failed")


class ProcessOutput:
    """The output of one process on its way into the log."""

    def __init__(self, output: Output, process: str, consumer: Follower | None) -> None:
        self._output = output
        self._process = process
        self._consumer = consumer
        self._assemblers: dict[Stream, LineAssembler] = {"stdout": LineAssembler(), "stderr": LineAssembler()}
        self._samplers: dict[Stream, FloodSampler] = {}
        self._echo = b""

    def feed(self, stream: Stream, chunk: bytes, at: float) -> None:
        if self._samplers:
            self._end_sampling(stream, at)
        if self._echo:
            chunk = self._without_echo(chunk)
        self._read(stream, chunk, at)

    def sample(self, stream: Stream, chunk: bytes, at: float) -> None:
        """Keep the end of output that comes too fast to be read, and signs of trouble. The next `feed` ends that."""
        sampler = self._samplers.get(stream)
        if sampler is None:
            sampler = self._samplers[stream] = FloodSampler()
        for part in sampler.take(chunk):
            self._take(stream, part, at)

    def show_sample(self, stream: Stream, at: float) -> None:
        """Read a little of the last output of a flood, and sample on."""
        if sampler := self._samplers.pop(stream, None):
            self._take(stream, sampler.shown(), at)

    def _end_sampling(self, stream: Stream, at: float) -> None:
        if sampler := self._samplers.pop(stream, None):
            self._take(stream, sampler.rest(), at)

    def _take(self, stream: Stream, part: Part, at: float) -> None:
        """Lines that were not kept, if there are any, are reported by a line of our own in their place."""
        if part.skipped_lines:
            self._output.log.skip(self._process, part.skipped_lines)
            self.note(SKIPPED.format(part.skipped_lines, part.skipped_bytes / 1e6), at)
        self._read(stream, part.kept, at)

    def _read(self, stream: Stream, chunk: bytes, at: float) -> None:
        if lines := self._assemblers[stream].feed(chunk):
            self._output.add_lines(self._process, stream, lines, at, self._consumer)

    def end(self, at: float) -> None:
        """No more will come: output without a line end is a line, too."""
        for stream, assembler in self._assemblers.items():
            self._end_sampling(stream, at)
            if lines := assembler.end():
                self._output.add_lines(self._process, stream, lines, at, self._consumer)

    def unfinished(self) -> str | None:
        """The last of its output without a line end, such as a prompt; None if there is none."""
        stdout, stderr = self._assemblers.values()
        if not (stdout.partial or stderr.partial):
            return None
        texts = [text for assembler in (stdout, stderr) if (text := plain(assembler.unfinished()).strip())]
        if not texts or len(texts[-1]) <= UNFINISHED_LENGTH:
            return texts[-1] if texts else None
        return f"[… {len(texts[-1])} characters] {texts[-1][-UNFINISHED_LENGTH:]}"

    def typed(self, text: str, at: float, *, echo: bytes = b"", ends_line: bool = False) -> None:
        """Add a line of our own about what was typed. ``echo``: what its terminal will show of that, which is not the
        script's output. With ``ends_line`` a question has its answer now, and is a line of its own.
        """
        if ends_line:
            for stream, assembler in self._assemblers.items():
                if lines := assembler.end():
                    self._output.add_lines(self._process, stream, lines, at, self._consumer)
        self._echo = echo
        self.note(text, at)

    def _without_echo(self, chunk: bytes) -> bytes:
        """The echo is there at the begin of a line, in one piece, at once; or it stays, as a line of the script."""
        before, found, after = (b"\n" + chunk).partition(b"\n" + self._echo)
        self._echo = b""
        return (before + b"\n" + after)[1:] if found else chunk

    def note(self, text: str, at: float) -> None:
        """Add a line of our own about the process."""
        self._output.add_lines(self._process, "brum", text.split("\n"), at, self._consumer)


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
