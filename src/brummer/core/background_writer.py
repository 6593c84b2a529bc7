"""Writes text to a standard stream whose reader may stop reading, such as a pager, or a terminal after Ctrl-S.

A thread writes, so a stalled reader blocks no other code. Text that waits for too long, or can't be written, is
dropped. Its lines are counted, and the stream gets a note with the count once it can be written again.
"""

import os
import queue
import select
import threading
from typing import Final, TextIO

from brummer.core.visible import visible

CLOSE_S: Final = 2.0
"""How long a stalled reader may delay the end of the program."""


class BackgroundWriter:
    """Any thread may use it. `write` and `start` return at once. ``limit``: characters that may wait."""

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
        """Lines dropped since the last note in the stream."""

    def start(self) -> bool:
        """Start the thread now instead of at the first text. False if no thread can be started just now."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the limit on threads of the user or the container is reached
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
        """Wait until all text is written, at most ``timeout_s``."""
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
            except Exception:  # noqa: BLE001 — no reader, a full disk, no memory: the thread continues
                with self._lock:
                    self.dropped += item.count("\n")
            self._written += len(item)

    def _put(self, text: str) -> None:
        """Write to the descriptor: other threads would wait for the stream's own lock."""
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
            except BlockingIOError:  # another process that shares the stream has made it non-blocking
                select.select([], [descriptor], [])
