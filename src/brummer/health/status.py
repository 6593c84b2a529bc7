"""The state of a hub as one object: for agents (``hub_status``) and for people (``brum status``)."""

import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from brummer import __version__
from brummer.calls.refusals import PARK_S
from brummer.core.clock import Clock
from brummer.health.catalog import Observed, Problem, explain
from brummer.health.observe import (
    of_descriptors,
    of_links,
    of_machine,
    of_machines,
    of_memory,
    of_places,
    of_records,
)
from brummer.host.real_system import REAL
from brummer.host.system import DescriptorLimits
from brummer.link.status import LinkStatus
from brummer.peers.instances import Instances
from brummer.peers.machine import MachineState, OtherMachine
from brummer.peers.timeline import Timeline, TimelineEvent

_OF_CALLS: Final = (
    "connections",
    "in_flight",
    "in_flight_per_instance",
    "waiting_per_instance",
    "queued_per_instance",
    "parked",
)
"""Limits that a basic link does not have."""

_OF_BYTES: Final = ("reply_bytes", "request_bytes", "memory_soft_bytes", "memory_hard_bytes")


def limits_in_force(instances: Instances, descriptors: DescriptorLimits = REAL.descriptors) -> dict[str, float]:
    """The limits of a hub's calls, with the unit in each name. ``open_files`` is the number that the system allows."""
    limits = instances.pool.limits
    of_calls = {**{name: getattr(limits, name) for name in _OF_CALLS}, "park_s": PARK_S}
    of_bytes = {name: getattr(limits, name) for name in _OF_BYTES}
    return {**(of_calls if instances.are_robust else {}), **of_bytes, "open_files": descriptors.descriptor_limit()}


def in_use(instances: Instances) -> dict[str, float]:
    """How much of some of these limits is taken now."""
    pool = instances.pool
    of_calls = {"connections": pool.connections, "in_flight": pool.in_flight, "parked": pool.parked}
    return {**(of_calls if instances.are_robust else {}), "memory_hard_bytes": instances.memory.resident_bytes}


class HubFacts(msgspec.Struct, frozen=True):
    """``directory``: where it was started."""

    version: str
    pid: int
    directory: str
    uptime_s: float


class MachineStatus(msgspec.Struct, frozen=True):
    """Another machine. ``since_s``: how long its state has lasted. ``rtt_ms``: None if it is not connected.

    ``instances``: how many are known there. ``detail``: why it is not ready, or what else is wrong.
    """

    host: str
    carrier: str
    state: MachineState
    since_s: float
    rtt_ms: float | None
    instances: int
    detail: str


def machine_status(machine: OtherMachine) -> MachineStatus:
    """As it is now."""
    rtt_ms = None if machine.rtt_s is None else round(machine.rtt_s * 1_000, 1)
    since_s = round(machine.since_s, 3)
    return MachineStatus(
        machine.name, machine.carrier, machine.state, since_s, rtt_ms, machine.instances, machine.detail
    )


class HubStatus(msgspec.Struct, frozen=True):
    """``limits``: see `limits_in_force`; its member ``in_use`` has what is taken of some of them.

    ``machines``: left out if the settings name none.
    """

    hub: HubFacts
    problems: list[Problem]
    links: list[LinkStatus]
    timeline: list[TimelineEvent]
    limits: dict[str, float | dict[str, float]]
    machines: list[MachineStatus] | UnsetType = UNSET


class Status:
    """Makes the status of one hub. ``directory``: where it was started."""

    def __init__(
        self,
        instances: Instances,
        timeline: Timeline,
        clock: Clock,
        directory: Path,
        descriptors: DescriptorLimits = REAL.descriptors,
    ) -> None:
        self._descriptors = descriptors
        self._instances = instances
        self._timeline = timeline
        self._clock = clock
        self._directory = str(directory)
        self._started_s = clock.elapsed()

    def describe(self, problems: Iterable[Observed] = ()) -> HubStatus:
        """``problems``: those beside links, calls and network."""
        self._instances.memory.sample(self._clock.awake())
        links = [entry.link.status() for entry in self._instances]
        observed = chain(
            of_links(self._instances, links),
            of_machines(self._instances),
            of_places(self._instances),
            of_memory(self._instances),
            of_records(self._instances),
            of_descriptors(self._descriptors),
            of_machine(self._timeline, self._instances, self._clock),
            problems,
        )
        uptime_s = round(self._clock.elapsed() - self._started_s, 3)
        limits = limits_in_force(self._instances, self._descriptors)
        return HubStatus(
            HubFacts(__version__, os.getpid(), self._directory, uptime_s),
            explain(observed),
            links,
            self._timeline.describe(),
            {**limits, "in_use": in_use(self._instances)},
            [machine_status(each) for each in self._instances.machines] or UNSET,
        )
