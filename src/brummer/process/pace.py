"""How much of the loop's time output may take, so that a flood delays neither calls nor other scripts' lines. Pure.

A burst waits in its pipe until there is time to read it. A flood would wait for as long as it lasts, and with it the
program that prints it; so of a flood only a part is read (`skimming`).
"""

SHARE = 0.5
"""Of one processor, in the time that our thread really had it: the other half is for calls, and a program that prints
without end is held back by its full pipe.
"""
CREDIT_S = 0.05
"""What quiet times save up: a server's start, or the end of a build, is never held back."""
DEBT_S = 0.002
"""A rest pays back at least this much work; shorter ones are below a timer's resolution."""
TURN_S = 0.004
"""What one chunk may take: so long a call waits at the most."""
CHUNK_BYTES = 64 * 1024
"""What a pipe holds."""
SMALLEST_CHUNK_BYTES = 2 * 1024

FLOOD_BYTES = 8 * 1024 * 1024
"""Held back all the while, and as much as an instance keeps: the beginning displaces itself, so to read on in full only
costs the program its time.
"""
CALM_S = 1.0
"""Without a rest: what comes then is another burst."""
SKIM_S = 0.25
"""So often the end of what was skimmed is read in full: what a look at it shows is no older."""
STILL_BYTES = 1024 * 1024
"""In that time: less can be read in full."""
SKIM_BYTES = 256 * 1024
"""What one turn may skim: 1 ms of work."""
PIPE_BYTES = 1024 * 1024
"""What any user may have a pipe of Linux hold. Reader and writer of a flood then need not wait for each other."""


def next_chunk_bytes(size_bytes: int, spent_s: float) -> int:
    """How much to read after a chunk of this size has taken so long: lines that say much cost more than others."""
    return max(SMALLEST_CHUNK_BYTES, min(CHUNK_BYTES, int(size_bytes * TURN_S / max(spent_s, 1e-6))))


class Pace:
    """Counts the time that work takes, and prescribes rests. One for all who share the time."""

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._credit_s = CREDIT_S
        self._at = 0.0

    def rest_after(self, now: float, spent_s: float) -> float:
        """Seconds to rest after work that took ``spent_s`` until ``now``; 0.0: go on."""
        self._credit_s = min(CREDIT_S, self._credit_s + (now - self._at) * self._share) - spent_s
        self._at = now
        return -self._credit_s / self._share if self._credit_s < -DEBT_S else 0.0


class Flow:
    """One stream's, to tell a flood from a burst."""

    def __init__(self) -> None:
        self._read_bytes = self._skimmed_bytes = 0
        self._held_back_s = float("-inf")

    def read(self, size_bytes: int) -> None:
        self._read_bytes += size_bytes

    def is_flood(self, now: float) -> bool:
        """Call it when the stream is held back."""
        if now - self._held_back_s > CALM_S:
            self._read_bytes = 0
        self._held_back_s = now
        return self._read_bytes >= FLOOD_BYTES

    def skimmed(self, size_bytes: int) -> None:
        self._skimmed_bytes += size_bytes

    def is_still_one(self) -> bool:
        """Call it after each `SKIM_S`."""
        skimmed_bytes, self._skimmed_bytes, self._read_bytes = self._skimmed_bytes, 0, 0
        return skimmed_bytes >= STILL_BYTES
