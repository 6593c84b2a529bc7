"""What both kinds of link have: a peer, a state with its history, and the last error."""

import asyncio
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Final

from brummer.core.errors import TransportError
from brummer.core.events import Hook
from brummer.host.system import System
from brummer.link.errors import Refused
from brummer.link.peer import Condition, Peer
from brummer.link.state import FAILING, UNKNOWN_YET, Event, State, next_state

HISTORY: Final = 64


@dataclass(frozen=True, slots=True)
class Transition:
    """``at_s`` is loop time; ``reason`` is one sentence for people, and decides nothing."""

    instance_id: str
    at_s: float
    before: State
    event: Event
    after: State
    reason: str


class BaseLink:
    """``transitions`` publishes every transition, when the link is in its new state."""

    def __init__(self, target: Peer, transitions: Hook[Transition] | None, system: System) -> None:
        self.loop = asyncio.get_running_loop()
        self.elapsed: Callable[[], float] = system.clock.elapsed
        self.target = target
        self.state = State.DISCOVERED
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
        return 0.0 if self.state is State.READY else self.elapsed() - self._unready_since_s

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
        if self.state is State.READY:
            return self.target.refusal
        return self.last_error if isinstance(self.last_error, Refused) else None

    def apply(self, event: Event, reason: str) -> None:
        """The one writer of the state. Raises `ForbiddenEvent`, and then changes nothing."""
        before, self.state = self.state, next_state(self.state, event)
        now_s = self.loop.time()
        if self.state is not before:
            self.since_s, self._elapsed_since_s = now_s, self.elapsed()
            if before is State.READY:
                self._unready_since_s = self._elapsed_since_s
        transition = Transition(self.target.instance_id, now_s, before, event, self.state, reason)
        self.history.append(transition)
        self._moved.set()
        self._transitions.publish(transition)

    async def until_not(self, states: Container[State]) -> None:
        """Return when its state is none of these."""
        while self.state in states:
            self._moved.clear()
            await self._moved.wait()

    async def settled(self) -> None:
        """Return when its state does not change soon any more: it is ready, or why not is known."""
        await self.until_not(UNKNOWN_YET)
