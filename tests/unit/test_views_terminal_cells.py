"""Which cells the characters of a line take."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from brummer.core.visible import visible
from brummer.views.terminal.cells import CLUSTER_LENGTH, ONE_CELL, Cells, columns_of, height_of, is_simple

WIDE = "漢字とかな"
ROCKET = "👩\u200d🚀"
ACCENT = "e\u0301"
HOSTILE = ["\x00", "\x1b[31m", "\x1b]52;c;aGk=\x07", "\u202e", "\u200b", "\r", "\n", "\x9b", "\ufeff", "\u2028"]


def shown(cells: Cells, start: int = 0, end: int = 10_000) -> str:
    return cells.shown(start, end)


def test_the_characters_that_count_as_one_cell_take_one_and_are_shown_as_they_are() -> None:
    for first, last in ONE_CELL:
        for character in map(chr, range(first, last + 1)):
            assert cell_len(character) == 1, ascii(character)
            assert visible(character) == character, ascii(character)
            assert unicodedata.category(character) not in {"Mn", "Me", "Cc", "Cf"}, ascii(character)


def test_in_a_simple_line_columns_are_offsets() -> None:
    cells = Cells("┃ ready ➜ ok")
    assert is_simple("┃ ready ➜ ok")
    assert cells.columns == 12
    assert cells.span_at(3) == (3, 4)
    assert cells.column_of(7) == 7
    assert shown(cells, 2, 7) == "ready"


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_a_character_that_a_terminal_would_obey_or_hide_is_shown_as_its_number(hostile: str) -> None:
    drawn = shown(Cells(f"a{hostile}b"))
    assert drawn.isascii()
    assert drawn.isprintable()
    assert f"\\u{ord(hostile[0]):04x}" in drawn


def test_a_number_belongs_to_its_one_character() -> None:
    cells = Cells("a\u202eb")
    assert shown(cells) == "a\\u202eb"
    assert [cells.span_at(column) for column in range(8)] == [(0, 1), *[(1, 2)] * 6, (2, 3)]
    assert cells.column_of(2) == 7


@pytest.mark.parametrize(
    ("text", "columns"), [(WIDE, 10), (ROCKET, cell_len(ROCKET)), (ACCENT, 1), ("🇩🇪", 2), ("\u0301", 1), ("", 0)]
)
def test_a_line_is_as_wide_as_textual_takes_it_to_be(text: str, columns: int) -> None:
    assert columns_of(text) == Cells(text).columns == columns


@pytest.mark.parametrize("cluster", [ROCKET, ACCENT, "🇩🇪", "漢", "👍🏽", "❤\ufe0f"], ids=ascii)
def test_what_is_seen_as_one_character_is_one_in_each_of_its_columns(cluster: str) -> None:
    cells = Cells(f"a{cluster}b")
    inside = range(1, cells.columns - 1)
    assert {cells.span_at(column) for column in inside} == {(1, 1 + len(cluster))}
    assert shown(cells) == f"a{cluster}b"


def test_three_letters_of_flags_are_a_flag_and_a_letter() -> None:
    assert Cells("🇩🇪🇫").span_at(0) == (0, 2)
    assert Cells("🇩🇪🇫").span_at(2) == (2, 3)


def test_a_tab_goes_to_the_next_stop_and_is_one_character() -> None:
    cells = Cells("ab\tc")
    assert shown(cells) == "ab      c"
    assert cells.span_at(5) == (2, 3)
    assert cells.column_of(3) == 8


def test_of_a_cut_wide_character_there_are_blanks_and_of_a_cut_number_its_rest() -> None:
    assert shown(Cells(WIDE), 1, 5) == " 字 "
    assert shown(Cells("漢\u0301字"), 0, 3) == "漢\u0301 "
    assert shown(Cells("漢\u0301字"), 1, 4) == " 字"
    assert shown(Cells("a\u202eb"), 2, 8) == "u202eb"
    assert shown(Cells("ab\tc"), 4, 9) == "    c"


def test_the_columns_of_a_part_hold_its_last_character_whole() -> None:
    cells = Cells(f"漢{ACCENT}字")
    assert cells.columns_between(1, 2) == (2, 3), "the letter, and its accent with it"
    assert cells.columns_between(0, 4) == (0, 5)
    assert cells.columns_between(2, 2) == (2, 2)
    assert Cells("abc").columns_between(1, 2) == (1, 2)


def test_behind_the_end_is_the_end() -> None:
    for text in ("abc", WIDE):
        cells = Cells(text)
        assert cells.span_at(99) == (len(text), len(text))
        assert cells.column_of(len(text)) == cells.columns
        assert cells.span_at(-4) == (0, 1)
        assert shown(cells, 20, 30) == ""


def test_an_accent_without_a_letter_is_shown_on_a_circle() -> None:
    assert shown(Cells("\u0301ab")) == "\u25cc\u0301ab"


def test_a_thousand_accents_on_one_letter_are_drawn_as_a_few() -> None:
    cells = Cells("a" + "\u0301" * 1000 + "b")
    assert cells.columns == 2
    assert len(shown(cells)) == CLUSTER_LENGTH + 1
    assert cells.span_at(0) == (0, 1001)


@pytest.mark.parametrize(
    ("text", "width", "rows"),
    [
        ("", 4, [0]),
        ("abcd", 4, [0]),
        ("abcde", 4, [0, 4]),
        (WIDE, 4, [0, 4, 8]),
        (WIDE, 5, [0, 4, 8]),
        (WIDE, 10, [0]),
        ("a\u202eb", 4, [0, 1, 7]),
        (WIDE, 1, [0, 2, 4, 6, 8]),
    ],
)
def test_a_row_of_a_wrapped_line_never_divides_a_character(text: str, width: int, rows: list[int]) -> None:
    assert Cells(text).rows(width) == rows
    assert height_of(text, columns_of(text), width) == len(rows)


@given(
    st.text(max_size=60)
    | st.text(st.sampled_from("ab漢\u0301\u200d\ufe0f👩🚀🏽🇩🇪❤1\u20e3\t\u202e\u0e33한"), max_size=60),
    st.integers(1, 30),
    st.integers(0, 70),
    st.integers(0, 70),
)
def test_columns_and_offsets_agree_and_each_part_is_as_wide_as_it_says(
    text: str, width: int, start: int, end: int
) -> None:
    cells = Cells(text)
    assert cell_len(shown(cells)) == cells.columns == columns_of(text)
    assert cell_len(shown(cells, start, end)) == max(0, min(end, cells.columns) - min(start, cells.columns))
    for column in range(cells.columns):
        begin, stop = cells.span_at(column)
        assert begin < stop
        assert cells.column_of(begin) <= column
    rows = cells.rows(width)
    assert height_of(text, cells.columns, width) == len(rows)
    assert "".join(
        shown(cells, first, last) for first, last in zip(rows, [*rows[1:], cells.columns], strict=True)
    ) == shown(cells)
    assert visible(shown(cells)) == shown(cells), "nothing invisible is left"
    assert not {"\n", "\t", "\x1b"} & set(shown(cells))
