"""One link: the task that owns it, writes its state, and keeps asking whether its instance is (still) itself.

Theory of operation: `run` is the only writer of the state. Whoever learns something (a record changed, the owner died,
a connection was lost, a call waits) leaves an order or wakes `run`; nobody else decides. What calls do with a link
stands in `caller`.

A probe has a connection of its own, because only that tells a stopped instance (the kernel accepts, nobody answers)
from a cut path (not even that) and from a slow call (the probe is answered). A connected probe stays open while
it is unanswered: a stopped instance answers it in the moment it goes on.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from brummer.core.errors import (
    ConnectionClosed,
    ConnectionRefused,
    ConnectionReset,
    Shortage,
    TimedOut,
    TransportError,
    Unreachable,
)
from brummer.core.events import Hook
from brummer.core.lost_calls import RECONNECT_CAP_S
from brummer.host.real_system import REAL
from brummer.host.system import System
from brummer.link import backoff
from brummer.link.breaker import Breaker
from brummer.link.budget import Budget, Purpose
from brummer.link.call import Call
from brummer.link.connections import Connections
from brummer.link.errors import COME_BACK_S, Impostor, RateLimited, Refused
from brummer.link.health import REMOTE_WAVE_S, WAVE_S, Health
from brummer.link.opening import Opening, Probe
from brummer.link.parking import Parking
from brummer.link.peer import Condition, Peer
from brummer.link.state import Event, State, next_state, standing
from brummer.link.target import ServerFull
from brummer.settings.limits import DEFAULTS, Limits
from brummer.wire.http.connection import HttpConnection, Reservations

_log = logging.getLogger(__name__)

HISTORY: Final = 64
AFTER_DEFECT_S: Final = 1.0
"""So that a defect that comes back at once fills neither the log nor a core."""


_OVER_A_PATH_THAT_WORKS: Final = (ConnectionReset, ConnectionClosed, ServerFull)


@dataclass(frozen=True, slots=True)
class Transition:
    """``at_s`` is loop time; ``reason`` is one sentence for people."""

    instance_id: str
    at_s: float
    before: State
    event: Event
    after: State
    reason: str


class Link:
    """The hub's relation to one instance. Await `run` in a task of its own, for as long as the link shall live."""

    def __init__(
        self,
        target: Peer,
        *,
        limits: Limits = DEFAULTS,
        rng: Random | None = None,
        transitions: Hook[Transition] | None = None,
        budget: Budget | None = None,
        reservations: Reservations | None = None,
        system: System = REAL,
    ) -> None:
        """``transitions`` is told of every transition, when the link is already in its new state.

        ``budget``: for the connections of all links together. ``reservations``: for large answers, in memory.
        """
        self._loop = asyncio.get_running_loop()
        self._elapsed = elapsed = system.clock.elapsed
        self._rng = rng or system.random
        self.target = target
        self.state = State.DISCOVERED
        self.since_s = self._loop.time()
        self._elapsed_since_s = self._unready_since_s = elapsed()
        self.last_error: TransportError | None = None
        self.attempts = 0
        self.next_dial_s: float | None = None
        self.history: deque[Transition] = deque(maxlen=HISTORY)
        self._transitions: Hook[Transition] = transitions or Hook()
        self.health = Health(target.patience_s)
        self.breaker = Breaker()
        self.parking = Parking()
        self.connections = Connections(
            lambda: self.target, self._on_connection_closed, limits, budget, reservations, system
        )
        self.connections.on_left = self._look_once
        self._is_offline = False
        self._path_was_cut = False
        self._looks_at_s = 0.0
        self._settles_until_s = float("-inf")
        self._look_is_due = False
        self._told = asyncio.Event()
        self._has_ended = False
        self._probe: Probe | None = None
        self._orders: deque[tuple[Event, Peer | None, str]] = deque()
        self._woken = asyncio.Event()
        self._moved = asyncio.Event()
        self.on_gone: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"<Link {self.target.instance_id} {self.state.value} {self.connections.calls.connections}>"

    @property
    def is_failing(self) -> bool:
        """Whether it was tried in vain and nobody knows why; an impostor, and an end, are known."""
        return self.standing in (State.SUSPECT, State.RETRYING)

    @property
    def standing(self) -> State:
        """See `state.standing`."""
        return standing(self.state, self.attempts, self.last_error.code if self.last_error else None)

    @property
    def unready_s(self) -> float:
        """For how long it has not been ready; 0 while it is."""
        return 0.0 if self.state is State.READY else self._elapsed() - self._unready_since_s

    @property
    def path_is_cut(self) -> bool:
        """Whether connections are not even refused: no program does that, but what lies in between."""
        if self.standing is State.RETRYING:
            return isinstance(self.last_error, TimedOut | Unreachable)
        return self.state is State.SUSPECT and self._path_was_cut

    # What others tell the link.

    def retarget(self, target: Peer, reason: str) -> None:
        """A new or changed record; revives a link whose instance was gone."""
        self._order(Event.RECORD_CHANGED, target, reason)

    def owner_gone(self, reason: str) -> None:
        """The instance's end was proven."""
        self._order(Event.OWNER_GONE, None, reason)

    def hint(self) -> None:
        """Something changed, or somebody waits: look now."""
        self._woken.set()

    def settle(self, seconds: float, *, forgive: bool) -> None:
        """We were away. For so long nothing is held against the instance; ``forgive`` what was until now."""
        self._settles_until_s = self._loop.time() + seconds
        if forgive:
            self.attempts = 0
            self.health.forgive()

    def rest(self) -> None:
        """Nothing can reach it now, and it is no fault of its own: it is not asked until somebody calls `look`."""
        self._is_offline = True
        self._woken.set()

    @property
    def is_settling(self) -> bool:
        """Whether a failure says nothing, because we were away a moment ago."""
        return self._loop.time() < self._settles_until_s

    async def look(self) -> None:
        """Ask now whether it is there and itself; returns when that is known, or known to take long."""
        self._is_offline = False
        if self._has_ended or self.state in (State.GONE, State.INCOMPATIBLE):
            return
        self._told.clear()
        self._look_is_due = True
        self._woken.set()
        await self._told.wait()

    def call_sent(self, now_s: float) -> None:
        """A call is under way: if it stays silent, look sooner than at the next wave."""
        if self._looks_at_s > now_s + self.health.interval_s:
            self._looks_at_s = 0.0
            self._woken.set()

    def call_answered(self, took_s: float | None) -> None:
        """Proof of life, as good as a probe's. ``took_s`` is None where it says nothing of the link."""
        self.health.answered(self._loop.time(), took_s)
        if self.state is State.SUSPECT:
            self._woken.set()

    def distrust(self, error: TransportError) -> None:
        """A connection failed under a call: what else is open is as good as lost, and the task must look."""
        self.last_error = error
        self.connections.distrust()
        self._woken.set()

    def _order(self, event: Event, target: Peer | None, reason: str) -> None:
        self._orders.append((event, target, reason))
        self._woken.set()

    async def settled(self) -> None:
        """Return once the first word on this instance is in: it is ready, or it is known why not."""
        while self.state in (State.DISCOVERED, State.CONNECTING):
            self._moved.clear()
            await self._moved.wait()

    # The one task.

    async def run(self) -> None:
        """Keep the link; ends by cancellation only, and leaves no connection open."""
        self._has_ended = False
        try:
            while True:
                try:
                    await self._turn()
                except Exception:  # noqa: BLE001 — the barrier: a defect may cost one turn, never the link
                    _log.exception("%s: a defect", self.target.instance_id)
                    self._order(Event.FAILED_INSIDE, None, "an internal error of the hub; its log has the traceback")
                    await asyncio.sleep(AFTER_DEFECT_S)
        finally:
            self._has_ended = True
            self._told.set()
            await self._end_probe()
            self._close_connections()

    async def _turn(self) -> None:
        self._take_orders()
        match self.state:
            case State.GONE | State.INCOMPATIBLE:
                await self._wake(None)
            case State.READY | State.SUSPECT:
                await self._watch()
            case _:
                await self._dial()

    def _take_orders(self) -> None:
        self._woken.clear()
        while self._orders:
            event, target, reason = self._orders.popleft()
            if self.state is State.GONE and event is not Event.RECORD_CHANGED:
                continue  # its end was proven; only a new record can change that
            self._apply(event, reason)
            if target is not None:
                self._aim_at(target)
            self._close_connections()
            if event is Event.OWNER_GONE:
                self.on_gone()

    def _aim_at(self, target: Peer) -> None:
        self.target = target
        self.attempts = 0
        self.health.forgive()
        if not target.is_compatible:
            self._apply(Event.SPOKE_NOTHING_WE_KNOW, f"it speaks {', '.join(target.protocols) or 'nothing'}")

    async def _dial(self) -> None:
        if self.state is State.DISCOVERED and not self.target.is_compatible:
            self._apply(Event.SPOKE_NOTHING_WE_KNOW, f"it speaks {', '.join(self.target.protocols) or 'nothing'}")
            return
        self._look_is_due = False
        self._apply(Event.DIALLED, f"attempt {self.attempts + 1}")
        try:
            opening = Opening(self.connections.open_within(self.health.probe_deadline_s()), self._woken.set)
            connection = await self._unless_ordered(opening)
        except TransportError as error:
            await self._dial_failed(error)
        else:
            if connection is not None:
                self.connections.add(connection)
                self._became_ready(Event.PROVEN, "identity proven")

    async def _dial_failed(self, error: TransportError) -> None:
        self.attempts += 1
        self.last_error = error
        self.health.failed()
        delay_s = backoff.delay_s(self.attempts, self._rng, self._backoff_cap_s())
        stranger = isinstance(error, Impostor)
        self._apply(Event.STRANGER_ANSWERED if stranger else Event.FAILED, error.message)
        self._told.set()
        if self._is_offline:
            await self._wake(None)
        elif isinstance(error, Refused):
            await self._stay_away(error, max(delay_s, error.retry_after_s or 0.0))
        else:
            await self._wait_to_dial(delay_s)

    async def _wait_to_dial(self, delay_s: float) -> None:
        self.next_dial_s = self._loop.time() + delay_s
        await self._wake(delay_s)
        self.next_dial_s = None

    async def _stay_away(self, refusal: Refused, delay_s: float) -> None:
        """Wait for the next dial. A waiting call makes it earlier, but not before the time that the server has set."""
        now_s = self._loop.time()
        closed_until_s = now_s + (refusal.retry_after_s or 0.0)
        self.next_dial_s = now_s + delay_s
        while True:
            self.parking.fail(partial(_refused, refusal, max(0.0, closed_until_s - self._loop.time())))
            was_woken = await self._wake(self.next_dial_s - self._loop.time())
            if not was_woken or self._orders or self._loop.time() >= closed_until_s:
                break
            self._woken.clear()
            self._told.set()
        self.next_dial_s = None

    def _backoff_cap_s(self) -> float:
        if isinstance(self.last_error, Refused) and not self.parking:
            return backoff.REFUSED_CAP_S
        if isinstance(self.last_error, Shortage):  # then the process may be hidden from us, too
            return backoff.LOCAL_CAP_S
        return RECONNECT_CAP_S if self.condition in ("unknown", "gone") else backoff.LOCAL_CAP_S

    def _became_ready(self, event: Event, reason: str) -> None:
        self._path_was_cut = False
        self.health.answered(self._loop.time())
        self.health.forgive()
        self.breaker.succeeded()
        self._apply(event, reason)
        self.parking.release()
        self._told.set()

    # While it is up: watch.

    async def _watch(self) -> None:
        """One turn of watching: until something happens, or a probe is due, or one is answered."""
        if self.state is State.READY and self.connections.are_lost:
            await self._lost()
            return
        if self.state is State.SUSPECT and self.health.last_proof_s > self.since_s and not self._path_was_cut:
            # On a path that was cut it only says that answers still come through: requests need not.
            self._became_ready(Event.PROBE_ANSWERED, "a call was answered")
        if self._probe is not None:
            await self._await_probe(self._probe)
            return
        began_s = self._loop.time()
        self._looks_at_s = due_s = self._probe_due_s()
        if await self._wake(due_s - began_s):
            return
        self.health.fired(self._loop.time() - due_s)
        if self.state is State.READY and self.health.last_proof_s > began_s:
            return  # answered calls have proved it alive meanwhile
        self._look_is_due = False
        self._probe = Probe(self.connections, self.health, self._woken.set)

    def _probe_due_s(self) -> float:
        if self._look_is_due:
            return self._loop.time()
        if self._is_offline:
            return math.inf
        return self.health.next_probe_s(
            self._loop.time(),
            suspect=self.state is State.SUSPECT or len(self.parking) > 0,  # who waits could not get a connection
            silent_calls=self.connections.in_use,
            wave_s=WAVE_S if self.target.is_local else REMOTE_WAVE_S,
        )

    async def _lost(self) -> None:
        """Dial again at once if the connection had held; one that comes and goes is dialled ever more slowly."""
        held_s = self._loop.time() - self.since_s
        self._apply(Event.CONNECTION_LOST, self.last_error.message if self.last_error else "connection lost")
        self.attempts = 0 if held_s >= backoff.STABLE_S else self.attempts + 1
        if self.attempts > 1:
            await self._wait_to_dial(backoff.delay_s(self.attempts, self._rng, self._backoff_cap_s()))

    async def _await_probe(self, probe: Probe) -> None:
        """Wait for the running probe; past its deadline the link is suspect, but the question stays open."""
        due_s = probe.due_s  # whatever else wakes us meanwhile, it stays there
        if not probe.is_over:
            await self._wake(due_s - self._loop.time())
        if probe.is_over:
            self._probe = None
            self._probe_ended(probe)
        elif not self._orders and (late_s := self._loop.time() - due_s) >= 0:
            self.health.fired(late_s)  # late ourselves: the answer may wait in a socket that we have not read yet
            self._unanswered("connected, but the identity probe is not answered")
            probe.goes_on()
            if self.connections.budget.is_waited_for(Purpose.OWN):  # a stopped instance keeps its place for hours
                await self._end_probe()

    def _probe_ended(self, probe: Probe) -> None:
        asked_s = self.health.last_asked_s
        try:
            connection = probe.result()
        except TransportError as error:
            self._probe_failed(error)
        else:
            self._probe_answered(connection, self._loop.time() - asked_s)

    def _probe_answered(self, connection: HttpConnection, took_s: float) -> None:
        if self._path_was_cut:  # the old connections may take the kernel minutes to recover: this one works now
            self._close_connections()
            self.connections.add(connection)
            self._path_was_cut = False
        else:
            connection.close()
        self.health.answered(self._loop.time(), took_s)
        if self.state is State.SUSPECT:
            self._became_ready(Event.PROBE_ANSWERED, "it answers again")
        else:
            self.parking.release()
            self._told.set()

    def _probe_failed(self, error: TransportError) -> None:
        self.last_error = error
        if isinstance(error, RateLimited):
            self._rate_limited(error)
            return
        if isinstance(error, Shortage):
            self._told.set()
            return
        if isinstance(error, Impostor):
            self._close_connections()
            self._apply(Event.STRANGER_ANSWERED, error.message)
        elif isinstance(error, Refused):
            self.connections.drop_idle()  # calls under way may still be answered
            self._apply(Event.CONNECTION_LOST, error.message)
        elif isinstance(error, ConnectionRefused) and self.state is State.SUSPECT and self.connections.calls.size == 0:
            self._apply(Event.CONNECTION_LOST, error.message)
        else:
            if not isinstance(error, _OVER_A_PATH_THAT_WORKS):
                self._path_was_cut = True
            self._unanswered(error.message)

    def _rate_limited(self, error: RateLimited) -> None:
        """The server answers, so it is there; each call finds out itself whether it is served."""
        self.health.answered(self._loop.time())
        if self.state is State.SUSPECT:
            self._became_ready(Event.PROBE_ANSWERED, error.message)
        else:
            self.parking.release()
            self._told.set()

    def _unanswered(self, reason: str) -> None:
        """Accuse nobody while we are late ourselves, or were away a moment ago."""
        self._told.set()
        if not self.health.is_self_healthy:
            self.health.fired(0.0)
            return
        if self.is_settling:
            return
        self.health.failed()
        condition = self.condition
        if self.state is not State.SUSPECT or not self.history[-1].reason.startswith(condition):
            self._apply(Event.PROBE_UNANSWERED, f"{condition}: {reason}")

    @property
    def condition(self) -> Condition:
        """What the instance's process does, as far as it can be seen now."""
        return self.target.condition()

    async def _unless_ordered(self, opening: Opening) -> HttpConnection | None:
        """The opened connection, or None when orders came first: then the target may not be the target any more."""
        try:
            while not opening.is_over and not self._orders:
                self._woken.clear()
                await self._woken.wait()
        except asyncio.CancelledError:
            await opening.end()
            raise
        if self._orders:
            await opening.end()
            return None
        self._woken.clear()  # whoever asked to dial has been obeyed
        return opening.result()

    def _look_once(self) -> None:
        self._look_is_due = True

    def _on_connection_closed(self) -> None:
        if self.state in (State.READY, State.SUSPECT):
            self._woken.set()

    def _close_connections(self) -> None:
        self.connections.close()
        if self._probe is not None:
            self._probe.drop()
            self._probe = None

    async def _end_probe(self) -> None:
        if self._probe is not None:
            await self._probe.end()
            self._probe = None

    # Small things.

    async def _wake(self, timeout_s: float | None) -> bool:
        """Wait to be woken; False when the time was over first."""
        try:
            async with asyncio.timeout(None if timeout_s is None or math.isinf(timeout_s) else timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True

    def _apply(self, event: Event, reason: str) -> None:
        before, self.state = self.state, next_state(self.state, event)
        now = self._loop.time()
        if self.state is not before:
            self.since_s, self._elapsed_since_s = now, self._elapsed()
            self._moved.set()
            if before is State.READY:
                self._unready_since_s = self._elapsed_since_s
        if self.state in (State.GONE, State.INCOMPATIBLE, State.IMPOSTOR):
            self._told.set()
        transition = Transition(self.target.instance_id, now, before, event, self.state, reason)
        self.history.append(transition)
        self._transitions.publish(transition)

    def status(self) -> dict[str, Any]:
        """JSON-compatible: state, since, last error, attempts, next retry, breaker, quality, connections, calls."""
        now = self._loop.time()
        oldest = self.connections.oldest
        return {
            "instance_id": self.target.instance_id,
            "state": self.state.value,
            "since_s": round(self._elapsed() - self._elapsed_since_s, 3),
            "reason": self.history[-1].reason if self.history else "seen in the instances directory",
            "condition": self.condition,
            "last_error": self.last_error and {"code": self.last_error.code, "message": self.last_error.message},
            "attempts": self.attempts,
            "next_retry_s": None if self.next_dial_s is None else round(max(0.0, self.next_dial_s - now), 3),
            "breaker": self.breaker.state(now),
            "quality": round(self.health.quality, 3),
            "rtt_ms": _ms(self.health.rtt_s),
            "latency_ms": {f"p{percent}": _ms(self.health.latency_s(percent)) for percent in (50, 90, 99)},
            "connections": self.connections.size,
            "connection_age_s": oldest and round(self._elapsed() - oldest.opened_at, 3),
            "local_port": oldest and oldest.local_port,
            "dials": self.connections.dials,
            "in_flight": self.connections.busy,
            "parked": len(self.parking),
        }


def _refused(refusal: Refused, closed_s: float, call: Call) -> Refused | None:
    """The refusal for a call that waits for a server which refuses for ``closed_s`` more; None while it may wait.

    A call that may have run does not get the refusal.
    """
    waits = refusal.transient and closed_s <= min(COME_BACK_S, call.deadline_s)
    return None if waits or call.was_sent else refusal.after(round(closed_s, 3) or None)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
