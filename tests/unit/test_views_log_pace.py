"""How a log is read that is printed faster than it can be read."""

from collections.abc import Callable

import pytest

from brummer.views.log_pace import BURST_PAGES, PAUSE_S, LogPace

PAGE = 1_000
ROUND_TRIP_S = 0.005


def read(printed_at: Callable[[float], int], seconds: float) -> tuple[int, int, int, int]:
    """Pages, lines that were read, lines that were left out, and by how many lines it was behind at most after the
    first second; of a log that has so many lines at a time.
    """
    pace, now_s, place, pages, lines, left_out, behind = LogPace(0.0), 0.0, 0, 0, 0, 0, 0
    while now_s < seconds:
        now_s += ROUND_TRIP_S
        there = printed_at(now_s)
        if now_s > 1:
            behind = max(behind, there - place)
        count = min(PAGE, there - place)
        place, pages, lines = place + count, pages + 1, lines + count
        step = pace.step(now_s, has_more=there > place)
        if step.skips and there - place > PAGE:
            left_out += there - PAGE - place
            place = there - PAGE
        now_s += step.pause_s
    return pages, lines, left_out, behind


def test_a_burst_is_read_whole_and_at_once() -> None:
    pages, lines, left_out, _ = read(lambda now_s: 15_000, seconds=1.0)
    assert (lines, left_out) == (15_000, 0)
    assert pages <= 15 + 1 / PAUSE_S


@pytest.mark.parametrize("lines_per_s", [10_000, 100_000])
def test_of_a_flood_four_pages_a_second_are_read_and_they_are_the_newest(lines_per_s: int) -> None:
    pages, lines, left_out, behind = read(lambda now_s: int(now_s * lines_per_s), seconds=60.0)
    assert pages <= BURST_PAGES + 60 / PAUSE_S + 1
    assert lines + left_out >= 0.97 * 60 * lines_per_s
    assert behind <= BURST_PAGES * PAGE + lines_per_s


def test_what_one_page_holds_is_never_left_out() -> None:
    _, lines, left_out, _ = read(lambda now_s: int(now_s * 3_500), seconds=60.0)
    assert left_out == 0
    assert lines >= 59 * 3_500


def test_after_a_pause_a_burst_is_read_whole_again() -> None:
    pace = LogPace(0.0)
    for now_s in (0.0, 100.0):
        for _ in range(BURST_PAGES):
            assert pace.step(now_s, has_more=True) == (0.0, False)
        assert pace.step(now_s, has_more=True) == (PAUSE_S, True)
    assert pace.step(100.0 + PAUSE_S, has_more=True) == (PAUSE_S, True), "the flood goes on"
    assert pace.step(100.0 + 2 * PAUSE_S, has_more=False) == (PAUSE_S, False)
