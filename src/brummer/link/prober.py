"""When a link is probed, and the probe that is under way.

A probe has a connection of its own, because only that tells a stopped instance (the kernel accepts, nothing is
answered) from a cut path (not even that) and from a slow call (the probe is answered). A connected probe stays open
while it is unanswered: a stopped instance answers it as soon as it continues.
"""

import asyncio
import math
from collections.abc import Callable

from brummer.link.health import REMOTE_WAVE_S, WAVE_S, Health
from brummer.link.probe import Probe
from brummer.pool.lease import Purpose
from brummer.pool.pool import Connections


class Prober:
    """Of one link. ``on_step`` is called at each step of a probe, and when a probe is due sooner than it was."""

    def __init__(self, connections: Connections, health: Health, on_step: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections = connections
        self._health = health
        self._on_step = on_step
        self._due_s = 0.0
        self._checked = asyncio.Event()
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

    def report(self) -> None:
        """There is a result, or it is known to take long."""
        self._checked.set()

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
            silent_calls = self._connections.in_use
            self._due_s = self._health.next_probe_s(now_s, suspect=suspect, silent_calls=silent_calls, wave_s=wave_s)
        return self._due_s

    def call_sent(self, now_s: float) -> None:
        """If the call stays silent, the next probe is due sooner than the next wave."""
        if self._due_s > now_s + self._health.interval_s:
            self._due_s = 0.0
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
