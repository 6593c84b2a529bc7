"""Which lines are kept, and on which rows they stand."""

from hypothesis import given
from hypothesis import strategies as st

from brummer.views.log_lines import LogLine
from brummer.views.terminal.kept_lines import KeptLines
from tests.unit.terminal_support import line, some_lines

TEXTS = st.lists(st.sampled_from(["", "short", "a line of thirty characters..", "漢字" * 9, "a\u202eb"]), max_size=6)


def rows_of(kept: KeptLines) -> list[tuple[int, int]]:
    """The number of the line on each row, and which of its rows it is."""
    found = []
    for row in range(kept.row_count):
        place, part = kept.at_row(row)
        found.append((kept.at(place).n, part))
    return found


def test_a_line_has_one_row_or_as_many_as_it_needs_when_wrapped() -> None:
    kept = KeptLines()
    kept.append([line(1, "ab"), line(2, "abcdefghijk"), line(3, "")])
    assert rows_of(kept) == [(1, 0), (2, 0), (3, 0)]
    kept.wrap(5)
    assert rows_of(kept) == [(1, 0), (2, 0), (2, 1), (2, 2), (3, 0)]
    kept.append([line(4, "漢字漢")])
    kept.prepend([line(0, "abcdef")])
    assert rows_of(kept)[:3] == [(0, 0), (0, 1), (1, 0)]
    assert rows_of(kept)[-2:] == [(4, 0), (4, 1)]
    kept.wrap(None)
    assert rows_of(kept) == [(n, 0) for n in range(5)]


def test_a_place_stays_with_its_line_whatever_comes_and_goes() -> None:
    kept = KeptLines(max_lines=10)
    kept.append(some_lines(1, 8))
    place = kept.first_place + 4
    assert kept.at(place).n == 5
    kept.prepend(some_lines(-1, 0))
    kept.append(some_lines(9, 12))
    assert kept.drop_oldest() == 4
    assert kept.at(place).n == 5
    assert kept.row_of(place) == 2


def test_the_newest_lines_go_when_earlier_ones_are_too_many() -> None:
    kept = KeptLines(max_lines=10)
    kept.append(some_lines(1, 9))
    assert kept.prepend(some_lines(-4, 0)) == 5
    assert kept.drop_newest() == 4
    assert [each.n for each in kept.lines] == list(range(-4, 6))
    assert kept.row_count == 10


def test_long_lines_are_bounded_by_their_characters_and_one_is_always_kept() -> None:
    kept = KeptLines(max_characters=100)
    kept.append([line(n, "x" * 30) for n in range(5)])
    assert kept.room_for([line(9)]) == 0
    assert kept.drop_oldest() == 2
    assert [each.n for each in kept.lines] == [2, 3, 4]
    kept.prepend([line(1, "x" * 10)])
    assert kept.drop_newest() == 0
    kept.prepend([line(0, "x")])
    assert kept.drop_newest() == 1
    assert kept.room_for([line(9, "x" * 29)]) == 1
    kept.append([line(4, "x" * 30)])
    assert kept.drop_oldest() == 1
    kept.append([line(9, "y" * 500)])
    assert kept.drop_oldest() == 4
    assert [each.n for each in kept.lines] == [9]
    assert kept.drop_newest() == 0


def test_what_has_room_is_told_without_keeping_it() -> None:
    kept = KeptLines(max_lines=10, max_characters=100)
    kept.append(some_lines(1, 7))
    assert kept.room_for(some_lines(8, 20)) == 3
    assert kept.room_for([line(8, "x" * 40), line(9, "x" * 40), line(10, "x")]) == 1
    assert kept.room_for([]) == 0


def test_hidden_lines_have_no_rows() -> None:
    kept = KeptLines(max_lines=6)
    kept.append(some_lines(1, 6))
    kept.hidden = 4
    assert rows_of(kept) == [(5, 0), (6, 0)]
    assert kept.row_of(kept.first_place) == 0
    kept.prepend(some_lines(0, 0))
    assert rows_of(kept) == [(5, 0), (6, 0)]
    assert kept.drop_oldest() == 0, "no row that is seen goes"
    assert rows_of(kept) == [(5, 0), (6, 0)]


def test_emptied_it_has_the_same_limits_and_width() -> None:
    kept = KeptLines(max_lines=3)
    kept.append([line(1, "abcdef")])
    kept.wrap(3)
    empty = kept.emptied()
    assert empty.row_count == 0
    empty.append([line(n, "abcdef") for n in range(5)])
    assert empty.row_count == 10
    empty.drop_oldest()
    assert len(empty.lines) == 3


@given(st.lists(st.tuples(st.sampled_from(["append", "prepend", "wrap"]), TEXTS, st.none() | st.integers(1, 40))))
def test_rows_are_the_same_as_if_all_lines_had_come_at_once(steps: list[tuple[str, list[str], int | None]]) -> None:
    kept, n = KeptLines(max_lines=12), 0
    expected: list[LogLine] = []
    for kind, texts, width in steps:
        lines = [line(n + at, text) for at, text in enumerate(texts, 1)]
        n += len(texts)
        if kind == "append":
            kept.append(lines)
            kept.drop_oldest()
            expected = [*expected, *lines][-12:]
        elif kind == "prepend":
            kept.prepend(lines)
            kept.drop_newest()
            expected = [*lines, *expected][:12]
        else:
            kept.wrap(width)
    anew = KeptLines()
    anew.wrap(kept.wrap_width)
    anew.append(expected)
    assert kept.lines == expected
    assert rows_of(kept) == rows_of(anew)
    for index in range(len(expected)):
        assert kept.row_of(kept.first_place + index) == anew.row_of(anew.first_place + index)
