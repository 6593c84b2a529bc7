import pytest

from brummer.instance.restart_policy import (
    LOOP_ENDS,
    RESTART_BASE_S,
    RESTART_CAP_S,
    SHORT_S,
    Decision,
    Policy,
    Restarts,
)

LONG_S = SHORT_S
OVER = Decision(None)


@pytest.mark.parametrize(
    ("policy", "well", "starts_again"),
    [
        ("no", False, False),
        ("no", True, False),
        ("on-failure", False, True),
        ("on-failure", True, False),
        ("always", False, True),
        ("always", True, True),
    ],
)
def test_the_policy_says_after_which_ends_it_starts_again(policy: Policy, *, well: bool, starts_again: bool) -> None:
    decision = Restarts(policy).ended(LONG_S, well=well, error="")
    assert decision == (Decision(RESTART_BASE_S) if starts_again else OVER)


@pytest.mark.promise("crash-loops")
def test_the_pause_doubles_while_it_ends_at_once_and_then_it_is_a_crash_loop_with_its_first_error() -> None:
    restarts = Restarts("on-failure")
    decisions = [restarts.ended(0.1, well=False, error=f"error {n}") for n in range(LOOP_ENDS)]
    assert [decision.delay_s for decision in decisions] == [0.5, 1, 2, 4, None]
    assert decisions[-1].why_not == "crash loop"
    assert (restarts.first_error, restarts.count) == ("error 0", LOOP_ENDS - 1)


def test_one_long_run_makes_the_row_begin_anew() -> None:
    restarts = Restarts("always")
    for _ in range(LOOP_ENDS - 1):
        restarts.ended(0.1, well=False, error="early")
    assert restarts.ended(LONG_S, well=False, error="") == Decision(RESTART_BASE_S)
    assert restarts.ended(0.1, well=False, error="late") == Decision(RESTART_BASE_S)
    assert restarts.first_error == "late"


def test_who_fails_now_and_then_is_started_again_for_ever() -> None:
    restarts = Restarts("always")
    assert {restarts.ended(LONG_S, well=False, error="") for _ in range(1_000)} == {Decision(RESTART_BASE_S)}
    assert restarts.count == 1_000


def test_ending_well_at_once_is_a_crash_loop_too_where_it_should_always_run() -> None:
    restarts = Restarts("always")
    *_, last = [restarts.ended(0.1, well=True, error="exit 0") for _ in range(LOOP_ENDS)]
    assert (last.why_not, restarts.first_error) == ("crash loop", "exit 0")


def test_a_limit_of_restarts_is_kept() -> None:
    restarts = Restarts("always", limit=2)
    decisions = [restarts.ended(LONG_S, well=False, error="") for _ in range(3)]
    assert decisions == [Decision(RESTART_BASE_S), Decision(RESTART_BASE_S), Decision(None, "limit")]
    assert Restarts("always", limit=0).ended(LONG_S, well=False, error="") == Decision(None, "limit")


def test_no_pause_is_longer_than_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brummer.instance.restart_policy.LOOP_ENDS", 100)
    restarts = Restarts("always")
    pauses = [restarts.ended(0.1, well=False, error="").delay_s for _ in range(50)]
    assert max(pause for pause in pauses if pause is not None) == RESTART_CAP_S
