"""The limits on the memory of a process: above the soft one it drops caches, above the hard one it refuses new work.
Pure: time and the number are passed in.
"""

import logging
from collections.abc import Callable
from typing import Final, Literal

from brummer.core.errors import BrummerError

_log = logging.getLogger(__name__)

SAMPLE_EVERY_S: Final = 0.1
"""Loopback brings some 50 MB in that time; a sample costs 10 µs."""

SHED_EVERY_S: Final = 2.0
"""What it frees is freed at once; a full collection may take tens of milliseconds."""
SHED_AGAIN_S: Final = 0.2
"""The same, if work would have to be refused otherwise."""

LARGE_BYTES: Final = 256 * 1024
"""Hundreds of smaller messages come and go between two samples, and do no harm."""
COPIES: Final = 5
"""Copies of a large message that are in memory at once (received, decoded, encoded, sent); measured."""

MEMORY_RETRY_AFTER_S: Final = 1.0
"""Mostly large calls under way fill the memory; they last about that long."""

Level = Literal["well", "soft", "hard"]


class MemoryFull(BrummerError):
    """The process uses as much memory as `memory_hard` allows; calls under way continue."""

    code = "busy"
    transient = True


class Memory:
    """``read`` returns the bytes that are resident now, None where that is not known; ``shed`` drops caches."""

    def __init__(
        self, soft_bytes: int, hard_bytes: int, read: Callable[[], int | None], shed: Callable[[], None]
    ) -> None:
        self.soft_bytes = soft_bytes
        self.hard_bytes = hard_bytes
        self._read = read
        self._shed = shed
        self._sampled_s = self._shed_s = float("-inf")
        self.resident_bytes = 0
        self.level: Level = "well"
        self.refused = 0
        """Calls, since the start."""

    def sample(self, now_s: float) -> None:
        """Read it, and shed if it is too much."""
        self._sampled_s = now_s
        self._note()
        if self.level != "well":
            self._shed_after(now_s, SHED_EVERY_S)

    def admit(self, now_s: float, size_bytes: int = 0) -> None:
        """Admit new work, in a message of this size. Raises `MemoryFull`.

        A large message needs memory for the next one, too, which can be refused only after it has arrived.
        """
        if size_bytes >= LARGE_BYTES:
            needed_bytes = 2 * COPIES * size_bytes
        elif now_s - self._sampled_s < SAMPLE_EVERY_S and self.level != "hard":
            return
        else:
            needed_bytes = 0
        if not self.has_room(now_s, needed_bytes):
            self.refused += 1
            raise MemoryFull(
                f"no new work is taken while {self.resident_bytes >> 20} MiB of memory are in use (memory_hard)",
                retry_after_s=MEMORY_RETRY_AFTER_S,
                memory_bytes=self.resident_bytes,
                limit_bytes=self.hard_bytes,
            )

    def has_room(self, now_s: float, needed_bytes: int) -> bool:
        """Whether so much more stays below the hard limit, if need be after caches were dropped."""
        return self.left_bytes(now_s, needed_bytes) >= needed_bytes

    def left_bytes(self, now_s: float, needed_bytes: int) -> int:
        """How much more fits below the hard limit; caches are dropped if that is less than ``needed_bytes``."""
        self.sample(now_s)
        if self.resident_bytes + needed_bytes >= self.hard_bytes:
            self._shed_after(now_s, SHED_AGAIN_S)
        return self.hard_bytes - self.resident_bytes - 1

    def _shed_after(self, now_s: float, pause_s: float) -> None:
        if now_s - self._shed_s >= pause_s:
            self._shed_s = now_s
            try:
                self._shed()
            except Exception:  # noqa: BLE001 — the barrier: callers that wait for memory must be notified all the same
                _log.exception("caches could not be dropped")
            self._note()

    def _note(self) -> None:
        self.resident_bytes = resident = self._read() or 0
        self.level = "hard" if resident >= self.hard_bytes else "soft" if resident >= self.soft_bytes else "well"
