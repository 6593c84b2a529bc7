"""The promise of a stream, under everything that a carrier, a socket and the time may do.

``SCHEDULES=20000`` runs so many random schedules instead of 200: one for each seed from 0. A failure names its seed.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from brummer.fleet.tunnel import stream
from brummer.fleet.tunnel.frames import Frame, FrameKind, encode
from brummer.fleet.tunnel.stream import ByteStream
from brummer.fleet.tunnel.stream_states import StreamState
from brummer.fleet.tunnel.tunnel import Tunnel

from .tunnel_world import End, World, schedule

BLOCK = 10
"""Schedules of one test: a second, and much less than its time limit on a busy machine."""
SCHEDULES = int(os.environ.get("SCHEDULES", "200"))
SIDES = st.integers(0, 1)
COUNTS = st.integers(1, 40)


class TunnelMachine(RuleBasedStateMachine):
    """Hypothesis finds a short schedule where the random ones find a long one."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def end_of(self, number: int) -> End:
        ends = list(self.world.ends.values())
        return ends[number % len(ends)]

    def has_ends(self) -> bool:
        return bool(self.world.ends)

    @rule(side=SIDES)
    def dial(self, side: int) -> None:
        self.world.dial(side)

    @precondition(has_ends)
    @rule(number=COUNTS)
    def accept(self, number: int) -> None:
        end = self.end_of(number)
        if end.stream.state is StreamState.ACCEPTING:
            self.world.accept(end)

    @precondition(has_ends)
    @rule(number=COUNTS, count=COUNTS)
    def send(self, number: int, count: int) -> None:
        self.world.send(self.end_of(number), count)

    @precondition(has_ends)
    @rule(number=COUNTS, count=COUNTS)
    def take(self, number: int, count: int) -> None:
        self.world.take(self.end_of(number), count)

    @precondition(has_ends)
    @rule(number=COUNTS)
    def end(self, number: int) -> None:
        self.world.end(self.end_of(number))

    @precondition(has_ends)
    @rule(number=COUNTS)
    def reset(self, number: int) -> None:
        self.world.reset(self.end_of(number))

    @rule(side=SIDES, count=COUNTS)
    def deliver(self, side: int, count: int) -> None:
        for _ in range(count):
            self.world.deliver(side)

    @rule(side=SIDES)
    def lose(self, side: int) -> None:
        self.world.lose(side)

    @rule(side=SIDES)
    def duplicate(self, side: int) -> None:
        self.world.duplicate(side)

    @rule(side=SIDES)
    def hold_back(self, side: int) -> None:
        self.world.hold_back(side)

    @rule(side=SIDES, kept=st.integers(0, 3))
    def disconnect(self, side: int, kept: int) -> None:
        self.world.disconnect(side, kept)

    @rule(side=SIDES)
    def reconnect(self, side: int) -> None:
        self.world.reconnect(side)

    @rule(seconds=st.sampled_from([0.5, 3.0, 12.0, 700.0]))
    def delay(self, seconds: float) -> None:
        self.world.delay(seconds)

    @rule(seconds=st.sampled_from([1.0, 10.0, 700.0]))
    def live(self, seconds: float) -> None:
        self.world.live(seconds)

    @rule()
    def stand_still(self) -> None:
        self.world.stand_still(60.0)

    def teardown(self) -> None:
        self.world.finish()


TestTunnelMachine = TunnelMachine.TestCase
TestTunnelMachine.settings = settings(max_examples=40, stateful_step_count=40)


@pytest.mark.parametrize("first", range(0, SCHEDULES, BLOCK))
def test_what_arrives_is_a_prefix_and_then_an_end_or_a_reset(first: int) -> None:
    schedules(range(first, first + BLOCK))


def schedules(seeds: Iterable[int]) -> None:
    for seed in seeds:
        try:
            schedule(seed)
        except BaseException as error:
            error.add_note(f"in the schedule of seed {seed}")
            raise


def gap_is_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ByteStream, "_is_gap", lambda *_: False)


def opening_is_served_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tunnel, "_is_known", lambda *_: False)


def credit_is_granted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode_twice(frame: Frame) -> bytes:
        return encode(replace(frame, total=2 * frame.total) if frame.kind is FrameKind.GRANT else frame)

    monkeypatch.setattr(stream, "encode", encode_twice)


def reset_is_taken_for_success(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = ByteStream.heard

    def take_for_success(self: ByteStream, frame: Frame, reply: str, now_s: float) -> None:
        if self.state is StreamState.DIALLING and frame.kind is FrameKind.RESET:
            frame = Frame(FrameKind.OPENED)
        heard(self, frame, reply, now_s)

    monkeypatch.setattr(ByteStream, "heard", take_for_success)


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (gap_is_not_noticed, "no prefix of what was sent"),
        (opening_is_served_twice, "served twice"),
        (credit_is_granted_twice, "under way on one stream"),
        (reset_is_taken_for_success, "taken for one|connected to nobody"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_fault_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that finds nothing may be blind."""
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=found):
        schedules(range(200))
