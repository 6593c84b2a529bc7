"""``make bench BASE=COMMIT``: this tree against that commit, both driven through the command line only.

Each round starts both trees anew and measures them in alternation and random order, so that other load of the machine
affects both. The ratio of each round is compared; `ratios` judges the ratios. After 15 rounds, undecided measurements
continue up to 45 rounds. The exit status is 1 if anything is slower.

ONLY="hop calls" selects measurements; ROUNDS=N ends after N rounds, SECONDS=N after N seconds.
"""

import contextlib
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from driver import Hub, Tree, call_members
from processes import BRUM, memory_mib
from ratios import LOOKS, Judgement, Verdict, judge, ratio
from tables import Report, median
from trees import NoSuchTreeError, brum_of, commit_of

STARTS: Final = 5
"""Starts of a hub and of an instance in one round."""

HOP_BLOCKS, HOP_CALLS = 20, 50
BURSTS, BURST, IN_FLIGHT = 12, 1000, 64
"""Many short blocks: the other load of the machine changes within a tenth of a second."""

CALL: Final = call_members("scripts_status", {})
IN_MEMORY: Final = Path("/dev/shm")
"""On another file system a registration waits for the disk, and a disk is the noisiest part of a machine."""


@dataclass(frozen=True)
class Measurement:
    """One row of the table; ``group`` is what ONLY selects."""

    name: str
    group: str
    unit: str
    more_is_better: bool = False


INITIALIZED = Measurement("hub: start to the answer of initialize", "hub-start", "ms")
FIRST_CALL = Measurement("hub: start to the answer of a first call", "hub-start", "ms")
INSTANCE_START = Measurement("instance: start to its first answer", "instance-start", "ms")
HOP = Measurement("one call at a time, p50", "hop", "ms")
CALLS = Measurement(f"{IN_FLIGHT} calls in flight", "calls", "calls/s", more_is_better=True)
HUB_MEMORY = Measurement("hub: memory of its own after the load", "memory", "MiB")
INSTANCE_MEMORY = Measurement("instance: memory of its own after the load", "memory", "MiB")
MEASUREMENTS: Final = (INITIALIZED, FIRST_CALL, INSTANCE_START, HOP, CALLS, HUB_MEMORY, INSTANCE_MEMORY)
GROUPS: Final = tuple(dict.fromkeys(each.group for each in MEASUREMENTS))


class Round(NamedTuple):
    """One measurement in one round: the median of each tree, and the median of the ratios of its pairs of runs."""

    old: float
    new: float
    ratio: float


Rounds = dict[Measurement, list[Round]]


@dataclass
class Subject:
    """One tree in one round: a running hub and, from `start_instance` on, a running instance."""

    tree: Tree
    hub: Hub
    instance_pid: int = 0
    samples: dict[Measurement, list[float]] = field(default_factory=dict)

    def add(self, measurement: Measurement, value: float) -> None:
        self.samples.setdefault(measurement, []).append(value)

    def start_instance(self, stack: contextlib.ExitStack, name: str) -> None:
        project = self.tree.project(name)
        began = time.perf_counter()
        self.instance_pid = stack.enter_context(self.tree.instance(project))
        self.hub.until_answered_by(project)
        self.add(INSTANCE_START, (time.perf_counter() - began) * 1000)

    def start_and_end_instance(self, name: str) -> None:
        with contextlib.ExitStack() as stack:
            self.start_instance(stack, name)

    def start_hub(self) -> None:
        began = time.perf_counter()
        with self.tree.hub() as hub:
            hub.initialize()
            self.add(INITIALIZED, (time.perf_counter() - began) * 1000)
            hub.send(CALL)
            hub.answers(1)
            self.add(FIRST_CALL, (time.perf_counter() - began) * 1000)

    def warm_up(self) -> None:
        self.hub.latencies_ms(CALL, HOP_CALLS)

    def call_one_by_one(self) -> None:
        self.add(HOP, median(self.hub.latencies_ms(CALL, HOP_CALLS)))

    def call_in_bursts(self) -> None:
        self.add(CALLS, self.hub.calls_per_s(CALL, BURST, IN_FLIGHT))

    def weigh(self) -> None:
        """The unique set size: memory that would be free if the process ended."""
        self.add(HUB_MEMORY, memory_mib(self.hub.pid)[1])
        self.add(INSTANCE_MEMORY, memory_mib(self.instance_pid)[1])


def alternate(subjects: Sequence[Subject], times: int, step: Callable[[Subject], None]) -> None:
    """Repeat so often: all subjects one after the other, each time in a new order."""
    for _ in range(times):
        for subject in random.sample(subjects, len(subjects)):
            step(subject)


def one_round(trees: Sequence[Tree], groups: set[str]) -> dict[Measurement, Round]:
    """Measure the old and the new tree. Memory is measured after the load of the other measurements."""
    with contextlib.ExitStack() as stack:
        subjects = [Subject(tree, stack.enter_context(tree.hub())) for tree in trees]
        for subject in subjects:
            subject.hub.initialize()
        if "instance-start" in groups:
            for number in range(1, STARTS):
                alternate(subjects, 1, lambda subject, name=f"p{number}": subject.start_and_end_instance(name))  # type: ignore[misc]
        alternate(subjects, 1, lambda subject: subject.start_instance(stack, "p0"))
        if "hub-start" in groups:
            alternate(subjects, STARTS, Subject.start_hub)
        if groups & {"hop", "memory"}:
            alternate(subjects, 1, Subject.warm_up)
            alternate(subjects, HOP_BLOCKS, Subject.call_one_by_one)
        if groups & {"calls", "memory"}:
            alternate(subjects, BURSTS, Subject.call_in_bursts)
        if "memory" in groups:
            alternate(subjects, 1, Subject.weigh)
        old, new = subjects
        return {
            each: summary(each, old.samples[each], new.samples[each]) for each in MEASUREMENTS if each.group in groups
        }


def summary(measurement: Measurement, old: Sequence[float], new: Sequence[float]) -> Round:
    pairs = zip(old, new, strict=True)
    ratios = [ratio(before, after, more_is_better=measurement.more_is_better) for before, after in pairs]
    return Round(median(old), median(new), median(ratios))


def compare(old: Path, new: Path, groups: set[str], most: int, seconds: float) -> Rounds:
    """Rounds until every selected measurement is decided, or their number or the time is used up."""
    rounds: Rounds = {each: [] for each in MEASUREMENTS if each.group in groups}
    ends_s = time.monotonic() + seconds
    done = 0
    while done < most and time.monotonic() < ends_s and (groups := undecided(rounds, done)):
        done += 1
        with tempfile.TemporaryDirectory(prefix="brummer-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
            trees = [Tree("old", old, Path(folder, "old")), Tree("new", new, Path(folder, "new"))]
            for tree in trees:
                tree.home.mkdir()
            for measurement, measured in one_round(trees, groups).items():
                rounds[measurement].append(measured)
        print(f"\rround {done}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return rounds


def undecided(rounds: Rounds, done: int) -> set[str]:
    """Groups that need another round. They are judged only after fixed numbers of rounds: a judgement after each round,
    with an end at the first good one, would favour good results.
    """
    judged = max((look for look in LOOKS if look <= done), default=0)
    if not judged:
        return {each.group for each in rounds}
    return {
        each.group
        for each, measured in rounds.items()
        if judge([one.ratio for one in measured[:judged]]).verdict == Verdict.NOT_DECIDED
    }


def row(measurement: Measurement, rounds: Sequence[Round], judged: Judgement) -> tuple[object, ...]:
    medians = median([each.old for each in rounds]), median([each.new for each in rounds])
    shown = [f"{value:.0f}" if value >= 1000 else f"{value:.3g}" for value in medians]
    interval = "too few rounds" if math.isinf(judged.high) else f"{judged.low:.3f} to {judged.high:.3f}"
    named = f"{measurement.name}, {measurement.unit}"
    return (named, *shown, f"{judged.median:.3f}", interval, judged.rounds, str(judged.verdict))


def main(base: str, selected: Sequence[str]) -> int:
    if unknown := set(selected) - set(GROUPS):
        print(f"unknown: {', '.join(unknown)}; there is {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    try:
        commit = commit_of(base)
        old, new = brum_of(commit), Path(BRUM)
    except NoSuchTreeError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    most = int(os.environ.get("ROUNDS") or LOOKS[-1])
    rounds = compare(old, new, set(selected or GROUPS), most, float(os.environ.get("SECONDS") or math.inf))
    judgements = {each: judge([one.ratio for one in measured]) for each, measured in rounds.items() if measured}
    report = Report("-".join(["bench-base", *selected]))
    report.table(
        f"This tree beside {commit[:12]}: ratios of paired rounds, more than 1 is worse",
        ("what", "base", "this", "ratio, median", "95% interval", "rounds", "verdict"),
        [row(each, rounds[each], judged) for each, judged in judgements.items()],
    )
    report.write()
    return int(any(judged.verdict == Verdict.SLOWER for judged in judgements.values()))
