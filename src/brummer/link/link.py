"""One link: the task that owns it, moves its state, and keeps checking that its peer is there and (still) itself.

Theory of operation: `run` is the only task that calls `apply`. What others learn (a record changed, the owner ended)
goes into one mailbox; a hint, a wake or a failed connection only makes the task go on sooner, and it decides. Which
other machines decide with the state table is in the header of `link/state.py`. What calls do with a link is in
`brummer.calls`.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from brummer.core.errors import (
    ConnectionClosed,
    ConnectionRefused,
    ConnectionReset,
    Shortage,
    TimedOut,
    TransportError,
    Unreachable,
    is_own_fault,
)
from brummer.core.events import Hook
from brummer.host.real_system import REAL
from brummer.host.system import System
from brummer.link import failures
from brummer.link.dialler import LinkDialler
from brummer.link.errors import Impostor, RateLimited, Refused, ServerFull
from brummer.link.failures import Breaker
from brummer.link.parking import Parking
from brummer.link.peer import OTHER_NETWORK, Condition, Peer
from brummer.link.prober import Health, Probe, Prober
from brummer.link.state import AT_REST, ENDED, WATCHED, BaseLink, LinkEvent, LinkState, Transition
from brummer.link.status import LinkStatus, status_of
from brummer.pool.connections import Connections, Dial
from brummer.pool.pool import Pool
from brummer.wire.http.connection import HttpConnection, Reservations

_log = logging.getLogger(__name__)

AFTER_DEFECT_S: Final = 1.0
"""So that a defect that comes back at once fills neither the log nor a core."""


class LinkMessage(msgspec.Struct, frozen=True):
    """``event`` has happened. ``target``: the peer of a new record."""

    event: LinkEvent
    reason: str
    target: Peer | None = None


class Mailbox:
    """A message wakes the task. So does `wake`, without a message: something may have changed, and the task checks."""

    def __init__(self) -> None:
        self._messages: deque[LinkMessage] = deque()
        self._woken = asyncio.Event()
        self.wake = self._woken.set
        self.acknowledge = self._woken.clear
        """What woke the task until now is done."""

    def __bool__(self) -> bool:
        return bool(self._messages)

    def post(self, event: LinkEvent, reason: str, target: Peer | None = None) -> None:
        self._messages.append(LinkMessage(event, reason, target))
        self.wake()

    def take(self) -> LinkMessage:
        """The oldest message."""
        return self._messages.popleft()

    async def wait(self, timeout_s: float = math.inf) -> bool:
        """Wait to be woken; False if the time was over first."""
        try:
            async with asyncio.timeout(None if math.isinf(timeout_s) else timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True


class Link(BaseLink):
    """The hub's relation to one peer. Await `run` in a task of its own, for as long as the link shall live."""

    def __init__(
        self,
        target: Peer,
        *,
        transitions: Hook[Transition] | None = None,
        pool: Pool | None = None,
        reservations: Reservations | None = None,
        health: Health | None = None,
        system: System = REAL,
    ) -> None:
        """``pool``: of all links. ``reservations``: memory for large answers."""
        super().__init__(target, transitions, system)
        self._rng = system.random
        self.attempts = 0
        self.next_dial_s: float | None = None
        self.health = health or Health(target.patience_s)
        self.breaker = Breaker()
        self.parking = Parking()
        pool = pool or Pool()
        dialler = LinkDialler(lambda: self.target, pool.limits.reply_bytes, reservations, system)
        self.connections = Connections(pool, target.instance_id, dialler, self._on_connection_closed)
        self._mailbox = Mailbox()
        self.prober = Prober(self.connections, self.health, self._mailbox.wake)
        self.connections.on_left = self.prober.want
        self._settles_until_s = -math.inf
        self._suspected: Condition | None = None
        """What its process did when it was last reported as suspect."""
        self._has_ended = False
        self.on_gone: Callable[[], None] = lambda: None
        self.on_suspect: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"<Link {self.target.instance_id} {self.state.value} {self.connections.all}>"

    # What others tell the link.

    def retarget(self, target: Peer, reason: str) -> None:
        """A new or changed record; it revives a link whose peer was gone."""
        self._mailbox.post(LinkEvent.RECORD_CHANGED, reason, target)

    def owner_gone(self, reason: str, *, withdrew: bool = False) -> None:
        """The peer's end is proven. ``withdrew``: it has ended itself in good order."""
        self._mailbox.post(LinkEvent.OWNER_WITHDREW if withdrew else LinkEvent.OWNER_GONE, reason)

    def hint(self) -> None:
        """Something changed, or a call waits: dial now."""
        self._mailbox.wake()

    def settle(self, seconds: float, *, forgive: bool) -> None:
        """We did not run. For so long no failure moves the link; ``forgive`` the failures until now."""
        self._settles_until_s = self.loop.time() + seconds
        if forgive:
            self._forgive()

    def go_offline(self) -> None:
        """The network has no way to the peer: do not try until `check`."""
        self.prober.is_online = False
        self._mailbox.wake()

    @property
    def is_settling(self) -> bool:
        """A failure is no verdict, because we did not run a moment ago."""
        return self.loop.time() < self._settles_until_s

    async def check(self) -> None:
        """Probe or dial now; return when the result is known, or known to take long."""
        self.prober.is_online = True
        if not self._has_ended and self.state not in AT_REST:
            await self.prober.check()

    def distrust(self, error: TransportError) -> None:
        """A connection failed under a call, so the others may be lost, too."""
        self.last_error = error
        self.connections.distrust()
        self._mailbox.wake()

    def _on_connection_closed(self) -> None:
        if self.state in WATCHED:
            self._mailbox.wake()

    # The one task.

    async def run(self) -> None:
        """Keep the link. It ends by cancellation only, and then leaves no connection open."""
        self._has_ended = False
        try:
            while True:
                try:
                    await self._take_turn()
                except Exception:  # noqa: BLE001 — the barrier: a defect may cost one turn, never the link
                    _log.exception("%s: a defect", self.target.instance_id)
                    reason = "an internal error of the hub; its log has the traceback"
                    self._mailbox.post(LinkEvent.FAILED_INSIDE, reason)
                    await asyncio.sleep(AFTER_DEFECT_S)
        finally:
            self._has_ended = True
            self.prober.report()
            await self.prober.end()
            self._close_connections()

    async def _take_turn(self) -> None:
        self._read_mailbox()
        if self.state in AT_REST:
            self.prober.report()
            await self._mailbox.wait()
        elif self.state in WATCHED:
            await self._watch()
        else:
            await self._dial()

    def _read_mailbox(self) -> None:
        self._mailbox.acknowledge()
        while self._mailbox:
            message = self._mailbox.take()
            if self.state in ENDED and message.event is not LinkEvent.RECORD_CHANGED:
                continue  # its end is proven; only a new record can change that
            self.apply(message.event, message.reason)
            if message.target is not None:
                self._aim_at(message.target)
            self._close_connections()
            if self.state in ENDED:
                self.on_gone()

    def _aim_at(self, target: Peer) -> None:
        self.target = target
        self.path_is_cut = False
        self._forgive()

    def _forgive(self) -> None:
        self.attempts = 0
        self.health.forgive()

    def _close_connections(self) -> None:
        self.connections.close()
        self.prober.drop()

    # Until it is ready: dial.

    async def _dial(self) -> None:
        if not self.target.is_compatible:
            spoken = ", ".join(self.target.protocols) or "nothing"
            self.apply(LinkEvent.SPOKE_NOTHING_WE_KNOW, f"it speaks {spoken}")
            return
        self.prober.is_wanted = False
        self.apply(LinkEvent.DIALLED, f"attempt {self.attempts + 1}")
        try:
            opening = self.connections.dial(self._mailbox.wake, self.health.probe_deadline_s())
            connection = await self._opened(opening)
        except TransportError as error:
            await self._dial_failed(error)
        else:
            if connection is not None:
                self.connections.add(connection)
                self._became_ready(LinkEvent.PROVEN, "identity proven", self.loop.time() - opening.begun_s)

    async def _opened(self, opening: Dial) -> HttpConnection | None:
        """None when a message came first: the target may not be the target any more."""
        try:
            while not opening.is_over and not self._mailbox:
                self._mailbox.acknowledge()
                await self._mailbox.wait()
        except asyncio.CancelledError:
            await opening.end()
            raise
        if self._mailbox:
            await opening.end()
            return None
        self._mailbox.acknowledge()  # this was the attempt that was asked for
        return opening.result()

    async def _dial_failed(self, error: TransportError) -> None:
        self.attempts += 1
        self.last_error = error
        self.path_is_cut = isinstance(error, TimedOut | Unreachable)
        self.health.failed()
        delay_s = self._backoff_s()
        reason = f"{error.message}; {OTHER_NETWORK}" if self.target.in_other_network else error.message
        self.apply(LinkEvent.STRANGER_ANSWERED if isinstance(error, Impostor) else LinkEvent.FAILED, reason)
        self.prober.report()
        if not self.prober.is_online:
            await self._mailbox.wait()
        elif isinstance(error, Refused):
            await self._stay_away(error, max(delay_s, error.retry_after_s or 0.0))
        else:
            await self._wait_to_dial(delay_s)

    def _backoff_s(self) -> float:
        error = self.last_error
        cap_s = failures.cap_s(
            is_refused=isinstance(error, Refused) and not self.parking,
            is_near=is_own_fault(error) or (self.target.is_near and self.condition != "gone"),
        )
        return failures.delay_s(self.attempts, self._rng, cap_s)

    async def _wait_to_dial(self, delay_s: float) -> None:
        self.next_dial_s = self.loop.time() + delay_s
        await self._mailbox.wait(delay_s)
        self.next_dial_s = None

    async def _stay_away(self, refusal: Refused, delay_s: float) -> None:
        """Wait for the next dial. A waiting call makes it earlier, but not before the time that the server has set."""
        now_s = self.loop.time()
        closed_until_s = now_s + (refusal.retry_after_s or 0.0)
        self.next_dial_s = now_s + delay_s
        while True:
            self.parking.refuse(refusal, max(0.0, closed_until_s - self.loop.time()))
            was_woken = await self._mailbox.wait(self.next_dial_s - self.loop.time())
            if not was_woken or self._mailbox or self.loop.time() >= closed_until_s:
                break
            self._mailbox.acknowledge()
            self.prober.report()
        self.next_dial_s = None

    def _became_ready(self, event: LinkEvent, reason: str, took_s: float | None = None) -> None:
        self.path_is_cut = False
        self.health.answered(self.loop.time(), took_s)
        self.health.forgive()
        self.breaker.succeeded()
        self.apply(event, reason)
        self._report_alive()

    def _report_alive(self) -> None:
        self.parking.release()
        self.prober.report()

    # While it is up: watch.

    async def _watch(self) -> None:
        """One step of watching: until something happens, or a probe is due, or one is answered."""
        if self.state is LinkState.READY and self.connections.are_lost:
            await self._lost()
            return
        if self.state is LinkState.SUSPECT and self.health.last_proof_s > self.since_s and not self.path_is_cut:
            self._became_ready(LinkEvent.PROBE_ANSWERED, "a call was answered")
        if self.prober.probe is None:
            await self._wait_to_probe()
        else:
            await self._await_probe(self.prober.probe)

    async def _lost(self) -> None:
        """Dial again at once if the connection had held; one that comes and goes is dialled ever more slowly."""
        held_s = self.loop.time() - self.since_s
        self.apply(LinkEvent.CONNECTION_LOST, self.last_error.message if self.last_error else "connection lost")
        self.attempts = 0 if held_s >= failures.STABLE_S else self.attempts + 1
        if self.attempts > 1:
            await self._wait_to_dial(self._backoff_s())

    async def _wait_to_probe(self) -> None:
        is_suspect = self.state is LinkState.SUSPECT or len(self.parking) > 0  # they could not get a connection
        began_s = self.loop.time()
        due_s = self.prober.due_s(suspect=is_suspect, is_local=self.target.is_local)
        if await self._mailbox.wait(due_s - began_s):
            return
        self.health.fired(self.loop.time() - due_s)
        if (
            self.state is LinkState.SUSPECT or self.health.last_proof_s <= began_s
        ):  # no answered call has proved it alive
            self.prober.send()

    async def _await_probe(self, probe: Probe) -> None:
        """Wait for the probe; past its deadline the link is suspect, but the question stays open."""
        due_s = probe.due_s  # whatever else wakes us meanwhile, it stays there
        if not probe.is_over:
            await self._mailbox.wait(due_s - self.loop.time())
        if probe.is_over:
            self.prober.probe = None
            self._probe_ended(probe)
        elif not self._mailbox and (late_s := self.loop.time() - due_s) >= 0:
            self.health.fired(late_s)  # late ourselves: the answer may wait in a socket that we have not read yet
            self._unanswered("connected, but the identity probe is not answered")
            await self.prober.extend_deadline(probe)

    def _probe_ended(self, probe: Probe) -> None:
        asked_s = self.health.last_asked_s
        try:
            connection = probe.result()
        except TransportError as error:
            self._probe_failed(error)
        else:
            self._probe_answered(connection, self.loop.time() - asked_s)

    def _probe_answered(self, connection: HttpConnection, took_s: float) -> None:
        if self.path_is_cut:  # the old connections may take the kernel minutes to recover: this one works now
            self._close_connections()
            self.connections.add(connection)
            self.path_is_cut = False
        else:
            connection.close()
        self._is_alive("it answers again", took_s)

    def _is_alive(self, reason: str, took_s: float | None = None) -> None:
        self.health.answered(self.loop.time(), took_s)
        if self.state is LinkState.SUSPECT:
            self._became_ready(LinkEvent.PROBE_ANSWERED, reason)
        else:
            self._report_alive()

    def _probe_failed(self, error: TransportError) -> None:
        self.last_error = error
        match error:
            case RateLimited():  # it answers; whether it serves, each call finds out
                self._is_alive(error.message)
            case Shortage():
                self.prober.report()
            case Impostor():
                self._close_connections()
                self.apply(LinkEvent.STRANGER_ANSWERED, error.message)
                self.prober.report()
            case Refused():
                self.connections.drop_idle()  # calls under way may still be answered
                self.apply(LinkEvent.CONNECTION_LOST, error.message)
            case ConnectionRefused() if self.state is LinkState.SUSPECT and self.connections.size == 0:
                self.apply(LinkEvent.CONNECTION_LOST, error.message)
            case ConnectionReset() | ConnectionClosed() | ServerFull():  # the path works
                self._unanswered(error.message)
            case _:
                self.path_is_cut = True
                self._unanswered(error.message)

    def _unanswered(self, reason: str) -> None:
        """It moves the link to SUSPECT, unless we are late ourselves, or did not run a moment ago."""
        self.prober.report()
        if not self.health.is_self_healthy:
            self.health.fired(0.0)
            return
        if self.is_settling:
            return
        self.health.failed()
        condition = self.condition
        if self.state is not LinkState.SUSPECT or condition != self._suspected:
            self._suspected = condition
            self.apply(LinkEvent.PROBE_UNANSWERED, f"{condition}: {reason}")
            self.on_suspect()

    def status(self) -> LinkStatus:
        """It samples the peer's process."""
        return status_of(self)
