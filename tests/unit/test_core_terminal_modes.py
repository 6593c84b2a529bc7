"""What a program has changed of its terminal is known, and taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.core.terminal_modes import KEPT, PLAIN, TerminalModes

FULL_SCREEN = b"\x1b[?1049h\x1b[?1h\x1b=\x1b[?25l\x1b[?1000;1006h"


def modes_of(*chunks: bytes) -> TerminalModes:
    modes = TerminalModes()
    for chunk in chunks:
        modes.read(chunk)
    return modes


def test_a_terminal_that_comes_later_gets_the_modes_in_their_order_and_one_that_leaves_loses_them() -> None:
    modes = modes_of(b"text", FULL_SCREEN, b"more \x1b[31mred\x1b[0m")
    assert modes.entering() == b"\x1b[?1049h\x1b[?1h\x1b[?25l\x1b[?1000h\x1b[?1006h\x1b="
    assert modes.leaving() == PLAIN + b"\x1b>\x1b[?1006l\x1b[?1000l\x1b[?25h\x1b[?1l\x1b[?1049l"
    assert (modes.is_on(1049), modes.is_on(25), modes.is_on(7), modes.is_on(2004)) == (True, False, True, False)


@pytest.mark.parametrize("back", [b"\x1b[?1006;1000l\x1b[?25h\x1b[?1l\x1b[?1049l", b"\x1bc"])
def test_what_a_program_has_taken_back_itself_is_forgotten(back: bytes) -> None:
    modes = modes_of(FULL_SCREEN.replace(b"\x1b=", b""), back)
    assert (modes.entering(), modes.leaving()) == (b"", PLAIN)


@given(st.integers(1, len(FULL_SCREEN) - 1), st.integers(1, len(FULL_SCREEN) - 1))
def test_a_sequence_may_be_cut_anywhere(one: int, other: int) -> None:
    first, second = sorted((one, other))
    cut = modes_of(FULL_SCREEN[:first], FULL_SCREEN[first:second], FULL_SCREEN[second:])
    assert cut.entering() == modes_of(FULL_SCREEN).entering()


def test_further_ways_to_send_keys_and_the_form_of_the_cursor_are_taken_back() -> None:
    modes = modes_of(b"\x1b[>1u\x1b[>4;2m\x1b[5 q")
    assert modes.leaving() == PLAIN + b"\x1b[<u\x1b[>4m\x1b[0 q"


@given(st.lists(st.binary(max_size=200) | st.from_regex(rb"\x1b\[\?[0-9;]{1,64}[hl]", fullmatch=True)))
def test_rubbish_fills_no_memory(chunks: list[bytes]) -> None:
    modes = modes_of(*chunks)
    assert modes.entering().count(b"\x1b") <= KEPT + 4
