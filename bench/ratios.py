"""Judges whether a new tree is slower than an old one, by the ratios of paired rounds. Pure.

A ratio belongs to one round in which both trees ran; more than 1 is worse for the new one. The interval is the exact
one of a median, from order statistics: for any distribution of the ratios it holds the true median with at least 95%,
and a few outliers do not move it. It is the same for ratios and for their logarithms.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CONFIDENCE: Final = 0.95
LIMIT: Final = 1.03
"""A tree that is worse by up to this ratio still counts as equal."""

NARROW: Final = 1.05
"""An interval of ±5% or less allows a judgement by the median."""

LOOKS: Final = (15, 30, 45)
"""The ratios are judged after so many rounds; undecided measurements get more rounds, up to the last number."""


class Verdict(StrEnum):
    NOT_SLOWER = "not slower"
    SLOWER = "slower"
    NOT_DECIDED = "not decided"


@dataclass(frozen=True)
class Judgement:
    """``low`` to ``high`` holds the true median of the ratios with 95%; 0 to infinity if the rounds are too few."""

    median: float
    low: float
    high: float
    rounds: int
    verdict: Verdict


def judge(ratios: Sequence[float]) -> Judgement:
    """Judge at least one ratio; all ratios are positive."""
    low, high = median_interval(ratios)
    median = statistics.median(ratios)
    return Judgement(median, low, high, len(ratios), _verdict(median, low, high, len(ratios)))


def _verdict(median: float, low: float, high: float, rounds: int) -> Verdict:
    if high <= LIMIT:
        return Verdict.NOT_SLOWER
    if low > LIMIT:
        return Verdict.SLOWER
    if rounds < LOOKS[0] or high > low * NARROW**2:
        return Verdict.NOT_DECIDED
    return Verdict.NOT_SLOWER if median <= LIMIT else Verdict.SLOWER


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The narrowest pair of order statistics, equally far from both ends, that holds the median with 95% or more."""
    rank = bound_rank(len(values))
    if not rank:
        return 0.0, math.inf
    ordered = sorted(values)
    return ordered[rank - 1], ordered[-rank]


def bound_rank(count: int) -> int:
    """The rank of the interval's low end, counted from 1; 0 if so few values cannot hold the median with 95%.

    The number of values below the median has a binomial distribution with p = 1/2.
    """
    ways, rank = 1, 0
    while ways <= (1 - CONFIDENCE) / 2 * 2**count:
        rank += 1
        ways += math.comb(count, rank)
    return rank


def ratio(old: float, new: float, *, more_is_better: bool) -> float:
    """New ÷ old if more is worse (milliseconds, MiB), old ÷ new if more is better (calls/s)."""
    return old / new if more_is_better else new / old
