"""Histograms that subscribers of events keep, beside `collections.Counter`. Pure.

`metrics` describes their meaning, and is imported only if metrics are asked for; counting begins at the start.
"""

from bisect import bisect_left
from typing import Final

RECOVERY_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0, 300.0)
"""From a restart on this machine to a server that a person has to start again; 3 s is what a wake may take."""

CALL_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""The loop's own clock ticks in milliseconds; 30 s is what a call that waits for nothing may take."""

FAMILIES_PATH: Final = b"/metrics.json"
"""The path of an instance's metrics, on its own port; the token is needed."""


class Histogram:
    """Counts in fixed buckets; ``bounds_s`` are their upper edges, and one more takes the rest."""

    __slots__ = ("bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds

    @property
    def total(self) -> int:
        return sum(self.counts)
