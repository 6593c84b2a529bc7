"""Server-sent events, in any chunking."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.core.errors import TooLarge
from brummer.wire.http.sse import KEEP_ALIVE, EventDecoder, encode_event

MESSAGES = [b'{"a":1}', b'{"text":"line\\nbreak"}', b"{}", b'{"long":"' + b"x" * 500 + b'"}']
STREAM = KEEP_ALIVE.join(encode_event(message) for message in MESSAGES) + KEEP_ALIVE


def fed(chunks: list[bytes], limit_bytes: int = 1 << 20) -> list[bytes]:
    decoder = EventDecoder(limit_bytes)
    return [event for chunk in chunks for event in decoder.feed(chunk)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_events_come_out_whole_however_they_were_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert fed([STREAM[start:end] for start, end in pairwise(edges)]) == MESSAGES


def test_events_come_out_of_single_bytes() -> None:
    assert fed([bytes([byte]) for byte in STREAM]) == MESSAGES


def test_a_message_with_breaks_between_its_tokens_is_one_event() -> None:
    assert fed([encode_event(b'{\r\n "a":\n1\r}')]) == [b'{   "a": 1 }']


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\r\n\r\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", []),
        (b"id: 1\ndata: \n\ndata: a\n\n", [b"a"]),
        (b": comment\nid: 5\nretry: 10\nevent: message\ndata: a\n\n", [b"a"]),
        (b"\n\n\n", []),
        (b"unknown: field\ndata: a\n\n", [b"a"]),
        (b"data: unfinished\n", []),
    ],
)
def test_the_fields_of_the_standard(stream: bytes, events: list[bytes]) -> None:
    assert fed([stream]) == events


def test_an_event_over_the_limit_is_refused_while_it_comes_in() -> None:
    with pytest.raises(TooLarge):
        fed([b"x" * 100] * 20, limit_bytes=1000)


@pytest.mark.parametrize("line", [b"data: xxxxxxxxx\n", b"data:\n"])
def test_an_event_of_endless_lines_is_refused(line: bytes) -> None:
    with pytest.raises(TooLarge):
        fed([line] * 2000, limit_bytes=1000)


def test_many_events_in_one_chunk_are_not_one_large_event() -> None:
    assert fed([encode_event(b"x" * 90) * 100], limit_bytes=100) == [b"x" * 90] * 100
