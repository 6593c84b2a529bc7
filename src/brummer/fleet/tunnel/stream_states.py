"""The states of one end of a stream, and the events that move it, as one literal table. Pure."""

from enum import Enum
from typing import Final

from brummer.core.errors import Internal
from brummer.fleet.tunnel.frames import FrameKind


class StreamState(Enum):
    """What this end knows of the stream."""

    DIALLING = "dialling"
    """We have asked for it."""
    ACCEPTING = "accepting"
    """The other end has asked for it, and the socket here is not connected yet."""
    OPEN = "open"
    SENT_ALL = "sent_all"
    """We have said FIN."""
    HEARD_ALL = "heard_all"
    """The other end has said FIN."""
    DRAINING = "draining"
    """Both have. The socket here has not taken all bytes."""
    OVER = "over"


class StreamEvent(Enum):
    """What has happened, in the past tense."""

    CONNECTED = "connected"
    FIN_SENT = "fin_sent"
    FIN_HEARD = "fin_heard"
    DRAINED = "drained"
    RESET = "reset"


_S, _E = StreamState, StreamEvent

TRANSITIONS: Final[dict[StreamState, dict[StreamEvent, StreamState]]] = {
    _S.DIALLING: {_E.CONNECTED: _S.OPEN, _E.RESET: _S.OVER},
    _S.ACCEPTING: {_E.CONNECTED: _S.OPEN, _E.RESET: _S.OVER},
    _S.OPEN: {_E.FIN_SENT: _S.SENT_ALL, _E.FIN_HEARD: _S.HEARD_ALL, _E.RESET: _S.OVER},
    _S.SENT_ALL: {_E.FIN_HEARD: _S.DRAINING, _E.RESET: _S.OVER},
    _S.HEARD_ALL: {_E.FIN_SENT: _S.DRAINING, _E.RESET: _S.OVER},
    _S.DRAINING: {_E.DRAINED: _S.OVER, _E.RESET: _S.OVER},
    _S.OVER: {},
}

OPENING: Final = frozenset({_S.DIALLING, _S.ACCEPTING})
SENDING: Final = frozenset({_S.OPEN, _S.HEARD_ALL})
HEARING: Final = frozenset({_S.OPEN, _S.SENT_ALL})
ENDED: Final = frozenset({_S.DRAINING, _S.OVER})
"""No frame concerns it."""

ALLOWED: Final[dict[StreamState, frozenset[FrameKind]]] = {
    _S.DIALLING: frozenset({FrameKind.OPENED}),
    _S.ACCEPTING: frozenset(),
    _S.OPEN: frozenset({FrameKind.DATA, FrameKind.FIN, FrameKind.GRANT, FrameKind.PING, FrameKind.PONG}),
    _S.SENT_ALL: frozenset({FrameKind.DATA, FrameKind.FIN, FrameKind.GRANT, FrameKind.PING, FrameKind.PONG}),
    _S.HEARD_ALL: frozenset({FrameKind.GRANT, FrameKind.PING, FrameKind.PONG}),
}
"""Which numbered frames may come in which state."""


def next_state(state: StreamState, event: StreamEvent) -> StreamState:
    """Raises `Internal`: a defect of ours."""
    after = TRANSITIONS[state].get(event)
    if after is None:
        raise Internal(f"a stream that is {state.value} allows no event {event.value}")
    return after
