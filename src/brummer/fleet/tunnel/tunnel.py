"""All streams of one machine over one carrier: opening, limits, who hears which frame, and the next time to look. Pure.

Inputs are the methods, each with the time; outputs are in `Tunnel.outputs`; the caller empties it after each input.
What comes from the other side is untrusted: a subject it names must be that of a stream, an OPEN counts once however
often it comes, and a frame of an unknown stream is answered with a reset, so no end waits for one that has gone.
"""

import math
from collections.abc import Callable, Collection
from typing import Final

from brummer.core.errors import TransportError
from brummer.fleet.tunnel.frames import VERSION, BadFrame, Frame, FrameKind, ResetCause, decode
from brummer.fleet.tunnel.stream import (
    ByteStream,
    StreamTable,
    TunnelLimits,
    refusal,
)
from brummer.fleet.tunnel.stream_states import ENDED
from brummer.fleet.tunnel.subjects import opening_host, stream_host, stream_subject

LATE_S: Final = 1.0
"""A timer so late shows that we did not run; no stream is reset for silence then. A busy loop is late by tenths of a
second.
"""
OPENS_KNOWN: Final = 1024
"""Openings that are known again if they come twice: more than come within the seconds in which a message may repeat."""


class StreamRefused(TransportError):
    """No stream was opened, so nothing was sent over it."""

    code = "stream_refused"
    transient = True

    def __init__(self, cause: ResetCause, **context: object) -> None:
        super().__init__(f"no stream was opened: {cause.name.lower()}", sent=False, cause=cause.name.lower(), **context)
        self.cause = cause


class Tunnel:
    """``host``: this machine's name. ``agent``, and what ``new_id`` returns: 16 hex digits, never the same again."""

    def __init__(self, host: str, agent: str, new_id: Callable[[], str], limits: TunnelLimits | None = None) -> None:
        self.outputs = StreamTable(limits or TunnelLimits())
        self.is_lost = False
        self._host, self._agent, self._new_id = host, agent, new_id
        self._served: set[str] = set()
        self._opens: dict[str, None] = {}

    @property
    def inbox(self) -> str:
        """The subject of all frames to streams of this machine, for one subscription."""
        return stream_subject(self._host, self._agent, "*")

    @property
    def streams(self) -> Collection[ByteStream]:
        """Those that are not over."""
        return self.outputs.streams.values()

    # This machine's side.

    def serve(self, subject: str) -> None:
        """Take streams under this `open_subject` from now on."""
        self._served.add(subject)

    def withdraw(self, subject: str) -> None:
        """Take no more of them. Those that are open stay."""
        self._served.discard(subject)

    def dial(self, subject: str, now_s: float) -> ByteStream:
        """Open a stream under this `open_subject`: `StreamOpened` or `StreamOver` follows. Raises `StreamRefused`."""
        if self.is_lost:
            raise StreamRefused(ResetCause.LOST)
        if self._is_full(subject):
            raise StreamRefused(ResetCause.FULL)
        stream = self._new(subject, now_s)
        stream.dial(now_s)
        return stream

    def tick(self, now_s: float) -> None:
        """Ask the silent streams, and give up those that did not answer. Call it at `StreamTable.due_s`."""
        streams = list(self.streams)
        if now_s - self.outputs.due_s > LATE_S:
            for stream in streams:
                stream.forgive(now_s)
        for stream in streams:
            stream.tick(now_s)
        self.outputs.due_s = min((stream.due_s for stream in self.streams), default=math.inf)

    # The carrier's side.

    def received(self, subject: str, reply: str, message: bytes, now_s: float) -> None:
        """A message has come under a subject that we hear."""
        try:
            frame = decode(message)
        except BadFrame:
            frame = None
        stream = self.outputs.streams.get(subject)
        if subject in self._served:
            self._be_asked(subject, reply, frame, now_s)
        elif stream is None or stream.state in ENDED:
            self._disown(reply, frame)
        elif frame is None or (frame.kind is FrameKind.OPENED and stream_host(reply) != opening_host(stream.instance)):
            stream.reset(ResetCause.BROKEN)
        else:
            stream.heard(frame, reply, now_s)

    def nobody(self, subject: str) -> None:
        """The carrier says that what this stream of ours has published has no subscriber."""
        stream = self.outputs.streams.get(subject)
        if stream is not None and stream.state not in ENDED:
            stream.give_up(ResetCause.NOBODY)

    def lost(self) -> None:
        """The carrier has lost its connection, and may have lost frames. The other ends can't be told, and will see."""
        self.is_lost = True
        self.outputs.publishes.clear()
        for stream in list(self.streams):
            if stream.state not in ENDED:
                stream.give_up(ResetCause.LOST)

    def back(self) -> None:
        """The carrier is connected again."""
        self.is_lost = False

    # Inside.

    def _be_asked(self, subject: str, reply: str, frame: Frame | None, now_s: float) -> None:
        """Whoever asks a second time has its stream, or had it."""
        if frame is None or frame.kind is not FrameKind.OPEN or not stream_host(reply) or self._is_known(reply):
            return
        if frame.version != VERSION:
            self.outputs.publishes.append(refusal(reply, ResetCause.VERSION))
        elif self._is_full(subject):
            self.outputs.publishes.append(refusal(reply, ResetCause.FULL))
        else:
            self._new(subject, now_s).be_dialled(reply, frame.total)

    def _is_known(self, reply: str) -> bool:
        """Whether this opening has come before; from now on it has."""
        if reply in self._opens:
            return True
        self._opens[reply] = None
        if len(self._opens) > OPENS_KNOWN:
            del self._opens[next(iter(self._opens))]
        return False

    def _disown(self, reply: str, frame: Frame | None) -> None:
        """Say that there is no such stream. A reset is not answered: two ends would do so for ever."""
        if stream_host(reply) and (frame is None or frame.kind is not FrameKind.RESET):
            self.outputs.publishes.append(refusal(reply, ResetCause.UNKNOWN))

    def _is_full(self, subject: str) -> bool:
        limits = self.outputs.limits
        of_instance = sum(stream.instance == subject for stream in self.streams)
        return of_instance >= limits.streams or len(self.streams) >= limits.streams_in_all

    def _new(self, subject: str, now_s: float) -> ByteStream:
        stream = ByteStream(stream_subject(self._host, self._agent, self._new_id()), subject, self.outputs, now_s)
        self.outputs.streams[stream.ours] = stream
        return stream
