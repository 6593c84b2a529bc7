import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.fleet.tunnel.frames import FRAME_BYTES, BadFrame, Frame, FrameKind, ResetCause, decode, encode
from brummer.fleet.tunnel.subjects import open_subject, opening_host, stream_host, stream_subject

NUMBERS = st.integers(0, 2**64 - 1)
FRAMES = st.one_of(
    st.builds(Frame, st.just(FrameKind.DATA), NUMBERS, data=st.binary(min_size=1, max_size=300)),
    st.builds(Frame, st.sampled_from([FrameKind.OPEN, FrameKind.OPENED, FrameKind.GRANT]), NUMBERS, total=NUMBERS),
    st.builds(Frame, st.sampled_from([FrameKind.FIN, FrameKind.PING, FrameKind.PONG]), NUMBERS),
    st.builds(Frame, st.just(FrameKind.RESET), NUMBERS, cause=st.sampled_from(ResetCause)),
)


@given(FRAMES)
def test_a_frame_is_read_as_it_was_written(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


@given(st.binary(max_size=40))
def test_any_bytes_are_a_frame_or_refused(message: bytes) -> None:
    try:
        frame = decode(message)
    except BadFrame:
        return
    if frame.kind is not FrameKind.RESET and frame.version == 1:
        assert encode(frame) == message


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x03",
        b"\x00" + bytes(8),
        b"\x63" + bytes(8),
        encode(Frame(FrameKind.DATA)),
        encode(Frame(FrameKind.DATA, data=bytes(FRAME_BYTES + 1))),
        encode(Frame(FrameKind.FIN)) + b"\x00",
        encode(Frame(FrameKind.GRANT))[:-1],
        encode(Frame(FrameKind.OPEN)) + b"\x00",
        encode(Frame(FrameKind.RESET))[:-1],
    ],
)
def test_what_is_too_short_too_long_or_of_no_kind_is_refused(message: bytes) -> None:
    with pytest.raises(BadFrame):
        decode(message)


def test_an_opening_of_another_version_is_read_as_far_as_its_version() -> None:
    assert decode(b"\x01" + bytes(8) + b"\x07and more").version == 7


def test_a_reset_with_a_cause_of_a_newer_version_is_still_a_reset() -> None:
    frame = decode(encode(Frame(FrameKind.RESET))[:-1] + b"\xfe")
    assert (frame.kind, frame.cause) == (FrameKind.RESET, ResetCause.BROKEN)


def test_the_largest_frame_fits_into_64_kib() -> None:
    assert len(encode(Frame(FrameKind.DATA, data=bytes(FRAME_BYTES)))) < 1 << 16


AGENT, STREAM = "0123456789abcdef", "fedcba9876543210"


def test_a_name_with_dots_is_one_token_of_a_subject() -> None:
    assert open_subject("box.lan", "generation").split(".") == ["brum", "open", "box_lan", "generation"]
    assert stream_subject("box.lan", AGENT, STREAM).split(".") == ["brum", "s", "box_lan", AGENT, STREAM]
    assert opening_host(open_subject("box.lan", "generation")) == stream_host(stream_subject("box.lan", AGENT, STREAM))


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "brum.roster.box",
        "brum.open.box.generation",
        "$SYS.REQ.SERVER.PING",
        stream_subject("box", AGENT, "*"),
        stream_subject("box", AGENT, STREAM) + ".more",
        stream_subject("box", AGENT, STREAM) + "\n",
        stream_subject(">", AGENT, STREAM),
        stream_subject("box", AGENT.upper(), STREAM),
    ],
)
def test_nothing_but_a_subject_of_a_stream_passes_for_one(subject: str) -> None:
    assert stream_host(subject) is None
