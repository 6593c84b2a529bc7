"""When usage is measured, and for how long after somebody has asked: in virtual time, with made-up samples; and of real
scripts through the tools.
"""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from uuid import uuid4

import msgspec
import pytest

from brummer.core.memory import Memory
from brummer.core.metrics import Metric
from brummer.core.supervisor import Supervisor
from brummer.instance.counting import CountedCalls, Counting
from brummer.instance.ledger import Ledger
from brummer.instance.manager import Manager
from brummer.instance.metrics import SCRIPT_CPU, SCRIPT_MEMORY, SCRIPT_PROCESSES, families
from brummer.instance.scripts import ScriptList
from brummer.instance.usage import EVERY_S, FIGURES_S, LEASE_S, ScriptUsage
from brummer.instance.usage_history import ROWS
from brummer.process.guard import Guard
from brummer.process.process_tree import ProcessTree
from brummer.process.usage_sampler import UsageSample
from brummer.testing.virtual_time import START_S, Stuck, VirtualLoop
from brummer.wire.mcp.tool_results import BUDGET_BYTES
from tests.unit.agent_support import Agent
from tests.unit.agents_page import unnamed_fields

WITHIN_S = 30
MIB = 1 << 20
EPOCH: Final = 1_764_460_800.0


class ATree:
    """What stands for a `ProcessTree`."""

    def __init__(self, name: str) -> None:
        self.name = name


def a_run(name: str = "web", state: str = "running") -> Any:
    """What is asked of a `Run`."""
    tree = ATree(name)
    ended = state not in ("running", "stopping")
    child = SimpleNamespace(tree=tree) if state != "pending" else None
    return SimpleNamespace(name=name, process_id=f"{name}-1", state=state, has_ended=ended, child=child)


class Story:
    """A `ScriptUsage` in virtual time. ``sampled`` has the moments of its measurements, and what was measured."""

    def __init__(self, *runs: Any) -> None:
        self.runs = list(runs)
        self.sampled: list[tuple[float, list[str]]] = []
        self.loop = asyncio.get_running_loop()
        self.supervisor = Supervisor()
        self.answer_of: Callable[[int], UsageSample] = lambda count: UsageSample(None if count == 1 else 0.5, MIB, 2)
        self.fails: BaseException | None = None
        self.goes = asyncio.Event()
        self.goes.set()
        self.slept_s = 0.0
        self.usage = ScriptUsage(lambda: self.runs, self.supervisor, self._sample, self._now)

    def _now(self) -> float:
        return self.loop.time() + EPOCH + self.slept_s

    async def _sample(self, trees: Sequence[ProcessTree]) -> dict[ProcessTree, UsageSample]:
        await self.goes.wait()
        if self.fails:
            raise self.fails
        names: list[Any] = [tree.name for tree in trees]  # type: ignore[attr-defined]
        self.sampled.append((self.loop.time() - START_S, names))
        return {tree: self.answer_of(len(self.sampled)) for tree in trees}

    async def ask(self, since_s: float = 0.0) -> dict[str, Any]:
        return await self.usage.answer(self.runs, since_s)

    @property
    def moments(self) -> list[float]:
        return [round(at_s, 3) for at_s, _ in self.sampled]


def in_virtual_time(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await story()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_a_first_call_has_cpu_after_half_a_second_and_samples_go_on_for_the_lease_alone() -> None:
    async def story() -> None:
        story = Story(a_run())
        answer = await story.ask()
        assert story.loop.time() - START_S == 0.5
        assert answer["scripts"][0] == {
            "name": "web",
            "process_id": "web-1",
            "cpu": 0.5,
            "memory_mib": 1.0,
            "processes": 2,
            "samples": [[EPOCH + START_S, None, 1.0, 2], [EPOCH + START_S + 0.5, 0.5, 1.0, 2]],
        }
        assert unnamed_fields(answer) == set()
        while story.usage.is_sampling:
            await asyncio.sleep(1.0)
        assert story.moments == [0.0, 0.5, 2.5, 4.5, 6.5, 8.5]
        await story.usage.close()

    in_virtual_time(story)


@pytest.mark.promise("usage-while-asked")
def test_when_the_lease_is_over_no_timer_is_left() -> None:
    """The loop says so: with every task waiting, only a timer could ever wake it again."""
    last_s = 0.0

    async def story() -> None:
        nonlocal last_s
        story = Story(a_run())
        await story.ask()
        try:
            await asyncio.Event().wait()
        finally:
            last_s = story.loop.time() - START_S

    with pytest.raises(Stuck):
        in_virtual_time(story)
    assert last_s <= LEASE_S


@pytest.mark.promise("usage-while-asked")
def test_without_a_call_there_is_no_timer_at_all() -> None:
    async def story() -> None:
        usage = Story(a_run()).usage
        assert not usage.is_sampling
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        in_virtual_time(story)


def test_each_call_extends_the_lease_and_gets_an_answer_at_once() -> None:
    async def story() -> None:
        story = Story(a_run())
        await story.ask()
        for _ in range(20):
            await asyncio.sleep(3.0)
            before_s = story.loop.time()
            await story.ask()
            assert story.loop.time() == before_s
        assert len(story.moments) == pytest.approx(61 / EVERY_S, abs=2)
        await story.usage.close()

    in_virtual_time(story)


def test_a_caller_with_the_time_of_its_last_sample_gets_the_later_ones() -> None:
    async def story() -> None:
        story = Story(a_run())
        last_s, seen = 0.0, []
        for _ in range(6):
            samples = (await story.ask(last_s))["scripts"][0]["samples"]
            seen += [sample[0] for sample in samples]
            last_s = seen[-1]
            await asyncio.sleep(3.0)
        assert seen == sorted(set(seen))
        assert len(seen) == len(story.moments) - 1  # one has come since the last call
        await story.usage.close()

    in_virtual_time(story)


def test_a_time_in_the_future_is_that_of_a_clock_that_was_set_back() -> None:
    async def story() -> None:
        story = Story(a_run())
        assert len((await story.ask(EPOCH * 2))["scripts"][0]["samples"]) == 2
        await story.usage.close()

    in_virtual_time(story)


def test_a_pause_between_viewers_is_a_gap_and_the_history_is_still_there() -> None:
    async def story() -> None:
        story = Story(a_run())
        await story.ask()
        await asyncio.sleep(600.0)
        before = len(story.moments)
        samples = (await story.ask())["scripts"][0]["samples"]
        assert len(samples) == before + 1  # of the second measurement CPU was known at once
        assert samples[-1][0] - samples[-2][0] > 590
        await story.usage.close()

    in_virtual_time(story)


def test_a_machine_that_sleeps_leaves_a_gap() -> None:
    async def story() -> None:
        story = Story(a_run())
        await story.ask()
        story.slept_s = 3600.0
        await asyncio.sleep(2.1)
        first, second, third = (sample[0] for sample in (await story.ask())["scripts"][0]["samples"])
        assert (round(second - first, 1), round(third - second, 1)) == (0.5, 3602.0)
        await story.usage.close()

    in_virtual_time(story)


def test_a_run_that_ends_uses_nothing_from_then_on_and_its_samples_stay() -> None:
    async def story() -> None:
        run = a_run()
        story = Story(run)
        await story.ask()
        run.state, run.has_ended = "failed", True
        script = (await story.ask())["scripts"][0]
        assert (script["cpu"], script["memory_mib"], script["processes"], len(script["samples"])) == (None, None, 0, 2)
        await asyncio.sleep(4.0)
        assert [names for _, names in story.sampled] == [["web"], ["web"]]
        assert len((await story.ask())["scripts"][0]["samples"]) == 2
        await story.usage.close()

    in_virtual_time(story)


def test_one_that_exited_is_measured_because_it_may_have_left_a_daemon_and_others_are_not() -> None:
    async def story() -> None:
        states = ("pending", "running", "stopping", "exited", "failed", "stopped", "crash-looping")
        story = Story(*(a_run(state, state) for state in states))
        await story.ask()
        assert story.sampled[0][1] == ["running", "stopping", "exited"]
        await story.usage.close()

    in_virtual_time(story)


def test_nothing_runs_is_answered_at_once_and_measures_nothing() -> None:
    async def story() -> None:
        story = Story(a_run(state="stopped"))
        assert (await story.ask())["scripts"][0]["processes"] == 0
        assert story.loop.time() == START_S
        assert story.sampled == []
        await story.usage.close()

    in_virtual_time(story)


def test_a_system_that_hides_cpu_is_waited_for_once() -> None:
    async def story() -> None:
        story = Story(a_run())
        story.answer_of = lambda _: UsageSample(None, None, 1)
        script = (await story.ask())["scripts"][0]
        assert (script["cpu"], script["memory_mib"], script["processes"]) == (None, None, 1)
        await asyncio.sleep(LEASE_S)
        assert story.moments == [0.0, 0.5, 2.5, 4.5, 6.5, 8.5]
        await story.usage.close()

    in_virtual_time(story)


def test_who_asks_at_the_same_time_shares_one_measurement_and_one_that_is_young_is_not_repeated() -> None:
    async def story() -> None:
        story = Story(a_run())
        await asyncio.gather(*(story.usage.measure() for _ in range(50)))
        await asyncio.sleep(EVERY_S - 0.1)
        await story.usage.measure()
        assert story.moments == [0.0]
        await asyncio.sleep(0.2)
        await story.usage.measure()
        assert story.moments == [0.0, 2.1]

    in_virtual_time(story)


def test_who_asks_once_keeps_no_history_and_sets_no_timer() -> None:
    async def story() -> None:
        story = Story(a_run())
        await story.usage.measure()
        assert story.usage.now(story.runs[0])["memory_mib"] == 1.0
        await asyncio.sleep(2 * EVERY_S + 1)
        assert story.usage.now(story.runs[0])["memory_mib"] is None  # it is no longer now
        assert not story.usage.is_sampling
        assert story.moments == [0.0]

    in_virtual_time(story)


def test_an_answer_about_something_else_does_not_wait_for_a_measurement_that_hangs() -> None:
    async def story() -> None:
        story = Story(a_run())
        story.goes.clear()
        await story.usage.measure()
        waited_s = story.loop.time() - START_S
        assert 0 < waited_s < 1
        await story.usage.measure()
        assert story.loop.time() - START_S == waited_s  # nobody waits for it again
        answer = await story.ask()
        assert answer["scripts"][0]["processes"] == 0
        assert story.loop.time() - START_S < FIGURES_S + 2
        story.goes.set()
        await story.ask()
        assert (await story.ask())["scripts"][0]["processes"] == 2
        await story.usage.close()

    in_virtual_time(story)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        RuntimeError("can't start new thread"),
        ZeroDivisionError("a defect"),
    ],
    ids=["no descriptor", "no thread", "a defect"],
)
def test_a_measurement_that_fails_is_a_gap_and_the_next_one_is_made(error: Exception) -> None:
    async def story() -> None:
        story = Story(a_run())
        await story.ask()
        story.fails = error
        await asyncio.sleep(2.1)
        failed = (await story.ask())["scripts"][0]
        assert (failed["cpu"], len(failed["samples"])) == (None, 2)
        story.fails = None
        await asyncio.sleep(2.0)
        assert len((await story.ask())["scripts"][0]["samples"]) == 3
        await story.usage.close()

    in_virtual_time(story)


def test_a_call_that_is_cancelled_leaves_a_lease_that_ends_by_itself() -> None:
    async def story() -> None:
        story = Story(a_run())
        call = asyncio.create_task(story.ask())
        await asyncio.sleep(0.1)
        call.cancel()
        await asyncio.wait([call])
        assert story.usage.is_sampling
        await asyncio.sleep(LEASE_S)
        assert not story.usage.is_sampling

    in_virtual_time(story)


def test_the_end_of_the_instance_ends_a_lease_at_once() -> None:
    async def story() -> None:
        story = Story(a_run())
        await story.ask()
        await story.usage.close()
        await story.usage.close()
        assert len(asyncio.all_tasks()) == 1

    in_virtual_time(story)


def test_answers_stay_within_their_budget_and_count_what_they_leave_out() -> None:
    async def story() -> None:
        story = Story(*(a_run(f"script-{number:02}") for number in range(50)))
        await story.ask()
        for _ in range(ROWS // 4):
            await asyncio.sleep(4 * EVERY_S)
            await story.usage.answer([], 0.0)
        alone = await story.usage.answer(story.runs[:1], 0.0)
        assert len(alone["scripts"][0]["samples"]) == ROWS
        assert "omitted" not in alone
        answer = await story.ask()
        counts = {len(script["samples"]) for script in answer["scripts"]}
        assert min(counts) > 0
        assert answer["omitted"] == sum(ROWS - len(script["samples"]) for script in answer["scripts"])
        newest = alone["scripts"][0]["samples"][-1]
        assert all(script["samples"][-1][0] >= newest[0] for script in answer["scripts"])
        assert max(len(msgspec.json.encode(each)) for each in (alone, answer)) < BUDGET_BYTES
        await story.usage.close()

    in_virtual_time(story)


# Through the tools.


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    python = f"{sys.executable} -I -S -c"
    (tmp_path / "Procfile").write_text(
        f"burns: {python} 'while True: pass' & wait\n"
        f"holds: exec {python} 'kept = bytearray(64 << 20); import time; time.sleep(600)'\n"
        "quick: true\nnever: true\n"
    )
    generation = uuid4().hex
    async with Manager(generation, Guard(generation), find=ScriptList(tmp_path).find) as manager:
        yield Agent(tmp_path, manager)


async def used(agent: Agent, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first answer about this script of which this holds."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            script: dict[str, Any] = (await agent.call("scripts_usage", name=name))["scripts"][0]
            if holds(script):
                return script
            await asyncio.sleep(0.01)  # no event tells what a process uses


async def test_the_tool_says_what_each_script_uses_those_that_run_first(agent: Agent) -> None:
    await agent.call("scripts_run", name="quick", wait="exit")
    for name in ("burns", "holds"):
        await agent.call("scripts_run", name=name, wait="none")
    answer = await agent.call("scripts_usage")
    assert answer["every_s"] == EVERY_S
    assert [script["process_id"] for script in answer["scripts"]] == ["burns-1", "holds-1", "quick-1"]
    quick = answer["scripts"][2]
    assert (quick["cpu"], quick["memory_mib"], quick["processes"], quick["samples"]) == (None, None, 0, [])
    burns = await used(agent, "burns", lambda script: (script["cpu"] or 0) > 0.01)
    assert burns["processes"] == 2
    holds = await used(agent, "holds", lambda script: (script["memory_mib"] or 0) > 64)
    assert holds["cpu"] < 1
    await agent.call("scripts_stop", name="burns")
    assert (await used(agent, "burns", lambda script: script["processes"] == 0))["samples"]


async def test_a_stopped_script_uses_no_cpu(agent: Agent) -> None:
    await agent.call("scripts_run", name="burns", wait="none")
    await used(agent, "burns", lambda script: (script["cpu"] or 0) > 0.01)
    run = agent.manager.current("burns")
    assert run is not None
    assert run.pid is not None
    os.killpg(run.pid, signal.SIGSTOP)
    assert (await used(agent, "burns", lambda script: script["cpu"] == 0))["processes"] == 2


async def test_wrong_names_and_times_are_errors_as_of_other_tools_and_buy_nothing(agent: Agent) -> None:
    await agent.call("scripts_run", name="quick", wait="exit")
    error = await agent.error("scripts_usage", name="quik")
    assert (error["code"], error["context"]["nearest"]) == ("not_found", "quick")
    assert (await agent.error("scripts_usage", since=-1))["code"] == "invalid_arguments"
    assert (await agent.error("scripts_usage", since="5m"))["code"] == "invalid_arguments"
    assert not agent.manager.usage.is_sampling
    assert (await agent.call("scripts_usage", name="never"))["scripts"] == []


async def test_the_status_of_a_living_process_says_what_it_has_used_until_now(agent: Agent) -> None:
    await agent.call("scripts_run", name="burns", wait="none")
    async with asyncio.timeout(WITHIN_S):
        while (process := (await agent.call("scripts_status"))["processes"][0]).get("cpu_s", 0) < 0.05:
            await asyncio.sleep(0.01)
    assert process["memory_max_mib"] > 1
    assert not agent.manager.usage.is_sampling
    stopped = await agent.call("scripts_stop", name="burns")
    assert stopped["cpu_s"] >= process["cpu_s"]
    (ended,) = (await agent.call("scripts_status", name="burns"))["processes"]
    assert ended["cpu_s"] == stopped["cpu_s"]


async def test_metrics_have_what_was_measured_last_of_each_script(agent: Agent) -> None:
    counted = CountedCalls(agent.table)
    counting = Counting(agent.manager, counted, Ledger(), Memory(1 << 40, 1 << 40, lambda: 0, lambda: None))

    def values_of(metric: Metric) -> dict[str, float]:
        [family] = [family for family in families(counting) if family.name == metric.name]
        return {sample.labels[0]: sample.value for sample in family.samples}

    assert [values_of(metric) for metric in (SCRIPT_CPU, SCRIPT_MEMORY, SCRIPT_PROCESSES)] == [{}, {}, {}]
    await agent.call("scripts_run", name="quick", wait="exit")
    await agent.call("scripts_run", name="holds", wait="none")
    await used(agent, "holds", lambda script: (script["memory_mib"] or 0) > 64)
    assert values_of(SCRIPT_MEMORY).keys() == values_of(SCRIPT_PROCESSES).keys() == {"holds"}
    assert values_of(SCRIPT_MEMORY)["holds"] > 64 * MIB
    assert values_of(SCRIPT_CPU).keys() == {"holds", "quick"}
    await agent.call("scripts_stop", name="holds")
    assert (values_of(SCRIPT_MEMORY), values_of(SCRIPT_PROCESSES)) == ({}, {})
    assert values_of(SCRIPT_CPU)["holds"] > 0
