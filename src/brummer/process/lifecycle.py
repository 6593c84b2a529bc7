"""The states of one run of a script, as a literal table and one applier.

    starting ──► running ──► ready
        │           └────┬─────┘
        ▼                ▼
     failed       exited, failed, or by way of stopping: stopped

``exited``: ended by itself with 0. ``failed``: with another status, by a signal, or never started.
``stopped``: ended because it was asked to.

An event that is not in the table raises and changes nothing.
"""

from typing import Literal

State = Literal["starting", "running", "ready", "stopping", "stopped", "exited", "failed"]
Event = Literal["spawned", "spawn_failed", "became_ready", "stop_asked", "ended_well", "ended_badly"]

TABLE: dict[tuple[State, Event], State] = {
    ("starting", "spawned"): "running",
    ("starting", "spawn_failed"): "failed",
    ("running", "became_ready"): "ready",
    ("running", "stop_asked"): "stopping",
    ("running", "ended_well"): "exited",
    ("running", "ended_badly"): "failed",
    ("ready", "stop_asked"): "stopping",
    ("ready", "ended_well"): "exited",
    ("ready", "ended_badly"): "failed",
    ("stopping", "ended_well"): "stopped",
    ("stopping", "ended_badly"): "stopped",
}
ENDED: frozenset[State] = frozenset({"stopped", "exited", "failed"})
"""States that nothing leaves; the next start of the script is another run."""


class WrongEvent(Exception):
    """An event that can't happen in this state: a defect of ours."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"{event} in state {state}")
        self.state = state
        self.event = event


def after(state: State, event: Event) -> State:
    """The state that follows. Raises WrongEvent."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise WrongEvent(state, event) from None
