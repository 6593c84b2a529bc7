"""Standard output for somebody who may not read it: a pager, a terminal after Ctrl-S. A thread writes, so that they
hold up nothing; what they leave unread for too long is counted, and not shown.
"""

import os
import queue
import sys
import threading
from typing import Final

WAITING_LIMIT: Final = 8 << 20
"""Characters that may wait: as much as the instance itself keeps for all who ask."""
CLOSE_S: Final = 2.0


class UnhurriedOutput:
    """All methods are for one thread, and but for `close` they return at once."""

    def __init__(self) -> None:
        self._texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="standard output", daemon=True)
        self._thread.start()  # now, because a script may use up what can be started
        self._given = 0
        self._written = 0
        self._skipped = 0

    def write(self, text: str) -> None:
        """Whole lines."""
        if self._given - self._written > WAITING_LIMIT:
            self._skipped += text.count("\n")
            return
        if self._skipped:
            text = f"[… {self._skipped} lines are not shown: nobody read them in time]\n{text}"
            self._skipped = 0
        self._given += len(text)
        self._texts.put(text)

    def close(self) -> None:
        """When all is written; blocks for 2 s at the most."""
        self._texts.put(None)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (text := self._texts.get()) is not None:
            try:
                sys.stdout.write(text)
                sys.stdout.flush()
            except (OSError, ValueError):  # nobody reads any more: the scripts go on, and their lines are kept
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 — for the rest of the process
            self._written += len(text)
