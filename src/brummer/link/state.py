"""A link's states and the events that move it, as one literal table. Nobody writes a state but by `next_state`.

No state but ``gone`` is terminal, and a new record revives that too.
"""

from enum import Enum


class State(Enum):
    """What a link knows of its instance; the values are what agents see."""

    DISCOVERED = "discovered"
    CONNECTING = "connecting"
    READY = "ready"
    SUSPECT = "suspect"
    RETRYING = "retrying"
    IMPOSTOR = "impostor"
    INCOMPATIBLE = "incompatible"
    GONE = "gone"


class Event(Enum):
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
    FAILED_INSIDE = "failed_inside"


S, E = State, Event

_ALWAYS: dict[Event, State] = {
    E.RECORD_CHANGED: S.DISCOVERED,
    E.OWNER_GONE: S.GONE,
    E.FAILED_INSIDE: S.DISCOVERED,
}

TRANSITIONS: dict[State, dict[Event, State]] = {
    S.DISCOVERED: {E.DIALLED: S.CONNECTING, E.SPOKE_NOTHING_WE_KNOW: S.INCOMPATIBLE, **_ALWAYS},
    S.CONNECTING: {
        E.PROVEN: S.READY,
        E.FAILED: S.RETRYING,
        E.STRANGER_ANSWERED: S.IMPOSTOR,
        **_ALWAYS,
    },
    S.READY: {
        E.PROBE_ANSWERED: S.READY,
        E.PROBE_UNANSWERED: S.SUSPECT,
        E.CONNECTION_LOST: S.RETRYING,
        E.STRANGER_ANSWERED: S.IMPOSTOR,
        **_ALWAYS,
    },
    S.SUSPECT: {
        E.PROBE_ANSWERED: S.READY,
        E.PROBE_UNANSWERED: S.SUSPECT,
        E.CONNECTION_LOST: S.RETRYING,
        E.STRANGER_ANSWERED: S.IMPOSTOR,
        **_ALWAYS,
    },
    S.RETRYING: {E.DIALLED: S.CONNECTING, **_ALWAYS},
    S.IMPOSTOR: {E.DIALLED: S.CONNECTING, **_ALWAYS},
    S.INCOMPATIBLE: {**_ALWAYS},
    S.GONE: {E.RECORD_CHANGED: S.DISCOVERED},
}


def standing(state: State, attempts: int, last_error: str | None) -> State:
    """What a link is to others: one that tries once more, after ``attempts`` in vain, still is what it was.

    ``last_error`` is a code.
    """
    if attempts and state in (State.DISCOVERED, State.CONNECTING):
        return State.IMPOSTOR if last_error == "impostor" else State.RETRYING
    return state


def next_state(state: State, event: Event) -> State:
    """Raises KeyError for an event that the table does not allow in that state."""
    return TRANSITIONS[state][event]
