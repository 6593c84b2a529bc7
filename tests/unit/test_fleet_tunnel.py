"""What one end does with a frame, and when; `test_fleet_tunnel_schedules.py` tests what both ends keep together."""

import itertools

import pytest

from brummer.core.errors import Internal
from brummer.fleet.tunnel.frames import Frame, FrameKind, ResetCause, decode, encode
from brummer.fleet.tunnel.stream import (
    ANSWER_S,
    IDLE_S,
    OPEN_S,
    PING_S,
    ByteStream,
    DataArrived,
    Publish,
    StreamOpened,
    StreamOver,
    TunnelEvent,
    TunnelLimits,
)
from brummer.fleet.tunnel.stream_states import ALLOWED, ENDED, TRANSITIONS, StreamEvent, StreamState
from brummer.fleet.tunnel.subjects import open_subject, stream_subject
from brummer.fleet.tunnel.tunnel import LATE_S, OPENS_KNOWN, StreamRefused, Tunnel

from .tunnel_world import START_S, World

SUBJECT = open_subject("box", "generation")
THEIRS = stream_subject("box", "a" * 16, "b" * 16)
ALLOWED_BYTES = 1000


def new_tunnel(limits: TunnelLimits | None = None) -> Tunnel:
    ids = itertools.count(1)
    return Tunnel("here", "c" * 16, lambda: f"{next(ids):016x}", limits)


def published(tunnel: Tunnel) -> list[Publish]:
    taken = list(tunnel.outputs.publishes)
    tunnel.outputs.publishes.clear()
    return taken


def said(tunnel: Tunnel) -> list[FrameKind]:
    return [decode(publish.data).kind for publish in published(tunnel)]


def happened(tunnel: Tunnel) -> list[TunnelEvent]:
    taken = list(tunnel.outputs.events)
    tunnel.outputs.events.clear()
    return taken


def hear(tunnel: Tunnel, stream: ByteStream, frame: Frame, now_s: float = START_S, reply: str = THEIRS) -> None:
    tunnel.received(stream.ours, reply, encode(frame), now_s)


def dialled(tunnel: Tunnel) -> ByteStream:
    """An open stream that this side has dialled; nothing has been sent over it."""
    stream = tunnel.dial(SUBJECT, START_S)
    hear(tunnel, stream, Frame(FrameKind.OPENED, total=ALLOWED_BYTES))
    assert happened(tunnel) == [StreamOpened(stream)]
    published(tunnel)
    return stream


def asked(tunnel: Tunnel, theirs: str = THEIRS, frame: Frame | None = None) -> list[TunnelEvent]:
    """What an opening that comes under a subject of this machine makes it do."""
    tunnel.serve(SUBJECT)
    tunnel.received(SUBJECT, theirs, encode(frame or Frame(FrameKind.OPEN, total=ALLOWED_BYTES)), START_S)
    return happened(tunnel)


def accepted(tunnel: Tunnel) -> ByteStream:
    """An open stream that the other side has dialled."""
    (event,) = asked(tunnel)
    event.stream.accept(START_S)
    published(tunnel)
    return event.stream


def test_each_state_has_a_way_to_its_end() -> None:
    assert set(TRANSITIONS) == set(StreamState)
    assert set(ALLOWED) == set(StreamState) - ENDED
    for state, events in TRANSITIONS.items():
        assert (StreamEvent.RESET in events) is (state is not StreamState.OVER)


def test_nothing_is_sent_before_the_answer_to_an_opening() -> None:
    tunnel = new_tunnel()
    stream = tunnel.dial(SUBJECT, START_S)
    assert said(tunnel) == [FrameKind.OPEN]
    assert stream.may_send == 0
    with pytest.raises(Internal):
        stream.send(b"early", START_S)


def test_a_reset_as_the_first_answer_is_no_success() -> None:
    tunnel = new_tunnel()
    stream = tunnel.dial(SUBJECT, START_S)
    hear(tunnel, stream, Frame(FrameKind.RESET, cause=ResetCause.REFUSED))
    assert happened(tunnel) == [StreamOver(stream, ResetCause.REFUSED)]


def test_an_end_that_speaks_first_does_not_overtake_the_answer() -> None:
    tunnel = new_tunnel()
    (event,) = asked(tunnel)
    event.stream.accept(START_S)
    event.stream.send(b"welcome", START_S)
    assert said(tunnel) == [FrameKind.OPENED, FrameKind.DATA]


def test_bytes_that_come_before_the_answer_are_a_gap() -> None:
    tunnel = new_tunnel()
    stream = tunnel.dial(SUBJECT, START_S)
    hear(tunnel, stream, Frame(FrameKind.DATA, 1, data=b"welcome"))
    assert happened(tunnel) == [StreamOver(stream, ResetCause.GAP)]


def test_the_answer_of_another_machine_than_the_dialled_one_is_refused() -> None:
    tunnel = new_tunnel()
    stream = tunnel.dial(SUBJECT, START_S)
    other = stream_subject("other", "a" * 16, "b" * 16)
    hear(tunnel, stream, Frame(FrameKind.OPENED, total=ALLOWED_BYTES), reply=other)
    assert happened(tunnel) == [StreamOver(stream, ResetCause.BROKEN)]


def test_nobody_under_the_subject_refuses_the_stream_at_once() -> None:
    tunnel = new_tunnel()
    stream = tunnel.dial(SUBJECT, START_S)
    tunnel.nobody(stream.ours)
    assert happened(tunnel) == [StreamOver(stream, ResetCause.NOBODY)]


def test_an_opening_without_an_answer_ends_in_time() -> None:
    tunnel = new_tunnel()
    stream = tunnel.dial(SUBJECT, START_S)
    assert tunnel.outputs.due_s == START_S + OPEN_S
    tunnel.tick(START_S + OPEN_S)
    assert happened(tunnel) == [StreamOver(stream, ResetCause.SILENCE)]


def test_an_opening_counts_once_however_often_it_comes() -> None:
    tunnel = new_tunnel()
    (event,) = asked(tunnel)
    assert asked(tunnel) == []
    event.stream.reset(ResetCause.SOCKET)
    happened(tunnel)
    assert asked(tunnel) == [], "also when its stream is over"


def test_the_openings_that_are_remembered_are_bounded() -> None:
    tunnel = new_tunnel(TunnelLimits(streams=1))
    asked(tunnel)
    published(tunnel)
    for number in range(OPENS_KNOWN):
        asked(tunnel, stream_subject("box", "a" * 16, f"{number:016x}"))
    assert said(tunnel) == [FrameKind.RESET] * OPENS_KNOWN
    asked(tunnel)
    assert said(tunnel) == [FrameKind.RESET], "it was forgotten, and there is no place for it"


@pytest.mark.parametrize("reply", ["", "brum.roster.box", "$SYS.REQ.SERVER.PING"])
def test_nothing_is_published_under_a_subject_that_a_stranger_chose(reply: str) -> None:
    tunnel = new_tunnel()
    assert asked(tunnel, reply) == []
    tunnel.received(stream_subject("here", "c" * 16, "d" * 16), reply, encode(Frame(FrameKind.PING)), START_S)
    assert published(tunnel) == []


def test_another_version_is_refused_by_name() -> None:
    tunnel = new_tunnel()
    assert asked(tunnel, frame=Frame(FrameKind.OPEN, version=7)) == []
    (publish,) = published(tunnel)
    assert (publish.subject, decode(publish.data).cause) == (THEIRS, ResetCause.VERSION)


def test_the_streams_of_one_instance_and_of_the_machine_are_limited() -> None:
    tunnel = new_tunnel(TunnelLimits(streams=2, agent_bytes=6 * (64 << 10)))
    for host in ("a", "a", "b"):
        tunnel.dial(open_subject(host, "generation"), START_S)
    for host in ("a", "b", "c"):
        with pytest.raises(StreamRefused) as refused:
            tunnel.dial(open_subject(host, "generation"), START_S)
        assert refused.value.cause is ResetCause.FULL


def test_a_withdrawn_instance_gets_no_stream_and_keeps_those_it_has() -> None:
    tunnel = new_tunnel()
    stream = accepted(tunnel)
    tunnel.withdraw(SUBJECT)
    tunnel.received(SUBJECT, THEIRS.replace("b", "d"), encode(Frame(FrameKind.OPEN)), START_S)
    assert happened(tunnel) == []
    assert list(tunnel.streams) == [stream]


@pytest.mark.parametrize("number", [0, 2, 2**40])
def test_any_number_but_the_next_is_a_gap(number: int) -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    hear(tunnel, stream, Frame(FrameKind.GRANT, number, total=ALLOWED_BYTES))
    assert happened(tunnel) == [StreamOver(stream, ResetCause.GAP)]
    assert said(tunnel) == [FrameKind.RESET]


def test_an_answer_to_a_ping_shows_that_the_last_bytes_were_lost() -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    stream.send(b"question", START_S)
    tunnel.tick(START_S + PING_S)
    hear(tunnel, stream, Frame(FrameKind.PONG, 2))
    assert happened(tunnel) == [StreamOver(stream, ResetCause.GAP)]


@pytest.mark.parametrize("frame", [Frame(FrameKind.OPENED, 1), Frame(FrameKind.OPEN, 1)], ids=["OPENED", "OPEN"])
def test_a_frame_that_the_state_does_not_allow_is_a_reset(frame: Frame) -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    hear(tunnel, stream, frame)
    assert happened(tunnel) == [StreamOver(stream, ResetCause.BROKEN)]


def test_bytes_after_a_fin_are_a_reset() -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    hear(tunnel, stream, Frame(FrameKind.FIN, 1))
    hear(tunnel, stream, Frame(FrameKind.DATA, 2, data=b"more"))
    assert happened(tunnel)[-1] == StreamOver(stream, ResetCause.BROKEN)


def test_more_bytes_than_were_allowed_are_a_reset() -> None:
    tunnel = new_tunnel(TunnelLimits(window_min=8, frame_bytes=4))
    stream = dialled(tunnel)
    hear(tunnel, stream, Frame(FrameKind.DATA, 1, data=bytes(8)))
    hear(tunnel, stream, Frame(FrameKind.DATA, 2, data=b"x"))
    assert happened(tunnel) == [DataArrived(stream, bytes(8)), StreamOver(stream, ResetCause.BROKEN)]


def test_no_bytes_are_sent_beyond_the_credit() -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    stream.send(bytes(ALLOWED_BYTES), START_S)
    assert stream.may_send == 0
    with pytest.raises(Internal):
        stream.send(b"x", START_S)


def test_bytes_that_are_no_frame_reset_their_stream() -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    tunnel.received(stream.ours, THEIRS, b"?", START_S)
    assert happened(tunnel) == [StreamOver(stream, ResetCause.BROKEN)]


def test_a_frame_of_no_stream_is_answered_with_a_reset_and_a_reset_with_nothing() -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    stream.reset(ResetCause.SOCKET)
    published(tunnel)
    hear(tunnel, stream, Frame(FrameKind.DATA, 1, data=b"late"))
    (publish,) = published(tunnel)
    assert (publish.subject, publish.reply) == (THEIRS, "")
    assert decode(publish.data).cause is ResetCause.UNKNOWN
    hear(tunnel, stream, Frame(FrameKind.RESET))
    assert published(tunnel) == []


def test_a_dialler_that_waits_for_an_answer_asks_soon_and_gives_up_in_time() -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    stream.send(b"question", START_S + 100)
    assert tunnel.outputs.due_s <= START_S + 100 + PING_S
    tunnel.tick(START_S + 100 + PING_S)
    assert said(tunnel) == [FrameKind.DATA, FrameKind.PING]
    tunnel.tick(START_S + 100 + PING_S + ANSWER_S)
    assert happened(tunnel) == [StreamOver(stream, ResetCause.SILENCE)]


def test_who_sends_on_and_on_without_an_answer_asks_all_the_same() -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    for tenths in range(int(10 * PING_S) + 1):
        stream.send(b"x", START_S + tenths / 10)
    tunnel.tick(START_S + PING_S)
    assert said(tunnel)[-1] is FrameKind.PING


def test_a_dialler_that_has_an_answer_asks_ever_more_rarely() -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    stream.send(b"question", START_S)
    hear(tunnel, stream, Frame(FrameKind.DATA, 1, data=b"answer"))
    published(tunnel)
    happened(tunnel)
    asked_after_s: list[float] = []
    while (now_s := tunnel.outputs.due_s) <= START_S + 2 * IDLE_S:
        tunnel.tick(now_s)
        if said(tunnel):
            hear(tunnel, stream, Frame(FrameKind.PONG, 2 + len(asked_after_s)), now_s)
            asked_after_s.append(now_s - START_S)
    assert happened(tunnel) == []
    assert asked_after_s[:4] == [2, 4, 8, 16]
    assert len(asked_after_s) < 12


def test_an_acceptor_on_which_nothing_waits_asks_every_ten_minutes() -> None:
    tunnel = new_tunnel()
    stream = accepted(tunnel)
    stream.send(b"answer", START_S)
    published(tunnel)
    tunnel.tick(START_S + IDLE_S - 1)
    assert said(tunnel) == []
    tunnel.tick(START_S + IDLE_S)
    assert said(tunnel) == [FrameKind.PING]


def test_an_acceptor_without_credit_asks_soon() -> None:
    tunnel = new_tunnel()
    stream = accepted(tunnel)
    stream.send(bytes(ALLOWED_BYTES), START_S)
    published(tunnel)
    tunnel.tick(START_S + PING_S)
    assert said(tunnel) == [FrameKind.PING]


def test_nobody_is_accused_while_this_machine_did_not_run() -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    stream.send(b"question", START_S)
    tunnel.tick(START_S + PING_S)
    late_s = START_S + PING_S + ANSWER_S + LATE_S + 1
    tunnel.tick(late_s)
    assert happened(tunnel) == []
    tunnel.tick(late_s + ANSWER_S)
    assert happened(tunnel) == [StreamOver(stream, ResetCause.SILENCE)]


def test_a_lost_carrier_ends_all_streams_and_refuses_new_ones_until_it_is_back() -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    tunnel.lost()
    assert happened(tunnel) == [StreamOver(stream, ResetCause.LOST)]
    assert published(tunnel) == []
    with pytest.raises(StreamRefused):
        tunnel.dial(SUBJECT, START_S)
    tunnel.back()
    tunnel.dial(SUBJECT, START_S)


def test_what_has_come_completely_survives_the_loss_of_the_carrier() -> None:
    tunnel = new_tunnel()
    stream = dialled(tunnel)
    hear(tunnel, stream, Frame(FrameKind.DATA, 1, data=b"all of it"))
    hear(tunnel, stream, Frame(FrameKind.FIN, 2))
    stream.end(START_S)
    happened(tunnel)
    tunnel.lost()
    assert happened(tunnel) == []
    stream.consumed(len(b"all of it"))
    assert happened(tunnel) == [StreamOver(stream, None)]


def test_a_window_grows_only_when_the_sender_had_to_wait_for_it() -> None:
    world = World(TunnelLimits(frame_bytes=4, window_min=16, window_max=64, agent_bytes=1024))
    talk = world.dial(0)
    assert talk
    world.settle()
    free = world.sides[1].tunnel.outputs.extra_free
    for _ in range(100):
        world.send(talk.near, 4)
        world.settle()
    assert world.sides[1].tunnel.outputs.extra_free == free, "one small call after the other"
    for _ in range(100):
        for _ in range(64):
            world.send(talk.near, 4)
        world.settle()
    assert world.sides[1].tunnel.outputs.extra_free == free - (64 - 16)


def test_large_windows_leave_half_of_the_rest_to_others() -> None:
    outputs = new_tunnel(TunnelLimits(agent_bytes=1600)).outputs
    assert [outputs.take_extra(300) for _ in range(4)] == [300, 250, 125, 62]
