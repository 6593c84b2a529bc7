"""The condition of an instance's process depends on the process and on time, not on the number of checks."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from brummer.host.pids import ProcessState
from brummer.peers.instances import Instances
from brummer.peers.process_sampler import SAMPLE_S, STALE_S, condition_of


class Process:
    """A process whose state and CPU time the test sets; ``look`` returns the condition that the hub sees."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.seen: ProcessState | None = ProcessState("sleeping", 100)
        self.error: OSError | None = None
        record: Any = SimpleNamespace(pid=4242, identity=None)
        processes: Any = SimpleNamespace(
            same_namespace=lambda _: True, is_running=lambda _: True, process_state=self._state
        )
        self.look = condition_of(record, processes, lambda: self.now_s)

    def _state(self, _: int) -> ProcessState | None:
        if self.error is not None:
            raise self.error
        return self.seen

    def after(self, seconds: float, state: Any, ticks: int) -> str:
        self.now_s += seconds
        self.seen = ProcessState(state, ticks)
        return self.look()


@pytest.fixture
def process() -> Process:
    return Process()


def test_a_process_that_uses_cpu_time_is_busy_at_any_rate_of_checks(process: Process) -> None:
    process.look()
    process.after(SAMPLE_S, "sleeping", 120)
    assert {process.after(0.0001, state, 120) for state in ("running", "sleeping") * 5} == {"busy"}
    assert process.after(SAMPLE_S, "sleeping", 120) == "idle"
    assert {process.after(0.0001, state, 121) for state in ("running", "sleeping") * 5} == {"idle"}


def test_cpu_time_used_long_ago_makes_no_process_busy(process: Process) -> None:
    process.look()
    assert process.after(STALE_S + 1, "sleeping", 9000) == "idle"
    assert process.after(STALE_S + 1, "running", 9000) == "busy"


def test_a_stopped_or_ended_process_is_seen_at_once(process: Process) -> None:
    process.look()
    assert process.after(0.0, "stopped", 100) == "stopped"
    assert process.after(0.0, "zombie", 100) == "gone"
    process.seen = None
    assert process.look() == "gone"


def test_a_process_that_cannot_be_looked_at_is_unknown(process: Process) -> None:
    process.error = OSError(errno.EMFILE, "Too many open files")
    assert process.look() == "unknown"


async def test_many_failing_calls_look_at_each_process_once_and_not_once_per_call() -> None:
    samples = 0

    def sample() -> str:
        nonlocal samples
        samples += 1
        return "idle"

    instances = Instances(Path("/"))
    links = [
        SimpleNamespace(is_failing=True, target=SimpleNamespace(condition=sample, in_other_network=False))
        for _ in range(50)
    ]
    for number, link in enumerate(links):
        instances._entries[str(number)] = cast("Any", SimpleNamespace(link=link, is_gone=False, host=""))
    assert {instances.are_cut_off() for _ in range(200)} == {True}
    assert samples <= 100
    links[-1].is_failing = False
    assert not instances.are_cut_off()
    instances._entries.clear()
    await instances.close()
