"""Text for a standard stream that may not be read, such as a pager's, or a terminal's after Ctrl-S.

A thread writes, so that a reader who does not read holds up nothing. What waits for too long, or can't be written, is
dropped, counted, and said in the stream once it can be written again.
"""

import os
import queue
import select
import threading
from typing import Final, TextIO

from brummer.core.visible import visible

CLOSE_S: Final = 2.0
"""How long a reader who does not read may hold up the end of the program."""


class BackgroundWriter:
    """For any thread. `write` and `start` return at once. ``limit``: characters that may wait."""

    def __init__(self, stream: TextIO, name: str, limit: int) -> None:
        self._stream = stream
        self._name = name
        self._limit = limit
        self._texts: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._given = 0
        self._written = 0
        self.dropped = 0
        """Lines, of which the stream does not tell yet."""

    def start(self) -> bool:
        """The thread, which the first text would start otherwise. False where none can be started just now."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the user, or the container, may have no further thread
                return False
            self._thread = thread
        return True

    def write(self, text: str) -> None:
        """Whole lines."""
        with self._lock:
            if self._given - self._written > self._limit or not self.start():
                self.dropped += text.count("\n")
                return
            text = self._note() + text
            self._given += len(text)
            self._texts.put(text)

    def flush(self, timeout_s: float = CLOSE_S) -> None:
        """When all is written; blocks for so long at the most."""
        with self._lock:
            if note := self._note():
                self._given += len(note)
                self._texts.put(note)
            if self._thread is None:
                return
            done = threading.Event()
            self._texts.put(done)
        done.wait(timeout_s)

    def _note(self) -> str:
        dropped, self.dropped = self.dropped, 0
        return f"[… {dropped} lines are missing here: they could not be written in time]\n" if dropped else ""

    def _run(self) -> None:
        while True:
            item = self._texts.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            try:
                self._put(item)
            except Exception:  # noqa: BLE001 — nobody reads any more, the disk is full, no memory is left: it goes on
                with self._lock:
                    self.dropped += item.count("\n")
            self._written += len(item)

    def _put(self, text: str) -> None:
        """Past the stream's own buffer and lock, for which others would wait, too."""
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError, AttributeError):  # a stream in memory
            self._stream.write(visible(text))
            self._stream.flush()
            return
        rest = memoryview(visible(text).encode(self._stream.encoding or "utf-8", "backslashreplace"))
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:  # another who has the stream, too, has made it so
                select.select([], [descriptor], [])
