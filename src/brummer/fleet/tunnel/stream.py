"""One end of a byte stream: what it may send, what a frame means, and how it knows that the other end lives. Pure.

The promise: what arrives is a prefix of what was sent, and then an end or a reset. An end is told only after the last
byte; in every other case a reset is told. Four rules keep it:

1. **Numbers.** The frames of one end are numbered without gaps (`brummer.fleet.tunnel.frames`). Any number but the next
   is a reset. Nothing is sent again: the link above a stream asks for a lost call again, under its key.
2. **Credit.** An end sends only what the other has allowed, so what waits at a socket that does not read is bounded.
   The window grows when the sender had to wait for it: a long path needs a large one, small calls do not.
3. **Silence.** While something waits, an end that hears nothing asks (PING), and an unanswered question is a reset. The
   answer has a number, too: it also shows that the last frames before it were lost.
4. **Draining.** When both ends have said FIN, only the socket here may still have to take bytes. Until it has, the
   stream keeps its window, and a lost carrier does not concern it.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from brummer.core.errors import Internal
from brummer.fleet.tunnel.frames import FRAME_BYTES, Frame, FrameKind, ResetCause, encode
from brummer.fleet.tunnel.stream_states import (
    ALLOWED,
    ENDED,
    HEARING,
    OPENING,
    SENDING,
    StreamEvent,
    StreamState,
    next_state,
)

OPEN_S: Final = 5.0
"""How long an opening may take: two paths over the carrier and a connection on loopback, on a busy machine."""
PING_S: Final = 2.0
"""How long silence is nothing unusual while something waits: a busy machine, or a route that changes."""
ANSWER_S: Final = 8.0
"""With `PING_S` it is ten seconds from the last sign of life to the reset: a shorter cut has no effect."""
IDLE_S: Final = 600.0
"""How often a stream on which nothing waits is checked, so that it does not outlive the other machine for ever."""


@dataclass(frozen=True, slots=True)
class TunnelLimits:
    """``window_min``: what each stream may always have under way towards a machine; one full frame fits.

    ``window_max``: 4 MB carry 40 MB/s at a round trip of 100 ms. ``agent_bytes``: all windows of a machine together,
    half of it for the smallest windows and half for larger ones. ``streams``: with one run of one instance.
    """

    frame_bytes: int = FRAME_BYTES
    window_min: int = 64 << 10
    window_max: int = 4 << 20
    agent_bytes: int = 32 << 20
    streams: int = 64

    @property
    def streams_in_all(self) -> int:
        """As many as have their smallest window."""
        return self.agent_bytes // 2 // self.window_min


@dataclass(frozen=True, slots=True)
class Publish:
    """One message for the carrier. With ``reply`` the carrier says there if ``subject`` has no subscriber."""

    subject: str
    reply: str
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamWanted:
    """The far end dials: connect a socket, then `ByteStream.accept` or `ByteStream.reset`."""

    stream: "ByteStream"
    subject: str


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The far end is connected."""

    stream: "ByteStream"


@dataclass(frozen=True, slots=True)
class DataArrived:
    """For the socket, which says by `ByteStream.consumed` when it has taken it."""

    stream: "ByteStream"
    data: bytes


@dataclass(frozen=True, slots=True)
class EndArrived:
    """No more bytes come, and none are missing."""

    stream: "ByteStream"


@dataclass(frozen=True, slots=True)
class CreditArrived:
    """Bytes may be sent again."""

    stream: "ByteStream"


@dataclass(frozen=True, slots=True)
class StreamOver:
    """Nothing more happens. ``cause`` is None if both ends have ended, and the socket has taken all."""

    stream: "ByteStream"
    cause: ResetCause | None


TunnelEvent = StreamWanted | StreamOpened | DataArrived | EndArrived | CreditArrived | StreamOver


class StreamTable:
    """What the streams of a tunnel share. ``publishes`` and ``events`` are to be done, in this order.

    ``streams``: by their own subject, until they are over. ``due_s``: no stream needs a `ByteStream.tick` before.
    """

    def __init__(self, limits: TunnelLimits) -> None:
        self.limits = limits
        self.publishes: deque[Publish] = deque()
        self.events: deque[TunnelEvent] = deque()
        self.streams: dict[str, ByteStream] = {}
        self.due_s = math.inf
        self._extra_free = limits.agent_bytes // 2

    @property
    def extra_free(self) -> int:
        """What windows may still have beyond the smallest."""
        return self._extra_free

    def take_extra(self, wanted: int) -> int:
        """For a window. A taker gets at most half of what is left, so that something is always left for others."""
        taken = min(wanted, self._extra_free // 2)
        self._extra_free -= taken
        return taken

    def forget(self, stream: "ByteStream", extra: int) -> None:
        """It is over."""
        del self.streams[stream.ours]
        self._extra_free += extra
        if not self.streams:
            self.due_s = math.inf


class ByteStream:
    """One end. ``ours`` and ``theirs``: the subjects of both ends; a dialler learns ``theirs`` by the answer.

    ``instance``: the subject under which it was opened. `heard` and `tick` are called by the tunnel only.
    """

    def __init__(self, ours: str, instance: str, tunnel: StreamTable, now_s: float) -> None:
        self.ours = ours
        self.instance = instance
        self.theirs = ""
        self.state = StreamState.ACCEPTING
        self._is_dialler = False
        self._tunnel = tunnel
        self._limits = tunnel.limits
        self._numbers_sent = self._numbers_heard = 0
        self._sent = self._allowed = 0
        self._received = self._consumed = 0
        self._window = self._granted = tunnel.limits.window_min
        self._sender_was_short = False
        self._spoke_last = False
        self._moved_s = self._heard_s = now_s
        self._asked_s: float | None = None

    def __repr__(self) -> str:
        return (
            f"<ByteStream {self.ours} {self.state.value} sent={self._sent}/{self._allowed}"
            f" received={self._received}/{self._granted} consumed={self._consumed}>"
        )

    # The socket's side.

    @property
    def may_send(self) -> int:
        """Bytes that `send` takes now."""
        return min(self._allowed - self._sent, self._limits.frame_bytes) if self.state in SENDING else 0

    def send(self, data: bytes, now_s: float) -> None:
        """``data`` is not empty, and no longer than `may_send`."""
        if not 0 < len(data) <= self.may_send:
            raise Internal(f"{len(data)} bytes were to be sent where {self.may_send} may be")
        self._sent += len(data)
        self._spoke(now_s)
        self._say(Frame(FrameKind.DATA, data=data))
        self._be_looked_at()

    def end(self, now_s: float) -> None:
        """The socket sends nothing more. After the end of the stream it does nothing."""
        if self.state in SENDING:
            self._spoke(now_s)
            self._say(Frame(FrameKind.FIN))
            self._apply(StreamEvent.FIN_SENT)
            self._end_when_drained()
            self._be_looked_at()

    def consumed(self, count: int) -> None:
        """The socket has taken so many bytes of what arrived."""
        self._consumed += count
        if self._consumed > self._received:
            raise Internal(f"{self._consumed} bytes were taken of {self._received}")
        if self.state in HEARING:
            self._grant()
        self._end_when_drained()

    def accept(self, now_s: float) -> None:
        """The socket is connected. It does nothing if the stream is over meanwhile."""
        if self.state is StreamState.ACCEPTING:
            self._apply(StreamEvent.CONNECTED)
            self._heard_s = self._moved_s = now_s
            self._say(Frame(FrameKind.OPENED, total=self._granted))
            self._be_looked_at()

    def reset(self, cause: ResetCause) -> None:
        """Give it up, and say so to the other end. After the end of the stream it does nothing."""
        if self.state is StreamState.OVER:
            return
        if self.theirs and self.state is not StreamState.DRAINING:
            self._tunnel.publishes.append(refusal(self.theirs, cause))
        self.give_up(cause)

    # The tunnel's side.

    def dial(self, now_s: float) -> None:
        """Ask for the stream. ``allowed`` of the other end counts from its answer on."""
        self.state = StreamState.DIALLING
        self._is_dialler = True
        self._spoke(now_s)
        self._tunnel.publishes.append(Publish(self.instance, self.ours, opening(self._granted)))
        self._be_looked_at()

    def be_dialled(self, theirs: str, allowed: int) -> None:
        """The other end has asked for it."""
        self.theirs, self._allowed = theirs, allowed
        self._tunnel.events.append(StreamWanted(self, self.instance))
        self._be_looked_at()

    def heard(self, frame: Frame, reply: str, now_s: float) -> None:
        """A frame has come, for a stream that is not in `ENDED`."""
        if frame.kind is FrameKind.RESET:
            self.give_up(frame.cause)
            return
        if self._is_gap(frame):
            self.reset(ResetCause.GAP)
            return
        self._numbers_heard += 1
        if frame.kind not in ALLOWED[self.state]:
            self.reset(ResetCause.BROKEN)
            return
        self._asked_s, self._heard_s = None, now_s
        self._act(frame, reply, now_s)
        self._be_looked_at()

    def give_up(self, cause: ResetCause) -> None:
        """It is over; the other end knows, or can't be told."""
        self._apply(StreamEvent.RESET)
        self._tunnel.events.append(StreamOver(self, cause))

    @property
    def due_s(self) -> float:
        """When `tick` has something to do."""
        if self.state in ENDED:
            return math.inf
        if self.state in OPENING:
            return self._moved_s + OPEN_S
        if self._asked_s is not None:
            return self._asked_s + ANSWER_S
        return self._heard_s + self._patience_s()

    def tick(self, now_s: float) -> None:
        """Ask a silent end, or give it up."""
        if now_s < self.due_s:
            return
        if self.state in OPENING or self._asked_s is not None:
            self.reset(ResetCause.SILENCE)
            return
        self._asked_s = now_s
        self._say(Frame(FrameKind.PING))

    def forgive(self, now_s: float) -> None:
        """We did not run for a while: what we waited for may have come meanwhile."""
        if self.state in OPENING:
            self._moved_s = now_s
        if self._asked_s is not None:
            self._asked_s = now_s

    # Inside.

    def _apply(self, event: StreamEvent) -> None:
        """The one writer of the state. Raises `Internal`, and then changes nothing."""
        self.state = next_state(self.state, event)
        if self.state is StreamState.OVER:
            self._tunnel.forget(self, self._window - self._limits.window_min)

    def _is_gap(self, frame: Frame) -> bool:
        return frame.number != self._numbers_heard

    def _act(self, frame: Frame, reply: str, now_s: float) -> None:
        match frame.kind:
            case FrameKind.OPENED:
                self.theirs, self._allowed = reply, frame.total
                self._apply(StreamEvent.CONNECTED)
                self._tunnel.events.append(StreamOpened(self))
            case FrameKind.DATA:
                self._take(frame.data, now_s)
            case FrameKind.GRANT:
                self._may_send_until(frame.total)
            case FrameKind.FIN:
                self._spoke_last, self._moved_s = False, now_s
                self._apply(StreamEvent.FIN_HEARD)
                self._tunnel.events.append(EndArrived(self))
                self._end_when_drained()
            case FrameKind.PING:
                self._say(Frame(FrameKind.PONG))

    def _take(self, data: bytes, now_s: float) -> None:
        self._received += len(data)
        if self._received > self._granted:
            self.reset(ResetCause.BROKEN)
            return
        self._spoke_last, self._moved_s = False, now_s
        if self._granted - self._received < self._limits.frame_bytes:
            self._sender_was_short = True
        self._tunnel.events.append(DataArrived(self, data))

    def _may_send_until(self, total: int) -> None:
        was_short = self.may_send == 0
        self._allowed = max(self._allowed, total)
        if was_short and self.may_send:
            self._tunnel.events.append(CreditArrived(self))

    def _grant(self) -> None:
        """By quarters of the window: a GRANT for each frame would double the messages."""
        if self._consumed + self._window - self._granted < self._window // 4:
            return
        if self._sender_was_short:
            self._sender_was_short = False
            self._window += self._tunnel.take_extra(min(self._window, self._limits.window_max - self._window))
        self._granted = self._consumed + self._window
        self._say(Frame(FrameKind.GRANT, total=self._granted))

    def _end_when_drained(self) -> None:
        if self.state is StreamState.DRAINING and self._consumed == self._received:
            self._apply(StreamEvent.DRAINED)
            self._tunnel.events.append(StreamOver(self, None))

    def _spoke(self, now_s: float) -> None:
        """Silence counts from now on, unless something waits already."""
        if not self._something_waits:
            self._heard_s = max(self._heard_s, now_s)
        self._spoke_last, self._moved_s = True, now_s

    @property
    def _something_waits(self) -> bool:
        """A dialler that spoke last waits for an answer; an end without credit, or after its FIN, for the other end."""
        if self.state is StreamState.SENT_ALL or (self.state in SENDING and self._sent >= self._allowed):
            return True
        return self._is_dialler and self._spoke_last

    def _patience_s(self) -> float:
        """How long it may be silent. An answer that has begun may have paused: wait as long again as it has lasted."""
        if self._something_waits:
            return PING_S
        return min(max(PING_S, self._heard_s - self._moved_s), IDLE_S) if self._is_dialler else IDLE_S

    def _be_looked_at(self) -> None:
        self._tunnel.due_s = min(self._tunnel.due_s, self.due_s)

    def _say(self, frame: Frame) -> None:
        numbered = Frame(frame.kind, self._numbers_sent, frame.data, frame.total)
        self._numbers_sent += 1
        self._tunnel.publishes.append(Publish(self.theirs, self.ours, encode(numbered)))


def opening(allowed: int) -> bytes:
    """The message that asks for a stream."""
    return encode(Frame(FrameKind.OPEN, total=allowed))


def refusal(theirs: str, cause: ResetCause) -> Publish:
    """The message that says to the other end that a stream is over. Nobody answers to it."""
    return Publish(theirs, "", encode(Frame(FrameKind.RESET, cause=cause)))
