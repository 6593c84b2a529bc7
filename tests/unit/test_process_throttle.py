import pytest

from brummer.process.throttle import (
    CALM_S,
    CHUNK_BYTES,
    CREDIT_S,
    FLOOD_BYTES,
    REST_S,
    SAMPLE_SHARE,
    SHARE,
    SMALLEST_CHUNK_BYTES,
    STILL_BYTES,
    TURN_S,
    FloodDetector,
    Throttle,
    next_chunk_bytes,
)


def test_what_comes_now_and_then_is_never_held_back() -> None:
    throttle = Throttle()
    assert not any(throttle.rest_after(second, CREDIT_S * SHARE) for second in range(1, 100))


@pytest.mark.parametrize("share", [SHARE, SAMPLE_SHARE])
def test_endless_work_gets_its_share_of_the_time(share: float) -> None:
    throttle, now, worked = Throttle(), 100.0, 0.0
    while now < 110:
        worked += 0.0005
        now += 0.0005
        now += throttle.rest_after(now, 0.0005, share)
    assert abs(worked / 10 - share) < 0.02


def test_rests_are_long_enough_for_a_timer() -> None:
    throttle, now, rests = Throttle(), 100.0, []
    for _ in range(5000):
        now += 0.0001
        if rest := throttle.rest_after(now, 0.0001):
            rests.append(rest)
            now += rest
    assert rests
    assert min(rests) >= REST_S


def test_two_who_share_the_time_have_no_more_than_one() -> None:
    throttle, now, worked = Throttle(), 100.0, 0.0
    ready_at = [now, now]
    while now < 110:
        which = ready_at.index(min(ready_at))
        now = max(now, ready_at[which]) + 0.0005
        worked += 0.0005
        ready_at[which] = now + throttle.rest_after(now, 0.0005)
    assert worked / 10 < SHARE + 0.02


def test_what_costs_much_is_read_in_small_pieces_and_what_costs_little_in_large_ones() -> None:
    assert next_chunk_bytes(40_000, TURN_S * 2) == 20_000
    assert next_chunk_bytes(20_000, TURN_S / 2) == 40_000
    assert next_chunk_bytes(10, 0.0) == 10 * TURN_S / 1e-6
    assert next_chunk_bytes(CHUNK_BYTES, 60.0) == SMALLEST_CHUNK_BYTES
    assert next_chunk_bytes(CHUNK_BYTES, 1e-9) == CHUNK_BYTES


def test_what_is_held_back_without_an_end_is_a_flood() -> None:
    detector = FloodDetector()
    assert not detector.is_flood(100.0)
    detector.read_bytes += FLOOD_BYTES - 1
    assert not detector.is_flood(100.0 + CALM_S)
    detector.read_bytes += 1
    assert detector.is_flood(100.0 + 2 * CALM_S)


def test_bursts_with_calm_between_them_are_none_however_many() -> None:
    detector = FloodDetector()
    for burst in range(100):
        assert not detector.is_flood(burst * 2 * CALM_S)
        detector.read_bytes += FLOOD_BYTES


def test_a_flood_ends_when_it_could_be_read_in_full() -> None:
    detector = FloodDetector()
    detector.is_flood(100.0)
    detector.read_bytes += FLOOD_BYTES
    detector.sampled_bytes += STILL_BYTES
    assert detector.is_still_flood()
    detector.sampled_bytes += STILL_BYTES - 1
    assert not detector.is_still_flood()
    assert not detector.is_flood(100.1)
