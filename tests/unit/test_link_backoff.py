"""Backoff as a pure function."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.core.lost_calls import RECONNECT_CAP_S
from brummer.link.failures import RECONNECT_BASE_S, delay_s


@pytest.mark.promise("backoff-is-bounded")
@given(attempt=st.integers(1, 10**9), seed=st.integers())
def test_a_delay_is_within_base_and_cap_whatever_the_attempt(attempt: int, seed: int) -> None:
    assert RECONNECT_BASE_S <= delay_s(attempt, Random(seed)) <= RECONNECT_CAP_S


@pytest.mark.promise("backoff-is-bounded")
def test_jitter_spreads_over_the_whole_range_at_the_cap() -> None:
    rng = Random(7)
    delays = [delay_s(50, rng) for _ in range(2_000)]
    assert len(set(delays)) == len(delays)
    assert min(delays) < RECONNECT_CAP_S * 0.02 + RECONNECT_BASE_S
    assert max(delays) > RECONNECT_CAP_S * 0.98


def test_the_ceiling_doubles_from_the_base() -> None:
    for attempt in range(1, 6):
        rng = Random(3)
        ceiling = max(delay_s(attempt, rng) for _ in range(3_000))
        assert RECONNECT_BASE_S * 2**attempt * 0.98 < ceiling <= RECONNECT_BASE_S * 2**attempt
