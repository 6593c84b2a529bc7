"""The events of one run, in order, and their hash: equal hashes are equal runs."""

import hashlib
from collections.abc import Callable


class Trace:
    """Lines with their times. ``now_s`` returns the time."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self.lines: list[str] = []
        self.is_over = False

    def __call__(self, who: str, what: str) -> None:
        if not self.is_over:
            self.lines.append(f"{self._now_s() - 1000.0:12.6f}  {who:<12} {what}")

    @property
    def hash(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:16]
