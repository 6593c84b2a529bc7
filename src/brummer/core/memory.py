"""What a process does when it takes much memory: from a soft limit on it gives up caches, from a hard one on it refuses
new work. Pure: time and the number are passed in.
"""

from collections.abc import Callable
from typing import Final, Literal

from brummer.core.errors import BrummerError

LOOK_EVERY_S: Final = 0.1
"""Loopback brings some 50 MB in that time; to look costs 10 µs."""

SHED_EVERY_S: Final = 2.0
"""What it frees is freed at once; a full collection may take tens of milliseconds."""

RETRY_AFTER_S: Final = 1.0
"""Whatever fills the memory are mostly large calls under way, which last about that long."""

Level = Literal["well", "soft", "hard"]


class MemoryFull(BrummerError):
    """Our process takes as much memory as it may; what is under way goes on."""

    code = "busy"
    retryable = True


class Memory:
    """``read`` returns the bytes that are resident now, None where that is not known; ``shed`` gives up caches."""

    def __init__(
        self, soft_bytes: int, hard_bytes: int, read: Callable[[], int | None], shed: Callable[[], None]
    ) -> None:
        self.soft_bytes = soft_bytes
        self.hard_bytes = hard_bytes
        self._read = read
        self._shed = shed
        self._looked_s = self._shed_s = float("-inf")
        self.resident_bytes = 0
        self.level: Level = "well"
        self.refused = 0
        """Calls, since the start."""

    def look(self, now_s: float) -> None:
        """Read it, and shed if it is too much."""
        self._looked_s = now_s
        self._note()
        if self.level != "well" and now_s - self._shed_s >= SHED_EVERY_S:
            self._shed_s = now_s
            self._shed()
            self._note()

    def admit(self, now_s: float) -> None:
        """For new work. Raises `MemoryFull`."""
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self.look(now_s)
        if self.level == "hard":
            self.refused += 1
            raise MemoryFull(
                f"no new work is taken while {self.resident_bytes >> 20} MiB of memory are in use (memory_hard)",
                retry_after_s=RETRY_AFTER_S,
                memory_bytes=self.resident_bytes,
                limit_bytes=self.hard_bytes,
            )

    def _note(self) -> None:
        self.resident_bytes = resident = self._read() or 0
        self.level = "hard" if resident >= self.hard_bytes else "soft" if resident >= self.soft_bytes else "well"
