"""Frames between `brum attach` and an instance."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.contract.attaching import (
    FRAME_BYTES,
    INPUT,
    OUTPUT,
    PATH,
    SIZE,
    Frames,
    NoFrame,
    Size,
    frame,
    frame_of,
)
from brummer.instance.service import ATTACH_PATH


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(0, 400)))
def test_frames_arrive_however_their_bytes_are_cut(contents: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frame(INPUT, content) for content in contents)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    frames = Frames()
    found = [each for begin, end in itertools.pairwise(edges) for each in frames.feed(data[begin:end])]
    assert found == [(INPUT, content) for content in contents]


def test_long_output_is_several_frames_and_an_object_is_one() -> None:
    long = bytes(FRAME_BYTES) + b"end"
    assert list(Frames().feed(frame(OUTPUT, long))) == [(OUTPUT, bytes(FRAME_BYTES)), (OUTPUT, b"end")]
    [(kind, content)] = Frames().feed(frame_of(SIZE, Size(24, 80)))
    assert (kind, msgspec.json.decode(content, type=Size)) == (SIZE, Size(24, 80))


@pytest.mark.parametrize("data", [b"x\0\0\0\0", b"o\x7f\0\0\0", b"GET / HTTP/1.1\r\n"])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(NoFrame):
        list(Frames().feed(data))


def test_an_instance_answers_at_the_place_that_the_command_asks_for() -> None:
    assert ATTACH_PATH == PATH
