"""When a link is probed, what the answers show, and the probe that is under way.

A probe has a connection of its own, because only that tells a stopped instance (the kernel accepts, nothing is
answered) from a cut path (not even that) and from a slow call (the probe is answered). A connected probe stays open
while it is unanswered: a stopped instance answers it as soon as it continues.

An answer is proof of life and postpones probes. Quiet local links are probed in one aligned wave every 90 seconds: the
connection and the owner's pidfd report most ends anyway. A call that has been silent for a while, or a failure, makes
the next probe sooner. Failures double the interval up to the maximum; answers shrink it by a tenth at a time.

A probe measures the link, and so does the dial that makes it ready. A call does not: how long it takes is up to the
tool. Quality is an exponentially weighted mean of success and of how the round trip of a probe compares with the best
(Jacobson's smoothing constant, 1/8); it stretches deadlines, but never counts as less than a tenth, so nothing is
divided by 0.

Lifeguard (Dadgar, Phillips, Currey 2018): when our own timers are late, we are the slow part. So deadlines are
multiplied, and no peer is accused.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from brummer.pool.connections import Connections, Dial, Purpose

WAVE_S: Final = 90.0
"""Seconds between two probes of a quiet link on this machine, where the kernel reports nearly every end at once. With
60, a hundred links woke an idle hub 3.5 times a second; an idle laptop should wake 3 times at most for us.
"""
REMOTE_WAVE_S: Final = 30.0
"""The same for a peer on another machine: a path to it can vanish unnoticed."""

WAITS_WAVE_S: Final = 10.0
"""The same while calls wait for events: these may be silent for minutes, and whoever waits learns within this time that
the instance does not run. Ten links that are waited on all day wake a hub twice in ten seconds.
"""

SILENT_CALL_S: Final = 2.0
"""After this time without an answer to a call the link is probed. Few answers of dev tools take longer."""
SUSPECT_S: Final = 0.5
"""Seconds between the starts of two probes of a suspect link, so that it is usable within a second after it returns."""
MAX_S: Final = 60.0
PROBE_DEADLINE_S: Final = 1.0
LATE_S: Final = 0.5
"""If a timer of ours fires this late, we or the whole machine did not run."""
MAX_LATENESS: Final = 7
LATENCIES: Final = 200
"""Round trips kept for percentiles: the 99th of them is the second worst."""

SMOOTHING: Final = 1 / 8
WORST_QUALITY: Final = 0.1


class Health(msgspec.Struct):
    """Of one link. ``rtt_s``: the smoothed round trip of probes, the time to connect included.

    ``patience_s``: the shortest deadline of a probe. The next three are numbers that tests make small.
    """

    patience_s: float = 0.0
    silent_call_s: float = SILENT_CALL_S
    suspect_s: float = SUSPECT_S
    deadline_s: float = PROBE_DEADLINE_S
    quality: float = 1.0
    rtt_s: float | None = None
    best_rtt_s: float | None = None
    interval_s: float = 0.0
    last_proof_s: float = float("-inf")
    last_asked_s: float = float("-inf")
    lateness: int = 0
    latencies_s: deque[float] = msgspec.field(default_factory=lambda: deque(maxlen=LATENCIES))

    def __post_init__(self) -> None:
        self.interval_s = self.silent_call_s

    def asked(self, now_s: float) -> None:
        """A probe was sent."""
        self.last_asked_s = now_s

    def answered(self, now_s: float, rtt_s: float | None = None) -> None:
        """A probe or a call was answered. ``rtt_s``: how long the probe took; None for a call."""
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
        self.interval_s = min(MAX_S, self.interval_s * 2.0)
        self.quality -= SMOOTHING * self.quality

    def fired(self, late_s: float) -> None:
        """One of our own timers fired, this many seconds late."""
        self.lateness = min(MAX_LATENESS, self.lateness + 1) if late_s > LATE_S else max(0, self.lateness - 1)

    def forgive(self) -> None:
        """Past failures predict nothing: the link is ready again, or we did not run."""
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


class Probe(Dial):
    """A dial that is not ended by its deadline: a stopped instance answers it as soon as it continues."""

    def __init__(self, connections: Connections, health: Health, on_step: Callable[[], object]) -> None:
        self._health = health
        self._note_asked()
        super().__init__(connections, partial(self._on_dial_step, on_step), None)

    @property
    def due_s(self) -> float:
        """When it should have been answered. Time runs from its begin: before, it could not even be asked."""
        return self._health.last_asked_s + self._health.probe_deadline_s() if self.has_begun else math.inf

    def extend_deadline(self) -> None:
        """It was not answered in time, and gets as much time again."""
        self._note_asked()

    def _on_dial_step(self, on_step: Callable[[], object]) -> None:
        if not self.is_over:
            self._note_asked()
        on_step()

    def _note_asked(self) -> None:
        self._health.asked(asyncio.get_running_loop().time())


class Prober:
    """Of one link. ``on_step`` is called at each step of a probe, and when a probe is due sooner than it was."""

    def __init__(self, connections: Connections, health: Health, on_step: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections = connections
        self._health = health
        self._on_step = on_step
        self._due_s = 0.0
        self._checked = asyncio.Event()
        self.report = self._checked.set
        """There is a result, or it is known to take long."""
        self.probe: Probe | None = None
        self.is_wanted = False
        self.is_online = True

    # The check.

    def want(self) -> None:
        """A probe is due at once, even if one is under way: that one may have been sent before the cause."""
        self.is_wanted = True
        self._on_step()

    async def check(self) -> None:
        """Want a probe; return at the next result."""
        self._checked.clear()
        self.want()
        await self._checked.wait()

    # When.

    def due_s(self, *, suspect: bool, is_local: bool) -> float:
        """In loop time; infinite if only an event makes a probe due."""
        now_s = self._loop.time()
        if self.is_wanted:
            self._due_s = now_s
        elif not self.is_online:
            self._due_s = math.inf
        else:
            wave_s = WAVE_S if is_local else REMOTE_WAVE_S
            if self._connections.has_waits:
                wave_s = min(wave_s, WAITS_WAVE_S)
            silent_calls = self._connections.has_calls
            self._due_s = self._health.next_probe_s(now_s, suspect=suspect, silent_calls=silent_calls, wave_s=wave_s)
        return self._due_s

    def call_sent(self, now_s: float) -> None:
        """If the call stays silent, the next probe is due sooner than the next wave."""
        if self._due_s > now_s + self._health.interval_s:
            self._due_s = 0.0
            self._on_step()

    def call_answered(self, now_s: float, *, suspect: bool) -> None:
        """A proof of life, as good as a probe's."""
        self._health.answered(now_s)
        if suspect:
            self._on_step()

    # The probe.

    def send(self) -> None:
        self.is_wanted = False
        self.probe = Probe(self._connections, self._health, self._on_step)

    async def extend_deadline(self, probe: Probe) -> None:
        """The probe is late. It stays open, unless another connection of ours needs its place."""
        probe.extend_deadline()
        if self._connections.pool.wants(Purpose.OWN):  # a stopped instance would keep it for hours
            await self.end()

    def drop(self) -> None:
        if self.probe is not None:
            self.probe.drop()
            self.probe = None

    async def end(self) -> None:
        """As `drop`; returns when nothing of it is left."""
        if self.probe is not None:
            await self.probe.end()
            self.probe = None
