"""Lines over standard input and output: descriptors that other processes may share, so the event loop can't own them.

Reading changes no flag of its descriptor; writing never blocks. Both are bounded, and each can pause the other.
"""

import asyncio
import contextlib
import errno
import logging
import os
import stat
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

_log = logging.getLogger(__name__)

READ_BYTES: Final = 64 * 1024
"""A default pipe buffer: one read empties it. From 128 KiB on, malloc would map and unmap memory for each read."""

LF: Final = ord("\n")
CR: Final = ord("\r")
"""Integers: `in` finds an integer in bytes directly; with a bytes operand it takes 0.5 µs more."""

UNREAD_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""Answers that the client has not read. Above this, no further requests are read."""


class DescriptorCalls(Protocol):
    """Reading and writing of open descriptors: the module `os`."""

    def read(self, fd: int, length: int, /) -> bytes: ...
    def write(self, fd: int, data: memoryview, /) -> int: ...
    def fstat(self, fd: int, /) -> os.stat_result: ...
    def set_blocking(self, fd: int, blocking: bool, /) -> None: ...  # noqa: FBT001 — as the module has it


class LineReader:
    """Splits a byte stream into lines, bounded. Of an overlong line only the head and the tail are kept."""

    HEAD_BYTES: Final = 4096
    TAIL_BYTES: Final = 512

    def __init__(
        self,
        limit_bytes: int,
        on_line: Callable[[bytes], None],
        on_overlong: Callable[[bytes, bytes], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._on_line = on_line
        self._on_overlong = on_overlong
        self._on_end = on_end
        self._parts: list[bytes] = []
        self._size = 0
        self._head: bytes | None = None  # of an overlong line that has not ended yet

    @property
    def held_bytes(self) -> int:
        """The size of what is kept of an incomplete line, without its head if it is overlong."""
        return sum(map(len, self._parts))

    def feed(self, data: bytes) -> None:
        """Take the next bytes; ``b""`` at the end of the stream: bytes without a newline are then a line too."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            line = data[start:end]
            if self._parts or len(line) > self._limit_bytes:
                self._add(line)
                self._end_line()
            elif line.strip():
                self._on_line(line)
            start = end + 1
        if start < len(data):
            self._add(data[start:])
        elif not data:
            if self._size:
                self._end_line()
            self._on_end()

    def _add(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > self._limit_bytes:
            kept = b"".join(self._parts)
            if self._head is None:
                self._head = kept[: self.HEAD_BYTES]
            self._parts = [kept[-self.TAIL_BYTES :]]
            self._size = self._limit_bytes  # stays over: the next part is dropped but for its tail

    def _end_line(self) -> None:
        line = b"".join(self._parts)
        head, self._head, self._parts, self._size = self._head, None, [], 0
        if head is not None:
            self._on_overlong(head, line)
        elif line.strip():
            self._on_line(line)


class ByteReader(Protocol):
    """Gives the bytes that arrive to a callback, ``b""`` at the end. Both methods may be called at any time."""

    def resume(self) -> None: ...

    def pause(self) -> None: ...


def start_reading(
    loop: asyncio.AbstractEventLoop, fd: int, on_data: Callable[[bytes], None], descriptors: DescriptorCalls = os
) -> ByteReader:
    """Start at once. No flag is set on the descriptor: one like O_NONBLOCK would affect all processes that share it."""
    reader: ByteReader
    if not _tells_readiness(fd, descriptors):
        reader = _ThreadReader(loop, fd, on_data)
    else:
        reader = _ReadinessReader(loop, fd, on_data, descriptors)
    try:
        reader.resume()
    except OSError:  # a device that cannot be watched, such as /dev/null
        reader = _ThreadReader(loop, fd, on_data)
        reader.resume()
    return reader


def _tells_readiness(fd: int, descriptors: DescriptorCalls) -> bool:
    """False for a file (``< requests``): it always counts as ready, and reading it may still wait for the disk."""
    try:
        return not stat.S_ISREG(descriptors.fstat(fd).st_mode)
    except OSError:
        return False


class _ReadinessReader:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, fd: int, on_data: Callable[[bytes], None], descriptors: DescriptorCalls
    ) -> None:
        self._descriptors = descriptors
        self._loop = loop
        self._fd = fd
        self._on_data = on_data

    def resume(self) -> None:
        self._loop.add_reader(self._fd, self._read)

    def pause(self) -> None:
        self._loop.remove_reader(self._fd)

    def _read(self) -> None:
        try:
            data = self._descriptors.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._on_data(data)


class _ThreadReader:
    """Reads in a thread, the next piece only when the last one is delivered, so a pause loses nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, on_data: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._fd = fd
        self._on_data = on_data
        self._going = False
        self._held: bytes | None = None  # came in during a pause
        self._taken = threading.Event()
        self._thread: threading.Thread | None = None

    def resume(self) -> None:
        self._going = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, name="stdin", daemon=True)
            self._thread.start()
        elif self._held is not None:
            held, self._held = self._held, None
            self._loop.call_soon(self._deliver, held)

    def pause(self) -> None:
        self._going = False

    def _deliver(self, data: bytes) -> None:
        if not self._going:
            self._held = data
            return
        self._on_data(data)
        self._taken.set()

    def _read(self) -> None:
        data = b"-"
        while data:
            try:
                data = os.read(self._fd, READ_BYTES)
            except OSError:
                data = b""
            self._taken.clear()
            try:
                self._loop.call_soon_threadsafe(self._deliver, data)
            except RuntimeError:  # the loop is closed
                return
            if data:
                self._taken.wait()


def _opened_anew(fd: int) -> int | None:
    """Open the terminal of ``fd`` anew: a flag of ``fd`` itself would also affect the shell and all others that share
    it. None for another device, or if it can't be opened.
    """
    try:
        return os.open(os.ttyname(fd), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


class Writer:
    """Writes whole lines without blocking the loop; the answers of one turn of the loop are one system call."""

    def __init__(
        self,
        fd: int,
        *,
        on_full: Callable[[], None],
        on_drained: Callable[[], None],
        on_broken: Callable[[], None],
        descriptors: DescriptorCalls = os,
    ) -> None:
        self._descriptors = descriptors
        self._fd = fd
        self._on_full, self._on_drained, self._on_broken = on_full, on_drained, on_broken
        self._loop = asyncio.get_running_loop()
        self._lines: list[bytes] = []
        self._unsent: deque[memoryview] = deque()
        self.pending_bytes = 0
        self._scheduled = self._blocked = False
        self.is_full = False
        """More than `UNREAD_LIMIT_BYTES` are pending."""
        self.broken = False
        self._drained: asyncio.Event | None = None
        mode = descriptors.fstat(fd).st_mode
        self._of_terminal = _opened_anew(fd) if stat.S_ISCHR(mode) else None
        if self._of_terminal is not None:
            self._fd = self._of_terminal
        elif stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            descriptors.set_blocking(fd, False)

    def write(self, message: bytes, *, is_last: bool = False) -> None:
        """``is_last``: no other message is likely to follow in this turn of the loop, so it is sent at once."""
        if self.broken:
            return
        if LF in message or CR in message:  # only between tokens: inside a JSON string it would be escaped
            message = message.replace(b"\n", b" ").replace(b"\r", b" ")
        self._lines.append(message)
        self.pending_bytes += len(message) + 1
        if self._blocked:
            self._note_full()
        elif not self._scheduled:
            if is_last:
                self._flush()
            else:
                self._scheduled = True
                self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._lines:
            self._lines.append(b"")
            self._unsent.append(memoryview(b"\n".join(self._lines)))
            self._lines = []
        try:
            while self._unsent:
                chunk = self._unsent[0]
                sent_bytes = self._descriptors.write(self._fd, chunk)
                self.pending_bytes -= sent_bytes
                if sent_bytes < len(chunk):
                    self._unsent[0] = chunk[sent_bytes:]
                else:
                    self._unsent.popleft()
        except BlockingIOError:
            self._blocked = True  # `_on_room` flushes whatever is written until then
            self._loop.add_writer(self._fd, self._on_room)
            self._note_full()
        except OSError as error:
            self._break(error)
        else:
            if self._drained is not None:
                self._drained.set()

    def _note_full(self) -> None:
        if not self.is_full and self.pending_bytes > UNREAD_LIMIT_BYTES:
            self.is_full = True
            self._on_full()

    def _on_room(self) -> None:
        self._loop.remove_writer(self._fd)
        self._blocked = False
        self._flush()
        if self.is_full and not self._blocked and not self.broken:
            self.is_full = False
            self._on_drained()

    def _break(self, error: OSError) -> None:
        self.broken = True
        self._unsent.clear()
        if self._drained is not None:
            self._drained.set()
        if error.errno != errno.EPIPE:
            _log.warning("stdout failed: %s", error)
        self._on_broken()

    async def close(self, timeout_s: float) -> None:
        """Send the rest, for at most ``timeout_s``: a client that does not read must not delay the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                if (self._scheduled or self._blocked) and not self.broken:
                    self._drained = asyncio.Event()
                    await self._drained.wait()
        if self._blocked:
            self._loop.remove_writer(self._fd)
        if self._of_terminal is not None:
            os.close(self._of_terminal)
            self.broken, self._of_terminal = True, None
