"""Outcomes of probes and calls → how good a link is, and when to probe it next. Pure: time is passed in.

An answer is proof of life and postpones probes. Quiet local links are probed in one aligned wave every 90 seconds: the
connection and the owner's pidfd report most ends anyway. A call that has been silent for a while, or a failure, makes
the next probe sooner. Failures double the interval up to the maximum; answers shrink it by a tenth at a time. Quality
is an exponentially weighted mean of success and of how the round trip compares with its own best (Jacobson's smoothing
constant, 1/8); it stretches deadlines, but never counts as less than a tenth, so nothing is divided by 0.

Lifeguard (Dadgar, Phillips, Currey 2018): when our own timers are late we are the ones who are slow, so deadlines are
multiplied and nobody is accused.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

WAVE_S: Final = 90.0
"""Between probes of a quiet link on this machine, where the kernel tells of nearly every end at once. At one a minute,
a hundred links woke an idle hub 3.5 times a second, and 3 is the most that an idle laptop should pay for us.
"""
REMOTE_WAVE_S: Final = 30.0
"""Of one beyond it, where a path can vanish without a word."""

SILENT_CALL_S: Final = 2.0
"""A dev tool's answer that takes longer is rare enough to be worth one question on the side."""
SUSPECT_S: Final = 0.5
"""Between the starts of two probes of a suspect link: what comes back is usable within a second."""
MAX_S: Final = 60.0
PROBE_DEADLINE_S: Final = 1.0
FAILURES_TO_SUSPECT: Final = 1
LATE_S: Final = 0.5
"""A timer of ours that fires this late says that we, or the whole machine, did not run."""
MAX_LATENESS: Final = 7
LATENCIES: Final = 200
"""Round trips kept for percentiles: the 99th of them is the second worst."""

SMOOTHING: Final = 1 / 8
WORST_QUALITY: Final = 0.1


@dataclass(slots=True)
class Health:
    """One link's. ``rtt_s`` is the smoothed round trip of probes and of calls that wait for nothing.

    ``patience_s``: a probe has at least so long.
    """

    patience_s: float = 0.0
    silent_call_s: float = SILENT_CALL_S
    suspect_s: float = SUSPECT_S
    deadline_s: float = PROBE_DEADLINE_S
    quality: float = 1.0
    rtt_s: float | None = None
    best_rtt_s: float | None = None
    failures: int = 0
    interval_s: float = field(init=False)
    last_proof_s: float = float("-inf")
    last_asked_s: float = float("-inf")
    lateness: int = 0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES), repr=False)

    def __post_init__(self) -> None:
        self.interval_s = self.silent_call_s

    def asked(self, now_s: float) -> None:
        """A probe is on its way."""
        self.last_asked_s = now_s

    def answered(self, now_s: float, rtt_s: float | None = None) -> None:
        """A probe or a call succeeded; ``rtt_s`` where the answer's time says something of the link."""
        self.failures = 0
        self.last_proof_s = now_s
        if self.interval_s > self.silent_call_s:
            self.interval_s = max(self.silent_call_s, self.interval_s * 0.9)
        goodness = 1.0
        if rtt_s is not None:
            self.latencies_s.append(rtt_s)
            if self.rtt_s is None or self.best_rtt_s is None:
                self.rtt_s = self.best_rtt_s = rtt_s
            self.rtt_s += SMOOTHING * (rtt_s - self.rtt_s)
            if rtt_s <= self.best_rtt_s:
                self.best_rtt_s = rtt_s
            else:
                goodness = 0.5 + 0.5 * (self.best_rtt_s + 0.001) / (rtt_s + 0.001)
        self.quality += SMOOTHING * (goodness - self.quality)

    def failed(self) -> None:
        """A probe or a call got no answer."""
        self.failures += 1
        self.interval_s = min(MAX_S, self.interval_s * 2.0)
        self.quality -= SMOOTHING * self.quality

    def fired(self, late_s: float) -> None:
        """One of our own timers fired, so late."""
        self.lateness = min(MAX_LATENESS, self.lateness + 1) if late_s > LATE_S else max(0, self.lateness - 1)

    def forgive(self) -> None:
        """What failed says nothing of what comes: the link is ready again, or we had been away ourselves."""
        self.failures = 0
        self.interval_s = self.silent_call_s

    def latency_s(self, percent: float) -> float | None:
        """That percentile of the last round trips; None before the first."""
        if not self.latencies_s:
            return None
        return sorted(self.latencies_s)[math.ceil(percent / 100 * len(self.latencies_s)) - 1]

    @property
    def is_self_healthy(self) -> bool:
        return self.lateness == 0

    def probe_deadline_s(self) -> float:
        """Longer on a poor link, and when we are late ourselves."""
        stretched_s = self.deadline_s / max(WORST_QUALITY, self.quality)
        return max(self.patience_s, min(4.0, stretched_s)) * (self.lateness + 1)

    def next_probe_s(self, now_s: float, *, suspect: bool, silent_calls: bool, wave_s: float = WAVE_S) -> float:
        """When to probe next, on the caller's clock. Quiet links are probed together: one wakeup for all of them."""
        if suspect:
            return max(now_s, self.last_asked_s + self.suspect_s)
        if silent_calls:
            return max(now_s, self.last_proof_s + self.interval_s, self.last_asked_s + self.suspect_s)
        return (now_s // wave_s + 1) * wave_s
