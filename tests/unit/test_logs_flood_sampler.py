from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.logs import flood_sampler
from brummer.logs.entries import Page
from brummer.logs.flood_sampler import FloodSampler, Part
from brummer.logs.output import Line, Output

NOON = 1_782_993_600.0
TAIL_BYTES = 200


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood_sampler, "TAIL_BYTES", TAIL_BYTES)
    monkeypatch.setattr(flood_sampler, "SHOWN_BYTES", 25)
    monkeypatch.setattr(flood_sampler, "BEFORE_BYTES", 30)
    monkeypatch.setattr(flood_sampler, "AFTER_BYTES", 60)


def sampled(sampler: FloodSampler, data: bytes, cuts: list[int]) -> list[Part]:
    """All parts of data that comes in pieces."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    parts = [part for begin, end in pairwise(edges) for part in sampler.take(data[begin:end])]
    return [*parts, sampler.rest()]


lines = st.lists(
    st.sampled_from(
        [b"\n", b"a\n", b"GET / 200\n", b"x" * 40 + b"\n", b"y" * 300 + b"\n", b"an Error: no\n", b"no end"]
    ),
    max_size=200,
).map(b"".join)


@pytest.mark.promise("nothing-cut-silently")
@given(lines, st.lists(st.integers(0, 10_000), max_size=20))
def test_every_byte_is_kept_or_counted_and_no_line_is_torn(data: bytes, cuts: list[int]) -> None:
    at = 0
    for part in sampled(FloodSampler(), data, cuts):
        left_out = data[at : at + part.skipped_bytes]
        assert left_out.count(b"\n") == part.skipped_lines
        assert not left_out or (left_out.endswith(b"\n") and data[at - 1 : at] in (b"", b"\n"))
        at += part.skipped_bytes
        assert data[at : at + len(part.kept)] == part.kept
        at += len(part.kept)
    assert at == len(data)


@given(lines, st.lists(st.integers(0, 10_000), max_size=20))
def test_the_end_is_always_kept(data: bytes, cuts: list[int]) -> None:
    after_the_last_gap = 0
    for part in sampled(FloodSampler(), data, cuts):
        after_the_last_gap = len(part.kept) + (0 if part.skipped_bytes else after_the_last_gap)
    assert after_the_last_gap >= min(len(data), TAIL_BYTES)


def numbered(count: int) -> bytes:
    return b"".join(b"line %04d\n" % number for number in range(count))


def test_the_first_sign_of_trouble_is_kept_with_what_leads_to_it_and_what_follows() -> None:
    data = numbered(500) + b"ValueError: it broke\n" + numbered(500) + b"ValueError: again\n" + numbered(500)
    kept = b"".join(part.kept for part in sampled(FloodSampler(), data, [100]))
    assert b"line 0497\nline 0498\nline 0499\nValueError: it broke\nline 0000\nline 0001\n" in kept
    assert b"again" not in kept
    assert kept.endswith(numbered(500)[-TAIL_BYTES:])


def test_a_look_shows_the_last_lines_and_counts_the_others() -> None:
    sampler = FloodSampler()
    parts = [*sampler.take(b"begin\n" + numbered(100) + b"line 0"), sampler.shown()]
    assert parts[-1].kept == b"line 0098\nline 0099\nline 0"
    assert sum(part.skipped_lines for part in parts) == 98
    assert sum(part.skipped_bytes + len(part.kept) for part in parts) == len(b"begin\n" + numbered(100) + b"line 0")


def test_nothing_is_left_out_of_one_line_however_long() -> None:
    data = b"z" * 10_000
    parts = sampled(FloodSampler(), data + b"\n", list(range(0, 10_000, 150)))
    assert b"".join(part.kept for part in parts) == data + b"\n"


def everything(output: Output, process: str | None) -> Iterator[Page[Line]]:
    cursor, more = "gen.0.0", True
    while more:
        page = output.log.read(cursor, 7, process=process)
        yield page
        cursor, more = page.cursor, page.more


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), st.integers(5, 400))
def test_of_lines_read_page_by_page_each_is_there_or_counted_once(floods: list[int], room: int) -> None:
    """Some are skipped, and some make room; of one process, and of it and its neighbour."""
    output = Output("gen", max_bytes=room * 160)
    flood = output.open("flood")
    for count in floods:
        flood.feed("stdout", b"before\n" * 3, NOON)
        flood.sample("stdout", numbered(count), NOON)
        flood.feed("stdout", b"after\n" * 3, NOON)
    flood.end(NOON)
    pages = list(everything(output, "flood"))
    assert sum(len(page.entries) + page.dropped for page in pages) == output.log.last_n
    output.add_lines("calm", "stdout", ["quiet"], NOON)
    pages = list(everything(output, None))
    assert sum(len(page.entries) + page.dropped for page in pages) == output.log.last_n


def test_what_was_left_out_is_said_in_its_place() -> None:
    output = Output("gen")
    flood = output.open("flood")
    flood.feed("stdout", b"begin", NOON)
    flood.sample("stdout", b"ning\n" + numbered(1000), NOON)
    flood.feed("stdout", b"calm again\n", NOON)
    texts = [(line.stream, line.text) for line in output.log.after(0)]
    assert texts[0] == ("stdout", "beginning")
    assert texts[1] == ("brum", "[… 980 lines (0.0 MB) are not kept: they came too fast to be read]")
    assert texts[2:] == [*(("stdout", f"line {number:04}") for number in range(980, 1000)), ("stdout", "calm again")]
    assert output.log.last_n == 1003


def test_after_a_look_the_line_that_it_cut_is_whole() -> None:
    output = Output("gen")
    flood = output.open("flood")
    flood.sample("stdout", numbered(100) + b"li", NOON)
    flood.show_sample("stdout", NOON)
    assert [line.text for line in output.log.after(0)][-2:] == ["line 0098", "line 0099"]
    flood.sample("stdout", b"ne 0100\n" + numbered(100), NOON)
    flood.end(NOON)
    texts = [line.text for line in output.log.after(0)]
    assert "line 0100" in texts
    assert texts[-1] == "line 0099"
