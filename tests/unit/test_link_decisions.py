"""Breaker and health: pure functions of time and outcomes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.link import failures, prober
from brummer.link.failures import Breaker
from brummer.link.prober import Health


def opened(now_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(failures.FAILURES):
        breaker.failed(now_s)
    return breaker


def test_a_breaker_opens_on_failures_in_a_row_and_a_success_between_them_starts_the_count_anew() -> None:
    breaker = Breaker()
    for _ in range(failures.FAILURES - 1):
        breaker.failed(0.0)
    breaker.succeeded()
    breaker.failed(0.0)
    assert breaker.state(0.0) == "closed"
    assert opened().state(0.0) == "open"


def test_an_open_breaker_admits_nobody_and_says_for_how_long() -> None:
    breaker = opened()
    assert not breaker.admits(1.0)
    assert breaker.retry_after_s(1.0) == failures.OPEN_S - 1.0


@pytest.mark.promise("breaker")
def test_half_open_admits_exactly_one_trial_which_has_a_deadline_of_its_own() -> None:
    breaker, now_s = opened(), failures.OPEN_S
    assert breaker.state(now_s) == "half-open"
    assert [breaker.admits(now_s) for _ in range(5)] == [True, False, False, False, False]
    assert not breaker.admits(now_s + failures.TRIAL_S - 0.1)
    assert breaker.admits(now_s + failures.TRIAL_S)


def test_a_failed_trial_opens_for_longer_up_to_a_maximum_and_a_good_one_closes() -> None:
    breaker, now_s, lengths = opened(), 0.0, []
    for _ in range(40):
        lengths.append(breaker.retry_after_s(now_s))
        now_s += lengths[-1]
        assert breaker.admits(now_s)
        breaker.failed(now_s)
    assert lengths[:3] == [failures.OPEN_S, failures.OPEN_S * 2, failures.OPEN_S * 4]
    assert max(lengths) == lengths[-1] == failures.OPEN_MAX_S
    breaker.succeeded()
    assert breaker.state(now_s) == "closed"


def test_an_abandoned_trial_leaves_the_place_to_the_next() -> None:
    breaker, now_s = opened(), failures.OPEN_S
    assert breaker.admits(now_s)
    breaker.abandoned()
    assert breaker.admits(now_s)


@given(outcomes=st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=200))
def test_quality_and_deadlines_stay_in_their_bounds(outcomes: list[float | None]) -> None:
    health = Health()
    for number, rtt_s in enumerate(outcomes):
        if rtt_s is None:
            health.failed()
        else:
            health.answered(float(number), rtt_s)
        assert 0.0 <= health.quality <= 1.0
        assert prober.SILENT_CALL_S <= health.interval_s <= prober.MAX_S
        assert prober.PROBE_DEADLINE_S <= health.probe_deadline_s() <= 4.0


def test_quality_falls_with_failures_and_recovers_with_answers() -> None:
    health = Health()
    for _ in range(8):
        health.failed()
    poor = health.quality
    for _ in range(40):
        health.answered(0.0, 0.001)
    assert poor < 0.4
    assert health.quality > 0.95


def test_a_failure_doubles_the_interval_and_each_answer_shrinks_it_by_a_tenth() -> None:
    health = Health()
    health.failed()
    assert health.interval_s == 2 * prober.SILENT_CALL_S
    health.answered(0.0)
    assert health.interval_s == pytest.approx(2 * prober.SILENT_CALL_S * 0.9)
    for _ in range(10):
        health.answered(0.0)
    assert health.interval_s == prober.SILENT_CALL_S


def test_late_timers_of_our_own_stretch_deadlines_and_wear_off() -> None:
    health = Health()
    before = health.probe_deadline_s()
    for _ in range(20):
        health.fired(late_s=3.0)
    assert health.probe_deadline_s() == before * (prober.MAX_LATENESS + 1)
    assert not health.is_self_healthy
    for _ in range(prober.MAX_LATENESS):
        health.fired(late_s=0.0)
    assert health.is_self_healthy


def test_quiet_links_are_probed_in_one_aligned_wave_and_suspect_ones_twice_a_second() -> None:
    times = {Health().next_probe_s(now_s, suspect=False, silent_calls=False) for now_s in (91.0, 130.5, 179.9)}
    assert times == {180.0}
    health = Health()
    health.asked(10.0)
    assert health.next_probe_s(10.1, suspect=True, silent_calls=False) == 10.0 + prober.SUSPECT_S
    assert health.next_probe_s(20.0, suspect=True, silent_calls=False) == 20.0


def test_success_postpones_the_question_about_a_silent_call() -> None:
    health = Health()
    health.answered(100.0)
    assert health.next_probe_s(100.5, suspect=False, silent_calls=True) == 100.0 + prober.SILENT_CALL_S


def test_a_question_that_failed_is_not_asked_again_at_once_whatever_the_call_does() -> None:
    health = Health()
    health.answered(100.0)
    health.asked(110.0)
    assert health.next_probe_s(110.0, suspect=False, silent_calls=True) == 110.0 + prober.SUSPECT_S


def test_a_health_that_has_measured_tells_percentiles() -> None:
    health = Health()
    assert health.latency_s(50) is None
    for number in range(1, 101):
        health.answered(0.0, number / 1000)
    assert [health.latency_s(percent) for percent in (50, 90, 99)] == [0.05, 0.09, 0.099]
