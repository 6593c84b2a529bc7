"""Which processes belong to a tree, and what it has used between two samples: with made-up processes, and real ones."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.host.clocks import awake
from brummer.host.process_usage import TICKS_A_SECOND, ProcessUsage
from brummer.process.child import Child, Shared, start
from brummer.process.guard import RUN_MARK
from brummer.process.process_tree import ProcessTree, Scans
from brummer.process.throttle import Throttle
from brummer.process.usage_sampler import LONGEST_S, UsageSample, UsageSampler, mark_of, used_ticks

WITHIN_S = 30
MIB = 1 << 20
SECOND = TICKS_A_SECOND


def process(
    parent: int = 1,
    group: int = 0,
    *,
    session: int = 0,
    started: int = 1,
    own: int | None = 0,
    waited: int = 0,
    resident: int | None = MIB,
) -> ProcessUsage:
    return ProcessUsage(parent, group, session, started, False, own, waited, resident)


def zombie(parent: int, group: int, own: int) -> ProcessUsage:
    return ProcessUsage(parent, group, 0, 1, True, own, 0, 0)


class Machine:
    """UsageByPid that are made up, and a count of how often each was read."""

    def __init__(self) -> None:
        self.processes: dict[int, ProcessUsage] = {}
        self.marks: dict[int, bytes] = {}
        self.reads: list[int] = []
        self.sampler = UsageSampler(self.tokens, self.look_up, self.marks.get, processors=4)

    def tokens(self) -> dict[int, int]:
        return {pid: usage.started for pid, usage in self.processes.items()}

    def look_up(self, pid: int) -> ProcessUsage | None:
        self.reads.append(pid)
        return self.processes.get(pid)

    def sample(self, *trees: ProcessTree, at_s: float = 0.0) -> list[UsageSample]:
        self.reads.clear()
        return list(self.sampler.sample(trees, at_s).values())


def tree(group: int = 100) -> ProcessTree:
    return ProcessTree(group, f"{RUN_MARK}=gen/run-{group}", Scans())


@pytest.fixture
def machine() -> Machine:
    return Machine()


# Who belongs to it.


@pytest.mark.parametrize(
    ("pid", "usage"),
    [
        (100, process(group=100)),
        (101, process(parent=1, group=100)),
        (102, process(parent=1, group=102, session=100)),
        (103, process(parent=100, group=103, session=103)),
        (104, process(parent=103, group=104, session=104)),
    ],
    ids=["the leader", "in its group", "in its session", "a child of the leader", "a child of that"],
)
def test_a_process_belongs_by_group_session_or_ancestors(machine: Machine, pid: int, usage: ProcessUsage) -> None:
    machine.processes = {
        50: process(group=50),
        pid: usage,
        **({100: process(group=100), 103: process(100, 103)} if pid > 102 else {}),
    }
    ours = len(machine.processes) - 1
    if pid == 103:
        machine.processes[103] = usage
    assert machine.sample(tree()) == [UsageSample(None, ours * MIB, ours)]


def test_a_daemon_belongs_by_its_mark_and_its_children_by_it(machine: Machine) -> None:
    run = tree()
    machine.processes = {7: process(group=7, session=7), 8: process(parent=7, group=8, session=8)}
    machine.marks[7] = run.mark
    assert machine.sample(run)[0].processes == 2


def test_one_that_was_born_into_a_tree_stays_there_when_all_that_told_it_is_gone(machine: Machine) -> None:
    run = tree()
    machine.processes = {100: process(group=100), 101: process(parent=100, group=101, session=101)}
    assert machine.sample(run)[0].processes == 2
    run.usage.leader_died()
    run.usage.reaped(0.0, None)
    machine.processes = {101: process(parent=1, group=101, session=101)}
    assert machine.sample(run)[0].processes == 1
    machine.processes = {101: process(parent=1, group=101, session=101, started=9)}  # another, with its number
    assert machine.sample(run)[0].processes == 0


def test_the_number_of_a_group_means_nothing_once_its_leader_is_reaped(machine: Machine) -> None:
    run = tree()
    run.usage.leader_died()
    run.usage.reaped(0.0, None)
    machine.processes = {100: process(group=100, session=100)}
    assert machine.sample(run) == [UsageSample(None, None, 0)]


def test_each_of_several_runs_gets_its_own_also_one_that_is_not_asked_for(machine: Machine) -> None:
    web, api, earlier = tree(100), tree(200), tree(300)
    machine.processes = {100: process(group=100), 200: process(group=200), 201: process(200, 201), 301: process()}
    machine.marks[301] = earlier.mark
    assert [each.processes for each in machine.sample(web, api)] == [1, 2]
    assert [each.processes for each in machine.sample(web, api)] == [1, 2]
    assert 301 in machine.reads  # perhaps its run is known in the next sample
    assert [each.processes for each in machine.sample(web, api, earlier)] == [1, 2, 1]


def test_what_is_none_of_ours_is_read_twice_and_then_never_again(machine: Machine) -> None:
    run = tree()
    machine.processes = {100: process(group=100), 50: process(group=50), 51: process(parent=50)}
    for expected in ([100, 50, 51], [100, 50, 51], [100], [100]):
        machine.sample(run)
        assert machine.reads == expected
    machine.processes[50] = process(parent=100, started=2)  # a child of ours that has got its number
    assert machine.sample(run)[0].processes == 2
    assert machine.reads == [100, 50]


def test_the_scripts_of_another_instance_are_foreign_too(machine: Machine) -> None:
    run = tree()
    machine.processes = {100: process(group=100), 7: process(group=7), 8: process(group=8)}
    machine.marks |= {7: f"{RUN_MARK}=other/web-1".encode(), 8: f"{RUN_MARK}=gen/earlier-1".encode()}
    for expected in ([100, 7, 8], [100, 7, 8], [100, 8]):
        machine.sample(run)
        assert machine.reads == expected


def test_one_that_shows_no_environment_at_its_first_moment_is_known_at_the_second(machine: Machine) -> None:
    run = tree()
    machine.processes = {7: process(group=7, session=7)}
    assert machine.sample(run)[0].processes == 0
    machine.marks[7] = run.mark
    assert machine.sample(run)[0].processes == 1


def test_the_leader_of_a_new_run_is_read_though_it_was_seen_before_it_had_its_group(machine: Machine) -> None:
    machine.processes = {100: process(group=10)}
    for _ in range(3):
        machine.sample(tree(200))
    assert machine.reads == []
    machine.processes = {100: process(group=100)}
    assert [each.processes for each in machine.sample(tree(200), tree(100))] == [0, 1]


def test_parents_that_form_a_ring_are_no_endless_loop(machine: Machine) -> None:
    machine.processes = {1: process(parent=2), 2: process(parent=1), 3: process(parent=3)}
    assert machine.sample(tree())[0].processes == 0
    assert used_ticks(machine.processes, {}) == 0


def test_one_that_ends_between_the_list_and_its_reading_is_left_out(machine: Machine) -> None:
    machine.processes = {100: process(group=100)}
    sampler = UsageSampler(lambda: {100: 1, 101: 1}, machine.look_up, machine.marks.get)
    assert [each.processes for each in sampler.sample([tree()], 0.0).values()] == [1]


# What it uses.


def test_cpu_is_a_part_of_one_processor_and_known_from_the_second_sample_on(machine: Machine) -> None:
    run = tree()
    machine.processes = {100: process(group=100, own=500 * SECOND)}
    assert machine.sample(run, at_s=10.0) == [UsageSample(None, MIB, 1)]
    machine.processes = {100: process(group=100, own=501 * SECOND)}
    assert machine.sample(run, at_s=12.0) == [UsageSample(0.5, MIB, 1)]
    machine.processes[101] = process(group=100, own=3 * SECOND, started=2)
    assert machine.sample(run, at_s=14.0) == [UsageSample(1.5, 2 * MIB, 2)]


def test_after_a_pause_there_is_no_cpu_and_then_there_is_again(machine: Machine) -> None:
    run = tree()
    for at_s, ticks, cpu in ((0.0, 0, None), (LONGEST_S + 1, 5 * SECOND, None), (LONGEST_S + 3, 6 * SECOND, 0.5)):
        machine.processes = {100: process(group=100, own=ticks)}
        assert machine.sample(run, at_s=at_s)[0].cpu == cpu


def test_a_run_that_began_since_the_last_sample_has_cpu_at_its_first(machine: Machine) -> None:
    machine.sample(at_s=0.0)
    machine.processes = {100: process(group=100, own=SECOND)}
    assert machine.sample(tree(), at_s=2.0)[0].cpu == 0.5


@pytest.mark.promise("usage-while-asked")
def test_no_figure_exceeds_what_all_processors_can_do(machine: Machine) -> None:
    run = tree()
    machine.processes = {100: process(group=100)}
    machine.sample(run, at_s=0.0)
    machine.processes = {100: process(group=100, waited=90_000 * SECOND)}  # of a child that was hidden from us
    assert machine.sample(run, at_s=2.0)[0].cpu == 4


def test_two_samples_at_one_moment_have_no_cpu(machine: Machine) -> None:
    run = tree()
    machine.processes = {100: process(group=100)}
    machine.sample(run, at_s=1.0)
    assert machine.sample(run, at_s=1.0)[0].cpu is None


def test_what_a_system_hides_is_unknown_and_not_nothing(machine: Machine) -> None:
    run = tree()
    machine.processes = {100: process(group=100, own=None, resident=None)}
    machine.sample(run, at_s=0.0)
    assert machine.sample(run, at_s=2.0) == [UsageSample(None, None, 1)]
    machine.processes[101] = process(group=100, own=SECOND, started=2)
    assert machine.sample(run, at_s=4.0) == [UsageSample(0.5, MIB, 2)]


def test_a_zombie_counts_with_its_cpu_time_but_not_as_a_process(machine: Machine) -> None:
    run = tree()
    machine.processes = {100: process(group=100), 101: process(100, 100)}
    machine.sample(run, at_s=0.0)
    machine.processes[101] = zombie(100, 100, own=SECOND)
    assert machine.sample(run, at_s=2.0) == [UsageSample(0.5, MIB, 1)]
    machine.processes = {100: process(group=100, waited=SECOND)}
    assert machine.sample(run, at_s=4.0) == [UsageSample(0.0, MIB, 1)]


def test_a_sample_is_also_what_the_whole_run_has_used_so_far(machine: Machine) -> None:
    run = tree()
    machine.processes = {100: process(group=100, own=SECOND, waited=2 * SECOND), 101: process(100, 100, own=SECOND)}
    machine.sample(run)
    assert (run.usage.cpu_s, run.usage.peak_bytes) == (4.0, 2 * MIB)
    machine.processes = {}
    assert machine.sample(run) == [UsageSample(None, None, 0)]
    assert (run.usage.cpu_s, run.usage.peak_bytes) == (4.0, 2 * MIB)


def test_a_child_that_was_waited_for_is_not_counted_twice() -> None:
    before = {1: process(0, own=10), 2: process(1, own=100)}
    assert used_ticks(before, {1: process(0, own=11, waited=105)}) == 6


def test_a_grandchild_whose_parent_ended_too_is_not_counted_twice() -> None:
    before = {1: process(0), 2: process(1, own=100, waited=7), 3: process(2, own=1000)}
    assert used_ticks(before, {1: process(0, waited=100 + 7 + 1000 + 5)}) == 5


def test_a_child_that_nobody_waited_for_takes_nothing_away() -> None:
    before = {1: process(0, own=10, waited=3), 2: process(1, own=100)}
    assert used_ticks(before, {1: process(0, own=12, waited=3)}) == 2


def test_a_number_that_another_process_has_got_counts_only_what_that_one_has_used() -> None:
    before = {1: process(0), 2: process(1, own=100_000)}
    assert used_ticks(before, {1: process(0), 2: process(1, own=4, started=2)}) == 4
    assert used_ticks({2: process(1, own=4)}, {2: process(1, own=100_000, started=2)}) == 100_000  # cut to all cores


def test_a_leader_that_has_ended_leaves_no_ancestor() -> None:
    before = {1: process(0, own=10), 2: process(1, own=20)}
    assert used_ticks(before, {2: process(0, own=25)}) == 5
    assert used_ticks(before, {}) == 0


@pytest.mark.promise("usage-while-asked")
@given(st.data())
def test_no_figure_is_ever_negative(data: st.DataObject) -> None:
    numbers = st.integers(0, 1000)
    one = st.builds(process, st.integers(0, 6), started=st.integers(1, 2), own=numbers | st.none(), waited=numbers)
    table = st.dictionaries(st.integers(1, 6), one)
    assert used_ticks(data.draw(table), data.draw(table)) >= 0


# Real processes.

BURNS = "import time\nprint('up', flush=True)\nwhile True: pass"
HOLDS = f"kept = bytearray({48 * MIB}); print('up', flush=True); import time; time.sleep(600)"


class Runs:
    """Runs of commands, and a sampler for all of them."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.sampler = UsageSampler()
        self.shared = Shared(Throttle(), Scans())
        self._news = asyncio.Event()
        self._printed = 0

    async def start(self, command: str, prints: int = 1) -> Child:
        """Returns when so many processes of it have printed ``up``."""
        self._printed = 0
        environment = {**os.environ, RUN_MARK: uuid4().hex}
        child = start(command, "/", environment, self._on_output, shared=self.shared)
        self.children.append(child)
        async with asyncio.timeout(WITHIN_S):
            while self._printed < prints:
                self._news.clear()
                await self._news.wait()
        return child

    def _on_output(self, _: str, chunk: bytes) -> None:
        self._printed += chunk.count(b"up")
        self._news.set()

    async def sample(self, *children: Child) -> list[UsageSample]:
        trees = [child.tree for child in children or self.children]
        return list((await asyncio.to_thread(lambda: self.sampler.sample(trees, awake()))).values())

    async def until(self, holds: Callable[[UsageSample], bool]) -> UsageSample:
        """A sample of the last one, of which this holds."""
        *_, sample = await self.until_all(lambda samples: holds(samples[-1]))
        return sample

    async def until_all(self, hold: Callable[[list[UsageSample]], bool]) -> list[UsageSample]:
        """Samples of all, of which this holds."""
        async with asyncio.timeout(WITHIN_S):
            while not hold(samples := await self.sample()):
                await asyncio.sleep(0.1)  # no event tells what a process uses
        return samples


def python(code: str) -> str:
    return shlex.join([sys.executable, "-I", "-S", "-c", code])


@pytest.fixture
async def runs() -> AsyncIterator[Runs]:
    runs = Runs()
    yield runs
    await asyncio.gather(*(child.stop(WITHIN_S, signal.SIGKILL) for child in runs.children))
    await asyncio.gather(*(child.end_daemons(0.0) for child in runs.children))


@pytest.mark.promise("usage-while-asked")
@pytest.mark.parametrize("by", ["", "setsid ", "setsid setsid "], ids=["in the group", "escaped", "escaped twice"])
async def test_a_child_that_burns_cpu_and_one_that_holds_memory_count_for_their_run(runs: Runs, by: str) -> None:
    await runs.start(f"{by}{python(BURNS)} & {by}{python(HOLDS)} & exec sleep 600", prints=2)
    await runs.sample()
    sample = await runs.until(lambda sample: (sample.cpu or 0) > 0.01)
    assert sample.resident_bytes is not None
    assert 48 * MIB < sample.resident_bytes < 400 * MIB
    assert sample.processes >= 3
    assert sample.cpu is not None
    assert sample.cpu <= (os.cpu_count() or 1)


@pytest.mark.skipif(sys.platform != "linux", reason="platform: macOS hides the environment of its own programs")
async def test_a_daemon_whose_parents_are_dead_counts_for_its_run(runs: Runs) -> None:
    await runs.start(f"(setsid {python(HOLDS)} &); exec sleep 600")
    sample = await runs.until(lambda sample: sample.processes == 2)
    assert (sample.resident_bytes or 0) > 48 * MIB


async def test_a_stopped_run_uses_no_cpu_and_keeps_its_memory(runs: Runs) -> None:
    child = await runs.start(f"exec {python('kept = bytearray(48 << 20)' + chr(10) + BURNS)}")
    await runs.sample()
    await runs.until(lambda sample: (sample.cpu or 0) > 0.01)
    os.killpg(child.pid, signal.SIGSTOP)
    stopped = await runs.until(lambda sample: sample.cpu == 0)
    assert (stopped.resident_bytes or 0) > 48 * MIB
    os.killpg(child.pid, signal.SIGCONT)
    await runs.until(lambda sample: (sample.cpu or 0) > 0.01)


async def test_short_children_that_live_between_two_samples_are_counted(runs: Runs) -> None:
    short = python("import time\nwhile time.process_time() < 0.03: pass")
    await runs.start(f"echo up; while :; do {short}; done")
    await runs.sample()
    await runs.until(lambda sample: (sample.cpu or 0) > 0.05)


async def test_a_killed_run_is_gone_from_the_next_sample(runs: Runs) -> None:
    child = await runs.start(f"{python(BURNS)} & wait")
    assert (await runs.sample())[0].processes == 2
    await child.stop(WITHIN_S, signal.SIGKILL)
    assert await runs.sample() == [UsageSample(None, None, 0)]


async def test_fifty_scripts_of_three_processes_are_sampled_each_for_itself(runs: Runs) -> None:
    await runs.start(f"{python(BURNS)} & sleep 600 & wait")
    for number in range(49):
        environment = {**os.environ, RUN_MARK: str(number)}
        runs.children.append(start("sleep 600 & sleep 600 & wait", "/", environment, print, shared=runs.shared))
    samples = await runs.until_all(
        lambda samples: {sample.processes for sample in samples} == {3} and (samples[0].cpu or 0) > 0.01
    )
    assert all((sample.cpu or 0) < 0.5 for sample in samples[1:])


def test_the_mark_of_this_process_is_that_of_its_environment() -> None:
    assert mark_of(os.getpid()) is None
