"""How much of the loop's time output may take, so that a flood delays neither calls nor other scripts' lines. Pure.

A burst waits in its pipe until there is time to read it. A flood would wait as long as it lasts, and with it the
program that prints it; so only a sample of a flood is read (`brummer.logs.flood_sampler`).
"""

import msgspec

SHARE = 0.5
"""Of one processor, in the CPU time of our thread. The other half is for calls; a full pipe holds a program back that
prints without end.
"""
SAMPLE_SHARE = 0.3
"""Enough for 100 MB/s. All other projects may share this processor, while the program has another."""
CREDIT_S = 0.1
"""Saved up in quiet times: a server's start, or the end of a build, is never held back."""
REST_S = 0.0005
"""Shorter ones are not worth a timer. The rests and the work between two of them are as short as possible: a scheduler
lets us finish our slice of 3 ms, and every other program on our processor waits for that.
"""
TURN_S = 0.001
"""What one chunk may take: the longest wait of a call."""
CHUNK_BYTES = 64 * 1024
"""What a pipe holds."""
SMALLEST_CHUNK_BYTES = 2 * 1024

FLOOD_BYTES = 8 * 1024 * 1024
"""Held back all the while, and as much as an instance keeps: the beginning is displaced anyway, so reading on in full
only delays the program.
"""
CALM_S = 1.0
"""Without a rest for so long, it is another burst."""
SAMPLE_S = 0.25
"""The interval at which the last output of a flood is read: the lines that are shown are no older."""
STILL_BYTES = 1024 * 1024
"""In that interval: less can be read in full."""
PIPE_BYTES = 1024 * 1024
"""The limit for any user on Linux. Reader and writer of a flood then need not wait for each other."""


class FloodLimits(msgspec.Struct, frozen=True):
    """When output is a flood, and how it is read then; the constants say why."""

    flood_bytes: int = FLOOD_BYTES
    calm_s: float = CALM_S
    sample_s: float = SAMPLE_S
    chunk_bytes: int = CHUNK_BYTES


DEFAULT_LIMITS = FloodLimits()


def next_chunk_bytes(size_bytes: int, spent_s: float) -> int:
    """How much to read after a chunk of this size has taken so long: some lines cost more than others."""
    return max(SMALLEST_CHUNK_BYTES, min(CHUNK_BYTES, int(size_bytes * TURN_S / max(spent_s, 1e-6))))


class Throttle:
    """Counts the time that work takes, and prescribes rests. One for all readers that share the time."""

    def __init__(self, limits: FloodLimits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._credit_s = CREDIT_S
        self._at = 0.0

    def rest_after(self, now: float, spent_s: float, share: float = SHARE) -> float:
        """Seconds to rest after work that took ``spent_s`` until ``now`` and may take that share; 0.0: go on."""
        self._credit_s = min(CREDIT_S, self._credit_s + now - self._at) - spent_s / share
        self._at = now
        return -self._credit_s if self._credit_s < -REST_S else 0.0


class FloodDetector:
    """Distinguishes a flood of one stream from a burst. ``read_bytes`` and ``sampled_bytes``: add what was read so."""

    def __init__(self, limits: FloodLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self.read_bytes = self.sampled_bytes = 0
        self._held_back_s = float("-inf")

    def is_flood(self, now: float) -> bool:
        """Call it whenever the stream is held back."""
        if now - self._held_back_s > self._limits.calm_s:
            self.read_bytes = 0
        self._held_back_s = now
        return self.read_bytes >= self._limits.flood_bytes

    def is_still_flood(self) -> bool:
        """Call it after each `SAMPLE_S`."""
        sampled_bytes, self.sampled_bytes, self.read_bytes = self.sampled_bytes, 0, 0
        return sampled_bytes >= STILL_BYTES
