"""Breaker, health and limits: pure functions of time and outcomes."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brummer.link import breaker as breaker_module
from brummer.link import health as health_module
from brummer.link.admission import Gate
from brummer.link.breaker import Breaker
from brummer.link.health import Health
from brummer.link.limits import Slots, Total
from brummer.settings.limits import Limits


def opened(now_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(breaker_module.FAILURES):
        breaker.failed(now_s)
    return breaker


def test_a_breaker_opens_on_failures_in_a_row_and_a_success_between_them_starts_the_count_anew() -> None:
    breaker = Breaker()
    for _ in range(breaker_module.FAILURES - 1):
        breaker.failed(0.0)
    breaker.succeeded()
    breaker.failed(0.0)
    assert breaker.state(0.0) == "closed"
    assert opened().state(0.0) == "open"


def test_an_open_breaker_admits_nobody_and_says_for_how_long() -> None:
    breaker = opened()
    assert not breaker.admits(1.0)
    assert breaker.retry_after_s(1.0) == breaker_module.OPEN_S - 1.0


@pytest.mark.promise("breaker")
def test_half_open_admits_exactly_one_trial_which_has_a_deadline_of_its_own() -> None:
    breaker, now_s = opened(), breaker_module.OPEN_S
    assert breaker.state(now_s) == "half-open"
    assert [breaker.admits(now_s) for _ in range(5)] == [True, False, False, False, False]
    assert not breaker.admits(now_s + breaker_module.TRIAL_S - 0.1)
    assert breaker.admits(now_s + breaker_module.TRIAL_S)


def test_a_failed_trial_opens_for_longer_up_to_a_maximum_and_a_good_one_closes() -> None:
    breaker, now_s, lengths = opened(), 0.0, []
    for _ in range(40):
        lengths.append(breaker.retry_after_s(now_s))
        now_s += lengths[-1]
        assert breaker.admits(now_s)
        breaker.failed(now_s)
    assert lengths[:3] == [breaker_module.OPEN_S, breaker_module.OPEN_S * 2, breaker_module.OPEN_S * 4]
    assert max(lengths) == lengths[-1] == breaker_module.OPEN_MAX_S
    breaker.succeeded()
    assert breaker.state(now_s) == "closed"


def test_an_abandoned_trial_leaves_the_place_to_the_next() -> None:
    breaker, now_s = opened(), breaker_module.OPEN_S
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
        assert health_module.SILENT_CALL_S <= health.interval_s <= health_module.MAX_S
        assert health_module.PROBE_DEADLINE_S <= health.probe_deadline_s() <= 4.0


def test_quality_falls_with_failures_and_recovers_with_answers() -> None:
    health = Health()
    for _ in range(8):
        health.failed()
    poor = health.quality
    for _ in range(40):
        health.answered(0.0, 0.001)
    assert poor < 0.4
    assert health.quality > 0.95


def test_late_timers_of_our_own_stretch_deadlines_and_wear_off() -> None:
    health = Health()
    before = health.probe_deadline_s()
    for _ in range(20):
        health.fired(late_s=3.0)
    assert health.probe_deadline_s() == before * (health_module.MAX_LATENESS + 1)
    assert not health.is_self_healthy
    for _ in range(health_module.MAX_LATENESS):
        health.fired(late_s=0.0)
    assert health.is_self_healthy


def test_quiet_links_are_probed_in_one_aligned_wave_and_suspect_ones_twice_a_second() -> None:
    times = {Health().next_probe_s(now_s, suspect=False, silent_calls=False) for now_s in (91.0, 130.5, 179.9)}
    assert times == {180.0}
    health = Health()
    health.asked(10.0)
    assert health.next_probe_s(10.1, suspect=True, silent_calls=False) == 10.0 + health_module.SUSPECT_S
    assert health.next_probe_s(20.0, suspect=True, silent_calls=False) == 20.0


def test_success_postpones_the_question_about_a_silent_call() -> None:
    health = Health()
    health.answered(100.0)
    assert health.next_probe_s(100.5, suspect=False, silent_calls=True) == 100.0 + health_module.SILENT_CALL_S


def test_a_question_that_failed_is_not_asked_again_at_once_whatever_the_call_does() -> None:
    health = Health()
    health.answered(100.0)
    health.asked(110.0)
    assert health.next_probe_s(110.0, suspect=False, silent_calls=True) == 110.0 + health_module.SUSPECT_S


def test_flows_take_turns_whatever_each_has_queued() -> None:
    slots: Slots[str] = Slots(Total(limit=1), limit=1, queue_limit=20)
    assert slots.take()
    for number in range(10):
        slots.enqueue("flood", f"flood-{number}")
    slots.enqueue("other", "other-0")
    order = []
    for _ in range(4):
        slots.release()
        waiter = slots.next_waiter()
        assert waiter is not None
        order.append(waiter)
    assert order == ["flood-0", "other-0", "flood-1", "flood-2"]


class Admission(RuleBasedStateMachine):
    """Whatever happens, slots and queues add up, and nobody is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.total = Total(limit=5)
        self.instances: list[Slots[int]] = [Slots(self.total, limit=3, queue_limit=4) for _ in range(3)]
        self.running: Counter[int] = Counter()
        self.waiting: list[tuple[int, int, int]] = []
        self.ticket = 0

    @rule(instance=st.integers(0, 2), flow=st.integers(0, 2))
    def arrive(self, instance: int, flow: int) -> None:
        slots = self.instances[instance]
        if slots.take():
            self.running[instance] += 1
        else:
            self.ticket += 1
            if slots.enqueue(flow, self.ticket):
                self.waiting.append((instance, flow, self.ticket))

    @rule(instance=st.integers(0, 2))
    def finish(self, instance: int) -> None:
        if not self.running[instance]:
            return
        self.running[instance] -= 1
        self.instances[instance].release()
        for number, slots in enumerate(self.instances):
            while (ticket := slots.next_waiter()) is not None:
                self.running[number] += 1
                self.waiting = [entry for entry in self.waiting if entry[2] != ticket]

    @rule(index=st.integers(0, 20))
    def give_up(self, index: int) -> None:
        if index < len(self.waiting):
            instance, flow, ticket = self.waiting.pop(index)
            assert self.instances[instance].leave(flow, ticket)

    @invariant()
    def numbers_add_up(self) -> None:
        assert self.total.taken == sum(slots.taken for slots in self.instances) <= 5
        for number, slots in enumerate(self.instances):
            assert slots.taken == self.running[number] <= 3
            assert slots.queued == sum(1 for entry in self.waiting if entry[0] == number) <= 4


TestAdmission = Admission.TestCase


def test_a_health_that_has_measured_tells_percentiles() -> None:
    health = Health()
    assert health.latency_s(50) is None
    for number in range(1, 101):
        health.answered(0.0, number / 1000)
    assert [health.latency_s(percent) for percent in (50, 90, 99)] == [0.05, 0.09, 0.099]


async def test_common_places_go_to_lanes_in_turn_and_the_lanes_own_to_its_own_queue() -> None:
    gate = Gate(Limits(in_flight=2))
    lanes = [gate.lane(name, limit=2) for name in "abc"]
    for _ in range(2):
        await lanes[0].enter("flow")
    came: list[str] = []

    async def pass_through(number: int) -> None:
        await lanes[number].enter("flow")
        came.append("abc"[number])

    waiting = [asyncio.create_task(pass_through(number)) for number in (0, 0, 0, 1, 2)]
    await asyncio.sleep(0)
    for _ in range(5):
        lanes["abc".index(came[-1]) if came else 0].leave()
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert sorted(came[:3]) == ["a", "b", "c"]
    assert came[3:] == ["a", "a"]
