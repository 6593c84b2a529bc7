"""The person's terminal and a script, joined by the instance: bytes there and back until one of the two leaves.

A script with a terminal gets every key, and prints as it likes; what it has changed of the terminal is taken back at
the end. For a script with a pipe the person's terminal stays as it is, lines are edited on it, and of what the script
prints only text and colours arrive.
"""

import asyncio
import codecs
import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from brummer.cli.colour import Paint
from brummer.cli.instance_calls import InstanceStopped
from brummer.cli.messages import say
from brummer.cli.project import CallFailed, Project
from brummer.contract.attaching import (
    BEGIN,
    END,
    INPUT,
    NOTE,
    OUTPUT,
    PATH,
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
from brummer.contract.processes import ShownProcess, processes_of
from brummer.core.errors import TransportError
from brummer.core.terminal_modes import TerminalModes
from brummer.discovery.record import Record, displayable
from brummer.host.lent_terminal import LEAVE, LentTerminal
from brummer.peers.instance_client import InstanceClient
from brummer.wire.http import status_codes

LEAVING: Final = re.compile(rb"\x1d|\x1b\[93;5u|\x1b\[27;5;93~")
"""Ctrl-]; also as terminals send it if the program has asked for kitty's, or xterm's, way of sending keys."""
READ_BYTES: Final = 4096
BACKLOG_BYTES: Final = 256 * 1024
"""That wait for the person's terminal; then the instance is not read any more, and leaves out the rest."""
FLUSH_S: Final = 0.5
"""For the last of it, at the end: a terminal that takes nothing must not keep the command."""
CONNECTS_S: Final = 5.0
SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


async def attached(project: Project, script: str, paint: Paint) -> int:
    """Attach this terminal to the script; returns the exit status. Raises NothingRuns, InstanceStopped, CallFailed."""
    await project.call("scripts_status", name=script)  # says what is wrong with the instance, or the name
    reader, writer = await _connected(project.instance(), script)
    try:
        with LentTerminal() as terminal:
            ending = await AttachedTerminal(terminal, reader, writer, paint).run()
    finally:
        writer.close()
    if ending.says:
        say(ending.says)
    return ending.status


async def _connected(record: Record, script: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which frames follow. Raises InstanceStopped, CallFailed."""
    client = InstanceClient(record)
    try:
        async with asyncio.timeout(CONNECTS_S):
            reader, writer = await asyncio.open_connection(sock=await client.hand_over())
            writer.write(
                b"GET %b HTTP/1.1\r\nhost: %b\r\nauthorization: Bearer %b\r\nconnection: upgrade\r\nupgrade: %b\r\n"
                % (PATH, client.target.authority.encode(), client.target.token.encode(), PROTOCOL)
                + f"{PROCESS_HEADER}: {quote(script)}\r\n\r\n".encode()
            )
            await switched(reader, record.name, script)
    except (TransportError, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
        why = "it takes too long" if isinstance(error, TimeoutError) else error
        raise InstanceStopped(f"{record.name} does not answer: {why}") from None
    return reader, writer


async def switched(reader: asyncio.StreamReader, name: str, script: str) -> None:
    """Read the instance's answer to the offer; frames follow. Raises CallFailed."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status = int(head.split(" ", 2)[1])
    if status == status_codes.SWITCHING:
        return
    length = re.search(r"content-length: (\d+)", head)
    body = await reader.readexactly(int(length[1])) if length else b""
    if status != status_codes.CONFLICT:
        raise CallFailed(f"{name} is of another version of Brummer; brum down, then brum up, starts this one", "")
    error = msgspec.json.decode(body)["error"]
    if error["code"] in {"has_ended", "invalid_arguments"}:  # it has ended, or was never started
        raise CallFailed(f"{script} does not run: brum up starts it", "has_ended")
    raise CallFailed(error["message"], error["code"])


class EndOfAttachment(NamedTuple):
    """The exit status, and what has to be said."""

    status: int
    says: str = ""


class AttachedTerminal:
    """One attachment; see `run`. A person's terminal, and the frames of an instance."""

    def __init__(
        self, terminal: LentTerminal, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, paint: Paint
    ) -> None:
        self._terminal = terminal
        self._reader = reader
        self._writer = writer
        self._show: Callable[[bytes], bytes] = _PipeOutput(paint)
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[EndOfAttachment] = self._loop.create_future()
        self._modes = TerminalModes()
        self._run = Attached("", "", is_terminal=False)
        self._line = b""
        self._unwritten = b""
        self._written = asyncio.Event()

    async def run(self) -> EndOfAttachment:
        """Until it is over."""
        receiving = self._loop.create_task(self._receive())
        with self._signals():
            try:
                return await self._over
            finally:
                receiving.cancel()
                await asyncio.wait([receiving])
                await self._give_back()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        for number in SIGNALS:
            self._loop.add_signal_handler(number, self._on_signal, number)
        self._loop.add_signal_handler(signal.SIGWINCH, self._tell_size)
        self._loop.add_signal_handler(signal.SIGCONT, self._begin_again)
        try:
            yield
        finally:
            for number in (*SIGNALS, signal.SIGWINCH, signal.SIGCONT):
                self._loop.remove_signal_handler(number)

    def _end(self, status: int, says: str = "") -> None:
        if not self._over.done():
            self._over.set_result(EndOfAttachment(status, says))

    def _left(self) -> None:
        self._end(0, f"left {displayable(self._run.process_id)}, which runs on")

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGINT and not self._run.is_terminal:
            self._left()
        else:
            self._end(128 + number)

    # From the instance.

    async def _receive(self) -> None:
        frames = Frames()
        try:
            while data := await self._reader.read(READ_BYTES * 16):
                for kind, content in frames.feed(data):
                    self._take(kind, content)
                while len(self._unwritten) > BACKLOG_BYTES:
                    self._written.clear()
                    await self._written.wait()
        except (OSError, NoFrame, msgspec.DecodeError) as error:
            self._end(1, f"the connection to the instance failed: {error}")
        self._end(1, "the instance has ended, and the script with it; brum ps says more")

    def _take(self, kind: bytes, content: bytes) -> None:
        if kind == BEGIN:
            self._run = msgspec.json.decode(content, type=Attached)
            self._begin()
        elif kind == OUTPUT:
            self._print(self._show(content))
        elif kind == NOTE:
            self._print(f"\r\n[brum: {displayable(content.decode())}]\r\n".encode())
        elif kind == END:
            [process] = processes_of({"processes": [msgspec.json.decode(content)]})
            self._end(_status_of(process), f"{displayable(process.process_id)} has ended: {process.outcome}")

    def _begin_again(self) -> None:
        """After a stop: the shell has set its own modes since."""
        if self._run.process_id:
            self._begin()

    def _begin(self) -> None:
        name = displayable(self._run.process_id)
        if self._run.is_terminal:
            say(f"attached to {name}: Ctrl-] leaves, and it runs on")
            self._show = self._as_it_is
            self._terminal.set("raw")
            self._print(self._modes.entering())
            self._tell_size()
        else:
            say(f"attached to {name}, which takes lines: Ctrl-] leaves, and it runs on")
            self._terminal.set("lines")
        self._loop.add_reader(self._terminal.reads, self._on_keys)

    def _as_it_is(self, data: bytes) -> bytes:
        self._modes.read(data)
        return data

    def _print(self, data: bytes) -> None:
        self._unwritten += data
        self._write()

    def _write(self) -> None:
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._terminal.writes, self._unwritten) :]
        except BlockingIOError:
            self._loop.add_writer(self._terminal.writes, self._write)
            return
        except OSError:
            self._unwritten = b""
            self._end(128 + signal.SIGHUP)
        self._loop.remove_writer(self._terminal.writes)
        self._written.set()

    async def _give_back(self) -> None:
        """The terminal as it was."""
        self._loop.remove_reader(self._terminal.reads)
        self._print((self._modes.leaving() if self._run.is_terminal else b"") + b"\r\n")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                while self._unwritten:
                    self._written.clear()
                    await self._written.wait()
        self._loop.remove_writer(self._terminal.writes)

    # From the person.

    def _tell_size(self) -> None:
        if self._run.is_terminal:
            rows, columns = self._terminal.size()
            self._writer.write(frame_of(SIZE, Size(rows, columns)))

    def _on_keys(self) -> None:
        try:
            data = os.read(self._terminal.reads, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal is gone
            self._end(128 + signal.SIGHUP)
            return
        if self._run.is_terminal:
            self._send_keys(data)
        else:
            self._send_lines(data)

    def _send_keys(self, data: bytes) -> None:
        leaving = LEAVING.search(data)
        if typed := data[: leaving.start()] if leaving else data:
            self._writer.write(frame(INPUT, typed))
        if leaving or not data:
            self._left()

    def _send_lines(self, data: bytes) -> None:
        """No data at all: Ctrl-D, which ends a program on a terminal, but would end this script's input for good."""
        self._line += data
        *lines, self._line = self._line.split(b"\n")
        for line in lines:
            self._writer.write(frame(INPUT, line))
        if not data or LEAVE in self._line:
            self._left()


class _PipeOutput:
    """Output of a pipe as a person's terminal may get it: text, colours, and the ends of lines."""

    def __init__(self, paint: Paint) -> None:
        self._paint = paint
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def __call__(self, data: bytes) -> bytes:
        parts = re.split(r"([\r\n]+)", self._decode(data))
        return "".join(part if number % 2 else self._paint.foreign(part) for number, part in enumerate(parts)).encode()


def _status_of(process: ShownProcess) -> int:
    """As a shell has it."""
    if process.exit_code is not None:
        return process.exit_code
    with contextlib.suppress(KeyError):
        return 128 + signal.Signals[process.signal or ""]
    return 1
