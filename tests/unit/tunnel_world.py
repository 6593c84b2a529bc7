"""Two tunnels, what is under way between them, and sockets that are byte arrays: every event is judged as it comes.

`World` has one method for each thing that may happen; the state machine of hypothesis and the random schedules call
them. What was sent, and what arrived, is counted here, by the test, and never asked of the tunnels.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from brummer.fleet.tunnel.frames import ResetCause
from brummer.fleet.tunnel.stream import (
    ByteStream,
    CreditArrived,
    DataArrived,
    EndArrived,
    Publish,
    StreamOpened,
    StreamOver,
    StreamWanted,
    TunnelEvent,
    TunnelLimits,
)
from brummer.fleet.tunnel.stream_states import ENDED, StreamState
from brummer.fleet.tunnel.subjects import open_subject
from brummer.fleet.tunnel.tunnel import StreamRefused, Tunnel

SMALL = TunnelLimits(frame_bytes=4, window_min=8, window_max=32, agent_bytes=160, streams=4)
"""So small that a short schedule meets every limit."""
START_S = 1000.0
LONG_S = 3600.0
"""Longer than every patience."""
BYTES = bytes(range(251))
"""Of a prime length, so that a frame that is missing or exchanged shows."""


@dataclass
class End:
    """One end of a talk, as its socket sees it."""

    stream: ByteStream
    is_open: bool = False
    sent: bytearray = field(default_factory=bytearray)
    has_ended: bool = False
    arrived: bytearray = field(default_factory=bytearray)
    heard_end: bool = False
    taken: int = 0
    over: ResetCause | None = None
    is_over: bool = False


@dataclass
class Talk:
    """One dial, and what came of it. ``faults``: how many had occurred in the world when it began."""

    near: End
    far: End | None = None
    faults: int = 0


@dataclass
class Side:
    """A machine. ``outgoing``: what it has published, and what the carrier has not yet delivered or lost."""

    tunnel: Tunnel
    subject: str
    outgoing: deque[Publish | str] = field(default_factory=deque)
    """A text is the notice that nobody hears what was published with it as the reply."""


class World:
    """``faults`` counts what may end a stream; while it is 0, nothing but a socket may."""

    def __init__(self, limits: TunnelLimits = SMALL) -> None:
        ids = itertools.count(1)
        self.now_s = START_S
        self.limits = limits
        self.sides: list[Side] = []
        self.talks: list[Talk] = []
        self.talk_of: dict[ByteStream, Talk] = {}
        self.ends: dict[ByteStream, End] = {}
        """Those that are not over."""
        self.faults = 0
        for host in ("box-a", "box-b.lan"):
            tunnel = Tunnel(host, f"{next(ids):016x}", lambda: f"{next(ids):016x}", limits)
            subject = open_subject(host, "generation")
            tunnel.serve(subject)
            self.sides.append(Side(tunnel, subject))
        self.extra_free = self.sides[0].tunnel.outputs.extra_free

    # What sockets do.

    def dial(self, side: int) -> Talk | None:
        """From this side to the other one; None if it has as many streams as it may have, or no carrier."""
        tunnel = self.sides[side].tunnel
        try:
            stream = tunnel.dial(self.sides[1 - side].subject, self.now_s)
        except StreamRefused as error:
            if error.cause is not (ResetCause.LOST if tunnel.is_lost else ResetCause.FULL):
                raise
            return None
        talk = Talk(End(stream), faults=self.faults)
        self.talks.append(talk)
        self.ends[stream], self.talk_of[stream] = talk.near, talk
        self._act()
        return talk

    def accept(self, end: End) -> None:
        """The far socket is connected."""
        if not end.is_over:
            end.is_open = True
            end.stream.accept(self.now_s)
            self._act()

    def send(self, end: End, count: int) -> None:
        """As many bytes of these as the stream takes."""
        data = bytes(BYTES[(len(end.sent) + at) % len(BYTES)] for at in range(min(count, end.stream.may_send)))
        if data:
            assert end.is_open, "bytes may be sent only after the opening"
            assert not end.has_ended, "nothing is sent after the end"
            end.sent += data
            end.stream.send(data, self.now_s)
            self._act()

    def end(self, end: End) -> None:
        if end.is_open and not end.has_ended and not end.is_over:
            end.has_ended = True
            end.stream.end(self.now_s)
            self._act()

    def take(self, end: End, count: int) -> None:
        """The socket takes so many bytes of those that wait for it."""
        count = min(count, len(end.arrived) - end.taken)
        if count and not end.is_over:
            end.taken += count
            end.stream.consumed(count)
            self._act()

    def reset(self, end: End) -> None:
        """The socket was reset: for the streams of both ends, this is as good as a fault."""
        if not end.is_over:
            self.talk_of[end.stream].faults = -1
            end.stream.reset(ResetCause.SOCKET)
            self._act()

    # What the carrier does with the next message of a side.

    def deliver(self, side: int) -> None:
        outgoing = self.sides[side].outgoing
        if outgoing:
            self._hand_over(side, outgoing.popleft())

    def lose(self, side: int) -> None:
        if self.sides[side].outgoing:
            self.faults += 1
            self.sides[side].outgoing.popleft()

    def duplicate(self, side: int) -> None:
        """It is delivered, and comes again later."""
        if self.sides[side].outgoing:
            self.faults += 1
            self._hand_over(side, self.sides[side].outgoing[0])

    def hold_back(self, side: int) -> None:
        """All others that are under way overtake it."""
        if len(self.sides[side].outgoing) > 1:
            self.faults += 1
            self.sides[side].outgoing.rotate(-1)

    def disconnect(self, side: int, kept: int) -> None:
        """The carrier of this side loses its connection; of what it has published, the first few messages arrive."""
        if not self.sides[side].tunnel.is_lost:
            self.faults += 1
            outgoing = self.sides[side].outgoing
            while len(outgoing) > kept:
                outgoing.pop()
            self.sides[side].tunnel.lost()
            self._act()

    def reconnect(self, side: int) -> None:
        self.sides[side].tunnel.back()

    # Time.

    def delay(self, seconds: float) -> None:
        """Time passes, and nothing arrives."""
        self.faults += 1
        self._pass(seconds, arriving=False)

    def die(self, side: int) -> None:
        """Its power fails. The other machine comes to know it by the silence alone."""
        self.faults += 1
        for tunnel in (each.tunnel for each in self.sides):
            tunnel.back()
        self.settle()
        self._pass(LONG_S, arriving=False)
        for each in self.sides:
            each.outgoing.clear()
        left = [stream for stream in self.sides[1 - side].tunnel.streams if stream.state not in ENDED]
        assert left == [], "a stream outlives the other machine"

    def live(self, seconds: float) -> None:
        """Time passes, and everything arrives at once."""
        self.settle()
        self._pass(seconds, arriving=True)

    def stand_still(self, seconds: float) -> None:
        """Both machines sleep, whatever is under way: that is no fault, if it is long enough to be noticed."""
        self.now_s += seconds
        for side in self.sides:
            side.tunnel.tick(self.now_s)
        self._act()
        self.settle()

    def settle(self) -> None:
        """Everything that is under way arrives, and every socket takes all."""
        is_first = True
        while is_first or any(side.outgoing for side in self.sides):
            is_first = False
            for side in (0, 1):
                for _ in range(len(self.sides[side].outgoing)):
                    self.deliver(side)
            for end in list(self.ends.values()):
                if end.stream.state is StreamState.ACCEPTING:
                    self.accept(end)
                self.take(end, len(end.arrived))

    def finish(self) -> None:
        """The faults end, and all sockets send an end. Then no stream is left, and a new one works."""
        for side in (0, 1):
            self.reconnect(side)
        for _ in range(2):  # what was lost shows at the latest when the patience is over
            self.settle()
            for end in list(self.ends.values()):
                self.end(end)
            self.live(LONG_S)
        self._assert_nothing_is_left()
        self._assert_it_works()
        self._assert_nothing_is_left()
        for talk in self.talks:
            if talk.faults == self.faults == 0:
                if talk.far is None:
                    assert talk.near.over is ResetCause.FULL, "without a fault an opening arrives"
                    continue
                for end, other in ((talk.near, talk.far), (talk.far, talk.near)):
                    assert end.over is None, f"a reset without a fault: {end.over!r}"
                    assert end.arrived == other.sent
                    assert end.heard_end

    # Inside.

    def _pass(self, seconds: float, *, arriving: bool) -> None:
        until_s = self.now_s + seconds
        while (due_s := min(side.tunnel.outputs.due_s for side in self.sides)) <= until_s:
            self._tick(max(due_s, self.now_s))
            if arriving:
                self.settle()
        self.now_s = until_s

    def _tick(self, now_s: float) -> None:
        self.now_s = now_s
        for side in self.sides:
            if side.tunnel.outputs.due_s <= now_s:
                side.tunnel.tick(now_s)
                assert side.tunnel.outputs.due_s > now_s, "a tick that is due at once again would never end"
        self._act()

    def _assert_it_works(self) -> None:
        """Other streams may have ended by faults; they leave nothing that harms a new one."""
        for side in (0, 1):
            talk = self.dial(side)
            assert talk, "a stream that is over takes no place"
            self.settle()
            assert talk.far, "an opening arrives"
            ends = (talk.near, talk.far)
            for _ in range(self.limits.window_max // self.limits.frame_bytes + 1):
                for end in reversed(ends):
                    self.send(end, self.limits.frame_bytes)
                self.settle()
            for end in ends:
                assert len(end.sent) > self.limits.window_max, "credit is given back"
                self.end(end)
            self.settle()
            assert [end.over for end in ends] == [None, None]
            assert [end.is_over for end in ends] == [True, True]

    def _assert_nothing_is_left(self) -> None:
        for side in self.sides:
            assert list(side.tunnel.streams) == [], "a stream is left"
            assert side.tunnel.outputs.extra_free == self.extra_free, "a window is left"
            assert side.tunnel.outputs.due_s == math.inf, "a timer is left"
        assert self.ends == {}, "a socket hears nothing more of its stream"

    def _hand_over(self, side: int, message: Publish | str) -> None:
        """To the other side, or, if nobody is there, back."""
        other = self.sides[1 - side]
        if isinstance(message, str):
            if not other.tunnel.is_lost:
                other.tunnel.nobody(message)
        elif other.tunnel.is_lost:
            if message.reply and not self.sides[side].tunnel.is_lost:
                other.outgoing.append(message.reply)
        else:
            other.tunnel.received(message.subject, message.reply, message.data, self.now_s)
        self._act()

    def _act(self) -> None:
        """Take what the tunnels want done, and judge it."""
        for side in self.sides:
            outputs = side.tunnel.outputs
            while outputs.events:
                self._judge(outputs.events.popleft())
            while outputs.publishes:
                publish = outputs.publishes.popleft()
                assert not side.tunnel.is_lost, "nothing is published without a carrier"
                side.outgoing.append(publish)
        self._assert_credit()

    def _judge(self, event: TunnelEvent) -> None:
        if isinstance(event, StreamWanted):
            talk = next(talk for talk in self.talks if talk.near.stream.ours == event.stream.theirs)
            assert talk.far is None, "an opening was served twice"
            self.talk_of[event.stream] = talk
            talk.far = self.ends[event.stream] = End(event.stream)
            return
        end, other = self._pair(event.stream)
        assert not end.is_over, f"{event} after the end of the stream"
        match event:
            case StreamOpened():
                assert other, "it is connected to nobody"
                assert other.is_open, "an answer that is no success was taken for one"
                end.is_open = True
            case DataArrived(_, data):
                assert other, "bytes came from nobody"
                end.arrived += data
                assert end.is_open, "bytes came before the opening"
                assert not end.heard_end, "bytes came after the end"
                assert other.sent.startswith(end.arrived), "what arrived is no prefix of what was sent"
            case EndArrived():
                assert other, "an end came from nobody"
                assert other.has_ended, "an end was told that nobody had sent"
                assert end.arrived == other.sent, "an end was told before all bytes had come"
                end.heard_end = True
            case CreditArrived():
                assert end.stream.may_send
            case StreamOver(_, cause):
                end.is_over, end.over = True, cause
                del self.ends[event.stream]
                assert cause is not ResetCause.BROKEN, "an end that keeps to the protocol was said to break it"
                is_complete = end.has_ended and end.heard_end and cause is not ResetCause.SOCKET
                assert cause is None or not is_complete, "a stream that both have ended was reset"
                if cause is None:
                    assert end.has_ended, "it is over before this end has ended"
                    assert end.heard_end, "it is over before the other end has ended"
                    assert end.taken == len(end.arrived), "it is over before the socket has taken all"

    def _pair(self, stream: ByteStream) -> tuple[End, End | None]:
        talk = self.talk_of[stream]
        return (talk.near, talk.far) if stream is talk.near.stream else (self.ends[stream], talk.near)

    def _assert_credit(self) -> None:
        """What was sent to a machine and not taken there is bounded, for each stream and for all."""
        for side in self.sides:
            waiting = 0
            for stream in side.tunnel.streams:
                end, other = self._pair(stream)
                of_stream = len(other.sent) - end.taken if other else 0
                assert of_stream <= self.limits.window_max, f"{of_stream} bytes are under way on one stream"
                waiting += of_stream
            assert waiting <= self.limits.agent_bytes, f"{waiting} bytes are under way to one machine"


DEATHS: Final = 0.1
"""Of the schedules with faults; the others end with streams that go on."""


class Chance:
    """The things that may happen, each with a random subject, and how often each of them happens in this schedule."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random
        usual = (self._send, self._take, self._deliver)
        rare = (self._accept, self._dial, self._end, self._live, self._stand_still, self._reset)
        self.acts: list[Callable[[], object]] = []
        for act in usual:
            self.acts += [act] * random.choice((2, 10, 30))
        for act in rare:
            self.acts += [act] * random.choice((0, 1, 4))
        self.acts += [self._accept, self._dial]
        faults: list[Callable[[], object]] = [
            lambda: world.lose(self._side()),
            lambda: world.duplicate(self._side()),
            lambda: world.hold_back(self._side()),
            lambda: world.disconnect(self._side(), random.randrange(4)),
            lambda: world.delay(random.choice((0.5, 3.0, 12.0))),
        ]
        self.faults = random.sample(faults, random.randrange(1, len(faults)))
        self.faults.append(lambda: world.reconnect(self._side()))

    def act(self, *, is_fault: bool) -> None:
        self._random.choice(self.faults if is_fault else self.acts)()

    def _side(self) -> int:
        return self._random.randrange(2)

    def _an_end(self) -> End | None:
        ends = list(self._world.ends.values())
        return self._random.choice(ends) if ends else None

    def _dial(self) -> None:
        self._world.dial(self._side())

    def _deliver(self) -> None:
        side = self._side()
        for _ in range(self._random.randrange(1, 5)):
            self._world.deliver(side)

    def _accept(self) -> None:
        waiting = [end for end in self._world.ends.values() if end.stream.state is StreamState.ACCEPTING]
        if waiting:
            self._world.accept(self._random.choice(waiting))

    def _send(self) -> None:
        if end := self._an_end():
            for _ in range(self._random.choice((1, 2, 10))):
                self._world.send(end, self._random.randrange(1, 5))

    def _take(self) -> None:
        if end := self._an_end():
            self._world.take(end, self._random.randrange(1, 12))

    def _end(self) -> None:
        if end := self._an_end():
            self._world.end(end)

    def _reset(self) -> None:
        if end := self._an_end():
            self._world.reset(end)

    def _live(self) -> None:
        self._world.live(self._random.choice((1.0, 10.0, 700.0)))

    def _stand_still(self) -> None:
        self._world.stand_still(60.0)


def schedule(seed: int) -> None:
    """A random life of the world, and its judgement. Raises `AssertionError`. Every fourth one is without a fault."""
    random = Random(seed)
    world = World()
    chance = Chance(world, random)
    often = random.choice((0.01, 0.05, 0.2)) if seed % 4 else 0.0
    for _ in range(random.randrange(20, 300)):
        chance.act(is_fault=random.random() < often)
    assert often or not world.faults, "a schedule without faults has one"
    if often and random.random() < DEATHS:
        world.die(random.randrange(2))
    world.finish()
