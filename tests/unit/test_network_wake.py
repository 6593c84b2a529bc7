"""What two readings of the clocks say, and what differs between two snapshots of the network."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from brummer.core.clock import Reading
from brummer.network import wake as wake_module
from brummer.network.snapshot import Snapshot, differences
from brummer.network.wake import ClockSet, Paused, Slept, WakeDetector

START = Reading(awake_s=1000.0, elapsed_s=5000.0, wall_s=1_790_000_000.0, suspends=3)


def later(reading: Reading, *, awake_s: float = 0.0, asleep_s: float = 0.0, set_s: float = 0.0) -> Reading:
    passed_s = awake_s + asleep_s
    return msgspec.structs.replace(
        reading,
        awake_s=reading.awake_s + awake_s,
        elapsed_s=reading.elapsed_s + passed_s,
        wall_s=reading.wall_s + passed_s + set_s,
    )


def test_time_that_passes_is_nothing() -> None:
    detector = WakeDetector(START)
    assert detector.compare(later(START, awake_s=86_400.0)) is None


def test_a_jump_between_the_clocks_is_a_sleep_and_told_once() -> None:
    detector = WakeDetector(START)
    woken = later(START, awake_s=1.0, asleep_s=19.5)
    assert detector.compare(woken) == Slept(19.5)
    assert detector.compare(later(woken, awake_s=5.0)) is None


@pytest.mark.promise("sleep-is-told-from-pause")
def test_a_clock_that_was_set_is_never_a_sleep_whichever_way() -> None:
    detector = WakeDetector(START)
    ahead = later(START, awake_s=1.0, set_s=3600.0)
    assert detector.compare(ahead) == ClockSet(3600.0)
    assert detector.compare(later(ahead, awake_s=1.0, set_s=-7200.0)) == ClockSet(-7200.0)


def test_a_late_heartbeat_alone_is_a_pause() -> None:
    detector = WakeDetector(START)
    now = later(START, awake_s=15.0)
    assert detector.compare(now, late_s=10.0) == Paused(10.0)
    assert detector.compare(later(now, awake_s=5.0), late_s=0.01) is None


def test_a_sleep_explains_the_late_heartbeat_that_follows_it() -> None:
    detector = WakeDetector(START)
    assert detector.compare(later(START, awake_s=8.0, asleep_s=100.0), late_s=3.0) == Slept(100.0)


def test_a_suspend_that_only_the_kernel_counted_is_a_sleep_and_its_echo_is_not_another() -> None:
    detector = WakeDetector(START)
    woken = later(START, awake_s=12.0)
    counted = msgspec.structs.replace(woken, suspends=START.suspends + 1)
    assert detector.compare(counted, late_s=7.0) == Slept(7.0)
    detector = WakeDetector(START)
    slept = later(START, awake_s=1.0, asleep_s=30.0)
    assert detector.compare(slept) == Slept(30.0)
    echo = msgspec.structs.replace(later(slept, awake_s=wake_module.ECHO_S / 2), suspends=slept.suspends + 1)
    assert detector.compare(echo) is None
    assert detector.compare(
        msgspec.structs.replace(later(echo, awake_s=wake_module.ECHO_S), suspends=echo.suspends + 1)
    ) == Slept(0.0)


durations = st.floats(0.0, 1e6)


@pytest.mark.promise("sleep-is-told-from-pause")
@given(st.lists(st.tuples(durations, durations, st.floats(-1e6, 1e6), st.floats(0.0, 100.0)), max_size=20))
def test_every_sleep_is_reported_with_its_length_and_nothing_else_is_called_one(
    steps: list[tuple[float, float, float, float]],
) -> None:
    detector, now = WakeDetector(START), START
    for awake_s, asleep_s, set_s, late_s in steps:
        now = later(now, awake_s=awake_s, asleep_s=asleep_s, set_s=set_s)
        told = detector.compare(now, late_s)
        if asleep_s > wake_module.JUMP_S + 0.01:
            assert isinstance(told, Slept)
            assert abs(told.seconds - asleep_s) < 0.01
        elif asleep_s < wake_module.JUMP_S - 0.01:
            assert not isinstance(told, Slept)


HOME = Snapshot(("192.168.1.5", "fd00::5"), carrier=True, loopback=True)


def test_the_same_network_has_no_differences() -> None:
    assert differences(HOME, replace(HOME)) == ()


def test_each_difference_is_one_sentence() -> None:
    assert differences(HOME, replace(HOME, loopback=False)) == ("the loopback interface is down",)
    assert differences(HOME, replace(HOME, carrier=False)) == ("no default interface is up",)
    assert differences(HOME, replace(HOME, sources=("10.0.0.9", "fd00::5"))) == (
        "our IPv4 address changed from 192.168.1.5 to 10.0.0.9",
    )
    lost = replace(HOME, sources=(None, None), carrier=None)
    assert differences(HOME, lost) == ("the default route for IPv4 is gone", "the default route for IPv6 is gone")
    assert len(differences(lost, HOME)) == 2


def test_online_needs_a_route_and_no_missing_carrier() -> None:
    assert HOME.is_online
    assert replace(HOME, carrier=None).is_online
    assert not replace(HOME, carrier=False).is_online
    assert not Snapshot().is_online
