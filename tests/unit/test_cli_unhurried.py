import io
import sys
import threading

import pytest

from brummer.cli import unhurried
from brummer.cli.unhurried import UnhurriedOutput

WITHIN_S = 10


class Unread(io.StringIO):
    """Takes nothing before somebody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = threading.Event()

    def write(self, text: str) -> int:
        assert self.is_read.wait(WITHIN_S)
        return super().write(text)


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_who_does_not_read_holds_up_nothing_and_is_told_what_was_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unhurried, "WAITING_LIMIT", 10)
    stdout = Unread()
    monkeypatch.setattr(sys, "stdout", stdout)
    output = UnhurriedOutput()
    for text in ("first line\n", "second\nthird\n"):
        output.write(text)
    monkeypatch.setattr(unhurried, "WAITING_LIMIT", 1000)
    output.write("last\n")
    stdout.is_read.set()
    output.close()
    assert stdout.getvalue() == "first line\n[… 2 lines are not shown: nobody read them in time]\nlast\n"


def test_what_is_printed_comes_through_when_no_thread_can_be_started_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    output = UnhurriedOutput()
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))
    output.write("one\n")
    output.close()
    assert stdout.getvalue() == "one\n"


def test_when_the_reader_has_gone_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken()
    monkeypatch.setattr(sys, "stdout", broken)
    output = UnhurriedOutput()
    output.write("one\n")
    output.write("two\n")
    output.close()
    assert sys.stdout is not broken
    sys.stdout.close()
