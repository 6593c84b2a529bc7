"""The terminal that a command lends to a script, and gives back."""

import os
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from brummer.host.lent_terminal import LEAVE, LentTerminal
from brummer.host.terminals import resize


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    outside, inside = os.openpty()
    yield outside, inside
    os.close(outside)
    os.close(inside)


def test_it_is_raw_or_takes_lines_and_is_then_as_it_was(pair: tuple[int, int]) -> None:
    outside, inside = pair
    before = termios.tcgetattr(inside)
    with LentTerminal(inside, inside) as terminal:
        terminal.set("raw")
        raw = termios.tcgetattr(inside)
        assert not raw[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
        os.write(outside, b"\x03")
        assert os.read(terminal.reads, 9) == b"\x03"
        os.write(terminal.writes, b"\n")
        assert os.read(outside, 9) == b"\n"
        terminal.restore()
        terminal.set("lines")
        os.write(outside, b"one\n")
        assert os.read(terminal.reads, 9) == b"one\n"
        os.write(outside, b"two" + bytes([LEAVE]))
        assert os.read(terminal.reads, 9) == b"two" + bytes([LEAVE]), "without an end of the line"
    assert termios.tcgetattr(inside) == before


def test_nobody_who_shares_the_terminal_gets_a_stream_that_does_not_block(pair: tuple[int, int]) -> None:
    with LentTerminal(pair[1], pair[1]) as terminal:
        assert not os.get_blocking(terminal.writes)
        assert os.get_blocking(pair[1])


def test_a_terminal_without_a_path_is_used_as_it_is(pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def ttyname(_: int) -> str:
        raise OSError

    monkeypatch.setattr(os, "ttyname", ttyname)
    with LentTerminal(pair[1], pair[1]) as terminal:
        os.write(terminal.writes, b"shown")
    assert os.read(pair[0], 9) == b"shown"


def test_its_size_is_known_or_usual(pair: tuple[int, int]) -> None:
    with LentTerminal(pair[1], pair[1]) as terminal:
        assert terminal.size() == (24, 80)
        resize(pair[0], 50, 132)
        assert terminal.size() == (50, 132)


def test_what_is_no_terminal_is_refused() -> None:
    with Path(os.devnull).open() as nothing, pytest.raises(termios.error):
        LentTerminal(nothing.fileno(), nothing.fileno())


def test_a_terminal_that_is_gone_needs_nothing() -> None:
    outside, inside = os.openpty()
    with LentTerminal(inside, inside) as terminal:
        terminal.set("raw")
        os.close(outside)
    os.close(inside)


def test_in_the_background_it_is_the_shells_and_stays_as_it_is(
    pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_job(_: int) -> int:
        return os.getpgrp() + 1

    with LentTerminal(pair[1], pair[1]) as terminal:
        terminal.set("raw")
        raw = termios.tcgetattr(pair[1])
        monkeypatch.setattr(os, "tcgetpgrp", of_another_job)
    assert termios.tcgetattr(pair[1]) == raw
