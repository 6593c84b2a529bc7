"""The states of one run of a script, as a literal table and one applier.

    pending ──► starting ──► running ──► ready
       │           │            └────┬─────┘
       ▼           ▼                 ▼
    stopped,    failed,       exited, failed, crash-looping,
    failed   crash-looping    or by way of stopping: stopped

``pending``: waits for its dependencies, or for the time of its restart. ``exited``: ended with 0, without a request.
``failed``: with another status, by a signal, or never started. ``crash-looping``: as failed, and it was the last of
several in a row, so that it is not restarted automatically. ``stopped``: ended on request.

An event that is not in the table raises and changes nothing.
"""

from typing import Literal

ScriptState = Literal[
    "pending", "starting", "running", "ready", "stopping", "stopped", "exited", "failed", "crash-looping"
]
ScriptEvent = Literal[
    "start_due",
    "given_up",
    "spawned",
    "spawn_failed",
    "became_ready",
    "stop_asked",
    "ended_well",
    "ended_badly",
    "looped",
]

TABLE: dict[tuple[ScriptState, ScriptEvent], ScriptState] = {
    ("pending", "start_due"): "starting",
    ("pending", "given_up"): "failed",
    ("pending", "looped"): "crash-looping",
    ("pending", "stop_asked"): "stopped",
    ("starting", "spawned"): "running",
    ("starting", "spawn_failed"): "failed",
    ("starting", "looped"): "crash-looping",
    ("running", "became_ready"): "ready",
    ("running", "stop_asked"): "stopping",
    ("running", "ended_well"): "exited",
    ("running", "ended_badly"): "failed",
    ("running", "looped"): "crash-looping",
    ("ready", "stop_asked"): "stopping",
    ("ready", "ended_well"): "exited",
    ("ready", "ended_badly"): "failed",
    ("ready", "looped"): "crash-looping",
    ("stopping", "ended_well"): "stopped",
    ("stopping", "ended_badly"): "stopped",
}
ENDED: frozenset[ScriptState] = frozenset({"stopped", "exited", "failed", "crash-looping"})
"""Final states; the next start of the script is another run."""


class WrongEvent(Exception):
    """An event that can't happen in this state: a defect of ours."""

    def __init__(self, state: ScriptState, event: ScriptEvent) -> None:
        super().__init__(f"{event} in state {state}")
        self.state = state
        self.event = event


def after(state: ScriptState, event: ScriptEvent) -> ScriptState:
    """The state that follows. Raises WrongEvent."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise WrongEvent(state, event) from None
