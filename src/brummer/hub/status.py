"""The hub's state as one JSON-compatible object: for agents (``hub_status``) and for people (``brum status``)."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from brummer import __version__
from brummer.core.clock import Clock
from brummer.core.limits import Limits
from brummer.discovery.events import GoneReason
from brummer.hub.instances import Instances
from brummer.hub.timeline import Timeline
from brummer.link.admission import Gate
from brummer.link.refusals import PARK_S
from brummer.link.state import State

WITHDRAWN: Final[GoneReason] = "withdrawn"
_LIMITS: Final = (
    "connections",
    "in_flight",
    "in_flight_per_instance",
    "waiting_per_instance",
    "queued_per_instance",
    "parked",
    "reply_bytes",
    "request_bytes",
    "open_files",
)
"""Those that a hub enforces."""


def limits_in_force(limits: Limits) -> dict[str, float]:
    """What a hub's calls are bounded by, with the unit in each name."""
    return {**{name: getattr(limits, name) for name in _LIMITS}, "park_s": PARK_S}


def in_use(gate: Gate) -> dict[str, float]:
    """How much of some of these limits is taken now."""
    return {"connections": gate.budget.taken, "in_flight": gate.total.taken, "parked": gate.parked}


class Status:
    """Of one hub. ``directory``: where it was started."""

    def __init__(self, instances: Instances, timeline: Timeline, clock: Clock, directory: Path) -> None:
        self._instances = instances
        self._timeline = timeline
        self._clock = clock
        self._directory = str(directory)
        self._started_s = clock.elapsed()

    def describe(self, problems: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
        """``problems``: those that are no link's, as ``{"code", "detail", …}``."""
        links = [known.link.status() for known in self._instances]
        return {
            "hub": {
                "version": __version__,
                "pid": os.getpid(),
                "directory": self._directory,
                "uptime_s": round(self._clock.elapsed() - self._started_s, 3),
            },
            "problems": [*_link_problems(links, cut_off=self._instances.are_cut_off()), *problems],
            "links": links,
            "timeline": self._timeline.describe(),
            "limits": {
                **limits_in_force(self._instances.gate.limits),
                "in_use": in_use(self._instances.gate),
            },
        }


def _link_problems(links: list[dict[str, Any]], *, cut_off: bool) -> list[dict[str, Any]]:
    """One line per root cause: if everybody fails at once, that is one."""
    failing = [link for link in links if _failing_state(link)]
    if cut_off:
        left = [link for link in failing if link["state"] != State.GONE.value]
        detail = "no instance answers any more: look for the cause here, such as a firewall or lo being down"
        return [
            {
                "code": "cut_off",
                "instances": [link["instance_id"] for link in left],
                "detail": f"{detail} (the first says: {left[0]['reason']})",
            }
        ]
    return [
        {"code": f"link_{_failing_state(link)}", "instance": link["instance_id"], "detail": link["reason"]}
        for link in failing
    ]


def _failing_state(link: dict[str, Any]) -> str | None:
    """None for a link that is well, or that has not been tried yet; one that tries once more is still retrying."""
    state: str = link["state"]
    if state in (State.DISCOVERED.value, State.CONNECTING.value):
        return State.RETRYING.value if link["attempts"] else None
    if state == State.GONE.value and link["reason"] == WITHDRAWN:
        return None  # it ended as it should
    return None if state == State.READY.value else state
