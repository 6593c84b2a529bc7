"""One pipe of a child, or its terminal, read on the loop to its end: in full, but of a flood only a part (`pace`)."""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import sys
from collections.abc import Callable
from typing import IO, Literal, NamedTuple

from brummer.host.clocks import awake, busy
from brummer.process.throttle import CHUNK_BYTES, PIPE_BYTES, SHARE, SKIM_S, SKIM_SHARE, Flow, Pace, next_chunk_bytes

RETRY_S = 0.2
"""The pause before a pipe that could not be read is tried again."""

Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, bytes], None]
"""Called on the loop."""


_log = logging.getLogger(__name__)


class OnFlood(NamedTuple):
    """Who takes what comes too fast to be read: ``skim`` in place of ``on_output`` as long as ``is_allowed()``, and now
    and then ``look``, to read the last of it.
    """

    skim: OnOutput
    look: Callable[[Stream], None]
    is_allowed: Callable[[], bool]


class Reader:
    """Begins at once; ``on_end`` is called when all was read, or `close` was called. An empty chunk says that skimming
    has come to an end, though nothing more may come.
    """

    def __init__(
        self,
        stream: Stream,
        pipe: IO[bytes],
        on_output: OnOutput,
        on_flood: OnFlood | None,
        pace: Pace,
        on_end: Callable[[], None],
    ) -> None:
        self._stream: Stream = stream
        self._pipe = pipe
        self._on_output = on_output
        self._on_flood = on_flood
        self._pace = pace
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._flow = Flow()
        self._chunk_bytes = CHUNK_BYTES
        self._resting: asyncio.TimerHandle | None = None
        self._skimming: asyncio.TimerHandle | None = None
        os.set_blocking(pipe.fileno(), False)
        self._watch()

    def __repr__(self) -> str:
        what = "closed" if self.is_closed else "skimming" if self._skimming else "reading"
        return f"<Reader {self._stream} {what}>"

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
        if self._skimming:
            self._read_in_full()
        self._on_end()

    def _watch(self) -> None:
        self._loop.add_reader(self._pipe.fileno(), self._skim if self._skimming else self._read)

    def _read(self) -> None:
        """One chunk per turn of the loop, and none for a while when all output together has had its share of the loop's
        time: a burst starves nobody. The full pipe holds the writer back; for a flood, see `_skim`.
        """
        began = busy()
        chunk = self._chunk(self._chunk_bytes)
        if chunk:
            self._on_output(self._stream, chunk)
            spent_s = busy() - began
            self._chunk_bytes = next_chunk_bytes(len(chunk), spent_s)
            self._flow.read(len(chunk))
            if self._rests(spent_s, SHARE) and self._flow.is_flood(awake()) and self._flood():
                _widen(self._pipe)
                self._skim_for_a_while()
        elif chunk is not None:
            self.close()

    def _skim(self) -> None:
        """As `_read`, for a program that prints faster than its lines can be read, and would be slowed down by us."""
        flood = self._flood()
        if flood is None:
            self._read_in_full()
            return
        began = busy()
        chunk = self._chunk(CHUNK_BYTES)
        if chunk:
            flood.skim(self._stream, chunk)
            self._flow.skimmed(len(chunk))
            self._rests(busy() - began, SKIM_SHARE)
        elif chunk is not None:
            self.close()

    def _chunk(self, limit_bytes: int) -> bytes | None:
        """As `_read_chunk`; a pipe that can't be read just now is tried again after a pause."""
        try:
            return _read_chunk(self._pipe, limit_bytes)
        except OSError as error:
            _log.warning("%s of a script can't be read, and is tried again: %s", self._stream, error)
            self._rest(RETRY_S)
            return None

    def _flood(self) -> OnFlood | None:
        """None: all that comes has to be read in full."""
        return self._on_flood if self._on_flood and self._on_flood.is_allowed() else None

    def _skim_for_a_while(self) -> None:
        self._skimming = self._loop.call_later(SKIM_S, self._skim_on_or_read)

    def _skim_on_or_read(self) -> None:
        if self._flow.is_still_one() and (flood := self._flood()):
            flood.look(self._stream)
            self._skim_for_a_while()
        else:
            self._read_in_full()

    def _read_in_full(self) -> None:
        """Again."""
        if self._skimming:
            self._skimming.cancel()
            self._skimming = None
        self._on_output(self._stream, b"")
        if not self.is_closed and not self._resting:
            self._watch()

    def _rests(self, spent_s: float, share: float) -> bool:
        """Whether it has to, after so much work."""
        rest_s = self._pace.rest_after(awake(), spent_s, share)
        if not rest_s or self.is_closed:
            return False
        self._rest(rest_s)
        return True

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._pipe.fileno())
        self._resting = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._resting = None
        self._watch()


def _read_chunk(pipe: IO[bytes], limit_bytes: int) -> bytes | None:
    """What is there; empty at the end, which a terminal whose last user has gone reports as EIO; None: nothing yet."""
    try:
        return os.read(pipe.fileno(), limit_bytes)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise


def _widen(pipe: IO[bytes]) -> None:
    """Where the system can, and the user has not used up what it may have."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
