"""The states of a link, and the events that move it, as one literal table. `next_state` applies it.

A link is several machines. This table is the first; the others have two states or a counter each, and one owner:

1. **State**: what the link knows of its peer. Stored in `BaseLink.state`; only `BaseLink.apply` writes it. What happens
   outside of its task comes through one mailbox (`link/link.py`).
2. **Check** {none, wanted, asked}: whether a probe is wanted or under way (`link/prober.py`). A check is wanted by a
   wake, a network change, or the end of the last idle connection; the next dial or probe is that check.
3. **Path** {whole, cut}: stored in `BaseLink.path_is_cut`. An attempt or a probe that could not even connect cuts it, a
   proof makes it whole. Answers of calls under way prove nothing of a path that was cut: only a new connection does.
4. **Reach** {online, offline}: stored in `Prober.is_online`. Offline, no timer makes the link probe or
   dial; only a wake of its task does.
5. **Settle window** {open, closed}: a time, `Link.is_settling`. While it is open, an unanswered probe makes no link
   suspect, and no failure counts for the breaker.
6. **Backoff**: `Link.attempts`, the failures in a row. It decides how long RETRYING and IMPOSTOR wait, and the count
   starts anew with a record, with a connection that held, and after a wake.
7. **Lateness** (`Health.lateness`): while our own timers are late, an unanswered probe makes no link suspect.
8. **Connections** (`Connections.are_lost`): whether the link should have one and has none. It moves READY to RETRYING.

The breaker (`link/failures.py`) decides for calls only. It never moves the link.

Some states look alike from outside: agents and people see `LinkState.shown` and `LinkEvent.shown`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Container
from enum import Enum
from typing import Final

import msgspec

from brummer.core.errors import Internal, TransportError
from brummer.core.events import Hook
from brummer.host.system import System
from brummer.link.errors import Refused
from brummer.link.peer import Condition, Peer


class LinkState(Enum):
    """What a link knows of its peer."""

    DISCOVERED = "discovered"
    CONNECTING = "connecting"
    READY = "ready"
    SUSPECT = "suspect"
    RETRYING = "retrying"
    """It waits for the next attempt."""
    RECONNECTING = "reconnecting"
    """As RETRYING, in an attempt."""
    IMPOSTOR = "impostor"
    RECHECKING = "rechecking"
    """As IMPOSTOR, in an attempt."""
    INCOMPATIBLE = "incompatible"
    GONE = "gone"
    WITHDRAWN = "withdrawn"
    """Gone, because its owner ended it in good order."""

    @property
    def shown(self) -> str:
        """The word that agents, people and metrics get."""
        return _SHOWN.get(self, self.value)


class LinkEvent(Enum):
    """What has happened, in the past tense."""

    DIALLED = "dialled"
    PROVEN = "proven"
    FAILED = "failed"
    STRANGER_ANSWERED = "stranger_answered"
    SPOKE_NOTHING_WE_KNOW = "spoke_nothing_we_know"
    PROBE_UNANSWERED = "probe_unanswered"
    PROBE_ANSWERED = "probe_answered"
    CONNECTION_LOST = "connection_lost"
    RECORD_CHANGED = "record_changed"
    OWNER_GONE = "owner_gone"
    OWNER_WITHDREW = "owner_withdrew"
    FAILED_INSIDE = "failed_inside"
    """A defect of ours."""

    @property
    def shown(self) -> str:
        """The word that logs and metrics get."""
        return LinkEvent.OWNER_GONE.value if self is LinkEvent.OWNER_WITHDREW else self.value


S, E = LinkState, LinkEvent

READY: Final = S.READY
SUSPECT: Final = S.SUSPECT
"""Every call compares with these two. In Python 3.11 a member of an enumeration is found in 50 ns, a name in 4 ns."""

_SHOWN: Final = {
    S.RECONNECTING: S.CONNECTING.value,
    S.RECHECKING: S.CONNECTING.value,
    S.WITHDRAWN: S.GONE.value,
}

SHOWN_STATES: Final = tuple(dict.fromkeys(state.shown for state in LinkState))
SHOWN_EVENTS: Final = tuple(dict.fromkeys(event.shown for event in LinkEvent))

ATTEMPTING: Final = frozenset({S.CONNECTING, S.RECONNECTING, S.RECHECKING})
UNKNOWN_YET: Final = ATTEMPTING | {S.DISCOVERED}
"""An attempt decides soon."""
FAILING: Final = frozenset({S.SUSPECT, S.RETRYING, S.RECONNECTING})
"""Attempts fail, and the cause is not known, unlike that of an impostor or of an end."""
ENDED: Final = frozenset({S.GONE, S.WITHDRAWN})
WATCHED: Final = frozenset({S.READY, S.SUSPECT})
"""It has connections, or may have."""
AT_REST: Final = ENDED | {S.INCOMPATIBLE}
"""Only a new record changes these."""

_OUTSIDE: Final = {
    E.RECORD_CHANGED: S.DISCOVERED,
    E.OWNER_GONE: S.GONE,
    E.OWNER_WITHDREW: S.WITHDRAWN,
}
_ALWAYS: Final = {**_OUTSIDE, E.FAILED_INSIDE: S.RETRYING}
_ATTEMPT: Final = {E.PROVEN: S.READY, E.FAILED: S.RETRYING, E.STRANGER_ANSWERED: S.IMPOSTOR, **_ALWAYS}
_WATCH: Final = {
    E.PROBE_UNANSWERED: S.SUSPECT,
    E.CONNECTION_LOST: S.RETRYING,
    E.STRANGER_ANSWERED: S.IMPOSTOR,
    **_ALWAYS,
}

TRANSITIONS: Final[dict[LinkState, dict[LinkEvent, LinkState]]] = {
    S.DISCOVERED: {E.DIALLED: S.CONNECTING, E.SPOKE_NOTHING_WE_KNOW: S.INCOMPATIBLE, **_ALWAYS},
    S.CONNECTING: _ATTEMPT,
    S.READY: _WATCH,
    S.SUSPECT: {E.PROBE_ANSWERED: S.READY, **_WATCH},
    S.RETRYING: {E.DIALLED: S.RECONNECTING, E.SPOKE_NOTHING_WE_KNOW: S.INCOMPATIBLE, **_ALWAYS},
    S.RECONNECTING: _ATTEMPT,
    S.IMPOSTOR: {E.DIALLED: S.RECHECKING, **_ALWAYS},
    S.RECHECKING: _ATTEMPT,
    S.INCOMPATIBLE: {E.FAILED_INSIDE: S.INCOMPATIBLE, **_OUTSIDE},
    S.GONE: {E.RECORD_CHANGED: S.DISCOVERED},
    S.WITHDRAWN: {E.RECORD_CHANGED: S.DISCOVERED},
}


class ForbiddenEvent(Internal):
    """A defect of ours: the table does not allow the event in this state."""

    def __init__(self, event: LinkEvent, state: LinkState) -> None:
        super().__init__(f"a link that is {state.value} allows no event {event.value}")
        self.event = event
        self.state = state


def next_state(state: LinkState, event: LinkEvent) -> LinkState:
    """Raises `ForbiddenEvent`."""
    after = TRANSITIONS[state].get(event)
    if after is None:
        raise ForbiddenEvent(event, state)
    return after


HISTORY: Final = 64


class Transition(msgspec.Struct, frozen=True):
    """``at_s`` is loop time; ``reason`` is one sentence for people, and decides nothing."""

    instance_id: str
    at_s: float
    before: LinkState
    event: LinkEvent
    after: LinkState
    reason: str


class BaseLink:
    """``transitions`` publishes every transition, when the link is in its new state."""

    def __init__(self, target: Peer, transitions: Hook[Transition] | None, system: System) -> None:
        self.loop = asyncio.get_running_loop()
        self.elapsed: Callable[[], float] = system.clock.elapsed
        self.target = target
        self.state = LinkState.DISCOVERED
        self.history: deque[Transition] = deque(maxlen=HISTORY)
        self.last_error: TransportError | None = None
        self.path_is_cut = False
        """The last attempt did not even reach the peer: something between is broken."""
        self.since_s = self.loop.time()
        self._elapsed_since_s = self._unready_since_s = self.elapsed()
        self._transitions = transitions or Hook()
        self._moved = asyncio.Event()

    @property
    def is_failing(self) -> bool:
        """See `brummer.link.state.FAILING`."""
        return self.state in FAILING

    @property
    def unready_s(self) -> float:
        """Seconds since it was ready; 0 while it is."""
        return 0.0 if self.state is LinkState.READY else self.elapsed() - self._unready_since_s

    @property
    def state_s(self) -> float:
        """Seconds, asleep or awake, since it is in this state."""
        return round(self.elapsed() - self._elapsed_since_s, 3)

    @property
    def reason(self) -> str:
        """Why it is in this state, for people."""
        return self.history[-1].reason if self.history else "seen in the instances directory"

    @property
    def condition(self) -> Condition:
        """What the peer's process does now."""
        return self.target.condition()

    @property
    def refusal(self) -> Refused | None:
        """The peer's refusal, if that was its last answer."""
        if self.state is LinkState.READY:
            return self.target.refusal
        return self.last_error if isinstance(self.last_error, Refused) else None

    def apply(self, event: LinkEvent, reason: str) -> None:
        """The one writer of the state. Raises `ForbiddenEvent`, and then changes nothing."""
        before, self.state = self.state, next_state(self.state, event)
        now_s = self.loop.time()
        if self.state is not before:
            self.since_s, self._elapsed_since_s = now_s, self.elapsed()
            if before is LinkState.READY:
                self._unready_since_s = self._elapsed_since_s
        transition = Transition(self.target.instance_id, now_s, before, event, self.state, reason)
        self.history.append(transition)
        self._moved.set()
        self._transitions.publish(transition)

    async def until_not(self, states: Container[LinkState]) -> None:
        """Return when its state is none of these."""
        while self.state in states:
            self._moved.clear()
            await self._moved.wait()

    async def settled(self) -> None:
        """Return when its state does not change soon any more: it is ready, or why not is known."""
        await self.until_not(UNKNOWN_YET)
