import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.logs.text import CONTINUES, LINE_LIMIT_BYTES, LineAssembler, coloured, is_plain, plain


def assembled(*chunks: bytes, limit_bytes: int = LINE_LIMIT_BYTES) -> list[str]:
    assembler = LineAssembler(limit_bytes)
    lines = [line for chunk in chunks for line in assembler.feed(chunk)]
    return lines + assembler.end()


def test_lines_are_put_together_from_chunks_cut_anywhere() -> None:
    assert assembled(b"on", b"e\ntw", b"o\n", b"\nthree\n") == ["one", "two", "", "three"]


def test_a_last_line_without_its_end_is_kept() -> None:
    assert assembled(b"done\nno newline") == ["done", "no newline"]


def test_carriage_return_and_line_feed_end_one_line_even_when_cut_between() -> None:
    assert assembled(b"one\r", b"\ntwo\r\n") == ["one", "two"]


def test_a_progress_bar_is_one_line_in_its_last_state() -> None:
    assert assembled(b"10%\r50%\r", b"100%\n", b"20%\r40%\r\n") == ["100%", "40%"]


def test_a_progress_bar_that_never_ends_its_line_does_not_grow() -> None:
    assembler = LineAssembler(limit_bytes=100)
    for percent in range(1000):
        assert assembler.feed(b"%d%%\r" % percent) == []
    assert assembler.end() == ["999%"]


def test_a_long_line_is_split_and_marked() -> None:
    lines = assembled(b"x" * 25 + b"\nnext\n", limit_bytes=10)
    assert lines == ["x" * 10 + CONTINUES, "x" * 10 + CONTINUES, "x" * 5, "next"]


def test_a_long_line_is_not_split_inside_a_character() -> None:
    assert assembled("abcdefgh€€".encode(), limit_bytes=10) == ["abcdefgh" + CONTINUES, "€€"]


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    assert assembled(b"a\xff\xfeb\n") == ["a\ufffd\ufffdb"]


@given(st.binary(max_size=200), st.integers(1, 7))
def test_where_the_chunks_are_cut_makes_no_difference(data: bytes, size: int) -> None:
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    whole = assembled(data, limit_bytes=1000)
    assert assembled(*chunks, limit_bytes=1000) == whole


def test_twenty_megabytes_on_one_line_take_linear_time_and_bounded_memory() -> None:
    assembler = LineAssembler()
    pieces = sum(len(assembler.feed(b"x" * 65_536)) for _ in range(320))
    assert pieces in {1279, 1280}
    assert len(assembler.end()[0]) <= LINE_LIMIT_BYTES


def test_colours_titles_links_and_cursor_movements_are_stripped() -> None:
    raw = "\x1b[1;32mok\x1b[0m \x1b]0;title\x07\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\\x1b[2K\x1b(B\x1b[?25l\tend"
    assert plain(raw) == "ok link\tend"


def test_other_control_characters_are_shown_as_replaced() -> None:
    assert plain("a\x00b\x07c\x1b") == "a\ufffdb\ufffdc\ufffd"


def test_a_backspace_goes_back_and_what_follows_overwrites() -> None:
    assert plain("Name? Adx\b \ba") == "Name? Ada"
    assert plain("N\bNA\bAM\bME\bE _\bi_\bt") == "NAME it"
    assert plain("\b\bdone\b") == "done"
    assert coloured("\x1b[31mre\b\b\bbad\x1b[0m") == "\x1b[31mbad\x1b[0m"


@pytest.mark.promise("no-escape-sequences")
@given(st.text(alphabet=st.sampled_from("\x1b[]()0;mK\x07\\ ab?"), max_size=60))
def test_no_escape_survives(raw: str) -> None:
    assert "\x1b" not in plain(raw)


@given(st.text(alphabet=st.sampled_from("ab\t\n\r\x1b\x00\x7f\x85\xa0\xe9\u20ac[0m"), max_size=12))
def test_what_is_called_plain_is_left_as_it_is(text: str) -> None:
    if is_plain(text):
        assert [plain(line) for line in text.split("\n")] == text.split("\n")


@given(st.lists(st.sampled_from([b"a", b"\xc3", b"\xa9", b"\r", b"\n", b"\r\n", b"0123456789"]), max_size=30))
def test_lines_taken_at_once_are_those_taken_one_by_one(parts: list[bytes]) -> None:
    at_once = LineAssembler(limit_bytes=400)
    data = b"".join(parts)
    assert at_once.feed(data) + at_once.end() == assembled(*(bytes([byte]) for byte in data), limit_bytes=400)
