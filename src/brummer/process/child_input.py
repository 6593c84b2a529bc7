"""What is typed to a child: the bytes for its pipe or its terminal, on the loop, and never more than it reads."""

import asyncio
import os
from collections.abc import Callable
from typing import Literal

from brummer.host.terminals import echoes, resize

Taken = Literal["all", "none", "closed"]
"""What became of the bytes: all are on their way; none, since what was typed before is still unread; or none, since the
child does not read its input any more.
"""


class ChildInput:
    """Takes over the descriptor: `close` closes it. For a terminal it may be one that is read as well."""

    def __init__(self, descriptor: int, *, is_terminal: bool) -> None:
        self.is_terminal = is_terminal
        self._descriptor: int | None = descriptor
        self._rest = b""
        self._waiting: list[Callable[[], None]] = []
        self._loop = asyncio.get_running_loop()
        os.set_blocking(descriptor, False)

    def __repr__(self) -> str:
        state = "closed" if self._descriptor is None else f"{len(self._rest)} bytes wait"
        return f"<ChildInput {'terminal' if self.is_terminal else 'pipe'} {state}>"

    def write(self, data: bytes) -> Taken:
        """Nothing or all of it: what the system can't take just now follows as soon as it can."""
        if self._rest:
            return "none"
        if self._descriptor is None:
            return "closed"
        try:
            self._rest = data[os.write(self._descriptor, data) :]
        except BlockingIOError:
            self._watch(self._descriptor)
            return "none"
        except OSError:  # EPIPE of a pipe that it has closed, EIO of a terminal without users
            return "closed"
        if self._rest:
            self._watch(self._descriptor)
        return "all"

    def when_drained(self, callback: Callable[[], None]) -> None:
        """After a `write` that took nothing: call it once `write` takes something again, or the end has come."""
        self._waiting.append(callback)

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed; False for a pipe. Raises OSError once its programs have ended."""
        return self.is_terminal and self._descriptor is not None and echoes(self._descriptor)

    def resize(self, rows: int, columns: int) -> None:
        """Of a terminal. Raises OSError as `echoes` does."""
        if self._descriptor is not None:
            resize(self._descriptor, rows, columns)

    def close(self) -> None:
        """For the child, the end of a pipe. May be called twice."""
        if self._descriptor is not None:
            self._forget_rest(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _watch(self, descriptor: int) -> None:
        self._loop.add_writer(descriptor, self._write_rest)

    def _write_rest(self) -> None:
        assert self._descriptor is not None  # noqa: S101 — `close` ends the watch
        try:
            self._rest = self._rest[os.write(self._descriptor, self._rest) :] if self._rest else b""
        except BlockingIOError:
            return
        except OSError:
            self._rest = b""
        if not self._rest:
            self._forget_rest(self._descriptor)

    def _forget_rest(self, descriptor: int) -> None:
        self._loop.remove_writer(descriptor)
        self._rest = b""
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            self._loop.call_soon(callback)
