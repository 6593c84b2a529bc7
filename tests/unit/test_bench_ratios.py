"""The rule by which `make bench BASE=…` calls a tree slower."""

import math
import random
import statistics
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from compare import CALLS, HOP, HUB_MEMORY, Round, Rounds, summary, undecided
from ratios import Verdict, bound_rank, judge, median_interval, ratio

POSITIVE = st.floats(min_value=0.01, max_value=100)


def around(centre: float, spread: float, count: int) -> list[float]:
    """Evenly spread over ±``spread``, in an arbitrary order."""
    step = 2 * spread / (count - 1)
    values = [centre * (1 - spread + step * number) for number in range(count)]
    random.Random(1).shuffle(values)
    return values


def test_a_ratio_over_one_is_worse_for_both_kinds_of_measurement() -> None:
    assert ratio(10.0, 11.0, more_is_better=False) == pytest.approx(1.1)
    assert ratio(1100.0, 1000.0, more_is_better=True) == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("count", "rank"),
    [(1, 0), (5, 0), (6, 1), (10, 2), (15, 4), (20, 6), (30, 10), (45, 16)],  # tables of the sign test
)
def test_the_intervals_ranks_are_those_of_the_sign_test(count: int, rank: int) -> None:
    assert bound_rank(count) == rank


@given(st.lists(POSITIVE, min_size=6, max_size=45))
def test_the_interval_holds_the_median_and_lies_within_the_values(values: list[float]) -> None:
    low, high = median_interval(values)
    assert min(values) <= low <= statistics.median(values) <= high <= max(values)


@given(st.lists(POSITIVE, min_size=6, max_size=45))
def test_the_interval_of_the_inverse_ratios_is_the_inverse_interval(values: list[float]) -> None:
    low, high = median_interval(values)
    inverse = median_interval([1 / value for value in values])
    assert inverse == pytest.approx((1 / high, 1 / low))


def test_the_interval_holds_the_true_median_in_95_of_100_cases() -> None:
    rng = random.Random(7)
    held = 0
    for _ in range(2000):
        low, high = median_interval([math.exp(rng.gauss(0, 0.1)) for _ in range(15)])
        held += low <= 1 <= high
    assert held / 2000 >= 0.95


def test_a_few_rounds_far_off_do_not_move_the_interval() -> None:
    calm = around(1.0, 0.01, 15)
    disturbed = [*sorted(calm)[:-2], 30.0, 50.0]
    assert median_interval(disturbed)[1] == median_interval(calm)[1]


def test_too_few_rounds_for_an_interval_decide_nothing() -> None:
    judged = judge([2.0] * 5)
    assert (judged.low, judged.high, judged.verdict) == (0.0, math.inf, Verdict.NOT_DECIDED)


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        (around(1.0, 0.02, 15), Verdict.NOT_SLOWER),  # the whole interval is below the limit
        (around(0.8, 0.3, 15), Verdict.NOT_SLOWER),  # as wide as it is
        (
            around(1.02, 0.05, 15),
            Verdict.NOT_SLOWER,
        ),  # the limit is inside, the interval is narrow, the median is below
        (around(1.04, 0.04, 15), Verdict.SLOWER),  # the same with the median above
        (around(1.1, 0.02, 15), Verdict.SLOWER),  # the whole interval is above
        (around(2.0, 0.5, 15), Verdict.SLOWER),  # as wide as it is
        (around(1.0, 0.3, 15), Verdict.NOT_DECIDED),  # the limit is inside of a wide interval
        (around(1.1, 0.3, 45), Verdict.NOT_DECIDED),
        (around(1.02, 0.05, 14), Verdict.NOT_DECIDED),  # the median counts from 15 rounds on
        (around(1.0, 0.02, 10), Verdict.NOT_SLOWER),  # the upper end counts at once
    ],
)
def test_the_rule(ratios: list[float], verdict: Verdict) -> None:
    assert judge(ratios).verdict == verdict


@given(st.lists(POSITIVE, min_size=6, max_size=45), st.floats(min_value=1, max_value=5))
def test_a_tree_that_is_worse_in_every_round_is_not_judged_better(ratios: list[float], worse: float) -> None:
    order = [Verdict.NOT_SLOWER, Verdict.NOT_DECIDED, Verdict.SLOWER]
    before, after = (order.index(judge(each).verdict) for each in (ratios, [value * worse for value in ratios]))
    assert after >= before


def test_a_round_counts_by_the_ratios_of_its_pairs_not_by_the_ratio_of_its_medians() -> None:
    slow_machine, quick_machine = 4.0, 1.0
    old = [1.0 * slow_machine, 1.0 * slow_machine, 1.0 * quick_machine]
    new = [1.1 * slow_machine, 1.1 * slow_machine, 1.1 * quick_machine]
    assert summary(HOP, old, new).ratio == pytest.approx(1.1)
    assert summary(CALLS, new, old).ratio == pytest.approx(1.1)


def rounds_of(ratios: list[float]) -> list[Round]:
    return [Round(1.0, value, value) for value in ratios]


def test_only_undecided_measurements_get_more_rounds() -> None:
    rounds: Rounds = {HOP: rounds_of(around(1.0, 0.3, 15)), HUB_MEMORY: rounds_of(around(1.0, 0.01, 15))}
    assert undecided(rounds, 0) == {"hop", "memory"}
    assert undecided(rounds, 14) == {"hop", "memory"}
    assert undecided(rounds, 15) == {"hop"}


def test_measurements_are_judged_only_at_the_looks() -> None:
    rounds: Rounds = {HOP: rounds_of([*around(1.0, 0.3, 15), *[1.0] * 14])}
    assert undecided(rounds, 29) == {"hop"}
    rounds[HOP].append(Round(1.0, 1.0, 1.0))
    assert undecided(rounds, 30) == set()


def test_a_measurement_decided_at_a_look_stays_decided() -> None:
    rounds: Rounds = {HOP: rounds_of(around(1.0, 0.3, 15)), HUB_MEMORY: rounds_of(around(1.0, 0.01, 15))}
    rounds[HOP] += rounds_of(around(1.0, 0.3, 15))
    assert undecided(rounds, 30) == {"hop"}
