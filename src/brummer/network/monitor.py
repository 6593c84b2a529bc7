"""Reads the clocks and the network, and reports events: `wake` and `snapshot` decide what happened.

Theory of operation: hints from the system cause a check. They may be missing, late or without reason, so a heartbeat
causes one, too. After a hint from the network we wait for a moment, because a change
of it comes as a burst of messages. Nothing here is a verdict on any link.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from brummer.core.clock import Clock
from brummer.core.errors import BrummerError
from brummer.core.supervisor import Supervisor
from brummer.host import clocks, interfaces
from brummer.network.snapshot import Snapshot, differences
from brummer.network.wake import GoingToSleep, Wake, WakeDetector

BEAT_S: Final = 5.0
"""A change without a hint is found this late; 0.2 wakeups a second."""

DEBOUNCE_S: Final = 0.25
"""From the first message of a burst; making a container sends some ten of them within 0.1 s."""

REACH_S: Final = 2.0
"""How long an endpoint may take to answer before it does not count as reached."""

REACH_EVERY_S: Final = 30.0
"""How often endpoints are asked while nothing changes; only if there are any."""


_ASSUMED: Final = Snapshot(("unknown", None))
"""Until the network can be seen for the first time it counts as online: calls find out soon if it is not."""


class NetworkChanged(msgspec.Struct, frozen=True):
    """``reasons`` in words; ``online`` and ``loopback`` as they are now."""

    reasons: tuple[str, ...]
    online: bool
    loopback: bool
    kind: str = "network"


class NoHints(BrummerError):
    """The system does not report changes, so only the heartbeat finds them."""

    code = "no_hints"

    def __init__(self, of: str, error: OSError) -> None:
        super().__init__(f"no hints from the {of}, so it is only checked every {BEAT_S:g} s: {error}")


MachineEvent = Wake | GoingToSleep | NetworkChanged
Endpoint = tuple[str, int]


def snapshot() -> Snapshot:
    """The network of this machine now; some 50 µs."""
    return Snapshot(interfaces.default_sources(), interfaces.carrier(), interfaces.loopback_is_up())


class Sources(msgspec.Struct, frozen=True):
    """What the monitor reads; tests pass others. The watches raise OSError where the system refuses them."""

    clock: Clock = clocks
    snapshot: Callable[[], Snapshot] = snapshot
    """Raises OSError while the network can't be read."""
    watch_clocks: Callable[..., Any] = clocks.watch_clocks
    watch_network: Callable[..., Any] = interfaces.watch_network


class Monitor:
    """Call `start`. ``endpoints``: being online means that one of them takes a connection."""

    def __init__(
        self,
        on_event: Callable[[MachineEvent], None],
        *,
        sources: Sources | None = None,
        endpoints: Sequence[Endpoint] = (),
        on_beat: Callable[[float], object] = lambda _: None,
    ) -> None:
        """``on_beat`` is called with the loop's time at every heartbeat: other periodic checks need no timer."""
        self._on_beat = on_beat
        self._on_event = on_event
        self._sources = sources or Sources()
        self._endpoints = endpoints
        self._loop = asyncio.get_running_loop()
        self._detector = WakeDetector(self._sources.clock.reading())
        self._network = _ASSUMED
        self._network = self._snapshot()
        self._reached: bool | None = None
        self._asked_s = float("-inf")
        self._reaching: asyncio.Task[None] | None = None
        self._debounce: asyncio.TimerHandle | None = None
        self.watches: list[str] = []
        """The sources of hints that work; the heartbeat finds the rest."""

    @property
    def is_online(self) -> bool:
        """Whether the outside can be reached: endpoints decide, if there are any, else routes and carrier."""
        return self._network.is_online if self._reached is None else self._reached

    def start(self, supervisor: Supervisor) -> None:
        """Watch until the supervisor is closed."""
        clocks_hint = partial(self._hints, "clocks", self._sources.watch_clocks, self.check_clocks)
        network_hint = partial(self._hints, "network", self._sources.watch_network, self._on_network_hint)
        supervisor.start("heartbeat", self._beat)
        supervisor.start("hints of the clocks", clocks_hint)
        supervisor.start("hints of the network", network_hint)

    async def _hints(self, name: str, watch: Callable[..., Any], on_hint: Callable[[], None]) -> None:
        """Raises NoHints if there are none, or no more."""
        failed: asyncio.Future[None] = self._loop.create_future()

        def on_failed(error: OSError) -> None:
            if not failed.done():
                failed.set_exception(error)

        try:
            opened = watch(self._loop, on_hint, on_failed)
        except OSError as error:
            raise NoHints(name, error) from error
        self.watches.append(name)
        try:
            await failed
        except OSError as error:
            raise NoHints(name, error) from error
        finally:
            self.watches.remove(name)
            opened.close()

    async def _beat(self) -> None:
        """Make every check, even if another fails. Raises the error of the first that failed."""
        try:
            while True:
                due_s = self._loop.time() + BEAT_S
                await asyncio.sleep(BEAT_S)
                late_s, failures = self._loop.time() - due_s, []
                for check in (
                    partial(self.check_clocks, late_s),
                    self._check_network,
                    partial(self._on_beat, self._loop.time()),
                ):
                    try:
                        check()
                    except Exception as error:  # noqa: BLE001 — raised below
                        failures.append(error)
                if failures:
                    raise failures[0]
        finally:
            for timer in (self._debounce, self._reaching):
                if timer is not None:
                    timer.cancel()
            self._debounce = None

    # Clocks.

    def check_clocks(self, late_s: float = 0.0) -> None:
        """One of them may have jumped. ``late_s``: how late the heartbeat came."""
        wake = self._detector.compare(self._sources.clock.reading(), late_s)
        if wake is not None:
            self._on_event(wake)

    # The network.

    def _on_network_hint(self) -> None:
        if self._debounce is None:
            self._debounce = self._loop.call_later(DEBOUNCE_S, self._after_debounce)

    def _after_debounce(self) -> None:
        self._debounce = None
        self._check_network()

    def _snapshot(self) -> Snapshot:
        """The last one while a shortage of descriptors or memory hides the network."""
        try:
            return self._sources.snapshot()
        except OSError:
            return self._network

    def _check_network(self) -> None:
        before, self._network = self._network, self._snapshot()
        reasons = differences(before, self._network)
        if reasons:
            self._report(reasons)
        is_due = reasons or self._loop.time() - self._asked_s >= REACH_EVERY_S
        if self._endpoints and is_due:
            if self._reaching is not None:
                self._reaching.cancel()  # its answer would be about a network that is no more
            self._asked_s = self._loop.time()
            self._reaching = self._loop.create_task(self._reach(), name="reach endpoints")

    def _report(self, reasons: tuple[str, ...]) -> None:
        self._on_event(NetworkChanged(reasons, self.is_online, self._network.loopback))

    async def _reach(self) -> None:
        """Whether any endpoint accepts a connection; reports a change."""
        tries = [asyncio.ensure_future(_takes_connection(endpoint)) for endpoint in self._endpoints]
        try:
            reached = False
            for each in asyncio.as_completed(tries):
                reached = reached or await each
                if reached:
                    break
        finally:
            for each in tries:
                each.cancel()
            await asyncio.gather(*tries, return_exceptions=True)
        before, self._reached = self._reached, reached
        if reached != (self._network.is_online if before is None else before):
            self._report(("an endpoint answers" if reached else "no endpoint answers",))


async def _takes_connection(endpoint: Endpoint) -> bool:
    try:
        async with asyncio.timeout(REACH_S):
            _, writer = await asyncio.open_connection(*endpoint)
    except (OSError, ValueError):  # a name that is none is a ValueError
        return False
    writer.close()
    return True
