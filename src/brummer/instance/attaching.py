"""`brum attach`: people's terminals at one run. Bytes go both ways as they are; several may be attached.

The terminal of the script has the size of the person's terminal that was attached, or changed its size, last. A
program draws itself anew when its size changes, so one that fills the screen is seen at once. A terminal that reads
too slowly misses output instead of delaying the script.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

from brummer.contract.attaching import (
    BEGIN,
    END,
    INPUT,
    NOTE,
    OUTPUT,
    PROCESS_HEADER,
    PROTOCOL,
    SIZE,
    Attached,
    Frames,
    NoFrame,
    Size,
    frame,
    frame_of,
)
from brummer.contract.tools import TypeIn
from brummer.core.errors import BrummerError, InvalidArguments
from brummer.core.terminal_modes import TerminalModes
from brummer.host.terminals import COLUMNS, ROWS
from brummer.instance.run import Run
from brummer.instance.script_input import check_taken, input_of
from brummer.wire.http import status_codes
from brummer.wire.http.server import Exchange, SwitchedConnection
from brummer.wire.mcp.streamable_http import JSON

if TYPE_CHECKING:
    from brummer.instance.live_run import LiveRun
    from brummer.instance.manager import Manager

LAST_LINES: Final = 20
"""Shown to a terminal that comes: what the question is about."""
ALTERNATE_SCREENS: Final = (1049, 1047, 47)
"""Private modes of a program that fills the screen: it draws itself, and earlier lines would be in its way."""
REDRAW_S: Final = 0.1
"""Between two changes of the size: a busy program sees only the last of several at once."""
LONGEST: Final = 10_000
"""Rows or columns: the kernel takes 16 bits, and programs allocate a screen of that size."""
PASTED_BYTES: Final = 1024 * 1024
"""That wait for a program to read them: a person types bytes, and pastes pages."""
MISSING: Final = b"\r\n[\xe2\x80\xa6 output is missing here: this terminal did not read it in time]\r\n"


class Attachments:
    """Of one run, as long as it lives. ``note`` adds a line to its log."""

    def __init__(self, live: "LiveRun", modes: TerminalModes | None, note: Callable[[str], None]) -> None:
        self.live = live
        self.run: Run = live.run
        self.target = input_of(live.run)
        self.modes = modes
        self._note = note
        self._all: list[Attachment] = []
        self._size = Size(ROWS, COLUMNS)
        self._loop = asyncio.get_running_loop()

    def add(self, attachment: "Attachment") -> None:
        """It gets all output from now on."""
        self._all.append(attachment)
        self._note("a terminal is attached (brum attach)")

    def remove(self, attachment: "Attachment") -> None:
        """It has left; the script's terminal gets the size of another one, or its usual size."""
        self._all.remove(attachment)
        if not self.run.has_ended:
            self._note("the terminal has left (brum attach)")
            self._resize(next((each.size for each in reversed(self._all) if each.size), Size(ROWS, COLUMNS)))

    def output(self, chunk: bytes) -> None:
        """What the script has printed."""
        for attachment in self._all:
            attachment.output(chunk)

    def end(self) -> None:
        """The run has ended."""
        for attachment in self._all:
            attachment.end()

    def resized(self, attachment: "Attachment") -> None:
        """A terminal was attached, or has another size now."""
        self._all.remove(attachment)
        self._all.append(attachment)
        assert attachment.size is not None  # noqa: S101 — it has just told it
        self._resize(attachment.size)

    def draw_anew(self) -> None:
        """Have the program draw its screen again."""
        size = self._size
        self._set(Size(max(1, size.rows - 1), size.columns))
        self._loop.call_later(REDRAW_S, self._set, size)

    def _resize(self, size: Size) -> None:
        if size == self._size:
            self.draw_anew()
        else:
            self._set(size)

    def _set(self, size: Size) -> None:
        self._size = size
        with contextlib.suppress(OSError):  # its programs have ended
            self.target.resize(size.rows, size.columns)


class Attachment:
    """One person's terminal. Made, it is attached; `over` is set once it has left, or the run has ended."""

    def __init__(self, exchange: Exchange, attachments: Attachments, begin: bytes) -> None:
        self.size: Size | None = None
        self.over = asyncio.Event()
        self._attachments = attachments
        self._frames = Frames()
        self._typed: deque[bytes] = deque()
        self._misses_output = False
        exchange.on_peer_gone(self.over.set)
        self._connection: SwitchedConnection = exchange.switch(PROTOCOL, self._on_data, self._on_writable)
        self._connection.write(begin)
        attachments.add(self)

    def output(self, chunk: bytes) -> None:
        """What the script has printed, unless the terminal is too slow."""
        if self._connection.is_writable:
            self._connection.write(frame(OUTPUT, chunk))
        else:
            self._misses_output = True

    def end(self) -> None:
        """The run has ended."""
        self._connection.write(frame_of(END, self._attachments.run.status()))
        self.over.set()

    def _on_data(self, data: bytes) -> None:
        try:
            for kind, content in self._frames.feed(data):
                if kind == SIZE:
                    size = msgspec.json.decode(content, type=Size)
                    self.size = Size(min(max(1, size.rows), LONGEST), min(max(1, size.columns), LONGEST))
                    self._attachments.resized(self)
                elif kind == INPUT:
                    self._type(content)
        except (NoFrame, msgspec.DecodeError):
            self.over.set()

    def _on_writable(self) -> None:
        if self._misses_output:
            self._misses_output = False
            self._connection.write(frame(OUTPUT, MISSING))
            self._attachments.draw_anew()

    def _type(self, content: bytes) -> None:
        """To a pipe a line, which the log shows; to a terminal bytes, which the terminal shows."""
        if not self._attachments.target.is_terminal:
            self._tell_errors(lambda: self._attachments.live.type_in(TypeIn(text=content.decode("utf-8", "replace"))))
        elif sum(map(len, self._typed)) + len(content) > PASTED_BYTES:
            self._tell_errors(lambda: check_taken(self._attachments.run, "none"))
        else:
            self._typed.append(content)
            if len(self._typed) == 1:  # else what was typed before waits
                self._write_typed()

    def _write_typed(self) -> None:
        target = self._attachments.target
        while self._typed and not self.over.is_set():
            taken = target.write(self._typed[0])
            if taken == "none":
                target.when_drained(self._write_typed)
                return
            self._typed.popleft()
            self._tell_errors(partial(check_taken, self._attachments.run, taken))

    def _tell_errors(self, act: Callable[[], object]) -> None:
        try:
            act()
        except BrummerError as error:
            self._connection.write(frame(NOTE, error.message.encode()))


async def serve(exchange: Exchange, manager: "Manager") -> None:
    """Answer a request for `brummer.contract.attaching.PATH`."""
    if exchange.request.headers.get(b"upgrade") != PROTOCOL:
        exchange.respond(status_codes.UPGRADE_REQUIRED, b"", [(b"upgrade", PROTOCOL)])
        return
    try:
        attachments, begin = _found(exchange, manager)
    except BrummerError as error:
        exchange.respond(status_codes.CONFLICT, msgspec.json.encode({"error": error.as_data()}), [JSON])
        return
    attachment = Attachment(exchange, attachments, begin)
    try:
        await attachment.over.wait()
    finally:
        attachments.remove(attachment)


def _found(exchange: Exchange, manager: "Manager") -> tuple[Attachments, bytes]:
    """The run that is meant, and the first frames. Raises InvalidArguments, HasEnded, NoInput, SystemFailed."""
    process = unquote(exchange.request.headers.get(PROCESS_HEADER.encode(), b"").decode("latin-1"))
    run = manager.find(process)
    if run is None:
        raise InvalidArguments(f"{process} was never started by this instance", name=process)
    attachments = manager.attachments_of(run)
    begin = frame_of(BEGIN, Attached(run.process_id, run.name, attachments.target.is_terminal))
    return attachments, begin + frame(OUTPUT, _screen(attachments, manager))


def _screen(attachments: Attachments, manager: "Manager") -> bytes:
    """What a terminal that comes shows: the last lines and the question, or nothing if the program draws a screen."""
    modes, run = attachments.modes, attachments.run
    entering = modes.entering() if modes else b""
    if modes and any(modes.is_on(mode) for mode in ALTERNATE_SCREENS):
        return entering
    line_end = "\r\n" if modes else "\n"
    lines = [line.seen(colours=True) for line in run.last_lines(manager.output.log, LAST_LINES)]
    shown = [f"[{line.text}]" if line.stream == "brum" else line.text for line in lines]
    question = f"{text} " if (text := run.unfinished()) else ""
    return ("".join(text + line_end for text in shown) + question).encode() + entering
