"""What is wrong now, as far as a hub can observe it: in its links, in the directory, and on the machine.

These are facts only: `brummer.health.catalog` decides which of them explains the others.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from msgspec import UNSET

from brummer.core.clock import Clock
from brummer.core.supervisor import Supervisor
from brummer.discovery.record import Record
from brummer.discovery.registry import Registry
from brummer.health.catalog import KINDS, Observed
from brummer.host.pids import same_time_namespace
from brummer.host.real_system import REAL
from brummer.host.system import DescriptorLimits
from brummer.link.dialler import RESERVED_DESCRIPTORS
from brummer.link.state import ATTEMPTING, ENDED, LinkState
from brummer.link.status import LinkStatus
from brummer.network.monitor import NetworkChanged
from brummer.network.wake import Paused, Slept
from brummer.peers.instance_entry import InstanceEntry
from brummer.peers.instances import Instances
from brummer.peers.timeline import Timeline, TimelineEntry
from brummer.settings.units import span

_CODES: Final = {
    LinkState.SUSPECT: "link_suspect",
    LinkState.RETRYING: "link_retrying",
    LinkState.RECONNECTING: "link_retrying",
    LinkState.IMPOSTOR: "link_impostor",
    LinkState.RECHECKING: "link_impostor",
    LinkState.INCOMPATIBLE: "link_incompatible",
    LinkState.GONE: "link_gone",
}
"""The problem of a link in this state, if no more exact one is known."""

_UNREACHABLE: Final = frozenset({"link_suspect", "link_retrying"})
"""If the instance is on another machine, neither tells the way there from the instance."""


def of_links(instances: Instances, statuses: list[LinkStatus]) -> Iterator[Observed]:
    """``statuses``: those of the links, in the order of the instances."""
    failing = []
    for entry, status in zip(instances, statuses, strict=True):
        if (problem := _of_link(entry, status)) is not None:
            failing.append(problem)
        if status.breaker not in ("closed", UNSET):
            yield Observed("breaker_open", status.detail, instances=(entry.id,))
    yield from failing
    if instances.are_cut_off():
        left = [each for each in failing if each.code != "link_gone"]
        ages = [each.since_s for each in left if each.since_s is not None]
        detail = f"{left[0].instances[0]} says: {left[0].detail}"
        yield Observed("cut_off", detail, min(ages, default=None), tuple(each.instances[0] for each in left))


def _of_link(entry: InstanceEntry, status: LinkStatus) -> Observed | None:
    link, names = entry.link, (entry.id,)
    if link.state in ENDED:
        ended_well = link.state is LinkState.WITHDRAWN
        code = "remote_gone" if entry.host else "link_gone"
        return None if ended_well else Observed(code, status.reason, status.since_s, names)
    unready_s = None if link.state is LinkState.READY else link.unready_s
    if status.condition == "stopped":
        return Observed("link_stopped", f"kill -CONT {entry.pid} continues it", unready_s, names)
    if status.condition == "frozen":
        return Observed("link_frozen", f"the control group of process {entry.pid} is frozen", unready_s, names)
    if (refusal := link.refusal) is not None:
        code = "server_busy" if refusal.transient else "server_refuses"
        return Observed(code, refusal.message, link.target.refused_s, names)
    code = _CODES.get(link.state, "")
    if not code:
        return None
    if entry.pid is None:
        code = "server_down"
    elif entry.host:
        code = "remote_unreachable" if code in _UNREACHABLE else code
    elif link.target.in_other_network and code != "link_incompatible":
        code = "other_network_namespace"
    elif link.path_is_cut:
        code = "link_cut"
    return Observed(code, status.detail if link.state in ATTEMPTING else status.reason, unready_s, names)


def of_machines(instances: Instances) -> Iterator[Observed]:
    """Other machines that are not reached. None concerns what runs here, so each names its instances, or itself."""
    for machine in instances.machines:
        names = tuple(entry.id for entry in instances if entry.host == machine.name and not entry.is_gone)
        why = f": {machine.detail}" if machine.detail else ""
        if machine.state == "unreachable":
            since = f"{machine.name} has been unreachable for {span(machine.since_s)}"
            what = f"{since}; its instances keep running; local ones are not affected{why}"
            yield Observed("machine_unreachable", what, machine.since_s, names or (machine.name,))
        elif machine.state == "failed":
            yield Observed("machine_failed", f"{machine.name}{why}", machine.since_s, (machine.name,))


def of_places(instances: Instances) -> Iterator[Observed]:
    """Queues that are full."""
    pool = instances.pool
    for name in sorted(pool.full_queues()):
        yield Observed("busy", f"{pool.limits.queued_per_instance} calls wait for a slot", instances=(name,))
    if pool.parked >= max(1, pool.limits.parked):  # if no call may wait, an empty queue is not full
        yield Observed("parked_full", f"{pool.parked} calls wait for instances that are away")
    if pool.is_full:
        yield Observed("connections_full", f"all {pool.connections} connections are busy, and calls wait for them")


def of_memory(instances: Instances) -> Iterator[Observed]:
    """Of this process."""
    memory = instances.memory
    if memory.level != "well":
        code = "memory_full" if memory.level == "hard" else "memory_high"
        yield Observed(code, f"{memory.resident_bytes >> 20} MiB are in use")


def of_descriptors(descriptors: DescriptorLimits = REAL.descriptors) -> Iterator[Observed]:
    """Of this process."""
    limit = descriptors.descriptor_limit()
    if descriptors.lowest_free_descriptor() >= limit - RESERVED_DESCRIPTORS:
        what = f"{limit} files and sockets may be open, and but for the last {RESERVED_DESCRIPTORS} all are"
        yield Observed("open_files_full", what)


def of_directory(registry: Registry) -> Iterator[Observed]:
    """Each kind of refused file once, with one case: thousands of such files must not fill an agent's context."""
    problems = registry.problems
    for code, count in Counter(problem.code for problem in problems).items():
        case = next(problem for problem in problems if problem.code == code)
        yield Observed(code, str(case.detail), registry.seen_for_s(code), count=count, path=str(case.path))
    missing = registry.missing()
    if missing and registry.is_directory_missing:
        yield Observed("directory_missing", f"{registry.directory} was removed", max(missing.values()))
    for name, since_s in missing.items():
        yield Observed("record_missing", "its process lives, and its record is not there", since_s, (name,))
    if registry.is_polling:
        yield Observed("polling", f"{registry.directory} reports no changes")


def of_supervisor(supervisor: Supervisor, now_s: float) -> Iterator[Observed]:
    """Long tasks that have failed, and may fail again. ``now_s`` is the loop's time."""
    for failure in supervisor.failures():
        code = failure.code if failure.code in KINDS else "task_failed"
        detail, since_s = f"{failure.name}: {failure.detail}", now_s - failure.since_s
        yield Observed(code, detail, since_s, task=failure.name, count=failure.count)


def of_records(instances: Instances) -> Iterator[Observed]:
    """Faults that instances report of themselves."""
    for entry in instances:
        if isinstance(entry.record, Record) and not entry.is_gone:
            if not same_time_namespace(entry.record.identity):
                detail = (
                    f"process {entry.record.pid} has start times on another clock, so its end is seen by its lock alone"
                )
                yield Observed("other_time_namespace", detail, instances=(entry.id,))
            for trouble in entry.record.troubles:
                code = trouble.code if trouble.code in KINDS else "task_failed"
                yield Observed(code, trouble.detail, instances=(entry.id,))


def of_machine(timeline: Timeline, instances: Instances, clock: Clock) -> Iterator[Observed]:
    """Problems that the last event of each kind implies. The way to another machine's instance begins on loopback."""
    now_s = clock.elapsed()
    entries = list(timeline)
    unfinished = [entry for entry in entries if isinstance(entry.event, Slept | Paused) and not entry.did]
    if unfinished:
        entry = unfinished[0]
        yield Observed("settling", "; ".join(entry.reasons), now_s - entry.at_s)
    network = [entry for entry in entries if isinstance(entry.event, NetworkChanged)]
    for code, flag, is_local in (("loopback_down", "loopback", True), ("offline", "online", False)):
        concerned = tuple(
            entry.id for entry in instances if entry.link.target.is_local is is_local or (is_local and entry.host)
        )
        down = _since(network, flag)
        if down is not None and concerned:
            yield Observed(code, "; ".join(down.reasons), now_s - down.at_s, concerned)


def _since(network: list[TimelineEntry], flag: str) -> TimelineEntry | None:
    """The event with which it went down; None while it is up."""
    down = None
    for entry in reversed(network):
        if getattr(entry.event, flag):
            break
        down = entry
    return down
