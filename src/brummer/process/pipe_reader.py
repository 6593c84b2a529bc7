"""Reads one pipe of a child, or its terminal, on the loop to its end: in full, but of a flood only a sample."""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Callable
from typing import IO, Final, Literal

import msgspec

from brummer.host.clocks import awake, busy
from brummer.host.descriptors import unread_bytes
from brummer.process.throttle import PIPE_BYTES, SAMPLE_SHARE, SHARE, FloodDetector, Throttle, next_chunk_bytes

_F_SETPIPE_SZ: Final = 1031
"""Of Linux; other systems refuse it (EINVAL)."""
READ_AGAIN_S = 0.2
"""The pause before a pipe that could not be read is tried again."""

Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, bytes], None]
"""Called on the loop."""

_log = logging.getLogger(__name__)


class FloodHandler(msgspec.Struct, frozen=True):
    """Takes output that comes too fast to be read: ``sample`` in place of ``on_output`` while ``is_allowed()``, and
    ``show`` at intervals, to read the last of it.
    """

    sample: OnOutput
    show: Callable[[Stream], None]
    is_allowed: Callable[[], bool]


class PipeReader:
    """Begins at once; ``on_end`` is called when all was read, or after `close`. An empty chunk says that sampling has
    ended, though nothing more may come.
    """

    def __init__(
        self,
        stream: Stream,
        pipe: IO[bytes],
        on_output: OnOutput,
        on_flood: FloodHandler | None,
        throttle: Throttle,
        on_end: Callable[[], None],
    ) -> None:
        self._stream: Stream = stream
        self._pipe = pipe
        self._on_output = on_output
        self._on_flood = on_flood
        self._throttle = throttle
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._limits = throttle.limits
        self._detector = FloodDetector(throttle.limits)
        self._chunk_bytes = throttle.limits.chunk_bytes
        self._resting: asyncio.TimerHandle | None = None
        self._sampling: asyncio.TimerHandle | None = None
        self._is_ending = False
        self._due_bytes = 0
        self._due_is_read = asyncio.Event()
        self._due_is_read.set()
        os.set_blocking(pipe.fileno(), False)
        self._watch()

    def __repr__(self) -> str:
        what = "closed" if self.is_closed else "sampling" if self._sampling else "reading"
        return f"<PipeReader {self._stream} {what}>"

    @property
    def is_closed(self) -> bool:
        return self._pipe.closed

    def close(self) -> None:
        """Read no more, though more may come."""
        if self.is_closed:
            return
        self._loop.remove_reader(self._pipe.fileno())
        self._pipe.close()
        if self._resting:
            self._resting.cancel()
        if self._sampling:
            self._read_in_full()
        self._due_is_read.set()
        self._on_end()

    async def rest_is_read(self) -> None:
        """Return when all was read that is in the pipe now, however long that takes; what comes later may be unread.
        From now on nothing rests: the writer is dead, and what it left is no more than a pipe holds.
        """
        self._is_ending = True
        if self.is_closed:
            return
        if self._resting:
            self._resting.cancel()
            self._watch()
        self._due_bytes = unread_bytes(self._pipe)
        if self._due_bytes:
            self._due_is_read.clear()
        await self._due_is_read.wait()

    def _watch(self) -> None:
        self._resting = None
        self._loop.add_reader(self._pipe.fileno(), self._sample if self._sampling else self._read)

    def _read(self) -> None:
        """One chunk per turn of the loop, and none for a while when all output together has had its share of the loop's
        time, so that a burst delays no other work. The full pipe holds the writer back; for a flood, see `_sample`.
        """
        began = busy()
        if chunk := self._chunk(self._chunk_bytes):
            self._on_output(self._stream, chunk)
            spent_s = busy() - began
            self._chunk_bytes = next_chunk_bytes(len(chunk), spent_s)
            self._detector.read_bytes += len(chunk)
            if self._is_held_back(spent_s, SHARE) and self._detector.is_flood(awake()) and self._flood():
                _widen(self._pipe)
                self._sampling = self._loop.call_later(self._limits.sample_s, self._check_flood)

    def _sample(self) -> None:
        """As `_read`, for a program that prints faster than its lines can be read, and would be delayed by us."""
        if (flood := self._flood()) is None:
            self._read_in_full()
            return
        began = busy()
        if chunk := self._chunk(self._limits.chunk_bytes):
            flood.sample(self._stream, chunk)
            self._detector.sampled_bytes += len(chunk)
            self._is_held_back(busy() - began, SAMPLE_SHARE)

    def _chunk(self, limit_bytes: int) -> bytes | None:
        """What is there; None if nothing is, also at the end, which closes this. A pipe that can't be read just now is
        tried again after a pause.
        """
        try:
            chunk = os.read(self._pipe.fileno(), limit_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:  # so a terminal without users reports its end
                _log.warning("%s of a script can't be read, and is tried again: %s", self._stream, error)
                self._rest(READ_AGAIN_S)
                self._due_is_read.set()  # for all we know, it never is
                return None
            chunk = b""
        self._due_bytes -= len(chunk)
        if self._due_bytes <= 0:
            self._due_is_read.set()
        if not chunk:
            self.close()
        return chunk

    def _flood(self) -> FloodHandler | None:
        """None: all output has to be read in full."""
        return self._on_flood if self._on_flood and self._on_flood.is_allowed() else None

    def _check_flood(self) -> None:
        if self._detector.is_still_flood() and (flood := self._flood()):
            flood.show(self._stream)
            self._sampling = self._loop.call_later(self._limits.sample_s, self._check_flood)
        else:
            self._read_in_full()

    def _read_in_full(self) -> None:
        """Stop sampling and read every line from here on."""
        if self._sampling:
            self._sampling.cancel()
            self._sampling = None
        self._on_output(self._stream, b"")
        if not self.is_closed and not self._resting:
            self._watch()

    def _is_held_back(self, spent_s: float, share: float) -> bool:
        """Rest if that is due after so much work."""
        rest_s = self._throttle.rest_after(awake(), spent_s, share)
        if not rest_s or self._is_ending or self.is_closed:
            return False
        self._rest(rest_s)
        return True

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._pipe.fileno())
        self._resting = self._loop.call_later(seconds, self._watch)


def _widen(pipe: IO[bytes]) -> None:
    """Where the system can, and the user's total for pipes is not used up."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, PIPE_BYTES)
