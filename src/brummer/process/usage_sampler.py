"""CPU time and memory of several process trees at one moment, and the CPU time since the sample before.

A process belongs to the tree into which it was born: by its group or session, by its parent, or by the mark in its
environment. It belongs there until it ends, whatever it does. So each process is judged when it is new, and a process
that is none of ours is not read again: a sample lists the numbers of all processes, and reads one small file of each
of ours and of each new one.

The CPU time of a tree is what its processes have used, and what they have got from the children that they waited for.
The time of a child that has ended was counted while it lived, so it is taken from what its parent has got. No figure
is negative, or more than all processors can do, whatever has ended unseen.
"""

import os
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

from brummer.host.process_facts import inherited_variable
from brummer.host.process_usage import TICKS_A_SECOND, ProcessUsage, process_tokens, total_of, usage_of
from brummer.process.guard import RUN_MARK
from brummer.process.process_tree import ProcessTree

LONGEST_S: Final = 6.0
"""Three intervals. A mean over a longer time, as after a pause or without a viewer, is not what happens now."""

UsageByPid = Mapping[int, ProcessUsage]
"""By pid."""


class UsageSample(NamedTuple):
    """A tree at one moment. ``cpu``: as a part of one processor, since the sample before; None without one, and where
    the system hides it. ``resident_bytes``: None without a process, and where the system hides it.
    """

    cpu: float | None
    resident_bytes: int | None
    processes: int


def mark_of(pid: int) -> bytes | None:
    """The variable by which the processes of a run are known, as `ProcessTree.mark`; None for one of no run."""
    value = inherited_variable(pid, RUN_MARK)
    return None if value is None else f"{RUN_MARK}={value}".encode()


class UsageSampler:
    """Keeps what the next sample needs. Not for two threads at once."""

    def __init__(
        self,
        tokens: Callable[[], dict[int, int]] = process_tokens,
        look_up: Callable[[int], ProcessUsage | None] = usage_of,
        mark_of: Callable[[int], bytes | None] = mark_of,
        processors: int | None = None,
    ) -> None:
        self._tokens = tokens
        self._look_up = look_up
        self._mark_of = mark_of
        self._processors = processors or os.cpu_count() or 1
        self._born: dict[tuple[int, int], ProcessTree] = {}
        """(pid, start time) → the tree of a process that lives."""
        self._strange: dict[int, int] = {}
        """pid → token of the processes that were of no run in the last sample."""
        self._foreign: dict[int, int] = {}
        """Those that were of no run twice: at its first moment a new process may not show its environment yet."""
        self._before: dict[ProcessTree, UsageByPid] = {}
        self._at_s: float | None = None

    def sample(self, trees: Collection[ProcessTree], now_s: float) -> dict[ProcessTree, UsageSample]:
        """Blocks for some milliseconds. ``now_s`` is of a clock that stands still while the machine sleeps. A tree that
        is new since the last sample has begun since then. Raises OSError.
        """
        members = self._members(trees)
        passed_s = now_s - self._at_s if self._at_s is not None else LONGEST_S + 1
        samples = {tree: self._sample_of(tree, processes, passed_s) for tree, processes in members.items()}
        self._before, self._at_s = members, now_s
        return samples

    def _members(self, trees: Collection[ProcessTree]) -> dict[ProcessTree, UsageByPid]:
        groups = {tree.group: tree for tree in trees if not tree.usage.is_final}
        tokens = self._tokens()
        found: dict[int, ProcessUsage] = {}
        for pid, token in tokens.items():
            is_foreign = self._foreign.get(pid) == token and pid not in groups
            if not is_foreign and (usage := self._look_up(pid)) is not None:
                found[pid] = usage
        owners, strange = self._owners(found, groups, {tree.mark: tree for tree in trees})
        self._born = {(pid, found[pid].started): tree for pid, tree in owners.items()}
        self._remember_foreign(tokens, strange)
        members: dict[ProcessTree, dict[int, ProcessUsage]] = {tree: {} for tree in trees}
        for pid, tree in owners.items():
            if tree in members:
                members[tree][pid] = found[pid]
        return dict(members)

    def _owners(
        self, found: UsageByPid, groups: Mapping[int, ProcessTree], marks: Mapping[bytes, ProcessTree]
    ) -> tuple[dict[int, ProcessTree], list[int]]:
        """The tree of each process that has one, and the processes that are of no run of this instance."""
        owners: dict[int, ProcessTree | None] = {}
        strange: list[int] = []
        ours = {_instance_of(mark) for mark in marks}
        for pid in found:
            climbed = []
            at = pid
            while at in found and at not in owners:
                usage = found[at]
                owners[at] = self._born.get((at, usage.started)) or groups.get(usage.group) or groups.get(usage.session)
                if owners[at] is None:
                    climbed.append(at)
                    at = usage.parent
            owner = owners.get(at)
            for descendant in reversed(climbed):
                if owner is None:
                    mark = self._mark_of(descendant)
                    owner = marks.get(mark) if mark is not None else None
                    is_ours = owner is not None or (mark is not None and _instance_of(mark) in ours)
                    if not is_ours and not found[descendant].is_zombie:  # which has no environment any more
                        strange.append(descendant)
                owners[descendant] = owner
        return {pid: tree for pid, tree in owners.items() if tree is not None}, strange

    def _remember_foreign(self, tokens: dict[int, int], strange: list[int]) -> None:
        self._foreign = {pid: token for pid, token in self._foreign.items() if tokens.get(pid) == token}
        now = {pid: tokens[pid] for pid in strange}
        self._foreign |= {pid: token for pid, token in now.items() if self._strange.get(pid) == token}
        self._strange = now

    def _sample_of(self, tree: ProcessTree, processes: UsageByPid, passed_s: float) -> UsageSample:
        cpu_s, resident_bytes = total_of(processes.values())
        tree.usage.see(cpu_s, resident_bytes)
        living = sum(not each.is_zombie for each in processes.values())
        cpu = None
        if cpu_s is not None and 0 < passed_s <= LONGEST_S:
            used_s = used_ticks(self._before.get(tree, {}), processes) / TICKS_A_SECOND
            cpu = min(used_s / passed_s, self._processors)
        return UsageSample(cpu, resident_bytes, living) if living else UsageSample(None, None, 0)


def _instance_of(mark: bytes) -> bytes:
    """The generation in a mark: see `brummer.process.guard.marks`."""
    return mark.partition(b"/")[0]


def used_ticks(before: UsageByPid, now: UsageByPid) -> int:
    """The CPU time that the processes of a tree have used between two moments; never negative."""
    counted: dict[int, int] = {}
    """What was counted before of those that have ended, by the ancestor that may have waited for them."""
    for pid, old in before.items():
        if not _is_same(now.get(pid), old) and (ancestor := _living_ancestor(old, before, now)) is not None:
            counted[ancestor] = counted.get(ancestor, 0) + (old.own_ticks or 0) + old.waited_ticks
    used = 0
    for pid, new in now.items():
        old_or_none = before.get(pid)
        if old_or_none is None or not _is_same(new, old_or_none):
            used += (new.own_ticks or 0) + new.waited_ticks
        else:
            used += max(0, (new.own_ticks or 0) - (old_or_none.own_ticks or 0))
            used += max(0, new.waited_ticks - old_or_none.waited_ticks - counted.get(pid, 0))
    return used


def _living_ancestor(ended: ProcessUsage, before: UsageByPid, now: UsageByPid) -> int | None:
    """None if no ancestor in the tree is left: then nothing has got its time."""
    pid, seen = ended.parent, set[int]()
    while pid in before and pid not in seen:
        seen.add(pid)
        if _is_same(now.get(pid), before[pid]):
            return pid
        pid = before[pid].parent
    return None


def _is_same(now: ProcessUsage | None, before: ProcessUsage) -> bool:
    return now is not None and now.started == before.started
