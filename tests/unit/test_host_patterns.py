import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from brummer.core.errors import InvalidArguments
from brummer.host import patterns
from brummer.host.clocks import awake
from brummer.host.patterns import (
    MAX_LENGTH,
    REFILL,
    TICK_S,
    WIDE_RANGES_MAX,
    Meter,
    Pattern,
    PatternTooSlow,
    Reserve,
    meter_of_call,
    meter_of_file,
)

T = TypeVar("T")


def test_a_pattern_matches_anywhere() -> None:
    pattern = Pattern(r"ready in \d+ ms", argument="log")
    assert pattern.within(1, lambda: pattern.matches("VITE ready in 312 ms"))
    assert not pattern.within(1, lambda: pattern.matches("not yet"))


@pytest.mark.parametrize("source", ["(", "a" * (MAX_LENGTH + 1), "(?P<1>x)", "x{99999999999}"])
def test_an_invalid_pattern_is_refused_with_the_name_of_its_argument(source: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        Pattern(source, argument="query")
    assert caught.value.context["argument"] == "query"


@pytest.mark.promise("patterns-are-bounded")
def test_a_catastrophic_pattern_is_broken_off_within_its_budget() -> None:
    pattern = Pattern(r"(a+)+$", argument="log")
    began = time.process_time()
    with pytest.raises(PatternTooSlow):
        pattern.within(0.05, lambda: pattern.matches("a" * 40 + "b"))
    assert time.process_time() - began < 1


def test_a_pattern_that_takes_too_long_to_be_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brummer.host.patterns.BUDGET_S", TICK_S / 2)
    with pytest.raises(PatternTooSlow):
        Pattern("(?i)" + "[\0-\uffff]" * WIDE_RANGES_MAX, argument="log")


@pytest.mark.parametrize("wide", ["[\0-\uffff]", r"[\0-\uffff]", r"[\x00-\uffff]", r"[a-\U0010ffff]", "[!-\u4e00]"])
def test_a_pattern_with_many_wide_sets_is_refused_before_it_is_compiled_in_every_thread(wide: str) -> None:
    Pattern(wide * WIDE_RANGES_MAX, argument="log")
    with ThreadPoolExecutor(1) as pool, pytest.raises(PatternTooSlow):
        pool.submit(Pattern, wide * (WIDE_RANGES_MAX + 1), argument="log").result()


def test_a_pattern_may_have_any_number_of_ordinary_sets() -> None:
    pattern = Pattern("(?i)" + "[a-z0-9_-]" * 90, argument="log")
    assert pattern.within(1, lambda: pattern.matches("Ab-" * 30))


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


# The total time of all searches.

SLOW = {
    "nested repetition": (r"(a+)+$", "a" * 40 + "b"),
    "nested repetition of alternatives": (r"(a|a)*$", "a" * 40 + "b"),
    "bounded repetition of bounded repetition": (r"(?:a{0,900}){0,900}c", "a" * 200),
    "a back reference": (r"(a*)*\1b", "a" * 40),
    "a long line": (r"[^x]*[^x]*y", "a" * 16_000),
    "a look ahead": (r"(?=(a+)+$)", "a" * 40 + "b"),
}


class Tried:
    """Searches with a meter until it refuses, and the CPU time that they took."""

    def __init__(self, meter: Meter, line: str) -> None:
        self.searches = 0
        self.meter = meter
        began_s = time.thread_time()
        for _ in range(1_000):
            with contextlib.suppress(PatternTooSlow):
                self.search(line)
            if meter.is_refused:
                break
        self.took_s = time.thread_time() - began_s

    def search(self, line: str) -> bool:
        def matches() -> bool:
            self.searches += 1
            return self.meter.pattern.matches(line)

        return self.meter.search(1, len(line), matches, most_s=0.02)


@pytest.mark.parametrize("name", SLOW)
async def test_an_expression_that_is_slow_on_every_line_is_soon_refused_for_good(name: str) -> None:
    source, line = SLOW[name]
    tried = Tried(Meter(Pattern(source, argument="log"), Reserve(0.1)), line)
    assert tried.meter.is_refused
    searches = tried.searches
    with pytest.raises(PatternTooSlow):
        tried.search("x")
    assert tried.searches == searches, "nothing is searched any more"


async def test_many_slow_patterns_take_little_more_than_one() -> None:
    reserve = Reserve(0.1)
    source, line = SLOW["nested repetition"]
    tried = [Tried(Meter(Pattern(f"{source}|z{n}", argument="log"), reserve), line) for n in range(20)]
    assert all(each.meter.is_refused for each in tried)
    assert sum(each.took_s for each in tried[1:]) < 20 * 0.1, "each but the first finds an empty reserve"


class CountedTime(Pattern):
    """An expression whose searches take so much CPU time, whatever they really take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, search_s: float) -> None:
        self.searches = 0
        self._search_s = search_s
        super().__init__(r"ready in \d+ ms", argument="log")
        monkeypatch.setattr("brummer.host.patterns.busy", lambda: self.searches * search_s)

    def within(self, budget_s: float, search: Callable[[], T]) -> T:
        assert budget_s >= self._search_s
        self.searches += 1
        return search()


LINE = "12:00:01 compiled 1432 modules, reloading the page, and all of that within 312 ms"
ORDINARY_S = len(LINE) * 20e-9
"""Ordinary expressions take up to 20 ns for each character; see `brummer.host.patterns.PER_CHARACTER_S`."""


async def test_an_ordinary_pattern_needs_no_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter(CountedTime(monkeypatch, ORDINARY_S), Reserve(0.0))
    for _ in range(10_000):
        assert not meter.search(1, len(LINE), lambda: meter.pattern.matches(LINE))
    assert meter.search(1, 20, lambda: meter.pattern.matches("ready in 312 ms"))


async def test_a_pattern_that_takes_ten_times_as_long_uses_its_reserve_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = CountedTime(monkeypatch, 10 * ORDINARY_S)
    meter = Meter(pattern, Reserve(0.0))
    while not meter.is_refused and pattern.searches < 10_000:
        with contextlib.suppress(PatternTooSlow):
            meter.search(1, len(LINE), lambda: pattern.matches(LINE))
    assert meter.is_refused
    assert pattern.searches > TICK_S / (10 * ORDINARY_S), "the reserve of its own lasts for more"


async def test_a_pattern_that_is_slow_only_sometimes_stays_in_use() -> None:
    meter = Meter(Pattern(r"(a+)+$", argument="log"), Reserve(0.2))
    with pytest.raises(PatternTooSlow):
        Tried(meter, "").search("a" * 40 + "b")
    assert not meter.is_refused
    assert meter.search(1, 1, lambda: meter.pattern.matches("a"))


async def test_a_slow_expression_that_is_repeated_at_once_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter(Pattern(r"(a+)+$", argument="query"), Reserve(0.0), rests=True)
    tried = Tried(meter, "a" * 40 + "b")
    assert (tried.searches, meter.is_refused) == (1, False)
    later_s = awake() + patterns.REST_S
    monkeypatch.setattr("brummer.host.patterns.awake", lambda: later_s)
    assert meter.search(1, 1, lambda: meter.pattern.matches("a")), "later, and about less, it is answered"
    assert meter_of_call("x", "query") is meter_of_call("x", "query")


def test_a_reserve_refills_slowly_and_not_beyond_its_size() -> None:
    reserve = Reserve(0.2)
    assert reserve.left_s(100.0) == 0.2
    assert reserve.pay(0.3) == pytest.approx(0.1)
    assert reserve.left_s(101.0) == pytest.approx(REFILL)
    assert reserve.pay(REFILL / 2) == 0.0
    assert reserve.left_s(1_000.0) == 0.2
    assert reserve.left_s(900.0) == 0.2, "another loop's time"


def test_the_runs_of_a_script_share_the_time_of_its_pattern() -> None:
    assert meter_of_file("x", "ready.log of dev") is meter_of_file("x", "ready.log of dev")
    assert meter_of_file("x", "ready.log of dev") is not meter_of_file("y", "ready.log of dev")
