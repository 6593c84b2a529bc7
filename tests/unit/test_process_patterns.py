import time

import pytest

from brummer.core.errors import InvalidArguments
from brummer.process.patterns import MAX_LENGTH, Pattern, PatternTooSlow


def test_a_pattern_matches_anywhere() -> None:
    pattern = Pattern(r"ready in \d+ ms", argument="log")
    assert pattern.within(1, lambda: pattern.matches("VITE ready in 312 ms"))
    assert not pattern.within(1, lambda: pattern.matches("not yet"))


@pytest.mark.parametrize("source", ["(", "a" * (MAX_LENGTH + 1), "(?P<1>x)", "x{99999999999}"])
def test_an_invalid_pattern_is_refused_with_the_name_of_its_argument(source: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        Pattern(source, argument="query")
    assert caught.value.context["argument"] == "query"


def test_a_catastrophic_pattern_is_broken_off_within_its_budget() -> None:
    pattern = Pattern(r"(a+)+$", argument="log")
    began = time.process_time()
    with pytest.raises(PatternTooSlow):
        pattern.within(0.05, lambda: pattern.matches("a" * 40 + "b"))
    assert time.process_time() - began < 1


def test_a_pattern_that_takes_too_long_to_be_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brummer.process.patterns.BUDGET_S", 0.02)
    with pytest.raises(PatternTooSlow):
        Pattern("(?i)" + "[\0-\uffff]" * 190, argument="log")


def test_time_outside_of_a_search_is_not_counted() -> None:
    pattern = Pattern("b", argument="log")
    pattern.within(0.02, lambda: pattern.matches("a"))
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert pattern.within(0.02, lambda: pattern.matches("b"))


def test_an_error_of_the_search_itself_comes_through() -> None:
    pattern = Pattern("b", argument="log")
    with pytest.raises(ZeroDivisionError):
        pattern.within(1, lambda: 1 / 0)
