"""Colours, columns, and what of a script's text may reach a terminal."""

import io

import pytest

from brummer.cli.colour import PLAIN, Paint, Prefixes, shortened
from brummer.cli.colour import wants_colours as wanted
from brummer.cli.table import aligned, padded, width
from brummer.logs.text import NAME_COLOURS, colour_of

COLOURFUL = Paint(colourful=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "no_color", "wants"),
    [
        ({}, False, True),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, False, True),
        ({}, True, False),
        ({"NO_COLOR": "0"}, False, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_a_terminal_gets_colours_unless_somebody_wants_none(
    environ: dict[str, str],
    no_color: bool,  # noqa: FBT001 - a column of the table above
    wants: bool,  # noqa: FBT001
) -> None:
    assert wanted(Terminal(), environ, no_color=no_color) is wants


def test_what_is_no_terminal_gets_no_colours() -> None:
    assert not wanted(io.StringIO(), {}, no_color=False)


def test_a_name_has_one_colour_for_ever_and_it_is_not_red() -> None:
    names = [f"script-{n}" for n in range(200)]
    assert {colour_of(name) for name in names} == set(NAME_COLOURS)
    assert [colour_of(name) for name in names] == [colour_of(name) for name in reversed(names)][::-1]
    assert not {31, 91} & set(NAME_COLOURS)
    assert COLOURFUL.name("dev  ") == f"\x1b[{colour_of('dev')}mdev  \x1b[0m"


def test_no_colour_at_all_without_colours() -> None:
    assert PLAIN.name("dev") + PLAIN.styled("x", 1) + PLAIN.foreign("\x1b[31mred\x1b[0m") == "devxred"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("nothing special", "nothing special"),
        ("\x1b[1;31mred\x1b[0m and not", "\x1b[1;31mred\x1b[0m and not\x1b[0m"),
        ("\x1b[38:5:208mcolons", "\x1b[38:5:208mcolons\x1b[0m"),
        ("clear\x1b[2J\x1b[H it", "clear it"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]0;never ended \x1b[31mred", "\x1b[31mred\x1b[0m"),
        ("\x1b[?1049h\x1b[31mred", "\x1b[31mred\x1b[0m"),
        ("\x1bPdcs\x1b\\x\x1b[0m", "x\x1b[0m\x1b[0m"),
        ("bell\x07 backk\x08, \x9b2J", "bell\ufffd back, \ufffd2J"),
        ("\x1b\x1b[31mred", "\ufffd\x1b[31mred\x1b[0m"),
        ("tab\tstays", "tab\tstays"),
    ],
)
def test_of_a_scripts_text_only_colours_reach_a_terminal_and_they_end_with_it(raw: str, shown: str) -> None:
    assert COLOURFUL.foreign(raw) == shown


@pytest.mark.parametrize(
    ("text", "columns"), [("dev", 3), ("日本", 4), ("e\u0301", 1), ("한국", 4), ("a\u200db", 2), ("", 0)]
)
def test_width_counts_columns_not_characters(text: str, columns: int) -> None:
    assert width(text) == columns
    assert width(padded(text, 10)) == 10


def test_names_are_made_safe_and_cut_to_fit() -> None:
    assert shortened("dev\x1b[2J\n") == "dev\ufffd[2J\ufffd"
    assert shortened("x" * 500) == "x" * 31 + "…"
    assert width(shortened("日" * 500)) <= 32
    assert shortened("x" * 32) == "x" * 32


def test_prefixes_stand_under_each_other() -> None:
    prefix = Prefixes(PLAIN, ["web", "worker"])
    assert [prefix("web"), prefix("worker"), prefix("日本")] == ["web    |", "worker |", "日本   |"]
    assert prefix("a-longer-one") == "a-longer-one |"
    assert prefix("web") == "web          |"


def test_a_table_pads_all_but_the_last_column() -> None:
    assert aligned([["NAME", "X"], ["日本語", "long text"]]) == [["NAME  ", "X"], ["日本語", "long text"]]
