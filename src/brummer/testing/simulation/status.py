"""Checks that the first problem in `hub_status` is an injected fault that still lasts."""

import math
from typing import Final

from brummer.health.catalog import Problem
from brummer.settings.limits import DEFAULTS
from brummer.testing.simulation.parts import HubRun
from brummer.testing.simulation.world import Active, World

LIMITS: Final = frozenset({"busy", "parked_full", "connections_full", "breaker_open"})

LASTS_S: Final = 35.0
"""A fault may still show after its end: a silent connection is closed after half a minute."""

KINDS: Final[dict[str, tuple[tuple[str, ...], float]]] = {
    "link_stopped": (("stopped", "slow"), 1.0),
    "loopback_down": (("loopback",), 6.0),
    "offline": (("offline",), 6.0),
    "memory_full": (("memory",), 6.0),
    "memory_high": (("memory",), 6.0),
    "settling": (("sleep", "pause", "hub stopped"), 30.0),
    "directory_full": (("disk", "ENOSPC"), 36.0),
    "malformed": (("record",), math.inf),
    "task_failed": (("a defect", "E", "no thread"), 90.0),
}
"""The faults that may cause each problem, and how long after their end the problem may be reported."""


def lasting(world: World, run: HubRun) -> list[str]:
    """The codes of the problems of this hub, without those that its surroundings give it for ever."""
    if run.hub is None:
        return []
    problems = run.process.context.run(run.hub.status).problems
    return [each.code for each in problems if each.code != "polling" or world.machine.disk.has_events]


def look(world: World, run: HubRun) -> str | None:
    """The error in the present status of this hub; None if the status is right."""
    hub = run.hub
    if hub is None or run.process.is_dead or not run.process.is_running or run.is_over:
        return None
    try:
        problems = run.process.context.run(hub.status).problems
    except Exception as error:  # noqa: BLE001 — the finding
        return f"{run.name}: hub_status failed with {error!r}"
    if problems and problems[0].code == "polling" and not world.machine.disk.has_events:
        return None
    if not problems or _is_explained(world, run, problems[0]):
        return None
    first = problems[0]
    lasting = sorted({f"{fault.kind} {fault.target}" for fault in world.faults if fault.ended_s is None})
    concerned = first.instance or first.instances or None
    return f"{run.name} reports {first.code} ({concerned}, {first.detail}), and there is {lasting}"


def _is_explained(world: World, run: HubRun, problem: Problem) -> bool:
    prefixes, lasts_s = KINDS.get(problem.code, (("",), LASTS_S))
    if problem.code in LIMITS and world.limits != DEFAULTS:
        return True  # calls alone reach tight limits
    concerned = {run.name, run.process.name, (problem.instance or None), *(problem.instances or ())}
    return any(
        fault.kind.startswith(prefixes)
        and (fault.ended_s is None or _awake_s(world, run, fault.ended_s, lasts_s) <= lasts_s)
        and (not fault.target or fault.target in concerned or _is_between(fault))
        for fault in world.faults
    )


def _awake_s(world: World, run: HubRun, since_s: float, lasts_s: float) -> float:
    """How long the hub could have seen that a fault is over. After a time in which it did not run, its system calls
    failed or its tasks met a defect, it has as long as for a fault that ended then.
    """
    now_s = world.loop.time()
    blind = [(begin_s, end_s) for who, begin_s, end_s in world.not_run if who in ("all", run.name)]
    blind += [
        (fault.began_s, fault.ended_s or now_s)
        for fault in world.faults
        if (fault.target == run.process.name and " for " in fault.kind)
        or (fault.target == run.name and fault.kind == "a defect")
    ]
    lost = [min(end_s, now_s) - max(begin_s, since_s) + lasts_s for begin_s, end_s in blind if end_s > since_s]
    return now_s - since_s - sum(lost)


def _is_between(fault: Active) -> bool:
    """It is a fault of connections or files; each program that uses them may report it."""
    return fault.kind.startswith(("connection", "record", "hub killed"))
