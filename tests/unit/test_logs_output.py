import logging

import pytest

from brummer.core.errors import InvalidArguments
from brummer.logs.bounded_log import BoundedLog
from brummer.logs.entries import PAGE_BYTES, Page
from brummer.logs.output import LINE_BYTES, UNFINISHED_LENGTH, Batch, Line, Output, answer_size_of
from brummer.settings.limits import DEFAULTS

NOON = 1_782_993_600.25


def filled(count: int) -> Output:
    """Of two processes; there is room for a hundred lines."""
    output = Output("gen", max_bytes=100 * (LINE_BYTES + 8))
    for number in range(1, count + 1):
        output.add_lines("odd" if number % 2 else "even", "stdout", [f"line {number:3}"], NOON)
    return output


def read(output: Output, cursor: str | None = None, limit: int = 100, process: str | None = None) -> Page[Line]:
    return output.log.read(cursor, limit, process=process)


def numbers(page: Page[Line]) -> list[int]:
    return [line.n for line in page.entries]


def test_a_line_carries_number_process_stream_time_and_plain_text() -> None:
    output = Output("gen")
    output.open("web").feed("stderr", b"\x1b[31mbad\x1b[0m\n", NOON)
    [line] = read(output).entries
    assert line.seen(colours=False) == Line(1, "web", "stderr", "2026-07-02T12:00:00.250Z", "bad")


def test_a_line_keeps_its_colours_for_people_and_no_other_sequence() -> None:
    output = Output("gen")
    output.open("web").feed("stdout", b"\x1b[2J\x1b[1;32mgood\x1b[0m\x1b]0;title\x07\n\x1b[2Jbare\nplain\n", NOON)
    lines = read(output).entries
    assert [line.seen(colours=True).text for line in lines] == ["\x1b[1;32mgood\x1b[0m", "bare", "plain"]
    assert [line.seen(colours=False).text for line in lines] == ["good", "bare", "plain"]
    assert [line.text for line in lines] == ["good", "bare", "plain"]


def test_colours_count_for_the_memory_and_not_for_an_answer() -> None:
    output = Output("gen", max_bytes=10 * (LINE_BYTES + 7 + 16))
    for _ in range(30):
        output.add_lines("web", "stdout", ["\x1b[31m1234567\x1b[0m"], NOON)
    assert len(output.log) == 10
    [line, *_] = read(output).entries
    assert answer_size_of(line) == answer_size_of(line.seen(colours=False))


def test_followers_get_lines_without_colours_and_beside_them_what_was_printed() -> None:
    output, batches = Output("gen"), list[Batch]()
    output.follow(batches.append)
    output.add_lines("web", "stdout", ["\x1b[31mbad\x1b[0m"], NOON)
    assert [(batch.lines, batch.raw) for batch in batches] == [
        ([read(output).entries[0].seen(colours=False)], ["\x1b[31mbad\x1b[0m"])
    ]


def test_streams_of_one_process_do_not_mix_within_a_line() -> None:
    output = Output("gen")
    sink = output.open("web")
    sink.feed("stdout", b"out", NOON)
    sink.feed("stderr", b"err", NOON)
    sink.feed("stdout", b"put\n", NOON)
    sink.end(NOON)
    assert [(line.stream, line.text) for line in read(output).entries] == [("stdout", "output"), ("stderr", "err")]


def test_the_oldest_lines_make_room_when_there_are_too_many() -> None:
    assert numbers(read(filled(150))) == list(range(51, 151))


def test_the_oldest_lines_make_room_when_they_have_too_many_bytes() -> None:
    output = Output("gen", max_bytes=10 * (LINE_BYTES + 10))
    for _ in range(30):
        output.add_lines("web", "stdout", ["é" * 5], NOON)
    assert len(output.log) == 10


def test_without_a_cursor_the_newest_lines_come_oldest_first_and_the_rest_is_counted() -> None:
    page = read(filled(10), limit=3)
    assert numbers(page) == [8, 9, 10]
    assert (page.omitted, page.dropped) == (7, 0)


def test_without_a_cursor_lines_that_are_gone_are_counted_when_they_would_have_been_shown() -> None:
    page = read(filled(110), limit=200)
    assert (len(page.entries), page.dropped) == (100, 10)


@pytest.mark.promise("nothing-cut-silently")
def test_reading_on_from_a_cursor_gives_every_line_once() -> None:
    output = filled(10)
    first = read(output, read(output, limit=1).cursor)
    assert first.entries == []
    output.add_lines("odd", "stdout", ["more"], NOON)
    second = read(output, first.cursor)
    assert numbers(second) == [11]
    assert numbers(read(output, second.cursor)) == []


def test_a_limit_cuts_a_page_where_the_next_one_goes_on() -> None:
    output = filled(10)
    seen: list[int] = []
    cursor = "gen.0.0"
    while page := numbers(found := read(output, cursor, limit=2, process="odd")):
        seen += page
        cursor = found.cursor
    assert seen == [1, 3, 5, 7, 9]


def test_a_cursor_whose_lines_are_gone_says_how_many() -> None:
    page = read(filled(150), "gen.20.0")
    assert (page.dropped, numbers(page)[0], page.cursor_reset) == (30, 51, False)


def test_a_cursor_of_another_generation_starts_at_the_oldest_and_says_so() -> None:
    page = read(filled(5), "another.3")
    assert (numbers(page), page.cursor_reset) == ([1, 2, 3, 4, 5], True)


@pytest.mark.parametrize("cursor", ["", "gen", "gen.", ".5.0", "gen.x.0", "gen.-1.0", "gen.².0", "gen.1.", "gen.1.2.3"])
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        read(filled(1), cursor)
    assert caught.value.context["cursor"] == cursor


def test_a_cursor_from_the_future_waits_for_what_comes() -> None:
    output = filled(3)
    assert numbers(read(output, "gen.99.0")) == []


def test_one_answer_has_a_byte_limit_and_the_next_goes_on_behind_it() -> None:
    output = Output("gen")
    for _ in range(40):
        output.add_lines("web", "stdout", ["x" * 16_000], NOON)
    first = read(output, "gen.0.0")
    assert sum(len(line.text) for line in first.entries) <= PAGE_BYTES
    assert numbers(read(output, first.cursor))[0] == first.entries[-1].n + 1
    assert read(output).omitted == 40 - len(first.entries)


def test_a_single_line_over_the_limit_is_still_given() -> None:
    log: BoundedLog[Line] = BoundedLog("gen", PAGE_BYTES * 3, lambda line: len(line.text))
    log.append(Line(1, "web", "stdout", "", "x" * (PAGE_BYTES + 1)))
    log.append(Line(2, "web", "stdout", "", "y"))
    page = log.read("gen.0.0", 10, lambda _: True)
    assert numbers(page) == [1]
    assert numbers(log.read(page.cursor, 10, lambda _: True)) == [2]


def test_a_follower_gets_the_lines_and_their_raw_texts_until_it_leaves() -> None:
    output = Output("gen")
    seen: list[tuple[int, str]] = []
    leave = output.follow(
        lambda batch: seen.extend((line.n, raw) for line, raw in zip(batch.lines, batch.raw, strict=True))
    )
    output.add_lines("web", "stdout", ["\x1b[1mbold\x1b[0m"], NOON)
    leave()
    leave()
    output.add_lines("web", "stdout", ["unseen"], NOON)
    assert seen == [(1, "\x1b[1mbold\x1b[0m")]


def test_a_follower_that_fails_does_not_affect_the_others_and_gets_the_next_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    output = Output("gen")
    seen: list[int] = []

    given: list[int] = []

    def broken(batch: Batch) -> None:
        given.extend(line.n for line in batch.lines)
        raise BrokenPipeError

    output.follow(broken)
    output.follow(lambda batch: seen.extend(line.n for line in batch.lines))
    with caplog.at_level(logging.CRITICAL):
        output.add_lines("web", "stdout", ["one"], NOON)
        output.add_lines("web", "stdout", ["two"], NOON)
    assert seen == given == [1, 2]


def test_a_hundred_thousand_lines_cost_the_same_as_ten_thousand_each() -> None:
    output = Output("gen")
    sink = output.open("web")
    for _ in range(100):
        sink.feed("stdout", b"a line of some length, as they are\n" * 1000, NOON)
    assert (output.log.last_n, len(output.log)) == (100_000, DEFAULTS.output_bytes // (LINE_BYTES + 34))


def noisy_and_quiet() -> Output:
    """Every hundredth line is of the quiet one; there is room for a hundred."""
    output = Output("gen", max_bytes=100 * (LINE_BYTES + 4))
    for number in range(1, 2001):
        output.add_lines("noisy" if number % 100 else "quiet", "stdout", [f"{number:4}"], NOON)
    return output


@pytest.mark.promise("a-flood-displaces-itself")
def test_a_flood_displaces_itself_and_nobody_else() -> None:
    output = noisy_and_quiet()
    assert numbers(read(output, process="quiet")) == list(range(100, 2001, 100))
    noisy = numbers(read(output, process="noisy"))
    assert (len(noisy), noisy[-1]) == (80, 1999)


def test_several_floods_share_alike() -> None:
    output = Output("gen", max_bytes=90 * (LINE_BYTES + 1))
    for number in range(3000):
        output.add_lines("abc"[number % 3], "stdout", ["x"], NOON)
        output.add_lines("a", "stdout", ["x"], NOON)
    assert [len(read(output, process=name).entries) for name in "abc"] == [30, 30, 30]


def test_lines_of_all_come_in_their_order_and_what_is_gone_is_reported_by_process() -> None:
    output = noisy_and_quiet()
    page = read(output, "gen.0.0", limit=1000)
    assert numbers(page) == sorted(numbers(page))
    assert (page.dropped, page.dropped_of) == (1900, {"noisy": 1900})
    assert numbers(read(output, limit=5)) == [1996, 1997, 1998, 1999, 2000]


def test_of_one_process_only_its_own_losses_are_reported() -> None:
    output = noisy_and_quiet()
    assert (read(output, "gen.50.0", process="quiet").dropped, read(output, process="quiet").dropped) == (0, 0)
    page = read(output, "gen.1800.0", process="noisy")
    assert page.dropped == page.entries[0].n - 1801 - len([n for n in (1900,) if n < page.entries[0].n])


def test_what_did_not_fit_behind_a_cursor_is_said_to_be_there() -> None:
    output = filled(10)
    assert (read(output, "gen.0.0", limit=3).more, read(output, "gen.7.0", limit=3).more) == (True, False)


def test_the_neighbours_of_a_line_are_those_of_its_process() -> None:
    output = filled(10)
    [line] = read(output, "gen.4.0", limit=1).entries
    before, after = output.log.around(line, 1)
    assert (line.n, [line.n for line in before], [line.n for line in after]) == (5, [3], [7])
    first = read(output, "gen.0.0", limit=1).entries[0]
    assert output.log.around(first, 9)[0] == []


def test_a_follower_gets_what_came_at_once_as_one_batch() -> None:
    output = Output("gen")
    batches: list[Batch] = []
    output.follow(batches.append)
    output.open("web").feed("stderr", b"one\n\x1b[1mtwo\x1b[0m\nthr", NOON)
    [batch] = batches
    assert (batch.process, batch.stream, batch.text) == ("web", "stderr", "one\ntwo")
    assert ([line.n for line in batch.lines], batch.raw) == ([1, 2], ["one", "\x1b[1mtwo\x1b[0m"])


def test_what_waits_for_its_line_end_can_be_seen() -> None:
    sink = Output("gen").open("web")
    assert sink.unfinished() is None
    sink.feed("stdout", b"done\n\x1b[1mReally?\x1b[0m [y/N] ", NOON)
    assert sink.unfinished() == "Really? [y/N]"
    sink.feed("stdout", b"x" * 10_000 + b" Sure?", NOON)
    assert sink.unfinished() == f"[… 10020 characters] {('x' * 10_000 + ' Sure?')[-UNFINISHED_LENGTH:]}"


def test_what_was_dropped_before_a_run_does_not_concern_its_reader() -> None:
    log = noisy_and_quiet().log
    assert log.read(None, 1000, process="noisy", since_n=1950).dropped == 0
    assert log.read("gen.0.0", 1000, process="noisy", since_n=1900).dropped < 100
