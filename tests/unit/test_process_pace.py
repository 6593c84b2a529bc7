from brummer.process.pace import (
    CHUNK_BYTES,
    CREDIT_S,
    DEBT_S,
    SHARE,
    SMALLEST_CHUNK_BYTES,
    TURN_S,
    Pace,
    next_chunk_bytes,
)


def test_what_comes_now_and_then_is_never_held_back() -> None:
    pace = Pace()
    assert not any(pace.rest_after(second, CREDIT_S * SHARE) for second in range(1, 100))


def test_endless_work_gets_its_share_of_the_time() -> None:
    pace, now, worked = Pace(), 100.0, 0.0
    while now < 110:
        worked += 0.0005
        now += 0.0005
        now += pace.rest_after(now, 0.0005)
    assert abs(worked / 10 - SHARE) < 0.02


def test_rests_are_long_enough_for_a_timer() -> None:
    pace, now, rests = Pace(), 100.0, []
    for _ in range(5000):
        now += 0.0001
        if rest := pace.rest_after(now, 0.0001):
            rests.append(rest)
            now += rest
    assert rests
    assert min(rests) >= DEBT_S / SHARE


def test_two_who_share_the_time_have_no_more_than_one() -> None:
    pace, now, worked = Pace(), 100.0, 0.0
    ready_at = [now, now]
    while now < 110:
        which = ready_at.index(min(ready_at))
        now = max(now, ready_at[which]) + 0.0005
        worked += 0.0005
        ready_at[which] = now + pace.rest_after(now, 0.0005)
    assert worked / 10 < SHARE + 0.02


def test_what_costs_much_is_read_in_small_pieces_and_what_costs_little_in_large_ones() -> None:
    assert next_chunk_bytes(40_000, TURN_S * 2) == 20_000
    assert next_chunk_bytes(20_000, TURN_S / 2) == 40_000
    assert next_chunk_bytes(10, 0.0) == 10 * TURN_S / 1e-6
    assert next_chunk_bytes(CHUNK_BYTES, 60.0) == SMALLEST_CHUNK_BYTES
    assert next_chunk_bytes(CHUNK_BYTES, 1e-9) == CHUNK_BYTES
