import logging

import pytest

from brummer.core.errors import InvalidArguments
from brummer.process.numbered import PAGE_BYTES, NumberedLog, Page
from brummer.process.output import Line, Output

NOON = 1_782_993_600.25


def filled(count: int, *, max_lines: int = 100, max_bytes: int = 10_000) -> Output:
    output = Output("gen", max_lines=max_lines, max_bytes=max_bytes)
    for number in range(1, count + 1):
        output.add("odd" if number % 2 else "even", "stdout", f"line {number}", NOON)
    return output


def read(output: Output, cursor: str | None = None, limit: int = 100, process: str | None = None) -> Page[Line]:
    return output.log.read(cursor, limit, lambda line: process in (None, line.process))


def numbers(page: Page[Line]) -> list[int]:
    return [line.n for line in page.entries]


def test_a_line_carries_number_process_stream_time_and_plain_text() -> None:
    output = Output("gen")
    output.open("web").feed("stderr", b"\x1b[31mbad\x1b[0m\n", NOON)
    assert read(output).entries == [Line(1, "web", "stderr", "2026-07-02T12:00:00.250Z", "bad")]


def test_streams_of_one_process_do_not_mix_within_a_line() -> None:
    output = Output("gen")
    sink = output.open("web")
    sink.feed("stdout", b"out", NOON)
    sink.feed("stderr", b"err", NOON)
    sink.feed("stdout", b"put\n", NOON)
    sink.end(NOON)
    assert [(line.stream, line.text) for line in read(output).entries] == [("stdout", "output"), ("stderr", "err")]


def test_the_oldest_lines_make_room_when_there_are_too_many() -> None:
    assert numbers(read(filled(150, max_lines=100))) == list(range(51, 151))


def test_the_oldest_lines_make_room_when_they_have_too_many_bytes() -> None:
    output = Output("gen", max_bytes=100)
    for _ in range(30):
        output.add("web", "stdout", "é" * 5, NOON)
    assert len(output.log) == 10


def test_without_a_cursor_the_newest_lines_come_oldest_first_and_the_rest_is_counted() -> None:
    page = read(filled(10), limit=3)
    assert numbers(page) == [8, 9, 10]
    assert (page.omitted, page.dropped) == (7, 0)


def test_without_a_cursor_lines_that_are_gone_are_counted_when_they_would_have_been_shown() -> None:
    page = read(filled(110, max_lines=100), limit=200)
    assert (len(page.entries), page.dropped) == (100, 10)


def test_reading_on_from_a_cursor_gives_every_line_once() -> None:
    output = filled(10)
    first = read(output, read(output, limit=1).next_cursor)
    assert first.entries == []
    output.add("odd", "stdout", "more", NOON)
    second = read(output, first.next_cursor)
    assert numbers(second) == [11]
    assert numbers(read(output, second.next_cursor)) == []


def test_a_limit_cuts_a_page_where_the_next_one_goes_on() -> None:
    output = filled(10)
    seen: list[int] = []
    cursor = "gen.0"
    while page := numbers(found := read(output, cursor, limit=2, process="odd")):
        seen += page
        cursor = found.next_cursor
    assert seen == [1, 3, 5, 7, 9]


def test_a_cursor_whose_lines_are_gone_says_how_many() -> None:
    page = read(filled(150, max_lines=100), "gen.20")
    assert (page.dropped, numbers(page)[0], page.cursor_reset) == (30, 51, False)


def test_a_cursor_of_another_generation_starts_at_the_oldest_and_says_so() -> None:
    page = read(filled(5), "another.3")
    assert (numbers(page), page.cursor_reset) == ([1, 2, 3, 4, 5], True)


@pytest.mark.parametrize("cursor", ["", "gen", "gen.", ".5", "gen.x", "gen.-1", "gen.²"])
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        read(filled(1), cursor)
    assert caught.value.context["cursor"] == cursor


def test_a_cursor_from_the_future_waits_for_what_comes() -> None:
    output = filled(3)
    assert numbers(read(output, "gen.99")) == []


def test_one_answer_has_a_byte_limit_and_the_next_goes_on_behind_it() -> None:
    output = Output("gen")
    for _ in range(40):
        output.add("web", "stdout", "x" * 16_000, NOON)
    first = read(output, "gen.0")
    assert sum(len(line.text) for line in first.entries) <= PAGE_BYTES
    assert numbers(read(output, first.next_cursor))[0] == first.entries[-1].n + 1
    assert read(output).omitted == 40 - len(first.entries)


def test_a_single_line_over_the_limit_is_still_given() -> None:
    log: NumberedLog[Line] = NumberedLog("gen", 10, PAGE_BYTES * 3, lambda line: len(line.text))
    log.append(Line(1, "web", "stdout", "", "x" * (PAGE_BYTES + 1)))
    log.append(Line(2, "web", "stdout", "", "y"))
    page = log.read("gen.0", 10, lambda _: True)
    assert numbers(page) == [1]
    assert numbers(log.read(page.next_cursor, 10, lambda _: True)) == [2]


def test_a_subscriber_gets_the_line_and_its_raw_text_until_it_leaves() -> None:
    output = Output("gen")
    seen: list[tuple[int, str]] = []
    leave = output.subscribe(lambda line, raw: seen.append((line.n, raw)))
    output.add("web", "stdout", "\x1b[1mbold\x1b[0m", NOON)
    leave()
    leave()
    output.add("web", "stdout", "unseen", NOON)
    assert seen == [(1, "\x1b[1mbold\x1b[0m")]


def test_a_subscriber_that_fails_harms_nobody_and_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    output = Output("gen")
    seen: list[int] = []

    def broken(line: Line, raw: str) -> None:
        raise BrokenPipeError

    output.subscribe(broken)
    output.subscribe(lambda line, _: seen.append(line.n))
    with caplog.at_level(logging.CRITICAL):
        output.add("web", "stdout", "one", NOON)
        output.add("web", "stdout", "two", NOON)
    assert seen == [1, 2]


def test_a_hundred_thousand_lines_cost_the_same_as_ten_thousand_each() -> None:
    output = Output("gen")
    sink = output.open("web")
    for _ in range(100):
        sink.feed("stdout", b"a line of some length, as they are\n" * 1000, NOON)
    assert (output.log.last_n, len(output.log)) == (100_000, 10_000)
