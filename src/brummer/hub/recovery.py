"""What the hub does after a wake, after a pause of its own process, and after a network change.

Theory of operation: an event is never a verdict. After a wake or a pause no failure counts for a moment, the directory
is scanned, and every link is probed, a few at a time. A connection stays until its probe fails; breakers are not
touched. A clock that was set changes nothing.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import Final

from brummer.core.clock import Clock
from brummer.link.link import Link
from brummer.network.monitor import MachineEvent, NetworkChanged
from brummer.network.wake import ClockSet, GoingToSleep, Paused, Slept
from brummer.peers.instances import Instances
from brummer.peers.timeline import Timeline, TimelineEntry

_log = logging.getLogger(__name__)

SETTLE_S: Final = 0.5
SETTLE_MAX_S: Final = 3.0
SETTLE_PER_S: Final = 0.01
"""The longer a sleep, the more has to be paged in and set up again: half a second and a hundredth, 3 s at most."""

FORGIVE_EVERY_S: Final = 60.0
"""A machine that wakes every few seconds (dark wakes, a starved VM) must not keep a broken link dialling at full
speed.
"""

PROBES_AT_ONCE: Final = 4
JITTER_S: Final = 0.25
"""The wave after a wake: other programs want the machine, too."""

LONG_SLEEP_S: Final = 60.0
"""NAT routers and remote servers keep an idle connection for minutes; through a nap it is not worth a handshake."""


class Recovery:
    """Give every event to `on_event`; ``rescan`` reads the instances directory now."""

    def __init__(
        self,
        instances: Instances,
        rescan: Callable[[], Awaitable[None]],
        clock: Clock,
        *,
        rng: Random | None = None,
    ) -> None:
        self._instances = instances
        self._rescan = rescan
        self._clock = clock
        self._rng = rng or Random()  # noqa: S311 — jitter, not a secret
        self._slots = asyncio.Semaphore(PROBES_AT_ONCE)
        self._forgave_s = float("-inf")
        self._online = True
        self._running: dict[asyncio.Task[None], None] = {}
        self.timeline = Timeline(clock)

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def on_event(self, event: MachineEvent) -> None:
        """Note it, and begin with what it asks for."""
        entry = self.timeline.note(event)
        match event:
            case ClockSet():
                self.timeline.finished(entry, "nothing: no deadline reads that clock")
            case GoingToSleep():
                self.timeline.finished(entry, "nothing: what is under way goes on after it")
            case Slept(seconds) | Paused(seconds):
                self._settle(seconds)
                self._start(entry, partial(self._recover, entry, seconds))
            case NetworkChanged():
                self._start(entry, partial(self._follow_network, entry, event))

    def _start(self, entry: TimelineEntry, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.ensure_future(self._carried_out(entry, work))
        self._running[task] = None
        task.add_done_callback(self._running.pop)

    async def _carried_out(self, entry: TimelineEntry, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 — the barrier: otherwise the hub would settle for ever
            _log.exception("the work after a wake or a network change has failed")
            self.timeline.finished(entry, f"failed: {error}")

    # A wake, or a pause.

    def _settle(self, seconds: float) -> None:
        settle_s = min(SETTLE_MAX_S, SETTLE_S + seconds * SETTLE_PER_S)
        now_s = self._clock.awake()
        forgive = now_s - self._forgave_s >= FORGIVE_EVERY_S
        if forgive:
            self._forgave_s = now_s
        for link in self._links():
            link.settle(settle_s, forgive=forgive)

    async def _recover(self, entry: TimelineEntry, seconds: float) -> None:
        await self._rescan()
        links = [link for link in self._links() if self._online or link.target.is_local]
        if seconds > LONG_SLEEP_S:
            for link in links:
                if not link.target.is_local:
                    link.connections.drop_idle()
        await self._check(links)
        self.timeline.finished(entry, f"scanned the directory; {_outcome(links)}")

    # The network.

    async def _follow_network(self, entry: TimelineEntry, event: NetworkChanged) -> None:
        """Loopback does not care for routes, nor the outside for loopback."""
        self._online = event.online
        links = self._links()
        remote = [link for link in links if not link.target.is_local]
        if not event.online:
            for link in remote:
                link.go_offline()
        concerned = [link for link in links if (event.loopback if link.target.is_local else event.online)]
        await self._check(concerned)
        paused = "" if event.online or not remote else f"; {len(remote)} remote ones are not probed while offline"
        self.timeline.finished(entry, _outcome(concerned) + paused)

    # The wave.

    def _links(self) -> list[Link]:
        return [entry.robust for entry in self._instances if entry.robust is not None and not entry.is_gone]

    async def _check(self, links: Sequence[Link]) -> None:
        async def one(link: Link) -> None:
            await asyncio.sleep(self._rng.uniform(0, JITTER_S))
            async with self._slots:
                await link.check()

        await asyncio.gather(*map(one, links))


def _outcome(links: Sequence[Link]) -> str:
    """In words: how the links stand."""
    if not links:
        return "no link to probe"
    states = Counter(link.state.shown for link in links)
    shown = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"probed {len(links)} {'link' if len(links) == 1 else 'links'}: {shown}"
