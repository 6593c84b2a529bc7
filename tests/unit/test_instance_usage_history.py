"""The samples that are kept: their times, gaps, bounds, and a clock that is set."""

from math import isclose
from typing import Final

from brummer.instance.usage_history import ROWS, UsageHistory
from brummer.process.usage_sampler import UsageSample

MIB: Final = 1 << 20
NOW: Final = 1_764_460_800.1
"""More than a 32-bit float can tell from its neighbours: those are two minutes away."""


def sample(cpu: float | None = 0.25, mib: float | None = 61.04, processes: int = 3) -> UsageSample:
    return UsageSample(cpu, None if mib is None else int(mib * MIB), processes)


def test_samples_come_back_with_their_times_to_a_tenth_of_a_second_the_latest_first() -> None:
    history = UsageHistory()
    for n in range(3):
        history.add(NOW + 2 * n + 0.004, {"web": sample(cpu=n / 8)})
    assert list(history.newest("web")) == [
        [NOW + 4, 0.25, 61.0, 3],
        [NOW + 2, 0.125, 61.0, 3],
        [NOW, 0.0, 61.0, 3],
    ]


def test_only_samples_after_a_time_are_given_and_the_time_of_a_sample_is_not_after_itself() -> None:
    history = UsageHistory()
    for n in range(4):
        history.add(NOW + 2.03 * n, {"web": sample()})
    _, second, *_ = history.newest("web")
    assert second[0] is not None
    assert len(list(history.newest("web", second[0]))) == 1


def test_what_is_hidden_is_none_and_what_is_missing_is_a_gap() -> None:
    history = UsageHistory()
    history.add(NOW, {"web": sample(), "api": sample(None, None)})
    history.add(NOW + 2, {"api": sample(), "idle": sample(processes=0)})
    history.add(NOW + 4, {"web": sample()})
    assert [at for at, *_ in history.newest("web")] == [NOW + 4, NOW]
    assert list(history.newest("api"))[-1] == [NOW, None, None, 3]
    assert [list(history.newest(name)) for name in ("idle", "never")] == [[], []]


def test_the_oldest_samples_make_room_also_of_a_script_that_has_ended() -> None:
    history = UsageHistory(rows=5)
    history.add(NOW, {"ended": sample()})
    for n in range(1, 12):
        history.add(NOW + n, {"web": sample(processes=n)})
        assert len(list(history.newest("ended"))) == int(n < 5)
    assert [processes for *_, processes in history.newest("web")] == [11, 10, 9, 8, 7]


def test_half_an_hour_is_kept() -> None:
    history = UsageHistory()
    for n in range(ROWS + 50):
        history.add(NOW + 2 * n, {"web": sample()})
    kept = list(history.newest("web"))
    assert len(kept) == ROWS
    assert isclose(float(kept[0][0] or 0) - float(kept[-1][0] or 0), 2 * (ROWS - 1), abs_tol=1e-3)


def test_a_clock_that_was_set_back_begins_anew_and_one_set_forth_leaves_a_gap() -> None:
    history = UsageHistory()
    for at_s in (NOW, NOW + 2, NOW + 7200):
        history.add(at_s, {"web": sample()})
    assert [at for at, *_ in history.newest("web")] == [NOW + 7200, NOW + 2, NOW]
    history.add(NOW, {"web": sample()})
    history.add(NOW + 2, {"web": sample()})
    assert [at for at, *_ in history.newest("web")] == [NOW + 2, NOW]


def test_large_numbers_are_kept_well_enough() -> None:
    history = UsageHistory()
    history.add(NOW, {"web": sample(cpu=63.987, mib=262_143.9, processes=4_321)})
    assert list(history.newest("web")) == [[NOW, 63.987, 262143.9, 4321]]
