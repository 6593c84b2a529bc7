"""The hub's metrics: counts that events feed, and values that are read when metrics are asked for.

Labels are bounded: ``instance_id`` has the known instances, ``tool`` the frozen tools and ``other``, the rest words of
ours. `docs/operators.md` explains each metric; a test holds the two together.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, get_args

from brummer import __version__
from brummer.calls.caller import CallEnded, CallEnding
from brummer.contract.tools import BY_NAME
from brummer.core.events import CALL_S, RECOVERY_S, Histogram
from brummer.core.metrics import Family, Metric
from brummer.discovery.registry import Registry
from brummer.health.status import in_use, limits_in_force
from brummer.link.failures import BreakerState
from brummer.link.state import ATTEMPTING, SHOWN_EVENTS, SHOWN_STATES, LinkEvent, LinkState, Transition
from brummer.peers.instance_entry import InstanceEntry
from brummer.peers.instances import Instances
from brummer.peers.timeline import Handled, Timeline

INSTANCES_LIMIT: Final = 1_000
"""Instances whose calls are counted before those that are not known any more are forgotten."""

OTHER_TOOL: Final = "other"
WAKES: Final = ("slept", "paused")

ATTEMPTS: Final = {LinkEvent.PROVEN: "proven", LinkEvent.FAILED: "failed", LinkEvent.STRANGER_ANSWERED: "impostor"}
ABANDONED: Final = "abandoned"
"""Results of an attempt to connect; any other end of the state ``connecting`` came from outside."""

BUILD = Metric("brummer_build_info", "gauge", "1, labelled with the version that runs", ("version",))
CALLS = Metric("brummer_calls_total", "counter", "Calls to instances, by how they ended", ("instance_id", "outcome"))
CALL_DURATION = Metric("brummer_call_duration_seconds", "histogram", "From a call's arrival to its end", ("tool",))
ATTEMPTS_TOTAL = Metric(
    "brummer_connection_attempts_total",
    "counter",
    "Attempts to make a link ready, by result",
    ("instance_id", "result"),
)
RECOVERY = Metric("brummer_link_recovery_seconds", "histogram", "From the loss of a ready link until it is ready again")
WAKE = Metric(
    "brummer_wake_to_ready_seconds",
    "histogram",
    "From a noticed wake or pause until every link is known to be ready or not",
)
EVENTS = Metric("brummer_machine_events_total", "counter", "Wakes, pauses, set clocks, network changes", ("kind",))
TRANSITIONS = Metric(
    "brummer_link_transitions_total", "counter", "Events of links, as in their table of states", ("event",)
)
STATE = Metric("brummer_link_state", "gauge", "1 for the state that the link is in, else 0", ("instance_id", "state"))
BREAKER = Metric(
    "brummer_link_breaker_state", "gauge", "1 for the state that its breaker is in, else 0", ("instance_id", "state")
)
QUALITY = Metric("brummer_link_quality_ratio", "gauge", "0.0 (nothing gets through) to 1.0", ("instance_id",))
RTT = Metric("brummer_link_round_trip_seconds", "gauge", "Smoothed round trip of probes", ("instance_id",))
CONNECTIONS = Metric("brummer_link_connections", "gauge", "Open connections", ("instance_id",))
DIALS = Metric(
    "brummer_link_dials_total", "counter", "Connections that were dialled, for whatever purpose", ("instance_id",)
)
IN_FLIGHT = Metric("brummer_calls_in_flight", "gauge", "Calls that have a connection now", ("instance_id",))
PARKED = Metric("brummer_calls_parked", "gauge", "Calls that wait for their link to become ready", ("instance_id",))
QUEUED = Metric("brummer_calls_queued", "gauge", "Calls that wait for a slot", ("instance_id",))
LIMIT = Metric("brummer_limit", "gauge", "A limit that is in force, in the unit of its name", ("limit",))
IN_USE = Metric("brummer_limit_in_use", "gauge", "How much of it is in use", ("limit",))
GIVEN_UP = Metric(
    "brummer_connections_given_up_total", "counter", "Idle connections that were closed because another call wanted one"
)
REFUSED = Metric("brummer_memory_refusals_total", "counter", "Calls that were refused at the hard limit on memory")
LISTED = Metric("brummer_registry_instances", "gauge", "Instances that the directory lists")
PROBLEMS = Metric("brummer_registry_problems", "gauge", "Files in the directory that are not used", ("code",))
SCANS = Metric("brummer_registry_scans_total", "counter", "Scans of the directory")
SCAN = Metric("brummer_registry_last_scan_seconds", "gauge", "How long the last scan took")
HINTS = Metric("brummer_registry_hints_total", "counter", "What caused scans, beside the timer", ("reason",))

ALL: Final = (
    BUILD, CALLS, CALL_DURATION, ATTEMPTS_TOTAL, RECOVERY, WAKE, EVENTS, TRANSITIONS, STATE, BREAKER, QUALITY, RTT,
    CONNECTIONS, DIALS, IN_FLIGHT, PARKED, QUEUED, LIMIT, IN_USE, GIVEN_UP, REFUSED, LISTED, PROBLEMS, SCANS, SCAN,
    HINTS,
)  # fmt: skip
"""Those of a hub."""


def _zeros(words: Iterable[str]) -> Counter[str]:
    """A series starts at 0: Prometheus can't see an increase in the first sample."""
    return Counter(dict.fromkeys(words, 0))


@dataclass(slots=True)
class _Counts:
    """One instance's."""

    calls: Counter[str] = field(default_factory=lambda: _zeros(get_args(CallEnding)))
    attempts: Counter[str] = field(default_factory=lambda: _zeros((*ATTEMPTS.values(), ABANDONED)))


class HubMetrics:
    """Counts from its creation on; `families` returns the values."""

    def __init__(self, instances: Instances, timeline: Timeline, registry: Registry) -> None:
        self._instances = instances
        self._registry = registry
        self._counts: dict[str, _Counts] = {}
        self._durations = {tool: Histogram(CALL_S) for tool in (*BY_NAME, OTHER_TOOL)}
        self._lost_at_s: dict[str, float] = {}
        self._recovery = Histogram(RECOVERY_S)
        self._wake_to_ready = Histogram(RECOVERY_S)
        self._events: Counter[str] = Counter()
        self._transitions: Counter[str] = Counter(dict.fromkeys(SHOWN_EVENTS, 0))
        instances.transitions.subscribe(self._moved)
        instances.calls_ended.subscribe(self._call_ended)
        timeline.handled.subscribe(self._handled)

    # Events.

    def _call_ended(self, call: CallEnded) -> None:
        counts = self._counts.get(call.instance_id) or self._counts_of(call.instance_id)
        counts.calls[call.ending] += 1
        duration = self._durations.get(call.tool) or self._durations[OTHER_TOOL]
        duration.observe(call.took_s)

    def _moved(self, moved: Transition) -> None:
        self._transitions[moved.event.shown] += 1
        if moved.before in ATTEMPTING:
            self._counts_of(moved.instance_id).attempts[ATTEMPTS.get(moved.event, ABANDONED)] += 1
        if moved.before is LinkState.READY and moved.after is not LinkState.READY:
            self._lost_at_s[moved.instance_id] = moved.at_s
        if moved.after is LinkState.WITHDRAWN:  # it ended in good order: that is no loss, and its return no recovery
            self._lost_at_s.pop(moved.instance_id, None)
        elif moved.after is LinkState.READY and (lost_at_s := self._lost_at_s.pop(moved.instance_id, None)) is not None:
            self._recovery.observe(moved.at_s - lost_at_s)

    def _handled(self, handled: Handled) -> None:
        self._events[handled.event.kind] += 1
        if handled.event.kind in WAKES:
            self._wake_to_ready.observe(handled.took_s)

    def _counts_of(self, instance_id: str) -> "_Counts":
        found = self._counts.get(instance_id)
        if found is None:
            if len(self._counts) >= INSTANCES_LIMIT:
                self._forget_unknown()
            found = self._counts[instance_id] = _Counts()
        return found

    def _forget_unknown(self) -> None:
        entry = {each.id for each in self._instances}
        for of_instances in (self._counts, self._lost_at_s):
            for instance_id in of_instances.keys() - entry:
                del of_instances[instance_id]

    # Families.

    def families(self) -> list[Family]:
        """All of `ALL`, now."""
        return [*self._counted(), *_of_links(list(self._instances)), *self._of_registry()]

    def _counted(self) -> Iterator[Family]:
        self._forget_unknown()
        counts = {entry.id: self._counts_of(entry.id) for entry in self._instances}
        yield BUILD.family({(__version__,): 1})
        yield CALLS.family(_by_instance({who: each.calls for who, each in counts.items()}))
        yield CALL_DURATION.family({(tool,): duration for tool, duration in self._durations.items() if duration.total})
        yield ATTEMPTS_TOTAL.family(_by_instance({who: each.attempts for who, each in counts.items()}))
        yield RECOVERY.single(self._recovery)
        yield WAKE.single(self._wake_to_ready)
        yield EVENTS.family({(kind,): count for kind, count in self._events.items()})
        yield TRANSITIONS.family({(event,): count for event, count in self._transitions.items()})
        yield LIMIT.family({(name,): value for name, value in limits_in_force(self._instances).items()})

        yield IN_USE.family({(name,): value for name, value in in_use(self._instances).items()})
        yield GIVEN_UP.single(self._instances.pool.evicted)
        yield REFUSED.single(self._instances.memory.refused)

    def _of_registry(self) -> Iterator[Family]:
        statistics = self._registry.statistics()
        yield LISTED.single(statistics.listed)
        yield PROBLEMS.family({(code,): count for code, count in statistics.problems.items()})
        yield SCANS.single(statistics.scans)
        yield SCAN.single(statistics.last_scan_s)
        yield HINTS.family({(reason,): count for reason, count in statistics.hints.items()})


def _by_instance(counts: Mapping[str, Counter[str]]) -> dict[tuple[str, ...], float]:
    return {(instance_id, word): count for instance_id, counts in counts.items() for word, count in counts.items()}


def _of_links(entries: list[InstanceEntry]) -> Iterator[Family]:
    """The links as they are; not their `status`, which samples each one's process: 500 samples would block the loop."""
    states = {entry.id: entry.link.state.shown for entry in entries}
    links = {entry.id: entry.robust for entry in entries if entry.robust is not None}
    now_s = asyncio.get_running_loop().time()
    breakers = {who: link.breaker.state(now_s) for who, link in links.items()}
    yield STATE.family({(who, state): float(own == state) for who, own in states.items() for state in SHOWN_STATES})
    yield BREAKER.family(
        {(who, state): float(own == state) for who, own in breakers.items() for state in get_args(BreakerState)}
    )
    yield QUALITY.family({(who,): link.health.quality for who, link in links.items()})
    yield RTT.family({(who,): link.health.rtt_s for who, link in links.items() if link.health.rtt_s is not None})
    yield CONNECTIONS.family({(who,): link.connections.size for who, link in links.items()})
    yield DIALS.family({(who,): link.connections.dials for who, link in links.items()})
    yield IN_FLIGHT.family({(who,): link.connections.in_flight for who, link in links.items()})
    yield PARKED.family({(who,): len(link.parking) for who, link in links.items()})
    yield QUEUED.family({(who,): link.connections.queued for who, link in links.items()})
