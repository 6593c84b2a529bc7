"""How much of the loop's time output may take, so that a flood delays neither calls nor other scripts' lines. Pure."""

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
