"""How much of the loop's time output may take, so that a flood delays neither calls nor other scripts' lines. Pure.

A burst waits in its pipe until there is time to read it. A flood would wait for as long as it lasts, and with it the
program that prints it; so of a flood only a part is read (`skimming`).
"""

SHARE = 0.5
"""Of one processor, in the time that our thread really had it: the other half is for calls, and a program that prints
without end is held back by its full pipe.
"""
SKIM_SHARE = 0.3
"""Enough for 100 MB/s. All other projects may have to live on the same processor: the program has another."""
CREDIT_S = 0.1
"""What quiet times save up: a server's start, or the end of a build, is never held back."""
REST_S = 0.0005
"""Shorter ones are not worth a timer. As short as can be, and so is the work between two of them: a scheduler lets us
finish our slice of 3 ms, and whatever it has put on our processor waits for that, in whichever project.
"""
TURN_S = 0.001
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
PIPE_BYTES = 1024 * 1024
"""What any user may have a pipe of Linux hold. Reader and writer of a flood then need not wait for each other."""


def next_chunk_bytes(size_bytes: int, spent_s: float) -> int:
    """How much to read after a chunk of this size has taken so long: lines that say much cost more than others."""
    return max(SMALLEST_CHUNK_BYTES, min(CHUNK_BYTES, int(size_bytes * TURN_S / max(spent_s, 1e-6))))


class Pace:
    """Counts the time that work takes, and prescribes rests. One for all who share the time."""

    def __init__(self) -> None:
        self._credit_s = CREDIT_S
        self._at = 0.0

    def rest_after(self, now: float, spent_s: float, share: float = SHARE) -> float:
        """Seconds to rest after work that took ``spent_s`` until ``now`` and may take that share; 0.0: go on."""
        self._credit_s = min(CREDIT_S, self._credit_s + now - self._at) - spent_s / share
        self._at = now
        return -self._credit_s if self._credit_s < -REST_S else 0.0


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
